using System.Text.Json;
using System.Text.Json.Serialization;

namespace NodeAgent.Configuration;

/// <summary>
/// Which configuration a node was last made from, and which one it has seen since and not taken yet. Written after a good run, so that a run that dies leaves
/// the new configuration pending. Root's alone, and of one instance: what an image brings of another counts for nothing.
/// </summary>
/// <param name="Values">As <see cref="ConfigValues.All"/>.</param>
/// <param name="Begun">
/// Identity of another configuration that a run began to make this node from, written before it did, and gone with the next run that ended well: until then it
/// may hold in part, and the adopted one, when it comes back, is work to do.
/// </param>
internal sealed record AdoptionRecord(
    string InstanceId, DateTimeOffset AdoptedAt, IReadOnlyDictionary<string, string> Values, PendingConfiguration? Pending = null, string? Begun = null)
{
    public const string File = "/var/lib/nodeagent/adopted.json";

    private ConfigValues? _adopted;

    [JsonIgnore]
    public ConfigValues Adopted => _adopted ??= new(Values);

    /// <returns>Null when there is none of this instance, or it makes no sense.</returns>
    public static AdoptionRecord? Read(string? json, string instanceId)
    {
        try
        {
            var record = json is null ? null : JsonSerializer.Deserialize(json, AdoptionRecordJson.Default.AdoptionRecord);
            return record?.InstanceId == instanceId ? record : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    public byte[] Write() => [.. JsonSerializer.SerializeToUtf8Bytes(this, AdoptionRecordJson.Default.AdoptionRecord), (byte)'\n'];

    /// <summary>How often the node looks: as it was told by the configuration that it runs, whatever another one says.</summary>
    public TimeSpan? Every => Values.GetValueOrDefault("adoption.every") is { } every ? Duration.Parse(every.Trim('"')).Value : null;

    /// <summary>
    /// That a configuration which is not the adopted one is there. Its window counts from the first time, and only while the node looks: one that missed some
    /// looks (S3 was away, a bad layer was published for a while) counts anew, or all whose slots passed meanwhile would take it with their next look.
    /// </summary>
    /// <param name="every">How often the node looks.</param>
    public PendingConfiguration Saw(ConfigValues found, DateTimeOffset now, TimeSpan every) =>
        Pending is { } known && known.Identity == found.Identity && known.Since <= now && known.LookedAt <= now && now - known.LookedAt <= 3 * every
            ? known with { LookedAt = now }
            : new(found.Identity, now, now, null);
}

/// <param name="Identity">As <see cref="ConfigValues.Identity"/>.</param>
/// <param name="Since">When the node first saw it.</param>
/// <param name="LookedAt">When it last saw it.</param>
/// <param name="FailedAt">When it was last tried and did not come to hold.</param>
internal sealed record PendingConfiguration(string Identity, DateTimeOffset Since, DateTimeOffset LookedAt, DateTimeOffset? FailedAt);

[JsonSourceGenerationOptions(
    GenerationMode = JsonSourceGenerationMode.Metadata,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    WriteIndented = true,
    NewLine = "\n",
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(AdoptionRecord))]
internal sealed partial class AdoptionRecordJson : JsonSerializerContext;
