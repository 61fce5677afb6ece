using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using NodeAgent.Pki;

namespace NodeAgent.Tests.Pki;

public sealed class SigningTests
{
    private static readonly NodeIdentity Node = new(
        "ip-10-0-0-1.ec2.internal", ["node-1.example.com"], [IPAddress.Parse("10.0.0.1"), IPAddress.Parse("fd00::1")]);

    private static CertificateContent Serving => RoleTable.Find("kubelet-serving")!.For(Node);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_is_signed_stands_before_openssl(bool rsaAuthority)
    {
        var authority = TestAuthority.Make(rsaAuthority);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var leaf = Pem.Combine([authority.Sign(key, Serving, TimeSpan.FromDays(90), TestAuthority.Noon)], key);

        Verify(authority, leaf, "-x509_strict -purpose sslserver -verify_ip fd00::1 -verify_hostname node-1.example.com").ShouldBe((0, "leaf.pem: OK\n"));
        Verify(authority, leaf, "-purpose sslclient").ExitCode.ShouldBe(2);

        var text = OpenSsl.Run("x509 -in leaf.pem -noout -text -nameopt oneline", ("leaf.pem", leaf)).Output;
        text.ShouldContain("Subject: O = system:nodes, CN = system:node:ip-10-0-0-1.ec2.internal");
        text.ShouldContain("DNS:ip-10-0-0-1.ec2.internal, DNS:node-1.example.com, IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:0:1");
        text.ShouldContain("CA:FALSE");
        text.ShouldContain("X509v3 Key Usage: critical\n                Digital Signature\n");
        text.ShouldContain("X509v3 Extended Key Usage: \n                TLS Web Server Authentication\n");
        text.ShouldContain("Not Before: Mar  1 11:55:00 2026 GMT");
        text.ShouldContain("Not After : May 30 12:00:00 2026 GMT");
        text.ShouldContain("X509v3 Authority Key Identifier");
    }

    [Fact]
    public void A_client_certificate_serves_no_server()
    {
        var authority = TestAuthority.Make();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var leaf = Pem.Combine([authority.Sign(key, RoleTable.Find("kubelet-client")!.For(Node), TimeSpan.FromDays(1), TestAuthority.Noon)], key);

        Verify(authority, leaf, "-purpose sslclient").ExitCode.ShouldBe(0);
        Verify(authority, leaf, "-purpose sslserver").ExitCode.ShouldBe(2);
    }

    [Fact]
    public void Nothing_in_a_request_but_its_key_reaches_the_certificate()
    {
        var authority = TestAuthority.Make();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var greedy = new CertificateRequest("O=system:masters,CN=kubernetes-admin", key, HashAlgorithmName.SHA256);
        greedy.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("kubernetes.default");
        greedy.CertificateExtensions.Add(names.Build());
        using var ca = CertificateAuthority.Load(authority.CertificatePem, authority.KeyPem);

        var request = SigningRequest.Read(greedy.CreateSigningRequest());
        var signed = ca.Sign(request, Serving, TimeSpan.FromDays(1), TestAuthority.Noon, RandomNumberGenerator.GetBytes(16));

        var parsed = ParsedCertificate.Parse(signed)!;
        parsed.Subject.ShouldBe("O = system:nodes, CN = system:node:ip-10-0-0-1.ec2.internal");
        parsed.DnsNames.ShouldBe(["ip-10-0-0-1.ec2.internal", "node-1.example.com"]);
        parsed.IsAuthority.ShouldBeFalse();
        parsed.PublicKey.ShouldBe(key.ExportSubjectPublicKeyInfo());
    }

    [Fact]
    public void Our_request_proves_possession_to_openssl()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var pem = PemEncoding.WriteString("CERTIFICATE REQUEST", SigningRequest.Create(key, Serving));

        var (code, output) = OpenSsl.Run("req -in csr.pem -noout -verify -subject -nameopt oneline", ("csr.pem", pem));

        code.ShouldBe(0);
        output.ShouldContain("verify OK");
        output.ShouldContain("O = system:nodes, CN = system:node:ip-10-0-0-1.ec2.internal");
    }

    [Fact]
    public void A_request_for_somebody_elses_key_is_refused()
    {
        using var mine = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var theirs = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = SigningRequest.Create(mine, Serving);
        var (own, other) = (mine.ExportSubjectPublicKeyInfo(), theirs.ExportSubjectPublicKeyInfo());
        other.CopyTo(request, request.AsSpan().IndexOf(own));

        Should.Throw<CryptographicException>(() => SigningRequest.Read(request)).Message.ShouldContain("signature");
    }

    [Fact]
    public void Weak_and_odd_keys_are_refused()
    {
        using var rsa = RSA.Create(1024);
        using var curve = ECDsa.Create(ECCurve.CreateFromFriendlyName("secp256k1"));
        var name = new X500DistinguishedName("CN=a");

        var shortKey = new CertificateRequest(name, rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).CreateSigningRequest();
        var oddCurve = new CertificateRequest(name, curve, HashAlgorithmName.SHA256).CreateSigningRequest();

        Should.Throw<CryptographicException>(() => SigningRequest.Read(shortKey)).Message.ShouldContain("1024 bits");
        Should.Throw<CryptographicException>(() => SigningRequest.Read(oddCurve)).Message.ShouldContain("secp256k1");
    }

    [Fact]
    public void Junk_is_refused_and_never_crashes()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = SigningRequest.Create(key, Serving);
        var random = new Random(7);
        for (var length = 0; length < request.Length; length++)
        {
            var part = request[..length];
            Should.Throw<CryptographicException>(() => SigningRequest.Read(part));
        }

        for (var i = 0; i < 2000; i++)
        {
            var bent = (byte[])request.Clone();
            bent[random.Next(bent.Length)] ^= (byte)random.Next(1, 256);
            Should.Throw<CryptographicException>(() => SigningRequest.Read(bent));
        }

        Should.Throw<CryptographicException>(() => SigningRequest.Read(new byte[100_000])).Message.ShouldContain("at most");
        Should.Throw<CryptographicException>(() => SigningRequest.Read([.. request, 0]));
    }

    [Fact]
    public void A_certificate_is_never_valid_longer_than_its_CA()
    {
        var authority = TestAuthority.Make(from: TestAuthority.Noon.AddMinutes(-1));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

        var parsed = ParsedCertificate.Parse(authority.Sign(key, Serving, TimeSpan.FromDays(4000), TestAuthority.Noon))!;

        parsed.NotBefore.ShouldBe(TestAuthority.Noon.AddMinutes(-1));
        parsed.NotAfter.ShouldBe(TestAuthority.Noon.AddMinutes(-1).AddYears(1));
        Should.Throw<CryptographicException>(() => authority.Sign(key, Serving, TimeSpan.FromDays(1), TestAuthority.Noon.AddYears(2)))
            .Message.ShouldContain("the clock says");
    }

    [Fact]
    public void A_CA_has_to_be_one_and_to_hold_its_own_key()
    {
        var authority = TestAuthority.Make();
        var leaf = TestAuthority.Make(mayCertify: false);

        Should.Throw<CryptographicException>(() => CertificateAuthority.Load(leaf.CertificatePem, leaf.KeyPem)).Message.ShouldContain("is not a CA");
        Should.Throw<CryptographicException>(() => CertificateAuthority.Load(authority.CertificatePem, TestAuthority.Make().KeyPem))
            .Message.ShouldContain("is not that of");
        Should.Throw<CryptographicException>(() => CertificateAuthority.Load(authority.CertificatePem, "")).Message.ShouldContain("cannot be read");
        Should.Throw<CryptographicException>(() => CertificateAuthority.Load("", authority.KeyPem)).Message.ShouldContain("CERTIFICATE");
    }

    [Fact]
    public void Openssl_made_CAs_are_read()
    {
        var (_, made) = OpenSsl.Run(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -subj /CN=lab -days 10 -keyout - -out - -addext keyUsage=critical,keyCertSign");

        using var authority = CertificateAuthority.Load(made, made);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var now = new DateTimeOffset(authority.Certificate.NotBefore).AddDays(1);
        var request = SigningRequest.Read(SigningRequest.Create(key, Serving));
        var leaf = authority.Sign(request, Serving, TimeSpan.FromDays(1), now, RandomNumberGenerator.GetBytes(16));

        ParsedCertificate.IsIssuedBy([leaf], Pem.Certificates(made)).ShouldBeTrue();
    }

    [Fact]
    public void Text_between_PEM_blocks_is_passed_over()
    {
        var a = TestAuthority.Make().CertificatePem;
        var b = TestAuthority.Make().CertificatePem;

        Pem.Certificates($"subject=a\n{a}\nsubject=b\n{TestAuthority.Make().KeyPem}\n{b}").Count.ShouldBe(2);
        Pem.Certificates(a.AsSpan(0, a.Length / 2)).ShouldBeEmpty();
    }

    private static (int ExitCode, string Output) Verify(TestAuthority authority, string leaf, string how) => OpenSsl.Run(
        $"verify -attime {TestAuthority.Noon.ToUnixTimeSeconds()} {how} -CAfile ca.crt leaf.pem",
        ("ca.crt", authority.CertificatePem),
        ("leaf.pem", leaf));
}
