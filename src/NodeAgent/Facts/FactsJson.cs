using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace NodeAgent.Facts;

/// <summary>Facts as a file: the same facts are the same bytes, and what is read is all there, known and of its type.</summary>
internal static class FactsJson
{
    // The relaxed encoder leaves + and ' as they are: this is a file for people, not part of a page.
    private static readonly FactsJsonContext Context = new(
        new JsonSerializerOptions(FactsJsonContext.Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    public static byte[] Write(NodeFacts facts) => [.. JsonSerializer.SerializeToUtf8Bytes(facts, Context.NodeFacts), (byte)'\n'];

    /// <param name="source">The file's name, for errors.</param>
    public static NodeFacts Read(ReadOnlySpan<byte> json, string source)
    {
        try
        {
            return JsonSerializer.Deserialize(json, Context.NodeFacts) ?? throw new FactsException($"{source}: null is not the facts of a machine");
        }
        catch (JsonException e)
        {
            // The serialiser appends path and line to its message; they go first here.
            var what = e.Message.Split(" Path: ")[0];
            var where = string.Concat(e.LineNumber is { } line ? FormattableString.Invariant($":{line + 1}") : "", e.Path is { } path ? $": {path}" : "");
            throw new FactsException($"{source}{where}: {what} Facts are written by 'nodeagent facts --save FILE'.", e);
        }
    }
}

/// <summary>A file of facts that is not one.</summary>
internal sealed class FactsException(string message, Exception? inner = null) : Exception(message, inner);

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    WriteIndented = true,
    NewLine = "\n",
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    AllowDuplicateProperties = false)]
[JsonSerializable(typeof(NodeFacts))]
internal sealed partial class FactsJsonContext : JsonSerializerContext;
