using System.Text.Json;
using System.Text.Json.Serialization;

namespace NodeAgent.Issuer;

/// <summary>What goes over the wire between a node and an issuer: docs/issuer.md has it in words.</summary>
internal static class Protocol
{
    public const string NoncePath = "/v1/nonce";
    public const string CertificatesPath = "/v1/certificates";
    public const string PodRangePath = "/v1/pod-range";
    public const int DefaultPort = 10261;
}

/// <param name="Document">The instance identity document with its RSA-2048 signature, PKCS#7.</param>
internal sealed record CertificatesRequest(IReadOnlyList<RequestedCertificate> Requests, byte[] Document);

/// <param name="Request">PKCS#10.</param>
internal sealed record RequestedCertificate(string Role, byte[] Request);

internal sealed record CertificatesAnswer(IReadOnlyList<GrantedCertificate> Certificates);

/// <param name="Chain">DER, the node's certificate first, without the cluster's CA.</param>
internal sealed record GrantedCertificate(string Role, IReadOnlyList<byte[]> Chain);

/// <param name="Range">What the node's configuration says; null where it says nothing. A check and no choice.</param>
internal sealed record PodRangeRequest(byte[] Document, string? Range);

internal sealed record PodRangeAnswer(string Range);

internal sealed record NonceAnswer(string Nonce);

internal sealed record ErrorAnswer(string Code, string Message);

/// <summary>Strict: no field that is not known, none twice, none missing, no comments, no trailing commas.</summary>
[JsonSourceGenerationOptions(
    JsonSerializerDefaults.Strict,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    MaxDepth = 8)]
[JsonSerializable(typeof(CertificatesRequest))]
[JsonSerializable(typeof(CertificatesAnswer))]
[JsonSerializable(typeof(PodRangeRequest))]
[JsonSerializable(typeof(PodRangeAnswer))]
[JsonSerializable(typeof(NonceAnswer))]
[JsonSerializable(typeof(ErrorAnswer))]
internal sealed partial class ProtocolJson : JsonSerializerContext;
