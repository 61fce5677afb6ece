using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using NodeAgent.Machine;

namespace NodeAgent.Configuration;

/// <summary>
/// What a configuration says, by dotted path, however its layers were cut: to know another one by, and to say wherein they differ. Values are JSON. Of a secret
/// there is only a slow digest, by which another one is noticed.
/// </summary>
internal sealed class ConfigValues
{
    // No JSON begins so.
    private const string Secret = "secret ";

    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly Lazy<string> _identity;
    private readonly Lazy<string> _digest;

    public ConfigValues(IReadOnlyDictionary<string, string> all)
    {
        All = all;
        _identity = new(() => Hash(v => v));
        _digest = new(() => Hash(v => v.StartsWith(Secret, StringComparison.Ordinal) ? Secret : v)[..12]);
    }

    public IReadOnlyDictionary<string, string> All { get; }

    /// <summary>Of everything. Not to be shown: it covers secrets.</summary>
    public string Identity => _identity.Value;

    /// <summary>For people: the same on every node that is told the same; secrets have no part in it.</summary>
    public string Digest => _digest.Value;

    /// <param name="tree">Has passed <see cref="ConfigBinding.Check"/>.</param>
    public static ConfigValues Of(ConfigMap tree)
    {
        var all = new SortedDictionary<string, string>(StringComparer.Ordinal);
        Add(all, "", tree, ConfigSchema.Root, isGiven: false);
        return new(all);
    }

    /// <summary>Ordered by path.</summary>
    /// <param name="originOf">Of a path in these values.</param>
    public IReadOnlyList<ConfigDifference> Since(ConfigValues earlier, Func<string, Origin?> originOf)
    {
        var differences = new List<ConfigDifference>();
        foreach (var path in All.Keys.Union(earlier.All.Keys).Order(StringComparer.Ordinal))
        {
            var (before, after) = (earlier.All.GetValueOrDefault(path), All.GetValueOrDefault(path));
            if (before != after)
            {
                differences.Add(new(path, Shown(before), Shown(after), originOf(path)?.ToString()));
            }
        }

        return differences;
    }

    private static string? Shown(string? value) => value?.StartsWith(Secret, StringComparison.Ordinal) == true ? ConfigPrinter.Mask : value;

    private string Hash(Func<string, string> part)
    {
        var text = new StringBuilder();
        foreach (var (path, value) in All.OrderBy(v => v.Key, StringComparer.Ordinal))
        {
            // Neither holds a line break: values are JSON, and a key's would be within brackets and is no risk but a clash with itself.
            text.Append(path).Append('\n').Append(part(value)).Append('\n');
        }

        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())));
    }

    /// <param name="isGiven">Whether being there says something by itself: an entry of a map, a section that may be absent.</param>
    private static void Add(SortedDictionary<string, string> all, string path, ConfigValue value, ConfigSchema schema, bool isGiven)
    {
        if (value is ConfigNull && schema.Shape != ConfigShape.Free)
        {
            return;
        }

        var before = all.Count;
        switch (value)
        {
            case ConfigMap map when schema.Shape == ConfigShape.Object:
                foreach (var field in schema.Fields)
                {
                    if (map.Entries.TryGetValue(field.Name, out var child))
                    {
                        Add(all, ConfigPath.Child(path, field.Name), child, field.Schema, field.MayBeAbsent);
                    }
                }

                break;
            case ConfigMap map:
                foreach (var (key, child) in map.Entries)
                {
                    Add(all, ConfigPath.Child(path, key), child, schema.Element ?? schema, isGiven: true);
                }

                break;
            case ConfigList { Items.Count: 0 } when !isGiven:
                return;
            default:
                all[path] = Text(path, value, schema);
                return;
        }

        if (all.Count == before && isGiven)
        {
            all[path] = "{}";
        }
    }

    private static string Text(string path, ConfigValue value, ConfigSchema schema)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, Options))
        {
            ConfigBinding.Write(json, value, schema);
        }

        return ConfigBinding.HoldsSecret(value, schema)
            ? Secret + Convert.ToHexStringLower(ContentDigest.Of(path, buffer.WrittenSpan).Value)
            : Encoding.UTF8.GetString(buffer.WrittenSpan);
    }
}

/// <param name="Before">JSON; null when it was not there. Secrets are masked on both sides.</param>
/// <param name="After">JSON; null when it is not there.</param>
/// <param name="Origin">Of what is there now, or of what removed it; null when no layer says anything there or around it.</param>
internal sealed record ConfigDifference(string Path, string? Before, string? After, string? Origin);
