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
