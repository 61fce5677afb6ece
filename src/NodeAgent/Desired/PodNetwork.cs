using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Network;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>The CNI configuration of this node.</summary>
internal static class PodNetwork
{
    /// <summary>Low in name order: runtimes take the first file of the directory.</summary>
    public const string ConfigurationPath = "/etc/cni/net.d/10-nodeagent.conflist";

    /// <param name="source">Asked for the node's range where the configuration does not know it.</param>
    /// <param name="pods">Asked for before a former plugin's network is taken away from under them.</param>
    public static IReadOnlyList<Resource> Build(NodeConfig config, NodeFacts facts, IPodRangeSource source, INodePods pods)
    {
        if (config.Network.Plugin == NetworkPlugin.None)
        {
            // Who does it then is not known, and may be the one before: nothing of anybody's is taken away but our own configuration.
            return
            [
                new Remains(Concern.Network, "of the pod network", [ConfigurationPath], texts => texts.Count == 0 ? []
                    : ["the bridge cni0, its address and its rules stay until the next boot, or until its last pod is gone and: ip link delete cni0"]),
                FormerNetwork.Build(config, pods, []),
            ];
        }

        if (config.Network.Plugin == NetworkPlugin.VpcRoutes)
        {
            return VpcRoutes(config, facts, source, pods);
        }

        var former = FormerNetwork.Build(config, pods, []);
        if (config.Network.Plugin != NetworkPlugin.Bridge)
        {
            // Where the agent writes no configuration that would say it.
            var record = new ConfigFile(Concern.Network, FormerNetwork.RecordPath, PluginLeftovers.Record([ConfigValidation.Word(config.Network.Plugin)]))
            {
                Needs = [former],
            };
            return [former, .. Host(config.Network, former), record];
        }

        var range = config.Network.PodRange ?? throw new NotPossibleException("network.podRange is needed by network.plugin: bridge");
        // Without it, or with another range, no pod starts that has a network of its own, or only in two ranges.
        return
        [
            former,
            FormerNetwork.RecordEnds(former),
            new ConfigFile(Concern.Network, ConfigurationPath, List(config, range.ToString(), range.IsIPv6, translates: true))
            {
                Disruption = Disruption.RecreatesPods,
                Needs = [former],
            },
        ];
    }

    /// <summary>
    /// What the host brings for a plugin that pods of the cluster set up. Nothing waits for those: they are pods themselves, and come after kubelet.
    /// /sys/fs/bpf, which Cilium keeps its maps in, is systemd's from 238 on, which takes no mount unit for it (systemd#8205, cilium#10955), and before that
    /// Cilium's own from 1.11 on (cilium#16656).
    /// </summary>
    private static IReadOnlyList<Resource> Host(NetworkConfig network, PluginLeftovers former) =>
    [
        new DirectoryResource(Concern.Network, network.PluginBinaries, DirectoryResource.Searchable),
        new DirectoryResource(Concern.Network, CniSurroundings.Directory, DirectoryResource.Searchable),
        .. network.Plugin == NetworkPlugin.Cilium ? (Resource[])[RpFilter()] : [],
        // Flannel's image has flannel alone (flannel#890, #1730); the others' bring what they call.
        new CniSurroundings(
            ConfigValidation.Word(network.Plugin),
            network.PluginBinaries,
            network.Plugin == NetworkPlugin.Flannel ? ["bridge", "host-local", "loopback", "portmap"] : [],
            former),
    ];

    /// <summary>
    /// From 245 on systemd gives each new interface rp_filter 2, by patterns, and pods of Cilium reach nobody outside of their node (cilium#10645). Cilium
    /// writes this itself from 1.12 on (cilium#20072), as 99-zzz-override_cilium.conf. For interfaces to come: there are none before Cilium.
    /// </summary>
    private static ConfigFile RpFilter() =>
        new(
            Concern.Kernel,
            "/etc/sysctl.d/96-nodeagent-cilium.conf",
            string.Concat([Ownership.Header, "\n", .. SysctlPatterns(NetworkPlugin.Cilium).Select(p => p + " = 0\n")]));

    /// <summary>Keys with a star, which sysctl.d knows and the kernel does not.</summary>
    public static IReadOnlyList<string> SysctlPatterns(NetworkPlugin plugin) =>
        plugin == NetworkPlugin.Cilium ? ["net.ipv4.conf.lxc*.rp_filter", "net.ipv4.conf.cilium_*.rp_filter"] : [];

    /// <summary>
    /// Values that the plugin needs in the running kernel; the configuration's own win. The greater of an interface's rp_filter and that of all counts: Cilium
    /// wants 0 (cilium#20072), and Felix before Calico 3.13 does not start where that of all is 2, as systemd had it for a while (felix#1322, #2082,
    /// libcalico-go#1181).
    /// </summary>
    public static IReadOnlyDictionary<string, string> Sysctls(NetworkPlugin plugin) =>
        plugin is NetworkPlugin.Cilium or NetworkPlugin.Calico
            ? new Dictionary<string, string> { ["net.ipv4.conf.all.rp_filter"] = "0" }
            : new Dictionary<string, string>();

    private static IReadOnlyList<Resource> VpcRoutes(NodeConfig config, NodeFacts facts, IPodRangeSource source, INodePods pods)
    {
        var whole = config.Cluster.PodRange ?? throw new NotPossibleException("cluster.podRange is needed by network.plugin: vpc-routes");
        var range = new PodRange(facts.Instance.Id, whole, config.Network.NodePrefix, config.Network.PodRange, source);
        var former = FormerNetwork.Build(config, pods, [range]);
        return
        [
            range,
            former,
            FormerNetwork.RecordEnds(former),
            new PodNetworkFile(ConfigurationPath, range, text => List(config, text, isIPv6: false, translates: false)) { Needs = [range, former] },
            new EgressTranslation(config.Network.Egress?.Translate == false ? null : Translation(config, whole, VpcRanges(facts))),
        ];
    }

    /// <summary>Whom pods call by their own address: each other, services, and the VPC, whose route tables know the way back.</summary>
    private static IReadOnlyList<string> Translation(NodeConfig config, Cidr pods, IReadOnlyList<Cidr> vpc) =>
    [
        $"ip saddr != {Match(pods)} return",
        // The VPC's resolver, at its base plus two, is no host of it that has routes.
        .. vpc.Where(r => r.Size > 2).Select(r => $"ip daddr {r[2]} masquerade"),
        .. ((Cidr[])[pods, config.Cluster.ServiceRange, .. vpc, .. config.Network.Egress?.Except ?? []])
            .Where(r => !r.IsIPv6).Distinct().Select(r => $"ip daddr {Match(r)} return"),
        "masquerade",
    ];

    // As nft prints it.
    private static string Match(Cidr range) => range.Prefix == 32 ? range.Address.ToString() : range.ToString();

    private static IReadOnlyList<Cidr> VpcRanges(NodeFacts facts)
    {
        var first = facts.Instance.Interfaces.FirstOrDefault(i => i.DeviceNumber == 0);
        return [.. (first?.VpcRanges ?? (first?.SubnetRange is { } subnet ? [subnet] : [])).Select(Cidr.Parse)];
    }

    private static string List(NodeConfig config, string range, bool isIPv6, bool translates)
    {
        var bridge = new JsonObject
        {
            ["type"] = "bridge",
            ["bridge"] = "cni0",
            ["isGateway"] = true,
            ["ipMasq"] = translates,
            ["hairpinMode"] = true,
            ["ipam"] = new JsonObject
            {
                ["type"] = "host-local",
                ["ranges"] = new JsonArray(new JsonArray(new JsonObject { ["subnet"] = range })),
                ["routes"] = new JsonArray(new JsonObject { ["dst"] = isIPv6 ? "::/0" : "0.0.0.0/0" }),
                // Beside the containers, so that both are lost together: leases that outlive their containers are never given back
                // (containernetworking/plugins#697).
                ["dataDir"] = $"{config.RuntimeRoot()}/io.nodeagent.cni",
            },
        };
        if (config.Network.Mtu is { } mtu)
        {
            bridge.Insert(bridge.IndexOf("ipam"), "mtu", mtu);
        }

        return Documents.Json(new JsonObject
        {
            ["cniVersion"] = "0.4.0",
            ["name"] = "nodeagent",
            ["plugins"] = new JsonArray(
                bridge, new JsonObject { ["type"] = "portmap", ["capabilities"] = new JsonObject { ["portMappings"] = true } }),
        });
    }
}
