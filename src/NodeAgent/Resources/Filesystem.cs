using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// The file system on a logical volume of ours. Whether it was ever finished is written on the volume itself (<see cref="Ownership.UnformattedTag"/>, set in
/// the commit that makes the volume, taken away after mkfs): a power cut inside mkfs leaves the tag, and mkfs runs again.
/// </summary>
internal sealed class Filesystem(string group, string volume, string type, string label)
    : Resource<Filesystem.State>(Concern.Storage, "file system", $"/dev/{group}/{volume}")
{
    protected override State Nothing => new(true, []);

    protected override State Observe(IMachineReader reader)
    {
        var found = reader.VolumeGroups().FirstOrDefault(g => g.Name == group)?.Volumes.FirstOrDefault(v => v.Name == volume)
            ?? throw new ProbeException(Name, "there is no such logical volume");
        return found.Tags.Contains(Ownership.UnformattedTag) ? new State(true, [])
            // The kernel that mounted it has probed it, and saves a process.
            : reader.Mounts().LastOrDefault(m => IsDevice(m.Source, group, volume)) is { } mount ? new State(false, [mount.FileSystem])
            : new State(false, [.. reader.Signatures(Name).Select(s => s.Type)]);
    }

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending) =>
        state.Unformatted ? new Change($"not made; {type}, label {label}")
        : state.Types is [var only] && only == type ? InSync.Instance
        : new Refused(
            state.Types.Count == 0
                ? $"the volume was formatted as {type} and carries nothing now"
                : $"the volume carries {string.Join(", ", state.Types)}, should be {type}",
            $"look at it; to have it made anew, losing what is on it: lvchange --addtag {Ownership.UnformattedTag} {group}/{volume}");

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation)
    {
        writer.MakeFilesystem(Name, type, label);
        writer.RemoveLogicalVolumeTag(group, volume, Ownership.UnformattedTag);
    }

    /// <summary>Whether a mount's source is this volume: device mapper doubles the hyphens of both names.</summary>
    public static bool IsDevice(string source, string group, string volume) =>
        source == $"/dev/{group}/{volume}"
        || source == $"/dev/mapper/{group.Replace("-", "--", StringComparison.Ordinal)}-{volume.Replace("-", "--", StringComparison.Ordinal)}";

    internal sealed record State(bool Unformatted, IReadOnlyList<string> Types);
}
