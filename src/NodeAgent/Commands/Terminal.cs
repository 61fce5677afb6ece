using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <summary>What may be done with standard output.</summary>
internal static class Terminal
{
    public static bool IsThere => !Console.IsOutputRedirected;

    /// <summary>https://no-color.org: not in a pipe, and not where NO_COLOR is set to anything.</summary>
    public static bool HasColor => IsThere && HostEnvironment.Get("NO_COLOR") is null && HostEnvironment.Get("TERM") is not (null or "dumb");
}
