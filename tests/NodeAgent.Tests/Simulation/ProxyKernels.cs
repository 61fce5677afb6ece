using NodeAgent.Machine;

namespace NodeAgent.Tests.Simulation;

/// <summary>
/// What kube-proxy 1.20.2 has in a kernel by mode (nftables: 1.33), what kubelet 1.20.2 has beside it, and what others have that looks alike. Names from their
/// sources.
/// </summary>
internal static class ProxyKernels
{
    public static readonly ProcessReport Ours = new(4711, ["kube-proxy", "--config=/etc/kubernetes/kube-proxy/config.yaml"]);

    public static readonly ProcessReport OfADaemonSet = new(
        815, ["/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/config.conf", "--hostname-override=n"]);

    public static void Others(SimulatedRules rules)
    {
        rules.Chain("nat", "PREROUTING", "DOCKER");
        rules.Chain("nat", "OUTPUT", "DOCKER");
        rules.Chain("nat", "POSTROUTING", "CNI-0123456789abcdef");
        rules.Chain("nat", "DOCKER");
        rules.Chain("nat", "CNI-0123456789abcdef");
        rules.Chain("filter", "INPUT", "KUBE-FIREWALL", "KUBE-ROUTER-INPUT");
        rules.Chain("filter", "FORWARD", "KUBE-ROUTER-FORWARD");
        rules.Chain("filter", "OUTPUT", "KUBE-FIREWALL");
        // kube-router's, by its sources: one with a hash of kube-proxy's form.
        rules.Chain("filter", "KUBE-ROUTER-INPUT", "KUBE-NWPLCY-ABCDEFGHIJKLMNOP");
        rules.Chain("filter", "KUBE-ROUTER-FORWARD", "KUBE-POD-FW-ABCDEFGHIJKLMNOP");
        rules.Chain("filter", "KUBE-NWPLCY-ABCDEFGHIJKLMNOP", "set KUBE-SRC-ABCDEFGHIJKLMNOP");
        rules.Chain("filter", "KUBE-POD-FW-ABCDEFGHIJKLMNOP");
        rules.Sets["KUBE-SRC-ABCDEFGHIJKLMNOP"] = [];
        rules.Sets["mine"] = [];
        rules.Tables.Add("ip mine");
        rules.Servers.Add(new("tcp", "192.0.2.10", 80));
        rules.Servers.Add(new("udp", "192.0.2.10", 30080));
        // Of a port that is a service's node port, too, on an address that is not this machine's.
        rules.Servers.Add(new("tcp", "192.0.2.20", 30080));
        rules.Interfaces["dummy0"] = ["192.0.2.10"];
        rules.Routes.AddRange([new("ip", 2, 255, "local", "10.0.1.7/32", null), new("ip", 2, 255, "local", "192.0.2.10/32", null)]);
        rules.Connections.Add("192.0.2.1");
    }

    public static void Kubelet(SimulatedRules rules)
    {
        rules.Chain("filter", "KUBE-FIREWALL");
        rules.Chain("filter", "KUBE-KUBELET-CANARY");
        rules.Chain("mangle", "KUBE-KUBELET-CANARY");
        rules.Chain("nat", "KUBE-KUBELET-CANARY");
        rules.Chain("nat", "KUBE-MARK-DROP");
        rules.Chain("nat", "KUBE-MARK-MASQ");
        rules.Chain("nat", "POSTROUTING", "KUBE-POSTROUTING", "CNI-0123456789abcdef");
        rules.Chain("nat", "KUBE-POSTROUTING");
    }

    public static void Mode(SimulatedRules rules, string mode)
    {
        switch (mode)
        {
            case "iptables":
                Iptables(rules, ChainTable.Nft, "ip");
                break;
            case "ipvs":
                Ipvs(rules);
                break;
            case "nftables":
                rules.Tables.Add("ip kube-proxy");
                rules.Tables.Add("ip6 kube-proxy");
                break;
        }

        if (mode != "none")
        {
            rules.Processes.Add(Ours);
            rules.Connections.Add("10.96.0.10");
        }
    }

    public static void Iptables(SimulatedRules rules, string backend, string family)
    {
        var other = backend == ChainTable.Legacy || family == "ip6" ? Array.Empty<string>() : null;
        rules.ChainIn(backend, family, "nat", "PREROUTING", other ?? ["KUBE-SERVICES", "DOCKER"]);
        rules.ChainIn(backend, family, "nat", "OUTPUT", other ?? ["KUBE-SERVICES", "DOCKER"]);
        rules.ChainIn(backend, family, "nat", "KUBE-SERVICES", "KUBE-SVC-AAAAAAAAAAAAAAAA", "KUBE-FW-AAAAAAAAAAAAAAAA", "KUBE-NODEPORTS");
        rules.ChainIn(backend, family, "nat", "KUBE-NODEPORTS", "KUBE-MARK-MASQ", "KUBE-XLB-AAAAAAAAAAAAAAAA");
        rules.ChainIn(backend, family, "nat", "KUBE-SVC-AAAAAAAAAAAAAAAA", "KUBE-SEP-AAAAAAAAAAAAAAAA", "KUBE-SEP-22222222AAAAAAAA");
        rules.ChainIn(backend, family, "nat", "KUBE-FW-AAAAAAAAAAAAAAAA", "KUBE-MARK-MASQ", "KUBE-SVC-AAAAAAAAAAAAAAAA", "KUBE-MARK-DROP");
        rules.ChainIn(backend, family, "nat", "KUBE-XLB-AAAAAAAAAAAAAAAA", "KUBE-SVC-AAAAAAAAAAAAAAAA");
        rules.ChainIn(backend, family, "nat", "KUBE-SEP-AAAAAAAAAAAAAAAA", "KUBE-MARK-MASQ");
        rules.ChainIn(backend, family, "nat", "KUBE-SEP-22222222AAAAAAAA", "KUBE-MARK-MASQ");
        foreach (var table in new[] { "nat", "filter", "mangle" })
        {
            rules.ChainIn(backend, family, table, "KUBE-PROXY-CANARY");
        }

        rules.ChainIn(backend, family, "filter", "INPUT", other ?? ["KUBE-EXTERNAL-SERVICES", "KUBE-FIREWALL", "KUBE-ROUTER-INPUT"]);
        rules.ChainIn(backend, family, "filter", "FORWARD", other ?? ["KUBE-FORWARD", "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-ROUTER-FORWARD"]);
        rules.ChainIn(backend, family, "filter", "OUTPUT", other ?? ["KUBE-SERVICES", "KUBE-FIREWALL"]);
        rules.ChainIn(backend, family, "filter", "KUBE-SERVICES");
        rules.ChainIn(backend, family, "filter", "KUBE-EXTERNAL-SERVICES");
        rules.ChainIn(backend, family, "filter", "KUBE-FORWARD");
    }

    private static void Ipvs(SimulatedRules rules)
    {
        rules.Chain("nat", "PREROUTING", "KUBE-SERVICES", "DOCKER");
        rules.Chain("nat", "OUTPUT", "KUBE-SERVICES", "DOCKER");
        rules.Chain("nat", "KUBE-SERVICES", "set KUBE-CLUSTER-IP", "KUBE-MARK-MASQ", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER");
        rules.Chain("nat", "KUBE-NODE-PORT", "set KUBE-NODE-PORT-TCP", "KUBE-MARK-MASQ");
        rules.Chain("nat", "KUBE-LOAD-BALANCER", "set KUBE-LOAD-BALANCER-FW", "KUBE-FIREWALL", "KUBE-MARK-MASQ");
        // IPVS' chain of this name is in nat, kubelet's in filter.
        rules.Chain("nat", "KUBE-FIREWALL", "KUBE-MARK-DROP");
        rules.Chain("nat", "KUBE-POSTROUTING", "set KUBE-LOOP-BACK");
        rules.Chain("filter", "FORWARD", "KUBE-FORWARD", "KUBE-ROUTER-FORWARD");
        rules.Chain("filter", "KUBE-FORWARD");
        foreach (var set in new[] { "KUBE-CLUSTER-IP", "KUBE-LOOP-BACK", "KUBE-LOAD-BALANCER-FW", "KUBE-NODE-PORT-LOCAL-UDP" })
        {
            rules.Sets[set] = [];
        }

        rules.Sets["KUBE-NODE-PORT-TCP"] = [30080];
        rules.Interfaces["kube-ipvs0"] = ["10.96.0.1", "198.51.100.7"];
        rules.Servers.Add(new("tcp", "10.96.0.1", 443));
        // A load balancer's address, and a node port, on the node's own address.
        rules.Servers.Add(new("tcp", "198.51.100.7", 80));
        rules.Connections.Add("198.51.100.7");
        rules.Servers.Add(new("tcp", "10.0.1.7", 30080));
    }
}
