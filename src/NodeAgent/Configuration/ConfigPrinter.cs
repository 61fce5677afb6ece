using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace NodeAgent.Configuration;

/// <summary>
/// The merged configuration for people, with the origin of every value, and for programs. Secrets are masked. What is printed as YAML can be read back.
/// </summary>
internal static class ConfigPrinter
{
    public const string Mask = "(secret)";
    private const int FlowWidth = 100;

    public static string ToYaml(LoadedConfig loaded)
    {
        var text = new StringBuilder();
        Fields(text, loaded.Tree, ConfigSchema.Root, "");
        return text.ToString();
    }

    /// <summary>{"config": ..., "origins": {"node.maxPods": "user data:4:12", ...}, "notes": [...]}</summary>
    public static string ToJson(LoadedConfig loaded)
    {
        var buffer = new ArrayBufferWriter<byte>(16384);
        using (var writer = new Utf8JsonWriter(
            buffer, new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            writer.WritePropertyName("config");
            ConfigBinding.Write(writer, loaded.Tree, ConfigSchema.Root, Mask);
            writer.WriteStartObject("origins");
            Origins(writer, loaded.Tree, "");
            writer.WriteEndObject();
            writer.WriteStartArray("notes");
            foreach (var note in loaded.Notes)
            {
                writer.WriteStringValue(note);
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    public static string ToJson(ConfigurationException exception)
    {
        var buffer = new ArrayBufferWriter<byte>(4096);
        using (var writer = new Utf8JsonWriter(
            buffer, new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            writer.WriteStartArray("errors");
            foreach (var error in exception.Errors)
            {
                writer.WriteStartObject();
                if (error.Origin is { } origin)
                {
                    writer.WriteString("layer", origin.Layer);
                    if (origin.Line > 0)
                    {
                        writer.WriteNumber("line", origin.Line);
                        writer.WriteNumber("column", origin.Column);
                    }
                }

                writer.WriteString("path", error.Path);
                writer.WriteString("message", error.Message);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    private static void Origins(Utf8JsonWriter writer, ConfigValue value, string path)
    {
        if (value is ConfigMap { Entries.Count: > 0 } map)
        {
            foreach (var (key, child) in map.Entries)
            {
                Origins(writer, child, ConfigPath.Child(path, key));
            }
        }
        else
        {
            writer.WriteString(path, value.Origin.ToString());
        }
    }

    private static void Fields(StringBuilder text, ConfigMap map, ConfigSchema schema, string indent)
    {
        foreach (var field in schema.Fields)
        {
            if (map.Entries.TryGetValue(field.Name, out var value))
            {
                Entry(text, field.Name, value, field.Schema, indent);
            }
        }
    }

    private static void Entry(StringBuilder text, string key, ConfigValue value, ConfigSchema? schema, string indent)
    {
        // Below a free value, null is a value of its own: it removes what would be computed.
        if (value is ConfigNull && schema is not null)
        {
            Line(text, $"{indent}# {key}: removed", value);
            return;
        }

        text.Append(indent).Append(Quoted(key, isKey: true)).Append(':');
        Value(text, value, schema is { Shape: ConfigShape.Free } ? null : schema, indent);
    }

    /// <summary>What follows "key:" or "-", up to and with the end of its last line.</summary>
    private static void Value(StringBuilder text, ConfigValue value, ConfigSchema? schema, string indent)
    {
        switch (value)
        {
            case ConfigMap map when !HasEntries(map, schema):
                Line(text, " {}", map);
                foreach (var (key, child) in map.Entries)
                {
                    Line(text, $"{indent}  # {key}: removed", child);
                }

                break;
            case ConfigMap map:
                text.Append('\n');
                if (schema?.Shape == ConfigShape.Object)
                {
                    Fields(text, map, schema, indent + "  ");
                    break;
                }

                foreach (var (key, child) in ConfigBinding.Sorted(map))
                {
                    Entry(text, key, child, schema?.Element, indent + "  ");
                }

                break;
            case ConfigList list:
                List(text, list, schema, indent);
                break;
            case ConfigScalar when schema?.Leaf?.IsSecret == true:
                Line(text, $" {Quoted(Mask, isKey: false)}", value);
                break;
            case ConfigScalar scalar when scalar.Type == ScalarType.Text && scalar.Text.Contains('\n', StringComparison.Ordinal) && IsBlock(scalar.Text):
                Line(text, scalar.Text.EndsWith('\n') ? " |" : " |-", scalar);
                foreach (var line in scalar.Text.TrimEnd('\n').Split('\n'))
                {
                    text.Append(line.Length == 0 ? "" : indent + "  ").Append(line).Append('\n');
                }

                break;
            case ConfigScalar scalar:
                Line(text, $" {Scalar(scalar)}", scalar);
                break;
            default:
                Line(text, " null", value);
                break;
        }
    }

    private static void List(StringBuilder text, ConfigList list, ConfigSchema? schema, string indent)
    {
        var flow = new StringBuilder(" [");
        foreach (var item in list.Items)
        {
            if (item is not ConfigScalar scalar)
            {
                flow.Append(' ', FlowWidth);
                break;
            }

            flow.Append(flow.Length > 2 ? ", " : "").Append(Scalar(scalar));
        }

        flow.Append(']');
        if (flow.Length + indent.Length <= FlowWidth && !flow.ToString().Contains('\n', StringComparison.Ordinal))
        {
            Line(text, flow.ToString(), list);
            return;
        }

        Line(text, "", list);
        foreach (var item in list.Items)
        {
            if (item is ConfigMap map && HasEntries(map, schema?.Element))
            {
                // "- " takes the place of the first entry's indentation.
                var inner = new StringBuilder();
                Value(inner, map, schema?.Element, indent + "  ");
                var lines = inner.ToString().TrimStart('\n');
                text.Append(indent).Append("  - ").Append(lines.AsSpan(indent.Length + 4));
            }
            else
            {
                text.Append(indent).Append("  -");
                Value(text, item, schema?.Element, indent + "  ");
            }
        }
    }

    private static bool HasEntries(ConfigMap map, ConfigSchema? schema)
    {
        foreach (var (_, value) in map.Entries)
        {
            if (value is not ConfigNull || schema is null)
            {
                return true;
            }
        }

        return false;
    }

    private static void Line(StringBuilder text, string content, ConfigValue value) => text.Append(content)
        .Append(CultureInfo.InvariantCulture, $"  # {OneLine(value.Origin.ToString())}\n");

    // A file's name may hold anything.
    private static string OneLine(string text) => text.Replace('\n', ' ').Replace('\r', ' ');

    private static string Scalar(ConfigScalar scalar) => scalar.Type == ScalarType.Text ? Quoted(scalar.Text, isKey: false) : scalar.Text;

    private static bool IsBlock(string text)
    {
        if (text[0] is ' ' or '\n' || text.EndsWith("\n\n", StringComparison.Ordinal))
        {
            return false;
        }

        foreach (var c in text)
        {
            if (c is '\t' or '\r' or '\u0085' or '\u2028' or '\u2029' or '\ufeff')
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Plain where that cannot be taken for anything else, otherwise as JSON, which is YAML.</summary>
    private static string Quoted(string text, bool isKey)
    {
        var plain = text.Length > 0 && (char.IsAsciiLetterOrDigit(text[0]) || text[0] is '/' or '_' or '.') && !text.EndsWith(' ') && !text.EndsWith(':')
            && !text.Contains(": ", StringComparison.Ordinal) && !text.Contains(" #", StringComparison.Ordinal) && text != "...";
        foreach (var c in text)
        {
            plain &= char.IsAsciiLetterOrDigit(c) || c is ' ' or '-' or '_' or '.' or '/' or ':' or '=' or '%' or '+' or '@' or '(' or ')' or '<' or ';' or '~';
        }

        if (plain && YamlReader.IsText(text) && !(isKey && text.Length > 100))
        {
            return text;
        }

        return $"\"{JsonEncodedText.Encode(text, System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";
    }
}
