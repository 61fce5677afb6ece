using System.Globalization;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// A volume of our group. It is made once: a size or layout that differs later is said, not changed, since instance-store data cannot be moved elsewhere.
/// </summary>
internal sealed class LogicalVolume(string group, string name, VolumeSize size, int stripes)
    : Resource<LogicalVolume.State>(Concern.Storage, "logical volume", $"{group}/{name}")
{
    public override bool Hides(Resource other) => other is Filesystem;

    protected override State Nothing => new(null, null);

    protected override State Observe(IMachineReader reader)
    {
        var found = reader.VolumeGroups().FirstOrDefault(g => g.Name == group);
        return new State(found, found?.Volumes.FirstOrDefault(v => v.Name == name));
    }

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending)
    {
        if (state.Volume is not { } volume)
        {
            return state.Group is { } free && Extents(free) is var wanted && wanted > free.FreeExtents
                ? new Refused(
                    string.Create(CultureInfo.InvariantCulture, $"needs {wanted} extents of {free.ExtentBytes} bytes; {group} has {free.FreeExtents} free"),
                    "make the sizes under storage.volumes smaller")
                : new Change($"not there; {size}, {(stripes > 1 ? string.Create(CultureInfo.InvariantCulture, $"striped over {stripes} disks") : "linear")}");
        }

        return !volume.Tags.Contains(Ownership.VolumeTag)
            ? new Refused(
                "carries no tag of ours", $"rename ours under storage.volumes, or, if this one is to be ours: lvchange --addtag {Ownership.VolumeTag} {Name}")
            : volume.Active ? InSync.Instance : new Change("not active");
    }

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation)
    {
        if (state.Volume is not null)
        {
            writer.ActivateLogicalVolume(group, name);
            return;
        }

        var free = state.Group ?? throw new MachineException(Id, $"there is no volume group {group}");
        writer.CreateLogicalVolume(group, name, Extents(free), stripes, [Ownership.VolumeTag, Ownership.UnformattedTag]);
    }

    // Rounded down to whole extents on every stripe, so that percentages that sum to 100 always fit.
    private long Extents(VolumeGroupReport free)
    {
        var extents = size.Percent is { } percent ? free.Extents * percent / 100 : (size.Bytes!.Value + free.ExtentBytes - 1) / free.ExtentBytes;
        return Math.Max(stripes, extents / stripes * stripes);
    }

    internal sealed record State(VolumeGroupReport? Group, LogicalVolumeReport? Volume);
}
