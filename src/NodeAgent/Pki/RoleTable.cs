using System.Net;
using static NodeAgent.Pki.AfterRenewal;
using static NodeAgent.Pki.Asker;
using static NodeAgent.Pki.Authority;
using static NodeAgent.Pki.CertificateUsage;
using static NodeAgent.Pki.FileLayout;
using static NodeAgent.Pki.RoleNames;

namespace NodeAgent.Pki;

/// <summary>
/// Which certificates there are, what each says, where it lies, who may ask for it and what its renewal takes. For auditors: nothing else in the program
/// decides a subject, a usage or a name. The node computes what it expects from this table and its facts, the signer what it signs from this table and what it
/// knows of the node. Paths and subjects are kubeadm's (cmd/kubeadm/app/phases/certs/certlist.go, constants.go), so that its tools and openssl's read the tree.
/// </summary>
/// <remarks>
/// A worker's file holds its certificate chain and its key (mode 0600), so that one rename replaces both. The readers take one file for both: kubelet's own
/// rotation writes such a file and points a kubeconfig's client-certificate and client-key at it (client-go util/certificate/certificate_store.go, kubelet
/// certificate/bootstrap), and kubelet's tlsCertFile and tlsPrivateKeyFile end in Go's tls.LoadX509KeyPair, which skips the blocks it does not look for.
/// kubeadm's tools want two files for the control plane's, and embedded certificates in its kubeconfigs (kubeadm certs check-expiration).
/// </remarks>
internal static class RoleTable
{
    /// <summary>The role by whose certificate a node shows who it is.</summary>
    public const string NodeClient = "kubelet-client";

    public const string Directory = "/etc/kubernetes/pki";

    private const string Conf = "/etc/kubernetes/";
    private const string Pki = Directory + "/";

    private static readonly TimeSpan Days90 = TimeSpan.FromDays(90);
    private static readonly TimeSpan Year = TimeSpan.FromDays(365);

    /// <summary>The CAs, and the key pair of service accounts, which has no certificate.</summary>
    public static IReadOnlyList<RoleAuthority> Authorities { get; } =
    [
        new("ca", Cluster, Pki + "ca.crt", Pki + "ca.key", "kubernetes"),
        new("etcd-ca", Etcd, Pki + "etcd/ca.crt", Pki + "etcd/ca.key", "etcd-ca"),
        new("front-proxy-ca", FrontProxy, Pki + "front-proxy-ca.crt", Pki + "front-proxy-ca.key", "front-proxy-ca"),
    ];

    public static (string KeyPath, string PublicPath) ServiceAccount => (Pki + "sa.key", Pki + "sa.pub");

    /// <summary>Of every node. Lifetimes are those that certificates.lifetime sets aside.</summary>
    public static IReadOnlyList<RoleCertificate> Worker { get; } =
    [
        new(NodeClient, Cluster, OneFile, Pki + "kubelet-client.pem",
            "system:node:{node}", "system:nodes", Client, None, Days90, AnyNode, ReadAgain),
        // kubernetes#124574.
        new("kubelet-serving", Cluster, OneFile, Pki + "kubelet-serving.pem",
            "system:node:{node}", "system:nodes", Server, Node, Days90, AnyNode, RestartKubeletBefore131),
        // In a directory of its own: a pod that mounts the file alone keeps the old one after the rename, one that mounts its neighbours sees kubelet's keys.
        new("kube-proxy", Cluster, OneFile, Pki + "kube-proxy/client.pem",
            "system:kube-proxy", null, Client, None, Days90, AnyNode, ReadAgain),
    ];

    /// <summary>Of control plane nodes beside those of every node.</summary>
    public static IReadOnlyList<RoleCertificate> ControlPlane { get; } =
    [
        // kube-apiserver reads its serving and client files again by itself (apiserver pkg/server/dynamiccertificates, client-go transport/cert_rotation.go),
        // etcd at every handshake (client/pkg/transport).
        new("apiserver", Cluster, Pair, Pki + "apiserver",
            "kube-apiserver", null, Server, ApiServer, Year, ControlPlaneNode, ReadAgain),
        new("apiserver-kubelet-client", Cluster, Pair, Pki + "apiserver-kubelet-client",
            "kube-apiserver-kubelet-client", Admins, Client, None, Year, ControlPlaneNode, ReadAgain),
        new("apiserver-etcd-client", Etcd, Pair, Pki + "apiserver-etcd-client",
            "kube-apiserver-etcd-client", null, Client, None, Year, ControlPlaneNode, ReadAgain),
        new("front-proxy-client", FrontProxy, Pair, Pki + "front-proxy-client",
            "front-proxy-client", null, Client, None, Year, ControlPlaneNode, ReadAgain),
        // etcd's gateway and its peers use the serving certificate as a client's, too (etcd#9785).
        new("etcd-server", Etcd, Pair, Pki + "etcd/server",
            "{node}", null, Server | Client, Etcds, Year, ControlPlaneNode, ReadAgain),
        new("etcd-peer", Etcd, Pair, Pki + "etcd/peer",
            "{node}", null, Server | Client, Etcds, Year, ControlPlaneNode, ReadAgain),
        new("etcd-healthcheck-client", Etcd, Pair, Pki + "etcd/healthcheck-client",
            "kube-etcd-healthcheck-client", null, Client, None, Year, ControlPlaneNode, ReadWhenUsed),
        // Embedded, as kubeadm's tools want it: a kubeconfig that changes is read by nobody who runs (kubernetes#99645), so the pod is made anew.
        new("admin", Cluster, InKubeconfig, Conf + "admin.conf",
            "kubernetes-admin", Admins, Client, None, Year, ControlPlaneNode, ReadWhenUsed),
        // Past RBAC, for the day on which RBAC is what broke.
        new("super-admin", Cluster, InKubeconfig, Conf + "super-admin.conf",
            "kubernetes-super-admin", "system:masters", Client, None, Year, ControlPlaneNode, ReadWhenUsed),
        new("controller-manager", Cluster, InKubeconfig, Conf + "controller-manager.conf",
            "system:kube-controller-manager", null, Client, None, Year, ControlPlaneNode, RecreatePod),
        new("scheduler", Cluster, InKubeconfig, Conf + "scheduler.conf",
            "system:kube-scheduler", null, Client, None, Year, ControlPlaneNode, RecreatePod),
    ];

    /// <summary>Kubeconfigs that hold no secret: they point at the file of a role, which renewal replaces.</summary>
    public static IReadOnlyList<(string Path, string Role)> PointingKubeconfigs { get; } =
        [(Conf + "kubelet.conf", "kubelet-client"), (Conf + "kube-proxy/kubeconfig", "kube-proxy")];

    /// <summary>
    /// A group that RBAC binds to cluster-admin, as kubeadm does from 1.29, and not system:masters, which no RBAC takes back (kubernetes#121305). Whoever sets
    /// up a control plane makes the binding.
    /// </summary>
    private const string Admins = "kubeadm:cluster-admins";

    /// <summary>
    /// What the issuer of certificates shows to nodes. Its name is no address: it holds wherever an issuer listens, and no issuer gives it to a node, since
    /// nodes are named by EC2. A node's serving certificate is of the same CA, and without this name a node could pass for the issuer.
    /// </summary>
    public static CertificateContent IssuerServing { get; } = new("nodeagent-issuer", [], Server, ["nodeagent-issuer"], []);

    public static IEnumerable<RoleCertificate> All => Worker.Concat(ControlPlane);

    /// <returns>The row of a role that <paramref name="asker"/> may ask for; null where there is none.</returns>
    public static RoleCertificate? Find(string role, Asker asker = AnyNode) => All.FirstOrDefault(r => r.Role == role && r.AskedBy <= asker);

    public static RoleAuthority Of(Authority authority) => Authorities.Single(a => a.Authority == authority);
}

/// <param name="CertificatePath">PEM, mode 0644.</param>
/// <param name="KeyPath">PEM, mode 0600; only where certificates are signed.</param>
internal sealed record RoleAuthority(string Role, Authority Authority, string CertificatePath, string KeyPath, string CommonName)
{
    /// <summary>As kubeadm's, with a new one to be had long before.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromDays(3650);
}

/// <param name="Path">Of the file that holds the certificate; of a <see cref="FileLayout.Pair"/> without its ending.</param>
/// <param name="CommonName">{node} stands for the node's name.</param>
/// <param name="Organization">What Kubernetes takes for the group; none when null.</param>
internal sealed record RoleCertificate(
    string Role,
    Authority Authority,
    FileLayout Layout,
    string Path,
    string CommonName,
    string? Organization,
    CertificateUsage Usage,
    RoleNames Names,
    TimeSpan Lifetime,
    Asker AskedBy,
    AfterRenewal AfterRenewal)
{
    /// <summary>Where its certificate is.</summary>
    public string Path { get; } = Layout == Pair ? Path + ".crt" : Path;

    /// <summary>Where its key is: mode 0600, whatever else is in the file.</summary>
    public string KeyPath { get; } = Layout == Pair ? Path + ".key" : Path;

    /// <param name="cluster">Only certificates of kube-apiserver name it.</param>
    public CertificateContent For(NodeIdentity node, ClusterNames? cluster = null)
    {
        var (dns, addresses) = Names switch
        {
            Node => ((string[])[node.Name, .. node.DnsNames], (IPAddress[])[.. node.Addresses]),
            Etcds => ([node.Name, .. node.DnsNames, "localhost"], [.. node.Addresses, IPAddress.Loopback, IPAddress.IPv6Loopback]),
            ApiServer when cluster is null => throw new ArgumentNullException(nameof(cluster), $"the certificate of {Role} names the cluster"),
            ApiServer => (
                [
                    node.Name, .. node.DnsNames, "kubernetes", "kubernetes.default", "kubernetes.default.svc", $"kubernetes.default.svc.{cluster!.Domain}",
                    .. cluster.DnsNames,
                ],
                [.. cluster.Addresses, .. node.Addresses, IPAddress.Loopback]),
            _ => ([], []),
        };
        return new(
            CommonName.Replace("{node}", node.Name, StringComparison.Ordinal),
            Organization is null ? [] : [Organization],
            Usage,
            [.. dns.Distinct(StringComparer.OrdinalIgnoreCase)],
            [.. addresses.Distinct()]);
    }
}

internal enum Authority
{
    Cluster,
    Etcd,
    FrontProxy,
}

/// <summary>Who may ask for a role's certificate, the most restricted last.</summary>
internal enum Asker
{
    AnyNode,
    ControlPlaneNode,
}

internal enum FileLayout
{
    /// <summary>Certificates and key in one PEM file, 0600.</summary>
    OneFile,

    /// <summary>NAME.crt (0644) and NAME.key (0600).</summary>
    Pair,

    /// <summary>Both embedded in a kubeconfig, 0600.</summary>
    InKubeconfig,
}

/// <summary>What the reader of a file needs after a renewal, and nothing more.</summary>
internal enum AfterRenewal
{
    /// <summary>Nothing: it reads the file again by itself, client-go within 5 minutes.</summary>
    ReadAgain,

    /// <summary>Nothing: nobody who runs has read it.</summary>
    ReadWhenUsed,

    /// <summary>A kubelet before 1.31 is restarted, which no pod notices; a later one reads the file again by itself.</summary>
    RestartKubeletBefore131,

    /// <summary>Its static pod is made anew.</summary>
    RecreatePod,
}

[Flags]
internal enum CertificateUsage
{
    Client = 1,
    Server = 2,
}

internal enum RoleNames
{
    None,

    /// <summary>The node's name, its DNS names and its addresses.</summary>
    Node,

    /// <summary>Those of the node, localhost and both loopback addresses.</summary>
    Etcds,

    /// <summary>Those of the node, 127.0.0.1, the service kubernetes by all its names and its address, the endpoint, and what the configuration adds.</summary>
    ApiServer,
}

/// <summary>As EC2 knows the node, never as it calls itself.</summary>
internal sealed record NodeIdentity(string Name, IReadOnlyList<string> DnsNames, IReadOnlyList<IPAddress> Addresses);

/// <summary>What a kube-apiserver is called beside the names of its node.</summary>
/// <param name="Domain">As in cluster.local.</param>
/// <param name="DnsNames">The endpoint, where it is a name, and extras.</param>
/// <param name="Addresses">The first address of the service range, the endpoint, where it is an address, and extras.</param>
internal sealed record ClusterNames(string Domain, IReadOnlyList<string> DnsNames, IReadOnlyList<IPAddress> Addresses);

/// <summary>What a certificate says of its holder.</summary>
internal sealed record CertificateContent(
    string CommonName,
    IReadOnlyList<string> Organizations,
    CertificateUsage Usage,
    IReadOnlyList<string> DnsNames,
    IReadOnlyList<IPAddress> Addresses)
{
    /// <summary>As openssl prints it: O = system:nodes, CN = system:node:a.</summary>
    public string Subject => string.Join(", ", Organizations.Select(o => $"O = {Escape(o)}").Append($"CN = {Escape(CommonName)}"));

    /// <summary>A value in a subject, as in RFC 4514, 2.4: one that holds a comma does not read as two parts.</summary>
    public static string Escape(string value) =>
        value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace(",", "\\,", StringComparison.Ordinal);
}
