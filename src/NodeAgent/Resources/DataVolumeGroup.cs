using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// The volume group on one EBS volume whose data outlives machines. Its tag says whose data it is, in the commit that makes it, so that no other cluster's
/// machine takes it for its own. It is made on a blank volume and never wiped, rebuilt or removed: docs/disks.md has the truth table.
/// </summary>
internal sealed class DataVolumeGroup(string name, string volume, string owner) : Resource<DataVolumeGroup.State>(Concern.Storage, "volume group", name)
{
    public override bool Hides(Resource other) => other is LogicalVolume;

    // Blank, and there: the change that says so needs no device's name.
    protected override State Nothing => new("", null, null, null, []);

    protected override State Observe(IMachineReader reader)
    {
        var disk = AttachedVolume.Find(reader, volume) ?? throw new ProbeException(volume, "is not attached to this machine");
        var groups = reader.VolumeGroups();
        var here = groups.FirstOrDefault(g => g.Devices.Contains(disk.Path));
        var elsewhere = groups.FirstOrDefault(g => g.Name == Name && !g.Devices.Contains(disk.Path));
        var use = disk.ReadOnly ? "is read-only"
            : here is not null ? null
            : disk.Holders.Count > 0 ? $"is held by {string.Join(", ", disk.Holders)}"
            : disk.Users.Count > 0 ? $"is in use: {string.Join(", ", disk.Users)}"
            : null;
        IReadOnlyList<string> foreign = here is not null || use is not null
            ? []
            : [.. reader.Signatures(disk.Path).Select(s => s.Type).Concat(disk.Partitions.Select(p => $"partition {p}")).Distinct()];
        return new State(disk.Path, here, elsewhere, use, foreign);
    }

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending)
    {
        var disk = $"{volume} ({state.Disk})";
        if (state.Elsewhere is { } other)
        {
            return new Refused(
                $"a volume group of this name is on {string.Join(", ", other.Devices)}, and not on {disk}",
                "two volumes of control planes cannot be told apart on one machine, or etcd.volume names another one than before: detach the one that is "
                    + "not meant");
        }

        if (state.Use is { } use)
        {
            return new Refused($"{disk} {use}", "it is left alone whatever the configuration says; free it, or name another volume in etcd.volume");
        }

        if (state.Here is not { } here)
        {
            return state.Foreign.Count == 0
                ? new Change(state.Disk.Length == 0 ? $"not there; on {volume}" : $"not there; on {disk}")
                : new Refused(
                    $"{disk} carries {string.Join(", ", state.Foreign)}",
                    "what is on it is not ours, and nothing wipes this volume: look at it with lsblk --fs, then name a blank one in etcd.volume, or wipe it "
                        + "by hand (wipefs --all)");
        }

        return here.Name != Name
                ? new Refused(
                    $"{disk} belongs to the volume group {here.Name}", "name a blank volume in etcd.volume, or one that this cluster's control plane had")
            : here.Tags.Contains(Ownership.DataTag(owner)) ? InSync.Instance
            : here.Tags.Select(Ownership.DataOwner).FirstOrDefault(o => o is not null) is { } cluster
                ? new Refused(
                    $"{disk} holds the data of the cluster {cluster}, and this is {owner}",
                    "name this cluster's volume in etcd.volume; nothing on this one was touched")
            : new Refused(
                $"the volume group on {disk} carries no mark of ours",
                $"name another volume in etcd.volume, or, if this one is to be {owner}'s: vgchange --addtag {Ownership.DataTag(owner)} {Name}");
    }

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation) =>
        writer.CreateVolumeGroup(Name, Ownership.DataTag(owner), [state.Disk]);

    /// <param name="Here">The group that the volume is in.</param>
    /// <param name="Elsewhere">A group of our name on other devices.</param>
    /// <param name="Use">Why it must not be touched; null when nothing uses it.</param>
    /// <param name="Foreign">Signatures and partitions on it.</param>
    internal sealed record State(string Disk, VolumeGroupReport? Here, VolumeGroupReport? Elsewhere, string? Use, IReadOnlyList<string> Foreign);
}
