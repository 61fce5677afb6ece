using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// What each network plugin leaves on a node, by its own names, and nothing that only looks alike. Sources are cited with the version that was read; what a
/// plugin itself takes for its own when it cleans up counts as its own here.
/// </summary>
internal static class FormerNetwork
{
    /// <summary>
    /// Which plugin of the cluster's makes the network; where the agent writes the configuration itself, that says it, and this once that is gone.
    /// </summary>
    public const string RecordPath = "/var/lib/nodeagent/network-plugin";

    private const long Main = 254;

    private static readonly PluginInterface Cni0 = new("cni0", ["bridge"]);

    private static readonly IReadOnlyList<PluginTraces> Known =
    [
        // containernetworking/plugins: the bridge of our own configuration. Chains of its that translate (CNI-...) go with their pods, and are others' as well.
        new(PluginLeftovers.Bridge) { Interfaces = [Cni0] },
        new(PluginLeftovers.VpcRoutes) { Interfaces = [Cni0], Tables = ["ip nodeagent"] },
        Cilium(),
        Calico(),
        Flannel(),
        AwsVpcCni(),
    ];

    /// <summary>Before anything of the wanted plugin's.</summary>
    /// <param name="needs">Without which the wanted one would not come to be.</param>
    public static PluginLeftovers Build(NodeConfig config, INodePods pods, IReadOnlyList<Resource> needs) => new(
        ConfigValidation.Word(config.Network.Plugin),
        Known,
        new(
            RecordPath,
            PodNetwork.ConfigurationPath,
            config.Network.Plugin is NetworkPlugin.Bridge or NetworkPlugin.VpcRoutes,
            BootGate.StampPath,
            config.Cluster.PodRange),
        config.Network.Change,
        pods)
    { Needs = needs };

    /// <summary>Where our own configuration says which network there is: by the record the one before it was known, until nothing was left of that.</summary>
    public static Leftovers RecordEnds(PluginLeftovers former) => new("record of the network plugin", [], new HashSet<string>())
    {
        NamedOurs = [RecordPath],
        Needs = [former],
    };

    private static PluginTraces Cilium() => new("cilium")
    {
        // cilium/cmd/cleanup.go@009d1274 (cniConfigV1 to V4), and the names of later and earlier manifests.
        Files = ["00-cilium-cni.conf", "04-cilium-cni.conf", "05-cilium-cni.conf", "05-cilium.conf", "05-cilium.conflist", "10-cilium-cni.conf"],
        Data = ["/var/run/cilium"],
        Process = "cilium-agent",
        // pkg/defaults/node.go@011c241f (HostDevice, SecondHostDevice); cleanup.go takes all of cilium_ and lxc; lxc and twelve digits: Endpoint2IfName in
        // pkg/datapath/connector. Not cilium_ipip4 and 6, which were the kernel's own under another name for a while, and cannot be removed.
        Interfaces =
        [
            new("lxc", ["veth", "netkit"], 12, IsPods: true),
            new("lxc_health", ["veth", "netkit"]),
            new("cilium_host", ["veth", "dummy"]),
            new("cilium_net", ["veth", "dummy"]),
            new("cilium_vxlan", ["vxlan"]),
            new("cilium_geneve", ["geneve"]),
            new("cilium_wg0", ["wireguard"]),
        ],
        // pkg/datapath/iptables/iptables.go (ciliumPrefix, by which it finds its own; OLD_ before it while it renews them).
        ChainPrefixes = ["CILIUM_", "OLD_CILIUM_"],
        // pkg/datapath/ipset (CiliumNodeIPSetV4, V6).
        Sets = ["cilium_node_set_v4", "cilium_node_set_v6"],
        // pkg/proxy/routes.go@01b611ce, pkg/datapath/linux/linux_defaults@017b0df9: to and from its proxy, WireGuard, and those of ENIs. Its tables have no one
        // who asks them then; what is in them leads out of its interfaces, or to lo.
        Rules =
        [
            r => r is { Priority: 9, Mark: 0x200, Mask: 0xF00, Table: 2004 },
            r => r is { Priority: 10, Mark: 0xA00 or 0xB00, Mask: 0xF00, Table: 2005 },
            r => r is { Priority: 1, Mark: 0xE00, Mask: 0xF00, Table: 201 },
            r => r is { Priority: 20, From: null, Mark: 0, Table: Main } && IsHost(r.To),
            r => r is { Priority: 109, Mark: 0x80, Mask: 0x80, Table: Main },
            r => r is { Priority: 110 or 111, Mark: 0, Table: >= 10 and < 253 } && IsHost(r.From),
        ],
        // tc, XDP and cgroup programs are held by these and by their interfaces, a hardware one among them (docs.cilium.io, post-uninstall-cleanup).
        Pins = [("/sys/fs/bpf/cilium", ""), ("/sys/fs/bpf/tc/globals", "cilium_")],
        Cleanup = "cilium-dbg post-uninstall-cleanup --all-state in Cilium's image",
    };

    private static PluginTraces Calico() => new("calico")
    {
        Files = ["10-calico.conflist", "calico-kubeconfig"],
        Data = ["/var/lib/calico", "/var/run/calico"],
        Process = "calico-node",
        // cali and eleven digits of a hash: VethNameForWorkload in libcalico-go. The others: felix/dataplane/linux/dataplanedefs, and the defaults of Felix.
        Interfaces =
        [
            new("cali", ["veth", "netkit"], 11, IsPods: true),
            new("vxlan.calico", ["vxlan"]),
            new("vxlan-v6.calico", ["vxlan"]),
            new("wireguard.cali", ["wireguard"]),
            new("wg-v6.cali", ["wireguard"]),
            new("bpfin.cali", ["veth"]),
            new("bpfout.cali", ["veth"]),
        ],
        // The kernel's own, of module ipip: to delete it does nothing.
        Tunnel = "tunl0",
        // felix/rules/rule_defs.go@02c47a5b: ChainNamePrefix, AllHistoricChainNamePrefixes, RuleHashPrefix, IPSetNamePrefix with 4 or 6 and 0 or t behind.
        ChainPrefixes = ["cali-"],
        Comments = ["cali:"],
        Sets = ["cali40", "cali60", "cali4t", "cali6t"],
        // felix/dataplane/linux/int_dataplane.go: nftables.NewTable("calico", ...).
        Tables = ["ip calico", "ip6 calico"],
        // wireguardRoutingRulePriority, 99 by itself, and a mark of the upper half (MarkMask).
        Rules = [r => r is { Priority: 99, Mark: >= 0x10000, Table: >= 1 and <= 250 } && r.Mark == r.Mask],
        // Felix's own (dataplanedefs.VXLANDefaultProto), and BIRD's.
        RouteProtocols = [80, 12],
    };

    private static PluginTraces Flannel() => new("flannel")
    {
        Files = ["10-flannel.conf", "10-flannel.conflist"],
        Data = ["/run/flannel", "/var/lib/cni/flannel"],
        Process = "flanneld",
        // pkg/backend/vxlan/vxlan.go@1ba5635d, ipip, wireguard, udp beside it. The bridge that its CNI plugin asks for is called as ours.
        Interfaces =
        [
            Cni0,
            new("flannel.", ["vxlan"], PluginInterface.Number),
            new("flannel-v6.", ["vxlan"], PluginInterface.Number),
            new("flannel-wg", ["wireguard"]),
            new("flannel-wg-v6", ["wireguard"]),
            new("flannel.ipip", ["ipip"]),
            new("flannel0", ["tun"]),
        ],
        // pkg/trafficmngr/iptables/iptables.go, nftables/nftables.go@5c96864f. Early ones had rules and no chains: those are not seen.
        Chains = ["FLANNEL-FWD", "FLANNEL-POSTRTG"],
        Comments = ["flanneld masq", "flanneld forward"],
        Tables = ["ip flannel-ipv4", "ip6 flannel-ipv6"],
    };

    private static PluginTraces AwsVpcCni() => new("aws-vpc-cni")
    {
        Files = ["10-aws.conflist"],
        Data = ["/var/run/aws-node"],
        Process = "aws-k8s-agent",
        // AWS_VPC_K8S_CNI_VETHPREFIX is eni by itself, with eleven digits of a hash behind; vlan of pods with security groups of their own. EC2's interfaces
        // stay.
        Interfaces =
        [
            new("eni", ["veth"], 11, IsPods: true),
            new("vlan", ["veth"], 11, IsPods: true),
            new("vlan.eth.", ["vlan"], PluginInterface.Number),
        ],
        // pkg/networkutils/network.go@00892598: chains, comments, and priorities of rules with what each asks for.
        ChainPrefixes = ["AWS-SNAT-CHAIN-", "AWS-CONNMARK-CHAIN-"],
        Comments = ["AWS, primary ENI", "AWS, CONNMARK", "Block Node Local Pod access via IP"],
        CommentTables = ["mangle", "filter"],
        Rules =
        [
            r => r is { Priority: 10, From: null, To: null, Mark: 0, Table: > 100 } && r.Interface?.StartsWith("vlan", StringComparison.Ordinal) == true,
            r => r is { Priority: 512, From: null, Mark: 0, Table: Main } && IsHost(r.To),
            r => r is { Priority: 1024, Mark: 0x80, Mask: 0x80, Table: Main },
            r => r is { Priority: 1535, To: not null, Mark: 0, Table: Main },
            r => r is { Priority: 1536, Mark: 0, Table: >= 2 and < 253 } && IsHost(r.From),
        ],
    };

    // One address: a pod's.
    private static bool IsHost(string? range) =>
        range is not null && (range.EndsWith("/32", StringComparison.Ordinal) || range.EndsWith("/128", StringComparison.Ordinal));
}
