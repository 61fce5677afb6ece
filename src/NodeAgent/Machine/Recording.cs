using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace NodeAgent.Machine;

/// <summary>
/// What a machine answered, as a JSON text of sorted keys. Failures are answers too. Nothing secret is in it: files that not everybody may read are there as a
/// digest, private keys as their public half.
/// </summary>
internal sealed record Recording
{
    // For people and diffs to read, never for a browser: + and < stay as they are.
    private static readonly RecordingJson Json = new(
        new JsonSerializerOptions(RecordingJson.Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    public DateTimeOffset? Now { get; set; }

    public SortedDictionary<string, Answer<RecordedFile>> Files { get; init; } = new(StringComparer.Ordinal);

    public SortedDictionary<string, Answer<IReadOnlyList<string>>> Directories { get; init; } = new(StringComparer.Ordinal);

    public SortedDictionary<string, Answer<RecordedKey>> PrivateKeys { get; init; } = new(StringComparer.Ordinal);

    public SortedDictionary<string, Answer<UnitReport>> Units { get; init; } = new(StringComparer.Ordinal);

    public Answer<IReadOnlyList<MountReport>>? Mounts { get; set; }

    public Answer<IReadOnlyList<DiskReport>>? Disks { get; set; }

    public SortedDictionary<string, Answer<IReadOnlyList<Signature>>> Signatures { get; init; } = new(StringComparer.Ordinal);

    public Answer<IReadOnlyList<VolumeGroupReport>>? VolumeGroups { get; set; }

    public SortedDictionary<string, Answer<ModuleState?>> Modules { get; init; } = new(StringComparer.Ordinal);

    /// <summary>A null value is a key that the kernel does not have.</summary>
    public SortedDictionary<string, Answer<string?>> Sysctls { get; init; } = new(StringComparer.Ordinal);

    /// <summary>As <see cref="Sysctls"/>, of tables.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public SortedDictionary<string, Answer<string?>>? PacketFilters { get; set; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public Answer<IReadOnlyList<string>>? PacketFilterTables { get; set; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public SortedDictionary<string, Answer<IReadOnlyList<ChainTable>>>? Chains { get; set; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public Answer<IReadOnlyList<string>>? IpSets { get; set; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public SortedDictionary<string, Answer<IReadOnlyList<int>>>? IpSetPorts { get; set; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public Answer<IReadOnlyList<VirtualServer>>? VirtualServers { get; set; }

    /// <summary>A null value is an interface that is not there.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public SortedDictionary<string, Answer<IReadOnlyList<string>?>>? Addresses { get; set; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public SortedDictionary<string, Answer<IReadOnlyList<ProcessReport>>>? Processes { get; set; }

    public byte[] ToJson() => [.. JsonSerializer.SerializeToUtf8Bytes(this, Json.Recording), (byte)'\n'];

    /// <exception cref="ProbeException">The text is not a recording.</exception>
    public static Recording Parse(ReadOnlySpan<byte> json, string origin)
    {
        try
        {
            return JsonSerializer.Deserialize(json, RecordingJson.Default.Recording) ?? throw new ProbeException(origin, "is not a recording of a machine");
        }
        catch (JsonException e)
        {
            throw new ProbeException(origin, "is not a recording of a machine: " + e.Message, e);
        }
    }
}

/// <param name="Failure">Why there was no answer; null when there was one.</param>
internal sealed record Answer<T>(T? Value = default, string? Subject = null, string? Failure = null);

/// <summary>A <see cref="FileReport"/> as one would write it by hand: text where it is text, the mode in octal.</summary>
/// <param name="Digest">In base64, instead of the content of a file that not everybody may read.</param>
internal sealed record RecordedFile(
    FileKind Kind,
    string? Mode = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] uint Uid = 0,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] uint Gid = 0,
    string? Target = null,
    string? Text = null,
    byte[]? Bytes = null,
    byte[]? Digest = null)
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    public static RecordedFile From(string path, FileReport file)
    {
        var recorded = new RecordedFile(file.Kind, file.Kind == FileKind.Absent ? null : file.Mode.Octal(), file.Uid, file.Gid, file.Target);
        return file.Content is not { } content ? recorded with { Digest = file.Digest?.Value }
            : !file.Mode.HasFlag(UnixFileMode.OtherRead) ? recorded with { Digest = ContentDigest.Of(path, content).Value }
            : AsText(content) is { } text ? recorded with { Text = text }
            : recorded with { Bytes = content };
    }

    public FileReport ToReport(string path) => new(
        Kind,
        Text is null ? Bytes : Strict.GetBytes(Text),
        Mode is null ? UnixFileMode.None : FromOctal(Mode),
        Uid,
        Gid,
        Target,
        Digest is null ? null : new ContentDigest(path, Digest));

    internal static UnixFileMode FromOctal(string mode)
    {
        try
        {
            return (UnixFileMode)Convert.ToInt32(mode, 8);
        }
        catch (Exception e) when (e is FormatException or OverflowException or ArgumentException)
        {
            throw new ProbeException("recording", string.Create(CultureInfo.InvariantCulture, $"'{mode}' is not a mode in octal, as in 0644"), e);
        }
    }

    private static string? AsText(byte[] content)
    {
        try
        {
            return Strict.GetString(content);
        }
        catch (DecoderFallbackException)
        {
            return null;
        }
    }
}

/// <param name="Around">A digest, in base64.</param>
internal sealed record RecordedKey(
    FileKind Kind, string? Mode = null, byte[]? PublicKey = null, IReadOnlyList<byte[]>? Certificates = null, string? Comment = null, byte[]? Around = null)
{
    public static RecordedKey From(string path, KeyReport key) => new(
        key.Kind,
        key.Kind == FileKind.Absent ? null : key.Mode.Octal(),
        key.PublicKey,
        key.Certificates,
        key.Comment,
        key.Around is { } around ? ContentDigest.Of(path, Encoding.UTF8.GetBytes(around.Reveal())).Value : key.AroundDigest?.Value);

    public KeyReport ToReport(string path) => new(
        Kind,
        Mode is null ? UnixFileMode.None : RecordedFile.FromOctal(Mode),
        PublicKey,
        Certificates,
        Comment,
        AroundDigest: Around is null ? null : new ContentDigest(path, Around));
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    IgnoreReadOnlyProperties = true,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    AllowDuplicateProperties = false,
    WriteIndented = true,
    NewLine = "\n")]
[JsonSerializable(typeof(Recording))]
internal sealed partial class RecordingJson : JsonSerializerContext;

/// <summary>Passes questions on and keeps what was answered.</summary>
internal sealed class RecordingReader(IMachineReader inner) : IMachineReader
{
    public Recording Recording { get; } = new();

    // One time for the whole recording, or certificates that were judged at the first and the last of them would differ on replay.
    public DateTimeOffset Now => Recording.Now ??= inner.Now;

    public FileReport File(string path) => Keep(Recording.Files, path, inner.File, f => RecordedFile.From(path, f));

    public IReadOnlyList<string> Directory(string path) => Keep(Recording.Directories, path, inner.Directory, d => d);

    public KeyReport PrivateKey(string path) => Keep(Recording.PrivateKeys, path, inner.PrivateKey, k => RecordedKey.From(path, k));

    public UnitReport Unit(string name) => Keep(Recording.Units, name, inner.Unit, u => u);

    public IReadOnlyList<MountReport> Mounts() => Keep(inner.Mounts, a => Recording.Mounts = a);

    public IReadOnlyList<DiskReport> Disks() => Keep(inner.Disks, a => Recording.Disks = a);

    public IReadOnlyList<Signature> Signatures(string device) => Keep(Recording.Signatures, device, inner.Signatures, s => s);

    public IReadOnlyList<VolumeGroupReport> VolumeGroups() => Keep(inner.VolumeGroups, a => Recording.VolumeGroups = a);

    public ModuleState Module(string name) => Keep(Recording.Modules, name, inner.Module, m => (ModuleState?)m);

    public string? Sysctl(string name) => Keep(Recording.Sysctls, name, inner.Sysctl, s => s);

    public string? PacketFilter(string table) =>
        Keep(Recording.PacketFilters ??= new(StringComparer.Ordinal), table, inner.PacketFilter, t => t);

    public IReadOnlyList<string> PacketFilterTables() => Keep(inner.PacketFilterTables, a => Recording.PacketFilterTables = a);

    public IReadOnlyList<ChainTable> Chains(string prefix) => Keep(Recording.Chains ??= new(StringComparer.Ordinal), prefix, inner.Chains, c => c);

    public IReadOnlyList<string> IpSets() => Keep(inner.IpSets, a => Recording.IpSets = a);

    public IReadOnlyList<int> IpSetPorts(string set) => Keep(Recording.IpSetPorts ??= new(StringComparer.Ordinal), set, inner.IpSetPorts, p => p);

    public IReadOnlyList<VirtualServer> VirtualServers() => Keep(inner.VirtualServers, a => Recording.VirtualServers = a);

    public IReadOnlyList<string>? Addresses(string networkInterface) =>
        Keep(Recording.Addresses ??= new(StringComparer.Ordinal), networkInterface, inner.Addresses, a => a);

    public IReadOnlyList<ProcessReport> Processes(string name) => Keep(Recording.Processes ??= new(StringComparer.Ordinal), name, inner.Processes, p => p);

    private static T Keep<T, TKept>(SortedDictionary<string, Answer<TKept>> answers, string question, Func<string, T> ask, Func<T, TKept> toKept)
    {
        try
        {
            var answer = ask(question);
            answers[question] = new Answer<TKept>(toKept(answer));
            return answer;
        }
        catch (ProbeException e)
        {
            answers[question] = new Answer<TKept>(Subject: e.Subject, Failure: e.Why);
            throw;
        }
    }

    private static T Keep<T>(Func<T> ask, Action<Answer<T>> keep)
    {
        try
        {
            var answer = ask();
            keep(new Answer<T>(answer));
            return answer;
        }
        catch (ProbeException e)
        {
            keep(new Answer<T>(Subject: e.Subject, Failure: e.Why));
            throw;
        }
    }
}

/// <summary>A machine that is elsewhere: answers what was recorded there, and fails for what was not asked then.</summary>
internal sealed class ReplayReader(Recording recording) : IMachineReader
{
    private const string NotRecorded = "was not asked when this machine was recorded; record it again with the version and configuration that plan now";

    public DateTimeOffset Now => recording.Now ?? throw new ProbeException("clock", NotRecorded);

    public FileReport File(string path) => Find(recording.Files, path, path).ToReport(path);

    public IReadOnlyList<string> Directory(string path) => Find(recording.Directories, path, path);

    public KeyReport PrivateKey(string path) => Find(recording.PrivateKeys, path, path).ToReport(path);

    public UnitReport Unit(string name) => Find(recording.Units, name, $"unit {name}");

    public IReadOnlyList<MountReport> Mounts() => Answered(recording.Mounts, "mounts");

    public IReadOnlyList<DiskReport> Disks() => Answered(recording.Disks, "disks");

    public IReadOnlyList<Signature> Signatures(string device) => Find(recording.Signatures, device, $"signatures of {device}");

    public IReadOnlyList<VolumeGroupReport> VolumeGroups() => Answered(recording.VolumeGroups, "volume groups");

    public ModuleState Module(string name) => Find(recording.Modules, name, $"module {name}")!.Value;

    public string? Sysctl(string name) =>
        !recording.Sysctls.TryGetValue(name, out var answer) ? throw new ProbeException($"sysctl {name}", NotRecorded)
        : answer.Failure is not null ? throw new ProbeException(answer.Subject ?? $"sysctl {name}", answer.Failure)
        : answer.Value;

    public string? PacketFilter(string table) =>
        recording.PacketFilters?.TryGetValue(table, out var answer) is not true ? throw new ProbeException($"table {table}", NotRecorded)
        : answer!.Failure is not null ? throw new ProbeException(answer.Subject ?? $"table {table}", answer.Failure)
        : answer.Value;

    public IReadOnlyList<string> PacketFilterTables() => Answered(recording.PacketFilterTables, "tables of nftables");

    public IReadOnlyList<ChainTable> Chains(string prefix) => Find(recording.Chains ?? [], prefix, $"chains {prefix}");

    public IReadOnlyList<string> IpSets() => Answered(recording.IpSets, "ipsets");

    public IReadOnlyList<int> IpSetPorts(string set) => Find(recording.IpSetPorts ?? [], set, $"ipset {set}");

    public IReadOnlyList<VirtualServer> VirtualServers() => Answered(recording.VirtualServers, "virtual servers");

    public IReadOnlyList<string>? Addresses(string networkInterface) =>
        recording.Addresses?.TryGetValue(networkInterface, out var answer) is not true ? throw new ProbeException($"interface {networkInterface}", NotRecorded)
        : answer!.Failure is not null ? throw new ProbeException(answer.Subject ?? $"interface {networkInterface}", answer.Failure)
        : answer.Value;

    public IReadOnlyList<ProcessReport> Processes(string name) => Find(recording.Processes ?? [], name, $"processes {name}");

    private static T Find<T>(SortedDictionary<string, Answer<T>> answers, string question, string subject) =>
        Answered(answers.GetValueOrDefault(question), subject);

    private static T Answered<T>(Answer<T>? answer, string subject) =>
        answer is null ? throw new ProbeException(subject, NotRecorded)
        : answer.Failure is not null ? throw new ProbeException(answer.Subject ?? subject, answer.Failure)
        : answer.Value ?? throw new ProbeException(subject, "the recording holds neither an answer nor a failure");
}

/// <summary>
/// A machine fresh from its image, on which nothing of ours is yet: what an offline plan compares with where there is no recording. Its units are installed and
/// do not run, its disks are blank, its sysctls are not known.
/// </summary>
internal sealed class EmptyMachineReader(DateTimeOffset now, IReadOnlyList<DiskReport> disks) : IMachineReader
{
    public DateTimeOffset Now => now;

    public FileReport File(string path) => FileReport.Absent;

    public IReadOnlyList<string> Directory(string path) => [];

    public KeyReport PrivateKey(string path) => KeyReport.Absent;

    public UnitReport Unit(string name) => new(name, LoadState: "loaded", UnitFileState: "disabled");

    public IReadOnlyList<MountReport> Mounts() => [];

    public IReadOnlyList<DiskReport> Disks() => disks;

    public IReadOnlyList<Signature> Signatures(string device) => [];

    public IReadOnlyList<VolumeGroupReport> VolumeGroups() => [];

    public ModuleState Module(string name) => ModuleState.Available;

    public string? Sysctl(string name) => "";

    public string? PacketFilter(string table) => null;

    public IReadOnlyList<string> PacketFilterTables() => [];

    public IReadOnlyList<ChainTable> Chains(string prefix) => [];

    public IReadOnlyList<string> IpSets() => [];

    public IReadOnlyList<int> IpSetPorts(string set) => [];

    public IReadOnlyList<VirtualServer> VirtualServers() => [];

    public IReadOnlyList<string>? Addresses(string networkInterface) => null;

    public IReadOnlyList<ProcessReport> Processes(string name) => [];
}
