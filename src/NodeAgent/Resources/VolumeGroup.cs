using System.Globalization;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// One volume group over all ephemeral disks. docs/disks.md has the truth table of when a disk is used, left alone or refused; the rows are tests.
/// </summary>
internal sealed class VolumeGroup : Resource<VolumeGroup.State>
{
    private readonly IReadOnlyList<string> _disks;

    /// <param name="disks">Kernel names, as in /dev/nvme1n1, of this boot's facts.</param>
    public VolumeGroup(string name, IReadOnlyList<string> disks)
        : base(Concern.Storage, "volume group", name)
    {
        _disks = disks;
    }

    /// <summary>Remove foreign signatures and partitions from disks that nothing uses.</summary>
    public bool WipeForeign { get; init; }

    /// <summary>Make the group anew when a member is lost.</summary>
    public bool RebuildLost { get; init; }

    public override bool Hides(Resource other) => other is LogicalVolume;

    protected override State Nothing => new(null, null, [.. _disks.Select(d => new DiskState(d, null, []))]);

    protected override State Observe(IMachineReader reader)
    {
        var groups = reader.VolumeGroups();
        var group = groups.FirstOrDefault(g => g.Name == Name);
        var present = reader.Disks();
        var disks = new List<DiskState>();
        foreach (var path in _disks)
        {
            if (group?.Devices.Contains(path) == true)
            {
                continue;
            }

            var disk = present.FirstOrDefault(d => d.Path == path)
                ?? throw new ProbeException(path, "the disk was there when facts were gathered and is not there now");
            var owner = groups.FirstOrDefault(g => g.Devices.Contains(path));
            var use = disk.ReadOnly ? "is read-only"
                : owner is not null ? $"belongs to the volume group {owner.Name}"
                : disk.Holders.Count > 0 ? $"is held by {string.Join(", ", disk.Holders)}"
                : disk.Users.Count > 0 ? $"is in use: {string.Join(", ", disk.Users)}"
                : null;
            // A disk that is in use is refused whatever is on it, and need not be probed.
            IReadOnlyList<string> foreign = use is not null
                ? []
                : [.. reader.Signatures(path).Select(s => s.Type).Concat(disk.Partitions.Select(p => $"partition {p}")).Distinct()];
            disks.Add(new DiskState(path, use, foreign));
        }

        return new State(group, group is not null && !group.Tags.Contains(Ownership.VolumeTag) ? "carries no tag of ours" : null, disks);
    }

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending)
    {
        if (state.Group is { } group)
        {
            if (state.ForeignGroup is { } why)
            {
                return new Refused(
                    $"a volume group of this name exists and {why}",
                    $"give ours another name (storage.volumeGroup), or, if this one is to be ours: vgchange --addtag {Ownership.VolumeTag} {Name}");
            }

            // Blank disks beside a whole group of ours are left alone: stripes cannot take them, and taking them for linear volumes alone would surprise.
            return group.MissingDevices == 0 ? InSync.Instance
                : RebuildLost ? Making(state, $"has lost {Count(group.MissingDevices, "disk")} and is made anew on those left", Disruption.DestroysData)
                : new Refused(
                    $"has lost {Count(group.MissingDevices, "disk")}",
                    "replace the instance, or set storage.lostMember: rebuild to make the volume group anew on the disks that are left, losing what is on it");
        }

        return Making(state, $"not there; on {string.Join(", ", _disks)}", Disruption.None);
    }

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation)
    {
        if (state.Group is not null)
        {
            writer.RemoveVolumeGroup(Name);
        }

        foreach (var disk in state.Disks.Where(d => d.Foreign.Count > 0))
        {
            writer.WipeDevice(disk.Path);
        }

        writer.CreateVolumeGroup(Name, Ownership.VolumeTag, _disks);
    }

    private Finding Making(State state, string why, Disruption disruption)
    {
        if (state.Disks.FirstOrDefault(d => d.Use is not null) is { } used)
        {
            return new Refused($"{used.Path} {used.Use}", "it is left alone whatever the configuration says; free it, or leave it out of storage.match");
        }

        var foreign = state.Disks.Where(d => d.Foreign.Count > 0).ToList();
        if (foreign.Count == 0)
        {
            return new Change(why, disruption);
        }

        var named = string.Join("; ", foreign.Select(d => $"{d.Path} carries {string.Join(", ", d.Foreign)}"));
        return WipeForeign
            ? new Change($"{why}; wiped first: {named}", Disruption.DestroysData)
            : new Refused(named, "what is on it is not ours: look at it with lsblk --fs, then wipe it by hand (wipefs --all) or set storage.wipe: foreign");
    }

    private static string Count(int count, string noun) => string.Create(CultureInfo.InvariantCulture, $"{count} {noun}{(count == 1 ? "" : "s")}");

    /// <param name="Disks">Those of ours that are not members of the group.</param>
    internal sealed record State(VolumeGroupReport? Group, string? ForeignGroup, IReadOnlyList<DiskState> Disks);

    /// <param name="Use">Why it must not be touched; null when nothing uses it.</param>
    /// <param name="Foreign">Signatures and partitions on it.</param>
    internal sealed record DiskState(string Path, string? Use, IReadOnlyList<string> Foreign);
}
