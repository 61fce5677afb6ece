using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// Keeps systemd-networkd's hands off what the pods' network makes. It takes routes and rules that it does not know for leftovers and removes them
/// (networkd.conf(5), ManageForeignRoutes=), and images whose .network file says Name=en* have it configure the VPC CNI's eni... links, too.
/// </summary>
internal static class Networkd
{
    public const string SettingsPath = "/etc/systemd/networkd.conf.d/50-nodeagent.conf";

    // Before any other: the first file that matches a link is the one (systemd.network(5)).
    public const string LinksPath = "/etc/systemd/network/05-nodeagent-pods.network";

    public static IReadOnlyList<Resource> Build(NodeConfig config, NodeFacts facts)
    {
        if (facts.Kernel.SystemdNetworkd != true)
        {
            return [];
        }

        ConfigFile[] files = !config.Network.RestrainNetworkd ? [] :
        [
            new(Concern.Network, SettingsPath, $"""
                {Ownership.Header}
                [Network]
                ManageForeignRoutes=no
                ManageForeignRoutingPolicyRules=no

                """),
            // No physical interface is called so: EC2's are ens5, enp0s5, eth0.
            new(Concern.Network, LinksPath, $"""
                {Ownership.Header}
                [Match]
                Name=veth* cni* cali* lxc* cilium* eni* flannel* tunl* kube-ipvs*

                [Link]
                Unmanaged=yes

                """),
        ];
        var leftovers = new Leftovers(
            "settings of systemd-networkd",
            ["/etc/systemd/networkd.conf.d", "/etc/systemd/network"],
            files.Select(f => f.Name).ToHashSet(StringComparer.Ordinal));
        return [.. files, leftovers, new Restart(Concern.Network, "systemd-networkd.service")
        {
            Needs = [.. files, leftovers],
            Inputs = [.. files, leftovers],
        }];
    }
}
