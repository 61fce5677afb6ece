using NodeAgent.Machine;

namespace NodeAgent.Tests.Simulation;

/// <summary>What network plugins have in a kernel, by the names in their sources, and what others have that looks alike.</summary>
internal static class PluginKernels
{
    public static void Others(SimulatedRules rules)
    {
        rules.Links.AddRange(
        [
            new("ens5", "", null, true), new("lxcbr0", "bridge", null, true), new("cali-mine", "dummy", null, true), new("eni-mine", "dummy", null, true),
            new("veth1", "veth", "lxcbr0", true),
        ]);
        rules.RoutingRules.AddRange(
        [
            new("ip", 0, null, null, null, 0, 0, 255), new("ip", 1000, null, null, null, 1, 1, 100), new("ip", 32766, null, null, null, 0, 0, 254),
        ]);
        rules.Routes.AddRange([new("ip", 12, 254, "unicast", "192.0.2.0/24", "10.0.1.1"), new("ip", 4, 254, "unicast", "10.244.99.0/24", "10.0.1.1")]);
        rules.Chain("nat", "PREROUTING", "DOCKER");
        rules.Chain("nat", "POSTROUTING", "CNI-0123456789abcdef");
        rules.Chain("nat", "DOCKER");
        rules.Chain("nat", "CNI-0123456789abcdef");
        rules.Chain("nat", "calico-dhcp-mine");
        rules.Chain("filter", "FORWARD", "DOCKER");
        rules.Chain("filter", "DOCKER");
        rules.Chain("filter", "AWS-MINE");
        rules.Chain("mangle", "PREROUTING", "comment mine");
        rules.Sets["mine"] = [];
        rules.Tables.Add("ip mine");
    }

    public static void Of(SimulatedRules rules, string plugin)
    {
        switch (plugin)
        {
            case "cilium":
                Links(rules, ("lxc0123456789ab", "veth"), ("lxc_health", "veth"), ("cilium_host", "veth"), ("cilium_net", "veth"), ("cilium_vxlan", "vxlan"));
                rules.RoutingRules.Add(new("ip", 9, null, null, null, 0x200, 0xF00, 2004));
                rules.RoutingRules.Add(new("ip6", 9, null, null, null, 0x200, 0xF00, 2004));
                rules.Chain("nat", "POSTROUTING", "CILIUM_POST_nat", "CNI-0123456789abcdef");
                rules.Chain("nat", "CILIUM_POST_nat", "set cilium_node_set_v4");
                rules.Chain("filter", "FORWARD", "CILIUM_FORWARD", "OLD_CILIUM_FORWARD", "DOCKER");
                rules.Chain("filter", "CILIUM_FORWARD");
                rules.Chain("filter", "OLD_CILIUM_FORWARD");
                rules.Sets["cilium_node_set_v4"] = [];
                break;
            case "calico":
                Links(rules, ("cali0123456789a", "veth"), ("vxlan.calico", "vxlan"), ("tunl0", "ipip"));
                rules.Interfaces["tunl0"] = ["10.244.3.64"];
                rules.Routes.Add(new("ip", 80, 254, "blackhole", "10.244.3.64/26", null));
                rules.Routes.Add(new("ip", 12, 254, "unicast", "10.244.5.0/26", "10.0.1.9"));
                rules.Chain("filter", "FORWARD", "cali-FORWARD", "DOCKER", "comment cali:S93hcgKJrXEqnTfs");
                rules.Chain("filter", "cali-FORWARD", "cali-from-wl-dispatch");
                rules.Chain("filter", "cali-from-wl-dispatch", "cali-pri-ABCDEFGHIJKLMNOP");
                // As if it ended in a hash of kube-proxy's.
                rules.Chain("filter", "cali-pri-ABCDEFGHIJKLMNOP", "set cali40all-ipam-pools");
                rules.Sets["cali40all-ipam-pools"] = [];
                rules.Tables.Add("ip calico");
                break;
            case "flannel":
                Links(rules, ("flannel.1", "vxlan"));
                Bridge(rules);
                rules.Chain("nat", "POSTROUTING", "FLANNEL-POSTRTG", "CNI-0123456789abcdef");
                rules.Chain("nat", "FLANNEL-POSTRTG");
                rules.Chain("filter", "FORWARD", "DOCKER", "FLANNEL-FWD");
                rules.Chain("filter", "FLANNEL-FWD");
                break;
            case "aws-vpc-cni":
                Links(rules, ("eni0123456789a", "veth"), ("ens6", ""));
                rules.RoutingRules.Add(new("ip", 512, null, "10.0.1.77/32", null, 0, 0, 254));
                rules.RoutingRules.Add(new("ip", 1024, null, null, null, 0x80, 0x80, 254));
                rules.RoutingRules.Add(new("ip", 1536, "10.0.1.77/32", null, null, 0, 0, 2));
                rules.Chain("nat", "PREROUTING", "DOCKER", "AWS-CONNMARK-CHAIN-0", "comment AWS, CONNMARK");
                rules.Chain("nat", "AWS-CONNMARK-CHAIN-0");
                rules.Chain("nat", "POSTROUTING", "CNI-0123456789abcdef", "AWS-SNAT-CHAIN-0");
                rules.Chain("nat", "AWS-SNAT-CHAIN-0");
                rules.Chain("mangle", "PREROUTING", "comment AWS, primary ENI", "comment mine");
                break;
            case "bridge":
                Bridge(rules);
                break;
        }
    }

    /// <summary>What stays of <see cref="Of"/>: the kernel's own tunnel, without a way out of it, and the hardware.</summary>
    public static void Stays(SimulatedRules rules, string plugin)
    {
        if (plugin == "calico")
        {
            rules.Links.Add(new("tunl0", "ipip", null, false));
            rules.Interfaces["tunl0"] = ["10.244.3.64"];
        }
        else if (plugin == "aws-vpc-cni")
        {
            rules.Links.Add(new("ens6", "", null, true));
        }
    }

    public static void Bridge(SimulatedRules rules) => rules.Links.AddRange([new("cni0", "bridge", null, true), new("veth0", "veth", "cni0", true)]);

    private static void Links(SimulatedRules rules, params (string Name, string Kind)[] links) =>
        rules.Links.AddRange(links.Select(l => new InterfaceReport(l.Name, l.Kind, null, true)));
}
