using NodeAgent.Commands;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Tests.Desired;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Resources;

public class ProxyLeftoversTests
{
    private const string Manifest = "/etc/kubernetes/manifests/kube-proxy.yaml";

    private const string Configuration = "/etc/kubernetes/kube-proxy/config.yaml";

    private const string Client = "/etc/kubernetes/pki/kube-proxy/client.pem";

    private static readonly string[] Modes = ["iptables", "ipvs", "nftables", "none"];

    public static TheoryData<string, string> Changes()
    {
        var data = new TheoryData<string, string>();
        foreach (var from in Modes)
        {
            foreach (var to in Modes.Where(m => m != from))
            {
                data.Add(from, to);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Changes))]
    public void A_change_of_mode_takes_all_of_the_former_mode_and_nothing_else(string from, string to)
    {
        var worker = Running(from);
        Say(worker, to);

        if (from != "none")
        {
            Find(worker.Plan()).ShouldBeOfType<Change>().Disruption.ShouldBe(Disruption.InterruptsServices);
        }

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Rules.All.ShouldBe(Left());
        worker.Machine.AllFiles.ContainsKey(Manifest).ShouldBe(to != "none");
        worker.Machine.AllFiles.ContainsKey(Configuration).ShouldBe(to != "none");
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Theory]
    [MemberData(nameof(Changes))]
    public void A_change_of_mode_that_is_cut_off_at_any_write_is_gone_on_with(string from, string to)
    {
        foreach (var afterEffect in new[] { false, true })
        {
            for (var cut = 0; ; cut++)
            {
                var worker = Running(from);
                Say(worker, to);
                worker.Machine.CrashAtWrite = cut;
                worker.Machine.CrashAfterEffect = afterEffect;
                if (!CrashTests.Dies(worker))
                {
                    cut.ShouldBeGreaterThan(2);
                    break;
                }

                worker.Machine.CrashAtWrite = -1;
                WorkerTests.Problems(worker.Apply()).ShouldBeEmpty($"cut at write {cut}");
                worker.Machine.Rules.All.ShouldBe(Left(), $"cut at write {cut}");
                worker.Machine.AllFiles.ContainsKey(Manifest).ShouldBe(to != "none");
                WorkerTests.Pending(worker.Plan()).ShouldBeEmpty($"cut at write {cut}");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Changes))]
    public void After_a_boot_there_is_nothing_to_take_whatever_policy_says(string from, string to)
    {
        var worker = Running(from);
        worker.Machine.Reboot();
        worker.Pods = null;
        Say(worker, to, "boot");

        if (Find(worker.Plan()) is Change change)
        {
            change.Disruption.ShouldBe(Disruption.None);
        }

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.AllFiles.ContainsKey(Manifest).ShouldBe(to != "none");
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Theory]
    [InlineData("iptables")]
    [InlineData("ipvs")]
    [InlineData("nftables")]
    public void A_mode_that_runs_as_it_shall_leaves_nothing_to_do(string mode)
    {
        var worker = Running(mode);
        worker.Machine.Writes.Clear();

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void The_order_leaves_each_step_what_the_next_has_to_know()
    {
        var worker = Running("ipvs");
        Say(worker, "iptables");
        worker.Machine.Writes.Clear();
        worker.Apply();

        var steps = worker.Machine.Writes.SkipWhile(w => w != $"delete {Manifest}").TakeWhile(w => w != $"write {Manifest}").ToList();
        steps.Where(s => !s.StartsWith("write /etc/", StringComparison.Ordinal)).ShouldBe(
        [
            $"delete {Manifest}", "wait for the end of kube-proxy", "forget connections", "remove 3 virtual servers", "remove interface kube-ipvs0",
            "remove chains nft ip filter", "remove chains nft ip nat", "remove 5 ipsets",
            "forget connections", $"delete {Configuration}",
        ]);
    }

    [Fact]
    public void Both_families_and_the_older_iptables_are_looked_at()
    {
        var worker = Running("nftables");
        ProxyKernels.Iptables(worker.Machine.Rules, ChainTable.Legacy, "ip");
        ProxyKernels.Iptables(worker.Machine.Rules, ChainTable.Nft, "ip6");

        var change = Find(worker.Plan()).ShouldBeOfType<Change>();
        change.Diff!.ShouldContain(
            "- chains of ip nat (iptables-legacy): KUBE-SERVICES, KUBE-NODEPORTS, KUBE-PROXY-CANARY, KUBE-SVC-* (1), KUBE-XLB-* (1), KUBE-FW-* (1), "
                + "KUBE-SEP-* (2)\n");
        change.Diff!.ShouldContain("- chains of ip6 mangle: KUBE-PROXY-CANARY\n");
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Rules.All.ShouldNotContain(
            r => r.Contains("KUBE-SVC-", StringComparison.Ordinal) || r.Contains("KUBE-PROXY-", StringComparison.Ordinal));
    }

    [Fact]
    public void A_kube_proxy_that_fell_back_to_another_mode_is_made_anew()
    {
        var worker = Running("ipvs");
        worker.Machine.Rules.Clear();
        ProxyKernels.Others(worker.Machine.Rules);
        ProxyKernels.Kubelet(worker.Machine.Rules);
        ProxyKernels.Mode(worker.Machine.Rules, "iptables");

        Find(worker.Plan()).ShouldBeOfType<Change>().Why.ShouldContain("what kube-proxy in mode ipvs does not make");
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Rules.All.ShouldBe(Left());
    }

    [Fact]
    public void What_kubelet_shares_goes_with_kube_proxy_once_kubelet_is_newer()
    {
        var worker = Running("iptables");
        worker.Facts = worker.Facts with { Versions = worker.Facts.Versions with { Kubelet = "1.31.2" } };
        worker.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, kubeProxy: {mode: none, change: always}}";

        worker.Apply();

        worker.Machine.Rules.All.ShouldNotContain(
            r => r.Contains(" KUBE-POSTROUTING", StringComparison.Ordinal) || r.Contains(" KUBE-MARK-MASQ:", StringComparison.Ordinal));
        worker.Machine.Rules.All.ShouldContain(r => r.Contains(" KUBE-MARK-DROP:", StringComparison.Ordinal));
    }

    [Fact]
    public void Policy_boot_leaves_a_running_node_as_it_is()
    {
        var worker = Running("iptables");
        Say(worker, "ipvs", "boot");
        var before = worker.Machine.Rules.All;

        var refused = Find(worker.Plan()).ShouldBeOfType<Refused>();
        refused.Why.ShouldContain("kube-proxy goes from iptables to ipvs");
        refused.Remedy.ShouldContain("reboot");
        worker.Apply();

        worker.Machine.Rules.All.ShouldBe(before);
        System.Text.Encoding.UTF8.GetString(worker.Machine.File(Configuration).Content!).ShouldContain("mode: iptables");
    }

    [Theory]
    [InlineData("boot")]
    [InlineData("drained")]
    public void Policy_holds_for_no_kube_proxy_as_well_and_every_file_of_it_stays_that_long(string policy)
    {
        string[] files = [Manifest, Configuration, "/etc/kubernetes/kube-proxy/kubeconfig", Client];
        var worker = Running("iptables");
        worker.Pods = ["default/a"];
        Say(worker, "none", policy);
        var before = worker.Machine.Rules.All;

        for (var run = 0; run < 2; run++)
        {
            worker.Apply().Steps.Single(s => s.Resource is ProxyLeftovers).Outcome.ShouldBeOfType<RefusedToChange>();
            worker.Machine.Rules.All.ShouldBe(before);
            files.ShouldAllBe(f => worker.Machine.AllFiles.ContainsKey(f));
        }

        worker.Machine.Reboot();
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        files.ShouldAllBe(f => !worker.Machine.AllFiles.ContainsKey(f));
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void While_policy_keeps_a_kube_proxy_that_is_not_wanted_any_more_its_certificate_is_renewed()
    {
        var worker = Running("iptables");
        worker.Pods = ["default/a"];
        Say(worker, "none", "drained");
        worker.Apply();
        var before = worker.Machine.PrivateKey(Client).PublicKey;
        worker.Machine.Now = worker.Machine.Now.AddDays(61);

        Renew(worker).Succeeded.ShouldBeTrue();

        worker.Machine.PrivateKey(Client).PublicKey.ShouldNotBe(before);
        worker.Asked[^1].ShouldContain("kube-proxy");
        // And where nobody came to renew it in time, by the next run.
        worker.Machine.Now = worker.Machine.Now.AddDays(91);
        worker.Apply();
        Find(worker.Plan()).ShouldBeOfType<Refused>();
        worker.Plan().Steps.Single(s => s.Resource.Name == Client).Finding.ShouldBeOfType<InSync>();

        worker.Machine.Reboot();
        worker.Asked.Clear();
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.AllFiles.ContainsKey(Client).ShouldBeFalse();
        worker.Machine.Now = worker.Machine.Now.AddDays(61);
        Renew(worker).Succeeded.ShouldBeTrue();
        worker.Asked.SelectMany(a => a).ShouldNotContain("kube-proxy");
        worker.Machine.AllFiles.ContainsKey(Client).ShouldBeFalse();
        Should.Throw<NotPossibleException>(() => Renew(worker, "kube-proxy")).Message
            .ShouldBe("kube-proxy is not this node's; it has kubelet-client, kubelet-serving");
    }

    [Theory]
    [InlineData("# Written by somebody else.\n")]
    [InlineData(null)]
    public void A_certificate_that_no_kube_proxy_of_ours_reads_is_not_renewed(string? manifest)
    {
        var worker = Running("iptables");
        worker.Pods = ["default/a"];
        Say(worker, "none", "drained");
        if (manifest is null)
        {
            worker.Machine.Remove(Manifest);
        }
        else
        {
            worker.Machine.Put(Manifest, worker.Machine.File(Manifest) with { Content = System.Text.Encoding.UTF8.GetBytes(manifest) });
        }

        worker.Machine.Now = worker.Machine.Now.AddDays(91);

        worker.Plan().Steps.Single(s => s.Resource.Name == Client).Finding.ShouldBeOfType<InSync>();
    }

    [Fact]
    public void A_node_that_never_had_a_kube_proxy_asks_for_no_certificate_for_one()
    {
        var worker = new Worker();
        Say(worker, "none");

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Asked.ShouldHaveSingleItem().ShouldBe(["kubelet-client", "kubelet-serving"]);
    }

    [Fact]
    public void Policy_drained_waits_for_a_node_without_pods()
    {
        var worker = Running("iptables");
        Say(worker, "ipvs", "drained");
        worker.Pods = ["default/a", "default/b", "shop/c", "shop/d"];
        Find(worker.Plan()).ShouldBeOfType<Refused>().Why.ShouldEndWith("there are default/a, default/b, shop/c and 1 more");

        worker.Pods = null;
        Find(worker.Plan()).ShouldBeOfType<Unknown>();

        worker.Pods = [];
        Find(worker.Plan()).ShouldBeOfType<Change>();
    }

    [Fact]
    public void A_change_that_was_cut_off_is_gone_on_with_whatever_policy_says()
    {
        var worker = Running("iptables");
        Say(worker, "ipvs", "boot");
        worker.Machine.Remove(Manifest);
        worker.Machine.Rules.Processes.Clear();

        Find(worker.Plan()).ShouldBeOfType<Change>();
    }

    [Fact]
    public void A_kube_proxy_of_a_daemon_set_keeps_its_rules_where_none_of_ours_is_wanted()
    {
        var worker = Running("none");
        ProxyKernels.Mode(worker.Machine.Rules, "iptables");
        worker.Machine.Rules.Processes.Clear();
        worker.Machine.Rules.Processes.Add(ProxyKernels.OfADaemonSet);
        var before = worker.Machine.Rules.All;

        Find(worker.Plan()).ShouldBeOfType<InSync>().Notes.ShouldContain(n => n.Contains("process 815", StringComparison.Ordinal));
        worker.Apply();

        worker.Machine.Rules.All.ShouldBe(before);
    }

    [Fact]
    public void Two_kube_proxies_of_different_modes_are_refused()
    {
        var worker = Running("ipvs");
        worker.Machine.Rules.Processes.Add(ProxyKernels.OfADaemonSet);
        ProxyKernels.Iptables(worker.Machine.Rules, ChainTable.Nft, "ip");

        Find(worker.Plan()).ShouldBeOfType<Refused>().Remedy.ShouldContain("DaemonSet");
    }

    [Fact]
    public void Virtual_servers_of_others_are_named_and_left()
    {
        var worker = Running("ipvs");
        Say(worker, "iptables");

        Find(worker.Plan()).Notes.ShouldHaveSingleItem()
            .ShouldStartWith("IPVS: tcp 192.0.2.10:80, udp 192.0.2.10:30080, tcp 192.0.2.20:30080 are not kube-proxy's and left alone");
    }

    [Fact]
    public void Virtual_servers_in_excluded_ranges_are_others()
    {
        var worker = Running("ipvs");
        worker.Machine.Rules.Interfaces["kube-ipvs0"] = ["10.96.0.1", "198.51.100.7"];
        worker.ExtraConfig =
            "{apiVersion: nodeagent/v1, kind: NodeConfig, kubeProxy: {mode: iptables, change: always, ipvs: {excludeCidrs: [198.51.100.0/24]}}}";

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Rules.Servers.ShouldContain(new VirtualServer("tcp", "198.51.100.7", 80));
    }

    [Fact]
    public void Ranges_that_the_former_kube_proxy_left_alone_are_left_alone_by_the_change()
    {
        var worker = Running("none");
        worker.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, kubeProxy: {mode: ipvs, ipvs: {excludeCidrs: [203.0.113.0/24, 198.51.100.0/24]}}}";
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        ProxyKernels.Mode(worker.Machine.Rules, "ipvs");
        Say(worker, "iptables");

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Rules.Servers.ShouldContain(new VirtualServer("tcp", "198.51.100.7", 80));
        worker.Machine.Rules.Servers.ShouldNotContain(new VirtualServer("tcp", "10.96.0.1", 443));
    }

    [Theory]
    [InlineData("kubelet.service")]
    [InlineData("containerd.service")]
    public void Where_nobody_would_end_kube_proxy_its_manifest_stays(string unit)
    {
        var worker = Running("iptables");
        Say(worker, "ipvs");
        worker.Machine.Set(worker.Machine.Unit(unit) with { ActiveState = "inactive", SubState = "dead" });
        var before = worker.Machine.Rules.All;

        var refused = Find(worker.Plan()).ShouldBeOfType<Refused>();
        refused.Why.ShouldEndWith($"{unit} does not run, so nobody ends kube-proxy");
        refused.Remedy.ShouldStartWith($"systemctl start {unit}");
        worker.Apply();

        worker.Machine.Rules.All.ShouldBe(before);
        worker.Machine.AllFiles.ContainsKey(Manifest).ShouldBeTrue();
    }

    [Theory]
    [InlineData("boot")]
    [InlineData("drained")]
    public void Rules_that_somebody_restored_at_boot_protect_nobody(string policy)
    {
        var worker = Running("iptables");
        worker.Machine.Reboot();
        worker.Pods = null;
        ProxyKernels.Iptables(worker.Machine.Rules, ChainTable.Nft, "ip");
        Say(worker, "ipvs", policy);

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Rules.All.ShouldNotContain(r => r.Contains("KUBE-SVC-", StringComparison.Ordinal));
        System.Text.Encoding.UTF8.GetString(worker.Machine.File(Configuration).Content!).ShouldContain("mode: ipvs");
    }

    [Fact]
    public void Chains_of_kubelets_alone_protect_nobody()
    {
        var worker = Running("iptables");
        worker.Machine.Rules.Clear();
        ProxyKernels.Kubelet(worker.Machine.Rules);
        Say(worker, "ipvs", "boot");

        Find(worker.Plan()).ShouldBeOfType<Change>().Disruption.ShouldBe(Disruption.None);
    }

    [Fact]
    public void A_chain_that_somebody_else_uses_is_named_and_nothing_of_its_table_goes()
    {
        var worker = Running("iptables");
        worker.Machine.Rules.Chain("nat", "theirs", "KUBE-SVC-AAAAAAAAAAAAAAAA");
        Say(worker, "ipvs");

        var problem = WorkerTests.Problems(worker.Apply());

        problem.ShouldContain(p => p.Contains("KUBE-SVC-AAAAAAAAAAAAAAAA is still used by theirs", StringComparison.Ordinal));
        worker.Machine.AllFiles.ContainsKey(Manifest).ShouldBeFalse();
    }

    private static RunResult Renew(Worker worker, string? role = null) => Applier.Apply(
        CertificateRenewal.Of(worker.List(), role, all: false, worker.Machine), worker.Machine, worker.Machine, Worker.Quiet, CancellationToken.None);

    private static Finding Find(Plan plan) => plan.Steps.Single(s => s.Resource.Kind == "service proxy").Finding;

    private static void Say(Worker worker, string mode, string change = "always") =>
        worker.ExtraConfig = $"{{apiVersion: nodeagent/v1, kind: NodeConfig, kubeProxy: {{mode: {mode}, change: {change}}}}}";

    /// <summary>A node that runs in this mode, with kubelet's and others' rules.</summary>
    private static Worker Running(string mode)
    {
        var worker = new Worker();
        // A kubelet that makes KUBE-POSTROUTING itself, and a kube-proxy that knows nftables: no such pair is released, and names do not ask for one.
        worker.Facts = worker.Facts with { Versions = worker.Facts.Versions with { Kubelet = "1.20.2" } };
        worker.PendingConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, kubeProxy: {image: 'registry.k8s.io/kube-proxy:v1.33.0'}}";
        Say(worker, mode);
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        ProxyKernels.Others(worker.Machine.Rules);
        ProxyKernels.Kubelet(worker.Machine.Rules);
        ProxyKernels.Mode(worker.Machine.Rules, mode);
        return worker;
    }

    /// <summary>What stays of <see cref="Running"/> in any mode: kubelet's and others'.</summary>
    private static IReadOnlyList<string> Left()
    {
        var rules = new SimulatedRules();
        ProxyKernels.Others(rules);
        ProxyKernels.Kubelet(rules);
        return rules.All;
    }
}
