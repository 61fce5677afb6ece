using System.Text;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// From the agent's own bridge to Calico, Cilium, flannel, the VPC CNI, and back, on a node that runs: refused while a pod is on it, done when there is none,
/// nothing of the former plugin left, what looks alike and is others' untouched. The bridge and its pod are real. What the plugins would have made is made here
/// by hand, by ip, iptables, ipset and nft, under the names that they use: none of them runs.
/// </summary>
internal static class CniSwitch
{
    private const string Pods = "/api/v1/namespaces/kube-system/pods";

    private const string Record = "/var/lib/nodeagent/network-plugin";

    private const string Ours = "/etc/cni/net.d/10-nodeagent.conflist";

    private static readonly (string From, string To)[] Changes =
        [("calico", "cilium"), ("cilium", "flannel"), ("flannel", "aws-vpc-cni"), ("aws-vpc-cni", "bridge")];

    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await Worker.ReadyNodeAsync(lab);
        // Restrained first: or networkd takes what it does not know away as it is started anew, others' rules among them.
        await SayAsync(guest, "bridge");
        await guest.CheckAsync("nodeagent apply", Worker.ConvergeTimeout);
        await PodAsync(lab);
        var others = await OthersAsync(guest);

        lab.Say("a pod runs");
        await SayAsync(guest, "calico");
        var refused = await guest.RunAsync("nodeagent apply", Worker.ConvergeTimeout);
        refused.ExitCode.ShouldBe(5);
        (refused.Output + refused.Error).ShouldContain("network.change: drained waits for a node without pods; there is kube-system/pod");
        await guest.CheckAsync($"test -f {Ours} && test -e /sys/class/net/cni0 && ! test -e {Record}");

        lab.Say("from bridge to calico, drained");
        await lab.ApiServer.DeleteAsync($"{Pods}/pod?gracePeriodSeconds=0");
        await guest.WaitForAsync("! ip -oneline link show | grep 'master cni0'", Worker.ConvergeTimeout);
        await PlannedAsync(guest, "calico");
        await DoneAsync(lab, guest, others);

        foreach (var (from, to) in Changes)
        {
            lab.Say($"from {from} to {to}");
            await guest.CheckAsync("set -e\n" + Configuration(from) + Made(from), Worker.ConvergeTimeout);
            (await LeftAsync(guest)).ShouldNotBe("");
            await SayAsync(guest, to);
            if (from == "cilium")
            {
                // Killed, not asked to end; and killed all the same should it be done before the step is seen.
                await guest.CheckAsync(
                    """
                    nodeagent apply >/dev/null 2>&1 & agent=$!
                    while test -e /sys/class/net/cilium_host; do kill -0 $agent 2>/dev/null || break; done
                    kill -KILL $agent 2>/dev/null; wait $agent; true
                    """,
                    Worker.ConvergeTimeout);
                lab.Say($"killed, with this left: {(await LeftAsync(guest)).ReplaceLineEndings("; ")}");
            }
            else
            {
                await PlannedAsync(guest, to);
            }

            await DoneAsync(lab, guest, others);
        }

        (await guest.CheckAsync("ip -brief link show dev tunl0")).ShouldContain("DOWN");
        await guest.CheckAsync($"test -f {Ours} && ! test -e {Record}");
        await lab.WaitForAsync("the node is Ready", Worker.ConvergeTimeout, () => lab.ApiServer.NodeReadyAsync(Worker.Node));
    }

    private static async Task PlannedAsync(Guest guest, string to)
    {
        var (exitCode, resources) = await Worker.PlanAsync(guest);
        exitCode.ShouldBe(2);
        resources.ShouldContain($"network plugin {to}");
    }

    private static async Task DoneAsync(Laboratory lab, Guest guest, string others)
    {
        var output = await guest.CheckAsync("nodeagent apply", Worker.ConvergeTimeout);
        lab.Say(output.Split('\n').FirstOrDefault(l => l.Contains("network plugin", StringComparison.Ordinal)) ?? "no network plugin in what apply says");
        (await LeftAsync(guest)).ShouldBe("");
        (await OthersOfAsync(guest)).ShouldBe(others);
        await Worker.NothingToDoAsync(guest);
    }

    private static Task SayAsync(Guest guest, string plugin) => guest.WriteAsync(
        "/etc/nodeagent/config.d/20-network.yaml",
        $"apiVersion: nodeagent/v1\nkind: NodeConfig\nnetwork: {{plugin: {plugin}, restrainNetworkd: true}}\n");

    /// <summary>One that has its network by the agent's own bridge.</summary>
    private static async Task PodAsync(Laboratory lab)
    {
        await lab.ApiServer.ServiceAccountAsync();
        await lab.ApiServer.PostAsync(Pods, new
        {
            metadata = new { name = "pod" },
            spec = new
            {
                nodeName = Worker.Node,
                automountServiceAccountToken = false,
                terminationGracePeriodSeconds = 0,
                tolerations = new[] { new { @operator = "Exists" } },
                containers = new[] { new { name = "pause", image = "registry.k8s.io/pause:3.9", imagePullPolicy = "Never" } },
            },
        });
        await lab.WaitForAsync("a pod runs", Worker.ConvergeTimeout, async () =>
        {
            var status = (await lab.ApiServer.GetAsync($"{Pods}/pod")).GetProperty("status");
            return (status.GetProperty("phase").GetString() == "Running", status.ToString());
        });
    }

    /// <summary>What other programs have in the same places, some under names that begin like plugins'.</summary>
    private static async Task<string> OthersAsync(Guest guest)
    {
        await guest.CheckAsync("""
            set -e
            ip link add lxcbr0 type bridge
            ip link add calimine type dummy
            ip link add enimine type dummy
            ip address add 192.0.2.10/32 dev enimine
            ip rule add pref 1000 fwmark 0x1/0x1 lookup 100
            ip route add blackhole 192.0.2.128/25 proto 12
            iptables -N calico-dhcp-mine
            iptables -A FORWARD -d 192.0.2.99 -m comment --comment mine -j calico-dhcp-mine
            iptables -t nat -N AWS-MINE
            iptables -t nat -A PREROUTING -d 192.0.2.98 -j AWS-MINE
            ipset create calimine hash:ip
            nft add table ip mine
            echo '{}' >/etc/cni/net.d/99-mine.conf.off
            """);
        return await OthersOfAsync(guest);
    }

    private static Task<string> OthersOfAsync(Guest guest) => guest.CheckAsync("""
        for i in lxcbr0 calimine enimine; do ip -brief address show dev $i; done
        ip rule show pref 1000
        ip route show 192.0.2.128/25
        iptables-save | grep -iE 'mine' | sed 's/\[.*//'
        ipset list -n | grep mine
        nft list table ip mine
        ls /etc/cni/net.d/99-mine.conf.off
        """);

    /// <summary>Whatever carries a plugin's name, or the bridge's.</summary>
    private static Task<string> LeftAsync(Guest guest) => guest.CheckAsync(
        """
        {
            ip -oneline link show | cut -d: -f2 | grep -E 'cali0|[.]calico|cilium|lxc0|flannel|eni0|cni0'
            { ip rule show; ip -6 rule show; } | grep -E 'fwmark 0x(200|80)/|10[.]244'
            ip route show | grep -F 10.244
            { iptables-save; ip6tables-save; } | grep -E 'cali-[Fp]|cali:|CILIUM|FLANNEL|flanneld|AWS-[SC]|AWS,|AWS SNAT'
            ipset list -n | grep -E 'cali40|cilium'
            nft list tables | grep -F 'ip calico'
            ls /etc/cni/net.d | grep -E 'calico|cilium|flannel|aws'
        }
        true
        """,
        Worker.ConvergeTimeout);

    /// <summary>Something that the runtime can read, where the plugin's own configuration would be.</summary>
    private static string Configuration(string plugin)
    {
        var file = plugin switch { "cilium" => "05-cilium", "aws-vpc-cni" => "10-aws", _ => $"10-{plugin}" };
        return $$"""
            echo '{"cniVersion": "0.4.0", "name": "{{plugin}}", "plugins": [{"type": "loopback"}]}' >/etc/cni/net.d/{{file}}.conflist

            """;
    }

    private static string Made(string plugin)
    {
        var script = new StringBuilder();
        // One end of a pod's is in its own namespace.
        void Pod(string name, string more = "") => script.Append("ip netns add pod-").Append(name).Append("\nip link add ").Append(name)
            .Append(" type veth peer name eth0 netns pod-").Append(name).Append('\n').Append(more);
        switch (plugin)
        {
            case "calico":
                Pod("cali0123456789a");
                script.Append("""
                    ip link add vxlan.calico type vxlan id 4096 dev ens5 dstport 4789
                    modprobe ipip
                    ip address add 10.244.3.64/32 dev tunl0
                    ip link set tunl0 up
                    ip route add blackhole 10.244.3.64/26 proto 80
                    ip route add 10.244.5.0/26 dev tunl0 proto 12
                    ip route add blackhole 10.244.6.0/26 proto 12
                    ipset create cali40all-ipam-pools hash:net
                    for p in iptables ip6tables; do
                        $p -N cali-FORWARD
                        $p -N cali-pri-ABCDEFGHIJKLMNOP
                        $p -A cali-FORWARD -m comment --comment cali:0123456789abcdef -j cali-pri-ABCDEFGHIJKLMNOP
                        $p -I FORWARD -m comment --comment cali:wUHhoiAYhphO9Mso -j cali-FORWARD
                        $p -A FORWARD -m comment --comment cali:S93hcgKJrXEqnTfs -m mark --mark 0x10000/0x10000 -j ACCEPT
                    done
                    iptables -A cali-FORWARD -m set --match-set cali40all-ipam-pools src -j RETURN
                    nft add table ip calico

                    """);
                break;
            case "cilium":
                Pod("lxc0123456789ab");
                script.Append("""
                    ip link add cilium_host type veth peer name cilium_net
                    ip link add cilium_vxlan type vxlan external dstport 8472
                    ip rule add pref 9 fwmark 0x200/0xf00 lookup 2004
                    ip -6 rule add pref 9 fwmark 0x200/0xf00 lookup 2004
                    ipset create cilium_node_set_v4 hash:ip
                    iptables -t nat -N CILIUM_POST_nat
                    iptables -t nat -A CILIUM_POST_nat -m set --match-set cilium_node_set_v4 dst -j ACCEPT
                    iptables -t nat -A POSTROUTING -m comment --comment 'cilium-feeder: CILIUM_POST_nat' -j CILIUM_POST_nat
                    iptables -N CILIUM_FORWARD
                    iptables -A FORWARD -m comment --comment 'cilium-feeder: CILIUM_FORWARD' -j CILIUM_FORWARD

                    """);
                break;
            case "flannel":
                script.Append("ip link add cni0 type bridge\n");
                Pod("vethflannel", "ip link set vethflannel master cni0\n");
                script.Append("""
                    ip link add flannel.1 type vxlan id 1 dev ens5 dstport 8472
                    iptables -t nat -N FLANNEL-POSTRTG
                    iptables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
                    iptables -N FLANNEL-FWD
                    iptables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD

                    """);
                break;
            default:
                Pod("eni0123456789a");
                script.Append("""
                    ip rule add pref 512 to 10.244.3.77/32 lookup main
                    ip rule add pref 1024 fwmark 0x80/0x80 lookup main
                    ip rule add pref 1536 from 10.244.3.77/32 lookup 2
                    iptables -t nat -N AWS-SNAT-CHAIN-0
                    iptables -t nat -A POSTROUTING -m comment --comment 'AWS SNAT CHAIN' -j AWS-SNAT-CHAIN-0
                    iptables -t nat -N AWS-CONNMARK-CHAIN-0
                    iptables -t nat -A PREROUTING -i eni+ -m comment --comment 'AWS, outbound connections' -j AWS-CONNMARK-CHAIN-0
                    iptables -t mangle -A PREROUTING -i eni+ -m comment --comment 'AWS, primary ENI' -j CONNMARK --restore-mark --mask 0x80

                    """);
                break;
        }

        return script.ToString();
    }
}
