using System.Net;
using System.Security.Cryptography;
using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Resources;
using NodeAgent.Tests.Pki;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Resources;

/// <summary>Certificate and key that a kubeconfig embeds.</summary>
public sealed class CertificateInKubeconfigTests() : OneCertificate("controller-manager")
{
    private const string Path = "/etc/kubernetes/controller-manager.conf";

    [Fact]
    public void It_is_one_file_that_is_made_once()
    {
        Apply(Wanted()).ShouldBe(new Change("not there"));

        Examine(Wanted()).ShouldBe(InSync.Instance);
        _machine.Writes.ShouldBe([$"write {Path}"]);
        _machine.File(Path).Mode.ShouldBe(Files.OwnerOnly);
    }

    [Theory]
    [InlineData(-1, "not valid before 2026-03-01 11:55Z, and the clock says 2026-02-28 12:00Z")]
    [InlineData(320, "expires in 15 d")]
    [InlineData(336, "")]
    public void A_time_that_is_not_its_own_is_a_reason(int days, string why)
    {
        Apply(Wanted());
        _machine.Now = TestAuthority.Noon.AddDays(days);

        if (why.Length == 0)
        {
            // The CA of the test ends before.
            Examine(Wanted()).ShouldBeOfType<Unknown>().Why.ShouldContain("CA expired");
            return;
        }

        Why(Wanted()).ShouldBe(why);
    }

    [Fact]
    public void Who_reads_it_is_said_in_plan_and_run_once_it_is_renewed()
    {
        Apply(Wanted());
        _machine.Now = TestAuthority.Noon.AddDays(300);
        var renewed = Wanted();

        const string Note =
            "kube-controller-manager reads /etc/kubernetes/controller-manager.conf only as it starts: its certificate holds until 2027-01-30 12:00Z, and by "
            + "then its "
            + "pod has to be made anew. Move its manifest out of /etc/kubernetes/manifests for 30 seconds and back, on one control plane node after the other";
        Examine(renewed).Notes.ShouldBe([Note]);
        Apply(renewed);
        Examine(renewed).ShouldBeOfType<InSync>().Notes.ShouldBe([Note]);
        Examine(Wanted()).ShouldBe(InSync.Instance);
    }

    [Fact]
    public void What_is_around_it_is_compared_as_well()
    {
        const string Differs = "what is around certificate and key differs: the cluster's name, endpoint or CA, or an edit by hand";
        Apply(Wanted());

        Why(Wanted(access: Access with { Server = new("https://other:6443") })).ShouldBe(Differs);
        Why(Wanted(access: Access with { Authorities = "other" })).ShouldBe(Differs);
        Why(Wanted(access: Access with { Name = "green" })).ShouldBe(Differs);
        Edit(t => t.Replace("current-context: default", "current-context: mine", StringComparison.Ordinal));
        Why(Wanted()).ShouldBe(Differs);
        Apply(Wanted());
        Examine(Wanted()).ShouldBe(InSync.Instance);
    }

    [Fact]
    public void Subject_issuer_key_owner_and_mode_are_compared_as_of_any_other()
    {
        Apply(Wanted());
        var good = _machine.File(Path);
        Why(Wanted(algorithm: KeyAlgorithm.Rsa2048)).ShouldBe("key is ecdsa-p256, should be rsa-2048");
        var asked = Wanted();
        asked.Outworn = _machine.PrivateKey(Path).PublicKey;
        Why(asked).ShouldBe("a new one is asked for");

        _machine.Put(Path, good with { Mode = Files.WorldReadable });
        Why(Wanted()).ShouldBe("mode is 0644, should be 0600");

        _machine.Put(Path, good);
        Edit(t => t.Replace("On i-1.", "On i-2.", StringComparison.Ordinal));
        Why(Wanted()).ShouldBe("the key was made on i-2");

        Put(TestAuthority.Make(), _role);
        Why(Wanted()).ShouldBe("issuer CN = kubernetes is not the cluster's CA");

        Put(_authority, RoleTable.Find("scheduler", Asker.ControlPlaneNode)!);
        Why(Wanted()).ShouldBe("subject is CN = system:kube-scheduler, should be CN = system:kube-controller-manager");
        Put(_authority, RoleTable.Find("etcd-peer", Asker.ControlPlaneNode)!);
        Why(Wanted()).ShouldContain("usage is client and server, should be client; names hold ");
    }

    [Fact]
    public void A_key_of_another_certificate_a_missing_part_and_a_file_that_is_cut_off_are_reasons()
    {
        Apply(Wanted());
        var first = Text();
        _machine.Remove(Path);
        Apply(Wanted());
        var key = Text().Split('\n').Single(l => l.Contains("client-key-data"));
        Edit(_ => string.Join('\n', first.Split('\n').Select(l => l.Contains("client-key-data") ? key : l)));
        Why(Wanted()).ShouldBe("the key is not the certificate's");

        Edit(_ => string.Join('\n', first.Split('\n').Where(l => !l.Contains("client-key-data"))));
        Why(Wanted()).ShouldBe("holds no key that can be read");
        Edit(_ => string.Join('\n', first.Split('\n').Where(l => !l.Contains("client-certificate-data"))));
        Why(Wanted()).ShouldBe("holds no certificate that can be read");
        for (var length = 0; length < first.Length - 1; length += 23)
        {
            Edit(_ => first[..length]);
            Examine(Wanted()).ShouldBeOfType<Change>($"{length} of {first.Length} characters");
        }
    }

    [Fact]
    public void One_of_kubeadms_is_taken_over_with_a_key_of_our_own()
    {
        // As client-go writes it (clientcmdapi): sorted keys, no quotes.
        Apply(Wanted());
        var ours = Text();
        Edit(_ => $$"""
            apiVersion: v1
            clusters:
            - cluster:
                certificate-authority-data: {{Line(ours, "certificate-authority-data")}}
                server: https://api.example.com:6443
              name: kubernetes
            contexts: []
            current-context: ""
            kind: Config
            preferences: {}
            users:
            - name: system:kube-controller-manager
              user:
                client-certificate-data: {{Line(ours, "client-certificate-data")}}
                client-key-data: {{Line(ours, "client-key-data")}}

            """);

        Why(Wanted()).ShouldStartWith("what is around certificate and key differs");
        Apply(Wanted());
        Examine(Wanted()).ShouldBe(InSync.Instance);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_power_cut_leaves_the_old_one_or_the_new_one(bool afterEffect)
    {
        Apply(Wanted());
        var before = Text();
        _machine.Now = TestAuthority.Noon.AddDays(300);
        (_machine.CrashAtWrite, _machine.CrashAfterEffect) = (0, afterEffect);
        Should.Throw<PowerCutException>(() => Apply(Wanted()));

        (Text() == before).ShouldBe(!afterEffect);
        (Examine(Wanted()) is InSync).ShouldBe(afterEffect);
    }

    private static readonly ClusterAccess Access = new("amber", new("https://api.example.com:6443"), "CA");

    private new Certificate Wanted(KeyAlgorithm algorithm = KeyAlgorithm.EcdsaP256, ClusterAccess? access = null) => base.Wanted(algorithm, access ?? Access);

    private string Why(Certificate certificate) => Examine(certificate).ShouldBeOfType<Change>().Why;

    private void Put(TestAuthority authority, RoleCertificate row)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var chain = new[] { authority.Sign(key, row.For(Node), TimeSpan.FromDays(365), TestAuthority.Noon) };
        var text = Kubeconfig.Embed(Access, _role.CommonName, Pem.Write(chain), Pem.Write(key));
        _machine.Put(Path, new(FileKind.Regular, Encoding.ASCII.GetBytes(text), Files.OwnerOnly));
    }

    private void Edit(Func<string, string> edit) => _machine.Put(Path, _machine.File(Path) with { Content = Encoding.ASCII.GetBytes(edit(Text())) });

    private string Text() => Encoding.ASCII.GetString(_machine.File(Path).Content!);

    private static string Line(string text, string field) => text.Split($"{field}: ")[1].Split('\n')[0];
}
