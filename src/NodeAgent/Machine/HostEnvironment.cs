namespace NodeAgent.Machine;

/// <summary>The environment NodeAgent was started with.</summary>
internal static class HostEnvironment
{
    /// <summary>Null when it is not set, or empty.</summary>
    public static string? Get(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    public static int Processors => Environment.ProcessorCount;
}
