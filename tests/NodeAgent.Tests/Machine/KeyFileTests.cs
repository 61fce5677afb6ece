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

    [Theory]
    [InlineData("")]
    [InlineData("# ours\n")]
    public void A_kubeconfig_shows_what_it_embeds_and_what_is_around_it(string comment)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = SelfSigned(key, "a");
        var (shown, secret) = (Base64(certificate.ExportCertificatePem()), Base64(key.ExportPkcs8PrivateKeyPem()));

        var report = Report($"{comment}users:\n- user:\n    client-certificate-data: {shown}\n    client-key-data: \"{secret}\"\nx: y\n");

        report.PublicKey.ShouldBe(key.ExportSubjectPublicKeyInfo());
        report.Certificates!.ShouldBe([certificate.RawData]);
        report.Comment.ShouldBe(comment.Length == 0 ? null : "# ours");
        report.IsWithin("users:\n- user:\n    client-certificate-data:\n    client-key-data:\nx: y\n").ShouldBeTrue();
        report.IsWithin("users:\n- user:\n    client-certificate-data:\n    client-key-data:\nx: z\n").ShouldBeFalse();
        report.ToString().ShouldNotContain("x: y");
        // Recorded, it is as good for comparing, and says nothing of a password that somebody wrote there.
        var recorded = RecordedKey.From("/a", report).ToReport("/a");
        recorded.Around.ShouldBeNull();
        recorded.IsWithin("users:\n- user:\n    client-certificate-data:\n    client-key-data:\nx: y\n").ShouldBeTrue();
        recorded.IsWithin("x: y\n").ShouldBeFalse();
    }

    [Fact]
    public void A_kubeconfig_of_two_users_has_no_key_that_is_its_own()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var line = $"client-key-data: {Base64(key.ExportPkcs8PrivateKeyPem())}\n";

        Report(line).PublicKey.ShouldNotBeNull();
        Report(line + line).PublicKey.ShouldBeNull();
        Report("client-key-data: %%%\n").PublicKey.ShouldBeNull();
        Report("client-key-data:").IsWithin("client-key-data:").ShouldBeTrue();
    }

    [Fact]
    public void A_file_that_is_not_there_is_absent_and_another_kind_is_said()
    {
        KeyFile.Report("/nothing/here").ShouldBe(KeyReport.Absent);
        KeyFile.Report("/").Kind.ShouldBe(FileKind.Directory);
    }

    private static string Base64(string text) => Convert.ToBase64String(Encoding.UTF8.GetBytes(text));

    private static KeyReport Report(string pem) => KeyFile.Report(Encoding.UTF8.GetBytes(pem), Files.OwnerOnly);

    private static X509Certificate2 SelfSigned(ECDsa key, string name) =>
        new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddDays(1));
}
