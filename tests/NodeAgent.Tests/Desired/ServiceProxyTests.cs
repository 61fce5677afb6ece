using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Kubernetes;
using NodeAgent.Resources;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

public class ServiceProxyTests
{
    [Theory]
    [InlineData("4.14.355-275.603.amzn2.x86_64", true, "nf_conntrack_ipv4")]
    [InlineData("5.4.0-1100-aws", true, "nf_conntrack")]
    [InlineData("5.9.0", false, "nf_conntrack")]
    [InlineData("6.12.48+deb13-cloud-amd64", false, "nf_conntrack")]
    public void Ipvs_gets_what_its_kernel_wants(string kernel, bool reuses, string conntrack)
    {
        var list = List("{mode: ipvs, ipvs: {scheduler: lc}}", kernel);

        list.Items.OfType<KernelModule>().Select(m => m.Name)
            .ShouldBeSubsetOf(
                ["br_netfilter", "dummy", "ip_set", "ip_vs", "ip_vs_lc", "ip_vs_rr", "ip_vs_sh", "ip_vs_wrr", "nf_conntrack", conntrack, "overlay", "xt_set"]);
        list.Items.OfType<KernelModule>().ShouldContain(m => m.Name == conntrack);
        list.Items.OfType<KernelModule>().ShouldContain(m => m.Name == "ip_vs_lc");
        var sysctls = list.Items.OfType<Sysctl>().Where(s => s.Name.StartsWith("net.ipv4.vs.", StringComparison.Ordinal)).ToList();
        sysctls.ShouldAllBe(s => s.Needs.Single().Name == "ip_vs");
        string[] names = ["conn_reuse_mode", "conntrack", "expire_nodest_conn", "expire_quiescent_template"];
        sysctls.Select(s => s.Name["net.ipv4.vs.".Length..]).ShouldBe(names.Skip(reuses ? 0 : 1));
        list.Items.OfType<Sysctl>().ShouldNotContain(s => s.Name.Contains("arp_", StringComparison.Ordinal));
    }

    [Fact]
    public void What_is_configured_for_the_kernel_is_stronger_than_what_the_mode_wants()
    {
        var worker = Worker("{mode: ipvs, ipvs: {strictArp: true}}", "6.12.0");
        worker.PendingConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, kernel: {sysctls: {net.ipv4.conf.all.arp_ignore: 2}}}";

        var text = worker.List().Items.OfType<ConfigFile>().Single(f => f.Name == "/etc/sysctl.d/95-nodeagent.conf").Content;

        text.ShouldContain("net.ipv4.conf.all.arp_ignore = 2\n");
        text.ShouldContain("net.ipv4.conf.all.arp_announce = 2\n");
    }

    [Theory]
    [InlineData("nftables", "1.30.4", "6.12.0", "kube-proxy 1.30 has no mode nftables")]
    [InlineData("nftables", "1.33.0", "5.10.0-23-cloud-amd64", "kube-proxy in mode nftables does not start on Linux 5.10.0-23-cloud-amd64")]
    [InlineData("ipvs", "1.40.0", "6.12.0", "kube-proxy 1.40 has mode ipvs turned off")]
    [InlineData("ipvs", "1.43.1", "6.12.0", "kube-proxy 1.43 has no mode ipvs any more")]
    public void A_mode_that_this_kube_proxy_or_kernel_has_not_is_refused_before_another_goes(string mode, string version, string kernel, string why)
    {
        var refusal = Should.Throw<NotPossibleException>(() => List($"{{mode: {mode}, image: 'registry.k8s.io/kube-proxy:v{version}'}}", kernel));

        refusal.Message.ShouldStartWith(why);
        refusal.IsRefusal.ShouldBeTrue();
    }

    [Theory]
    [InlineData("nftables", "1.31.0", "5.13.0")]
    [InlineData("ipvs", "1.39.0", "3.10.0")]
    [InlineData("none", "1.43.0", "3.10.0")]
    public void What_goes_together_is_not(string mode, string version, string kernel) =>
        Should.NotThrow(() => List($"{{mode: {mode}, image: 'registry.k8s.io/kube-proxy:v{version}'}}", kernel));

    [Fact]
    public void A_mode_whose_module_is_missing_leaves_the_former_one_alone()
    {
        var worker = Worker("{mode: iptables, change: always}", "6.12.0");
        worker.Apply();
        worker.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, kubeProxy: {mode: ipvs, change: always}}";
        worker.Machine.SetModule("ip_vs", NodeAgent.Machine.ModuleState.Unavailable);
        ProxyKernels.Mode(worker.Machine.Rules, "iptables");
        var before = worker.Machine.Rules.All;

        var result = worker.Apply();

        result.Steps.Single(s => s.Resource is ProxyLeftovers).Outcome.ShouldBeOfType<Skipped>().Because.Name.ShouldBe("ip_vs");
        worker.Machine.Rules.All.ShouldBe(before);
        System.Text.Encoding.UTF8.GetString(worker.Machine.File("/etc/kubernetes/kube-proxy/config.yaml").Content!).ShouldContain("mode: iptables");
    }

    [Fact]
    public void No_name_of_kubelets_or_others_is_among_kube_proxys()
    {
        string[] others =
        [
            "filter KUBE-FIREWALL", "nat KUBE-MARK-DROP", "nat KUBE-KUBELET-CANARY", "mangle KUBE-KUBELET-CANARY", "filter KUBE-KUBELET-CANARY",
            "mangle KUBE-IPTABLES-HINT", "nat KUBE-HOSTPORTS", "nat KUBE-HP-",
            "filter KUBE-NWPLCY-", "filter KUBE-POD-FW-",
        ];

        ProxyNames.Chains.Select(c => $"{c.Table} {c.Name}").Intersect(others).ShouldBeEmpty();
        ProxyNames.Chains.Select(c => $"{c.Table} {c.Name}").ShouldBeUnique();
        ProxyNames.Chains.ShouldAllBe(c => c.Name.StartsWith(ProxyNames.Prefix, StringComparison.Ordinal) && c.IsHashed == c.Name.EndsWith('-'));
        // The kernel's limit; kube-proxy cuts them off as well.
        ProxyNames.Sets.ShouldAllBe(s => s.Length <= 31);
        ProxyNames.Sets.ShouldContain("KUBE-6-LOAD-BALANCER-SOURCE-CID");
    }

    private static ResourceList List(string proxy, string kernel) => Worker(proxy, kernel).List();

    private static Worker Worker(string proxy, string kernel)
    {
        var worker = new Worker { ExtraConfig = $"{{apiVersion: nodeagent/v1, kind: NodeConfig, kubeProxy: {proxy}}}" };
        worker.Facts = worker.Facts with { Kernel = worker.Facts.Kernel with { Release = kernel } };
        return worker;
    }
}
