using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// The control plane's machine is thrown away, and another one, with another name and address, is given its volume: the same cluster. A worker and the pod on
/// it go on.
/// </summary>
internal static class ControlPlaneReplaced
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(10);

    public static async Task RunAsync(Laboratory lab)
    {
        using var volume = await Volume.CreateAsync(lab, "vol-0a1b2c3d4e5f60718", "4G");
        await using var cluster = await ClusterLab.CreateAsync(lab, volume);
        var (worker, first, instance) = await cluster.LaunchBothAsync("worker", "control-plane-1");
        await cluster.PodRunsAsync(ClusterLab.NodeOf(21));
        await HasItsDataOnTheVolumeAsync(first, volume);
        await cluster.CheckKubectlAsync("create", "configmap", "before", "--from-literal=of=control-plane-1");
        var node = await cluster.NodeAsync(21);
        var pod = await cluster.PodIdentityAsync(21);
        var identity = await ClusterIdAsync(first);

        // Without a word to it: what it had not written to the volume is lost, as in a crash.
        await cluster.TerminateAsync(first, instance);
        var (second, _) = await cluster.LaunchAsync(ClusterLab.ControlPlane, "control-plane-2", 12);
        await cluster.ServesAsync(second, "10.0.16.12");

        await HasItsDataOnTheVolumeAsync(second, volume);
        (await ClusterIdAsync(second)).ShouldBe(identity, "etcd's cluster is the one that it was");
        (await cluster.CheckKubectlAsync("get", "configmap", "before", "-o", "jsonpath={.data.of}")).ShouldBe("control-plane-1");
        await cluster.ReadyAsync(ClusterLab.NodeOf(12));
        // By the lease that it renews: the condition alone may be the one of before.
        await lab.WaitForAsync("the worker has found the new address", Patience, async () =>
        {
            var hosts = await worker.RunAsync("cat /etc/hosts");
            return (hosts.Output.Contains("10.0.16.12", StringComparison.Ordinal), hosts.Output);
        });
        var lease = await LeaseAsync(cluster);
        await lab.WaitForAsync(
            "the worker renews its lease", Patience, async () => (await LeaseAsync(cluster) is var now && now.Length > 0 && now != lease, now));
        await cluster.ReadyAsync(ClusterLab.NodeOf(21));
        (await cluster.NodeAsync(21)).ShouldBe(node, "the worker's node is the object that it was");
        (await cluster.PodIdentityAsync(21)).ShouldBe(pod, "its pod was never started again");

        // The node of the machine that is gone is for an administrator to take away (docs/replacing.md).
        await cluster.CheckKubectlAsync("delete", "node", ClusterLab.NodeOf(11));
        await cluster.PodRunsAsync(ClusterLab.NodeOf(12));
        await cluster.AnswersAsync(from: 12, to: 21);
        await Worker.NothingToDoAsync(second);
        await Worker.NothingToDoAsync(worker);
    }

    private static async Task HasItsDataOnTheVolumeAsync(VirtualMachine guest, Volume volume)
    {
        (await guest.CheckAsync("findmnt --noheadings --output SOURCE /var/lib/etcd")).Trim().ShouldBe("/dev/mapper/nodeagent--etcd-data");
        (await guest.CheckAsync("vgs --noheadings --options vg_tags nodeagent-etcd")).Trim().ShouldBe($"nodeagent.etcd={Fleet.Cluster}");
        (await guest.CheckAsync($"lsblk --noheadings --nodeps --output SERIAL $(vgs --noheadings --options pv_name nodeagent-etcd)")).Trim()
            .ShouldBe(volume.Serial);
        (await guest.CheckAsync("stat --format %a /var/lib/etcd/data && test -e /var/lib/etcd/data/member/snap/db")).Trim().ShouldBe("700");
    }

    // In its metrics, on the one port without TLS: made of the peer URL that the cluster began with, so a cluster that began on the second machine has another.
    private static async Task<string> ClusterIdAsync(VirtualMachine guest)
    {
        var seen = await guest.WaitForAsync("curl --silent --fail --max-time 20 http://127.0.0.1:2381/metrics | grep '^etcd_server_id'", Patience);
        return seen.Trim();
    }

    private static async Task<string> LeaseAsync(ClusterLab cluster) =>
        (await cluster.KubectlAsync("get", "lease", ClusterLab.NodeOf(21), "--namespace", "kube-node-lease", "-o", "jsonpath={.spec.renewTime}")).Output.Trim();
}
