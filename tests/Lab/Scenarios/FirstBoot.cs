using System.Text.Json;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>From a package in an image to a Ready node, by booting: two disks striped and mounted, kube-proxy running, what is not ours untouched.</summary>
internal static class FirstBoot
{
    public static async Task RunAsync(Laboratory lab)
    {
        var apiServer = lab.ApiServer.StartedAsync();
        await using var guest = await lab.BootAsync();
        await Worker.InstallAsync(lab, guest);
        var authority = JsonSerializer.Serialize(await File.ReadAllTextAsync(lab.CertificateAuthority.CertificateFile));
        await Worker.LaunchAsync(lab, guest, $$"""
            node: {readiness: {gate: ready}, labels: {pool: blue}, taints: [{key: dedicated, value: lab, effect: NoSchedule}]}
            time: {servers: [10.0.2.102]}
            dns: {servers: [10.0.2.103], domains: [corp.example]}
            trust:
              certificates:
                corporate: {{authority}}

            """);
        await apiServer;
        await guest.RebootAsync();
        await Worker.ReadyAsync(lab, guest);

        await StorageAsync(guest);
        await NodeAsync(lab);
        await HostAsync(guest);
        await KubeProxyAsync(lab, guest);
        await PodAsync(lab, guest);
        (await guest.CheckAsync("systemctl --failed --no-legend --plain")).ShouldBe("");
        (await guest.ChecksumAsync(Ebs)).ShouldBe(VirtualMachine.PristineChecksum(Ebs));
        await Worker.NothingToDoAsync(guest);
        lab.Say(await guest.CheckAsync("journalctl --unit nodeagent.service --output cat | grep Applied"));
    }

    private static Disk Ebs => GuestOptions.TwoInstanceStoreDisksAndOneOfEbs[2];

    private static async Task StorageAsync(Guest guest)
    {
        (await guest.CheckAsync("vgs --noheadings -o vg_name,pv_count,vg_tags nodeagent | xargs")).ShouldBe("nodeagent 2 nodeagent");
        (await guest.CheckAsync("lvs --noheadings -o lv_name,stripes,lv_tags nodeagent | xargs -n3"))
            .ShouldBe("kubelet 2 nodeagent\npodlogs 2 nodeagent\nruntime 2 nodeagent");
        foreach (var (place, volume) in new[] { ("/var/lib/containerd", "runtime"), ("/var/lib/kubelet", "kubelet"), ("/var/log/pods", "podlogs") })
        {
            (await guest.CheckAsync($"findmnt --noheadings --output SOURCE,FSTYPE {place} | xargs")).ShouldBe($"/dev/mapper/nodeagent-{volume} xfs");
        }

        (await guest.CheckAsync("systemctl show --value --property RequiredBy local-fs.target; systemctl show --value --property Requires local-fs.target"))
            .ShouldNotContain("var-lib");
    }

    private static async Task NodeAsync(Laboratory lab)
    {
        var node = await lab.ApiServer.GetAsync($"/api/v1/nodes/{Worker.Node}");
        var labels = node.GetProperty("metadata").GetProperty("labels");
        labels.GetProperty("node.kubernetes.io/instance-type").GetString().ShouldBe("m5d.large");
        labels.GetProperty("topology.kubernetes.io/zone").GetString().ShouldBe("us-east-1a");
        labels.GetProperty("pool").GetString().ShouldBe("blue");
        node.GetProperty("spec").GetProperty("providerID").GetString().ShouldBe("aws:///us-east-1a/i-0a5d1a26e00000001");
        node.GetProperty("spec").GetProperty("taints").EnumerateArray().Select(t => t.GetProperty("key").GetString()).ShouldContain("dedicated");
        node.GetProperty("status").GetProperty("allocatable").GetProperty("pods").GetString().ShouldBe("110");
    }

    /// <summary>What the services of the machine make of their drop-ins: they run, and say what was configured.</summary>
    private static async Task HostAsync(Guest guest)
    {
        await guest.CheckAsync("systemctl is-active systemd-timesyncd systemd-resolved systemd-networkd");
        (await guest.CheckAsync("timedatectl show-timesync --property SystemNTPServers --value")).ShouldBe("10.0.2.102");
        (await guest.CheckAsync("resolvectl dns | grep Global")).ShouldContain("10.0.2.103");
        (await guest.CheckAsync("resolvectl domain | grep Global")).ShouldContain("corp.example");
        await guest.CheckAsync($"openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt {Worker.AuthorityFolder}/ca.crt");
    }

    /// <summary>A pod of its own network: its address comes from the node's range, and the lease lies beside the container.</summary>
    private static async Task PodAsync(Laboratory lab, Guest guest)
    {
        await lab.ApiServer.ServiceAccountAsync();
        await lab.ApiServer.PostAsync("/api/v1/namespaces/kube-system/pods", new
        {
            metadata = new { name = "pod" },
            spec = new
            {
                nodeName = Worker.Node,
                automountServiceAccountToken = false,
                tolerations = new[] { new { @operator = "Exists" } },
                containers = new[] { new { name = "pause", image = "registry.k8s.io/pause:3.9", imagePullPolicy = "Never" } },
            },
        });
        var address = await lab.WaitForAsync("a pod runs", Worker.ConvergeTimeout, async () =>
        {
            var status = (await lab.ApiServer.GetAsync("/api/v1/namespaces/kube-system/pods/pod")).GetProperty("status");
            return status.GetProperty("phase").GetString() == "Running" ? (true, status.GetProperty("podIP").GetString()!) : (false, status.ToString());
        });
        address.ShouldStartWith("10.244.3.");
        await guest.CheckAsync($"test -f /var/lib/containerd/io.nodeagent.cni/nodeagent/{address}");
    }

    private static async Task KubeProxyAsync(Laboratory lab, Guest guest)
    {
        await lab.WaitForAsync("kube-proxy runs", Worker.ConvergeTimeout, async () =>
        {
            var pods = await lab.ApiServer.GetAsync("/api/v1/namespaces/kube-system/pods");
            var phases = pods.GetProperty("items").EnumerateArray()
                .Where(p => p.GetProperty("metadata").GetProperty("name").GetString() == $"kube-proxy-{Worker.Node}")
                .Select(p => p.GetProperty("status").GetProperty("phase").GetString())
                .ToList();
            return (phases is ["Running"], phases.Count == 0 ? "no such pod" : phases[0] ?? "");
        });
        await guest.WaitForAsync("iptables-save -t nat | grep -q KUBE-SERVICES", Worker.ConvergeTimeout);
    }
}
