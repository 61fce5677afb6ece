using System.Security.Cryptography;
using NodeAgent.Machine;

namespace NodeAgent.Tests.Machine;

public sealed class PrivateKeyTests
{
    private static readonly ECDsa Ec = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private static readonly RSA Rsa = RSA.Create(2048);

    [Fact]
    public void A_key_in_any_of_its_forms_is_read_whatever_stands_beside_it()
    {
        foreach (var pem in (string[])[Ec.ExportPkcs8PrivateKeyPem(), Ec.ExportECPrivateKeyPem()])
        {
            Public(pem).ShouldBe(Ec.ExportSubjectPublicKeyInfo());
        }

        foreach (var pem in (string[])[Rsa.ExportPkcs8PrivateKeyPem(), Rsa.ExportRSAPrivateKeyPem()])
        {
            Public(pem).ShouldBe(Rsa.ExportSubjectPublicKeyInfo());
        }

        static byte[] Public(string pem)
        {
            using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            using var key = PrivateKey.Read($"# made by\n{other.ExportSubjectPublicKeyInfoPem()}\n{pem}\n");
            return key.ExportSubjectPublicKeyInfo();
        }
    }

    [Fact]
    public void What_is_none_says_what_it_is_instead()
    {
        var encrypted = Ec.ExportEncryptedPkcs8PrivateKeyPem("hush", new PbeParameters(PbeEncryptionAlgorithm.Aes128Cbc, HashAlgorithmName.SHA256, 1));
        Why(encrypted).ShouldContain("encrypted");
        // The platform would take it, and fail as it signs.
        Why(Ec.ExportSubjectPublicKeyInfoPem()).ShouldContain("no private key");
        Why("").ShouldContain("no private key");
        Why($"{Ec.ExportPkcs8PrivateKeyPem()}\n{Rsa.ExportPkcs8PrivateKeyPem()}").ShouldContain("more than one");
        Why("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").ShouldContain("damaged");
    }

    private static string Why(string pem) => Should.Throw<CryptographicException>(() => PrivateKey.Read(pem)).Message;
}
