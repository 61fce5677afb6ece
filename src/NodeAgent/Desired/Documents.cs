using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using NodeAgent.Convergence;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace NodeAgent.Desired;

/// <summary>Documents as they are written: in the order in which they were built, the same bytes every time.</summary>
internal static class Documents
{
    // For files, not for HTML: '<' and '+' stay as they are.
    private static readonly JsonWriterOptions Indented = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static string Json(JsonObject document)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer, Indented))
        {
            document.WriteTo(writer);
        }

        return Encoding.UTF8.GetString(buffer.ToArray()) + "\n";
    }

    /// <summary>With the header that marks it as ours.</summary>
    public static string Yaml(JsonObject document)
    {
        var text = new StringWriter(CultureInfo.InvariantCulture) { NewLine = "\n" };
        var emitter = new Emitter(text, new EmitterSettings(bestIndent: 2, bestWidth: int.MaxValue, isCanonical: false, maxSimpleKeyLength: 1024));
        emitter.Emit(new StreamStart());
        emitter.Emit(new DocumentStart(null, null, isImplicit: true));
        Emit(emitter, document);
        emitter.Emit(new DocumentEnd(isImplicit: true));
        emitter.Emit(new StreamEnd());
        return $"{Ownership.Header}\n{text}";
    }

    private static void Emit(Emitter emitter, JsonNode? node)
    {
        switch (node)
        {
            case JsonObject map:
                emitter.Emit(new MappingStart(null, null, isImplicit: true, map.Count == 0 ? MappingStyle.Flow : MappingStyle.Block));
                foreach (var (key, value) in map)
                {
                    emitter.Emit(new Scalar(key));
                    Emit(emitter, value);
                }

                emitter.Emit(new MappingEnd());
                break;
            case JsonArray list:
                emitter.Emit(new SequenceStart(null, null, isImplicit: true, list.Count == 0 ? SequenceStyle.Flow : SequenceStyle.Block));
                foreach (var item in list)
                {
                    Emit(emitter, item);
                }

                emitter.Emit(new SequenceEnd());
                break;
            default:
                // Strings that YAML would read as something else are quoted; a string is always said to be one.
                var isString = node is not null && node.GetValueKind() == JsonValueKind.String;
                var scalar = isString ? node!.GetValue<string>() : node?.ToJsonString() ?? "null";
                var style = !isString ? ScalarStyle.Plain
                    : scalar.Contains('\n', StringComparison.Ordinal) ? ScalarStyle.Literal
                    : LooksLikeAnotherType(scalar) ? ScalarStyle.DoubleQuoted : ScalarStyle.Any;
                emitter.Emit(new Scalar(null, null, scalar, style, isPlainImplicit: true, isQuotedImplicit: true));
                break;
        }
    }

    // Kubernetes reads YAML 1.1: yes, off, 0x10, 010, 1_000, 1:30, .inf and null are not strings there.
    private static bool LooksLikeAnotherType(string value) =>
        value.Length == 0 || value is "~" or "=" or "<<" || char.IsAsciiDigit(value[0]) || value[0] is '+' or '-' or '.'
        || value.ToUpperInvariant() is "Y" or "N" or "YES" or "NO" or "ON" or "OFF" or "TRUE" or "FALSE" or "NULL";
}
