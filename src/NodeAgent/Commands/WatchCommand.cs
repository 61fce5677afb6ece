using System.CommandLine;
using System.Security.Cryptography;
using System.Text;
using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Kubernetes;
using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <summary>
/// nodeagent watch: waits for what the group or EC2 wants of this instance while it runs. nodeagent-watch.service runs it, where the configuration wants it.
/// </summary>
internal static class WatchCommand
{
    public static Command Create()
    {
        var node = new Option<string?>("--node") { Description = "The node's name; not with --warm.", HelpName = "NAME" };
        var server = CommonOptions.Server("The API server; not with --warm.");
        var warm = new Option<bool>("--warm")
        {
            Description = "This instance waits in a warm pool: there is no node yet, and it is made when the instance is started into service.",
        };
        var rebalance = new Option<bool>("--rebalance") { Description = "A recommendation to rebalance is a notice, too." };
        var drain = new Option<Duration>("--drain-timeout")
        {
            Description = "At most so long are pods evicted (5m unless given).",
            HelpName = "DURATION",
            DefaultValueFactory = _ => Duration.Parse("5m"),
            CustomParser = CommonOptions.ParseDuration("--drain-timeout"),
        };
        var hook = new HookOptions("--terminate-hook", "The lifecycle hook that waits for this node to be drained, and is told.");
        var command = new Command("watch", """
            Watch for notices that this instance ends, and drain its node; in a warm pool, for going into service. Until it is told to stop.

            Exit codes: 3 bad command line, 143 told to stop.

            Example:
              nodeagent watch --node ip-10-0-2-15.ec2.internal --server https://api.example.com
            """)
        {
            node, server, warm, rebalance, drain,
        };
        hook.AddTo(command);
        command.Validators.Add(result =>
        {
            if (result.GetValue(warm) ? result.GetValue(node) is not null : result.GetValue(node) is null || result.GetValue(server) is null)
            {
                result.AddError("it watches over a node, named by --node and --server, or with --warm over a machine that is none yet");
            }
        });
        command.SetAction((parse, stop) => Run(
            new(parse.GetValue(node), hook.Of(parse), parse.GetValue(drain), parse.GetValue(rebalance)), parse.GetValue(server), stop));
        return command;
    }

    private static async Task<int> Run(WatchSettings settings, Uri? server, CancellationToken stop)
    {
        // Each look has its own bound.
        using var metadata = new InstanceMetadata(AwsEndpoint.Metadata, Timeout.InfiniteTimeSpan);
        var watch = new Watch(
            settings,
            metadata,
            () => Connect(server!),
            () => InstanceHook.Open(settings.Hook!, MachineSources.Outbound(null, null)),
            Begin,
            Lifecycle.LeavingPath,
            TimeProvider.System,
            Console.Out.WriteLine);
        ServiceNotify.Status("watching");
        ServiceNotify.Ready();
        return await watch.Run(stop).ConfigureAwait(false);
    }

    /// <exception cref="CryptographicException">The certificate is not there, or no certificate.</exception>
    internal static ApiClient Connect(Uri server)
    {
        byte[] pem;
        try
        {
            pem = SecretFile.Read(Certificates.PathOf("kubelet-client"));
        }
        catch (ProbeException e)
        {
            throw new CryptographicException(e.Message, e);
        }

        try
        {
            return new ApiClient(server, Files.Text(Certificates.AuthorityPath) ?? "", Encoding.ASCII.GetString(pem), TimeSpan.FromSeconds(10));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(pem);
        }
    }

    /// <summary>
    /// nodeagent-again.path has the boot's two moments come once more: this process has no right to start anything, so a file asks. What the launch hook was
    /// told is forgotten: an instance that hibernated, or ran on in the pool, has a launch of the same words behind it.
    /// </summary>
    private static void Begin()
    {
        Files.Delete(Lifecycle.LaunchPath);
        Files.Write(Lifecycle.AgainPath, [], (UnixFileMode)0b110_100_100);
    }
}
