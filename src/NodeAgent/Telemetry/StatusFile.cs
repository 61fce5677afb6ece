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
    private static readonly StatusJson Context = new(new JsonSerializerOptions(StatusJson.Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

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

    public void Write(string path) => Files.Write(path, JsonSerializer.SerializeToUtf8Bytes(this, Context.StatusFile), (UnixFileMode)0b110_100_100);
}

internal sealed record StatusProblem(string Resource, string Outcome, string Why)
{
    public static IReadOnlyList<StatusProblem> Of(RunResult result) =>
        [.. result.Steps.Where(s => s.Outcome is not (Held or Changed)).Select(s => new StatusProblem(s.Resource.Id, RunText.Verb(s.Outcome), RunText.Why(s.Outcome)))];
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, WriteIndented = true)]
[JsonSerializable(typeof(StatusFile))]
internal sealed partial class StatusJson : JsonSerializerContext;
