using System.Net;
using System.Text;
using NodeAgent.Desired;
using NodeAgent.Pki;

namespace NodeAgent.Tests.Pki;

public sealed class RoleTableTests
{
    private const string Begin = "<!-- roles: drawn from Pki/RoleTable.cs by RoleTableTests; NODEAGENT_GOLDEN=write draws it again -->\n";

    private const string End = "<!-- end of roles -->";

    private static readonly NodeIdentity Node = new("cp-1", ["ip-10-0-0-4.ec2.internal"], [IPAddress.Parse("10.0.0.4")]);

    private static readonly ClusterNames Cluster = new("cluster.local", ["api.example.com"], [IPAddress.Parse("10.96.0.1")]);

    [Fact]
    public void No_role_path_or_key_stands_twice()
    {
        RoleTable.All.Select(r => r.Role).Concat(RoleTable.Authorities.Select(a => a.Role)).ShouldBeUnique();
        RoleTable.All.Select(r => r.Path).Concat(RoleTable.Authorities.Select(a => a.CertificatePath)).ShouldBeUnique();
        RoleTable.All.Select(r => r.KeyPath).Concat(RoleTable.Authorities.Select(a => a.KeyPath)).ShouldBeUnique();
    }

    [Fact]
    public void A_worker_finds_no_role_of_the_control_plane()
    {
        RoleTable.ControlPlane.ShouldAllBe(r => RoleTable.Find(r.Role) == null && RoleTable.Find(r.Role, Asker.ControlPlaneNode) == r);
        RoleTable.Worker.ShouldAllBe(r => RoleTable.Find(r.Role) == r && RoleTable.Find(r.Role, Asker.ControlPlaneNode) == r);
        RoleTable.Find("ca", Asker.ControlPlaneNode).ShouldBeNull();
    }

    /// <summary>The groups that Kubernetes gives rights to by their names: whoever adds one to a row changes this, too.</summary>
    [Fact]
    public void Who_is_in_which_group_is_decided_here()
    {
        RoleTable.All.Where(r => r.Organization is not null).Select(r => $"{r.Role}: {r.Organization}").ShouldBe(
        [
            "kubelet-client: system:nodes",
            "kubelet-serving: system:nodes",
            "apiserver-kubelet-client: kubeadm:cluster-admins",
            "admin: kubeadm:cluster-admins",
            "super-admin: system:masters",
        ]);
        // etcd lets in whoever its CA signed, and aggregated API servers believe whom the front proxy's signed.
        RoleTable.All.Where(r => r.AskedBy == Asker.AnyNode).ShouldAllBe(r => r.Authority == Authority.Cluster);
    }

    [Fact]
    public void Names_are_those_that_clients_use()
    {
        var apiserver = Content("apiserver");
        apiserver.DnsNames.ShouldBe(
        [
            "cp-1", "ip-10-0-0-4.ec2.internal", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
            "api.example.com",
        ]);
        apiserver.Addresses.ShouldBe([IPAddress.Parse("10.96.0.1"), IPAddress.Parse("10.0.0.4"), IPAddress.Loopback]);
        Content("etcd-peer").DnsNames.ShouldBe(["cp-1", "ip-10-0-0-4.ec2.internal", "localhost"]);
        Content("etcd-peer").Addresses.ShouldBe([IPAddress.Parse("10.0.0.4"), IPAddress.Loopback, IPAddress.IPv6Loopback]);
        RoleTable.All.Where(r => r.Usage == CertificateUsage.Client)
            .ShouldAllBe(r => r.For(Node, Cluster).DnsNames.Count + r.For(Node, Cluster).Addresses.Count == 0);
        Should.Throw<ArgumentNullException>(() => RoleTable.Find("apiserver", Asker.ControlPlaneNode)!.For(Node));
    }

    [Fact]
    public void Kubeconfigs_are_where_the_table_says()
    {
        RoleTable.PointingKubeconfigs.ShouldBe([(Kubelet.KubeconfigPath, "kubelet-client"), ($"{ServiceProxy.Directory}/kubeconfig", "kube-proxy")]);
        RoleTable.All.Where(r => r.Layout == FileLayout.InKubeconfig).ShouldAllBe(r => r.Path.EndsWith(".conf", StringComparison.Ordinal));
    }

    [Fact]
    public void The_table_that_people_read_is_the_one_that_is_signed_from()
    {
        var path = Path.Combine(Repository.Folder, "docs", "certificates.md");
        var text = System.IO.File.ReadAllText(path);
        var (begin, end) = (text.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length, text.IndexOf(End, StringComparison.Ordinal));
        var drawn = Draw();
        if (Repository.IsRewriting)
        {
            System.IO.File.WriteAllText(path, text[..begin] + drawn + text[end..]);
            return;
        }

        text[begin..end].ShouldBe(drawn);
    }

    private static CertificateContent Content(string role) => RoleTable.Find(role, Asker.ControlPlaneNode)!.For(Node, Cluster);

    private static string Draw()
    {
        var text = new StringBuilder(
            "| role | file | CA | subject | usage | names | lifetime | who may ask | after renewal |\n|---|---|---|---|---|---|---|---|---|\n");
        foreach (var r in RoleTable.All)
        {
            var subject = (r.Organization is null ? "" : $"O = {r.Organization}, ")
                + $"CN = {r.CommonName.Replace("{node}", "NAME", StringComparison.Ordinal)}";
            var file = r.Layout == FileLayout.Pair ? $"`{r.Path[..^4]}`.crt, .key" : $"`{r.Path}`";
            var ca = r.Authority switch { Authority.Cluster => "Kubernetes", Authority.Etcd => "etcd", _ => "front proxy" };
            var usage = r.Usage switch { CertificateUsage.Client => "client", CertificateUsage.Server => "server", _ => "server and client" };
            var names = r.Names switch
            {
                RoleNames.None => "",
                RoleNames.Node => "the node's",
                RoleNames.Etcds => "the node's, localhost, 127.0.0.1, ::1",
                _ => "the node's, the service `kubernetes`, the endpoint, 127.0.0.1",
            };
            var asker = r.AskedBy == Asker.AnyNode ? "every node" : "control plane";
            var after = r.AfterRenewal switch
            {
                AfterRenewal.ReadAgain => "read again by itself",
                AfterRenewal.ReadWhenUsed => "read when used",
                AfterRenewal.RestartKubeletBefore131 => "read again by itself from 1.31; before, kubelet restarts",
                _ => "the static pod is made anew",
            };
            text.Append(
                System.Globalization.CultureInfo.InvariantCulture,
                $"| {r.Role} | {file} | {ca} | {subject} | {usage} | {names} | {r.Lifetime.TotalDays} d | {asker} | {after} |\n");
        }

        return text.ToString();
    }
}
