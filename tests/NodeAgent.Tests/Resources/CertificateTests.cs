using System.Formats.Asn1;
using System.Net;
using System.Reflection;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Issuer;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Resources;
using NodeAgent.Tests.Pki;

namespace NodeAgent.Tests.Resources;

public sealed class CertificateTests
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private static readonly NodeIdentity Node = new("node-1.ec2.internal", ["node-1"], [IPAddress.Parse("10.0.0.1")]);

    private static readonly CertificatesConfig Config =
        new() { Source = CertificateSourceKind.Directory, Laboratory = true, Directory = "/ca", Lifetime = Duration.Parse("90d") };

    private readonly TestAuthority _authority = TestAuthority.Make();
    private readonly MachineWithFiles _machine = new();
    private readonly RoleCertificate _role = RoleTable.Find("kubelet-serving")!;

    [Fact]
    public void Where_nothing_is_a_pair_is_made_and_then_nothing_is_to_do()
    {
        var certificate = Wanted();

        Examine(certificate).ShouldBe(new Change("not there"));
        certificate.ExpectedOnNothing().ShouldBe(new Change("not there"));
        Apply(certificate).ShouldBe(new Change("not there"));

        Examine(certificate).ShouldBe(InSync.Instance);
        _machine.Writes.ShouldBe(["/etc/kubernetes/pki/kubelet-serving.pem"]);
        var (content, mode) = _machine.Files["/etc/kubernetes/pki/kubelet-serving.pem"];
        mode.ShouldBe(OwnerOnly);
        OpenSsl.Run("pkey -in pair.pem -noout -check", ("pair.pem", content)).ExitCode.ShouldBe(0);
    }

    [Fact]
    public void Every_renewal_has_a_key_of_its_own()
    {
        Apply(Wanted());
        var before = _machine.Reader.PrivateKey(_role.Path).PublicKey;
        _machine.Now = TestAuthority.Noon.AddDays(80);

        Apply(Wanted()).ShouldBe(new Change("expires in 10 d"));

        _machine.Reader.PrivateKey(_role.Path).PublicKey.ShouldNotBe(before);
        Examine(Wanted()).ShouldBe(InSync.Instance);
    }

    [Fact]
    public void A_key_that_was_made_on_another_instance_is_not_gone_on_with()
    {
        Apply(Wanted());
        var (content, mode) = _machine.Files[_role.Path];
        content.ShouldStartWith("# Written by NodeAgent. On i-1.\n-----BEGIN CERTIFICATE-----\n");
        _machine.Files[_role.Path] = (content.Replace("i-1", "i-2", StringComparison.Ordinal), mode);

        Examine(Wanted()).ShouldBe(new Change("the key was made on i-2"));
        Apply(Wanted());
        Examine(Wanted()).ShouldBe(InSync.Instance);

        // As an older version wrote it.
        _machine.Files[_role.Path] = (content[(content.IndexOf('\n', StringComparison.Ordinal) + 1)..], mode);
        Examine(Wanted()).ShouldBe(InSync.Instance);
    }

    [Fact]
    public void A_third_of_life_left_is_due_and_a_fleet_does_not_ask_at_once()
    {
        var due = new HashSet<int>();
        for (var i = 0; i < 50; i++)
        {
            var node = Node with { Name = $"node-{i}" };
            var certificate = Wanted(node);
            Put(_authority, _role.For(node));
            var day = Enumerable.Range(0, 91).First(d =>
            {
                _machine.Now = TestAuthority.Noon.AddDays(d);
                return Examine(certificate) is Change;
            });
            day.ShouldBeInRange(52, 60);
            due.Add(day);
            _machine.Now = TestAuthority.Noon;
        }

        due.Count.ShouldBeGreaterThan(4);
    }

    [Fact]
    public void What_is_merely_due_is_left_to_the_timer_so_that_a_boot_does_not_hang_on_the_issuer()
    {
        var certificate = Wanted();
        certificate.MayWait = true;
        Put(_authority, _role.For(Node));
        _machine.Now = TestAuthority.Noon.AddDays(61);

        Examine(certificate).ShouldBeOfType<InSync>().Notes
            .ShouldBe([$"expires in 29 d: nodeagent-renew.timer renews it, or 'nodeagent certs renew {_role.Role}' at once"]);

        _machine.Now = TestAuthority.Noon.AddDays(91);
        Examine(certificate).ShouldBe(new Change("expired on 2026-05-30 12:00Z"), "what is over is another matter");
    }

    [Fact]
    public void An_expired_certificate_is_replaced()
    {
        Put(_authority, _role.For(Node));
        _machine.Now = TestAuthority.Noon.AddDays(91);

        Examine(Wanted()).ShouldBe(new Change("expired on 2026-05-30 12:00Z"));
    }

    [Fact]
    public void A_certificate_of_the_future_is_replaced()
    {
        Put(_authority, _role.For(Node));
        _machine.Now = TestAuthority.Noon.AddDays(-1);

        Why(Wanted()).ShouldStartWith("not valid before 2026-03-01 11:55Z, and the clock says 2026-02-28");
    }

    [Fact]
    public void With_a_clock_that_is_not_set_nothing_is_known_and_nothing_done()
    {
        _machine.Now = DateTimeOffset.UnixEpoch;

        Apply(Wanted()).ShouldBeOfType<Unknown>().Why.ShouldContain("is the clock set?");
        _machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void With_an_expired_CA_nothing_is_asked_for()
    {
        _machine.Now = TestAuthority.Noon.AddYears(5);

        Apply(Wanted()).ShouldBeOfType<Unknown>().Why.ShouldContain("CA expired on");
    }

    [Fact]
    public void The_certificate_of_another_CA_is_replaced_even_when_the_names_agree()
    {
        Put(TestAuthority.Make(), _role.For(Node));

        Examine(Wanted()).ShouldBe(new Change("issuer CN = kubernetes is not the cluster's CA"));
    }

    [Fact]
    public void While_CAs_rotate_the_certificates_of_both_hold()
    {
        var next = TestAuthority.Make();
        Put(_authority, _role.For(Node));

        Examine(Wanted(authorities: next.CertificatePem + _authority.CertificatePem)).ShouldBe(InSync.Instance);
        Why(Wanted(authorities: next.CertificatePem)).ShouldContain("is not the cluster's CA");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_chain_over_an_intermediate_holds_only_when_that_is_a_CA(bool middleIsAuthority)
    {
        using var root = X509Certificate2.CreateFromPem(_authority.CertificatePem, _authority.KeyPem);
        using var middleKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=middle", middleKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(middleIsAuthority, false, 0, true));
        using var middle = request.Create(root, TestAuthority.Noon, TestAuthority.Noon.AddDays(1), [1]);
        var signer = X509SignatureGenerator.CreateForECDsa(middleKey);
        using var leaf = request.Create(middle.SubjectName, signer, TestAuthority.Noon, TestAuthority.Noon.AddDays(1), [2]);
        var roots = Pem.Certificates(_authority.CertificatePem);

        ParsedCertificate.IsIssuedBy([leaf.RawData, middle.RawData], roots).ShouldBe(middleIsAuthority);
        ParsedCertificate.IsIssuedBy([leaf.RawData], roots).ShouldBeFalse();
    }

    [Fact]
    public void Another_subject_usage_or_name_is_told()
    {
        Put(_authority, RoleTable.Find("kubelet-client")!.For(Node with { Name = "node-2" }));

        Why(Wanted()).ShouldBe(
            "subject is O = system:nodes, CN = system:node:node-2, should be O = system:nodes, CN = system:node:node-1.ec2.internal; "
            + "usage is client, should be server; names lack 10.0.0.1, node-1, node-1.ec2.internal");
    }

    [Fact]
    public void Names_that_went_away_are_told()
    {
        Put(_authority, _role.For(Node with { DnsNames = ["node-1", "old"], Addresses = [.. Node.Addresses, IPAddress.Parse("10.0.0.9")] }));

        Why(Wanted()).ShouldBe("names hold 10.0.0.9, old too");
    }

    [Fact]
    public void A_key_that_is_not_the_certificates_is_replaced()
    {
        using var signed = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        Put(Pem.Combine([_authority.Sign(signed, _role.For(Node), TimeSpan.FromDays(90), TestAuthority.Noon)], other));

        Examine(Wanted()).ShouldBe(new Change("the key is not the certificate's"));
    }

    [Fact]
    public void A_key_that_others_could_read_is_made_anew()
    {
        Put(_authority, _role.For(Node), OwnerOnly | UnixFileMode.GroupRead | UnixFileMode.OtherRead);

        Examine(Wanted()).ShouldBe(new Change("mode is 0644, should be 0600"));
        Apply(Wanted());
        Examine(Wanted()).ShouldBe(InSync.Instance);
    }

    [Fact]
    public void A_truncated_or_bent_file_is_replaced_wherever_it_ends()
    {
        Apply(Wanted());
        var whole = _machine.Files[_role.Path].Content;
        for (var length = 0; length < whole.Length - 2; length += 7)
        {
            Put(whole[..length]);
            Examine(Wanted()).ShouldBeOfType<Change>($"{length} of {whole.Length} characters");
        }

        var random = new Random(7);
        var chain = Pem.Certificates(whole);
        using var key = ECDsa.Create();
        key.ImportFromPem(whole);
        for (var i = 0; i < 300; i++)
        {
            var bent = (byte[])chain[0].Clone();
            bent[random.Next(bent.Length)] ^= (byte)random.Next(1, 256);
            Put(Pem.Combine([bent], key));
            Examine(Wanted()).ShouldBeOfType<Change>();
        }
    }

    [Fact]
    public void A_signature_of_less_than_whole_bytes_is_none()
    {
        // Only where the bits that are said to be unused are zero does the encoding pass as such.
        byte[] certificate;
        do
        {
            _machine.Files.Remove(_role.Path);
            Apply(Wanted());
            certificate = Pem.Certificates(_machine.Files[_role.Path].Content)[0];
        }
        while ((certificate[^1] & 1) != 0);
        using var key = ECDsa.Create();
        key.ImportFromPem(_machine.Files[_role.Path].Content);
        var fields = new AsnReader(certificate, AsnEncodingRules.DER).ReadSequence();
        fields.ReadEncodedValue();
        fields.ReadEncodedValue();
        var unused = certificate.Length - fields.ReadBitString(out _).Length - 1;
        certificate[unused].ShouldBe((byte)0);
        certificate[unused] = 1;

        Put(Pem.Combine([certificate], key));

        Examine(Wanted()).ShouldBeOfType<Change>();
    }

    [Fact]
    public void A_directory_in_its_place_is_left_alone()
    {
        _machine.Directories.Add(_role.Path);

        Apply(Wanted()).ShouldBeOfType<Refused>();
        _machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void What_was_issued_for_somebody_else_is_not_written()
    {
        var certificate = new Certificate(_role, _role.For(Node), Node.Name, _authority.CertificatePem, Laboratory(Node with { Name = "node-2" }))
        {
            Instance = "i-1",
        };

        Should.Throw<MachineException>(() => Apply(certificate))
            .Message.ShouldContain("not what was asked for: subject is O = system:nodes, CN = system:node:node-2");
        _machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void A_CA_key_on_a_worker_needs_the_laboratory_switch()
    {
        Should.Throw<InvalidOperationException>(() => new LaboratoryCertificateSource(Config with { Laboratory = false }, Node, _ => [], TimeProvider.System))
            .Message.ShouldContain("certificates.laboratory");
    }

    [Fact]
    public void A_missing_CA_is_named_and_so_is_an_unknown_role()
    {
        var source = new LaboratoryCertificateSource(Config, Node, p => throw new FileNotFoundException($"no file {p}"), TimeProvider.System);

        Should.Throw<MachineException>(() => source.Obtain("kube-proxy", [], CancellationToken.None)).Message.ShouldContain("/ca/ca.key");
        Should.Throw<MachineException>(() => source.Obtain("admin", [], CancellationToken.None)).Message.ShouldContain("no such role");
    }

    [Fact]
    public void Nothing_of_a_key_is_in_what_is_said()
    {
        Apply(Wanted());
        var pair = _machine.Files[_role.Path].Content;
        var secret = pair[pair.IndexOf("-----BEGIN PRIVATE KEY", StringComparison.Ordinal)..].Split('\n').Where(l => l.Length > 30 && l[0] != '-').ToList();
        secret.ShouldNotBeEmpty();
        _machine.Now = TestAuthority.Noon.AddDays(91);

        var said = Examine(Wanted()).ToString()!;

        secret.ShouldAllBe(line => !said.Contains(line, StringComparison.Ordinal));
    }

    private Certificate Wanted(NodeIdentity? node = null, string? authorities = null) =>
        new(_role, _role.For(node ?? Node), (node ?? Node).Name, authorities ?? _authority.CertificatePem, Laboratory(node ?? Node))
        {
            Instance = "i-1",
            MayWait = false,
        };

    private LaboratoryCertificateSource Laboratory(NodeIdentity node) => new(
        Config,
        node,
        path => Encoding.ASCII.GetBytes(path == "/ca/ca.crt" ? _authority.CertificatePem : _authority.KeyPem),
        new Clock(_machine));

    private Finding Examine(Certificate certificate) => certificate.Examine(_machine.Reader, []);

    private string Why(Certificate certificate) => Examine(certificate).ShouldBeOfType<Change>().Why;

    private Finding Apply(Certificate certificate) => certificate.Apply(_machine.Reader, _machine.Writer, _ => { }, CancellationToken.None);

    private void Put(TestAuthority authority, CertificateContent content, UnixFileMode mode = OwnerOnly)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        Put(Pem.Combine([authority.Sign(key, content, TimeSpan.FromDays(90), TestAuthority.Noon)], key), mode);
    }

    private void Put(string content, UnixFileMode mode = OwnerOnly) => _machine.Files[_role.Path] = (content, mode);

    private sealed class Clock(MachineWithFiles machine) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => machine.Now;
    }
}

/// <summary>A machine of files alone; whatever else is asked of it fails the test.</summary>
internal sealed class MachineWithFiles
{
    public MachineWithFiles()
    {
        Reader = DispatchProxy.Create<IMachineReader, Answers>();
        Writer = DispatchProxy.Create<IMachineWriter, Answers>();
        ((Answers)Reader).Machine = this;
        ((Answers)Writer).Machine = this;
    }

    public IMachineReader Reader { get; }

    public IMachineWriter Writer { get; }

    public DateTimeOffset Now { get; set; } = TestAuthority.Noon;

    public Dictionary<string, (string Content, UnixFileMode Mode)> Files { get; } = [];

    public HashSet<string> Directories { get; } = [];

    public List<string> Writes { get; } = [];

#pragma warning disable CA1852 // DispatchProxy derives from it.
    public class Answers : DispatchProxy
#pragma warning restore CA1852
    {
        internal MachineWithFiles Machine { get; set; } = null!;

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
        {
            switch (targetMethod!.Name)
            {
                case "get_Now":
                    return Machine.Now;
                case nameof(IMachineReader.PrivateKey):
                    return Report((string)args![0]!);
                case nameof(IMachineWriter.WriteFile):
                    Machine.Writes.Add((string)args![0]!);
                    Machine.Files[(string)args[0]!] = (Encoding.ASCII.GetString((byte[])args[1]!), (UnixFileMode)args[2]!);
                    return null;
                default:
                    throw new NotSupportedException(targetMethod.Name);
            }
        }

        private KeyReport Report(string path)
        {
            if (Machine.Directories.Contains(path))
            {
                return new(FileKind.Directory);
            }

            if (!Machine.Files.TryGetValue(path, out var file))
            {
                return KeyReport.Absent;
            }

            using var key = ECDsa.Create();
            byte[]? publicKey = null;
            try
            {
                key.ImportFromPem(file.Content);
                publicKey = key.ExportSubjectPublicKeyInfo();
            }
            catch (ArgumentException)
            {
            }

            return new(
                FileKind.Regular, file.Mode, publicKey, Pem.Certificates(file.Content), file.Content.StartsWith('#') ? file.Content.Split('\n')[0] : null);
        }
    }
}
