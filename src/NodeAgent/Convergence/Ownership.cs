using System.Text;
using NodeAgent.Machine;

namespace NodeAgent.Convergence;

/// <summary>The marks by which the agent knows its own again, so that no record of them can be lost.</summary>
internal static class Ownership
{
    /// <summary>First line of every file of ours whose format has comments.</summary>
    public const string Header = "# Written by NodeAgent. Changes made by hand are undone; change the node's configuration instead.";

    /// <summary>First key of JSON of ours, with the header as its value, where who reads it passes over keys that it does not know.</summary>
    public const string JsonKey = "//";

    /// <summary>LVM tag of volume groups and logical volumes of ours.</summary>
    public const string VolumeTag = "nodeagent";

    /// <summary>LVM tag of a logical volume of ours from its creation until its file system stands.</summary>
    public const string UnformattedTag = "nodeagent.unformatted";

    private const string DataMark = "nodeagent.etcd=";

    /// <summary>LVM tag of a volume group that outlives machines: whose data is on it, by the cluster's name, whose characters LVM takes.</summary>
    public static string DataTag(string cluster) => DataMark + cluster;

    /// <summary>The cluster that a tag of <see cref="DataTag"/> names; null for other tags.</summary>
    public static string? DataOwner(string tag) => tag.StartsWith(DataMark, StringComparison.Ordinal) ? tag[DataMark.Length..] : null;

    private const string OnInstance = "# Written by NodeAgent. On ";

    /// <summary>
    /// First line of a key file of ours: keys belong to one instance, and an image that was baked from it, or a disk that was moved, brings them to another.
    /// Its name does not tell, since addresses come back and not every certificate names its node.
    /// </summary>
    public static string KeyHeader(string instance) => $"{OnInstance}{instance}.";

    /// <summary>The instance on which a key was made; null where its file does not say.</summary>
    public static string? InstanceOf(KeyReport key) => InstanceOf(key.Comment ?? "");

    /// <summary>As of a key file, of one that came to this instance with the keys and may be read.</summary>
    public static string? InstanceOf(FileReport file) => InstanceOf(Encoding.UTF8.GetString(file.Content ?? []).Split('\n')[0]);

    private static string? InstanceOf(string line) => line.StartsWith(OnInstance, StringComparison.Ordinal) ? line[OnInstance.Length..].TrimEnd('.') : null;

    public static bool IsOurs(FileReport file) => file.Kind == FileKind.Regular && file.Content is { } content
        && (content.AsSpan().StartsWith(FileMark) || content.AsSpan().StartsWith(JsonBytes));

    /// <summary>Of <see cref="Header"/> up to the first full stop: what follows may be reworded without losing files of an older version.</summary>
    public static ReadOnlySpan<byte> FileMark => "# Written by NodeAgent."u8;

    private static ReadOnlySpan<byte> JsonBytes => "{\n  \"//\": \"# Written by NodeAgent."u8;
}
