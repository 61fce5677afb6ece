namespace NodeAgent.Machine;

/// <summary>This machine. For one thread.</summary>
internal sealed class LinuxReader : IMachineReader, IDisposable
{
    private readonly Kernel _kernel = new();
    private readonly BlockDevices _blocks = new();
    private readonly Storage _storage;
    private readonly Systemd _systemd;
    private readonly PacketFilter _packetFilter;
    private readonly LegacyIptables _legacyIptables;
    private readonly CancellationToken _cancellation;

    private readonly Dictionary<string, FileReport> _files = [];
    private readonly Dictionary<string, IReadOnlyList<string>> _directories = [];
    private readonly Dictionary<string, KeyReport> _keys = [];
    private readonly Dictionary<string, UnitReport> _units = [];
    private readonly Dictionary<string, IReadOnlyList<Signature>> _signatures = [];
    private readonly Dictionary<string, string?> _sysctls = [];
    private readonly Dictionary<string, string?> _packetFilters = [];
    private readonly Dictionary<string, IReadOnlyList<ChainTable>> _chains = [];
    private readonly Dictionary<string, IReadOnlyList<int>> _ports = [];
    private readonly Dictionary<string, IReadOnlyList<string>?> _addresses = [];
    private readonly Dictionary<int, IReadOnlyList<RouteReport>> _routes = [];
    private IReadOnlyList<InterfaceReport>? _interfaces;
    private IReadOnlyList<RoutingRule>? _rules;
    private IReadOnlyList<string>? _tables;
    private IReadOnlyList<string>? _sets;
    private IReadOnlyList<VirtualServer>? _servers;
    private IReadOnlyList<Mounts.Entry>? _mounts;
    private IReadOnlyList<MountReport>? _mountReports;
    private IReadOnlyList<DiskReport>? _disks;
    private IReadOnlyList<VolumeGroupReport>? _groups;

    /// <param name="cancellation">Ends every wait.</param>
    public LinuxReader(CancellationToken cancellation)
    {
        _cancellation = cancellation;
        _packetFilter = new PacketFilter(new ProcessRunner(cancellation));
        _legacyIptables = new LegacyIptables(new ProcessRunner(cancellation));
        _storage = new Storage(new ProcessRunner(cancellation), _blocks);
        _systemd = new Systemd(() => SdBus.Connect(cancellation));
    }

    public DateTimeOffset Now => DateTimeOffset.UtcNow;

    /// <summary>The connection to systemd and the knowledge of storage programs, for the writer that belongs to this reader.</summary>
    internal Systemd Systemd => _systemd;

    internal Storage Storage => _storage;

    internal Kernel Kernel => _kernel;

    public FileReport File(string path) => Remembered(_files, path, Files.Report);

    public IReadOnlyList<string> Directory(string path) => Remembered(_directories, path, Files.Names);

    public KeyReport PrivateKey(string path) => Remembered(_keys, path, KeyFile.Report);

    public UnitReport Unit(string name) => Remembered(_units, name, _systemd.Report);

    public IReadOnlyList<MountReport> Mounts() => _mountReports ??= [.. MountEntries().Select(m => m.Mount)];

    public IReadOnlyList<DiskReport> Disks() =>
        _disks ??= _blocks.Disks(MountEntries(), Machine.Mounts.ParseSwaps(Files.Text("/proc/swaps") ?? ""), _cancellation);

    public IReadOnlyList<Signature> Signatures(string device) => Remembered(_signatures, device, _storage.Signatures);

    public IReadOnlyList<VolumeGroupReport> VolumeGroups() => _groups ??= _storage.VolumeGroups();

    public ModuleState Module(string name) => _kernel.Module(name);

    public string? Sysctl(string name) => Remembered(_sysctls, name, _kernel.Sysctl);

    public string? PacketFilter(string table) => Remembered(_packetFilters, table, _packetFilter.List);

    public IReadOnlyList<string> PacketFilterTables() => _tables ??= IsEmpty("nf_tables") ? [] : NfTables.Tables();

    public IReadOnlyList<ChainTable> Chains(string prefix) =>
        Remembered(_chains, prefix, p => [.. IsEmpty("nf_tables") ? [] : NfTables.Chains(p), .. _legacyIptables.Chains(p)]);

    public IReadOnlyList<string> IpSets() => _sets ??= IsEmpty("ip_set") ? [] : Machine.IpSets.Names();

    public IReadOnlyList<int> IpSetPorts(string set) => Remembered(_ports, set, s => IpSets().Contains(s) ? Machine.IpSets.Ports(s) : []);

    public IReadOnlyList<VirtualServer> VirtualServers() => _servers ??= Machine.VirtualServers.List();

    public IReadOnlyList<string>? Addresses(string networkInterface) => Remembered(_addresses, networkInterface, Interfaces.Addresses);

    public IReadOnlyList<InterfaceReport> NetworkInterfaces() => _interfaces ??= Interfaces.List();

    public IReadOnlyList<RoutingRule> RoutingRules() => _rules ??= Routing.Rules();

    public IReadOnlyList<RouteReport> Routes(int protocol) => Remembered(_routes, protocol, Routing.Routes);

    // They come and go without us.
    public IReadOnlyList<ProcessReport> Processes(string name) => Machine.Processes.Named(name);

    public void Dispose() => _systemd.Dispose();

    /// <summary>After a file, directory or link changed. What systemd says of a unit follows its files.</summary>
    internal void ForgetFile(string path)
    {
        _files.Clear();
        _directories.Clear();
        _keys.Clear();
        if (path.Contains("/systemd/", StringComparison.Ordinal))
        {
            _units.Clear();
        }
    }

    /// <summary>After modules or sysctls changed; each may bring or change others.</summary>
    internal void ForgetKernel()
    {
        _kernel.Forget();
        _sysctls.Clear();
        ForgetNetwork();
    }

    /// <summary>After chains, sets, interfaces and the like changed.</summary>
    internal void ForgetNetwork()
    {
        _packetFilters.Clear();
        _chains.Clear();
        _ports.Clear();
        _addresses.Clear();
        _routes.Clear();
        (_tables, _sets, _servers) = (null, null, null);
        (_interfaces, _rules) = (null, null);
    }

    /// <summary>After a unit started or stopped: it may have mounted, written, loaded or set anything, but makes no volumes and no file systems.</summary>
    internal void ForgetUnits()
    {
        ForgetFile("");
        ForgetKernel();
        _units.Clear();
        ForgetMounts();
    }

    /// <summary>After something was done to disks. Device units come and go with them.</summary>
    internal void ForgetStorage()
    {
        ForgetFile("");
        _units.Clear();
        ForgetMounts();
        _signatures.Clear();
        _groups = null;
    }

    private void ForgetMounts()
    {
        _mounts = null;
        _mountReports = null;
        // Disks say what is mounted from them.
        _disks = null;
    }

    // A part of netfilter that is not loaded holds nothing, and to ask would load it; and some kernels have no netfilter at all.
    private bool IsEmpty(string module) => _kernel.Module(module) == ModuleState.Available || !Netlink.IsThere(Netlink.Netfilter);

    private IReadOnlyList<Mounts.Entry> MountEntries() => _mounts ??= Machine.Mounts.Parse(
        Files.Text("/proc/self/mountinfo") ?? throw new ProbeException("mounts", "/proc/self/mountinfo is not there"));

    private static T Remembered<TQuestion, T>(Dictionary<TQuestion, T> answers, TQuestion question, Func<TQuestion, T> ask)
        where TQuestion : notnull
    {
        if (!answers.TryGetValue(question, out var answer))
        {
            answer = ask(question);
            answers.Add(question, answer);
        }

        return answer;
    }
}
