using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>A dozen differences made by hand: plan names just those, apply mends them and restarts only what needs it.</summary>
internal static class Repair
{
    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await Worker.ReadyNodeAsync(lab);
        await Worker.NothingToDoAsync(guest);

        await WithoutRestartAsync(guest);
        await RestartOfKubeletAsync(guest);
        await RestartOfBothAsync(guest);
        await Worker.ReadyAsync(lab, guest);
    }

    private static async Task WithoutRestartAsync(Guest guest) => await MendAsync(
        guest,
        """
        set -e
        sysctl -qw net.ipv4.ip_forward=0 fs.inotify.max_user_instances=128
        echo 'net.ipv4.ip_forward = 0' > /etc/sysctl.d/95-nodeagent.conf
        rm /etc/modules-load.d/nodeagent.conf
        rmmod br_netfilter
        rm /etc/cni/net.d/10-nodeagent.conflist
        chmod 600 /etc/kubernetes/pki/ca.crt
        rm /etc/kubernetes/pki/kube-proxy/client.pem
        echo '# tampered' >> /etc/kubernetes/manifests/kube-proxy.yaml
        (head -1 /etc/kubernetes/kubelet.yaml; echo kernel.panic=1) > /etc/sysctl.d/80-of-an-older-version.conf
        """,
        ["file /etc/modules-load.d/nodeagent.conf", "file /etc/sysctl.d/95-nodeagent.conf", "module br_netfilter", "sysctl fs.inotify.max_user_instances",
            "sysctl net.bridge.bridge-nf-call-ip6tables", "sysctl net.bridge.bridge-nf-call-iptables", "sysctl net.ipv4.ip_forward",
            "file /etc/kubernetes/pki/ca.crt", "certificate /etc/kubernetes/pki/kube-proxy/client.pem", "file /etc/cni/net.d/10-nodeagent.conflist",
            "file /etc/kubernetes/manifests/kube-proxy.yaml", "leftover files"],
        restarts: []);

    private static async Task RestartOfKubeletAsync(Guest guest) => await MendAsync(
        guest,
        """
        set -e
        sed -i 's/maxPods: 110/maxPods: 5/' /etc/kubernetes/kubelet.yaml
        rm /etc/systemd/system/kubelet.service.d/50-nodeagent.conf
        rm /usr/lib/systemd/system/containerd.service.d/10-nodeagent-gate.conf
        """,
        ["file /usr/lib/systemd/system/containerd.service.d/10-nodeagent-gate.conf", "file /etc/kubernetes/kubelet.yaml",
            "file /etc/systemd/system/kubelet.service.d/50-nodeagent.conf", "systemd configuration of the node", "restart kubelet.service"],
        restarts: ["kubelet.service"]);

    private static async Task RestartOfBothAsync(Guest guest) => await MendAsync(
        guest,
        """
        set -e
        sed -i 's/SystemdCgroup = true/SystemdCgroup = false/' /etc/containerd/nodeagent/config.toml
        umount --lazy /var/log/pods
        systemctl disable --quiet kubelet.service
        """,
        ["file /etc/containerd/nodeagent/config.toml", "mount /var/log/pods", "restart containerd.service", "restart kubelet.service",
            "service kubelet.service"],
        restarts: ["containerd.service", "kubelet.service"]);

    private static async Task MendAsync(Guest guest, string damage, string[] expected, string[] restarts)
    {
        await guest.CheckAsync(damage);
        var (exitCode, resources) = await Worker.PlanAsync(guest);
        resources.Order().ShouldBe(expected.Order());
        exitCode.ShouldBe(2);
        string[] units = ["containerd.service", "kubelet.service"];
        var before = await InvocationsAsync(guest, units);

        await guest.CheckAsync("nodeagent apply", TimeSpan.FromMinutes(5));

        await Worker.NothingToDoAsync(guest);
        var after = await InvocationsAsync(guest, units);
        units.Where(u => before[u] != after[u]).ShouldBe(restarts);
    }

    private static async Task<Dictionary<string, string>> InvocationsAsync(Guest guest, string[] units)
    {
        var invocations = new Dictionary<string, string>();
        foreach (var unit in units)
        {
            invocations[unit] = await Worker.InvocationAsync(guest, unit);
        }

        return invocations;
    }
}
