using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using NodeAgent.Machine;
using NodeAgent.Network;
using NodeAgent.Pki;

namespace NodeAgent.Configuration;

/// <summary>
/// What may stand where, read from the source-generated metadata of the records: one description for checking, binding, tags, showing and the documentation's
/// test.
/// </summary>
internal sealed class ConfigSchema
{
    private static readonly Lazy<ConfigSchema> LazyRoot = new(() => Of(typeof(NodeConfig), []));

    private static readonly Lazy<ConfigSchema> LazyAddressPlan = new(() => Of(typeof(AddressPlanRequest), []));

    private ConfigSchema(ConfigShape shape) => Shape = shape;

    public static ConfigSchema Root => LazyRoot.Value;

    /// <summary>Of the other kind of document (<see cref="AddressPlanDocument"/>).</summary>
    public static ConfigSchema AddressPlan => LazyAddressPlan.Value;

    public ConfigShape Shape { get; }

    /// <summary>Of an object, in the order in which they are declared.</summary>
    public IReadOnlyList<ConfigField> Fields { get; private init; } = [];

    /// <summary>Of lists and maps.</summary>
    public ConfigSchema? Element { get; private init; }

    /// <summary>Of scalars.</summary>
    public ConfigLeaf? Leaf { get; private init; }

    public ConfigField? Field(string name)
    {
        foreach (var field in Fields)
        {
            if (field.Name == name)
            {
                return field;
            }
        }

        return null;
    }

    /// <summary>Dotted paths of all fields, objects included; NAME stands for the keys of maps, [] for items.</summary>
    public IEnumerable<(string Path, ConfigField Field)> AllFields(string path = "")
    {
        foreach (var field in Fields)
        {
            var child = path.Length == 0 ? field.Name : $"{path}.{field.Name}";
            yield return (child, field);
            var inner = field.Schema;
            while (inner.Element is { } element)
            {
                child += inner.Shape == ConfigShape.List ? "[]" : ".NAME";
                inner = element;
            }

            foreach (var below in inner.AllFields(child))
            {
                yield return below;
            }
        }
    }

    private static ConfigSchema Of(Type type, Dictionary<Type, ConfigSchema> known)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        if (known.TryGetValue(type, out var schema))
        {
            return schema;
        }

        return known[type] = Make(type, known);
    }

    private static ConfigSchema Make(Type type, Dictionary<Type, ConfigSchema> known)
    {
        if (type == typeof(JsonElement))
        {
            return new(ConfigShape.Free);
        }

        if (ConfigLeaf.Of(type) is { } leaf)
        {
            return new(ConfigShape.Scalar) { Leaf = leaf };
        }

        var info = ConfigJson.Default.GetTypeInfo(type) ?? throw new InvalidOperationException($"{type} is not known to {nameof(ConfigJson)}");
        switch (info.Kind)
        {
            case JsonTypeInfoKind.Enumerable:
                return new(ConfigShape.List) { Element = Of(info.ElementType!, known) };
            case JsonTypeInfoKind.Dictionary:
                return new(ConfigShape.Map) { Element = Of(info.ElementType!, known) };
            case JsonTypeInfoKind.Object:
                var fields = new List<ConfigField>();
                foreach (var property in info.Properties)
                {
                    fields.Add(new(property.Name, Of(property.PropertyType, known), property.IsRequired, property.IsSetNullable));
                }

                return new(ConfigShape.Object) { Fields = fields };
            default:
                throw new InvalidOperationException($"{type} has no form in YAML");
        }
    }
}

internal enum ConfigShape
{
    Object,

    /// <summary>Keys are the user's: labels, volumes.</summary>
    Map,
    List,
    Scalar,

    /// <summary>Whatever JSON can say: another program's configuration.</summary>
    Free,
}

/// <param name="MayBeAbsent">Whether null means something. A list or map for which it does not is empty when nobody gives it.</param>
internal sealed record ConfigField(string Name, ConfigSchema Schema, bool IsRequired, bool MayBeAbsent);

/// <summary>A type that is written as one scalar.</summary>
internal sealed class ConfigLeaf
{
    private ConfigLeaf(string expected) => Expected = expected;

    /// <summary>For messages: "a whole number", "text".</summary>
    public string Expected { get; }

    public bool IsSecret { get; private init; }

    public bool IsText { get; private init; }

    public bool IsInteger { get; private init; }

    public bool IsBoolean { get; private init; }

    /// <summary>Names of an enumeration, as they are written.</summary>
    public IReadOnlyList<string> Choices { get; private init; } = [];

    /// <summary>What may stand instead of a number.</summary>
    public IReadOnlyList<string> Words { get; private init; } = [];

    /// <summary>Throws <see cref="FormatException"/> on text that is not one of these.</summary>
    public Action<string>? Parse { get; private init; }

    /// <summary>
    /// For editors: a regular expression (ECMA-262) that holds for whatever <see cref="Parse"/> takes. It knows the form alone, so it may hold for more.
    /// </summary>
    public string? Pattern { get; private init; }

    public static ConfigLeaf? Of(Type type) =>
        type == typeof(string) ? new("text") { IsText = true }
        : type == typeof(Secret) ? new("text") { IsText = true, IsSecret = true }
        : type == typeof(int) ? new("a whole number") { IsInteger = true }
        : type == typeof(MaxPods) ? new("a whole number, fromPodRange or vpcCni") { IsInteger = true, Words = ["fromPodRange", "vpcCni"] }
        : type == typeof(bool) ? new("true or false") { IsBoolean = true }
        : type == typeof(Cidr) ? new("a CIDR range as in 10.0.0.0/16") { Parse = text => Cidr.Parse(text), Pattern = "^[0-9A-Fa-f:.]+/[0-9]+$" }
        : type == typeof(Duration) ? new("a duration as in 90s, 10m, 2h or 90d") { Parse = text => Duration.Parse(text), Pattern = "^0*[1-9][0-9]{0,5}[smhd]$" }
        : type == typeof(VolumeSize) ? new("a volume size as in 60% or 200GiB")
        {
            Parse = text => VolumeSize.Parse(text),
            Pattern = "^(0*([1-9][0-9]?|100)%|0*[1-9][0-9]{0,5}(TiB|GiB|MiB|TB|GB|MB))$",
        }
        : type == typeof(Uri) ? new("a URL as in https://example.com") { Parse = CheckUri, Pattern = "^[ ]*[Hh][Tt][Tt][Pp][Ss]?:.+$" }
        : type == typeof(KeyAlgorithm) ? new("one of") { Choices = KeyAlgorithms.Names }
        : type.IsEnum ? new("one of") { Choices = Names(type) }
        : null;

    // Taints and roles as Kubernetes spells them.
    private static string[] Names(Type type) => type == typeof(TaintEffect) || type == typeof(TlsVersion) ? Enum.GetNames(type)
        : type == typeof(NodeRole) || type == typeof(NetworkPlugin) ? Array.ConvertAll(Enum.GetNames(type), JsonNamingPolicy.KebabCaseLower.ConvertName)
        : Array.ConvertAll(Enum.GetNames(type), JsonNamingPolicy.CamelCase.ConvertName);

    private static void CheckUri(string text)
    {
        // Some put a password into a URL, so what is wrong with one is said without showing more than its head.
        var shown = text.Contains('@', StringComparison.Ordinal) ? "the URL" : $"'{ConfigScalar.Shortened(text)}'";
        if (!Uri.TryCreate(text, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https") || uri.Host.Length == 0)
        {
            throw new FormatException($"{shown} is not a URL; expected http or https and a host, as in https://example.com");
        }
    }
}

[JsonSourceGenerationOptions(
    GenerationMode = JsonSourceGenerationMode.Metadata,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    Converters =
    [
        typeof(CidrConverter), typeof(DurationConverter), typeof(VolumeSizeConverter), typeof(SecretConverter), typeof(MaxPodsConverter),
        typeof(Choice<NodeRole>), typeof(Choice<NodeNaming>), typeof(Choice<ReadinessGate>), typeof(Choice<NoDisksPolicy>), typeof(Choice<WipePolicy>),
        typeof(Choice<LostMemberPolicy>), typeof(Choice<VolumeLayout>), typeof(Choice<FilesystemType>), typeof(Choice<ProxyMode>), typeof(Choice<ProxyChange>),
        typeof(Choice<ContainerRuntimeKind>), typeof(Choice<NetworkPlugin>), typeof(Choice<CertificateSourceKind>), typeof(Choice<TaintEffect>),
        typeof(Choice<CloudProvider>), typeof(Choice<EndpointSource>), typeof(Choice<AdoptionMoment>), typeof(Choice<TlsVersion>),
        typeof(Choice<AutoCompactionMode>), typeof(KeyAlgorithmConverter),
        typeof(Choice<AdviceLevel>), typeof(Choice<CiliumIdentities>), typeof(Choice<PodAddressing>), typeof(Choice<AddressPart>),
    ])]
[JsonSerializable(typeof(NodeConfig))]
[JsonSerializable(typeof(AddressPlanRequest))]
internal sealed partial class ConfigJson : JsonSerializerContext;

/// <summary>Reads a choice that was held against <see cref="ConfigLeaf.Choices"/> before. The library's own converter takes twice as long to start.</summary>
internal sealed class Choice<T> : JsonConverter<T>
    where T : struct, Enum
{
    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        Enum.Parse<T>(reader.GetString()!.Replace("-", "", StringComparison.Ordinal), ignoreCase: true);

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) =>
        throw new NotSupportedException("Configuration is shown from its tree");
}

internal sealed class KeyAlgorithmConverter : JsonConverter<KeyAlgorithm>
{
    public override KeyAlgorithm Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => KeyAlgorithms.Parse(reader.GetString()!);

    public override void Write(Utf8JsonWriter writer, KeyAlgorithm value, JsonSerializerOptions options) => writer.WriteStringValue(value.Name());
}

internal sealed class CidrConverter : JsonConverter<Cidr>
{
    public override Cidr Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => Cidr.Parse(reader.GetString()!);

    public override void Write(Utf8JsonWriter writer, Cidr value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToString());
}

internal sealed class DurationConverter : JsonConverter<Duration>
{
    public override Duration Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => Duration.Parse(reader.GetString()!);

    public override void Write(Utf8JsonWriter writer, Duration value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToString());
}

internal sealed class VolumeSizeConverter : JsonConverter<VolumeSize>
{
    public override VolumeSize Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => VolumeSize.Parse(reader.GetString()!);

    public override void Write(Utf8JsonWriter writer, VolumeSize value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToString());
}

/// <summary>Reads only: a secret is never written.</summary>
internal sealed class SecretConverter : JsonConverter<Secret>
{
    public override Secret Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => new(reader.GetString()!);

    public override void Write(Utf8JsonWriter writer, Secret value, JsonSerializerOptions options) =>
        throw new NotSupportedException("Secrets are not written");
}

internal sealed class MaxPodsConverter : JsonConverter<MaxPods>
{
    public override MaxPods Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.TokenType == JsonTokenType.Number
        ? new(reader.GetInt32())
        : new(0, Enum.Parse<MaxPodsSource>(reader.GetString()!, ignoreCase: true));

    public override void Write(Utf8JsonWriter writer, MaxPods value, JsonSerializerOptions options) =>
        throw new NotSupportedException("Configuration is shown from its tree");
}
