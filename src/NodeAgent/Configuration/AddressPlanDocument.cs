using System.Buffers;
using System.Text.Json;
using NodeAgent.Network;

namespace NodeAgent.Configuration;

/// <summary>Reads documents of kind AddressPlan as strictly as layers, with what the command line says over them.</summary>
internal static class AddressPlanDocument
{
    public const string Kind = "AddressPlan";

    /// <param name="document">Null where the command line says it all.</param>
    /// <param name="name">Of the document, for messages.</param>
    /// <param name="options">Paths and values of the command line; those of lists are added to them.</param>
    /// <exception cref="ConfigurationException">It cannot be read, or cannot be laid out.</exception>
    public static AddressPlan Plan(byte[]? document, string name, IEnumerable<(string Path, ConfigValue Value)> options)
    {
        var errors = new List<ConfigError>();
        var head = new Origin("command line", 0, 0);
        var tree = document is null
            ? Map(head, ("apiVersion", Text(head, NodeConfigLoader.ApiVersion)), ("kind", Text(head, Kind)))
            : NodeConfigLoader.ReadDocument(name, document, errors, Kind);
        ConfigurationException.ThrowIfAny(errors);
        foreach (var (path, value) in options)
        {
            // A list of the command line goes on where the document's ends.
            var said = value is ConfigList more && tree!.Entries.GetValueOrDefault(path) is ConfigList sofar
                ? new ConfigList(sofar.Origin, sofar.Key, [.. sofar.Items, .. more.Items])
                : value;
            tree = (ConfigMap)ConfigMerge.Merge(tree!, Map(value.Origin, (path, said)));
        }

        ConfigBinding.Check(tree!, ConfigSchema.AddressPlan, "", errors);
        ConfigurationException.ThrowIfAny(errors);
        ConfigBinding.CheckRequired(tree!, ConfigSchema.AddressPlan, "", errors);
        ConfigurationException.ThrowIfAny(errors);
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            ConfigBinding.Write(writer, tree!, ConfigSchema.AddressPlan);
        }

        try
        {
            return AddressPlan.Make(JsonSerializer.Deserialize(buffer.WrittenSpan, ConfigJson.Default.AddressPlanRequest)!);
        }
        catch (AddressPlanException e)
        {
            var origins = LoadedConfig.Flatten(tree!);
            throw new ConfigurationException([.. e.Errors.Select(x => new ConfigError(LoadedConfig.OriginOf(origins, x.Path), x.Path, x.Message))]);
        }
    }

    public static ConfigMap Map(Origin origin, params ReadOnlySpan<(string Key, ConfigValue Value)> entries)
    {
        var map = new OrderedDictionary<string, ConfigValue>(StringComparer.Ordinal);
        foreach (var (key, value) in entries)
        {
            map[key] = value;
        }

        return new(origin, origin, map);
    }

    /// <summary>As it stands on a command line: a number where it looks like one.</summary>
    public static ConfigScalar Text(Origin origin, string text) =>
        new(origin, origin, text, text.Length is > 0 and < 10 && text.All(char.IsAsciiDigit) ? ScalarType.Integer : ScalarType.Text);
}
