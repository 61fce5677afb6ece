using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Pki;

namespace NodeAgent.Tests.Simulation;

/// <summary>
/// A machine in memory, for what a real one will not do on demand: fail at the n-th write. It keeps the rules that resources depend on (what a reboot clears,
/// when systemd wants a reload, that a blank disk has no volume group), and its answers are what LinuxReader's are.
/// </summary>
internal sealed class SimulatedMachine : IMachineReader, IMachineWriter
{
    private readonly SortedDictionary<string, FileReport> _files = new(StringComparer.Ordinal);
    private readonly Dictionary<string, UnitReport> _units = new(StringComparer.Ordinal);
    private readonly Dictionary<string, ModuleState> _modules = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _sysctls = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _packetFilters = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<Signature>> _signatures = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _labels = new(StringComparer.Ordinal);
    private readonly List<MountReport> _mounts = [];
    private readonly List<DiskReport> _disks;
    private readonly List<VolumeGroupReport> _groups = [];
    // By the source of the mount that they are on, while it is not mounted.
    private readonly Dictionary<string, List<KeyValuePair<string, FileReport>>> _unmounted = new(StringComparer.Ordinal);
    private int _invocation;

    public SimulatedMachine(IEnumerable<DiskReport> disks)
    {
        _disks = [.. disks];
        foreach (var unit in new[] { "containerd.service", "kubelet.service", "nodeagent-ready.service", "nodeagent-issuer.service",
            "nodeagent-cluster.service" })
        {
            _units[unit] = new UnitReport(unit, LoadState: "loaded", UnitFileState: "enabled");
        }

        _units["nodeagent-adopt.timer"] = new UnitReport("nodeagent-adopt.timer", LoadState: "loaded", UnitFileState: "static");
        _units["nodeagent-watch.service"] = new UnitReport("nodeagent-watch.service", LoadState: "loaded", UnitFileState: "static");
        _units["nodeagent-renew.timer"] = new UnitReport("nodeagent-renew.timer", LoadState: "loaded", UnitFileState: "enabled");

        foreach (var module in new[] { "overlay", "br_netfilter", "nf_conntrack", "nf_tables", "dummy", "ip_set", "ip_vs", "ip_vs_rr", "ip_vs_sh", "ip_vs_wrr",
            "xt_set" })
        {
            _modules[module] = ModuleState.Available;
        }
    }

    /// <summary>Every write so far, in words: what a scenario changed and in which order.</summary>
    public List<string> Writes { get; } = [];

    /// <summary>Counts down with each write; at 0 the power goes, before the write's effect or, with <see cref="CrashAfterEffect"/>, just after it.</summary>
    public int CrashAtWrite { get; set; } = -1;

    public bool CrashAfterEffect { get; set; }

    /// <summary>Devices whose signatures cannot be read.</summary>
    public HashSet<string> Unreadable { get; } = [];

    /// <summary>Attached by somebody else while they are waited for.</summary>
    public List<DiskReport> Coming { get; } = [];

    /// <summary>Fails a write, given its words, with the message that is returned; null lets it pass.</summary>
    public Func<string, string?> Breaks { get; set; } = _ => null;

    public IReadOnlyDictionary<string, FileReport> AllFiles => _files;

    public DateTimeOffset Now { get; set; } = new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);

    public FileReport File(string path) => _files.TryGetValue(path, out var file) ? file
        : _files.Keys.Any(f => f.StartsWith(path + "/", StringComparison.Ordinal)) ? new FileReport(FileKind.Directory, Mode: (UnixFileMode)0x1ED)
        : FileReport.Absent;

    public IReadOnlyList<string> Directory(string path) =>
        [.. _files.Keys.Where(f => f.StartsWith(path + "/", StringComparison.Ordinal)).Select(f => f[(path.Length + 1)..].Split('/')[0]).Distinct()];

    public KeyReport PrivateKey(string path) => _files.TryGetValue(path, out var file) && file.Content is { } content
        ? KeyFile.Report(content, file.Mode)
        : KeyReport.Absent;

    public UnitReport Unit(string name) => _units.TryGetValue(name, out var unit) ? unit
        : _files.ContainsKey($"/etc/systemd/system/{name}") ? new UnitReport(name, LoadState: "loaded", UnitFileState: "static")
        : new UnitReport(name);

    public IReadOnlyList<MountReport> Mounts() => _mounts;

    public IReadOnlyList<DiskReport> Disks() => _disks;

    public IReadOnlyList<Signature> Signatures(string device) => Unreadable.Contains(device)
        ? throw new ProbeException($"signatures of {device}", "Input/output error")
        : _signatures.TryGetValue(device, out var signatures) ? signatures : [];

    public IReadOnlyList<VolumeGroupReport> VolumeGroups() => _groups;

    public ModuleState Module(string name) => _modules.GetValueOrDefault(name, ModuleState.Unavailable);

    public string? Sysctl(string name) => name.StartsWith("net.bridge.", StringComparison.Ordinal) && _modules["br_netfilter"] != ModuleState.Loaded
        ? null
        : _sysctls.GetValueOrDefault(name, "0");

    public string? PacketFilter(string table) => _packetFilters.GetValueOrDefault(table);

    /// <summary>What kube-proxy, kubelet and others have in the kernel.</summary>
    public SimulatedRules Rules { get; } = new();

    public IReadOnlyList<string> PacketFilterTables() =>
        [.. Rules.Tables.Concat(_packetFilters.Keys.Select(t => $"ip {t}")).Order(StringComparer.Ordinal)];

    public IReadOnlyList<ChainTable> Chains(string prefix) => Rules.Report(prefix);

    public IReadOnlyList<string> IpSets() => [.. Rules.Sets.Keys];

    public IReadOnlyList<int> IpSetPorts(string set) => Rules.Sets.GetValueOrDefault(set) ?? [];

    public IReadOnlyList<VirtualServer> VirtualServers() => [.. Rules.Servers];

    public IReadOnlyList<string>? Addresses(string networkInterface) => Rules.Interfaces.GetValueOrDefault(networkInterface);

    public IReadOnlyList<ProcessReport> Processes(string name) => [.. Rules.Processes.Where(p => p.Arguments[0].Split('/')[^1] == name)];

    public IReadOnlyList<InterfaceReport> NetworkInterfaces() => [.. Rules.Links];

    public IReadOnlyList<RoutingRule> RoutingRules() => [.. Rules.RoutingRules];

    public IReadOnlyList<RouteReport> Routes(int protocol) => [.. Rules.Routes.Where(r => r.Protocol == protocol)];

    public void RemovePacketFilterTable(string family, string table) => Write($"remove table {family} {table}", () =>
    {
        Rules.Tables.Remove($"{family} {table}");
        _packetFilters.Remove(family == "ip" ? table : "");
    });

    public void RemoveChains(ChainRemoval removal) => Write($"remove chains {removal.Backend} {removal.Family} {removal.Table}", () => Rules.Remove(removal));

    public void RemoveIpSets(IReadOnlyList<string> names) => Write($"remove {names.Count} ipsets", () => Rules.RemoveSets(names));

    public void RemoveVirtualServers(IReadOnlyList<VirtualServer> servers) =>
        Write($"remove {servers.Count} virtual servers", () => Rules.Servers.RemoveAll(servers.Contains));

    public void RemoveInterface(string name) => Write($"remove interface {name}", () =>
    {
        Rules.Interfaces.Remove(name);
        Rules.Links.RemoveAll(l => l.Name == name);
    });

    public void TakeInterfaceDown(string name) => Write($"take interface {name} down", () =>
    {
        var index = Rules.Links.FindIndex(l => l.Name == name);
        Rules.Links[index] = Rules.Links[index] with { IsUp = false };
    });

    public void RemoveRoutingRules(IReadOnlyList<RoutingRule> rules) =>
        Write($"remove {rules.Count} routing rules", () => Rules.RoutingRules.RemoveAll(rules.Contains));

    public void RemoveRoutes(IReadOnlyList<RouteReport> routes) => Write($"remove {routes.Count} routes", () => Rules.Routes.RemoveAll(routes.Contains));

    public void ForgetConnections(IReadOnlyList<System.Net.IPNetwork> ranges, IReadOnlyList<string> addresses) => Write(
        "forget connections",
        () => Rules.Connections.RemoveWhere(c => addresses.Contains(c) || ranges.Any(r => r.Contains(System.Net.IPAddress.Parse(c)))));

    /// <summary>kubelet ends what has no manifest any more, while it runs.</summary>
    public void WaitForEnd(string process, string argument, TimeSpan limit) => Write($"wait for the end of {process}", () =>
    {
        if (_files.ContainsKey("/etc/kubernetes/manifests/kube-proxy.yaml") || !Unit("kubelet.service").IsActive)
        {
            throw new MachineException($"wait for {process} to end", "it still runs");
        }

        Rules.Processes.RemoveAll(p => p.Arguments.Contains(argument));
    });

    public void SetPacketFilter(string table, string? content) => Write($"packet filter {table}", () =>
    {
        if (content is null)
        {
            _packetFilters.Remove(table);
        }
        else
        {
            _packetFilters[table] = $"table ip {table} {{\n{content}}}\n";
        }
    });

    public void WriteFile(string path, byte[] content, UnixFileMode mode) => Write($"write {path}", () =>
    {
        _files[path] = new FileReport(FileKind.Regular, [.. content], mode);
        UnitFileChanged(path);
    });

    public void OverwriteFile(string path, byte[] content, UnixFileMode mode) => WriteFile(path, content, mode);

    public void DeleteFile(string path) => Write($"delete {path}", () =>
    {
        _files.Remove(path);
        UnitFileChanged(path);
    });

    public void MakeDirectory(string path, UnixFileMode mode) =>
        Write($"make directory {path}", () => _files[path] = new FileReport(FileKind.Directory, Mode: mode));

    public void ReloadSystemd() => Write("reload systemd", () =>
    {
        foreach (var unit in _units.Values.ToList())
        {
            _units[unit.Name] = unit with { NeedDaemonReload = false };
        }
    });

    public void StartUnit(string name) => Write($"start {name}", () =>
    {
        if (name.EndsWith(".mount", StringComparison.Ordinal))
        {
            MountUnit(name);
        }

        Run(name);
    });

    public void RestartUnit(string name) => Write($"restart {name}", () => Run(name));

    public void StopUnit(string name) => Write($"stop {name}", () =>
    {
        var where = Setting(name, "Where");
        PutAway(where);
        _mounts.RemoveAll(m => m.Target == where);
        _units[name] = Unit(name) with { ActiveState = "inactive", SubState = "dead" };
    });

    public void ReloadUnit(string name) => Write($"reload {name}", () =>
    {
        var where = Setting(name, "Where");
        var index = _mounts.FindLastIndex(m => m.Target == where);
        _mounts[index] = _mounts[index] with { Options = Options(name) };
    });

    public void EnableUnit(string name) => Write($"enable {name}", () => _units[name] = Unit(name) with { UnitFileState = "enabled" });

    public void UpdateTrustBundle() => Write("update-ca-certificates", () => _files["/etc/ssl/certs/ca-certificates.crt"] = new FileReport(
        FileKind.Regular,
        [.. "# a CA of the distribution's\n"u8, .. _files.Where(f => f.Key.StartsWith("/usr/local/share/ca-certificates/", StringComparison.Ordinal))
            .SelectMany(f => f.Value.Content!)],
        (UnixFileMode)0x1A4));

    public void LoadModule(string name) => Write($"load {name}", () => _modules[name] = ModuleState.Loaded);

    public void SetSysctl(string name, string value) => Write($"sysctl {name}={value}", () => _sysctls[name] = value);

    public void WaitForDisk(string serial, TimeSpan limit) => Write($"wait for {serial}", () =>
    {
        _disks.Add(
            Coming.FirstOrDefault(d => d.Serial == serial) ?? throw new MachineException($"wait for {serial}", "it did not come") { IsOutOfReach = true });
    });

    public void WipeDevice(string device) => Write($"wipe {device}", () =>
    {
        _signatures.Remove(device);
        var index = _disks.FindIndex(d => d.Path == device);
        _disks[index] = _disks[index] with { Partitions = [] };
    });

    public void CreateVolumeGroup(string name, string tag, IReadOnlyList<string> devices) => Write($"create group {name}", () =>
    {
        devices.ShouldAllBe(d => Signatures(d).Count == 0);
        const long Extent = 4L << 20;
        var extents = devices.Sum(d => (_disks.Single(k => k.Path == d).Bytes / Extent) - 1);
        _groups.Add(new VolumeGroupReport(name, [tag], Extent, extents, extents, 0, devices, []));
        foreach (var device in devices)
        {
            _signatures[device] = [new Signature("LVM2_member", 536)];
        }
    });

    public void RemoveVolumeGroup(string name) => Write($"remove group {name}", () =>
    {
        foreach (var device in _groups.Single(g => g.Name == name).Devices)
        {
            _signatures.Remove(device);
        }

        _groups.RemoveAll(g => g.Name == name);
    });

    public void CreateLogicalVolume(string group, string name, long extents, int stripes, IReadOnlyList<string> tags) =>
        Write($"create volume {group}/{name}", () =>
        Replace(group, g => g with
        {
            FreeExtents = g.FreeExtents - extents,
            Volumes = [.. g.Volumes, new LogicalVolumeReport(name, $"/dev/{group}/{name}", tags, extents * g.ExtentBytes, stripes, true)],
        }));

    public void ActivateLogicalVolume(string group, string name) =>
        Write($"activate {group}/{name}", () => ReplaceVolume(group, name, v => v with { Active = true }));

    public void RemoveLogicalVolumeTag(string group, string name, string tag) =>
        Write($"untag {group}/{name}", () => ReplaceVolume(group, name, v => v with { Tags = [.. v.Tags.Where(t => t != tag)] }));

    public void MakeFilesystem(string device, string type, string label) => Write($"mkfs {device}", () =>
    {
        _signatures[device] = [new Signature(type, 0)];
        _labels[label] = device;
    });

    /// <summary>What a reset leaves: disks and files, but nothing of /run, of the running kernel, or of running units.</summary>
    public void Reboot()
    {
        CrashAtWrite = -1;
        foreach (var path in _files.Keys.Where(p => p.StartsWith("/run/", StringComparison.Ordinal)).ToList())
        {
            _files.Remove(path);
        }

        foreach (var (module, _) in _modules.ToList())
        {
            _modules[module] = Lines("/etc/modules-load.d/nodeagent.conf").Contains(module) ? ModuleState.Loaded : ModuleState.Available;
        }

        _sysctls.Clear();
        foreach (var line in Lines("/etc/sysctl.d/95-nodeagent.conf").Where(l => l.Contains('=', StringComparison.Ordinal)))
        {
            var parts = line.Split('=', 2, StringSplitOptions.TrimEntries);
            _sysctls[parts[0]] = parts[1];
        }

        _packetFilters.Clear();
        Rules.Clear();
        foreach (var target in _mounts.Select(m => m.Target).OrderByDescending(t => t.Length).ToList())
        {
            PutAway(target);
        }

        _mounts.Clear();
        foreach (var unit in _units.Values.ToList())
        {
            _units[unit.Name] = unit with { ActiveState = "inactive", SubState = "dead", InvocationId = "", NeedDaemonReload = false };
        }
    }

    /// <summary>A stop and start of the instance: a reboot, on blank instance-store disks.</summary>
    public void StopAndStart()
    {
        Reboot();
        _groups.Clear();
        _signatures.Clear();
        _labels.Clear();
        _unmounted.Clear();
    }

    /// <summary>A volume with a group on it, and all that the group holds, from a machine that is no more.</summary>
    public void Attach(DiskReport disk, SimulatedMachine former)
    {
        var group = former._groups.Single(g => g.Devices.Contains(former._disks.Single(d => d.Serial == disk.Serial).Path));
        _disks.Add(disk);
        _groups.Add(group with { Devices = [disk.Path] });
        Sign(disk.Path, "LVM2_member");
        foreach (var volume in group.Volumes)
        {
            foreach (var signature in former._signatures.Where(s => s.Key == volume.Path))
            {
                _signatures[volume.Path] = signature.Value;
            }

            foreach (var label in former._labels.Where(l => l.Value == volume.Path))
            {
                _labels[label.Key] = volume.Path;
            }

            if (former._unmounted.TryGetValue(Source(volume.Path), out var files))
            {
                _unmounted[Source(volume.Path)] = files;
            }
        }
    }

    public void Put(string path, FileReport file)
    {
        _files[path] = file;
        UnitFileChanged(path);
    }

    public void Remove(string path)
    {
        _files.Remove(path);
        UnitFileChanged(path);
    }

    public void Sign(string device, string type) => _signatures[device] = [new Signature(type, 0)];

    public void Blank(string device) => _signatures.Remove(device);

    public void Set(MountReport mount) => _mounts.Add(mount);

    public void Set(UnitReport unit) => _units[unit.Name] = unit;

    public VolumeGroupReport Group(string name) => _groups.Single(g => g.Name == name);

    public void Set(DiskReport disk) => _disks[_disks.FindIndex(d => d.Path == disk.Path)] = disk;

    public void Add(DiskReport disk) => _disks.Add(disk);

    public void Set(VolumeGroupReport group)
    {
        _groups.RemoveAll(g => g.Name == group.Name);
        _groups.Add(group);
    }

    public void Unmount(string target) => _mounts.RemoveAll(m => m.Target == target);

    public void SetModule(string name, ModuleState state) => _modules[name] = state;

    private void Write(string what, Action effect)
    {
        if (Breaks(what) is { } why)
        {
            throw new MachineException(what, why);
        }

        var now = CrashAtWrite == 0;
        CrashAtWrite--;
        if (now && !CrashAfterEffect)
        {
            throw new PowerCutException(what);
        }

        effect();
        Writes.Add(what);
        if (now)
        {
            throw new PowerCutException(what);
        }
    }

    private void Run(string name) => _units[name] = Unit(name) with
    {
        ActiveState = "active",
        SubState = "running",
        InvocationId = $"{++_invocation:x32}",
    };

    private void MountUnit(string name)
    {
        var source = Source(_labels[Setting(name, "What")["/dev/disk/by-label/".Length..]]);
        _mounts.Add(new MountReport(source, Setting(name, "Where"), Setting(name, "Type"), Options(name)));
        foreach (var (path, file) in _unmounted.GetValueOrDefault(source) ?? [])
        {
            _files[path] = file;
        }
    }

    // Device mapper's name of a volume.
    private static string Source(string device) =>
        "/dev/mapper/" + device["/dev/".Length..].Replace("-", "--", StringComparison.Ordinal).Replace('/', '-');

    private void PutAway(string target)
    {
        if (_mounts.LastOrDefault(m => m.Target == target) is { } mount)
        {
            _unmounted[mount.Source] = [.. _files.Where(f => f.Key.StartsWith(target + "/", StringComparison.Ordinal))];
            foreach (var (path, _) in _unmounted[mount.Source])
            {
                _files.Remove(path);
            }
        }
    }

    private List<string> Options(string name) => ["rw", "relatime", .. Setting(name, "Options").Split(',', StringSplitOptions.RemoveEmptyEntries)];

    private string Setting(string unit, string key) =>
        Lines($"/etc/systemd/system/{unit}").FirstOrDefault(l => l.StartsWith(key + "=", StringComparison.Ordinal))?[(key.Length + 1)..] ?? "";

    private string[] Lines(string path) => _files.TryGetValue(path, out var file) ? Encoding.UTF8.GetString(file.Content!).Split('\n') : [];

    // systemd compares the modification times of what it has loaded; a unit it never loaded is read when asked for.
    private void UnitFileChanged(string path)
    {
        foreach (var unit in _units.Values.ToList())
        {
            if (path == $"/etc/systemd/system/{unit.Name}" || path.StartsWith($"/etc/systemd/system/{unit.Name}.d/", StringComparison.Ordinal))
            {
                _units[unit.Name] = unit with { NeedDaemonReload = true };
            }
        }
    }

    private void Replace(string group, Func<VolumeGroupReport, VolumeGroupReport> with)
    {
        var index = _groups.FindIndex(g => g.Name == group);
        _groups[index] = with(_groups[index]);
    }

    private void ReplaceVolume(string group, string name, Func<LogicalVolumeReport, LogicalVolumeReport> with) =>
        Replace(group, g => g with { Volumes = [.. g.Volumes.Select(v => v.Name == name ? with(v) : v)] });
}

/// <summary>Not an error that anybody could catch and go on from.</summary>
internal sealed class PowerCutException(string at) : Exception($"the power went at: {at}");
