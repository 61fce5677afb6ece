using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;
using NodeAgent.Pki;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>etcd and the control plane as static pods, on control plane nodes that nobody else brings them to.</summary>
/// <param name="Directories">Where they write: below mounts, perhaps.</param>
internal sealed record ControlPlanePods(IReadOnlyList<Resource> Files, IReadOnlyList<DirectoryResource> Directories)
{
    /// <summary>What was allowed by name and is not known to work.</summary>
    public IReadOnlyList<string> Warnings { get; private init; } = [];

    /// <summary>Whether this node runs them by this agent.</summary>
    public static bool RunHere(NodeConfig config) => config.Node.Role == NodeRole.ControlPlane && config.ControlPlane.StaticPods;

    /// <summary>
    /// Where the node's own clients find an API server. On a control plane node it is its own: no load balancer takes it for healthy before they are up.
    /// </summary>
    public static Uri Server(NodeConfig config) => RunHere(config) ? Local(config) : config.Cluster.Endpoint;

    public static Uri Local(NodeConfig config) => new UriBuilder(Uri.UriSchemeHttps, "127.0.0.1", config.ApiServer.Port).Uri;

    /// <summary>
    /// The taint that keeps pods off which do not ask for a control plane node, as kubeadm gives it, unless the configuration gives others or none.
    /// </summary>
    public static IReadOnlyList<Taint> Taints(NodeConfig config) =>
        config.Node.Taints ?? (RunHere(config) ? [new Taint { Key = "node-role.kubernetes.io/control-plane", Effect = TaintEffect.NoSchedule }] : []);

    public static ControlPlanePods Build(NodeConfig config, NodeFacts facts, Certificates certificates)
    {
        if (!RunHere(config))
        {
            return new([], []);
        }

        // It has passed Kubelet.Build.
        var version = KubernetesVersion.Parse(facts.Versions.Kubelet)!.Value;
        var releases = ControlPlaneReleases.Check(config, version);
        var (apiServer, logs) = ApiServer.Build(config, facts, certificates);
        return new(
            [
                Etcd.Build(config, facts, version, certificates),
                .. apiServer,
                ControllerManager.Build(config, facts, releases.ControllerManager ?? version, certificates),
                Scheduler.Build(config, facts, releases.Scheduler ?? version, certificates),
            ],
            [new DirectoryResource(Concern.StaticPods, EtcdVolume.DataDirectory(config.Etcd), Owner), .. logs])
        {
            Warnings = releases.Warnings,
        };
    }

    internal const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>registry.k8s.io/NAME of kubelet's release. What a vendor adds (1.29.0-eks-5e0fdde) is not upstream's tag.</summary>
    public static string Image(string name, NodeFacts facts) => $"registry.k8s.io/{name}:v{facts.Versions.Kubelet!.Split('-')[0]}";

    /// <param name="reads">What it reads only as it starts: the resources, and where they keep it.</param>
    /// <param name="needs">What it reads beside that, and again when it changes.</param>
    public static StaticPodManifest Manifest(StaticPod pod, IReadOnlyList<(Resource Resource, PodInput Input)> reads, IEnumerable<Resource> needs) =>
        new(pod.Path, [.. reads.Select(r => r.Input)], digest => Documents.Yaml(pod.Manifest(digest)))
        {
            Needs = [.. reads.Select(r => r.Resource).Concat(needs).Distinct()],
            Inputs = [.. reads.Select(r => r.Resource).Distinct()],
        };

    /// <summary>A resource that keeps one file, of which it is public what it says.</summary>
    public static (Resource, PodInput) Reads(Resource file) => (file, new(file.Name, PodInputKind.Public));

    public static (Resource, PodInput) ReadsKey(Resource resource, string? path = null) => (resource, new(path ?? resource.Name, PodInputKind.Key));

    /// <summary>As kubeadm labels them.</summary>
    public static IReadOnlyDictionary<string, string> Labels(string name) =>
        new Dictionary<string, string> { ["component"] = name, ["tier"] = "control-plane" };
}
