namespace NodeAgent.Kubernetes;

/// <summary>What kube-proxy was told to be.</summary>
[Flags]
internal enum ProxyKinds
{
    None = 0,
    Iptables = 1,
    Ipvs = 2,
    Nftables = 4,

    /// <summary>Which kube-proxy before 1.26 fell back to, and nobody asks for.</summary>
    Userspace = 8,
}

/// <param name="Kinds">Who makes it.</param>
/// <param name="Name">The name, or of hashed ones what stands before 16 characters of base 32.</param>
internal sealed record ProxyChain(ProxyKinds Kinds, string Table, string Name, bool IsHashed = false);

/// <summary>
/// Everything kube-proxy makes in a kernel, by the names in its sources, and nothing else: KUBE- alone begins kubelet's chains, too, and those of network
/// policies (KUBE-NWPLCY-, KUBE-POD-FW-). A name may be kube-proxy's in one table and kubelet's in another.
/// </summary>
internal static class ProxyNames
{
    public const string Prefix = "KUBE-";

    public const string Interface = "kube-ipvs0";

    /// <summary>
    /// ip and ip6, all that this mode makes, since its alpha in 1.29 (kubeProxyTable in pkg/proxy/nftables/proxier.go@1.31, and before and after by what
    /// proxier_test.go beside it expects: kubernetes@d846dce, @030880a).
    /// </summary>
    public const string NftTable = "kube-proxy";

    private const ProxyKinds Both = ProxyKinds.Iptables | ProxyKinds.Ipvs;

    /// <summary>
    /// pkg/proxy/iptables/proxier.go@1.20.2, @1.22, cleanup.go after 1.34; pkg/proxy/ipvs/proxier.go@1.20.2, @1.27, after 1.34;
    /// pkg/proxy/userspace/proxier.go@1.20.2. In the order of the tables.
    /// </summary>
    public static readonly IReadOnlyList<ProxyChain> Chains =
    [
        new(Both, "nat", "KUBE-SERVICES"),
        new(Both, "nat", "KUBE-POSTROUTING"),
        new(Both, "nat", "KUBE-MARK-MASQ"),
        new(ProxyKinds.Iptables, "nat", "KUBE-NODEPORTS"),
        new(ProxyKinds.Iptables, "nat", "KUBE-PROXY-CANARY"),
        new(ProxyKinds.Iptables, "nat", "KUBE-SVC-", IsHashed: true),
        // From 1.24 on.
        new(ProxyKinds.Iptables, "nat", "KUBE-SVL-", IsHashed: true),
        new(ProxyKinds.Iptables, "nat", "KUBE-EXT-", IsHashed: true),
        // Up to 1.23.
        new(ProxyKinds.Iptables, "nat", "KUBE-XLB-", IsHashed: true),
        new(ProxyKinds.Iptables, "nat", "KUBE-FW-", IsHashed: true),
        new(ProxyKinds.Iptables, "nat", "KUBE-SEP-", IsHashed: true),
        new(ProxyKinds.Ipvs, "nat", "KUBE-NODE-PORT"),
        new(ProxyKinds.Ipvs, "nat", "KUBE-LOAD-BALANCER"),
        // Up to 1.25; kubelet's chain of this name is in filter. And before 1.11.
        new(ProxyKinds.Ipvs, "nat", "KUBE-FIREWALL"),
        new(ProxyKinds.Ipvs, "nat", "KUBE-FIRE-WALL"),
        new(ProxyKinds.Userspace, "nat", "KUBE-PORTALS-CONTAINER"),
        new(ProxyKinds.Userspace, "nat", "KUBE-PORTALS-HOST"),
        new(ProxyKinds.Userspace, "nat", "KUBE-NODEPORT-CONTAINER"),
        new(ProxyKinds.Userspace, "nat", "KUBE-NODEPORT-HOST"),
        new(Both, "filter", "KUBE-FORWARD"),
        // iptables' from 1.25 on, and IPVS' from 1.26 on.
        new(Both, "filter", "KUBE-PROXY-FIREWALL"),
        new(ProxyKinds.Iptables, "filter", "KUBE-SERVICES"),
        new(ProxyKinds.Iptables, "filter", "KUBE-EXTERNAL-SERVICES"),
        new(ProxyKinds.Iptables, "filter", "KUBE-NODEPORTS"),
        new(ProxyKinds.Iptables, "filter", "KUBE-PROXY-CANARY"),
        new(ProxyKinds.Ipvs, "filter", "KUBE-NODE-PORT"),
        new(ProxyKinds.Ipvs, "filter", "KUBE-SOURCE-RANGES-FIREWALL"),
        new(ProxyKinds.Ipvs, "filter", "KUBE-IPVS-FILTER"),
        new(ProxyKinds.Ipvs, "filter", "KUBE-IPVS-OUT-FILTER"),
        new(ProxyKinds.Userspace, "filter", "KUBE-NODEPORT-NON-LOCAL"),
        new(ProxyKinds.Iptables, "mangle", "KUBE-PROXY-CANARY"),
    ];

    /// <summary>pkg/proxy/ipvs/ipset.go@1.20.2, @1.27 (KUBE-IPVS-IPS).</summary>
    private static readonly string[] IPv4Sets =
    [
        "KUBE-LOOP-BACK", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL", "KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER-LOCAL",
        "KUBE-LOAD-BALANCER-FW",
        "KUBE-LOAD-BALANCER-SOURCE-IP", "KUBE-LOAD-BALANCER-SOURCE-CIDR", "KUBE-NODE-PORT-TCP", "KUBE-NODE-PORT-LOCAL-TCP", "KUBE-NODE-PORT-UDP",
        "KUBE-NODE-PORT-LOCAL-UDP",
        "KUBE-NODE-PORT-SCTP-HASH", "KUBE-NODE-PORT-LOCAL-SCTP-HASH", "KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-IPVS-IPS",
    ];

    /// <summary>With those of IPv6, whose names are cut off (NewIPSet there).</summary>
    public static readonly IReadOnlyList<string> Sets = [.. IPv4Sets, .. IPv4Sets.Select(OfIPv6)];

    /// <summary>Which ports of the node are services', by protocol: the sets of both families.</summary>
    public static readonly IReadOnlyDictionary<string, IReadOnlyList<string>> NodePortSets = new Dictionary<string, IReadOnlyList<string>>
    {
        ["tcp"] = ["KUBE-NODE-PORT-TCP", OfIPv6("KUBE-NODE-PORT-TCP")],
        ["udp"] = ["KUBE-NODE-PORT-UDP", OfIPv6("KUBE-NODE-PORT-UDP")],
        ["sctp"] = ["KUBE-NODE-PORT-SCTP-HASH", OfIPv6("KUBE-NODE-PORT-SCTP-HASH")],
    };

    /// <summary>
    /// Kubelets before 1.27 made these as well, and look after them for who maps ports of the host (KEP-3178; pkg/kubelet/kubelet_network_linux.go@1.20.2):
    /// without kube-proxy, too.
    /// </summary>
    public static bool IsKubeletsToo(ProxyChain chain, KubernetesVersion? kubelet) =>
        chain is { Table: "nat", Name: "KUBE-POSTROUTING" or "KUBE-MARK-MASQ" } && kubelet?.IsAtLeast(1, 27) != true;

    private static string OfIPv6(string set)
    {
        var name = "KUBE-6-" + set[Prefix.Length..];
        return name.Length > 31 ? name[..31] : name;
    }
}
