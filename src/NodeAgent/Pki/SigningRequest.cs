using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace NodeAgent.Pki;

/// <summary>PKCS#10. Of what one says only the public key is ever used.</summary>
internal static class SigningRequest
{
    /// <summary>An RSA-8192 request with a dozen extensions has 3 KiB.</summary>
    private const int LongestBytes = 8 * 1024;

    private static readonly string[] Curves = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];

    /// <returns>DER. The subject is for whoever reads it on the way; a signer has its own mind on that.</returns>
    public static byte[] Create(AsymmetricAlgorithm key, CertificateContent content) =>
        CertificateAuthority.Request(CertificateAuthority.Name(content), key).CreateSigningRequest();

    /// <summary>The public key of a request that was signed with its private key.</summary>
    /// <exception cref="CryptographicException">Not a request, not signed with its own key, or a key that is too weak.</exception>
    public static PublicKey Read(byte[] der) => Load(der).PublicKey;

    /// <summary>As <see cref="Read"/>, of a request that wants nothing but what the holder of <paramref name="content"/> gets anyway.</summary>
    /// <exception cref="CryptographicException">Also of another subject, or one that asks for names, usages, a CA or anything else.</exception>
    public static PublicKey ReadFor(byte[] der, CertificateContent content)
    {
        var request = Load(der);
        var subject = request.SubjectName.RawData.AsSpan();
        if (!subject.SequenceEqual(CertificateAuthority.Name(content).RawData) && !subject.SequenceEqual(NoName))
        {
            throw new CryptographicException($"the request's subject is '{Short(request.SubjectName.Name)}', and this node gets '{content.Subject}'");
        }

        if (request.CertificateExtensions.Count > 0)
        {
            var asked = string.Join(", ", request.CertificateExtensions.Select(e => e.Oid?.FriendlyName ?? e.Oid?.Value).Take(4));
            throw new CryptographicException(
                $"the request asks for extensions ({Short(asked)}): names, usages and the like come from the table of roles, a request brings a key alone");
        }

        return request.OtherRequestAttributes.Count == 0
            ? request.PublicKey
            : throw new CryptographicException(
                $"the request bears attributes ({Short(request.OtherRequestAttributes[0].Oid?.Value ?? "")}); it brings a key alone");
    }

    /// <summary>An empty sequence.</summary>
    private static ReadOnlySpan<byte> NoName => [0x30, 0x00];

    private static string Short(string text) => text.Length <= 120 ? text : text[..120] + "...";

    private static CertificateRequest Load(byte[] der)
    {
        if (der.Length > LongestBytes)
        {
            throw new CryptographicException($"the request has {der.Length} bytes; at most {LongestBytes} are read");
        }

        try
        {
            // Checks the signature, which is the proof of possession.
            var request = CertificateRequest.LoadSigningRequest(der, HashAlgorithmName.SHA256, CertificateRequestLoadOptions.UnsafeLoadCertificateExtensions);
            return Weakness(request.PublicKey) is { } weakness ? throw new CryptographicException(weakness) : request;
        }
        catch (Exception e) when (e is NotSupportedException or ArgumentException or AsnContentException)
        {
            // OpenSSL's way to say that it knows no such curve, for one.
            throw new CryptographicException(e.Message, e);
        }
    }

    // By what stands there: a key that is read anew costs as much as a signature. The signature over the request has read it once.
    private static string? Weakness(PublicKey key)
    {
        if (key.Oid.Value == "1.2.840.10045.2.1")
        {
            var parameters = key.EncodedParameters?.RawData ?? [];
            var curve = parameters is [0x06, ..] ? AsnDecoder.ReadObjectIdentifier(parameters, AsnEncodingRules.DER, out _) : null;
            return curve is not null && Curves.Contains(curve)
                ? null
                : $"the key is on {(curve is null ? "a curve of its own" : new Oid(curve).FriendlyName ?? curve)}; P-256, P-384 and P-521 are signed";
        }

        using var rsa = key.GetRSAPublicKey();
        return rsa switch
        {
            null => $"the key is of kind {key.Oid.Value}; ECDSA and RSA are signed",
            { KeySize: < 2048 or > 8192 } => $"the RSA key has {rsa.KeySize} bits; 2048 to 8192 are signed",
            _ => null,
        };
    }
}
