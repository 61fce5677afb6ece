using System.Text.Json;
using System.Text.Json.Serialization;
using NodeAgent.Machine;

namespace NodeAgent.Convergence;

/// <summary>
/// A restart that a unit owes to a changed input, written down before the input is touched. It is owed while the invocation that may have read the old
/// input still runs, so a restart by hand, a crash of the agent and a reboot are all accounted for without a clock.
/// </summary>
internal sealed record OwedRestart
{
    public const string Directory = "/run/nodeagent/owed";

    public required string InvocationId { get; init; }

    public required IReadOnlyList<string> Because { get; init; }

    public static string PathFor(string unit) => $"{Directory}/{unit}.json";

    /// <summary>
    /// What is owed by the running invocation of a unit; null when nothing is. One that is stopping never comes back: a restart that was queued and not waited
    /// for is seen in that state, and its job has turned from "restart" into "start" by then.
    /// </summary>
    public static OwedRestart? Read(IMachineReader reader, UnitReport unit)
    {
        if (unit.InvocationId.Length == 0 || unit.ActiveState is "inactive" or "failed" or "deactivating"
            || reader.File(PathFor(unit.Name)).Content is not { } content)
        {
            return null;
        }

        try
        {
            var owed = JsonSerializer.Deserialize(content, OwedRestartJson.Default.OwedRestart);
            return owed?.InvocationId == unit.InvocationId ? owed : null;
        }
        catch (JsonException e)
        {
            throw new ProbeException(PathFor(unit.Name), $"is not what the agent wrote ({e.Message}); restart {unit.Name} and remove the file", e);
        }
    }

    public static void Add(IMachineReader reader, IMachineWriter writer, UnitReport unit, string because)
    {
        if (unit.InvocationId.Length == 0 || unit.ActiveState is "inactive" or "failed")
        {
            return;
        }

        var reasons = Read(reader, unit)?.Because ?? [];
        if (reasons.Contains(because))
        {
            return;
        }

        var owed = new OwedRestart { InvocationId = unit.InvocationId, Because = [.. reasons, because] };
        writer.WriteFile(
            PathFor(unit.Name), JsonSerializer.SerializeToUtf8Bytes(owed, OwedRestartJson.Default.OwedRestart), UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(OwedRestart))]
internal sealed partial class OwedRestartJson : JsonSerializerContext;
