using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>The CNI configuration of a node whose range is not known when the list is made: it is what is kept of it.</summary>
/// <param name="content">Of the range, in words.</param>
internal sealed class PodNetworkFile(string path, PodRange range, Func<string, string> content) : Resource<PodNetworkFile.State>(Concern.Network, "file", path)
{
    /// <param name="Range">Null while it is not known.</param>
    internal sealed record State(FileReport File, string? Range);

    /// <summary>For whoever shows a node's files without the node.</summary>
    public string Placeholder => content("range to be allocated");

    protected override State Nothing { get; } = new(FileReport.Absent, "range to be allocated");

    protected override State Observe(IMachineReader reader) => new(reader.File(Name), range.Known(reader)?.ToString());

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending) => state switch
    {
        { Range: null } => new Unknown("the range of this node's pods is not known"),
        { File.Kind: FileKind.Directory or FileKind.Other } =>
            new Refused("something that is not a file is in its place", $"look at it, then move it away: {Name}"),
        { File.Kind: FileKind.Absent } => new Change("not there", Disruption.RecreatesPods, UnifiedDiff.Of("", content(state.Range))),
        { File.Kind: FileKind.Link } => new Change($"is a link to {state.File.Target}", Disruption.RecreatesPods),
        _ when !state.File.Matches(Encoding.UTF8.GetBytes(content(state.Range))) => new Change(
            "content differs", Disruption.RecreatesPods, UnifiedDiff.Of(Encoding.UTF8.GetString(state.File.Content ?? []), content(state.Range))),
        _ when state.File is { Mode: not ConfigFile.Readable } or { Uid: not 0 }
            or { Gid: not 0 } => new Change("owner or mode differ") { LeavesContent = true },
        _ => InSync.Instance,
    };

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation) =>
        writer.WriteFile(Name, Encoding.UTF8.GetBytes(content(state.Range!)), ConfigFile.Readable);
}
