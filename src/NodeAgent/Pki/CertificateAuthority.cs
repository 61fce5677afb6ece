using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Aws;
using NodeAgent.Machine;

namespace NodeAgent.Pki;

/// <summary>
/// A CA: its key is in memory, or elsewhere behind a signature generator. What it signs comes from the caller and the public key of a request, nothing else of
/// it.
/// </summary>
internal sealed class CertificateAuthority : IDisposable
{
    /// <summary>Certificates begin so long before they are signed, for clocks that differ.</summary>
    public static readonly TimeSpan Backdating = TimeSpan.FromMinutes(5);

    private readonly AsymmetricAlgorithm? _key;
    private readonly X509SignatureGenerator _generator;

    private CertificateAuthority(X509Certificate2 certificate, AsymmetricAlgorithm? key, X509SignatureGenerator generator)
    {
        Certificate = certificate;
        _key = key;
        _generator = generator;
    }

    public X509Certificate2 Certificate { get; }

    /// <param name="certificatePem">The CA's own certificate first.</param>
    /// <param name="keyPem">ECDSA or RSA, unencrypted, as PKCS#8 or in its traditional form.</param>
    /// <exception cref="CryptographicException">Not a CA, or a key that is not its.</exception>
    public static CertificateAuthority Load(ReadOnlySpan<char> certificatePem, ReadOnlySpan<char> keyPem)
    {
        var certificate = Read(certificatePem);
        AsymmetricAlgorithm key;
        try
        {
            key = PrivateKey.Read(keyPem);
        }
        catch (CryptographicException e)
        {
            throw new CryptographicException($"the key of {certificate.Subject} cannot be read: {e.Message}", e);
        }

        return key.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(certificate.PublicKey.ExportSubjectPublicKeyInfo())
            ? new(certificate, key, Generator(key))
            : throw new CryptographicException($"the key is not that of {certificate.Subject}");
    }

    /// <summary>One whose key is elsewhere: <paramref name="generator"/> has it sign.</summary>
    /// <exception cref="CryptographicException">Not a CA, or a key that is not its.</exception>
    public static CertificateAuthority Load(ReadOnlySpan<char> certificatePem, X509SignatureGenerator generator)
    {
        var certificate = Read(certificatePem);
        return generator.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(certificate.PublicKey.ExportSubjectPublicKeyInfo())
            ? new(certificate, null, generator)
            : throw new CryptographicException($"the key is not that of {certificate.Subject}");
    }

    private static X509Certificate2 Read(ReadOnlySpan<char> certificatePem)
    {
        var certificate = Pem.Certificates(certificatePem) is [var first, ..]
            ? X509CertificateLoader.LoadCertificate(first)
            : throw new CryptographicException("there is no CERTIFICATE block in the CA's certificate file");
        if (!certificate.Extensions.OfType<X509BasicConstraintsExtension>().Any(b => b.CertificateAuthority))
        {
            throw new CryptographicException($"{certificate.Subject} is not a CA (no basic constraint CA:TRUE)");
        }

        return certificate.Extensions.OfType<X509KeyUsageExtension>().Any(u => !u.KeyUsages.HasFlag(X509KeyUsageFlags.KeyCertSign))
            ? throw new CryptographicException($"{certificate.Subject} may not sign certificates (its key usage lacks Certificate Sign)")
            : certificate;
    }

    /// <summary>A root of its own: CA:TRUE, with no limit to the path, as kubeadm's.</summary>
    /// <param name="key">Its public half.</param>
    /// <returns>DER.</returns>
    public static byte[] SelfSigned(
        string commonName, PublicKey key, X509SignatureGenerator generator, TimeSpan lifetime, DateTimeOffset now, ReadOnlySpan<byte> serial)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(serial.Length, 16);
        var subject = Name(new(commonName, [], 0, [], []));
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        var identifier = new X509SubjectKeyIdentifierExtension(key, X509SubjectKeyIdentifierHashAlgorithm.Sha1, critical: false);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(
            X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign | X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(identifier);
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(identifier));
        using var signed = request.Create(subject, generator, now - Backdating, now + lifetime, serial);
        return Verified(signed.RawData, signed.RawData, commonName);
    }

    public static X509SignatureGenerator Generator(AsymmetricAlgorithm key) => key switch
    {
        ECDsa ec => X509SignatureGenerator.CreateForECDsa(ec),
        RSA rsa => X509SignatureGenerator.CreateForRSA(rsa, RSASignaturePadding.Pkcs1),
        _ => throw new CryptographicException("neither an ECDSA nor an RSA key"),
    };

    public static CertificateRequest Request(X500DistinguishedName subject, AsymmetricAlgorithm key) => key switch
    {
        ECDsa ec => new(subject, ec, HashAlgorithmName.SHA256),
        RSA rsa => new(subject, rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1),
        _ => throw new CryptographicException("neither an ECDSA nor an RSA key"),
    };

    /// <param name="serial">128 random bits.</param>
    /// <returns>DER. Valid from five minutes before <paramref name="now"/>, and never longer than the CA itself.</returns>
    /// <exception cref="CryptographicException">The CA's own time is over, or has not begun.</exception>
    public byte[] Sign(PublicKey key, CertificateContent content, TimeSpan lifetime, DateTimeOffset now, ReadOnlySpan<byte> serial)
    {
        var signed = Create(key, content, lifetime, now, serial, _generator);
        return _key is not null ? signed : Verified(signed, Certificate.RawData, Certificate.Subject);
    }

    /// <summary>As <see cref="Sign"/>, for many at once: no thread waits for KMS.</summary>
    /// <exception cref="AwsException"/>
    public async ValueTask<byte[]> SignAsync(
        PublicKey key, CertificateContent content, TimeSpan lifetime, DateTimeOffset now, ReadOnlyMemory<byte> serial, CancellationToken cancellation)
    {
        if (_generator is not KmsSignatureGenerator inKms)
        {
            return Sign(key, content, lifetime, now, serial.Span);
        }

        // RFC 5280, 4.1: what is signed, how, and the signature, which is none yet.
        var draft = new AsnReader(Create(key, content, lifetime, now, serial.Span, inKms.Nothing()), AsnEncodingRules.DER).ReadSequence();
        var (toSign, algorithm) = (draft.ReadEncodedValue().ToArray(), draft.ReadEncodedValue());
        var signature = await inKms.SignAsync(toSign, cancellation).ConfigureAwait(false);
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteEncodedValue(toSign);
            writer.WriteEncodedValue(algorithm.Span);
            writer.WriteBitString(signature);
        }

        return Verified(writer.Encode(), Certificate.RawData, Certificate.Subject);
    }

    private byte[] Create(
        PublicKey key, CertificateContent content, TimeSpan lifetime, DateTimeOffset now, ReadOnlySpan<byte> serial, X509SignatureGenerator generator)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(serial.Length, 16);
        DateTimeOffset caStart = Certificate.NotBefore, caEnd = Certificate.NotAfter;
        if (now < caStart || now >= caEnd)
        {
            throw new CryptographicException(
                $"{Certificate.Subject} is valid from {caStart.UtcDateTime:u} to {caEnd.UtcDateTime:u}, and the clock says {now.UtcDateTime:u}");
        }

        var (start, end) = (now - Backdating, now + lifetime);
        var request = new CertificateRequest(Name(content), key, HashAlgorithmName.SHA256);
        var isRsa = key.Oid.Value == "1.2.840.113549.1.1.1";
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: false, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(
            X509KeyUsageFlags.DigitalSignature | (isRsa && content.Usage.HasFlag(CertificateUsage.Server) ? X509KeyUsageFlags.KeyEncipherment : 0),
            critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension(
            [.. CertificateUsages.Oids.Where(u => content.Usage.HasFlag(u.Usage)).Select(u => new Oid(u.Oid))],
            critical: false));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(key, X509SubjectKeyIdentifierHashAlgorithm.Sha1, critical: false));
        if (Certificate.Extensions.OfType<X509SubjectKeyIdentifierExtension>().FirstOrDefault() is { } identifier)
        {
            request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(identifier));
        }

        if (content.DnsNames.Count + content.Addresses.Count > 0)
        {
            var names = new SubjectAlternativeNameBuilder();
            foreach (var name in content.DnsNames)
            {
                names.AddDnsName(name);
            }

            foreach (var address in content.Addresses)
            {
                names.AddIpAddress(address);
            }

            request.CertificateExtensions.Add(names.Build());
        }

        using var signed = request.Create(Certificate.SubjectName, generator, start < caStart ? caStart : start, end > caEnd ? caEnd : end, serial);
        return signed.RawData;
    }

    /// <summary>A signature over something that is no certificate, and cannot be taken for one: certificates are DER.</summary>
    /// <exception cref="AwsException"/>
    public byte[] SignText(byte[] text) => _generator.SignData(text, HashAlgorithmName.SHA256);

    public bool HasSigned(byte[] text, byte[] signature) => HasSigned(Certificate, text, signature);

    /// <summary>Whether the key of <paramref name="authority"/> has made this of <see cref="SignText"/>.</summary>
    public static bool HasSigned(X509Certificate2 authority, byte[] text, byte[] signature)
    {
        using var ec = authority.GetECDsaPublicKey();
        using var rsa = authority.GetRSAPublicKey();
        return ec?.VerifyData(text, signature, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence)
            ?? rsa?.VerifyData(text, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1) ?? false;
    }

    /// <summary>A key of 32 bytes for another purpose, the same wherever this CA's key is; it tells nothing of that key.</summary>
    /// <exception cref="CryptographicException">The key is elsewhere.</exception>
    public byte[] DeriveKey(string purpose) => DeriveKey(
        _key ?? throw new CryptographicException($"the key of {Certificate.Subject} is elsewhere, and no other key can be derived from it here"), purpose);

    /// <summary>HKDF, RFC 5869.</summary>
    public static byte[] DeriveKey(AsymmetricAlgorithm key, string purpose)
    {
        var secret = key is ECDsa ec ? ec.ExportParameters(includePrivateParameters: true).D! : ((RSA)key).ExportParameters(includePrivateParameters: true).D!;
        try
        {
            return HKDF.DeriveKey(HashAlgorithmName.SHA256, secret, 32, info: Encoding.UTF8.GetBytes(purpose));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(secret);
        }
    }

    /// <summary>What was signed elsewhere may be signed with another key, or wrongly, and nobody would hear of it before a handshake fails.</summary>
    private static byte[] Verified(byte[] certificate, byte[] authority, string name) => ParsedCertificate.IsIssuedBy([certificate], [authority])
        ? certificate
        : throw new CryptographicException($"what came back signed for {name} does not bear its signature");

    public static X500DistinguishedName Name(CertificateContent content)
    {
        // Components are encoded last to first, and Go's order is organization before common name.
        var name = new X500DistinguishedNameBuilder();
        name.AddCommonName(content.CommonName);
        foreach (var organization in content.Organizations)
        {
            name.AddOrganizationName(organization);
        }

        return name.Build();
    }

    public void Dispose()
    {
        _key?.Dispose();
        Certificate.Dispose();
    }
}

internal static class CertificateUsages
{
    /// <summary>RFC 5280, 4.2.1.12.</summary>
    public static readonly (CertificateUsage Usage, string Oid, string Name)[] Oids =
        [(CertificateUsage.Server, "1.3.6.1.5.5.7.3.1", "server"), (CertificateUsage.Client, "1.3.6.1.5.5.7.3.2", "client")];
}
