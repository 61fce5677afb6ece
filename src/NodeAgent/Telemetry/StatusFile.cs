using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Telemetry;

/// <summary>/run/nodeagent/status.json: what the last run came to, for whatever looks at this machine. World-readable, so nothing secret is in it.</summary>
internal sealed record StatusFile
{
    public const string DefaultPath = "/run/nodeagent/status.json";

    // A file for people, not part of a page: + stays +.
    private static readonly StatusJson Context = new(
        new JsonSerializerOptions(StatusJson.Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    public required string Version { get; init; }

    /// <summary>"applying", "applied", "failed".</summary>
    public required string State { get; init; }

    /// <summary>UTC, RFC 3339.</summary>
    public required string At { get; init; }

    public int? ExitCode { get; init; }

    public string? InstanceId { get; init; }

    public string? Node { get; init; }

    /// <summary>Why the run failed before it came to resources.</summary>
    public string? Error { get; init; }

    /// <summary>A sentence for each source that was away, and that what was kept of the last good run stands in for.</summary>
    public IReadOnlyList<string>? StandIns { get; init; }

    public int? Changed { get; init; }

    public int? InSync { get; init; }

    /// <summary>Resources that do not hold, and why, in order.</summary>
    public IReadOnlyList<StatusProblem>? Problems { get; init; }

    /// <summary>What is left behind and only said, each a sentence.</summary>
    public IReadOnlyList<string>? Notes { get; init; }

    public IReadOnlyDictionary<string, double>? PhaseSeconds { get; init; }

    /// <summary>The agent's own, by phase.</summary>
    public IReadOnlyDictionary<string, double>? ProcessorSeconds { get; init; }

    /// <summary>Of the programs that it ran, by phase; those phases that ran some.</summary>
    public IReadOnlyDictionary<string, double>? ProgramsProcessorSeconds { get; init; }

    /// <summary>Which configuration this node was made from, and which one waits.</summary>
    public StatusAdoption? Adoption { get; init; }

    public void Write(string path) => Files.Write(path, JsonSerializer.SerializeToUtf8Bytes(this, Context.StatusFile), (UnixFileMode)0b110_100_100);

    /// <summary>
    /// For what changes nothing on the node: the rest goes on to say what the last run came to. Nothing happens where there was none in this boot.
    /// </summary>
    /// <exception cref="MachineException"/>
    public static void Say(string path, Func<StatusAdoption?, StatusAdoption> adoption)
    {
        try
        {
            if (Files.Text(path) is { } text && JsonSerializer.Deserialize(text, Context.StatusFile) is { } status)
            {
                (status with { Adoption = adoption(status.Adoption) }).Write(path);
            }
        }
        catch (Exception e) when (e is JsonException or ProbeException)
        {
            throw new MachineException("say in the status file what was adopted", $"{path}: {e.Message}", e);
        }
    }
}

/// <summary>Times are UTC, RFC 3339; configurations go by the first digits of their digest, in which secrets have no part.</summary>
internal sealed record StatusAdoption
{
    /// <summary>"boot" or "running".</summary>
    public string? When { get; init; }

    public string? Adopted { get; init; }

    public string? AdoptedAt { get; init; }

    /// <summary>What is there and not adopted.</summary>
    public string? Pending { get; init; }

    /// <summary>When this node first saw it.</summary>
    public string? PendingSince { get; init; }

    /// <summary>From when on the node takes it; null where it does so with its next look, or its next boot.</summary>
    public string? Slot { get; init; }

    public string? LookedAt { get; init; }

    /// <summary>Why the last look came to nothing.</summary>
    public string? Error { get; init; }
}

internal sealed record StatusProblem(string Resource, string Outcome, string Why)
{
    public static IReadOnlyList<StatusProblem> Of(RunResult result) =>
        [.. result.Steps.Where(s => s.Outcome is not (Held or Changed))
            .Select(s => new StatusProblem(s.Resource.Id, RunText.Verb(s.Outcome), RunText.Why(s.Outcome)))];
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, WriteIndented = true)]
[JsonSerializable(typeof(StatusFile))]
internal sealed partial class StatusJson : JsonSerializerContext;
