using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace NodeAgent.Lab;

/// <summary>The cluster's certificate authority, made anew for every run.</summary>
internal sealed class CertificateAuthority
{
    private readonly X509Certificate2 authority;

    public CertificateAuthority(string directory)
    {
        Directory = directory;
        System.IO.Directory.CreateDirectory(directory);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=kubernetes", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign | X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        // Long enough ago for a node whose clock is set back.
        authority = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-100), DateTimeOffset.UtcNow.AddDays(3650));
        File.WriteAllText(CertificateFile, authority.ExportCertificatePem() + "\n");
        WriteKey(KeyFile, key);
    }

    /// <summary>Holds ca.crt and ca.key.</summary>
    public string Directory { get; }

    public string CertificateFile => Path.Combine(Directory, "ca.crt");

    public string KeyFile => Path.Combine(Directory, "ca.key");

    public X509Certificate2 Certificate => authority;

    /// <summary>Signs a certificate for client and server use. Writes NAME.crt and NAME.key.</summary>
    public (string Certificate, string Key) Issue(string name, string commonName, string? organization = null, params string[] subjectNames)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var subject = new X500DistinguishedNameBuilder();
        if (organization is not null)
        {
            subject.AddOrganizationName(organization);
        }

        subject.AddCommonName(commonName);
        var request = new CertificateRequest(subject.Build(), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new("1.3.6.1.5.5.7.3.1"), new("1.3.6.1.5.5.7.3.2")], false)); // server, client
        if (subjectNames.Length > 0)
        {
            var names = new SubjectAlternativeNameBuilder();
            foreach (var subjectName in subjectNames)
            {
                if (IPAddress.TryParse(subjectName, out var address))
                {
                    names.AddIpAddress(address);
                }
                else
                {
                    names.AddDnsName(subjectName);
                }
            }

            request.CertificateExtensions.Add(names.Build());
        }

        using var certificate = request.Create(
            authority, DateTimeOffset.UtcNow.AddDays(-99), DateTimeOffset.UtcNow.AddDays(7), RandomNumberGenerator.GetBytes(8));
        var files = (Certificate: Path.Combine(Directory, name + ".crt"), Key: Path.Combine(Directory, name + ".key"));
        File.WriteAllText(files.Certificate, certificate.ExportCertificatePem() + "\n");
        WriteKey(files.Key, key);
        return files;
    }

    private static void WriteKey(string file, ECDsa key)
    {
        File.Delete(file);
        var secret = new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        };
        using var stream = new FileStream(file, secret);
        using var writer = new StreamWriter(stream);
        writer.Write(key.ExportPkcs8PrivateKeyPem() + "\n");
    }
}
