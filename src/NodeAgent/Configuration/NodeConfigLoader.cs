using System.Buffers;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace NodeAgent.Configuration;

/// <summary>From layers to the one configuration of a node. Pure: whoever calls has read the layers.</summary>
internal static class NodeConfigLoader
{
    public const string DefaultsName = "defaults";

    public const string ApiVersion = "nodeagent/v1";

    public const string Kind = "NodeConfig";

    private static readonly Lazy<ConfigMap> LazyDefaults = new(ReadDefaults);

    /// <param name="layers">Above the built-in defaults, the one that wins last; see <see cref="Layers.Of"/>.</param>
    /// <exception cref="ConfigurationException">
    /// Holds everything that is wrong: first whatever is wrong within a layer, then what is missing from all, then what does not fit together.
    /// </exception>
    public static LoadedConfig Load(IReadOnlyList<Layer> layers)
    {
        var errors = layers.SelectMany(l => l.Parsed.Errors).ToList();
        ConfigurationException.ThrowIfAny(errors);
        var merged = Merged(layers);
        ConfigBinding.CheckRequired(merged, ConfigSchema.Root, "", errors);
        ConfigurationException.ThrowIfAny(errors);
        var loaded = new LoadedConfig(
            ConfigBinding.Bind(merged),
            merged,
            [DefaultsName, .. layers.Where(l => l.Parsed.Tree is not null).Select(l => l.Label)],
            [.. layers.SelectMany(l => l.Parsed.Notes)]);
        ConfigValidation.Check(loaded, errors);
        ConfigurationException.ThrowIfAny(errors);
        return loaded;
    }

    /// <summary>What the layers say over the built-in defaults, right or wrong: nothing is checked here.</summary>
    public static ConfigMap Merged(IReadOnlyList<Layer> layers) =>
        (ConfigMap)layers.Select(l => l.Parsed.Tree).OfType<ConfigMap>().Aggregate<ConfigMap, ConfigValue>(LazyDefaults.Value, ConfigMerge.Merge);

    /// <summary>
    /// How the agent itself gets out, from layers that are not all there yet: tags may have to be asked of EC2, and that by the proxy. Null where nobody says,
    /// and where it is not of its kind, which <see cref="Load"/> tells later.
    /// </summary>
    /// <exception cref="ConfigurationException">Not a URL of a proxy: by another way nothing would be reached, and that would be all that is said.</exception>
    public static HttpProxyConfig? Proxy(IReadOnlyList<Layer> layers)
    {
        var proxy = Early(layers, "proxy", ConfigJson.Default.HttpProxyConfig, out var map);
        foreach (var (name, url) in new[] { ("http", proxy?.Http), ("https", proxy?.Https) })
        {
            if (url is not null && ConfigValidation.ProxyObjection(url.Reveal()) is { } objection)
            {
                throw new ConfigurationException(new ConfigError(map!.Entries.GetValueOrDefault(name)?.Origin, $"proxy.{name}", objection));
            }
        }

        return proxy;
    }

    /// <summary>As <see cref="Proxy"/>: whom the agent trusts beside the machine's own CAs. Not checked yet for being certificates.</summary>
    public static TrustConfig? Trust(IReadOnlyList<Layer> layers) => Early(layers, "trust", ConfigJson.Default.TrustConfig, out _);

    private static T? Early<T>(IReadOnlyList<Layer> layers, string field, JsonTypeInfo<T> type, out ConfigMap? map)
        where T : class
    {
        map = Merged(layers).Entries.GetValueOrDefault(field) as ConfigMap;
        if (map is null)
        {
            return null;
        }

        var errors = new List<ConfigError>();
        var schema = ConfigSchema.Root.Field(field)!.Schema;
        ConfigBinding.Check(map, schema, field, errors);
        ConfigBinding.CheckRequired(map, schema, field, errors);
        if (errors.Count > 0)
        {
            return null;
        }

        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            ConfigBinding.Write(writer, map, schema);
        }

        return JsonSerializer.Deserialize(buffer.WrittenSpan, type);
    }

    /// <summary>A whole document, whose head says that it is ours.</summary>
    public static ConfigMap? ReadDocument(string layer, ReadOnlySpan<byte> content, List<ConfigError> errors, string kind = Kind)
    {
        if (YamlReader.ReadDocument(layer, content, errors) is not { } map)
        {
            return null;
        }

        CheckHead(map, "apiVersion", ApiVersion, errors);
        CheckHead(map, "kind", kind, errors);
        return map;
    }

    private static void CheckHead(ConfigMap map, string field, string expected, List<ConfigError> errors)
    {
        switch (map.Entries.GetValueOrDefault(field))
        {
            case null:
                // A misspelt one is named as an unknown field already.
                var near = ConfigBinding.Nearest(field, [.. map.Entries.Keys]);
                if (near is null || ConfigSchema.Root.Field(near) is not null)
                {
                    errors.Add(new(map.Origin, field, $"required in every document; expected '{expected}'"));
                }

                break;
            case ConfigScalar { Type: ScalarType.Text } scalar when scalar.Text == expected:
                break;
            case ConfigScalar scalar when ConfigBinding.Nearest(scalar.Text, [expected]) is not null:
                errors.Add(new(scalar.Origin, field, $"found '{scalar.Text}'; did you mean '{expected}'?"));
                break;
            case var other:
                errors.Add(new(other.Origin, field, $"expected '{expected}', found {other.Description}"));
                break;
        }
    }

    public static byte[] Defaults() => BuiltIn("defaults.yaml");

    /// <summary>A file that was built into this binary.</summary>
    public static byte[] BuiltIn(string name)
    {
        using var stream = typeof(NodeConfigLoader).Assembly.GetManifestResourceStream(name)
            ?? throw new InvalidOperationException($"{name} is missing from this binary");
        var content = new byte[stream.Length];
        stream.ReadExactly(content);
        return content;
    }

    private static ConfigMap ReadDefaults()
    {
        var defaults = new Layer.Document(DefaultsName, Defaults()).Parsed;
        ConfigurationException.ThrowIfAny(defaults.Errors);
        return defaults.Tree!;
    }
}

/// <summary>A configuration that holds together, and where each of its values came from.</summary>
/// <param name="Tree">All layers merged; what null removed is still marked in it.</param>
/// <param name="Layers">Names of the layers that said anything, in their order.</param>
/// <param name="Notes">What was seen and left alone, a line each: parts of user data that are somebody else's.</param>
internal sealed record LoadedConfig(NodeConfig Config, ConfigMap Tree, IReadOnlyList<string> Layers, IReadOnlyList<string> Notes)
{
    private Dictionary<string, Origin>? _origins;

    /// <summary>
    /// Where the value at a dotted path was written; for a path that nobody wrote, where the nearest thing around it was; null when there is nothing around it
    /// either.
    /// </summary>
    public Origin? OriginOf(string path)
    {
        _origins ??= Flatten(Tree);
        return OriginOf(_origins, path);
    }

    /// <inheritdoc cref="OriginOf(string)"/>
    public static Origin? OriginOf(IReadOnlyDictionary<string, Origin> origins, string path)
    {
        while (path.Length > 0)
        {
            if (origins.TryGetValue(path, out var origin))
            {
                return origin;
            }

            path = path[..Math.Max(0, path.LastIndexOfAny(['.', '[']))];
        }

        return null;
    }

    /// <summary>Of every value in a tree, by its path.</summary>
    public static Dictionary<string, Origin> Flatten(ConfigMap tree)
    {
        var origins = new Dictionary<string, Origin>(StringComparer.Ordinal);
        Add("", tree);
        return origins;

        void Add(string path, ConfigValue value)
        {
            origins[path] = value.Origin;
            if (value is ConfigMap map)
            {
                foreach (var (key, child) in map.Entries)
                {
                    Add(ConfigPath.Child(path, key), child);
                }
            }
            else if (value is ConfigList list)
            {
                for (var i = 0; i < list.Items.Count; i++)
                {
                    Add(ConfigPath.Item(path, i), list.Items[i]);
                }
            }
        }
    }
}
