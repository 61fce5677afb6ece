using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>An instance of a warm pool is prepared and no node; started into service it becomes one, in the same boot, or with the next.</summary>
internal static class WarmPool
{
    private const string Hooks = $"autoscaling: {{launchHook: {AutoScalingGroup.LaunchHook}, heartbeat: 10s}}\n";

    private const string Certificate = "/etc/kubernetes/pki/kubelet-client.pem";

    public static async Task RunAsync(Laboratory lab)
    {
        var group = new AutoScalingGroup();
        await using var guest = await lab.StartContainerAsync();
        await AutoScalingGroup.InstanceAsync(lab, guest, "Warmed:Running", Worker.ContainerOverrides + Hooks);
        group.Begin(AutoScalingGroup.LaunchHook);
        await guest.RebootAsync();
        await using (await group.ListenAsync(guest))
        {
            await Worker.PreparedAsync(guest);
            await Lifecycle.TakenAsync(lab, group, $"CompleteLifecycleAction {AutoScalingGroup.LaunchHook} CONTINUE");
            await WarmAsync(guest);
            await guest.CheckAsync("systemctl start kubelet.service; systemctl restart nodeagent.service");
            await Worker.PreparedAsync(guest);
            await WarmAsync(guest);
            await Worker.NothingToDoAsync(guest);
            (await guest.CheckAsync("systemctl is-active containerd.service nodeagent-watch.service")).ShouldBe("active\nactive");

            // Into service without a boot.
            group.Taken.Clear();
            group.Begin(AutoScalingGroup.LaunchHook);
            await AutoScalingGroup.TargetAsync(guest, "InService");
            await guest.WaitForAsync("systemctl is-active kubelet.service", TimeSpan.FromMinutes(1));
            await Worker.HealthyAsync(guest);
            await Lifecycle.TakenAsync(lab, group, $"CompleteLifecycleAction {AutoScalingGroup.LaunchHook} CONTINUE");
            await guest.CheckAsync($"test -e {Certificate} && test ! -e /run/nodeagent/lifecycle/warm");
            await guest.WaitForAsync("! systemctl is-active nodeagent-watch.service", TimeSpan.FromSeconds(30));
            await Worker.NothingToDoAsync(guest);
        }

        // Back in the pool it is stopped; what it has stays, and nothing of it starts.
        await AutoScalingGroup.TargetAsync(guest, "Warmed:Stopped");
        await guest.RebootAsync();
        await using (await group.ListenAsync(guest))
        {
            await Worker.PreparedAsync(guest);
            await guest.WaitForAsync("systemctl show --property StatusText nodeagent-ready.service | grep -q warm", TimeSpan.FromMinutes(1));
            (await guest.RunAsync("systemctl is-active kubelet.service")).Output.Trim().ShouldBe("inactive");
            await guest.CheckAsync($"test -e {Certificate}");
            await Worker.NothingToDoAsync(guest);
        }

        await AutoScalingGroup.TargetAsync(guest, "InService");
        await guest.RebootAsync();
        await using (await group.ListenAsync(guest))
        {
            await Worker.HealthyAsync(guest);
            await Worker.NothingToDoAsync(guest);
        }
    }

    private static async Task WarmAsync(Guest guest)
    {
        await guest.WaitForAsync(
            "systemctl show --property StatusText nodeagent-ready.service | grep -q 'warm: the machine is prepared'", TimeSpan.FromMinutes(1));
        (await guest.RunAsync("systemctl is-active nodeagent-ready.service")).Output.Trim().ShouldBe("activating");
        (await guest.RunAsync("systemctl is-active kubelet.service")).Output.Trim().ShouldBe("inactive");
        await guest.CheckAsync($"test ! -e {Certificate} && test ! -e /etc/kubernetes/pki/kubelet-serving.pem && test -e /etc/kubernetes/kubelet.yaml");
    }
}
