using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Issuer;
using NodeAgent.Pki;
using NodeAgent.Resources;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Pki;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

/// <summary>
/// A cluster of a control plane node and two workers through a rotation of its CA, at each stage with nodes that are ahead and nodes that lag behind.
/// </summary>
public sealed class CaRotationLifeTests
{
    private const string Manifests = "/etc/kubernetes/manifests/";

    private readonly ControlPlane _plane = new(staticPods: true);
    private readonly Worker _first;
    private readonly Worker _second;

    public CaRotationLifeTests()
    {
        (_first, _second) = (NewWorker(), NewWorker());
        foreach (var node in Nodes)
        {
            Apply(node);
        }
    }

    private Worker[] Nodes => [_plane.Node, _first, _second];

    [Fact]
    public async Task From_the_first_stage_to_the_last_everybody_reaches_everybody()
    {
        Everybody();

        var bundle = Bundle(await CaRotationTests.Trust(_plane.Store));
        Pem.Certificates(bundle).Count.ShouldBe(2);
        // Node after node adopts it, the control plane neither first nor last.
        foreach (var node in (Worker[])[_first, _plane.Node, _second])
        {
            Adopt(node, bundle);
            Everybody();
        }

        await CaRotationTests.Sign(_plane.Store);
        foreach (var node in Nodes)
        {
            Quiet(node);
            Issuers(node).ShouldBe(["CN = kubernetes"]);
        }

        foreach (var node in (Worker[])[_first, _plane.Node, _second])
        {
            Renew(node);
            Everybody();
            Issuers(node).ShouldBe(["CN = kubernetes-2"]);
            Quiet(node);
        }

        var alone = Bundle(await CaRotationTests.Drop(_plane.Store));
        Pem.Certificates(alone).Count.ShouldBe(1);
        foreach (var node in (Worker[])[_second, _plane.Node, _first])
        {
            var before = Leaves(node);
            Adopt(node, alone);
            Everybody();
            // What was renewed before is not made anew, but for the kubeconfigs, which hold the CA.
            Leaves(node).Where(l => before.Contains(l)).Count().ShouldBe(before.Count - (node == _plane.Node ? 4 : 0));
        }
    }

    [Fact]
    public async Task Whatever_reads_the_bundle_as_it_starts_starts_again_and_etcd_does_not()
    {
        var before = ((string[])["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"])
            .ToDictionary(n => n, n => Text(_plane.Node, $"{Manifests}{n}.yaml"));
        var bundle = Bundle(await CaRotationTests.Trust(_plane.Store));

        Adopt(_plane.Node, bundle);
        Adopt(_first, bundle);

        before.Where(m => m.Value != Text(_plane.Node, $"{Manifests}{m.Key}.yaml")).Select(m => m.Key)
            .ShouldBe(["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"]);
        foreach (var node in (Worker[])[_plane.Node, _first])
        {
            node.Machine.Writes.ShouldContain("restart kubelet.service");
            foreach (var kubeconfig in new[] { "/etc/kubernetes/kubelet.conf", "/etc/kubernetes/kube-proxy/kubeconfig" })
            {
                Pem.Certificates(Embedded(node, kubeconfig)).Count.ShouldBe(2, kubeconfig);
            }
        }

        foreach (var kubeconfig in new[] { "admin", "super-admin", "controller-manager", "scheduler" })
        {
            Pem.Certificates(Embedded(_plane.Node, $"/etc/kubernetes/{kubeconfig}.conf")).Count.ShouldBe(2, kubeconfig);
        }
    }

    [Fact]
    public async Task A_node_that_has_not_been_told_is_refused_with_the_reason_and_goes_on_with_what_it_has()
    {
        var bundle = Bundle(await CaRotationTests.Trust(_plane.Store));
        Adopt(_plane.Node, bundle);
        Adopt(_first, bundle);
        await CaRotationTests.Sign(_plane.Store);
        Renew(_plane.Node, "controller-manager");

        var result = Renew(_second, expectSuccess: false);

        WorkerTests.Problems(result).ShouldContain(p => p.Contains("the CA was rotated and this node was not told", StringComparison.Ordinal));
        Issuers(_second).ShouldBe(["CN = kubernetes"]);
        // And the others reach it, as it reaches whoever still has a certificate of the CA that it knows.
        Handshake(_plane.Node, "apiserver-kubelet-client", _second, "kubelet-serving");
        Handshake(_second, "kubelet-client", _plane.Node, "apiserver");
    }

    [Fact]
    public async Task A_node_that_never_renewed_gets_all_of_it_anew_as_it_adopts_the_last_stage()
    {
        var bundle = Bundle(await CaRotationTests.Trust(_plane.Store));
        foreach (var node in Nodes)
        {
            Adopt(node, bundle);
        }

        await CaRotationTests.Sign(_plane.Store);
        Renew(_plane.Node);
        Renew(_first);
        var alone = Bundle(await CaRotationTests.Drop(_plane.Store));
        _second.PendingConfig = Config(alone);

        WorkerTests.Pending(_second.Plan()).Count(p => p.Contains("certificate", StringComparison.Ordinal)).ShouldBe(3);
        _second.Machine.Put(Certificates.AuthorityPath, _second.Machine.File(Certificates.AuthorityPath) with { Content = Encoding.ASCII.GetBytes(alone) });
        CertificateList.Read(_second.Machine, "/etc/kubernetes").Where(c => c.Asker is not null)
            .ShouldAllBe(c => c.State == "not issued by the CA that is here");
        Adopt(_second, alone);
        Adopt(_plane.Node, alone);
        Adopt(_first, alone);
        Everybody();
        Issuers(_second).ShouldBe(["CN = kubernetes-2"]);
    }

    private Worker NewWorker()
    {
        var worker = new Worker(_plane.Store.Text("ca.crt"));
        worker.MakeSource = config => new StoreCertificateSource(new(
            "s3://pki/test",
            config.Cluster.CertificateAuthority,
            Certificates.Identity(config, worker.Facts),
            Certificates.Names(config),
            config.Certificates.Lifetime.Value,
            TimeSpan.FromMinutes(1)),
            _ => Task.FromResult(new OpenStore(_plane.Store, NoKms.Any)),
            new Clock(worker.Machine),
            CancellationToken.None);
        return worker;
    }

    /// <summary>As a layer of configuration that now says otherwise. A second run finds nothing to do.</summary>
    private static void Adopt(Worker node, string bundle)
    {
        node.PendingConfig = Config(bundle);
        node.Machine.Writes.Clear();
        Apply(node);
    }

    private static string Config(string bundle) =>
        "{apiVersion: nodeagent/v1, kind: NodeConfig, cluster: {certificateAuthority: \"" + bundle.Replace("\n", "\\n", StringComparison.Ordinal) + "\"}}";

    private static string Bundle(CaRotated done) => Pem.Write(done.All.Trusted.Select(g => g.Der));

    private static void Apply(Worker node)
    {
        WorkerTests.Problems(node.Apply()).ShouldBeEmpty();
        Quiet(node);
    }

    private static void Quiet(Worker node) => WorkerTests.Pending(node.Plan()).ShouldBeEmpty();

    private static RunResult Renew(Worker node, string? role = null, bool expectSuccess = true)
    {
        var result = Applier.Apply(
            CertificateRenewal.Of(node.List(), role, role is null, node.Machine), node.Machine, node.Machine, Worker.Quiet, CancellationToken.None);
        result.Succeeded.ShouldBe(expectSuccess);
        return result;
    }

    private void Everybody()
    {
        foreach (var node in Nodes)
        {
            Handshake(node, "kubelet-client", _plane.Node, "apiserver", Embedded(node, "/etc/kubernetes/kubelet.conf"));
            Handshake(node, "kube-proxy", _plane.Node, "apiserver", Embedded(node, "/etc/kubernetes/kube-proxy/kubeconfig"));
            Handshake(_plane.Node, "apiserver-kubelet-client", node, "kubelet-serving");
        }

        foreach (var role in new[] { "admin", "super-admin", "controller-manager", "scheduler" })
        {
            Handshake(_plane.Node, role, _plane.Node, "apiserver", Embedded(_plane.Node, RoleTable.Find(role, Asker.ControlPlaneNode)!.Path));
        }

        Handshake(
            _plane.Node,
            "apiserver-etcd-client",
            _plane.Node,
            "etcd-server",
            Text(_plane.Node, "/etc/kubernetes/pki/etcd/ca.crt"),
            Text(_plane.Node, "/etc/kubernetes/pki/etcd/ca.crt"));
    }

    /// <summary>Each holds the other's certificate against what it trusts, as openssl does.</summary>
    private static void Handshake(Worker client, string asRole, Worker server, string servingRole, string? clientTrusts = null, string? serverTrusts = null)
    {
        Verify(Leaf(server, servingRole), clientTrusts ?? Text(client, Certificates.AuthorityPath), "1.3.6.1.5.5.7.3.1", client.Machine.Now);
        Verify(Leaf(client, asRole), serverTrusts ?? Text(server, Certificates.AuthorityPath), "1.3.6.1.5.5.7.3.2", server.Machine.Now);
    }

    private static void Verify(byte[] leaf, string trusted, string usage, DateTimeOffset now)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTime = now.UtcDateTime;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(usage));
        foreach (var authority in Pem.Certificates(trusted))
        {
            chain.ChainPolicy.CustomTrustStore.Add(X509CertificateLoader.LoadCertificate(authority));
        }

        using var certificate = X509CertificateLoader.LoadCertificate(leaf);
        chain.Build(certificate)
            .ShouldBeTrue($"{certificate.Subject} of {certificate.Issuer}: {string.Join(", ", chain.ChainStatus.Select(s => s.StatusInformation))}");
    }

    private static byte[] Leaf(Worker node, string role)
    {
        var row = RoleTable.Find(role, Asker.ControlPlaneNode)!;
        return row.Layout == FileLayout.Pair ? Pem.Certificates(Text(node, row.Path))[0] : node.Machine.PrivateKey(row.Path).Certificates![0];
    }

    private static List<string> Leaves(Worker node) =>
        [.. CertificateList.Read(node.Machine, "/etc/kubernetes").Where(c => c.Asker is not null)
            .Select(c => $"{c.Role} {Convert.ToHexStringLower(SHA256.HashData(Leaf(node, c.Role)))}")];

    /// <summary>Of what the cluster's CA signs.</summary>
    private static IEnumerable<string> Issuers(Worker node) => CertificateList.Read(node.Machine, "/etc/kubernetes")
        .Where(c => c.Asker is not null && RoleTable.Find(c.Role, Asker.ControlPlaneNode)!.Authority == Authority.Cluster).Select(c => c.Certificate!.Issuer)
        .Distinct();

    private static string Embedded(Worker node, string kubeconfig)
    {
        const string field = "certificate-authority-data: ";
        var line = Text(node, kubeconfig).Split('\n').Single(l => l.Contains(field, StringComparison.Ordinal));
        return Encoding.ASCII.GetString(Convert.FromBase64String(line[(line.IndexOf(field, StringComparison.Ordinal) + field.Length)..]));
    }

    private static string Text(Worker node, string path) => Encoding.UTF8.GetString(node.Machine.File(path).Content ?? []);

    private sealed class Clock(SimulatedMachine machine) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => machine.Now;
    }
}
