using System.Globalization;

namespace NodeAgent.Configuration;

/// <summary>What a document says, before it is known what it means: each value with the place it was written at.</summary>
internal abstract class ConfigValue(Origin origin, Origin key)
{
    public Origin Origin { get; } = origin;

    /// <summary>Where its key is; the value's own place where it has none (list items, the root).</summary>
    public Origin Key { get; } = key;

    /// <summary>For messages: "a map", "the number 3". Scalars show their text, so not for secrets.</summary>
    public abstract string Description { get; }

    /// <summary>For messages about secrets: the kind alone.</summary>
    public abstract string Kind { get; }
}

internal sealed class ConfigMap(Origin origin, Origin key, OrderedDictionary<string, ConfigValue> entries, bool replaces = false) : ConfigValue(origin, key)
{
    public OrderedDictionary<string, ConfigValue> Entries { get; } = entries;

    /// <summary>
    /// Came after something that was no map, or after null, in a later layer. Whatever earlier layers hold there is gone, and must also be gone when
    /// they are merged afterwards: without this mark, merging would depend on how layers are grouped.
    /// </summary>
    public bool Replaces { get; } = replaces;

    public override string Description => "a map";

    public override string Kind => "a map";
}

internal sealed class ConfigList(Origin origin, Origin key, IReadOnlyList<ConfigValue> items) : ConfigValue(origin, key)
{
    public IReadOnlyList<ConfigValue> Items { get; } = items;

    public override string Description => "a list";

    public override string Kind => "a list";
}

internal sealed class ConfigScalar(Origin origin, Origin key, string text, ScalarType type) : ConfigValue(origin, key)
{
    public string Text { get; } = text;

    public ScalarType Type { get; } = type;

    public override string Description => Type switch
    {
        ScalarType.Integer or ScalarType.Float => $"the number {Text}",
        ScalarType.Boolean => Text,
        _ => $"the text '{Shortened(Text)}'",
    };

    public override string Kind => Type switch
    {
        ScalarType.Integer or ScalarType.Float => "a number",
        ScalarType.Boolean => "true or false",
        _ => "text",
    };

    public static string Shortened(string text)
    {
        var end = text.IndexOf('\n', StringComparison.Ordinal);
        var line = end < 0 ? text : text[..end];
        return line.Length > 60 ? $"{line[..57]}..." : end < 0 ? line : $"{line}...";
    }
}

/// <summary>Removes what earlier layers say. It stays in the tree as a tombstone until every layer is merged.</summary>
internal sealed class ConfigNull(Origin origin, Origin key) : ConfigValue(origin, key)
{
    public override string Description => "null";

    public override string Kind => "null";
}

/// <summary>As the core schema of YAML 1.2 (section 10.3) resolves plain scalars; quoted ones are text.</summary>
internal enum ScalarType
{
    Text,
    Integer,
    Float,
    Boolean,
}

internal static class ConfigMerge
{
    /// <summary>Maps merge, lists and scalars replace, null removes. Associative, so that layers may be merged in any grouping.</summary>
    public static ConfigValue Merge(ConfigValue earlier, ConfigValue later)
    {
        if (later is not ConfigMap over || over.Replaces)
        {
            return later;
        }

        if (earlier is not ConfigMap under)
        {
            return new ConfigMap(over.Origin, over.Key, over.Entries, replaces: true);
        }

        var entries = new OrderedDictionary<string, ConfigValue>(under.Entries, StringComparer.Ordinal);
        foreach (var (key, value) in over.Entries)
        {
            entries[key] = entries.TryGetValue(key, out var old) ? Merge(old, value) : value;
        }

        return new ConfigMap(over.Origin, over.Key, entries, under.Replaces);
    }

    /// <summary>Puts together what has no order: parts of one user data, tags. Both may say the same, neither may contradict the other.</summary>
    public static ConfigValue Unite(ConfigValue a, ConfigValue b, string path, List<ConfigError> errors)
    {
        if (a is ConfigMap left && b is ConfigMap right)
        {
            var entries = new OrderedDictionary<string, ConfigValue>(left.Entries, StringComparer.Ordinal);
            foreach (var (key, value) in right.Entries)
            {
                entries[key] = entries.TryGetValue(key, out var old) ? Unite(old, value, ConfigPath.Child(path, key), errors) : value;
            }

            return new ConfigMap(left.Origin, left.Key, entries);
        }

        if (!Same(a, b))
        {
            // Not the values: one may be a secret.
            errors.Add(new(b.Origin, path, $"disagrees with {a.Origin}, and neither comes later; say it once"));
        }

        return a;
    }

    private static bool Same(ConfigValue a, ConfigValue b) => (a, b) switch
    {
        (ConfigNull, ConfigNull) => true,
        (ConfigScalar x, ConfigScalar y) => x.Text == y.Text && x.Type == y.Type,
        (ConfigList x, ConfigList y) => SameItems(x.Items, y.Items),
        (ConfigMap x, ConfigMap y) => SameEntries(x, y),
        _ => false,
    };

    private static bool SameItems(IReadOnlyList<ConfigValue> x, IReadOnlyList<ConfigValue> y)
    {
        for (var i = 0; i < x.Count && i < y.Count; i++)
        {
            if (!Same(x[i], y[i]))
            {
                return false;
            }
        }

        return x.Count == y.Count;
    }

    private static bool SameEntries(ConfigMap x, ConfigMap y)
    {
        foreach (var (key, value) in x.Entries)
        {
            if (!y.Entries.TryGetValue(key, out var other) || !Same(value, other))
            {
                return false;
            }
        }

        return x.Entries.Count == y.Entries.Count;
    }
}

/// <summary>Dotted paths for messages: kernel.sysctls[net.ipv4.ip_forward], node.taints[0].effect.</summary>
internal static class ConfigPath
{
    public static string Child(string path, string key)
    {
        foreach (var c in key)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_'))
            {
                return $"{path}[{key}]";
            }
        }

        return path.Length == 0 ? key : $"{path}.{key}";
    }

    public static string Item(string path, int index) => string.Create(CultureInfo.InvariantCulture, $"{path}[{index}]");
}
