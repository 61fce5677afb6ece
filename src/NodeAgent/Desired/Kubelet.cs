using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>kubelet: its KubeletConfiguration, its kubeconfig, and a drop-in with the few flags that the configuration file cannot say.</summary>
internal sealed record Kubelet(IReadOnlyList<Resource> Files, IReadOnlyList<Resource> UnitFiles, IReadOnlyList<Resource> RestartOn)
{
    public const string Unit = "kubelet.service";

    public const string ReadyUnit = "nodeagent-ready.service";

    public const string Root = "/var/lib/kubelet";

    public const string PodLogs = "/var/log/pods";

    public const string ManifestDirectory = "/etc/kubernetes/manifests";

    public const string KubeconfigPath = "/etc/kubernetes/kubelet.conf";

    /// <summary>healthzBindAddress and healthzPort below.</summary>
    public static readonly Uri HealthEndpoint = new("http://127.0.0.1:10248/healthz");

    private const string RuntimeEndpoint = $"unix://{ContainerRuntime.Socket}";

    private const string ConfigurationPath = "/etc/kubernetes/kubelet.yaml";

    public static Kubelet Build(NodeConfig config, NodeFacts facts, Storage storage, Certificates certificates)
    {
        if (facts.Versions.Kubelet is not { } text)
        {
            throw new NotPossibleException($"there is no kubelet at {config.Kubelet.Binary}; install it in the image, or name it in kubelet.binary");
        }

        var version = KubernetesVersion.Parse(text) ?? throw new NotPossibleException($"{config.Kubelet.Binary} says its version is '{text}', which is not a Kubernetes version");
        var client = certificates.ByRole["kubelet-client"];
        var serving = certificates.ByRole["kubelet-serving"];
        var kubeconfig = new ConfigFile(
            Concern.Kubelet,
            KubeconfigPath,
            $"{Ownership.Header}\n{Kubeconfig.Render(config.Cluster.Name, config.Cluster.Endpoint, config.Cluster.CertificateAuthority, "kubelet", client.Name)}");
        var configuration = new ConfigFile(Concern.Kubelet, ConfigurationPath, Documents.Yaml(Configuration(config, facts, version, serving.Name)));
        var dropIn = new ConfigFile(Concern.Kubelet, $"/etc/systemd/system/{Unit}.d/50-nodeagent.conf", $"""
            {Ownership.Header}
            [Unit]
            Wants={ContainerRuntime.Unit} {ContainerRuntime.ImagesUnit}
            After={ContainerRuntime.Unit} {ContainerRuntime.ImagesUnit}
            {storage.RequiresMountsFor(Root, PodLogs, ContainerRuntime.Root)}
            [Service]{HttpProxy.ServiceLines(config)}
            ExecStart=
            ExecStart={CommandLine(config, facts, version)}
            Restart=always
            RestartSec=5
            # A static pod's containers are not kubelet's children; a restart must not take them along.
            KillMode=process

            """);
        var ready = new ConfigFile(Concern.Kubelet, $"/etc/systemd/system/{ReadyUnit}.d/50-nodeagent.conf", $"""
            {Ownership.Header}
            [Service]
            ExecStart=
            ExecStart=/usr/bin/nodeagent ready --deadline {config.Node.Readiness.Timeout}{(config.Node.Readiness.Gate == ReadinessGate.Ready
                ? $" --gate ready --node {Quote(NodeNames.Of(config, facts))} --server {Quote(config.Cluster.Endpoint.ToString())}"
                : "")}

            """);
        var providers = Providers.Files(config, version);
        return new Kubelet(
            [new DirectoryResource(Concern.Kubelet, ManifestDirectory, DirectoryResource.Searchable), kubeconfig, configuration, .. providers],
            [dropIn, ready],
            // client-go reads a renewed client certificate by itself; kubelet its serving certificate from 1.31 (kubernetes#124574).
            [certificates.Authority, kubeconfig, configuration, dropIn, .. providers, .. version.IsAtLeast(1, 31) ? Array.Empty<Resource>() : [serving]]);
    }

    /// <param name="environment">What it reads when it starts and others look after: proxy, certificates.</param>
    public IReadOnlyList<Resource> Running(Resource stamp, IReadOnlyList<Resource> mounts, IReadOnlyList<Resource> environment)
    {
        var inputs = mounts.Where(m => Storage.Holds(m.Name, Root, PodLogs, ContainerRuntime.Root));
        var restart = new Restart(Concern.Kubelet, Unit) { Needs = [stamp], Inputs = [.. RestartOn, .. inputs, .. environment] };
        return [restart, new Service(Concern.Kubelet, Unit) { Needs = [stamp, restart] }];
    }

    private static string CommandLine(NodeConfig config, NodeFacts facts, KubernetesVersion version)
    {
        var flags = new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["config"] = ConfigurationPath,
            ["kubeconfig"] = KubeconfigPath,
            ["hostname-override"] = NodeNames.Of(config, facts),
            ["node-ip"] = facts.Instance.PrivateAddress,
            ["node-labels"] = string.Join(',', Labels(config, facts).Select(l => $"{l.Key}={l.Value}")),
        };
        if (!version.IsAtLeast(1, 27))
        {
            // The default is docker up to 1.23; the flag is gone from 1.27 (kubernetes#114017), which takes the endpoint from the configuration.
            flags["container-runtime"] = "remote";
            flags["container-runtime-endpoint"] = RuntimeEndpoint;
        }

        if (config.Node.Taints.Count > 0)
        {
            flags["register-with-taints"] = string.Join(',', config.Node.Taints.Select(t => $"{t.Key}={t.Value}:{t.Effect}"));
        }

        foreach (var (name, value) in Providers.Flags(config, version))
        {
            flags[name] = value;
        }

        foreach (var (name, value) in config.Kubelet.ExtraArgs)
        {
            flags[name] = value;
        }

        return string.Join(" \\\n  ", flags.Select(f => Quote($"--{f.Key}={f.Value}")).Prepend(config.Kubelet.Binary));
    }

    // What NodeRestriction lets a kubelet say of itself, and a cloud provider would say later.
    private static SortedDictionary<string, string> Labels(NodeConfig config, NodeFacts facts)
    {
        var labels = new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["node.kubernetes.io/instance-type"] = facts.Instance.Type,
            ["topology.kubernetes.io/region"] = facts.Instance.Region,
            ["topology.kubernetes.io/zone"] = facts.Instance.AvailabilityZone,
        };
        foreach (var (key, value) in config.Node.Labels)
        {
            labels[key] = value;
        }

        return labels;
    }

    private static JsonObject Configuration(NodeConfig config, NodeFacts facts, KubernetesVersion version, string serving)
    {
        var maxPods = PodLimit.Of(config, facts);
        var document = new JsonObject
        {
            ["apiVersion"] = "kubelet.config.k8s.io/v1beta1",
            ["kind"] = "KubeletConfiguration",
            ["authentication"] = new JsonObject
            {
                ["anonymous"] = new JsonObject { ["enabled"] = false },
                ["webhook"] = new JsonObject { ["enabled"] = true },
                ["x509"] = new JsonObject { ["clientCAFile"] = Certificates.AuthorityPath },
            },
            ["authorization"] = new JsonObject { ["mode"] = "Webhook" },
            ["cgroupDriver"] = "systemd",
            ["clusterDNS"] = new JsonArray(config.Cluster.DnsAddress ?? config.Cluster.ServiceRange[10].ToString()),
            ["clusterDomain"] = config.Cluster.Domain,
            ["containerLogMaxFiles"] = 5,
            ["containerLogMaxSize"] = "10Mi",
            ["evictionHard"] = new JsonObject
            {
                ["imagefs.available"] = "15%",
                ["memory.available"] = "100Mi",
                ["nodefs.available"] = "10%",
                ["nodefs.inodesFree"] = "5%",
            },
            ["healthzBindAddress"] = HealthEndpoint.Host,
            ["healthzPort"] = HealthEndpoint.Port,
            ["kubeReserved"] = Quantities(config.Kubelet.KubeReserved ?? ReservedResources.Kube(facts.Hardware, maxPods)),
            ["maxPods"] = maxPods,
            ["protectKernelDefaults"] = true,
            ["providerID"] = $"aws:///{facts.Instance.AvailabilityZone}/{facts.Instance.Id}",
            ["readOnlyPort"] = 0,
            ["resolvConf"] = facts.Kernel.SystemdResolved ? "/run/systemd/resolve/resolv.conf" : "/etc/resolv.conf",
            // The agent owns these certificates; two owners of one file fight.
            ["rotateCertificates"] = false,
            ["serializeImagePulls"] = false,
            ["serverTLSBootstrap"] = false,
            ["staticPodPath"] = ManifestDirectory,
            ["tlsCertFile"] = serving,
            ["tlsMinVersion"] = "VersionTLS12",
            ["tlsPrivateKeyFile"] = serving,
        };
        if (config.Kubelet.SystemReserved is { } system)
        {
            document["systemReserved"] = Quantities(system);
        }

        if (version.IsAtLeast(1, 27))
        {
            document["containerRuntimeEndpoint"] = RuntimeEndpoint;
        }

        if (version.IsAtLeast(1, 21))
        {
            // Beta and on by default from 1.21 (KEP-2000); before that the gate is off and the fields do nothing.
            document["shutdownGracePeriod"] = "60s";
            document["shutdownGracePeriodCriticalPods"] = "20s";
        }

        if (Providers.NeedsGate(config, version))
        {
            document["featureGates"] = new JsonObject { ["KubeletCredentialProviders"] = true };
        }

        Merge(document, config.Kubelet.Configuration);
        return document;
    }

    /// <summary>Maps merge, lists replace, null removes.</summary>
    private static void Merge(JsonObject into, JsonElement from)
    {
        foreach (var property in from.EnumerateObject())
        {
            if (property.Value.ValueKind == JsonValueKind.Null)
            {
                into.Remove(property.Name);
            }
            else if (property.Value.ValueKind == JsonValueKind.Object)
            {
                if (into[property.Name] is not JsonObject below)
                {
                    into[property.Name] = below = [];
                }

                Merge(below, property.Value);
            }
            else
            {
                into[property.Name] = JsonNode.Parse(property.Value.GetRawText());
            }
        }
    }

    private static JsonObject Quantities(IReadOnlyDictionary<string, string> quantities) =>
        new(quantities.OrderBy(q => q.Key, StringComparer.Ordinal).Select(q => KeyValuePair.Create<string, JsonNode?>(q.Key, q.Value)));

    /// <summary>systemd.service(5), "Command lines": specifiers, variables, quotes.</summary>
    private static string Quote(string argument)
    {
        var escaped = argument.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)
            .Replace("%", "%%", StringComparison.Ordinal).Replace("$", "$$", StringComparison.Ordinal);
        return escaped.AsSpan().ContainsAny(" '\";") ? $"\"{escaped}\"" : escaped;
    }
}

/// <summary>What pods cannot have of this machine: by its real processors, memory and pods (a fixed table ignores maxPods: awslabs/amazon-eks-ami#1698).</summary>
internal static class ReservedResources
{
    /// <summary>
    /// CPU as GKE and EKS reserve it: 6% of the first core, 1% of the second, 0.5% of the next two, 0.25% of the others. Memory as EKS: 255 MiB and 11 MiB a pod.
    /// Never more than a quarter of what there is, so that small machines stay usable. No ephemeral storage: kubelet refuses to start when the reservation and its
    /// eviction threshold exceed the volume, whose size is not known before it is made; the threshold alone protects it.
    /// </summary>
    public static IReadOnlyDictionary<string, string> Kube(HardwareFacts hardware, int maxPods)
    {
        var tenths = 0;
        for (var core = 0; core < hardware.Processors; core++)
        {
            tenths += core switch { 0 => 600, 1 => 100, 2 or 3 => 50, _ => 25 };
        }

        var mebibytes = Math.Min(255 + (11L * maxPods), hardware.MemoryBytes / 4 / (1 << 20));
        return new Dictionary<string, string>
        {
            ["cpu"] = string.Create(CultureInfo.InvariantCulture, $"{tenths / 10}m"),
            ["memory"] = string.Create(CultureInfo.InvariantCulture, $"{mebibytes}Mi"),
        };
    }
}
