using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// Keeps systemd-networkd's hands off what the pods' network makes. It takes routes and rules that it does not know for leftovers and removes them
/// (networkd.conf(5), ManageForeignRoutes=), and images whose .network file says Name=en* have it configure the VPC CNI's eni... links, too. Beside it, keeps
/// udev's hands off the hardware addresses of links that a plugin has told to others before udev sees them.
/// </summary>
internal static class Networkd
{
    public const string SettingsPath = "/etc/systemd/networkd.conf.d/50-nodeagent.conf";

    // Before any other: the first file that matches a link is the one (systemd.network(5)).
    public const string LinksPath = "/etc/systemd/network/05-nodeagent-pods.network";

    // Before 99-default.link; udev reads it anew by itself.
    public const string AddressesPath = "/etc/systemd/network/50-nodeagent-pods.link";

    public static IReadOnlyList<Resource> Build(NodeConfig config, NodeFacts facts)
    {
        ConfigFile[] addresses = [.. Addresses(config.Network.Plugin)];
        if (facts.Kernel.SystemdNetworkd != true)
        {
            return addresses;
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
            files.Concat(addresses).Select(f => f.Name).ToHashSet(StringComparer.Ordinal));
        return [.. addresses, .. files, leftovers, new Restart(Concern.Network, "systemd-networkd.service")
        {
            Needs = [.. files, leftovers],
            Inputs = [.. files, leftovers],
        }];
    }

    /// <summary>
    /// MACAddressPolicy=persistent, systemd's own from 242 on, gives links another address after they were made: the VPC CNI has written the first into the
    /// pod's neighbours by then (amazon-vpc-cni-k8s#2103, kops#16313), and flannel told it to other nodes (flannel#1155).
    /// </summary>
    private static IEnumerable<ConfigFile> Addresses(NetworkPlugin plugin)
    {
        if (plugin is NetworkPlugin.AwsVpcCni or NetworkPlugin.Flannel)
        {
            yield return new(Concern.Network, AddressesPath, $"""
                {Ownership.Header}
                [Match]
                OriginalName={(plugin == NetworkPlugin.Flannel ? "flannel*" : "eni*")}

                [Link]
                MACAddressPolicy=none

                """);
        }
    }
}
