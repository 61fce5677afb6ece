using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json.Serialization;

namespace NodeAgent.Machine;

/// <summary>
/// What a plan may ask of a machine: typed reports, and no way to change anything or to run a command. Answers are a snapshot for the run; the
/// live reader renews what a write made stale. A question that could not be answered throws <see cref="ProbeException"/>: that is never the same as "absent".
/// </summary>
internal interface IMachineReader
{
    /// <summary>The file, directory or link at <paramref name="path"/>, itself, not what a link points to. Content for regular files up to 1 MiB.</summary>
    FileReport File(string path);

    /// <summary>Names in a directory, ordinal order; empty when there is no such directory.</summary>
    IReadOnlyList<string> Directory(string path);

    /// <summary>
    /// What may be said of a file with a private key (PEM, or a kubeconfig that embeds it) without reading it out: its mode, the public key it belongs to, the
    /// certificates beside it.
    /// </summary>
    KeyReport PrivateKey(string path);

    UnitReport Unit(string name);

    /// <summary>/proc/self/mountinfo, in its order: the last entry for a target is the visible one.</summary>
    IReadOnlyList<MountReport> Mounts();

    /// <summary>Whole disks (no partitions, no device-mapper, no loop devices), by kernel name.</summary>
    IReadOnlyList<DiskReport> Disks();

    /// <summary>
    /// Every signature on a device as wipefs(8) sees it. An empty list is a successful probe that found nothing. Physical volumes that
    /// <see cref="IMachineWriter.CreateVolumeGroup"/> made do not count: those in a group are in <see cref="VolumeGroups"/>, others (a power cut) are empty.
    /// </summary>
    IReadOnlyList<Signature> Signatures(string device);

    /// <summary>Volume groups, their physical and logical volumes, as lvm(8) reports them.</summary>
    IReadOnlyList<VolumeGroupReport> VolumeGroups();

    ModuleState Module(string name);

    /// <summary>The value of a sysctl by its dotted name, trimmed; null when this kernel has no such key.</summary>
    string? Sysctl(string name);

    /// <summary>A table of nftables of the family ip, as nft(8) lists it; null when there is none, or no nft to have made it.</summary>
    string? PacketFilter(string table);

    /// <summary>Names of nftables' tables of the families ip and ip6, as in "ip kube-proxy", in order.</summary>
    IReadOnlyList<string> PacketFilterTables();

    /// <summary>Chains of iptables' tables, in both of its backends, whose names begin so. Tables without any are left out.</summary>
    IReadOnlyList<ChainTable> Chains(string prefix);

    /// <summary>Names of ipset(8)'s sets, in order.</summary>
    IReadOnlyList<string> IpSets();

    /// <summary>Members of a set of ports (bitmap:port), in order; none where there is no such set.</summary>
    IReadOnlyList<int> IpSetPorts(string set);

    /// <summary>IPVS' virtual servers that have an address; those by a firewall mark are left out.</summary>
    IReadOnlyList<VirtualServer> VirtualServers();

    /// <summary>Addresses of a network interface, in order; null when there is no such interface.</summary>
    IReadOnlyList<string>? Addresses(string networkInterface);

    /// <summary>All network interfaces of this machine's own namespace, by name.</summary>
    IReadOnlyList<InterfaceReport> NetworkInterfaces();

    /// <summary>Rules by which the kernel chooses a table of routes.</summary>
    IReadOnlyList<RoutingRule> RoutingRules();

    /// <summary>Routes of all tables that a protocol made, as rtnetlink(7) numbers them.</summary>
    IReadOnlyList<RouteReport> Routes(int protocol);

    /// <summary>Those that run by a name as ps(1) has it (at most 15 characters), in the network namespace of this machine; by their number.</summary>
    IReadOnlyList<ProcessReport> Processes(string name);

    /// <summary>The wall clock, for the life left in certificates.</summary>
    DateTimeOffset Now { get; }
}

/// <summary>A probe failed, so nothing is known of <paramref name="subject"/>.</summary>
internal sealed class ProbeException(string subject, string why, Exception? inner = null) : Exception($"{subject}: {why}", inner)
{
    public string Subject { get; } = subject;

    public string Why { get; } = why;
}

internal static class FileModes
{
    /// <summary>As chmod(1) takes it: 0644.</summary>
    public static string Octal(this UnixFileMode mode) => Convert.ToString((int)mode, 8).PadLeft(4, '0');
}

[JsonConverter(typeof(JsonStringEnumConverter<FileKind>))]
internal enum FileKind
{
    Absent,
    Regular,
    Directory,
    Link,
    Other,
}

/// <param name="Content">Bytes of a regular file; null for other kinds and for files over 1 MiB.</param>
/// <param name="Mode">Permission bits, as in 0644.</param>
/// <param name="Digest">In recordings, instead of the content of a file that not everybody may read.</param>
internal sealed record FileReport(
    FileKind Kind,
    byte[]? Content = null,
    UnixFileMode Mode = UnixFileMode.None,
    uint Uid = 0,
    uint Gid = 0,
    string? Target = null,
    ContentDigest? Digest = null)
{
    public static readonly FileReport Absent = new(FileKind.Absent);

    /// <summary>Whether the file holds exactly this; also where the content itself was withheld.</summary>
    public bool Matches(ReadOnlySpan<byte> content) => Content is not null ? content.SequenceEqual(Content) : Digest?.Matches(content) == true;
}

/// <param name="PublicKey">SubjectPublicKeyInfo, DER; null when there is no file or it holds no key that can be read.</param>
/// <param name="Certificates">What stands in the CERTIFICATE blocks of the same PEM file, in its order; not checked for being certificates.</param>
/// <param name="Comment">The first line where it is a comment (#): text before PEM blocks explains them (RFC 7468, 5.2).</param>
/// <param name="Around">Of a kubeconfig that embeds certificate and key, what is left without both values and the comment.</param>
/// <param name="AroundDigest">In recordings, instead of <paramref name="Around"/>: somebody else's kubeconfig may hold a password, too.</param>
internal sealed record KeyReport(
    FileKind Kind,
    UnixFileMode Mode = UnixFileMode.None,
    byte[]? PublicKey = null,
    IReadOnlyList<byte[]>? Certificates = null,
    string? Comment = null,
    Secret? Around = null,
    ContentDigest? AroundDigest = null)
{
    public static readonly KeyReport Absent = new(FileKind.Absent);

    /// <summary>Whether certificate and key are embedded in just this text.</summary>
    public bool IsWithin(string text) => Around is not null ? Around.Reveal() == text : AroundDigest?.Matches(Encoding.UTF8.GetBytes(text)) == true;
}

/// <summary>
/// Properties of org.freedesktop.systemd1.Unit, by their names there. <paramref name="InvocationId"/> is empty when systemd knows of no run in this boot.
/// </summary>
/// <param name="Job">Type of the queued or running job ("start", "stop", ...); empty without one.</param>
internal sealed record UnitReport(
    string Name,
    string LoadState = "not-found",
    string ActiveState = "inactive",
    string SubState = "dead",
    string UnitFileState = "",
    string InvocationId = "",
    bool NeedDaemonReload = false,
    string Job = "")
{
    public bool IsLoaded => LoadState == "loaded";

    public bool IsActive => ActiveState is "active" or "reloading";
}

internal sealed record MountReport(string Source, string Target, string FileSystem, IReadOnlyList<string> Options);

/// <param name="Path">Kernel name, as in /dev/nvme1n1: not stable over reboots.</param>
/// <param name="Links">Everything udev links to it, as in /dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_AWS1..., ordinal order.</param>
/// <param name="Partitions">Kernel names of its partitions.</param>
/// <param name="Holders">Kernel names of devices stacked on it or on a partition of it (device mapper, md).</param>
/// <param name="Users">Why it counts as in use beside the holders: mount points and swap, in words.</param>
internal sealed record DiskReport(
    string Path,
    string Model,
    string Serial,
    long Bytes,
    bool ReadOnly,
    IReadOnlyList<string> Links,
    IReadOnlyList<string> Partitions,
    IReadOnlyList<string> Holders,
    IReadOnlyList<string> Users);

/// <param name="Type">As wipefs(8) names it: "xfs", "gpt", "LVM2_member".</param>
internal sealed record Signature(string Type, long Offset);

/// <param name="MissingDevices">How many physical volumes LVM knows of and cannot find (vg_missing_pv_count).</param>
internal sealed record VolumeGroupReport(
    string Name,
    IReadOnlyList<string> Tags,
    long ExtentBytes,
    long Extents,
    long FreeExtents,
    int MissingDevices,
    IReadOnlyList<string> Devices,
    IReadOnlyList<LogicalVolumeReport> Volumes);

internal sealed record LogicalVolumeReport(string Name, string Path, IReadOnlyList<string> Tags, long Bytes, int Stripes, bool Active);

[JsonConverter(typeof(JsonStringEnumConverter<ModuleState>))]
internal enum ModuleState
{
    /// <summary>Neither loaded nor to be found for the running kernel.</summary>
    Unavailable,
    Available,
    Loaded,
    BuiltIn,
}

/// <summary>Names of chains, never their rules.</summary>
/// <param name="Backend"><see cref="Nft"/> or <see cref="Legacy"/>.</param>
/// <param name="Family">ip or ip6.</param>
/// <param name="Table">As in nat.</param>
/// <param name="Chains">Names, in order, without those that end in a hash.</param>
/// <param name="Hashed">How many there are that end in a dash and 16 characters of base 32, by what stands before the hash: KUBE-SVC-.</param>
internal sealed record ChainTable(string Backend, string Family, string Table, IReadOnlyList<string> Chains, IReadOnlyDictionary<string, int> Hashed)
{
    public const string Nft = "nft";

    public const string Legacy = "legacy";

    private const int HashLength = 16;

    private static readonly SearchValues<char> Base32 = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");

    /// <summary>What stands before the hash; null for a name without one.</summary>
    public static string? PrefixOf(string name) =>
        name.Length > HashLength + 1 && name[^(HashLength + 1)] == '-' && !name.AsSpan(name.Length - HashLength).ContainsAnyExcept(Base32)
            ? name[..^HashLength] : null;
}

/// <param name="Chains">Names of chains that go.</param>
/// <param name="Hashed">Of chains that go, what stands before the hash.</param>
/// <param name="Cleaned">
/// Chains that stay, but for their rules that lead to what goes or use a set of ipset's. Where packets begin, only what leads to what goes does not stay.
/// </param>
internal sealed record ChainRemoval(
    string Backend, string Family, string Table, IReadOnlySet<string> Chains, IReadOnlySet<string> Hashed, IReadOnlySet<string> Cleaned)
{
    /// <summary>What names of chains that go begin with.</summary>
    public IReadOnlyList<string> Prefixes { get; init; } = [];

    /// <summary>What the comment of a rule begins with that goes, too, from where packets begin.</summary>
    public IReadOnlyList<string> Comments { get; init; } = [];

    public bool Takes(string chain) => Chains.Contains(chain) || (Hashed.Count > 0 && ChainTable.PrefixOf(chain) is { } prefix && Hashed.Contains(prefix))
        || Prefixes.Any(p => chain.StartsWith(p, StringComparison.Ordinal));
}

/// <param name="Protocol">tcp, udp or sctp.</param>
internal sealed record VirtualServer(string Protocol, string Address, int Port)
{
    public override string ToString() => $"{Protocol} {(Address.Contains(':', StringComparison.Ordinal) ? $"[{Address}]" : Address)}:{Port}";
}

internal sealed record ProcessReport(int Id, IReadOnlyList<string> Arguments);

/// <param name="Kind">As ip-link(8) has it: veth, bridge, vxlan; empty for hardware.</param>
/// <param name="Master">The bridge, or the like, that it is a port of.</param>
internal sealed record InterfaceReport(string Name, string Kind, string? Master, bool IsUp);

/// <summary>As ip-rule(8) shows them.</summary>
/// <param name="Family">ip or ip6.</param>
/// <param name="From">As in 10.0.0.1/32; null for all.</param>
/// <param name="Interface">Where a packet came in.</param>
internal sealed record RoutingRule(string Family, long Priority, string? From, string? To, string? Interface, long Mark, long Mask, long Table)
{
    /// <summary>Whether it says something beside this, or the opposite: not, users, ports, protocols, another end than a table.</summary>
    public bool SaysMore { get; init; }

    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"{Family} {Priority}: from {From ?? "all"}{(To is null ? "" : $" to {To}")}{(Interface is null ? "" : $" iif {Interface}")}"
            + $"{(Mark == 0 ? "" : $" fwmark 0x{Mark:x}/0x{Mask:x}")} lookup {Table}{(SaysMore ? ", and more" : "")}");
}

/// <param name="Family">ip or ip6.</param>
/// <param name="Type">unicast, blackhole, ...</param>
/// <param name="Destination">As in 10.0.0.0/26, or default.</param>
internal sealed record RouteReport(string Family, int Protocol, long Table, string Type, string Destination, string? Gateway)
{
    public override string ToString() =>
        $"{Family} {(Type == "unicast" ? "" : $"{Type} ")}{Destination}{(Gateway is null ? "" : $" via {Gateway}")}";
}
