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

    private const string ManifestPath = $"{Kubelet.ManifestDirectory}/kube-proxy.yaml";

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
            $"{Ownership.Header}\n{Kubeconfig.Render(config.Cluster.Name, config.Cluster.Endpoint, config.Cluster.CertificateAuthority, Role, certificate.Name)}");
        var configuration = new ConfigFile(Concern.StaticPods, $"{Directory}/config.yaml", Documents.Yaml(Configuration(config, facts, kubeconfig.Name)));
        var pod = Pod(config.KubeProxy.Image ?? DefaultImage(facts), certificate.Name, Digest(kubeconfig.Content, configuration.Content));
        return
        [
            kubeconfig,
            configuration,
            new ConfigFile(Concern.StaticPods, ManifestPath, Documents.Yaml(pod))
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

    /// <summary>Of kubelet's release: an older kube-proxy asks for APIs that newer clusters no longer have. What a vendor adds (1.29.0-eks-5e0fdde) is not upstream's tag.</summary>
    private static string DefaultImage(NodeFacts facts) => $"registry.k8s.io/kube-proxy:v{facts.Versions.Kubelet!.Split('-')[0]}";

    private static JsonObject Pod(string image, string certificate, string digest)
    {
        var certificateDirectory = certificate[..certificate.LastIndexOf('/')];
        return new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Pod",
            ["metadata"] = new JsonObject
            {
                ["name"] = "kube-proxy",
                ["namespace"] = "kube-system",
                ["labels"] = new JsonObject { ["k8s-app"] = "kube-proxy" },
                // kubelet recreates a static pod when its manifest changes, and this changes with what the pod reads.
                ["annotations"] = new JsonObject { ["nodeagent/inputs"] = digest },
            },
            ["spec"] = new JsonObject
            {
                ["hostNetwork"] = true,
                ["priorityClassName"] = "system-node-critical",
                ["tolerations"] = new JsonArray(new JsonObject { ["operator"] = "Exists" }),
                ["containers"] = new JsonArray(new JsonObject
                {
                    ["name"] = "kube-proxy",
                    ["image"] = image,
                    ["imagePullPolicy"] = "IfNotPresent",
                    ["command"] = new JsonArray("kube-proxy", $"--config={Directory}/config.yaml"),
                    ["resources"] = new JsonObject { ["requests"] = new JsonObject { ["cpu"] = "50m", ["memory"] = "64Mi" } },
                    ["livenessProbe"] = new JsonObject
                    {
                        ["httpGet"] = new JsonObject { ["host"] = "127.0.0.1", ["path"] = "/healthz", ["port"] = 10256 },
                        ["initialDelaySeconds"] = 60,
                        ["periodSeconds"] = 20,
                        ["timeoutSeconds"] = 15,
                        ["failureThreshold"] = 6,
                    },
                    // It sets sysctls of the host's network, and /proc/sys is read-only to any container that is not privileged.
                    ["securityContext"] = new JsonObject { ["privileged"] = true },
                    ["volumeMounts"] = new JsonArray(
                        VolumeMount("config", Directory, readOnly: true),
                        VolumeMount("certificate", certificateDirectory, readOnly: true),
                        VolumeMount("modules", "/lib/modules", readOnly: true),
                        VolumeMount("xtables-lock", "/run/xtables.lock", readOnly: false)),
                }),
                ["volumes"] = new JsonArray(
                    HostPath("config", Directory, "Directory"),
                    HostPath("certificate", certificateDirectory, "Directory"),
                    HostPath("modules", "/lib/modules", "Directory"),
                    HostPath("xtables-lock", "/run/xtables.lock", "FileOrCreate")),
            },
        };
    }

    private static JsonObject VolumeMount(string name, string path, bool readOnly)
    {
        var mount = new JsonObject { ["name"] = name, ["mountPath"] = path };
        if (readOnly)
        {
            mount["readOnly"] = true;
        }

        return mount;
    }

    private static JsonObject HostPath(string name, string path, string type) =>
        new() { ["name"] = name, ["hostPath"] = new JsonObject { ["path"] = path, ["type"] = type } };

    private static string Digest(params string[] inputs) =>
        "sha256:" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\0', inputs))));
}
