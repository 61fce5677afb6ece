using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using NodeAgent.Pki;

namespace NodeAgent.Tests.Pki;

/// <summary>A CA made for one test, as kubeadm makes it.</summary>
internal sealed record TestAuthority(string CertificatePem, string KeyPem)
{
    public static readonly DateTimeOffset Noon = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    public static TestAuthority Make(bool rsa = false, bool mayCertify = true, DateTimeOffset? from = null)
    {
        using var ecKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var rsaKey = RSA.Create(2048);
        var request = rsa
            ? new CertificateRequest("CN=kubernetes", rsaKey, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            : new CertificateRequest("CN=kubernetes", ecKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(mayCertify, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        var start = from ?? Noon.AddDays(-30);
        using var certificate = request.CreateSelfSigned(start, start.AddYears(1));
        return new(certificate.ExportCertificatePem() + "\n", rsa ? rsaKey.ExportPkcs8PrivateKeyPem() : ecKey.ExportECPrivateKeyPem());
    }

    /// <summary>A client's certificate and key as one file, for a server that holds them against no CA.</summary>
    public static string ClientPem(string subject)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = new CertificateRequest(subject, key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        return certificate.ExportCertificatePem() + "\n" + key.ExportPkcs8PrivateKeyPem() + "\n";
    }

    public byte[] Sign(ECDsa key, CertificateContent content, TimeSpan lifetime, DateTimeOffset now)
    {
        using var authority = CertificateAuthority.Load(CertificatePem, KeyPem);
        return authority.Sign(SigningRequest.Read(SigningRequest.Create(key, content)), content, lifetime, now, RandomNumberGenerator.GetBytes(16));
    }
}

internal static class OpenSsl
{
    /// <summary>Runs openssl(1) in a directory of its own, with those files in it.</summary>
    public static (int ExitCode, string Output) Run(string arguments, params (string Name, string Content)[] files)
    {
        var directory = Directory.CreateTempSubdirectory("nodeagent-pki-");
        try
        {
            foreach (var (name, content) in files)
            {
                File.WriteAllText(Path.Combine(directory.FullName, name), content);
            }

            using var process = Process.Start(new ProcessStartInfo("openssl", arguments)
            {
                WorkingDirectory = directory.FullName,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            var error = process.StandardError.ReadToEndAsync();
            var output = process.StandardOutput.ReadToEnd() + error.Result;
            process.WaitForExit();
            return (process.ExitCode, output);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }
}
