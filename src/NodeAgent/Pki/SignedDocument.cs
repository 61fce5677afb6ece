using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace NodeAgent.Pki;

/// <summary>
/// PKCS#7 that bears what it signs (RFC 5652), as EC2 signs instance identity documents: one signer, RSA and SHA-2. Certificates in it are not even looked at:
/// whose signature it is, the caller's certificates decide.
/// </summary>
internal static class SignedDocument
{
    private const string Data = "1.2.840.113549.1.7.1";
    private const string SignedData = "1.2.840.113549.1.7.2";
    private const string ContentTypeAttribute = "1.2.840.113549.1.9.3";
    private const string MessageDigestAttribute = "1.2.840.113549.1.9.4";

    private static readonly Asn1Tag First = new(TagClass.ContextSpecific, 0, isConstructed: true);
    private static readonly Asn1Tag Second = new(TagClass.ContextSpecific, 1, isConstructed: true);

    private static readonly Dictionary<string, HashAlgorithmName> Hashes = new()
    {
        ["2.16.840.1.101.3.4.2.1"] = HashAlgorithmName.SHA256,
        ["2.16.840.1.101.3.4.2.2"] = HashAlgorithmName.SHA384,
        ["2.16.840.1.101.3.4.2.3"] = HashAlgorithmName.SHA512,
    };

    /// <param name="trusted">Who may have signed it.</param>
    /// <returns>What was signed.</returns>
    /// <exception cref="CryptographicException">Not such a document, or not signed by one of them.</exception>
    public static byte[] Verify(byte[] ber, IReadOnlyList<X509Certificate2> trusted)
    {
        try
        {
            // BER, since EC2's encoder writes indefinite lengths.
            var file = new AsnReader(ber, AsnEncodingRules.BER);
            var outer = file.ReadSequence();
            file.ThrowIfNotEmpty();
            Expect(outer.ReadObjectIdentifier() == SignedData, "not PKCS#7 signed data");
            var wrapped = outer.ReadSequence(First);
            outer.ThrowIfNotEmpty();
            var signed = wrapped.ReadSequence();
            wrapped.ThrowIfNotEmpty();

            _ = signed.ReadInteger();
            _ = signed.ReadSetOf(skipSortOrderValidation: true);
            var encapsulated = signed.ReadSequence();
            Expect(encapsulated.ReadObjectIdentifier() == Data, "what it signs is not plain data");
            Expect(encapsulated.HasData, "it does not bear what it signs");
            var explicitly = encapsulated.ReadSequence(First);
            var content = explicitly.ReadOctetString();
            explicitly.ThrowIfNotEmpty();
            encapsulated.ThrowIfNotEmpty();
            while (signed.HasData && signed.PeekTag() is var tag && (tag.HasSameClassAndValue(First) || tag.HasSameClassAndValue(Second)))
            {
                _ = signed.ReadEncodedValue();
            }

            var signers = signed.ReadSetOf(skipSortOrderValidation: true);
            signed.ThrowIfNotEmpty();
            var signer = signers.ReadSequence();
            Expect(!signers.HasData, "it has more than one signer");
            Check(signer, content, trusted);
            return content;
        }
        catch (AsnContentException e)
        {
            throw new CryptographicException("not PKCS#7: " + e.Message, e);
        }
    }

    private static void Check(AsnReader signer, byte[] content, IReadOnlyList<X509Certificate2> trusted)
    {
        _ = signer.ReadInteger();
        _ = signer.ReadEncodedValue();
        Expect(Hashes.TryGetValue(signer.ReadSequence().ReadObjectIdentifier(), out var hash), "its digest is none of SHA-2");
        var attributes = signer.HasData && signer.PeekTag().HasSameClassAndValue(First) ? signer.ReadEncodedValue() : default(ReadOnlyMemory<byte>?);
        // RSA itself or RSA with a digest: either way it is PKCS#1 v1.5 over the digest above, or it does not verify.
        _ = signer.ReadSequence().ReadObjectIdentifier();
        var signature = signer.ReadOctetString();
        var over = content;
        if (attributes is { } raw)
        {
            // RFC 5652, 5.4: signed as the SET OF that they are, not under the tag that they stand under, and in DER.
            over = raw.ToArray();
            over[0] = 0x31;
            var set = new AsnReader(over, AsnEncodingRules.DER).ReadSetOf(skipSortOrderValidation: true);
            var (digests, types) = (0, 0);
            while (set.HasData)
            {
                var attribute = set.ReadSequence();
                var kind = attribute.ReadObjectIdentifier();
                var values = attribute.ReadSetOf();
                if (kind == MessageDigestAttribute)
                {
                    digests++;
                    var digest = CryptographicOperations.HashData(hash, content);
                    Expect(CryptographicOperations.FixedTimeEquals(values.ReadOctetString(), digest), "its digest is not that of its content");
                }
                else if (kind == ContentTypeAttribute)
                {
                    types++;
                    Expect(values.ReadObjectIdentifier() == Data, "its attributes speak of another type of content");
                }
            }

            Expect(digests == 1 && types == 1, "its attributes lack a digest or a type of content");
        }

        Expect(trusted.Any(IsSigner), "its signature is of none of the certificates trusted for it");

        bool IsSigner(X509Certificate2 certificate)
        {
            using var rsa = certificate.GetRSAPublicKey();
            return rsa is { KeySize: >= 2048 } && rsa.VerifyData(over, signature, hash, RSASignaturePadding.Pkcs1);
        }
    }

    private static void Expect(bool holds, string otherwise)
    {
        if (!holds)
        {
            throw new CryptographicException(otherwise);
        }
    }
}
