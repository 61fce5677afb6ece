using System.Text.Json;
using System.Text.Json.Serialization;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Network;

namespace NodeAgent.Resources;

/// <summary>Where a node's range for its pods comes from.</summary>
internal interface IPodRangeSource
{
    /// <param name="wish">network.podRange, where it is given.</param>
    /// <returns>The same for the same instance, however often it is asked for.</returns>
    /// <exception cref="MachineException">Refused, or not to be had: who said so and why.</exception>
    Cidr Obtain(Cidr? wish, CancellationToken cancellation);
}

/// <summary>
/// The range that this node's pods get their addresses from, where it is allocated as the node joins, and kept: a node boots without asking anybody. What an
/// image or a disk brings from another instance does not count.
/// </summary>
/// <param name="whole">The cluster's: cluster.podRange.</param>
/// <param name="prefix">Of each node's part.</param>
/// <param name="wish">network.podRange, where it is given.</param>
internal sealed class PodRange(string instance, Cidr whole, int prefix, Cidr? wish, IPodRangeSource source)
    : Resource<FileReport>(Concern.Network, "pod range", File)
{
    public const string File = "/var/lib/nodeagent/pod-range.json";

    // What is written into it cannot be told before it is known.
    public override bool Hides(Resource other) => other is PodNetworkFile;

    /// <summary>As it is kept; null where it is not, or does not count.</summary>
    public Cidr? Known(IMachineReader reader) => Flaw(reader.File(File), out var range) is null ? range : null;

    protected override FileReport Nothing => FileReport.Absent;

    protected override FileReport Observe(IMachineReader reader) => reader.File(File);

    protected override Finding Diff(FileReport state, IReadOnlyList<Resource> pending) => state.Kind is FileKind.Directory or FileKind.Other
        ? new Refused("something that is not a file is in its place", $"look at it, then move it away: {File}")
        : Flaw(state, out _) is not { } flaw ? InSync.Instance
        : new Change(
            $"{flaw}, {(wish is null ? "range to be allocated" : $"{wish} to be claimed")}",
            state.Kind == FileKind.Absent ? Disruption.None : Disruption.RecreatesPods);

    protected override void Apply(IMachineWriter writer, FileReport state, Change change, CancellationToken cancellation)
    {
        var range = source.Obtain(wish, cancellation);
        if (OutOfPlace(range) is { } flaw)
        {
            throw new MachineException(
                Id, $"was given {range}, which {flaw}: do cluster.podRange and network.nodePrefix say what the issuers' --pod-range and --node-prefix do?");
        }

        writer.WriteFile(
            File, JsonSerializer.SerializeToUtf8Bytes(new KeptPodRange(instance, range.ToString()), PodRangeJson.Default.KeptPodRange), ConfigFile.Readable);
    }

    private string? Flaw(FileReport file, out Cidr range)
    {
        range = default;
        if (file.Kind != FileKind.Regular)
        {
            return "not there";
        }

        KeptPodRange? kept;
        try
        {
            kept = JsonSerializer.Deserialize(file.Content ?? [], PodRangeJson.Default.KeptPodRange);
            range = kept is null ? default : Cidr.Parse(kept.Range);
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            kept = null;
        }

        return kept is null ? "cannot be read"
            : kept.Instance != instance ? $"is of {kept.Instance}"
            : wish is not null && wish != range ? $"says {range}"
            : OutOfPlace(range) is { } flaw ? $"says {range}, which {flaw}"
            : null;
    }

    private string? OutOfPlace(Cidr range) => range.IsIPv6 != whole.IsIPv6 || range.Prefix < whole.Prefix || !whole.Contains(range.Address)
            ? $"is not within cluster.podRange {whole}"
        : range.Prefix != prefix ? FormattableString.Invariant($"is no /{prefix} (network.nodePrefix)")
        : null;
}

internal sealed record KeptPodRange(string Instance, string Range);

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(KeptPodRange))]
internal sealed partial class PodRangeJson : JsonSerializerContext;
