using System.Text.Json;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// What leaves the configuration leaves the node, what cannot is said, what carries no mark of ours is said and stays, with or without records.
/// </summary>
internal static class Prune
{
    private static readonly string Rich =
        Worker.ContainerOverrides.Replace("  sysctls:\n", "  sysctls:\n    net.core.somaxconn: 5000\n", StringComparison.Ordinal) + """
        node:
          labels: {example.com/pool: spot, example.com/disk: fast}
          taints: [{key: dedicated, value: db, effect: NoSchedule}]
        containerd: {mirrors: {docker.io: {endpoints: [https://mirror.example]}}}
        kubelet: {credentialProviders: {ecr-credential-provider: {}}}

        """;

    private static readonly string Lean = Worker.ContainerOverrides + "node: {labels: {example.com/disk: fast}}\n";

    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.StartContainerAsync();
        await Worker.InstallAsync(lab, guest);
        await Worker.LaunchAsync(lab, guest, Rich);
        await guest.RebootAsync();
        await Worker.PreparedAsync(guest);
        await guest.WaitForAsync("systemctl is-active kubelet.service", TimeSpan.FromSeconds(30));
        await Worker.NothingToDoAsync(guest);
        (await NotesAsync(guest)).ShouldBeEmpty();

        await GoesAsync(lab, guest);
        await UnitsAsync(guest);
        await StaysAsync(guest);
    }

    private static async Task GoesAsync(Laboratory lab, Guest guest)
    {
        var (kubelet, containerd) = await InvocationsAsync(guest);
        await Worker.LaunchAsync(lab, guest, Lean);
        await guest.WriteAsync("/etc/nodeagent/config.d/20-network.yaml", "apiVersion: nodeagent/v1\nkind: NodeConfig\nnetwork: {plugin: none}\n");

        var (exitCode, resources) = await Worker.PlanAsync(guest);
        exitCode.ShouldBe(2);
        resources.ShouldBe(
            ["file /etc/sysctl.d/95-nodeagent.conf", "file /etc/kubernetes/kubelet.yaml", "file /etc/systemd/system/kubelet.service.d/50-nodeagent.conf",
                "leftover files", "network plugin none",
                "systemd configuration of the node", "restart kubelet.service"],
            ignoreOrder: true);
        string[] said =
        [
            "sysctl net.core.somaxconn is not set any more; the running kernel keeps 5000 until the next boot, since what it was before is not known",
            "the bridge cni0, its address and its rules stay until the next boot, or until its last pod is gone and: ip link delete cni0",
            $"label example.com/pool stays on the Node, since kubelet removes none: kubectl label node {Worker.Node} example.com/pool-",
            $"taint dedicated:NoSchedule stays on the Node, since kubelet removes none: kubectl taint node {Worker.Node} dedicated:NoSchedule-",
        ];
        (await NotesAsync(guest)).ShouldBe(said, ignoreOrder: true);

        var output = await guest.CheckAsync("nodeagent apply", TimeSpan.FromMinutes(1));
        var journal = await guest.CheckAsync("journalctl --output cat -t nodeagent NODEAGENT_OUTCOME=said");
        foreach (var sentence in said)
        {
            output.ShouldContain(sentence);
            journal.ShouldContain(sentence);
        }

        await guest.CheckAsync(
            """
            set -e
            ! test -e /etc/containerd/nodeagent/hosts/docker.io/hosts.toml
            ! test -e /etc/kubernetes/credential-providers.yaml
            ! test -e /etc/cni/net.d/10-nodeagent.conflist
            ! grep somaxconn /etc/sysctl.d/95-nodeagent.conf
            ! systemctl cat kubelet.service | grep -e example.com/pool -e dedicated -e credential
            """);
        var after = await InvocationsAsync(guest);
        after.Containerd.ShouldBe(containerd);
        after.Kubelet.ShouldNotBe(kubelet);
        await guest.WaitForAsync("systemctl is-active kubelet.service", TimeSpan.FromSeconds(30));
        await Worker.NothingToDoAsync(guest);
        (await NotesAsync(guest)).ShouldBeEmpty();
    }

    /// <summary>As another configuration or version would have left them: a drop-in of one service, a service, mounts, one of them in use.</summary>
    private static async Task UnitsAsync(Guest guest)
    {
        var (kubelet, containerd) = await InvocationsAsync(guest);
        await guest.CheckAsync(
            """
            set -e
            header=$(head -1 /etc/kubernetes/kubelet.yaml)
            cd /etc/systemd/system
            printf '%s\n[Service]\nNice=1\n' "$header" >containerd.service.d/60-nodeagent-later.conf
            printf '%s\n[Service]\nExecStart=sleep infinity\n' "$header" >former.service
            for m in free busy required; do printf '%s\n[Mount]\nWhat=tmpfs\nWhere=/srv/%s\nType=tmpfs\n' "$header" $m >srv-$m.mount; done
            systemctl daemon-reload
            systemctl start former.service srv-free.mount srv-busy.mount srv-required.mount
            systemd-run --quiet --unit holder sh -c 'cd /srv/busy && exec sleep infinity'
            systemd-run --quiet --unit needs --property RequiresMountsFor=/srv/required sleep infinity
            timeout 5 sh -c 'until ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -q /srv/busy; do sleep 0.1; done'
            """);

        (await Worker.PlanAsync(guest)).Resources.ShouldBe(
            ["leftover drop-ins of containerd.service", "leftover unit files", "systemd configuration of the node", "restart containerd.service"],
            ignoreOrder: true);
        await guest.CheckAsync("nodeagent apply", TimeSpan.FromMinutes(2));

        await guest.CheckAsync(
            """
            set -e
            ! ls /etc/systemd/system/former.service /etc/systemd/system/srv-* /etc/systemd/system/containerd.service.d/60*
            ! systemctl is-active former.service
            ! mountpoint --quiet /srv/free
            mountpoint --quiet /srv/busy
            mountpoint --quiet /srv/required
            systemctl is-active holder.service needs.service
            test "$(systemctl show --value --property Nice containerd.service)" = 0
            """);
        var after = await InvocationsAsync(guest);
        after.Containerd.ShouldNotBe(containerd);
        after.Kubelet.ShouldBe(kubelet);
        await Worker.NothingToDoAsync(guest);
    }

    private static async Task StaysAsync(Guest guest)
    {
        string[] theirs =
        [
            "/etc/containerd/nodeagent/mine.toml", "/etc/containerd/nodeagent/hosts/ghcr.io/hosts.toml", "/etc/sysctl.d/99-nodeagent.conf",
            "/etc/systemd/system/kubelet.service.d/40-nodeagent.conf",
        ];
        await guest.CheckAsync(
            $"for f in {string.Join(' ', theirs)} /etc/sysctl.d/70-theirs.conf; do mkdir -p $(dirname $f) && echo '# by hand' >$f; done && systemctl "
                + "daemon-reload");
        var before = await InvocationsAsync(guest);

        await Worker.NothingToDoAsync(guest);
        (await guest.CheckAsync("nodeagent plan")).ShouldContain("/etc/sysctl.d/99-nodeagent.conf does not carry our mark");
        (await NotesAsync(guest)).Select(n => n.Split(' ')[0]).ShouldBe(theirs, ignoreOrder: true);

        // Records help, and nothing hangs on them.
        await guest.CheckAsync("rm -r /var/lib/nodeagent");
        (await Worker.PlanAsync(guest)).Resources.ShouldBe(["file /var/lib/nodeagent/gate"]);
        await guest.CheckAsync("nodeagent apply && nodeagent apply --format json", TimeSpan.FromMinutes(1));
        await Worker.NothingToDoAsync(guest);
        await guest.CheckAsync($"ls {string.Join(' ', theirs)} /etc/sysctl.d/70-theirs.conf /etc/containerd/nodeagent/config.toml");
        (await InvocationsAsync(guest)).ShouldBe(before);
    }

    private static async Task<(string Kubelet, string Containerd)> InvocationsAsync(Guest guest) =>
        (await Worker.InvocationAsync(guest, "kubelet.service"), await Worker.InvocationAsync(guest, "containerd.service"));

    private static async Task<IReadOnlyList<string>> NotesAsync(Guest guest)
    {
        var result = await guest.RunAsync("nodeagent plan --format json", TimeSpan.FromMinutes(1));
        using var plan = JsonDocument.Parse(result.Output);
        return plan.RootElement.TryGetProperty("notes", out var notes) ? [.. notes.EnumerateArray().Select(n => n.GetProperty("note").GetString()!)] : [];
    }
}
