using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>The CNI configuration of this node.</summary>
internal static class PodNetwork
{
    /// <summary>Low in name order: runtimes take the first file of the directory.</summary>
    public const string ConfigurationPath = "/etc/cni/net.d/10-nodeagent.conflist";

    public static IReadOnlyList<Resource> Build(NodeConfig config)
    {
        if (config.Network.Plugin == NetworkPlugin.None)
        {
            return
            [
                new Remains(Concern.Network, "of the pod network", [ConfigurationPath], texts => texts.Count == 0 ? []
                    : ["the bridge cni0, its address and its rules stay until the next boot, or until its last pod is gone and: ip link delete cni0"]),
            ];
        }

        var range = config.Network.PodRange ?? throw new NotPossibleException("network.podRange is needed by network.plugin: bridge");
        var list = new JsonObject
        {
            ["cniVersion"] = "0.4.0",
            ["name"] = "nodeagent",
            ["plugins"] = new JsonArray(
                new JsonObject
                {
                    ["type"] = "bridge",
                    ["bridge"] = "cni0",
                    ["isGateway"] = true,
                    ["ipMasq"] = true,
                    ["hairpinMode"] = true,
                    ["ipam"] = new JsonObject
                    {
                        ["type"] = "host-local",
                        ["ranges"] = new JsonArray(new JsonArray(new JsonObject { ["subnet"] = range.ToString() })),
                        ["routes"] = new JsonArray(new JsonObject { ["dst"] = range.IsIPv6 ? "::/0" : "0.0.0.0/0" }),
                        // Beside the containers, so that both are lost together: leases that outlive their containers are never given back (containernetworking/plugins#697).
                        ["dataDir"] = $"{config.RuntimeRoot()}/io.nodeagent.cni",
                    },
                },
                new JsonObject { ["type"] = "portmap", ["capabilities"] = new JsonObject { ["portMappings"] = true } }),
        };
        // Without it, or with another range, no pod starts that has a network of its own, or only in two ranges.
        return [new ConfigFile(Concern.Network, ConfigurationPath, Documents.Json(list)) { Disruption = Disruption.RecreatesPods }];
    }
}
