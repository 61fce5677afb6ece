using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using NodeAgent.Aws;

namespace NodeAgent.Pki;

/// <summary>Signs with a key that never leaves KMS. One signature, one call.</summary>
internal sealed class KmsSignatureGenerator(KmsKeys keys, string arn, PublicKey publicKey) : X509SignatureGenerator
{
    private readonly bool _isRsa = publicKey.Oid.Value == "1.2.840.113549.1.1.1";

    /// <exception cref="CaException">A key that certificates are not signed with here.</exception>
    public static KmsSignatureGenerator Of(KmsKeys keys, KmsKey key) => KeyAlgorithms.Names.Contains(KeyAlgorithms.Describe(key.PublicKey))
        ? new(keys, key.Arn, PublicKey.CreateFromSubjectPublicKeyInfo(key.PublicKey, out _))
        : throw new CaException($"{key.Arn} is {KeyAlgorithms.Describe(key.PublicKey)}; a CA's key in KMS is one of {string.Join(", ", KeyAlgorithms.Names)}");

    // RFC 5758, 3.2 (no parameters); RFC 4055, 5 (NULL).
    public override byte[] GetSignatureAlgorithmIdentifier(HashAlgorithmName hashAlgorithm)
    {
        Require(hashAlgorithm);
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(_isRsa ? "1.2.840.113549.1.1.11" : "1.2.840.10045.4.3.2");
            if (_isRsa)
            {
                writer.WriteNull();
            }
        }

        return writer.Encode();
    }

    // .NET signs certificates without await.
    public override byte[] SignData(byte[] data, HashAlgorithmName hashAlgorithm)
    {
        Require(hashAlgorithm);
        return keys.Sign(arn, data, _isRsa, CancellationToken.None).GetAwaiter().GetResult();
    }

    /// <exception cref="AwsException"/>
    public Task<byte[]> SignAsync(byte[] data, CancellationToken cancellation) => keys.Sign(arn, data, _isRsa, cancellation);

    /// <summary>Signs with nothing, so that .NET says what there is to sign.</summary>
    public X509SignatureGenerator Nothing() => new Empty(this);

    protected override PublicKey BuildPublicKey() => publicKey;

    private static void Require(HashAlgorithmName hash)
    {
        if (hash != HashAlgorithmName.SHA256)
        {
            throw new CryptographicException($"{hash.Name} is not asked of KMS; SHA256 is");
        }
    }

    private sealed class Empty(KmsSignatureGenerator real) : X509SignatureGenerator
    {
        public override byte[] GetSignatureAlgorithmIdentifier(HashAlgorithmName hashAlgorithm) => real.GetSignatureAlgorithmIdentifier(hashAlgorithm);

        public override byte[] SignData(byte[] data, HashAlgorithmName hashAlgorithm) => [];

        protected override PublicKey BuildPublicKey() => real.PublicKey;
    }
}
