using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Resources;
using NodeAgent.Tests.Pki;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Resources;

/// <summary>Certificate and key in kubeadm's two files.</summary>
public sealed class CertificatePairTests() : OneCertificate("etcd-server")
{
    [Fact]
    public void A_pair_is_made_and_then_nothing_is_to_do()
    {
        Apply(Wanted()).ShouldBe(new Change("not there"));

        Examine(Wanted()).ShouldBe(InSync.Instance);
        _machine.Writes.ShouldBe(["write /etc/kubernetes/pki/etcd/server.key", "write /etc/kubernetes/pki/etcd/server.crt"]);
        _machine.File(_role.KeyPath).Mode.ShouldBe(Files.OwnerOnly);
        _machine.File(_role.Path).Mode.ShouldBe(Files.WorldReadable);
        Text(_role.Path).ShouldNotContain("PRIVATE");
        using var pair = X509Certificate2.CreateFromPem(Text(_role.Path), Text(_role.KeyPath));
        pair.HasPrivateKey.ShouldBeTrue();
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(0, true)]
    [InlineData(1, false)]
    [InlineData(1, true)]
    public void After_a_power_cut_anywhere_the_pair_matches_or_is_made_anew(int write, bool afterEffect)
    {
        Apply(Wanted());
        _machine.Now = TestAuthority.Noon.AddDays(320);
        (_machine.CrashAtWrite, _machine.CrashAfterEffect) = (write, afterEffect);
        Should.Throw<PowerCutException>(() => Apply(Wanted()));
        _machine.Reboot();

        if (Examine(Wanted()) is Change torn)
        {
            torn.Why.ShouldMatch("the key is not the certificate's|expires in");
            Apply(Wanted());
        }

        Examine(Wanted()).ShouldBe(InSync.Instance);
        using var pair = X509Certificate2.CreateFromPem(Text(_role.Path), Text(_role.KeyPath));
    }

    [Fact]
    public void Half_a_pair_is_made_whole()
    {
        Apply(Wanted());
        _machine.Remove(_role.KeyPath);
        Examine(Wanted()).ShouldBe(new Change("holds no key that can be read"));
        Apply(Wanted());
        _machine.Remove(_role.Path);
        Examine(Wanted()).ShouldBe(new Change("holds no certificate that can be read"));
        Apply(Wanted());
        Examine(Wanted()).ShouldBe(InSync.Instance);
    }

    [Fact]
    public void A_key_that_others_could_read_is_made_anew_and_so_is_a_certificate_that_they_cannot()
    {
        Apply(Wanted());
        _machine.Put(_role.KeyPath, _machine.File(_role.KeyPath) with { Mode = Files.WorldReadable });
        Examine(Wanted()).ShouldBe(new Change("mode is 0644, should be 0600"));
        Apply(Wanted());
        _machine.Put(_role.Path, _machine.File(_role.Path) with { Mode = Files.OwnerOnly });
        Examine(Wanted()).ShouldBe(new Change($"mode of {_role.Path} is 0600, should be 0644"));
    }

    [Theory]
    [InlineData(nameof(KeyAlgorithm.Rsa2048), "Public-Key: (2048 bit)")]
    [InlineData(nameof(KeyAlgorithm.Rsa3072), "Public-Key: (3072 bit)")]
    public void Another_kind_of_key_is_a_new_certificate(string name, string seen)
    {
        Apply(Wanted());
        var rsa = Wanted(Enum.Parse<KeyAlgorithm>(name));

        Examine(rsa).ShouldBeOfType<Change>().Why.ShouldStartWith("key is ecdsa-p256, should be rsa-");
        Apply(rsa);

        Examine(rsa).ShouldBe(InSync.Instance);
        OpenSsl.Run("x509 -in a.crt -noout -text", ("a.crt", Text(_role.Path))).Output.ShouldContain(seen);
        OpenSsl.Run(
            $"verify -attime {TestAuthority.Noon.ToUnixTimeSeconds()} -x509_strict -purpose sslserver -CAfile ca.crt a.crt",
            ("ca.crt", _authority.CertificatePem),
            ("a.crt", Text(_role.Path)))
            .ShouldBe((0, "a.crt: OK\n"));
    }

    [Fact]
    public void What_is_asked_for_anew_is_made_once()
    {
        Apply(Wanted());
        var asked = Wanted();
        asked.Outworn = _machine.PrivateKey(_role.KeyPath).PublicKey;

        Examine(asked).ShouldBe(new Change("a new one is asked for"));
        Apply(asked);
        Examine(asked).ShouldBe(InSync.Instance);
    }

    private string Text(string path) => Encoding.ASCII.GetString(_machine.File(path).Content!);
}
