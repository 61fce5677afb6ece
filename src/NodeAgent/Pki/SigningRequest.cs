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
    public static byte[] Create(ECDsa key, CertificateContent content) =>
        new CertificateRequest(CertificateAuthority.Name(content), key, HashAlgorithmName.SHA256).CreateSigningRequest();

    /// <summary>The public key of a request that was signed with its private key.</summary>
    /// <exception cref="CryptographicException">Not a request, not signed with its own key, or a key that is too weak.</exception>
    public static PublicKey Read(byte[] der)
    {
        if (der.Length > LongestBytes)
        {
            throw new CryptographicException($"the request has {der.Length} bytes; at most {LongestBytes} are read");
        }

        CertificateRequest request;
        try
        {
            // Checks the signature, which is the proof of possession.
            request = CertificateRequest.LoadSigningRequest(der, HashAlgorithmName.SHA256);
        }
        catch (CryptographicException e)
        {
            throw new CryptographicException("the request is not a PKCS#10 request that its own key signed: " + e.Message, e);
        }

        using var ec = request.PublicKey.GetECDsaPublicKey();
        if (ec is not null)
        {
            var curve = ec.ExportParameters(includePrivateParameters: false).Curve;
            return curve.IsNamed && Curves.Contains(curve.Oid.Value)
                ? request.PublicKey
                : throw new CryptographicException($"the key is on curve {curve.Oid?.FriendlyName ?? "of its own"}; P-256, P-384 and P-521 are signed");
        }

        using var rsa = request.PublicKey.GetRSAPublicKey();
        return rsa switch
        {
            null => throw new CryptographicException($"the key is of kind {request.PublicKey.Oid.Value}; ECDSA and RSA are signed"),
            { KeySize: < 2048 or > 8192 } => throw new CryptographicException($"the RSA key has {rsa.KeySize} bits; 2048 to 8192 are signed"),
            _ => request.PublicKey,
        };
    }
}
