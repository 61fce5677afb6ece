using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Commands;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Resources;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

/// <summary>A control plane node's certificates and kubeconfigs, from the cluster's store.</summary>
public class ControlPlaneTests
{
    private const string EtcdAuthority = "/etc/kubernetes/pki/etcd/ca.crt";

    private const string AccountKey = "/etc/kubernetes/pki/sa.key";

    private const string AccountPublic = "/etc/kubernetes/pki/sa.pub";

    [Fact]
    public void It_gets_all_of_the_table_and_asks_the_store_once()
    {
        var plane = new ControlPlane();

        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();

        WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
        var reads = plane.Store.Reads;
        reads.ShouldBeLessThanOrEqualTo(15);
        plane.Machine.Writes.Clear();
        plane.Node.Apply();
        plane.Machine.Writes.ShouldBeEmpty();
        plane.Store.Reads.ShouldBe(reads, "a run that lacks nothing asked the store");
        var list = CertificateList.Read(plane.Machine, "/etc/kubernetes");
        list.Select(c => c.Role).ShouldBe(RoleTable.Authorities.Select(a => a.Role).Concat(RoleTable.All.Select(r => r.Role)));
        list.ShouldAllBe(c => c.IsOk);
        list.Single(c => c.Role == "apiserver").Certificate!.DnsNames.ShouldBe(
        [
            "ip-10-0-1-7.eu-central-1.compute.internal", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
            "api.test.example",
            "api.example.com",
        ]);
        list.Single(c => c.Role == "apiserver").Certificate!.Addresses.Select(a => a.ToString()).ShouldBe(["10.96.0.1", "10.9.9.9", "10.0.1.7", "127.0.0.1"]);
        Life(list, "kubelet-client").ShouldBe(90, 0.1);
        Life(list, "etcd-server").ShouldBe(365, 0.1);

        static double Life(IReadOnlyList<ListedCertificate> list, string role)
        {
            var certificate = list.Single(c => c.Role == role).Certificate!;
            return (certificate.NotAfter - certificate.NotBefore).TotalDays;
        }
    }

    [Fact]
    public void No_CA_key_is_on_its_disk_and_the_key_of_service_accounts_is_its_owners_alone()
    {
        var plane = Applied();

        var keys = RoleTable.Authorities.SelectMany(a => KeyLines(plane.Store.Text(ClusterAuthorities.Below(a.KeyPath)))).ToList();
        keys.Count.ShouldBeGreaterThanOrEqualTo(6);
        foreach (var (path, file) in plane.Machine.AllFiles)
        {
            var text = Encoding.UTF8.GetString(file.Content ?? []);
            keys.ShouldAllBe(line => !text.Contains(line), path);
            if (text.Contains("PRIVATE KEY") || text.Contains("client-key-data"))
            {
                file.Mode.ShouldBe(Files.OwnerOnly, path);
            }
        }

        Text(plane, AccountKey).ShouldEndWith(plane.Store.Text("sa.key"));
        Text(plane, AccountPublic).ShouldEndWith(plane.Store.Text("sa.pub"));
        plane.Machine.File(AccountPublic).Mode.ShouldBe(Files.WorldReadable);
        plane.Machine.Writes.ShouldNotContain(w => RoleTable.Authorities.Any(a => w.Contains(a.KeyPath)));
    }

    [Fact]
    public void Kubeconfigs_hold_certificate_and_key_and_point_at_the_endpoint()
    {
        var plane = Applied();
        var text = Text(plane, "/etc/kubernetes/controller-manager.conf");

        text.ShouldStartWith("# Written by NodeAgent. On i-0123456789abcdef0.\napiVersion: v1\n");
        text.ShouldContain("server: \"https://api.test.example:6443\"\n");
        using var pair = X509Certificate2.CreateFromPem(Data(text, "client-certificate-data"), Data(text, "client-key-data"));
        pair.Subject.ShouldBe("CN=system:kube-controller-manager");
        Data(text, "certificate-authority-data").Trim().ShouldBe(plane.Store.Text("ca.crt").Trim());
    }

    [Fact]
    public void After_a_reboot_without_its_store_it_comes_up_on_the_files_that_it_has()
    {
        var plane = Applied();
        plane.Store.IsAway = true;
        plane.Machine.Reboot();
        var reads = plane.Store.Reads;

        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();

        plane.Store.Reads.ShouldBe(reads);
        plane.Machine.Unit("kubelet.service").IsActive.ShouldBeTrue();
    }

    [Fact]
    public void What_is_due_does_not_hold_up_a_boot_without_the_store_and_is_said_and_a_renewal_fails()
    {
        var plane = Applied();
        plane.Store.IsAway = true;
        plane.Machine.Now = plane.Machine.Now.AddDays(62);
        plane.Machine.Reboot();

        var result = plane.Node.Apply();

        WorkerTests.Problems(result).ShouldBeEmpty();
        result.Notes[0].Note.ShouldBe("expires in 28 d: nodeagent-renew.timer renews it, or 'nodeagent certs renew kubelet-client' at once");
        result.Notes.Count.ShouldBe(3);
        plane.Machine.Unit("kubelet.service").IsActive.ShouldBeTrue();
        CertificateRenewal.NothingDue(plane.Machine).ShouldBeNull();
        var away = Renew(plane);
        away.Count<Failed>().ShouldBe(3);
        ExitCode.Of(away).ShouldBe(ExitCode.NotReachableInTime);
        plane.Store.IsAway = false;
        Renew(plane).Count<Changed>().ShouldBe(4, "three certificates of every node, and kubelet's restart");
    }

    [Theory]
    [InlineData(EtcdAuthority)]
    [InlineData(AccountKey)]
    [InlineData("/etc/kubernetes/pki/apiserver.key")]
    [InlineData("/etc/kubernetes/scheduler.conf")]
    public void What_is_missing_waits_for_the_store_and_is_never_taken_for_blank(string path)
    {
        var plane = Applied();
        plane.Store.IsAway = true;
        plane.Machine.Reboot();
        plane.Machine.Remove(path);
        plane.Machine.Writes.Clear();

        var without = plane.Node.Apply();
        WorkerTests.Problems(without)[0].ShouldContain("no route to host");
        ExitCode.Of(without).ShouldBe(ExitCode.NotReachableInTime);

        plane.Machine.Writes.ShouldNotContain(w => w.Contains("/etc/kubernetes/"));
        plane.Machine.Unit("kubelet.service").IsActive.ShouldBeFalse();
        plane.Store.IsAway = false;
        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();
        WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void The_store_of_another_cluster_is_refused_and_nothing_of_it_is_taken()
    {
        var plane = new ControlPlane { Store = MemoryStore.Make(new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)) };

        var plan = plane.Node.Plan();
        plan.Refusals.ShouldBeGreaterThan(10);
        var refused = plan.Steps.Select(s => s.Finding).OfType<Refused>().First();
        refused.Why.ShouldStartWith("not there, and the CA of s3://pki/test (SHA-256 ");
        refused.Why.ShouldContain("is not among cluster.certificateAuthority");
        refused.Remedy.ShouldContain("nodeagent ca show --store s3://pki/test");

        ExitCode.Of(plane.Node.Apply()).ShouldBe(ExitCode.Refused);
        plane.Machine.Writes.ShouldNotContain(w => w.Contains("/etc/kubernetes/pki/") && !w.EndsWith("/pki/ca.crt", StringComparison.Ordinal));
        plane.Machine.Unit("kubelet.service").IsActive.ShouldBeFalse();
    }

    [Fact]
    public void A_CA_certificate_that_was_exchanged_on_the_disk_comes_back_and_nothing_is_renewed_for_it()
    {
        var plane = Applied();
        plane.Machine.Put(EtcdAuthority, Public(MemoryStore.Make(plane.Machine.Now.AddDays(-9)).Text("etcd/ca.crt")));
        var change = plane.Node.Plan().Steps.Single(s => s.Resource.Name == EtcdAuthority).Finding.ShouldBeOfType<Change>();
        change.Why.ShouldBe("apiserver-etcd-client, etcd-server, etcd-peer, etcd-healthcheck-client is of another CA: one of them is wrong");

        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();

        plane.Machine.Writes.ShouldBe([$"write {EtcdAuthority}"]);
        WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void A_certificate_of_another_CA_is_replaced_and_the_CA_that_the_store_confirms_stays()
    {
        var (plane, other) = (Applied(), Applied());
        foreach (var path in new[] { "/etc/kubernetes/pki/etcd/peer.crt", "/etc/kubernetes/pki/etcd/peer.key" })
        {
            plane.Machine.Put(path, other.Machine.File(path));
        }

        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();

        plane.Machine.Writes.ShouldBe(["write /etc/kubernetes/pki/etcd/peer.key", "write /etc/kubernetes/pki/etcd/peer.crt"]);
        WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public async Task What_a_CA_signs_that_took_the_place_of_another_in_the_store_is_not_taken()
    {
        var plane = Applied();
        var next = MemoryStore.Make(plane.Machine.Now);
        (plane.Store.Objects["etcd/ca.crt"], plane.Store.Objects["etcd/ca.key"]) = (next.Objects["etcd/ca.crt"], next.Objects["etcd/ca.key"]);
        WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
        Renew(plane, "etcd-server").Steps.Select(s => s.Outcome).OfType<Failed>().Single()
            .Why.ShouldContain("cluster.sums says otherwise than the store of etcd/ca.crt");
        plane.Machine.Writes.ShouldBeEmpty();

        // Whoever has the cluster's CA can vouch for another; this node has the one of before yet.
        plane.Store.Objects.Remove("cluster.sums");
        await ClusterAuthorities.Make(plane.Store, KeyAlgorithm.EcdsaP256, NoKms.Keys, NoKms.Any, plane.Machine.Now, CancellationToken.None);
        var failed = Renew(plane, "etcd-server").Steps.Select(s => s.Outcome).OfType<Failed>().Single();

        failed.Why.ShouldContain($"what was issued is not what was asked for: issuer CN = etcd-ca is not the CA in {EtcdAuthority}");
        plane.Machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void A_key_pair_of_service_accounts_that_cannot_be_right_comes_from_the_store_again()
    {
        var plane = Applied();
        var other = MemoryStore.Make(plane.Machine.Now);
        Mended("holds no key that can be read", () => plane.Machine.Put(AccountKey, new(FileKind.Regular, "x"u8.ToArray(), Files.OwnerOnly)));
        Mended($"{AccountPublic} is not its public half", () => plane.Machine.Put(AccountPublic, Public(other.Text("sa.pub"))));
        Mended($"{AccountPublic} is not its public half", () => plane.Machine.Put(AccountKey, new(FileKind.Regular, other.Objects["sa.key"], Files.OwnerOnly)));
        Mended($"{AccountPublic} is not there", () => plane.Machine.Remove(AccountPublic));
        Mended("mode is 0644, should be 0600", () => plane.Machine.Put(AccountKey, plane.Machine.File(AccountKey) with { Mode = Files.WorldReadable }))
            .ShouldHaveSingleItem()
            .ShouldContain("whoever did can make tokens of every service account");
        Mended(
            $"mode of {AccountPublic} is 0600, should be 0644",
            () => plane.Machine.Put(AccountPublic, plane.Machine.File(AccountPublic) with { Mode = Files.OwnerOnly }));

        IEnumerable<string> Mended(string why, Action damage)
        {
            damage();
            plane.Node.Plan().Steps.Single(s => s.Resource.Name == AccountKey).Finding.ShouldBeOfType<Change>().Why.ShouldBe(why);
            var result = plane.Node.Apply();
            WorkerTests.Problems(result).ShouldBeEmpty();
            WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
            Text(plane, AccountKey).ShouldEndWith(plane.Store.Text("sa.key"));
            return [.. result.Notes.Select(n => n.Note)];
        }
    }

    [Fact]
    public void What_came_with_a_baked_image_is_made_anew_or_fetched_again()
    {
        var plane = Applied();
        plane.Node.Facts = plane.Node.Facts with { Instance = plane.Node.Facts.Instance with { Id = "i-0fedcba9876543210" } };
        plane.Machine.Writes.Clear();

        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();

        foreach (var path in NodeAgent.Desired.Certificates.ControlPlanePaths.Concat(NodeAgent.Desired.Certificates.Paths))
        {
            plane.Machine.Writes.ShouldContain($"write {path}");
            Text(plane, path).ShouldStartWith("# Written by NodeAgent. On i-0fedcba9876543210.\n");
        }
    }

    [Fact]
    public void Renewal_takes_control_plane_roles_and_disturbs_nobody_but_an_old_kubelet()
    {
        var plane = Applied();

        Renew(plane, "apiserver").Succeeded.ShouldBeTrue();
        plane.Machine.Writes.ShouldBe(["write /etc/kubernetes/pki/apiserver.key", "write /etc/kubernetes/pki/apiserver.crt"]);
        plane.Machine.Writes.Clear();
        var result = Renew(plane, all: true);

        result.Succeeded.ShouldBeTrue();
        plane.Machine.Writes.Where(w => w.StartsWith("restart", StringComparison.Ordinal)).ShouldBe(["restart kubelet.service"]);
        plane.Machine.Writes.Where(w => w.StartsWith("write /etc", StringComparison.Ordinal)).Count()
            .ShouldBe(RoleTable.All.Sum(r => r.Layout == FileLayout.Pair ? 2 : 1));
        result.Notes.Select(n => (n.Resource.Name, n.Note.Split(' ')[0])).ShouldBe(
            [("/etc/kubernetes/controller-manager.conf", "kube-controller-manager"), ("/etc/kubernetes/scheduler.conf", "kube-scheduler")]);
        plane.Node.Plan().Notes.ShouldBeEmpty();
    }

    [Fact]
    public void A_control_plane_role_that_is_due_is_no_worker_matter_and_is_seen_by_the_files_alone()
    {
        var plane = Applied();
        plane.Machine.Now = plane.Machine.Now.AddDays(50);
        Renew(plane, "kubelet-client");
        Renew(plane, "kubelet-serving");
        Renew(plane, "kube-proxy");
        CertificateRenewal.NothingDue(plane.Machine).ShouldNotBeNull();
        plane.Machine.Now = plane.Machine.Now.AddDays(200);
        foreach (var role in RoleTable.Worker)
        {
            Renew(plane, role.Role);
        }

        CertificateRenewal.NothingDue(plane.Machine).ShouldBeNull();
        Renew(plane).Count<Changed>().ShouldBe(RoleTable.ControlPlane.Count);
        CertificateRenewal.NothingDue(plane.Machine).ShouldNotBeNull();
    }

    [Fact]
    public void Static_pods_that_others_bring_are_left_alone()
    {
        var plane = Applied();
        const string Manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
        plane.Machine.Put(Manifest, Public("apiVersion: v1\nkind: Pod\n"));

        var result = plane.Node.Apply();

        WorkerTests.Problems(result).ShouldBeEmpty();
        result.Notes.ShouldBeEmpty();
        plane.Machine.Writes.ShouldBeEmpty();
        plane.Machine.File(Manifest).Kind.ShouldBe(FileKind.Regular);
    }

    [Fact]
    public void A_machine_that_was_a_control_plane_loses_its_keys_and_kubeadms_files_stay()
    {
        var plane = Applied();
        plane.Machine.Put("/etc/kubernetes/admin.conf", Public("apiVersion: v1\n") with { Mode = Files.OwnerOnly });
        plane.Node.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, certificates: {source: issuer, issuer: {endpoints: ['https://issuer:10261']}}}";

        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();

        plane.Machine.AllFiles.Keys.Intersect(NodeAgent.Desired.Certificates.ControlPlanePaths).ShouldBe(["/etc/kubernetes/admin.conf"]);
        plane.Machine.Writes.Count(w => w.StartsWith("delete", StringComparison.Ordinal)).ShouldBe(NodeAgent.Desired.Certificates.ControlPlanePaths.Count - 1);
        WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void Nothing_of_a_key_is_in_what_it_says()
    {
        var plane = Applied();
        plane.Machine.Now = plane.Machine.Now.AddDays(300);
        var said = new StringWriter();
        var recording = new RecordingReader(plane.Machine);
        var plan = NodeAgent.Convergence.Plan.Make(plane.Node.List(), recording);
        new PlanText(said, false).Write(plan);
        said.Write(PlanJson.Write(plan, "node") + string.Concat(plan.Steps.Select(s => s.ToString())) + Encoding.UTF8.GetString(recording.Recording.ToJson()));

        var keys = plane.Machine.AllFiles.Values.Select(f => Encoding.UTF8.GetString(f.Content ?? [])).SelectMany(t =>
            t.Contains("client-key-data:")
                // What the last line of a key is of, is its public half.
                ? KeyLines(Data(t, "client-key-data")).SkipLast(1).Append(t.Split("client-key-data: ")[1].Split('\n')[0]) : KeyLines(t).SkipLast(1)).ToList();
        keys.Count.ShouldBeGreaterThan(30);
        keys.ShouldAllBe(line => !said.ToString().Contains(line));
        plan.Notes.Count.ShouldBe(RoleTable.ControlPlane.Count);
        // A recording stands for the machine it was made of, kubeconfigs included.
        WorkerTests.Pending(NodeAgent.Convergence.Plan.Make(plane.Node.List(), new ReplayReader(Recording.Parse(recording.Recording.ToJson(), "x"))))
            .ShouldBe(WorkerTests.Pending(plan));
    }

    private static ControlPlane Applied()
    {
        var plane = new ControlPlane();
        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();
        plane.Machine.Writes.Clear();
        return plane;
    }

    private static RunResult Renew(ControlPlane plane, string? role = null, bool all = false) => Applier.Apply(
        CertificateRenewal.Of(plane.Node.List(), role, all, plane.Machine), plane.Machine, plane.Machine, Worker.Quiet, CancellationToken.None);

    private static string Text(ControlPlane plane, string path) => Encoding.UTF8.GetString(plane.Machine.File(path).Content!);

    private static FileReport Public(string text) => new(FileKind.Regular, Encoding.UTF8.GetBytes(text), Files.WorldReadable);

    private static string Data(string kubeconfig, string field) =>
        Encoding.ASCII.GetString(Convert.FromBase64String(kubeconfig.Split($"{field}: ")[1].Split('\n')[0]));

    private static IEnumerable<string> KeyLines(string text) => text.Split("-----BEGIN ").Where(b => b.Split('\n')[0].Contains("PRIVATE KEY"))
        .SelectMany(b => b.Split('\n').Skip(1).TakeWhile(l => l.Length > 0 && l[0] != '-')).Where(l => l.Length >= 40);
}
