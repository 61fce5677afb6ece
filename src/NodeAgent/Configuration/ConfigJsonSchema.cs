using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace NodeAgent.Configuration;

/// <summary>
/// JSON Schema (2020-12) of one layer, for editors: drawn from the <see cref="ConfigSchema"/> that layers are checked against, defaults.yaml and the tables of
/// docs/configuration.md. It knows the form of a layer. What depends on several values at once, or on all layers, <c>config check</c> says.
/// </summary>
internal static class ConfigJsonSchema
{
    private static readonly JsonWriterOptions Options = new() { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static string Write()
    {
        var buffer = new ArrayBufferWriter<byte>(32768);
        using (var json = new Utf8JsonWriter(buffer, Options))
        {
            json.WriteStartObject();
            json.WriteString("$schema", "https://json-schema.org/draft/2020-12/schema");
            json.WriteString("title", $"{NodeConfigLoader.Kind} ({NodeConfigLoader.ApiVersion})");
            json.WriteString("description", "One layer of the configuration of a node. Maps merge, lists replace, null removes.");
            Object(json, ConfigSchema.Root, "", new(FieldTexts(), DefaultTree()), Place.Document);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan) + "\n";
    }

    /// <summary>The second column of the tables in docs/configuration.md by the path in the first.</summary>
    internal static Dictionary<string, string> FieldTexts()
    {
        var texts = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in Encoding.UTF8.GetString(NodeConfigLoader.BuiltIn("configuration.md")).Split('\n'))
        {
            // "\|" is a bar within a cell.
            var cells = line.Replace("\\|", "\u0001", StringComparison.Ordinal).Split('|', StringSplitOptions.TrimEntries);
            if (cells.Length == 5 && cells[1].Length > 2 && cells[1][0] == '`' && cells[1][^1] == '`')
            {
                texts[cells[1][1..^1]] = cells[2].Replace("**", "", StringComparison.Ordinal).Replace('\u0001', '|');
            }
        }

        return texts;
    }

    private static ConfigMap DefaultTree()
    {
        var errors = new List<ConfigError>();
        return NodeConfigLoader.ReadDocument(NodeConfigLoader.DefaultsName, NodeConfigLoader.Defaults(), errors) ?? throw new ConfigurationException(errors);
    }

    private static void Object(Utf8JsonWriter json, ConfigSchema schema, string path, Sources sources, Place place)
    {
        Type(json, place, "object");
        json.WriteStartObject("properties");
        foreach (var field in schema.Fields)
        {
            json.WriteStartObject(field.Name);
            var child = path.Length == 0 ? field.Name : $"{path}.{field.Name}";
            if (sources.Texts.GetValueOrDefault(child) is { } text)
            {
                json.WriteString("description", text);
            }

            if (Head(field.Name, path) is { } head)
            {
                json.WriteString("const", head);
            }
            else
            {
                // The item of a list is written in one go, so what it needs is there and not null; anything else a later layer may remove.
                Value(json, field.Schema, child, sources, place == Place.Item && IsNeeded(field) ? Place.Item : Place.Layer);
                Default(json, field.Schema, child, sources);
            }

            json.WriteEndObject();
        }

        json.WriteEndObject();
        json.WriteBoolean("additionalProperties", false);
        var required = schema.Fields.Where(f => Head(f.Name, path) is not null || (place == Place.Item && IsNeeded(f))).ToList();
        if (required.Count > 0)
        {
            json.WriteStartArray("required");
            required.ForEach(f => json.WriteStringValue(f.Name));
            json.WriteEndArray();
        }
    }

    private static void Value(Utf8JsonWriter json, ConfigSchema schema, string path, Sources sources, Place place)
    {
        switch (schema.Shape)
        {
            case ConfigShape.Object:
                Object(json, schema, path, sources, place);
                break;
            case ConfigShape.Map:
                Type(json, place, "object");
                json.WriteStartObject("additionalProperties");
                Value(json, schema.Element!, path + ".NAME", sources, Place.Map);
                json.WriteEndObject();
                break;
            case ConfigShape.List:
                Type(json, place, "array");
                json.WriteStartObject("items");
                Value(json, schema.Element!, path + "[]", sources, Place.Item);
                json.WriteEndObject();
                break;
            case ConfigShape.Free:
                Type(json, place, "object");
                break;
            default:
                Scalar(json, schema.Leaf!, place);
                break;
        }
    }

    private static void Scalar(Utf8JsonWriter json, ConfigLeaf leaf, Place place)
    {
        if (leaf.Choices.Count > 0)
        {
            json.WriteStartArray("enum");
            foreach (var choice in leaf.Choices)
            {
                json.WriteStringValue(choice);
            }

            if (place != Place.Item)
            {
                json.WriteNullValue();
            }

            json.WriteEndArray();
            return;
        }

        // Labels, sysctls and flags are taken as they are written: 1 means 1.
        Type(
            json,
            place,
            leaf.Words.Count > 0 ? ["integer", "string"] : leaf.IsInteger ? ["integer"] : leaf.IsBoolean ? ["boolean"] : leaf.IsText && place == Place.Map
                ? ["string", "number", "boolean"]
                : ["string"]);
        // Of strings only: a number passes any.
        if ((leaf.Words.Count > 0 ? $"^({string.Join('|', leaf.Words)})$" : leaf.Pattern) is { } pattern)
        {
            json.WriteString("pattern", pattern);
        }
    }

    private static void Type(Utf8JsonWriter json, Place place, params ReadOnlySpan<string> types)
    {
        var isNullable = place is Place.Layer or Place.Map;
        if (types.Length == 1 && !isNullable)
        {
            json.WriteString("type", types[0]);
            return;
        }

        json.WriteStartArray("type");
        foreach (var type in types)
        {
            json.WriteStringValue(type);
        }

        if (isNullable)
        {
            json.WriteStringValue("null");
        }

        json.WriteEndArray();
    }

    // Of objects the fields have one each.
    private static void Default(Utf8JsonWriter json, ConfigSchema schema, string path, Sources sources)
    {
        if (schema.Shape != ConfigShape.Object && sources.DefaultOf(path) is { } value)
        {
            json.WritePropertyName("default");
            ConfigBinding.Write(json, value, schema);
        }
    }

    private static string? Head(string field, string path) => (path, field) switch
    {
        ("", "apiVersion") => NodeConfigLoader.ApiVersion,
        ("", "kind") => NodeConfigLoader.Kind,
        _ => null,
    };

    private static bool IsNeeded(ConfigField field) => field.IsRequired && field.Schema.Shape is ConfigShape.Object or ConfigShape.Scalar;

    private enum Place
    {
        /// <summary>The whole layer: never null.</summary>
        Document,
        Layer,

        /// <summary>A value whose key is the user's.</summary>
        Map,

        /// <summary>An item of a list, or what it cannot do without: never null.</summary>
        Item,
    }

    private sealed record Sources(Dictionary<string, string> Texts, ConfigMap Defaults)
    {
        public ConfigValue? DefaultOf(string path)
        {
            ConfigValue? value = Defaults;
            foreach (var name in path.Split('.'))
            {
                value = (value as ConfigMap)?.Entries.GetValueOrDefault(name);
            }

            return value;
        }
    }
}
