using System.Globalization;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// Volume groups, volumes and mounts of ours that the configuration no longer names. They hold data, so they are said and stay; their unit files go.
/// </summary>
/// <param name="group">Null where the configuration wants none.</param>
/// <param name="volumes">Wanted volumes by name, each with the place where it is mounted.</param>
internal sealed class UnwantedVolumes(string? group, IReadOnlyDictionary<string, string> volumes)
    : Resource<IReadOnlyList<string>>(Concern.Storage, "remains", "of volumes")
{
    protected override IReadOnlyList<string> Nothing => [];

    protected override IReadOnlyList<string> Observe(IMachineReader reader)
    {
        try
        {
            // Volumes of ours are activated by boot, so their disks have something stacked on them; without, nobody needs lvm(8), or even has it.
            if (group is null && reader.Disks().All(d => d.Holders.Count == 0))
            {
                return [];
            }

            var mounts = reader.Mounts();
            return [.. reader.VolumeGroups().Where(g => g.Tags.Contains(Ownership.VolumeTag)).SelectMany(g => Of(g, mounts))];
        }
        catch (ProbeException e)
        {
            return group is null ? [$"whether there are volume groups of ours could not be seen: {e.Message}"] : [];
        }
    }

    protected override Finding Diff(IReadOnlyList<string> state, IReadOnlyList<Resource> pending) => InSync.Saying(state);

    protected override void Apply(IMachineWriter writer, IReadOnlyList<string> state, Change change, CancellationToken cancellation) =>
        throw new MachineException(Id, "there is nothing that could be changed about it");

    private IEnumerable<string> Of(VolumeGroupReport found, IReadOnlyList<MountReport> mounts)
    {
        var ours = found.Volumes.Where(v => v.Tags.Contains(Ownership.VolumeTag)).ToList();
        if (found.Name != group)
        {
            var targets = ours.SelectMany(v => Targets(found, v, mounts)).Order(StringComparer.Ordinal).ToList();
            var count = ours.Count.ToString(CultureInfo.InvariantCulture);
            yield return $"volume group {found.Name} is no longer wanted and keeps its {count} volumes and their data{At(targets)}; "
                + $"to remove it with all that is on it: {Unmount(targets)}vgremove --yes {found.Name}";
            yield break;
        }

        foreach (var volume in ours)
        {
            var targets = Targets(found, volume, mounts);
            if (!volumes.TryGetValue(volume.Name, out var wanted))
            {
                yield return $"volume {found.Name}/{volume.Name} is no longer wanted and keeps its data{At(targets)}; "
                    + $"to remove it with all that is on it: {Unmount(targets)}lvremove --yes {found.Name}/{volume.Name}";
            }
            else if (targets.Where(t => t != wanted).ToList() is { Count: > 0 } elsewhere)
            {
                yield return $"volume {found.Name}/{volume.Name} is still mounted at {string.Join(", ", elsewhere)}, until the next boot or: "
                    + Unmount(elsewhere).TrimEnd(' ', '&');
            }
        }
    }

    // Pods' volumes are bind mounts of parts of it, below kubelet's directory, and come and go with the pods.
    private static List<string> Targets(VolumeGroupReport group, LogicalVolumeReport volume, IReadOnlyList<MountReport> mounts) =>
    [
        .. mounts.Where(m => Filesystem.IsDevice(m.Source, group.Name, volume.Name)).Select(m => m.Target)
            .Where(t => !t.Contains("/pods/", StringComparison.Ordinal)).Distinct().Order(StringComparer.Ordinal),
    ];

    private static string At(List<string> targets) => targets.Count == 0 ? "" : $" (mounted at {string.Join(", ", targets)})";

    private static string Unmount(List<string> targets) => string.Concat(targets.Select(t => $"umount {t} && "));
}
