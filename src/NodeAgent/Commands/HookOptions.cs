using System.CommandLine;
using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Desired;

namespace NodeAgent.Commands;

/// <summary>A lifecycle hook on a command line, as <see cref="HookSettings.Arguments"/> writes it.</summary>
internal sealed class HookOptions
{
    private readonly Option<string?> _hook;
    private readonly Option<string?> _group = new("--group") { Description = "The autoscaling group of this instance.", HelpName = "NAME" };
    private readonly Option<string?> _instance = new("--instance") { Description = "This instance.", HelpName = "ID" };
    private readonly Option<string?> _region = new("--region") { Description = "Its region.", HelpName = "REGION" };
    private readonly Option<string?> _target = new("--target") { Description = "The lifecycle state that the group wants for it.", HelpName = "STATE" };

    private readonly Option<Duration> _heartbeat = new("--heartbeat")
    {
        Description = "How often an action in progress is told to wait on (1m unless given).",
        HelpName = "DURATION",
        DefaultValueFactory = _ => Duration.Parse("1m"),
        CustomParser = CommonOptions.ParseDuration("--heartbeat"),
    };

    public HookOptions(string name, string description) => _hook = new(name) { Description = description, HelpName = "NAME" };

    public void AddTo(Command command)
    {
        foreach (var option in (Option[])[_hook, _group, _instance, _region, _target, _heartbeat])
        {
            command.Options.Add(option);
        }

        command.Validators.Add(result =>
        {
            if (result.GetValue(_hook) is not null && new[] { _group, _instance, _region, _target }.Any(o => result.GetValue(o) is null))
            {
                result.AddError($"{_hook.Name} needs --group, --instance, --region and --target");
            }
        });
    }

    public HookSettings? Of(ParseResult parse) => parse.GetValue(_hook) is { } hook
        ? new(hook, parse.GetValue(_group)!, parse.GetValue(_instance)!, parse.GetValue(_region)!, parse.GetValue(_target)!, parse.GetValue(_heartbeat))
        : null;
}

/// <summary>The hook of a group as AWS has it, called with this instance's role.</summary>
internal static class InstanceHook
{
    /// <remarks>Loads the AWS SDK, which takes 100 ms: not before there is something to say.</remarks>
    public static LifecycleHook Open(HookSettings settings, OutboundHttp outbound) => new(
        new AmazonAutoScalingClient(
            new RoleCredentials(AwsEndpoint.Metadata, TimeSpan.FromSeconds(30)),
            new AmazonAutoScalingConfig(settings.Region, AwsEndpoint.AutoScaling) { HttpClientFactory = outbound }),
        settings.Group,
        settings.Hook,
        settings.Instance);
}
