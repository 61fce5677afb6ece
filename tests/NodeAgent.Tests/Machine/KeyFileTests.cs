using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Machine;

namespace NodeAgent.Tests.Machine;

public sealed class KeyFileTests
{
    [Fact]
    public void Every_form_of_key_shows_its_public_half()
    {
        using var ec = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var rsa = RSA.Create(2048);

        Report(ec.ExportPkcs8PrivateKeyPem()).PublicKey.ShouldBe(ec.ExportSubjectPublicKeyInfo());
        Report(ec.ExportECPrivateKeyPem()).PublicKey.ShouldBe(ec.ExportSubjectPublicKeyInfo());
        Report(rsa.ExportPkcs8PrivateKeyPem()).PublicKey.ShouldBe(rsa.ExportSubjectPublicKeyInfo());
        Report(rsa.ExportRSAPrivateKeyPem()).PublicKey.ShouldBe(rsa.ExportSubjectPublicKeyInfo());
    }

    [Fact]
    public void Certificates_beside_the_key_are_reported_in_their_order()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var first = SelfSigned(key, "first");
        using var second = SelfSigned(key, "second");

        var report = Report($"# kubelet\n{first.ExportCertificatePem()}\n{key.ExportPkcs8PrivateKeyPem()}\n{second.ExportCertificatePem()}\n");

        report.PublicKey.ShouldBe(key.ExportSubjectPublicKeyInfo());
        report.Certificates!.ShouldBe([first.RawData, second.RawData]);
    }

    [Fact]
    public void No_key_two_keys_an_encrypted_or_a_broken_one_have_no_public_half()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var pem = key.ExportPkcs8PrivateKeyPem();

        Report("").PublicKey.ShouldBeNull();
        Report(key.ExportSubjectPublicKeyInfoPem()).PublicKey.ShouldBeNull();
        Report(pem + "\n" + other.ExportPkcs8PrivateKeyPem()).PublicKey.ShouldBeNull();
        var encryption = new PbeParameters(PbeEncryptionAlgorithm.Aes256Cbc, HashAlgorithmName.SHA256, 1);
        Report(key.ExportEncryptedPkcs8PrivateKeyPem("x", encryption)).PublicKey.ShouldBeNull();
        Report("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").PublicKey.ShouldBeNull();
        for (var length = 0; length < pem.Length - 1; length++)
        {
            Report(pem[..length]).PublicKey.ShouldBeNull();
        }
    }

    [Fact]
    public void A_file_that_is_not_there_is_absent_and_another_kind_is_said()
    {
        KeyFile.Report("/nothing/here").ShouldBe(KeyReport.Absent);
        KeyFile.Report("/").Kind.ShouldBe(FileKind.Directory);
    }

    private static KeyReport Report(string pem) => KeyFile.Report(Encoding.UTF8.GetBytes(pem), Files.OwnerOnly);

    private static X509Certificate2 SelfSigned(ECDsa key, string name) =>
        new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddDays(1));
}
