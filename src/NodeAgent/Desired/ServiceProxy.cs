using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>kube-proxy as a static pod, with its configuration and kubeconfig.</summary>
internal static class ServiceProxy
{
    public const string Role = "kube-proxy";

    public const string Directory = "/etc/kubernetes/kube-proxy";

    private const string ManifestPath = Kubelet.ManifestDirectory + "/kube-proxy.yaml";

    public static IReadOnlyList<string> Modules(ProxyMode mode) => mode == ProxyMode.None ? [] : ["nf_conntrack"];

    public static IReadOnlyList<Resource> Build(NodeConfig config, NodeFacts facts, Certificates certificates)
    {
        if (config.KubeProxy.Mode == ProxyMode.None)
        {
            return
            [
                new Remains(Concern.StaticPods, "of kube-proxy", [$"{Kubelet.ManifestDirectory}/"], texts => texts.ContainsKey(ManifestPath)
                    ? ["kube-proxy's rules stay in the running kernel until the next boot, or: kube-proxy --cleanup"] : []),
            ];
        }

        var certificate = certificates.ByRole[Role];
        var kubeconfig = new ConfigFile(
            Concern.StaticPods,
            $"{Directory}/kubeconfig",
            Ownership.Header + "\n"
                + Kubeconfig.Render(config.Cluster.Name, ControlPlanePods.Server(config), config.Cluster.CertificateAuthority, Role, certificate.Name));
        var configuration = new ConfigFile(Concern.StaticPods, $"{Directory}/config.yaml", Documents.Yaml(Configuration(config, facts, kubeconfig.Name)));
        var pod = Pod(config, facts, certificate.Name);
        return
        [
            kubeconfig,
            configuration,
            new ConfigFile(Concern.StaticPods, ManifestPath, Documents.Yaml(pod.Manifest(Digest(kubeconfig.Content, configuration.Content))))
            {
                Disruption = Disruption.RecreatesPods,
                Needs = [certificate, kubeconfig, configuration],
            },
        ];
    }

    // KubeProxyConfiguration has no optional sections before 1.23: what is left out there is a zero, which the defaults fill.
    private static JsonObject Configuration(NodeConfig config, NodeFacts facts, string kubeconfig)
    {
        var document = new JsonObject
        {
            ["apiVersion"] = "kubeproxy.config.k8s.io/v1alpha1",
            ["kind"] = "KubeProxyConfiguration",
            ["bindAddress"] = "0.0.0.0",
            ["clientConnection"] = new JsonObject { ["kubeconfig"] = kubeconfig },
            ["healthzBindAddress"] = "127.0.0.1:10256",
            ["hostnameOverride"] = NodeNames.Of(config, facts),
            ["metricsBindAddress"] = "127.0.0.1:10249",
            ["mode"] = "iptables",
        };
        if (config.Cluster.PodRange is { } pods)
        {
            document["clusterCIDR"] = pods.ToString();
        }

        return document;
    }

    private static StaticPod Pod(NodeConfig config, NodeFacts facts, string certificate)
    {
        var certificateDirectory = certificate[..certificate.LastIndexOf('/')];
        return new StaticPod(Role, config.KubeProxy.Image ?? ControlPlanePods.Image(Role, facts), ["kube-proxy", $"--config={Directory}/config.yaml"])
        {
            Labels = new Dictionary<string, string> { ["k8s-app"] = Role },
            Requests = new Dictionary<string, string> { ["cpu"] = "50m", ["memory"] = "64Mi" },
            Probes = new Dictionary<string, JsonObject>
            {
                ["livenessProbe"] = new()
                {
                    ["httpGet"] = new JsonObject { ["host"] = "127.0.0.1", ["path"] = "/healthz", ["port"] = 10256 },
                    ["initialDelaySeconds"] = 60,
                    ["periodSeconds"] = 20,
                    ["timeoutSeconds"] = 15,
                    ["failureThreshold"] = 6,
                },
            },
            // It sets sysctls of the host's network, and /proc/sys is read-only to any container that is not privileged.
            SecurityContext = new() { ["privileged"] = true },
            Seccomp = null,
            Paths =
            [
                new("config", Directory, "Directory"),
                new("certificate", certificateDirectory, "Directory"),
                new("modules", "/lib/modules", "Directory"),
                new("xtables-lock", "/run/xtables.lock", "FileOrCreate", IsReadOnly: false),
                // Else kubelet gives it a copy as the container starts, and the endpoint's address may change after that.
                .. Endpoint.IsInHosts(config) ? (HostPath[])[new("hosts", HostsEntry.Path, "File")] : [],
            ],
        };
    }

    private static string Digest(params string[] inputs) =>
        "sha256:" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\0', inputs))));
}
