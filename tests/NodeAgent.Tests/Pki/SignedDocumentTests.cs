using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Pki;
using NodeAgent.Tests.Issuer;

namespace NodeAgent.Tests.Pki;

/// <summary>Against PKCS#7 as openssl writes it, by the very command that AWS documents the reverse of.</summary>
public sealed class SignedDocumentTests : IDisposable
{
    private const string Content = "{\n  \"instanceId\" : \"i-1\"\n}";

    private readonly X509Certificate2 _signer = IssuerLab.DocumentSigner();

    public void Dispose() => _signer.Dispose();

    [Theory]
    // Indefinite lengths, as EC2 writes; definite ones; no signed attributes; the signer's certificate inside.
    [InlineData("-nodetach -md sha256 -nocerts -stream -indef")]
    [InlineData("-nodetach -md sha256 -nocerts")]
    [InlineData("-nodetach -md sha512 -nocerts -noattr")]
    [InlineData("-nodetach -md sha256")]
    public void What_openssl_signs_is_read(string how) => Encoding.UTF8.GetString(SignedDocument.Verify(Made(how), [_signer])).ShouldBe(Content);

    [Fact]
    public void Whoever_else_is_trusted_does_not_matter()
    {
        using var other = IssuerLab.DocumentSigner();
        using var weak = Weak();

        SignedDocument.Verify(Made("-nodetach -md sha256"), [other, _signer]).Length.ShouldBe(Content.Length);
        Should.Throw<CryptographicException>(() => SignedDocument.Verify(Made("-nodetach -md sha256"), [other]))
            .Message.ShouldContain("none of the certificates trusted");
        Should.Throw<CryptographicException>(() => SignedDocument.Verify(Made("-nodetach -md sha256", weak), [weak]));
    }

    [Theory]
    [InlineData("-nodetach -md sha1 -nocerts", "SHA-2")]
    [InlineData("-md sha256 -nocerts", "does not bear what it signs")]
    public void What_is_signed_otherwise_is_not_taken(string how, string why) =>
        Should.Throw<CryptographicException>(() => SignedDocument.Verify(Made(how), [_signer])).Message.ShouldContain(why);

    [Fact]
    public void Not_one_bit_may_be_another()
    {
        var document = Made("-nodetach -md sha256 -nocerts");
        var (text, signature) = (document.AsSpan().IndexOf("instanceId"u8), document.Length - 1);
        foreach (var at in new[] { text, signature, signature - 255 })
        {
            var bent = document.ToArray();
            bent[at] ^= 1;
            Should.Throw<CryptographicException>(() => SignedDocument.Verify(bent, [_signer]));
        }

        for (var length = 0; length < document.Length; length += 7)
        {
            Should.Throw<CryptographicException>(() => SignedDocument.Verify(document[..length], [_signer]));
        }

        Should.Throw<CryptographicException>(() => SignedDocument.Verify([.. document, 0], [_signer]));
    }

    private byte[] Made(string how, X509Certificate2? signer = null)
    {
        using var key = (signer ?? _signer).GetRSAPrivateKey()!;
        var (exit, output) = OpenSsl.Run(
            $"cms -sign -binary {how} -in content -signer cert.pem -inkey key.pem -outform PEM",
            ("content", Content),
            ("cert.pem", (signer ?? _signer).ExportCertificatePem()),
            ("key.pem", key.ExportPkcs8PrivateKeyPem()));
        exit.ShouldBe(0, output);
        var fields = PemEncoding.Find(output);
        return Convert.FromBase64String(output[fields.Base64Data]);
    }

    private static X509Certificate2 Weak()
    {
        using var key = RSA.Create(1024);
        return new CertificateRequest("CN=weak", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
    }
}
