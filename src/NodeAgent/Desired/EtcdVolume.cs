using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// etcd's data on an EBS volume that outlives the machine: one volume group, volume and file system with the marks of all others, and the cluster's name.
/// </summary>
internal static class EtcdVolume
{
    private const string Name = "data";

    // Not na-, as those of storage.volumes begin: one of them may be called etcd.
    private const string Label = "nodeag-etcd";

    /// <summary>
    /// etcd's --data-dir. On a volume a directory below the mount: nothing but etcd's is in it whatever the file system keeps at its root, its mode is etcd's
    /// own 0700, and where the volume is not mounted there is no such directory, so that kubelet holds the pod back (hostPath's type Directory).
    /// </summary>
    public static string DataDirectory(EtcdConfig etcd) => etcd.Volume is null ? etcd.DataDirectory : $"{etcd.DataDirectory}/data";

    /// <summary>Storage with that volume in it, on nodes that run etcd.</summary>
    public static Storage AddTo(Storage storage, NodeConfig config)
    {
        if (!ControlPlanePods.RunHere(config))
        {
            return storage;
        }

        var target = config.Etcd.DataDirectory;
        const string What = $"What=/dev/disk/by-label/{Label}";
        var place = new DataPlace(target, config.Etcd.Volume, $"/etc/systemd/system/{Storage.MountUnit(target)}", What);
        if (config.Etcd.Volume is not { } id)
        {
            return storage with { Volumes = [.. storage.Volumes, place] };
        }

        var attached = new AttachedVolume(id) { Needs = [place] };
        var group = new DataVolumeGroup(EtcdConfig.VolumeGroup, id, config.Cluster.Name) { Needs = [attached] };
        var logical = new LogicalVolume(group.Name, Name, new VolumeSize(null, 100), stripes: 1) { Needs = [group] };
        var filesystem = new Filesystem(group.Name, Name, "xfs", Label) { Needs = [logical] };
        var file = Storage.UnitFile($"etcd's data ({id})", target, Label, "xfs", []);
        return storage with
        {
            Volumes = [.. storage.Volumes, place, attached, group, logical, filesystem],
            UnitFiles = [.. storage.UnitFiles, file],
            Mounts =
            [
                .. storage.Mounts.Append(new(Storage.MountUnit(target), target, group.Name, Name, "xfs", [], filesystem, file))
                .OrderBy(m => m.Target, StringComparer.Ordinal),
            ],
        };
    }
}
