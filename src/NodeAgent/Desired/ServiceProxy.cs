using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>kube-proxy as a static pod, with its configuration and kubeconfig.</summary>
internal static class ServiceProxy
{
    public const string Role = "kube-proxy";

    public const string Directory = "/etc/kubernetes/kube-proxy";

    public const string ManifestPath = Kubelet.ManifestDirectory + "/kube-proxy.yaml";

    private const string ConfigurationPath = Directory + "/config.yaml";

    private const string KubeconfigPath = Directory + "/kubeconfig";

    private const string DefaultScheduler = "rr";

    /// <summary>All that it reads, in the order in which it is made, its pod's manifest last.</summary>
    public static IReadOnlyList<string> Files => [Certificates.PathOf(Role), KubeconfigPath, ConfigurationPath, ManifestPath];

    /// <summary>
    /// Without one of those of IPVS a kube-proxy before 1.26 says nothing and becomes one of iptables (CanUseIPVSProxier in pkg/proxy/ipvs/proxier.go@1.20.2);
    /// ip_set and xt_set are for its rules, dummy for its interface. So they are made sure of before another mode's rules go.
    /// </summary>
    public static IReadOnlyList<string> Modules(NodeConfig config, NodeFacts facts) => config.KubeProxy.Mode switch
    {
        ProxyMode.None => [],
        ProxyMode.Iptables => ["nf_conntrack"],
        ProxyMode.Nftables => ["nf_conntrack", "nf_tables"],
        _ =>
        [
            "dummy", "ip_set", "ip_vs", "ip_vs_rr", "ip_vs_sh", "ip_vs_wrr", $"ip_vs_{config.KubeProxy.Ipvs?.Scheduler ?? DefaultScheduler}",
            // One module for both families from Linux 4.19 on (GetRequiredIPVSModules in pkg/util/ipvs/ipvs.go@1.20.2).
            IsAtLeast(facts, 4, 19) ? "nf_conntrack" : "nf_conntrack_ipv4", "xt_set",
        ],
    };

    /// <summary>
    /// What kube-proxy itself sets as it starts (NewProxier in pkg/proxy/ipvs/proxier.go@1.20.2, and after 1.34), so that drift from it is seen.
    /// </summary>
    public static IEnumerable<(string Name, string Value)> Sysctls(NodeConfig config, NodeFacts facts)
    {
        if (config.KubeProxy.Mode != ProxyMode.Ipvs)
        {
            yield break;
        }

        // Before 4.1 there is none, and from 5.9 on the kernel does right without (kubernetes#93297).
        if (IsAtLeast(facts, 4, 1) && !IsAtLeast(facts, 5, 9))
        {
            yield return ("net.ipv4.vs.conn_reuse_mode", "0");
        }

        yield return ("net.ipv4.vs.conntrack", "1");
        yield return ("net.ipv4.vs.expire_nodest_conn", "1");
        yield return ("net.ipv4.vs.expire_quiescent_template", "1");
        if (config.KubeProxy.Ipvs?.StrictArp == true)
        {
            yield return ("net.ipv4.conf.all.arp_ignore", "1");
            yield return ("net.ipv4.conf.all.arp_announce", "2");
        }
    }

    /// <param name="kernel">Modules and sysctls, which hold before another mode's rules go.</param>
    /// <exception cref="NotPossibleException">This kube-proxy has no such mode, or not on this kernel.</exception>
    public static IReadOnlyList<Resource> Build(
        NodeConfig config, NodeFacts facts, Certificates certificates, IReadOnlyList<Resource> kernel, ContainerRuntime runtime, INodePods pods)
    {
        Check(config, facts);
        var wanted = Modules(config, facts).ToHashSet(StringComparer.Ordinal);
        var leftovers = new ProxyLeftovers(
            ProxyModes.Of(config.KubeProxy.Mode),
            Traces(config.KubeProxy.Mode, KubernetesVersion.Parse(facts.Versions.Kubelet)),
            new(
                ManifestPath,
                ConfigurationPath,
                config.Cluster.ServiceRange,
                config.KubeProxy.Ipvs?.ExcludeCidrs ?? [],
                BootGate.StampPath,
                [Kubelet.Unit, .. runtime.Services.Select(s => s.Unit)]),
            config.KubeProxy.Change,
            pods)
        { Needs = [.. kernel.Where(r => r is KernelModule && wanted.Contains(r.Name))] };
        if (config.KubeProxy.Mode == ProxyMode.None)
        {
            return [leftovers];
        }

        var certificate = certificates.ByRole[Role];
        var kubeconfig = new ConfigFile(
            Concern.StaticPods,
            KubeconfigPath,
            Ownership.Header + "\n"
                + Kubeconfig.Render(config.Cluster.Name, ControlPlanePods.Server(config), config.Cluster.CertificateAuthority, Role, certificate.Name));
        // A kube-proxy that runs ends when it changes, and comes back with it: not before the other mode is gone.
        var configuration = new ConfigFile(Concern.StaticPods, ConfigurationPath, Documents.Yaml(Configuration(config, facts, kubeconfig.Name)))
        {
            Needs = [leftovers],
        };
        var pod = Pod(config, facts, certificate.Name);
        return
        [
            leftovers,
            kubeconfig,
            configuration,
            new ConfigFile(Concern.StaticPods, ManifestPath, Documents.Yaml(pod.Manifest(Digest(kubeconfig.Content, configuration.Content))))
            {
                Disruption = Disruption.RecreatesPods,
                Needs = [certificate, kubeconfig, configuration, leftovers],
            },
        ];
    }

    /// <summary>
    /// Where none is wanted any more, what it reads: not before policy lets it end. Without these, a kube-proxy that is to go on ends, or starts no more, and
    /// nothing says that there was one.
    /// </summary>
    /// <param name="proxy">As <see cref="Build"/> made it.</param>
    public static IReadOnlyList<Resource> Remains(NodeConfig config, IReadOnlyList<Resource> proxy) => config.KubeProxy.Mode != ProxyMode.None ? []
        : [new Leftovers("files of kube-proxy", [Directory, Kubelet.ManifestDirectory], new HashSet<string>())
        {
            Only = Files.ToHashSet(StringComparer.Ordinal),
            Keys = [Certificates.PathOf(Role)],
            Costs = path => path == ManifestPath ? Disruption.RecreatesPods : Disruption.None,
            Needs = proxy,
        }];

    /// <summary>What would end in a kube-proxy that does not start, or that silently becomes another one.</summary>
    private static void Check(NodeConfig config, NodeFacts facts)
    {
        var version = KubernetesVersion.Of(config.KubeProxy.Image, facts.Versions.Kubelet);
        var release = ReleaseNumber.Parse(facts.Kernel.Release);
        var why = config.KubeProxy.Mode switch
        {
            // KEP-3866: alpha in 1.29 and 1.30, on by default from 1.31.
            ProxyMode.Nftables when version?.IsAtLeast(1, 31) == false =>
                $"kube-proxy {version} has no mode nftables that is on by default (from 1.31, KEP-3866); install kubelet 1.31 or later, or say "
                    + "kubeProxy.mode: iptables",
            // pkg/proxy/nftables/supported.go@1.33; kubernetes#122743.
            ProxyMode.Nftables when release is not null && !IsAtLeast(facts, 5, 13) =>
                $"kube-proxy in mode nftables does not start on Linux {facts.Kernel.Release}, only on 5.13 and later (kubernetes#122743); boot a newer "
                    + "kernel, or say kubeProxy.mode: iptables",
            // KEP-5495.
            ProxyMode.Ipvs when version?.IsAtLeast(1, 43) == true =>
                $"kube-proxy {version} has no mode ipvs any more (gone in 1.43, KEP-5495); say kubeProxy.mode: nftables",
            ProxyMode.Ipvs when version?.IsAtLeast(1, 40) == true =>
                $"kube-proxy {version} has mode ipvs turned off (from 1.40, KEP-5495); say kubeProxy.mode: nftables",
            _ => null,
        };
        if (why is not null)
        {
            throw new NotPossibleException(why) { IsRefusal = true };
        }
    }

    // A kernel whose name says nothing is taken for a new one.
    private static bool IsAtLeast(NodeFacts facts, int major, int minor) =>
        ReleaseNumber.Parse(facts.Kernel.Release) is not { } release || (release.Major, release.Minor).CompareTo((major, minor)) >= 0;

    internal static ProxyTraces Traces(ProxyMode mode, KubernetesVersion? kubelet)
    {
        var kinds = mode switch
        {
            ProxyMode.Iptables => ProxyKinds.Iptables,
            ProxyMode.Ipvs => ProxyKinds.Ipvs,
            ProxyMode.Nftables => ProxyKinds.Nftables,
            _ => ProxyKinds.None,
        };
        return new()
        {
            Chains =
                [.. ProxyNames.Chains.Select(c => new ProxyTrace(c.Table, c.Name, c.IsHashed, (c.Kinds & kinds) != 0, ProxyNames.IsKubeletsToo(c, kubelet)))],
            Sets = ProxyNames.Sets,
            NodePortSets = ProxyNames.NodePortSets,
            Interface = ProxyNames.Interface,
            NftTable = ProxyNames.NftTable,
            IsIpvs = mode == ProxyMode.Ipvs,
            IsNftables = mode == ProxyMode.Nftables,
        };
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
            ["mode"] = ProxyModes.Of(config.KubeProxy.Mode),
        };
        if (config.Cluster.PodRange is { } pods)
        {
            document["clusterCIDR"] = pods.ToString();
        }

        var proxy = config.KubeProxy;
        if (proxy.NodePortAddresses.Count > 0)
        {
            document["nodePortAddresses"] = new JsonArray([.. proxy.NodePortAddresses.Select(r => (JsonNode)r.ToString())]);
        }

        var rules = new JsonObject();
        Set(rules, "syncPeriod", proxy.SyncPeriod);
        Set(rules, "minSyncPeriod", proxy.MinSyncPeriod);
        if (proxy.Mode == ProxyMode.Ipvs)
        {
            rules["scheduler"] = proxy.Ipvs?.Scheduler ?? DefaultScheduler;
            rules["strictARP"] = proxy.Ipvs?.StrictArp ?? false;
            if (proxy.Ipvs?.ExcludeCidrs is { Count: > 0 } excluded)
            {
                rules["excludeCIDRs"] = new JsonArray([.. excluded.Select(r => (JsonNode)r.ToString())]);
            }

            Set(rules, "tcpTimeout", proxy.Ipvs?.TcpTimeout);
            Set(rules, "tcpFinTimeout", proxy.Ipvs?.TcpFinTimeout);
            Set(rules, "udpTimeout", proxy.Ipvs?.UdpTimeout);
        }

        if (proxy.MasqueradeAll is { } all && proxy.Mode == ProxyMode.Ipvs)
        {
            // IPVS takes this one from the section of iptables, whose rules it has beside its own.
            document["iptables"] = new JsonObject { ["masqueradeAll"] = all };
        }
        else if (proxy.MasqueradeAll is { } alone)
        {
            rules["masqueradeAll"] = alone;
        }

        if (rules.Count > 0)
        {
            document[ProxyModes.Of(proxy.Mode)] = rules;
        }

        if (proxy.Conntrack is { } conntrack)
        {
            var section = new JsonObject();
            if (conntrack.MaxPerCore is { } most)
            {
                section["maxPerCore"] = most;
            }

            if (conntrack.Min is { } least)
            {
                section["min"] = least;
            }

            Set(section, "tcpEstablishedTimeout", conntrack.TcpEstablishedTimeout);
            Set(section, "tcpCloseWaitTimeout", conntrack.TcpCloseWaitTimeout);
            document["conntrack"] = section;
        }

        return document;
    }

    private static void Set(JsonObject section, string field, Duration? value)
    {
        if (value is { } duration)
        {
            section[field] = string.Create(CultureInfo.InvariantCulture, $"{(long)duration.Value.TotalSeconds}s");
        }
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
