using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Tests.Desired;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Resources;

public class PluginLeftoversTests
{
    private const string Foreign = "/etc/cni/net.d/99-mine.conf";

    private static readonly string[] Plugins = ["bridge", "cilium", "calico", "flannel", "aws-vpc-cni"];

    public static TheoryData<string, string> Changes()
    {
        var data = new TheoryData<string, string>();
        foreach (var from in Plugins)
        {
            foreach (var to in Plugins.Where(p => p != from))
            {
                data.Add(from, to);
            }
        }

        return data;
    }

    public static TheoryData<string> All() => [.. Plugins];

    [Theory]
    [MemberData(nameof(Changes))]
    public void A_change_of_plugin_takes_all_of_the_former_plugin_and_nothing_else(string from, string to)
    {
        var worker = Running(from);
        Say(worker, to);

        Find(worker.Plan()).ShouldBeOfType<Change>().Disruption.ShouldBe(Disruption.RecreatesPods);
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        Holds(worker, from, to, "");
    }

    [Theory]
    [MemberData(nameof(Changes))]
    public void A_change_of_plugin_that_is_cut_off_at_any_write_is_gone_on_with(string from, string to)
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
                Holds(worker, from, to, $"cut at write {cut}");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Changes))]
    public void After_a_boot_there_are_only_files_to_take_whatever_policy_says(string from, string to)
    {
        var worker = Running(from);
        worker.Machine.Reboot();
        worker.Pods = null;
        Say(worker, to, "boot");

        Find(worker.Plan()).ShouldBeOfType<Change>().Disruption.ShouldBe(Disruption.None);
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.AllFiles.ContainsKey(FileOf(from)).ShouldBeFalse();
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Theory]
    [MemberData(nameof(All))]
    public void The_plugin_that_is_wanted_is_never_touched(string plugin)
    {
        var worker = Running(plugin);
        var before = worker.Machine.Rules.All;
        worker.Machine.Writes.Clear();

        Find(worker.Plan()).ShouldBeOfType<InSync>().Notes.ShouldBeEmpty();
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Writes.ShouldBeEmpty();
        worker.Machine.Rules.All.ShouldBe(before);
        worker.Machine.AllFiles.ContainsKey(FileOf(plugin)).ShouldBeTrue();
    }

    [Theory]
    [MemberData(nameof(Changes))]
    public void A_plugin_that_this_node_is_not_known_to_have_had_is_left_alone(string beside, string plugin)
    {
        // Calico's policies on the VPC CNI, a chain, an agent older than the record.
        var worker = Running(plugin);
        PluginKernels.Of(worker.Machine.Rules, beside);
        var before = worker.Machine.Rules.All;

        Find(worker.Plan()).ShouldBeOfType<InSync>();
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Rules.All.ShouldBe(before);
    }

    [Fact]
    public void Where_somebody_else_sets_the_network_up_nothing_is_taken_and_the_former_plugin_stays_known()
    {
        var worker = Running("cilium");
        var before = worker.Machine.Rules.All;
        Say(worker, "none");
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.Rules.All.ShouldBe(before);

        Say(worker, "calico");
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        Holds(worker, "cilium", "calico", "");
    }

    [Fact]
    public void The_order_takes_configuration_first_and_what_says_that_there_was_another_last()
    {
        var worker = Running("calico");
        Say(worker, "bridge");
        worker.Machine.Writes.Clear();
        worker.Apply();

        worker.Machine.Writes.SkipWhile(w => w != $"delete {FileOf("calico")}").TakeWhile(w => w != $"write {PodNetwork.ConfigurationPath}").ShouldBe(
        [
            $"delete {FileOf("calico")}", "remove interface cali0123456789a", "remove interface vxlan.calico", "take interface tunl0 down", "remove 2 routes",
            "remove chains nft ip filter", "remove 1 ipsets", "remove table ip calico", $"delete {FormerNetwork.RecordPath}",
        ]);
    }

    [Theory]
    [InlineData("calico", "cilium")]
    [InlineData("calico", "bridge")]
    [InlineData("bridge", "cilium")]
    public void What_is_left_after_it_was_taken_away_is_an_error_and_its_plugin_stays_known(string from, string to)
    {
        var worker = Running(from);
        Say(worker, to);
        worker.Machine.Breaks = w =>
        {
            if (w.StartsWith("remove chains", StringComparison.Ordinal))
            {
                // Somebody makes it again.
                worker.Machine.Rules.Links.Add(new("vxlan.calico", "vxlan", null, true));
            }

            return w == "remove interface cni0" ? "busy" : null;
        };

        WorkerTests.Problems(worker.Apply()).ShouldContain(p => p.StartsWith($"network plugin {to}: Failed", StringComparison.Ordinal));
        Record(worker).ShouldBe([$"plugin: {from}"]);
        worker.Machine.AllFiles.ContainsKey(PodNetwork.ConfigurationPath).ShouldBeFalse();

        worker.Machine.Breaks = _ => null;
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        Holds(worker, from, to, "");
    }

    [Fact]
    public void Leaving_our_own_configuration_the_record_comes_first_and_the_configuration_goes_before_the_network()
    {
        var worker = Running("bridge");
        Say(worker, "calico");
        worker.Machine.Writes.Clear();
        worker.Apply();

        worker.Machine.Writes.SkipWhile(w => w != $"write {FormerNetwork.RecordPath}").Take(4).ShouldBe(
        [
            $"write {FormerNetwork.RecordPath}", $"delete {PodNetwork.ConfigurationPath}", "remove interface veth0", "remove interface cni0",
        ]);
        Record(worker).ShouldBe(["plugin: calico"]);
    }

    [Fact]
    public void With_nobody_of_ours_the_configuration_waits_for_pods_and_whose_it_was_stays_known()
    {
        var worker = Running("bridge");
        Say(worker, "none");
        worker.Pods = ["default/a"];

        Find(worker.Plan()).ShouldBeOfType<Refused>().Why.ShouldEndWith("there is default/a");
        worker.Apply();
        worker.Machine.AllFiles.ContainsKey(PodNetwork.ConfigurationPath).ShouldBeTrue();

        worker.Pods = [];
        var before = worker.Machine.Rules.All;
        Find(worker.Plan()).ShouldBeOfType<Change>().Disruption.ShouldBe(Disruption.RecreatesPods);
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.AllFiles.ContainsKey(PodNetwork.ConfigurationPath).ShouldBeFalse();
        worker.Machine.Rules.All.ShouldBe(before);
        Record(worker).ShouldBe(["plugin: bridge"]);
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();

        Say(worker, "cilium");
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        Holds(worker, "bridge", "cilium", "");
    }

    [Fact]
    public void Of_a_file_that_goes_with_the_change_nobody_says_that_it_should_be_removed_by_hand()
    {
        var worker = Running("calico");
        Say(worker, "cilium");

        worker.Plan().Notes.ShouldContain(n => n.Note.Contains(Foreign, StringComparison.Ordinal));
        worker.Plan().Notes.ShouldNotContain(n => n.Note.Contains("rm " + FileOf("calico"), StringComparison.Ordinal));
    }

    [Fact]
    public void A_plan_names_what_goes_in_its_order()
    {
        var worker = Running("aws-vpc-cni");
        Say(worker, "cilium");

        var change = Find(worker.Plan()).ShouldBeOfType<Change>();

        change.Why.ShouldBe("pods' network goes from aws-vpc-cni to cilium: what aws-vpc-cni left is removed");
        change.Diff.ShouldBe(
            "- /etc/cni/net.d/10-aws.conflist\n- interface eni0123456789a (veth)\n- rule ip 512: from all to 10.0.1.77/32 lookup 254\n"
                + "- rule ip 1024: from all fwmark 0x80/0x80 lookup 254\n- rule ip 1536: from 10.0.1.77/32 lookup 2\n"
                + "- chains of ip nat: AWS-SNAT-CHAIN-* (1), AWS-CONNMARK-CHAIN-* (1)\n");
        change.Notes.ShouldContain(n => n.Contains("eni-mine (dummy)", StringComparison.Ordinal));
        change.Notes.ShouldContain(n => n.StartsWith("an interface of a pod goes", StringComparison.Ordinal));
    }

    [Fact]
    public void Policy_drained_waits_for_a_node_without_pods()
    {
        var worker = Running("calico");
        Say(worker, "bridge");
        worker.Pods = ["default/a", "default/b", "shop/c", "shop/d"];
        var before = worker.Machine.Rules.All;

        Find(worker.Plan()).ShouldBeOfType<Refused>().Why.ShouldEndWith("there are default/a, default/b, shop/c and 1 more");
        worker.Apply();
        worker.Machine.Rules.All.ShouldBe(before);
        worker.Machine.AllFiles.ContainsKey(FileOf("calico")).ShouldBeTrue();
        worker.Machine.AllFiles.ContainsKey(PodNetwork.ConfigurationPath).ShouldBeFalse();

        worker.Pods = null;
        Find(worker.Plan()).ShouldBeOfType<Unknown>();

        worker.Pods = [];
        Find(worker.Plan()).ShouldBeOfType<Change>();
    }

    [Fact]
    public void Our_own_configuration_stays_while_pods_that_were_made_by_it_run()
    {
        var worker = Running("bridge");
        Say(worker, "cilium");
        worker.Pods = ["default/a"];

        worker.Apply();

        worker.Machine.AllFiles.ContainsKey(PodNetwork.ConfigurationPath).ShouldBeTrue();
        worker.Machine.AllFiles.ContainsKey(FormerNetwork.RecordPath).ShouldBeFalse();
        worker.Pods = [];
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        Holds(worker, "bridge", "cilium", "");
    }

    [Fact]
    public void Policy_boot_leaves_a_running_node_as_it_is()
    {
        var worker = Running("flannel");
        Say(worker, "calico", "boot");
        var before = worker.Machine.Rules.All;

        Find(worker.Plan()).ShouldBeOfType<Refused>().Remedy.ShouldContain("reboot");
        worker.Apply();

        worker.Machine.Rules.All.ShouldBe(before);
        Encoding.UTF8.GetString(worker.Machine.File(FormerNetwork.RecordPath).Content!).ShouldContain("plugin: flannel\n");
    }

    [Fact]
    public void Policy_always_says_what_pods_lose()
    {
        var worker = Running("flannel");
        Say(worker, "calico", "always");
        worker.Pods = null;

        Find(worker.Plan()).ShouldBeOfType<Change>().Notes.ShouldContain(n => n.StartsWith("an interface of a pod goes", StringComparison.Ordinal));
    }

    [Fact]
    public void A_former_plugin_whose_agent_still_runs_is_refused()
    {
        var worker = Running("calico");
        Say(worker, "cilium", "always");
        worker.Machine.Rules.Processes.Add(new(815, ["calico-node", "-felix"]));

        var refused = Find(worker.Plan()).ShouldBeOfType<Refused>();

        refused.Why.ShouldContain("calico's agent still runs here (process 815: calico-node -felix)");
        refused.Remedy.ShouldContain(FormerNetwork.RecordPath);
    }

    [Fact]
    public void Programs_of_Cilium_that_only_a_boot_takes_away_are_not_passed_over_in_silence()
    {
        var worker = Running("cilium");
        worker.Machine.Put("/sys/fs/bpf/tc/globals/cilium_ct4_global", new FileReport(FileKind.Regular));
        worker.Machine.Put("/sys/fs/bpf/tc/globals/mine", new FileReport(FileKind.Regular));
        Say(worker, "calico");

        var refused = Find(worker.Plan()).ShouldBeOfType<Refused>();
        refused.Why.ShouldEndWith("takes away: /sys/fs/bpf/tc/globals/cilium_ct4_global");
        refused.Remedy.ShouldBe(
            "reboot the node, run cilium-dbg post-uninstall-cleanup --all-state in Cilium's image, or say network.change: always");

        Say(worker, "calico", "always");
        Find(worker.Plan()).ShouldBeOfType<Change>().Notes.ShouldContain(n => n.StartsWith("programs of cilium stay in the kernel", StringComparison.Ordinal));
    }

    [Fact]
    public void A_bridge_with_a_port_that_is_no_pods_is_named_and_left()
    {
        var worker = Running("flannel");
        worker.Machine.Rules.Links.Add(new("ens7", "", "cni0", true));
        Say(worker, "cilium");

        Find(worker.Plan()).Notes.ShouldContain(n => n.Contains("cni0 (bridge)", StringComparison.Ordinal));
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Rules.Links.Select(l => l.Name).ShouldContain("cni0");
        worker.Machine.Rules.Links.Select(l => l.Name).ShouldNotContain("flannel.1");
    }

    [Fact]
    public void Addresses_and_routes_that_are_not_in_the_clusters_range_of_pods_are_named_and_left()
    {
        var worker = Running("calico");
        worker.Machine.Rules.Interfaces["tunl0"] = ["192.0.2.1"];
        worker.Machine.Rules.Routes.Insert(0, new("ip", 12, 254, "unicast", "10.244.0.0/14", "10.0.1.1"));
        Say(worker, "cilium");

        var notes = Find(worker.Plan()).Notes;
        notes.ShouldContain(n => n.StartsWith("interface tunl0 is up and left alone", StringComparison.Ordinal));
        notes.ShouldContain(n => n.EndsWith("ip 192.0.2.0/24 via 10.0.1.1", StringComparison.Ordinal));
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Rules.Links.Single(l => l.Name == "tunl0").IsUp.ShouldBeTrue();
        worker.Machine.Rules.Routes.Select(r => r.Destination).ShouldBe(["10.244.0.0/14", "192.0.2.0/24", "10.244.99.0/24"]);
    }

    [Fact]
    public void Routing_rules_that_say_more_or_are_for_an_address_of_this_machine_are_left()
    {
        var worker = Running("aws-vpc-cni");
        var more = new RoutingRule("ip", 1024, null, null, null, 0x80, 0x80, 254) { SaysMore = true };
        var own = new RoutingRule("ip", 512, null, "10.0.1.7/32", null, 0, 0, 254);
        worker.Machine.Rules.RoutingRules.AddRange([more, own]);
        worker.Machine.Rules.Interfaces["ens5"] = ["10.0.1.7"];
        Say(worker, "cilium");

        var notes = Find(worker.Plan()).Notes;
        notes.ShouldContain(n => n.StartsWith("routing rules left alone, since they say more", StringComparison.Ordinal)
            && n.EndsWith("ip 1024: from all fwmark 0x80/0x80 lookup 254, and more", StringComparison.Ordinal));
        notes.ShouldContain(n => n.StartsWith("routing rules left alone, since their address is this machine's own", StringComparison.Ordinal)
            && n.EndsWith("ip 512: from all to 10.0.1.7/32 lookup 254", StringComparison.Ordinal));
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Rules.RoutingRules.Where(r => r.Priority is 512 or 1024).ShouldBe([more, own]);
    }

    [Fact]
    public void A_chain_that_somebody_else_uses_is_named_and_the_change_is_not_called_done()
    {
        var worker = Running("flannel");
        worker.Machine.Rules.Chain("filter", "theirs", "FLANNEL-FWD");
        Say(worker, "calico");

        WorkerTests.Problems(worker.Apply()).ShouldContain(p => p.Contains("FLANNEL-FWD is still used by theirs", StringComparison.Ordinal));

        Encoding.UTF8.GetString(worker.Machine.File(FormerNetwork.RecordPath).Content!).ShouldContain("plugin: flannel\n");
    }

    [Fact]
    public void The_older_iptables_and_the_other_family_are_looked_at()
    {
        var worker = Running("cilium");
        worker.Machine.Rules.ChainIn(ChainTable.Legacy, "ip6", "raw", "CILIUM_PRE_raw");
        Say(worker, "calico");

        Find(worker.Plan()).ShouldBeOfType<Change>().Diff!.ShouldContain("- chains of ip6 raw (iptables-legacy): CILIUM_* (1)\n");
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        Holds(worker, "cilium", "calico", "");
    }

    [Fact]
    public void The_table_of_vpc_routes_goes_with_it()
    {
        var worker = Running("calico");
        worker.Machine.Put(PodNetwork.ConfigurationPath, new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes("{\"ipMasq\": false}\n")));
        worker.Machine.SetPacketFilter("nodeagent", "");
        PluginKernels.Bridge(worker.Machine.Rules);

        Find(worker.Plan()).ShouldBeOfType<Change>().Why.ShouldStartWith("pods' network goes from vpc-routes to calico");
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.PacketFilter("nodeagent").ShouldBeNull();
        worker.Machine.AllFiles.ContainsKey(PodNetwork.ConfigurationPath).ShouldBeFalse();
        // Its own stays.
        worker.Machine.Rules.Links.Select(l => l.Name).ShouldContain("vxlan.calico");
    }

    [Theory]
    [InlineData("bridge", true)]
    [InlineData("cilium", false)]
    public void Our_own_configuration_that_somebody_edited_is_repaired_or_goes(string plugin, bool isThere)
    {
        var worker = Running("bridge");
        worker.Machine.Put(PodNetwork.ConfigurationPath, new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes("{}"), (UnixFileMode)0x1A4));
        Say(worker, plugin);

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.AllFiles.ContainsKey(PodNetwork.ConfigurationPath).ShouldBe(isThere);
        worker.Machine.Rules.Links.Select(l => l.Name).Contains("cni0").ShouldBe(isThere);
    }

    private static IEnumerable<string> Record(Worker worker) => Encoding.UTF8.GetString(worker.Machine.File(FormerNetwork.RecordPath).Content!)
        .Split('\n').Where(l => l.StartsWith("plugin: ", StringComparison.Ordinal));

    private static Finding Find(Plan plan) => plan.Steps.Single(s => s.Resource.Kind == "network plugin").Finding;

    private static void Say(Worker worker, string plugin, string change = "drained") => worker.ExtraConfig =
        "{apiVersion: nodeagent/v1, kind: NodeConfig, cluster: {podRange: 10.244.0.0/16}, "
            + $"network: {{plugin: {plugin}, change: {change}, podRange: {(plugin == "bridge" ? "10.244.3.0/24" : "null")}}}}}";

    private static string FileOf(string plugin) => plugin switch
    {
        "bridge" => PodNetwork.ConfigurationPath,
        "cilium" => "/etc/cni/net.d/05-cilium.conflist",
        "aws-vpc-cni" => "/etc/cni/net.d/10-aws.conflist",
        _ => $"/etc/cni/net.d/10-{plugin}.conflist",
    };

    /// <summary>A node on which this plugin has set its network up, with others' things beside it.</summary>
    private static Worker Running(string plugin)
    {
        var worker = new Worker();
        Say(worker, plugin);
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.Put(Foreign, new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes("{}")));
        if (plugin != "bridge")
        {
            worker.Machine.Put(FileOf(plugin), new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes("{}")));
        }

        PluginKernels.Others(worker.Machine.Rules);
        PluginKernels.Of(worker.Machine.Rules, plugin);
        return worker;
    }

    private static void Holds(Worker worker, string from, string to, string when)
    {
        var left = new SimulatedRules();
        PluginKernels.Others(left);
        PluginKernels.Stays(left, from);
        worker.Machine.Rules.All.ShouldBe(left.All, when);
        // The runtime reads it, and it is nobody's that is known.
        worker.Machine.AllFiles.ContainsKey(Foreign).ShouldBeTrue(when);
        worker.Machine.AllFiles.ContainsKey(FileOf(from)).ShouldBeFalse(when);
        worker.Machine.AllFiles.ContainsKey(PodNetwork.ConfigurationPath).ShouldBe(to == "bridge", when);
        (worker.Machine.File(FormerNetwork.RecordPath) is { Content: { } record } ? Encoding.UTF8.GetString(record).Split('\n')[^2] : null)
            .ShouldBe(to == "bridge" ? null : $"plugin: {to}", when);
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty(when);
    }
}
