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
    public static PublicKey Read(byte[] der)
    {
        if (der.Length > LongestBytes)
        {
            throw new CryptographicException($"the request has {der.Length} bytes; at most {LongestBytes} are read");
        }

        try
        {
            // Checks the signature, which is the proof of possession.
            var key = CertificateRequest.LoadSigningRequest(der, HashAlgorithmName.SHA256).PublicKey;
            return Weakness(key) is { } weakness ? throw new CryptographicException(weakness) : key;
        }
        catch (Exception e) when (e is NotSupportedException or ArgumentException or AsnContentException)
        {
            // OpenSSL's way to say that it knows no such curve, for one.
            throw new CryptographicException(e.Message, e);
        }
    }

    private static string? Weakness(PublicKey key)
    {
        using var ec = key.GetECDsaPublicKey();
        if (ec?.ExportParameters(includePrivateParameters: false).Curve is { } curve)
        {
            return curve.IsNamed && Curves.Contains(curve.Oid.Value)
                ? null
                : $"the key is on {(curve.IsNamed ? curve.Oid.FriendlyName ?? curve.Oid.Value : "a curve of its own")}; P-256, P-384 and P-521 are signed";
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
