using System.CommandLine;
using NodeAgent.Configuration;

namespace NodeAgent.Commands;

/// <summary>Options that mean the same wherever they stand.</summary>
internal static class CommonOptions
{
    public static Option<string[]> Config() => new("--config")
    {
        Description = "A NodeConfig file, YAML or JSON, above all other layers. May be given more than once; later ones win.",
        HelpName = "FILE",
        DefaultValueFactory = _ => [],
    };

    public static Option<string> Format()
    {
        var option = new Option<string>("--format") { Description = "text or json.", HelpName = "text|json", DefaultValueFactory = _ => "text" };
        option.AcceptOnlyFromAmong("text", "json");
        return option;
    }

    public static Option<Duration> Deadline(string byDefault) => new("--deadline")
    {
        Description = $"When to give up, as in 90s or 10m ({byDefault} unless given).",
        HelpName = "DURATION",
        DefaultValueFactory = _ => Duration.Parse(byDefault),
        CustomParser = ParseDuration("--deadline"),
    };

    public static Func<System.CommandLine.Parsing.ArgumentResult, Duration> ParseDuration(string option) => result =>
    {
        try
        {
            var duration = Duration.Parse(result.Tokens[0].Value);
            if (duration.Value > Duration.LongestWait)
            {
                result.AddError($"{option}: {duration} is out of range; expected up to {Duration.LongestWait.TotalHours:0}h");
            }

            return duration;
        }
        catch (FormatException e)
        {
            result.AddError($"{option}: {e.Message}");
            return default;
        }
    };

    /// <summary>--server URL.</summary>
    public static Option<Uri?> Server(string description) => new("--server")
    {
        Description = description,
        HelpName = "URL",
        CustomParser = result =>
        {
            if (Uri.TryCreate(result.Tokens[0].Value, UriKind.Absolute, out var uri) && uri.Scheme == Uri.UriSchemeHttps)
            {
                return uri;
            }

            result.AddError($"--server: '{result.Tokens[0].Value}' is not an https URL");
            return null;
        },
    };

    /// <summary>Relative to where the command was called.</summary>
    public static IReadOnlyList<string> Absolute(IEnumerable<string> paths) => [.. paths.Select(Path.GetFullPath)];
}
