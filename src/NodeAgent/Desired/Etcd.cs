using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;
using NodeAgent.Pki;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>etcd: a single member, on the control plane's machine.</summary>
internal static class Etcd
{
    public const string Name = "etcd";

    public const string ClientUrl = "https://127.0.0.1:2379";

    private const int MetricsPort = 2381;

    // Nothing but etcd's own certificates, keys and CA: by the directory, since it reads its certificates again at every handshake.
    private const string CertificateDirectory = RoleTable.Directory + "/etcd";

    /// <summary>What is there from etcd's first start on.</summary>
    public static string MemberDirectory(NodeConfig config) => EtcdVolume.DataDirectory(config.Etcd) + "/member";

    /// <summary>Whether a node of this configuration would begin a cluster where there is no data.</summary>
    /// <remarks>Where the data is on a volume of its own, that volume is what the cluster is; it can be at one machine only.</remarks>
    public static bool MayBegin(NodeConfig config) =>
        config.Node.Role == NodeRole.ControlPlane && config.ControlPlane.StaticPods && config.Etcd.Volume is null;

    /// <exception cref="NotPossibleException">Another control plane instance runs, whose cluster this one would not be a member of.</exception>
    public static StaticPodManifest Build(NodeConfig config, NodeFacts facts, KubernetesVersion version, Certificates certificates)
    {
        if (facts.ControlPlane?.Where(a => a != facts.Instance.PrivateAddress).ToList() is { Count: > 0 } others)
        {
            throw new NotPossibleException(
                $"EC2 shows that another control plane instance of cluster {config.Cluster.Name} runs ({string.Join(", ", others)}), and this machine has no "
                + "data of etcd "
                + $"({MemberDirectory(config)}): it would begin an empty cluster beside that one, and nodes would follow it. etcd has a single member so far: "
                + "end one of the "
                + "instances, or give this one the data of the other (docs/replacing.md)")
            {
                IsRefusal = true,
            };
        }

        var etcd = config.Etcd;
        var name = NodeNames.Of(config, facts);
        var (client, peer) = (Url(facts, 2379), Url(facts, 2380));
        var ca = certificates.Of(Authority.Etcd);
        var (server, peers) = (certificates.Row("etcd-server"), certificates.Row("etcd-peer"));
        var flags = new ComponentFlags
        {
            ["name"] = name,
            ["data-dir"] = EtcdVolume.DataDirectory(etcd),
            ["listen-client-urls"] = $"{ClientUrl},{client}",
            ["advertise-client-urls"] = client,
            ["listen-peer-urls"] = peer,
            ["initial-advertise-peer-urls"] = peer,
            ["initial-cluster"] = InitialCluster([(name, peer)]),
            ["listen-metrics-urls"] = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{MetricsPort}"),
            ["cert-file"] = server.Path,
            ["key-file"] = server.KeyPath,
            ["client-cert-auth"] = "true",
            ["trusted-ca-file"] = ca.Name,
            ["peer-cert-file"] = peers.Path,
            ["peer-key-file"] = peers.KeyPath,
            ["peer-client-cert-auth"] = "true",
            ["peer-trusted-ca-file"] = ca.Name,
            ["heartbeat-interval"] = etcd.HeartbeatInterval.ToString(CultureInfo.InvariantCulture),
            ["election-timeout"] = etcd.ElectionTimeout.ToString(CultureInfo.InvariantCulture),
            ["quota-backend-bytes"] = (etcd.Quota.Bytes ?? 0).ToString(CultureInfo.InvariantCulture),
            // As kubeadm: fewer entries in memory than etcd 3.5's 100000.
            ["snapshot-count"] = "10000",
        };
        if (etcd.AutoCompaction is { } compaction)
        {
            flags["auto-compaction-mode"] = compaction.Mode == AutoCompactionMode.Periodic ? "periodic" : "revision";
            flags["auto-compaction-retention"] = compaction.Retention;
        }

        var probes = new Probes("HTTP", MetricsPort);
        var image = etcd.Image ?? $"registry.k8s.io/etcd:{ControlPlaneVersions.Nearest(version).EtcdTag}";
        var asked = EtcdProbes.Of(ImageTag.Of(image));
        var pod = new StaticPod(Name, image, flags.For("etcd", etcd.ExtraArgs))
        {
            Labels = ControlPlanePods.Labels(Name),
            Requests = etcd.Requests,
            Probes = new Dictionary<string, JsonObject>
            {
                // A member that has no leader, or no space left, is not mended by another start of it: neither once it runs nor while it comes up.
                ["livenessProbe"] = probes.Liveness(asked.Alive),
                ["readinessProbe"] = probes.Readiness(asked.Ready),
                ["startupProbe"] = probes.Startup(asked.Alive, config.ControlPlane.StartupTimeout),
            },
            Paths =
            [
                new("certificates", CertificateDirectory, "Directory"),
                new("data", EtcdVolume.DataDirectory(etcd), "Directory", IsReadOnly: false),
            ],
        };
        return ControlPlanePods.Manifest(pod, [ControlPlanePods.Reads(ca)], [certificates.ByRole["etcd-server"], certificates.ByRole["etcd-peer"]]);
    }

    /// <summary>
    /// The members as they are when the data directory is empty; with data in it, etcd goes by the members that stand there. One, so far: more members come in
    /// here, and what tells a new member from a new cluster (--initial-cluster-state).
    /// </summary>
    private static string InitialCluster(IEnumerable<(string Name, string PeerUrl)> members) => string.Join(',', members.Select(m => $"{m.Name}={m.PeerUrl}"));

    private static string Url(NodeFacts facts, int port) => $"https://{new IPEndPoint(IPAddress.Parse(facts.Instance.PrivateAddress), port)}";
}
