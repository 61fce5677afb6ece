using System.Formats.Asn1;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace NodeAgent.Pki;

/// <summary>A certificate as far as a node cares what is in it.</summary>
/// <param name="Usages">Names of known extended key usages, dotted numbers of others, ordinal order.</param>
/// <param name="PublicKey">SubjectPublicKeyInfo, DER.</param>
internal sealed record ParsedCertificate(
    string Subject,
    string Issuer,
    IReadOnlyList<string> Usages,
    IReadOnlyList<string> DnsNames,
    IReadOnlyList<IPAddress> Addresses,
    bool IsAuthority,
    DateTimeOffset NotBefore,
    DateTimeOffset NotAfter,
    byte[] PublicKey)
{
    private static readonly Dictionary<string, HashAlgorithmName> SignatureHashes = new()
    {
        ["1.2.840.10045.4.3.2"] = HashAlgorithmName.SHA256,
        ["1.2.840.10045.4.3.3"] = HashAlgorithmName.SHA384,
        ["1.2.840.10045.4.3.4"] = HashAlgorithmName.SHA512,
        ["1.2.840.113549.1.1.11"] = HashAlgorithmName.SHA256,
        ["1.2.840.113549.1.1.12"] = HashAlgorithmName.SHA384,
        ["1.2.840.113549.1.1.13"] = HashAlgorithmName.SHA512,
    };

    /// <returns>Null when it is no certificate.</returns>
    public static ParsedCertificate? Parse(byte[] der)
    {
        try
        {
            using var certificate = X509CertificateLoader.LoadCertificate(der);
            var names = certificate.Extensions.OfType<X509SubjectAlternativeNameExtension>().ToList();
            return new(
                Describe(certificate.SubjectName),
                Describe(certificate.IssuerName),
                [.. certificate.Extensions.OfType<X509EnhancedKeyUsageExtension>()
                    .SelectMany(e => e.EnhancedKeyUsages.Cast<Oid>().Select(o => CertificateUsages.Oids.FirstOrDefault(u => u.Oid == o.Value).Name ?? o.Value!))
                    .Order(StringComparer.Ordinal)],
                [.. names.SelectMany(n => n.EnumerateDnsNames())],
                [.. names.SelectMany(n => n.EnumerateIPAddresses())],
                certificate.Extensions.OfType<X509BasicConstraintsExtension>().Any(b => b.CertificateAuthority),
                certificate.NotBefore,
                certificate.NotAfter,
                certificate.PublicKey.ExportSubjectPublicKeyInfo());
        }
        catch (Exception e) when (e is CryptographicException or NotSupportedException)
        {
            return null;
        }
    }

    /// <summary>
    /// Whether one of <paramref name="authorities"/> stands at the end of a chain that begins with the first of <paramref name="chain"/>. Says nothing of time.
    /// </summary>
    /// <remarks>Not X509Chain: it opens stores under the home directory and in /etc/ssl, and this is asked on every check for drift.</remarks>
    public static bool IsIssuedBy(IReadOnlyList<byte[]> chain, IReadOnlyList<byte[]> authorities)
    {
        for (var i = 0; i < chain.Count; i++)
        {
            if (authorities.Any(a => IsSignedBy(chain[i], a)))
            {
                return true;
            }

            if (i + 1 == chain.Count || !IsSignedBy(chain[i], chain[i + 1]))
            {
                return false;
            }
        }

        return false;
    }

    private static bool IsSignedBy(byte[] der, byte[] authority)
    {
        try
        {
            using var certificate = X509CertificateLoader.LoadCertificate(der);
            using var issuer = X509CertificateLoader.LoadCertificate(authority);
            var fields = new AsnReader(der, AsnEncodingRules.DER).ReadSequence();
            var signed = fields.ReadEncodedValue();
            var algorithm = fields.ReadSequence().ReadObjectIdentifier();
            var signature = fields.ReadBitString(out var unused);
            // A signature is whole bytes: with a number of unused bits the same one would stand in another file.
            if (unused != 0 || fields.HasData
                || !certificate.IssuerName.RawData.AsSpan().SequenceEqual(issuer.SubjectName.RawData)
                || !issuer.Extensions.OfType<X509BasicConstraintsExtension>().Any(b => b.CertificateAuthority)
                || !SignatureHashes.TryGetValue(algorithm, out var hash))
            {
                return false;
            }

            using var ec = issuer.GetECDsaPublicKey();
            using var rsa = issuer.GetRSAPublicKey();
            return ec?.VerifyData(signed.Span, signature, hash, DSASignatureFormat.Rfc3279DerSequence)
                ?? rsa?.VerifyData(signed.Span, signature, hash, RSASignaturePadding.Pkcs1)
                ?? false;
        }
        catch (Exception e) when (e is CryptographicException or AsnContentException or NotSupportedException)
        {
            return false;
        }
    }

    /// <summary>As <see cref="CertificateContent.Subject"/> writes it, so that no other looks the same; parts of other kinds by their number.</summary>
    private static string Describe(X500DistinguishedName name) => string.Join(", ", name.EnumerateRelativeDistinguishedNames(reversed: false).Select(part =>
        part.HasMultipleElements
            ? "(several in one)"
            : part.GetSingleElementType().Value switch
            {
                "2.5.4.3" => "CN",
                "2.5.4.10" => "O",
                var other => other,
            } + " = " + CertificateContent.Escape(part.GetSingleElementValue() ?? "")));
}
