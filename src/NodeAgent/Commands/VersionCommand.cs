using System.CommandLine;
using System.Reflection;

namespace NodeAgent.Commands;

/// <summary>nodeagent version.</summary>
internal static class VersionCommand
{
    public static string Version { get; } =
        typeof(VersionCommand).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";

    public static Command Create()
    {
        var command = new Command("version", """
            Print the version of this binary.

            Example:
              nodeagent version
            """);
        command.SetAction(_ =>
        {
            Console.Out.WriteLine($"nodeagent {Version}");
            return ExitCode.Ok;
        });
        return command;
    }
}
