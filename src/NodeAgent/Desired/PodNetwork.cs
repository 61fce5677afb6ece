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
    public static IReadOnlyList<Resource> Build(NodeConfig config, NodeFacts facts, IPodRangeSource source)
    {
        if (config.Network.Plugin == NetworkPlugin.VpcRoutes)
        {
            return VpcRoutes(config, facts, source);
        }

        if (config.Network.Plugin == NetworkPlugin.None)
        {
            return
            [
                new Remains(Concern.Network, "of the pod network", [ConfigurationPath], texts => texts.Count == 0 ? []
                    : ["the bridge cni0, its address and its rules stay until the next boot, or until its last pod is gone and: ip link delete cni0"]),
            ];
        }

        var range = config.Network.PodRange ?? throw new NotPossibleException("network.podRange is needed by network.plugin: bridge");
        // Without it, or with another range, no pod starts that has a network of its own, or only in two ranges.
        return
        [
            new ConfigFile(Concern.Network, ConfigurationPath, List(config, range.ToString(), range.IsIPv6, translates: true))
            {
                Disruption = Disruption.RecreatesPods,
            },
        ];
    }

    private static IReadOnlyList<Resource> VpcRoutes(NodeConfig config, NodeFacts facts, IPodRangeSource source)
    {
        var whole = config.Cluster.PodRange ?? throw new NotPossibleException("cluster.podRange is needed by network.plugin: vpc-routes");
        var range = new PodRange(facts.Instance.Id, whole, config.Network.NodePrefix, config.Network.PodRange, source);
        return
        [
            range,
            new PodNetworkFile(ConfigurationPath, range, text => List(config, text, isIPv6: false, translates: false)) { Needs = [range] },
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
