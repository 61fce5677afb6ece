using System.Globalization;
using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Machine;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>Ephemeral disks to mounts: one volume group, its volumes, their file systems, their mount units.</summary>
internal sealed record Storage(IReadOnlyList<Resource> Volumes, IReadOnlyList<Resource> UnitFiles, IReadOnlyList<Storage.PlannedMount> Mounts)
{
    private const string ElasticBlockStore = "Amazon Elastic Block Store";

    private static readonly Storage OnRootDisk = new([], [], []) { Remains = new UnwantedVolumes(null, new Dictionary<string, string>()) };

    /// <summary>What is said of volumes that are no longer wanted.</summary>
    public required Resource Remains { get; init; }

    /// <param name="runtimeRoot">Where the volume is mounted that has no place of its own.</param>
    public static Storage Build(StorageConfig config, string runtimeRoot, NodeFacts facts)
    {
        var disks = EphemeralDisks(config.Match, facts);
        if (config.Volumes.Count == 0)
        {
            return OnRootDisk;
        }

        if (disks.Count == 0)
        {
            return config.WhenNoDisks == NoDisksPolicy.RootDisk
                ? OnRootDisk with
                {
                    Volumes = [new FormerVolumes([.. config.Volumes.Values.Select(v => $"/etc/systemd/system/{MountUnit(v.Mount ?? runtimeRoot)}")])],
                }
                : throw new NotPossibleException(
                    $"storage.whenNoDisks is 'refuse' and {facts.Instance.Id} ({facts.Instance.Type}) has no ephemeral disk; "
                    + $"it has {string.Join(", ", facts.Disks.Select(d => $"{d.Path} ({d.Model})"))}. Launch a type with instance store, or widen "
                    + "storage.match")
                { IsRefusal = true };
        }

        var group = new VolumeGroup(config.VolumeGroup, [.. disks.Select(d => d.Path)])
        {
            WipeForeign = config.Wipe == WipePolicy.Foreign,
            RebuildLost = config.LostMember == LostMemberPolicy.Rebuild,
        };
        var stripes = config.Layout == VolumeLayout.Striped ? disks.Count : 1;
        var resources = new List<Resource> { group };
        var files = new List<Resource>();
        var mounts = new List<PlannedMount>();
        // Fixed sizes before percentages, so that neither can take what the other was promised; outer mounts before inner ones.
        foreach (var (name, volume) in config.Volumes.OrderBy(v => v.Value.Size.Percent ?? 0).ThenBy(v => v.Key, StringComparer.Ordinal))
        {
            var target = volume.Mount ?? runtimeRoot;
            var type = volume.Filesystem == FilesystemType.Xfs ? "xfs" : "ext4";
            var logical = new LogicalVolume(config.VolumeGroup, name, volume.Size, stripes) { Needs = [group] };
            var filesystem = new Filesystem(config.VolumeGroup, name, type, Label(name)) { Needs = [logical] };
            resources.AddRange([logical, filesystem]);
            var file = UnitFile($"Node storage {name}", target, Label(name), type, volume.Options);
            files.Add(file);
            mounts.Add(new PlannedMount(MountUnit(target), target, config.VolumeGroup, name, type, volume.Options, filesystem, file));
        }

        return new Storage(resources, files, [.. mounts.OrderBy(m => m.Target, StringComparer.Ordinal)])
        {
            Remains = new UnwantedVolumes(config.VolumeGroup, mounts.ToDictionary(m => m.Volume, m => m.Target)),
        };
    }

    public static ConfigFile UnitFile(string what, string target, string label, string type, IReadOnlyList<string> options) =>
        new(Concern.Storage, $"/etc/systemd/system/{MountUnit(target)}", $"""
            {Ownership.Header}
            [Unit]
            Description={what} at {target}
            # Not part of local-fs.target: a lost disk keeps what needs this mount from starting, and nothing else.
            DefaultDependencies=no
            After=local-fs-pre.target
            Conflicts=umount.target
            Before=umount.target

            [Mount]
            # By label, because the volume appears before its file system does.
            What=/dev/disk/by-label/{label}
            Where={target}
            Type={type}
            {(options.Count == 0 ? "" : $"Options={string.Join(',', options)}\n")}
            """);

    /// <summary>A RequiresMountsFor= line with the mounts of ours that hold any of the paths or a part of one; empty when there are none.</summary>
    public string RequiresMountsFor(params IReadOnlyList<string> paths)
    {
        var holding = Mounts.Where(m => Holds(m.Target, paths)).Select(m => m.Target).ToList();
        return holding.Count == 0 ? "" : $"RequiresMountsFor={string.Join(' ', holding)}\n";
    }

    /// <summary>Whether something mounted at <paramref name="target"/> is above, at or below one of the paths.</summary>
    public static bool Holds(string target, params IReadOnlyList<string> paths) =>
        paths.Any(p => $"{p}/".StartsWith(target + "/", StringComparison.Ordinal) || target.StartsWith(p + "/", StringComparison.Ordinal));

    /// <summary>
    /// Which unit to stop before its file, one of ours, goes. Not the mount of what runtime or kubelet have open: that would take their state from under
    /// pods that run, and stays until the next boot.
    /// </summary>
    public static string? StopsFirst(string path, string text, params IReadOnlyList<string> inUse)
    {
        var unit = path["/etc/systemd/system/".Length..];
        if (unit.EndsWith(".service", StringComparison.Ordinal))
        {
            return unit;
        }

        var where = text.Split('\n').FirstOrDefault(l => l.StartsWith("Where=", StringComparison.Ordinal))?["Where=".Length..];
        return unit.EndsWith(".mount", StringComparison.Ordinal) && where is not null && !Holds(where, inUse) ? unit : null;
    }

    /// <summary>As systemd-escape --path --suffix=mount names it.</summary>
    public static string MountUnit(string path)
    {
        var name = new StringBuilder();
        foreach (var b in Encoding.UTF8.GetBytes(path.Trim('/')))
        {
            var c = (char)b;
            name.Append(c == '/' ? "-"
                : char.IsAsciiLetterOrDigit(c) || c is ':' or '_' || (c == '.' && name.Length > 0) ? c.ToString()
                : string.Create(CultureInfo.InvariantCulture, $"\\x{b:x2}"));
        }

        return name + ".mount";
    }

    private static string Label(string volume) => "na-" + volume;

    private static List<DiskReport> EphemeralDisks(DiskMatch match, NodeFacts facts) =>
    [
        .. facts.Disks
            .Where(d => d.Model != ElasticBlockStore && !d.Serial.StartsWith("vol", StringComparison.Ordinal))
            // Xen shows neither model nor serial: there the mapping says which ones are EBS (ami, root, ebsN).
            .Where(d => !IsMapped(d, facts.Instance.BlockDeviceMapping, ephemeral: false))
            .Where(d => match.Models.Contains(d.Model)
                || (match.BlockDeviceMapping && IsMapped(d, facts.Instance.BlockDeviceMapping, ephemeral: true))
                || match.Paths.Any(p => Matches(p, d.Path) || d.Links.Any(l => Matches(p, l))))
            .OrderBy(d => d.Serial, StringComparer.Ordinal).ThenBy(d => d.Path, StringComparer.Ordinal),
    ];

    // Xen names a disk that metadata calls sdb either so or xvdb, by the kernel's front-end driver.
    private static bool IsMapped(DiskReport disk, IReadOnlyDictionary<string, string> mapping, bool ephemeral)
    {
        foreach (var (virtualName, device) in mapping)
        {
            if (virtualName.StartsWith("ephemeral", StringComparison.Ordinal) == ephemeral)
            {
                var name = device.StartsWith("/dev/", StringComparison.Ordinal) ? device["/dev/".Length..] : device;
                var xen = name.StartsWith("sd", StringComparison.Ordinal) ? string.Concat("xvd", name.AsSpan(2)) : name;
                if (disk.Path == $"/dev/{name}" || disk.Path == $"/dev/{xen}")
                {
                    return true;
                }
            }
        }

        return false;
    }

    private static bool Matches(string pattern, string path) => System.IO.Enumeration.FileSystemName.MatchesSimpleExpression(pattern, path, ignoreCase: false);

    internal sealed record PlannedMount(
        string Unit, string Target, string Group, string Volume, string Type, IReadOnlyList<string> Options, Resource Filesystem, Resource UnitFile)
    {
        public Resource ToResource(Resource reload) => new Mount(Unit, Target, Group, Volume, Type, Options) { Needs = [Filesystem, UnitFile, reload] };
    }
}
