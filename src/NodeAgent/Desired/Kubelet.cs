using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>kubelet: its KubeletConfiguration, its kubeconfig, and a drop-in with the few flags that the configuration file cannot say.</summary>
internal sealed record Kubelet(IReadOnlyList<Resource> Files, IReadOnlyList<Resource> UnitFiles, IReadOnlyList<Resource> RestartOn, ContainerRuntime Runtime)
{
    public const string Unit = "kubelet.service";

    public const string ReadyUnit = "nodeagent-ready.service";

    public const string Root = "/var/lib/kubelet";

    public const string PodLogs = "/var/log/pods";

    public const string ManifestDirectory = "/etc/kubernetes/manifests";

    public const string KubeconfigPath = "/etc/kubernetes/kubelet.conf";

    /// <summary>healthzBindAddress and healthzPort below.</summary>
    public static readonly Uri HealthEndpoint = new("http://127.0.0.1:10248/healthz");

    private const string ConfigurationPath = "/etc/kubernetes/kubelet.yaml";

    /// <summary>What was allowed by name and is not known to work.</summary>
    public IReadOnlyList<string> Warnings { get; private init; } = [];

    public static Kubelet Build(NodeConfig config, NodeFacts facts, Storage storage, Certificates certificates, ContainerRuntime runtime)
    {
        if (facts.Versions.Kubelet is not { } text)
        {
            throw new NotPossibleException($"there is no kubelet at {config.Kubelet.Binary}; install it in the image, or name it in kubelet.binary");
        }

        var version = KubernetesVersion.Parse(text)
            ?? throw new NotPossibleException($"{config.Kubelet.Binary} says its version is '{text}', which is not a Kubernetes version");
        var kubelet = Row(config, version);
        var (server, warnings) = Surroundings(config, facts, kubelet);
        Refuse(config, kubelet, warnings);
        var client = certificates.ByRole["kubelet-client"];
        var serving = certificates.ByRole["kubelet-serving"];
        var kubeconfig = new ConfigFile(
            Concern.Kubelet,
            KubeconfigPath,
            Ownership.Header + "\n"
                + Kubeconfig.Render(config.Cluster.Name, ControlPlanePods.Server(config), config.Cluster.CertificateAuthority, "kubelet", client.Name));
        // Null where kubelet talks to Docker by itself.
        var endpoint = server == CriServer.Dockershim ? null : $"unix://{runtime.Socket}";
        var services = string.Join(' ', runtime.Services.Select(r => r.Unit));
        var configuration = new ConfigFile(Concern.Kubelet, ConfigurationPath, Documents.Yaml(Configuration(config, facts, kubelet, endpoint, serving.Name)));
        var dropIn = new ConfigFile(Concern.Kubelet, $"/etc/systemd/system/{Unit}.d/50-nodeagent.conf", $"""
            {Ownership.Header}
            [Unit]
            Wants={services} {ContainerRuntime.ImagesUnit}
            After={services} {ContainerRuntime.ImagesUnit}
            {storage.RequiresMountsFor([Root, PodLogs, runtime.Root, .. ControlPlanePods.RunHere(config) ? [config.Etcd.DataDirectory] : Array.Empty<string>()])}
            [Service]{HttpProxy.ServiceLines(config)}{DockershimEnvironment(config, facts, server)}
            ExecStart=
            ExecStart={CommandLine(config, facts, kubelet, server, endpoint)}
            Restart=always
            RestartSec=5
            # A static pod's containers are not kubelet's children; a restart must not take them along.
            KillMode=process

            """);
        var otherSocket = runtime.Socket == Containerd.Socket ? "" : $" --runtime-socket {runtime.Socket}";
        var ready = new ConfigFile(Concern.Kubelet, $"/etc/systemd/system/{ReadyUnit}.d/50-nodeagent.conf", $"""
            {Ownership.Header}
            [Service]{Lifecycle.ReadyLines(config, facts)}
            ExecStart=
            ExecStart=/usr/bin/nodeagent ready --deadline {config.Node.Readiness.Timeout}{otherSocket}{Lifecycle.ReadyArguments(config, facts)}{(config.Node.Readiness.Gate == ReadinessGate.Ready && !Lifecycle.IsWarm(facts)
                ? $" --gate ready --node {Quote(NodeNames.Of(config, facts))} --server {Quote(ControlPlanePods.Server(config).ToString())}"
                : "")}

            """);
        var providers = Providers.Files(config, version);
        return new Kubelet(
            [
                Registration.Remains(NodeNames.Of(config, facts), dropIn, configuration),
                new DirectoryResource(Concern.Kubelet, ManifestDirectory, DirectoryResource.Searchable),
                kubeconfig, configuration, .. providers,
            ],
            [dropIn, ready],
            // client-go reads a renewed client certificate by itself.
            [certificates.Authority, kubeconfig, configuration, dropIn, .. providers,
                .. KubeletVersions.ReloadsServingCertificate.In(kubelet) ? Array.Empty<Resource>() : [serving]],
            runtime)
        {
            Warnings = warnings,
        };
    }

    /// <param name="environment">What it reads when it starts and others look after: proxy, certificates.</param>
    /// <param name="leftDropIns">Drop-ins of a unit that nothing wants any more.</param>
    public IReadOnlyList<Resource> Running(
        Resource stamp, IReadOnlyList<Resource> mounts, IReadOnlyList<Resource> environment, Func<string, Resource> leftDropIns)
    {
        var inputs = mounts.Where(m => Storage.Holds(m.Name, Root, PodLogs, Runtime.Root));
        var restart = new Restart(Concern.Kubelet, Unit) { Needs = [stamp], Inputs = [.. RestartOn, .. inputs, .. environment, leftDropIns(Unit)] };
        return [restart, new Service(Concern.Kubelet, Unit) { Needs = [stamp, restart] }];
    }

    /// <summary>The table's row of this version, or the nearest one where the configuration allows the version by name.</summary>
    private static KubeletVersion Row(NodeConfig config, KubernetesVersion version) =>
        KubeletVersions.Find(version)
        ?? (IsNewer(version) && IsAllowed(config, version)
            ? KubeletVersions.Nearest(version)
            : throw new ConfigurationException(new ConfigError(
                null,
                "kubelet.allowUnlisted",
                $"{config.Kubelet.Binary} is kubelet {version}, which is not in the table of versions, {KubeletVersions.Oldest.Version} to "
                + $"{KubeletVersions.Newest.Version}; "
                + $"install one of these{(IsNewer(version) ? $", or say kubelet.allowUnlisted: \"{version}\" to run it all the same" : "")}")));

    // Older ones had flags that the table does not tell of.
    private static bool IsNewer(KubernetesVersion version) => version.Major == 1 && version.CompareTo(KubeletVersions.Newest.Version) > 0;

    private static bool IsAllowed(NodeConfig config, KubernetesVersion version) => config.Kubelet.AllowUnlisted == version.ToString();

    private static (CriServer Server, List<string> Warnings) Surroundings(NodeConfig config, NodeFacts facts, KubeletVersion kubelet)
    {
        var warnings = new List<string>();
        var server = config.Runtime != ContainerRuntimeKind.Docker ? CriServer.Containerd : kubelet.Dockershim ? CriServer.Dockershim : CriServer.CriDockerd;
        var version = server switch { CriServer.Containerd => facts.Versions.Containerd, CriServer.CriDockerd => facts.Versions.CriDockerd, _ => null };
        if (server == CriServer.CriDockerd && version is null)
        {
            throw new NotPossibleException(
                $"kubelet {kubelet.Version} cannot drive Docker (dockershim was removed in 1.24, kubernetes#97252), and there is no "
                + $"{config.Docker.CriDockerd}: "
                + "install cri-dockerd in the image, say in docker.criDockerd where it is, or say runtime: containerd");
        }

        if (KubeletVersions.Find(kubelet.Version) is null)
        {
            warnings.Add(
                $"kubelet {kubelet.Version} is not in the table of versions; it is treated as the newest that is, since kubelet.allowUnlisted names it");
        }

        var cgroupV1 = (config.Kubelet.Configuration.TryGetProperty("failCgroupV1", out var fail) && fail.ValueKind == JsonValueKind.False)
            || (config.Kubelet.ExtraArgs.TryGetValue("fail-cgroupv1", out var flag) && flag == "false");
        return Compatibility.Refusal(new(kubelet, server, version, facts.Kernel.CgroupVersion, cgroupV1)) is { } why
            ? throw new NotPossibleException(why)
            : (server, warnings);
    }

    /// <summary>Flags and fields of the configuration that this kubelet does not know: on a flag it would not start, a field it would pass over.</summary>
    private static void Refuse(NodeConfig config, KubeletVersion kubelet, List<string> warnings)
    {
        var errors = new List<ConfigError>();
        foreach (var flag in config.Kubelet.ExtraArgs.Keys.Order(StringComparer.Ordinal))
        {
            Check("kubelet.extraArgs", flag, KubeletNames.Flags);
        }

        // Null removes, whatever it is.
        foreach (var field in config.Kubelet.Configuration.EnumerateObject())
        {
            if (field.Value.ValueKind == JsonValueKind.Null || field.Name is "kind" or "apiVersion")
            {
                continue;
            }

            Check("kubelet.configuration", field.Name, KubeletNames.Fields);
        }

        ConfigurationException.ThrowIfAny(errors);

        void Check(string map, string name, VersionedNames names)
        {
            if (names.Objection(name, kubelet) is not { } objection)
            {
                return;
            }

            if (IsAllowed(config, kubelet.Version))
            {
                warnings.Add($"{map}.{name}: {objection}; passed on, since kubelet.allowUnlisted names {kubelet.Version}");
            }
            else
            {
                errors.Add(new(null, $"{map}.{name}", $"{objection}; if that is a mistake of the table, say kubelet.allowUnlisted: \"{kubelet.Version}\""));
            }
        }
    }

    private static string DockershimEnvironment(NodeConfig config, NodeFacts facts, CriServer server) =>
        server == CriServer.Dockershim && Docker.DockershimApiVersion(config, facts) is { } api ? $"\nEnvironment=DOCKER_API_VERSION={api}" : "";

    private static string CommandLine(NodeConfig config, NodeFacts facts, KubeletVersion kubelet, CriServer server, string? endpoint)
    {
        var flags = new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["config"] = ConfigurationPath,
            ["kubeconfig"] = KubeconfigPath,
            ["hostname-override"] = NodeNames.Of(config, facts),
            ["node-ip"] = facts.Instance.PrivateAddress,
            ["node-labels"] = string.Join(',', Labels(config, facts).Select(l => $"{l.Key}={l.Value}")),
        };
        if (KubeletNames.Flags.Has("container-runtime", kubelet))
        {
            // The default is docker up to 1.23.
            flags["container-runtime"] = server == CriServer.Dockershim ? "docker" : "remote";
        }

        if (endpoint is not null && !KubeletNames.Fields.Has("containerRuntimeEndpoint", kubelet))
        {
            flags["container-runtime-endpoint"] = endpoint;
        }

        if (server == CriServer.Dockershim)
        {
            flags["network-plugin"] = "cni";
            flags["cni-conf-dir"] = "/etc/cni/net.d";
            flags["cni-bin-dir"] = config.Network.PluginBinaries;
            if (Docker.DockershimApiVersion(config, facts) is not null)
            {
                // Only without an endpoint does it look at its environment (pkg/kubelet/dockershim/libdocker/client.go in 1.20).
                flags["docker-endpoint"] = "";
            }
        }

        if (!KubeletVersions.SandboxImageFromCri.In(kubelet))
        {
            // dockershim starts this one; of a runtime's own, kubelet's image collection must keep its hands off.
            flags["pod-infra-container-image"] = config.Containerd.SandboxImage;
        }

        var taints = ControlPlanePods.Taints(config);
        if (taints.Count > 0 && !KubeletNames.Fields.Has("registerWithTaints", kubelet))
        {
            flags["register-with-taints"] = string.Join(',', taints.Select(t => $"{t.Key}={t.Value}:{t.Effect}"));
        }

        foreach (var (name, value) in Providers.Flags(config, kubelet.Version))
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

    private static JsonObject Configuration(NodeConfig config, NodeFacts facts, KubeletVersion kubelet, string? endpoint, string serving)
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

        if (endpoint is not null && KubeletNames.Fields.Has("containerRuntimeEndpoint", kubelet))
        {
            document["containerRuntimeEndpoint"] = endpoint;
        }

        var taints = ControlPlanePods.Taints(config);
        if (taints.Count > 0 && KubeletNames.Fields.Has("registerWithTaints", kubelet))
        {
            document["registerWithTaints"] = new JsonArray([.. taints.Select(t => (JsonNode)new JsonObject
            {
                ["effect"] = t.Effect.ToString(),
                ["key"] = t.Key,
                ["value"] = t.Value ?? "",
            })]);
        }

        if (KubeletVersions.GracefulShutdown.In(kubelet))
        {
            document["shutdownGracePeriod"] = "60s";
            document["shutdownGracePeriodCriticalPods"] = "20s";
        }

        if (Providers.NeedsGate(config, kubelet.Version))
        {
            document["featureGates"] = new JsonObject { ["KubeletCredentialProviders"] = true };
        }

        Merge(document, config.Kubelet.Configuration);
        return document;
    }

    /// <summary>Maps merge, lists replace, null removes.</summary>
    internal static void Merge(JsonObject into, JsonElement from)
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
    internal static string Quote(string argument)
    {
        var escaped = argument.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)
            .Replace("%", "%%", StringComparison.Ordinal).Replace("$", "$$", StringComparison.Ordinal);
        return escaped.AsSpan().ContainsAny(" '\";") ? $"\"{escaped}\"" : escaped;
    }

    /// <summary>What <see cref="Quote"/> made it from.</summary>
    internal static string Unquote(string argument)
    {
        if (argument is ['"', .., '"'])
        {
            argument = argument[1..^1];
        }

        var text = new StringBuilder();
        for (var i = 0; i < argument.Length; i++)
        {
            // Each of these stands for the one that follows.
            i += argument[i] is '\\' or '%' or '$' && i + 1 < argument.Length ? 1 : 0;
            text.Append(argument[i]);
        }

        return text.ToString();
    }
}

/// <summary>
/// What pods cannot have of this machine: by its real processors, memory and pods (a fixed table ignores maxPods: awslabs/amazon-eks-ami#1698).
/// </summary>
internal static class ReservedResources
{
    /// <summary>
    /// CPU as GKE and EKS reserve it: 6% of the first core, 1% of the second, 0.5% of the next two, 0.25% of the others. Memory as EKS: 255 MiB and 11 MiB a
    /// pod. Never more than a quarter of what there is, so that small machines stay usable. No ephemeral storage: kubelet refuses to start when the reservation
    /// and its eviction threshold exceed the volume, whose size is not known before it is made; the threshold alone protects it.
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
