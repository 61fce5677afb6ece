using System.Text.Json;
using System.Text.Json.Serialization;

namespace NodeAgent.Issuer;

/// <summary>One decision: who, what, why not. Filled as much as is known when the decision falls; nothing secret has a place in it.</summary>
internal sealed record AuditEntry
{
    public required DateTimeOffset At { get; init; }

    /// <summary>granted, refused, or later: an answer for which the caller shall ask again.</summary>
    public required string Decision { get; set; }

    /// <summary>The code of the refusal.</summary>
    public string? Code { get; set; }

    public string? Reason { get; set; }

    /// <summary>What the caller is not told: why AWS failed.</summary>
    public string? Detail { get; set; }

    public required string Remote { get; init; }

    /// <summary>sts or certificate.</summary>
    public string? Proof { get; set; }

    /// <summary>The caller's ARN as STS tells it, or the subject of its certificate.</summary>
    public string? Caller { get; set; }

    /// <summary>As the identity document names it, once its signature holds.</summary>
    public string? Instance { get; set; }

    public string? Node { get; set; }

    /// <summary>Roles asked for.</summary>
    public IReadOnlyList<string>? Roles { get; set; }

    public IReadOnlyList<AuditedCertificate>? Certificates { get; set; }

    /// <summary>The range of the node's pods.</summary>
    public string? PodRange { get; set; }

    /// <summary>In a line for many: how many refusals have none of their own.</summary>
    public int? LeftOut { get; set; }

    public long Milliseconds { get; set; }

    public string ToJson() => JsonSerializer.Serialize(this, AuditJson.Default.AuditEntry);
}

/// <param name="Serial">Hex, as openssl prints it.</param>
internal sealed record AuditedCertificate(string Role, string Subject, string Serial, DateTimeOffset NotAfter);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(AuditEntry))]
internal sealed partial class AuditJson : JsonSerializerContext;
