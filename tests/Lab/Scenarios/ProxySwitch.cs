using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// kube-proxy 1.20 from iptables to IPVS, back, and away, on a node that runs: a service answers before and after, nothing of the former mode is left, and what
/// looks alike and is others' stays.
/// </summary>
internal static class ProxySwitch
{
    public const string Service = "https://10.96.0.77/version";

    private static readonly string[] Endpoint = ["10.0.2.100"];

    private const string NodePort = "https://10.0.2.15:30443/version";

    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await StartAsync(lab);
        var others = await OthersAsync(guest);
        await AnswersAsync(lab, guest);

        lab.Say("a policy that says no");
        await SayAsync(guest, "ipvs", "boot");
        (await guest.RunAsync("nodeagent apply", Worker.ConvergeTimeout)).ExitCode.ShouldBe(5);
        await AnswersAsync(lab, guest);
        (await guest.CheckAsync("cat /etc/kubernetes/kube-proxy/config.yaml")).ShouldContain("mode: iptables");

        foreach (var mode in new[] { "ipvs", "iptables", "none" })
        {
            lab.Say($"to {mode}");
            await SayAsync(guest, mode);
            var (exitCode, resources) = await Worker.PlanAsync(guest);
            exitCode.ShouldBe(2);
            resources.ShouldContain($"service proxy {mode}");
            var output = await guest.CheckAsync("nodeagent apply", Worker.ConvergeTimeout);
            lab.Say(output.Split('\n').First(l => l.Contains("service proxy", StringComparison.Ordinal)));
            if (mode != "none")
            {
                await AnswersAsync(lab, guest);
            }

            await LeftAsync(guest, mode);
            (await OthersOfAsync(guest)).ShouldBe(others);
            await Worker.NothingToDoAsync(guest);
        }
    }

    /// <summary>A node in mode iptables, with a service whose endpoint is the API server.</summary>
    public static async Task<VirtualMachine> StartAsync(Laboratory lab)
    {
        var guest = await Worker.ReadyNodeAsync(lab);
        await lab.ApiServer.PostAsync("/api/v1/namespaces/default/services", new
        {
            metadata = new { name = "probe" },
            spec = new { type = "NodePort", clusterIP = "10.96.0.77", ports = new[] { new { port = 443, targetPort = 6443, nodePort = 30443 } } },
        });
        // No controller makes it here.
        await lab.ApiServer.PostAsync("/apis/discovery.k8s.io/v1beta1/namespaces/default/endpointslices", new
        {
            metadata = new { name = "probe-1", labels = new Dictionary<string, string> { ["kubernetes.io/service-name"] = "probe" } },
            addressType = "IPv4",
            endpoints = new[] { new { addresses = Endpoint, conditions = new { ready = true } } },
            ports = new[] { new { name = "", port = 6443, protocol = "TCP" } },
        });
        return guest;
    }

    public static async Task SayAsync(Guest guest, string mode, string change = "always") => await guest.WriteAsync(
        "/etc/nodeagent/config.d/20-proxy.yaml",
        $"apiVersion: nodeagent/v1\nkind: NodeConfig\nkubeProxy: {{mode: {mode}, change: {change}, ipvs: {{excludeCidrs: [192.0.2.0/24]}}}}\n");

    /// <summary>By its own address and by the node's port, from the node itself.</summary>
    public static async Task AnswersAsync(Laboratory lab, Guest guest)
    {
        foreach (var url in new[] { Service, NodePort })
        {
            await lab.WaitForAsync($"{url} answers", Worker.ConvergeTimeout, async () =>
            {
                var result = await guest.RunAsync($"curl --silent --insecure --max-time 10 --output /dev/null --write-out '%{{http_code}}' {url}");
                // Whatever it says of somebody without a certificate.
                return (result.Output.Trim() is "200" or "401" or "403", result.Output);
            });
        }
    }

    /// <summary>What other programs have in the same places, some under names that begin like kube-proxy's.</summary>
    public static async Task<string> OthersAsync(Guest guest)
    {
        await guest.CheckAsync("""
            set -e
            modprobe ip_vs_rr
            ipvsadm -A -t 192.0.2.10:80 -s rr
            ipvsadm -a -t 192.0.2.10:80 -r 192.0.2.11:80 -m
            ipset create KUBE-SRC-ABCDEFGHIJKLMNOP hash:ip
            ipset add KUBE-SRC-ABCDEFGHIJKLMNOP 192.0.2.1
            iptables -N KUBE-NWPLCY-ABCDEFGHIJKLMNOP
            iptables -A KUBE-NWPLCY-ABCDEFGHIJKLMNOP -m set --match-set KUBE-SRC-ABCDEFGHIJKLMNOP src -j RETURN
            iptables -A FORWARD -d 192.0.2.99 -j KUBE-NWPLCY-ABCDEFGHIJKLMNOP
            iptables -t nat -N theirs
            iptables -t nat -A PREROUTING -d 192.0.2.98 -j theirs
            nft add table ip mine
            nft add chain ip mine KUBE-SERVICES
            ip link add theirs type dummy
            ip address add 198.51.100.10/32 dev theirs
            """);
        return await OthersOfAsync(guest);
    }

    public static Task<string> OthersOfAsync(Guest guest) => guest.CheckAsync("""
        ipvsadm -Sn | grep -- '-t 192.0.2.10:80 '
        ipset list KUBE-SRC-ABCDEFGHIJKLMNOP | grep -v References
        iptables-save | grep -E 'NWPLCY|theirs' | sed 's/\[.*//'
        nft list table ip mine
        ip -brief address show dev theirs
        """);

    /// <summary>Nothing of another mode, and kubelet's own as they were.</summary>
    public static async Task LeftAsync(Guest guest, string mode)
    {
        var chains = (await guest.CheckAsync("for p in iptables ip6tables; do $p-save | grep -o '^:KUBE-[^ ]*' | cut -c2-; done | sort -u")).Split('\n');
        var servers = await guest.CheckAsync("ipvsadm -Ln | grep -cE '10\\.96\\.0|:30443' || true");
        var sets = await guest.CheckAsync("ipset list -n | grep -v SRC | grep -c KUBE || true");
        var device = await guest.CheckAsync("ls /sys/class/net | grep -c kube-ipvs0 || true");
        chains.ShouldContain("KUBE-FIREWALL");
        chains.ShouldContain("KUBE-MARK-DROP");
        (chains.Any(c => c.StartsWith("KUBE-SVC-", StringComparison.Ordinal)), chains.Contains("KUBE-NODE-PORT"), servers != "0", sets != "0", device != "0")
            .ShouldBe((mode == "iptables", mode == "ipvs", mode == "ipvs", mode == "ipvs", mode == "ipvs"), $"mode {mode}: {string.Join(' ', chains)}");
        if (mode == "none")
        {
            chains.Except(["KUBE-FIREWALL", "KUBE-MARK-DROP", "KUBE-KUBELET-CANARY", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-NWPLCY-ABCDEFGHIJKLMNOP"])
                .ShouldBeEmpty();
            (await guest.RunAsync("pgrep -x kube-proxy")).ExitCode.ShouldBe(1);
        }
    }
}
