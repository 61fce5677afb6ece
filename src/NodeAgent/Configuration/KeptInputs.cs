using System.Text.Json;
using System.Text.Json.Serialization;

namespace NodeAgent.Configuration;

/// <summary>
/// What a node was last made from that is neither on it nor in its metadata: shared layers, and tags that EC2 was asked for. By it a node comes back from a
/// reboot while S3 or EC2 is away, and a layer that did not change is not sent again. Layers may hold secrets, so the file is root's alone; it is of one
/// instance, and an image baked from it starts clean.
/// </summary>
/// <param name="At">When all of it was read, UTC, RFC 3339.</param>
/// <param name="Tags">Null where metadata shows them.</param>
/// <param name="Layers">Empty where there are none; else all that the address names, in its order.</param>
internal sealed record KeptInputs(string InstanceId, string At, IReadOnlyDictionary<string, string>? Tags, IReadOnlyList<KeptLayer> Layers)
{
    public const string File = "/var/lib/nodeagent/inputs.json";

    /// <returns>Null when there is nothing, or nothing that makes sense: what is kept is of use, never needed.</returns>
    public static KeptInputs? Read(string? json)
    {
        try
        {
            return json is null ? null : JsonSerializer.Deserialize(json, KeptInputsJson.Default.KeptInputs);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    public byte[] Write() => [.. JsonSerializer.SerializeToUtf8Bytes(this, KeptInputsJson.Default.KeptInputs), (byte)'\n'];

    public KeptLayer? Layer(string name)
    {
        foreach (var layer in Layers)
        {
            if (layer.Name == name)
            {
                return layer;
            }
        }

        return null;
    }
}

/// <param name="Name">s3://bucket/key.</param>
/// <param name="ETag">Null where there was no such object.</param>
/// <param name="Content">Null where there was no such object.</param>
internal sealed record KeptLayer(string Name, string? ETag, byte[]? Content);

// By metadata: what the other mode generates writes a null byte[] as "".
[JsonSourceGenerationOptions(
    GenerationMode = JsonSourceGenerationMode.Metadata,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    WriteIndented = true,
    NewLine = "\n",
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(KeptInputs))]
internal sealed partial class KeptInputsJson : JsonSerializerContext;
