using System.Net;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Pki;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// The certificates of this node's roles, and the files with what it trusts; of a control plane node all of the table, in kubeadm's layout, and the key pair of
/// service accounts. A manifest of ours whose pod reads one of them only as it starts (AfterRenewal.RecreatePod) is to name its resource of
/// <see cref="ByRole"/> among its inputs, and to carry a digest of the file.
/// </summary>
internal sealed record Certificates(IReadOnlyList<Resource> Resources, Resource Authority, IReadOnlyDictionary<string, Resource> ByRole)
{
    public const string AuthorityPath = "/etc/kubernetes/pki/ca.crt";

    /// <summary>Of a control plane node: what keeps the certificate of a CA that no configuration holds.</summary>
    public Resource Of(Authority authority) => Others[authority];

    /// <summary>Of a control plane node.</summary>
    public Resource AccountKey => Resources.OfType<ServiceAccountKey>().Single();

    /// <summary>Of a control plane node that runs its own API server.</summary>
    public Resource Encryption => Resources.OfType<EncryptionConfiguration>().Single();

    public RoleCertificate Row(string role) => ((Certificate)ByRole[role]).Row;

    private IReadOnlyDictionary<Authority, Resource> Others { get; init; } = new Dictionary<Authority, Resource>();

    public const string TimerUnit = "nodeagent-renew.timer";

    /// <summary>
    /// Comes enabled with the package; where it was stopped, it runs again. Without a source there is nothing that it could renew, and it says so when
    /// something is due.
    /// </summary>
    public static IEnumerable<Resource> Timer(NodeConfig config) =>
        config.Certificates.Source == CertificateSourceKind.None ? [] : [new SystemdTimer(Concern.Certificates, TimerUnit, runs: true)];

    public static Certificates Build(NodeConfig config, NodeFacts facts, ICertificateSource source)
    {
        var node = Identity(config, facts);
        var authorities = config.Cluster.CertificateAuthority.Trim() + "\n";
        var authority = new ConfigFile(Concern.Certificates, AuthorityPath, authorities);
        var isControlPlane = config.Node.Role == NodeRole.ControlPlane;
        // What no configuration holds: the CAs of etcd and of the front proxy.
        var others = RoleTable.Authorities.Where(a => isControlPlane && a.Authority != Pki.Authority.Cluster).ToDictionary(
            a => a.Authority,
            Resource (a) => new AuthorityCertificate(a, [.. RoleTable.All.Where(r => r.Authority == a.Authority)], facts.Instance.Id, source));
        Resource[] shared = isControlPlane ? [.. others.Values, new ServiceAccountKey(facts.Instance.Id, source)] : [];
        Resource[] encryption = ControlPlanePods.RunHere(config)
            ? [new EncryptionConfiguration(facts.Instance.Id, config.ApiServer.Encryption.Resources, config.ApiServer.Encryption.Write, source)] : [];
        var names = isControlPlane ? Names(config) : null;
        var access = new ClusterAccess(config.Cluster.Name, config.Cluster.Endpoint, config.Cluster.CertificateAuthority);
        // Those of the control plane's own clients: it does not hang on a load balancer, which may not know it yet. admin.conf is for people, elsewhere
        // perhaps.
        var local = access with { Server = ControlPlanePods.Server(config) };
        var round = new CertificateRound(source);
        var roles = RoleTable.All
            .Where(r => isControlPlane || r.AskedBy == Asker.AnyNode)
            .ToDictionary(r => r.Role, Resource (r) => new Certificate(
                r, r.For(node, names), node.Name, r.Authority == Pki.Authority.Cluster ? authorities : null, source, round)
            {
                Instance = facts.Instance.Id,
                KeyAlgorithm = config.Certificates.KeyAlgorithm,
                Access = r.Layout != FileLayout.InKubeconfig ? null : r.AfterRenewal == AfterRenewal.RecreatePod ? local : access,
                HasManifest = ControlPlanePods.RunHere(config),
                OnlyWith = r.Role == ServiceProxy.Role && config.KubeProxy.Mode == ProxyMode.None ? ServiceProxy.ManifestPath : null,
                Needs = others.TryGetValue(r.Authority, out var ca) ? [ca] : [],
            });
        round.Members = [.. roles.Values.OfType<Certificate>()];
        return new Certificates([authority, .. shared, .. encryption, .. roles.Values], authority, roles) { Others = others };
    }

    /// <summary>Where they keep something, where it is more than one file.</summary>
    public static IEnumerable<string> FilesOf(Resource resource) => resource switch
    {
        Certificate certificate => [certificate.Name, certificate.Row.KeyPath],
        ServiceAccountKey => [RoleTable.ServiceAccount.KeyPath, RoleTable.ServiceAccount.PublicPath],
        _ => [resource.Name],
    };

    /// <summary>Files of every node's roles, wanted or not.</summary>
    public static IReadOnlyList<string> Paths => [.. RoleTable.Worker.Select(r => r.Path)];

    /// <summary>Files of control planes, wanted or not: this machine may have been one. They are called as kubeadm calls its own.</summary>
    public static IReadOnlyList<string> ControlPlanePaths =>
    [
        .. RoleTable.Authorities.Where(a => a.Authority != Pki.Authority.Cluster).Select(a => a.CertificatePath),
        RoleTable.ServiceAccount.PublicPath,
        RoleTable.ServiceAccount.KeyPath,
        .. RoleTable.ControlPlane.SelectMany(r => (string[])[r.Path, r.KeyPath]).Distinct(),
    ];

    /// <summary>What this cluster's API servers are called.</summary>
    public static ClusterNames Names(NodeConfig config)
    {
        string[] called = [config.Cluster.Endpoint.DnsSafeHost, .. config.Certificates.ApiNames];
        return new(
            config.Cluster.Domain,
            [.. called.Where(c => !IPAddress.TryParse(c, out _))],
            [config.Cluster.ServiceRange[1], .. called.Where(c => IPAddress.TryParse(c, out _)).Select(IPAddress.Parse)]);
    }

    public static string PathOf(string role) => RoleTable.Find(role)?.Path ?? throw new ArgumentException($"there is no role {role}");

    public static NodeIdentity Identity(NodeConfig config, NodeFacts facts)
    {
        var instance = facts.Instance;
        return new NodeIdentity(
            NodeNames.Of(config, facts),
            // EC2 and metadata agree on the ID and the address. Where DHCP options give a domain of one's own they do not on the DNS name, and no issuer that
            // asks EC2 could sign what this node expects.
            config.Node.Name == NodeNaming.InstanceId || instance.PrivateDnsName is not { } name ? [] : [name],
            // Not every address of the interfaces: where the VPC CNI runs, those are the pods', and they come and go.
            [IPAddress.Parse(instance.PrivateAddress)]);
    }
}
