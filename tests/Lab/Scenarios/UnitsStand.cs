using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// Stopping, restarting, upgrading or crashing the agent touches no service of the node; what leaves the configuration leaves the node; two runs do not meet.
/// </summary>
internal static class UnitsStand
{
    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.StartContainerAsync();
        await Worker.InstallAsync(lab, guest);
        await Worker.LaunchAsync(
            lab,
            guest,
            Worker.ContainerOverrides + "containerd: {mirrors: {docker.io: {endpoints: [https://mirror.example], headers: {Authorization: hunter2}}}}\n");
        await guest.RebootAsync();
        await Worker.PreparedAsync(guest);
        await guest.WaitForAsync("systemctl is-active kubelet.service", TimeSpan.FromSeconds(30));
        var kubelet = await Worker.InvocationAsync(guest, "kubelet.service");
        var containerd = await Worker.InvocationAsync(guest, "containerd.service");
        (await guest.CheckAsync("stat -c '%a' /etc/containerd/nodeagent/hosts/docker.io/hosts.toml")).ShouldBe("600");

        await guest.CheckAsync(
            "systemctl restart nodeagent.service && systemctl stop nodeagent.service && systemctl start nodeagent.service", TimeSpan.FromMinutes(1));
        await guest.CheckAsync("for i in 1 2 3; do nodeagent apply & done; wait", TimeSpan.FromMinutes(1));
        await guest.InstallAgentAsync();

        // The mirror goes; the other settings stay.
        await Worker.LaunchAsync(lab, guest, Worker.ContainerOverrides);
        (await Worker.PlanAsync(guest)).Resources.ShouldBe(["leftover files"], ignoreOrder: true);
        await guest.CheckAsync("nodeagent apply");
        (await guest.RunAsync("test -e /etc/containerd/nodeagent/hosts/docker.io/hosts.toml")).ExitCode.ShouldNotBe(0);
        await Worker.NothingToDoAsync(guest);

        (await Worker.InvocationAsync(guest, "kubelet.service")).ShouldBe(kubelet);
        (await Worker.InvocationAsync(guest, "containerd.service")).ShouldBe(containerd);
        // A run by hand restarts kubelet while the unit waits for that very run, and kubelet is ordered after the unit: nobody waits in a circle.
        await guest.Imds.SetFaultsAsync(new MetadataFault("Slow", "user-data", Milliseconds: 2000));
        await guest.CheckAsync(
            """
            echo '# by hand' >>/etc/kubernetes/kubelet.yaml
            nodeagent apply & by_hand=$!
            sleep 1
            systemctl restart --no-block nodeagent.service
            wait $by_hand
            """,
            TimeSpan.FromMinutes(1));
        await guest.Imds.SetFaultsAsync();
        await Worker.PreparedAsync(guest);
        await guest.WaitForAsync("systemctl is-active kubelet.service", TimeSpan.FromSeconds(30));
        (await Worker.InvocationAsync(guest, "kubelet.service")).ShouldNotBe(kubelet);
        await Worker.NothingToDoAsync(guest);

        (await guest.RunAsync("journalctl --output cat | grep -c hunter2")).Output.Trim().ShouldBe("0");
    }
}
