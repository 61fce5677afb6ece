using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>A reboot of a node changes nothing on it and restarts nothing: only what /run held is made again.</summary>
internal static class SecondBoot
{
    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await Worker.ReadyNodeAsync(lab);
        var volumes = await guest.CheckAsync("lsblk --noheadings --output UUID /dev/nodeagent/*");
        var files = await FilesAsync(guest);

        await guest.RebootAsync();
        await Worker.ReadyAsync(lab, guest);

        (await guest.CheckAsync("journalctl --boot --output cat NODEAGENT_OUTCOME=changed")).ShouldBe("changed file /run/nodeagent/prepared: not there");
        (await FilesAsync(guest)).ShouldBe(files);
        (await guest.CheckAsync("lsblk --noheadings --output UUID /dev/nodeagent/*")).ShouldBe(volumes);
        (await guest.CheckAsync("systemctl show --value --property NRestarts kubelet.service containerd.service | xargs")).ShouldBe("0 0");
        (await guest.CheckAsync("journalctl --boot --output cat --unit kubelet.service | grep -c '^Started'")).ShouldBe("1");
        await Worker.NothingToDoAsync(guest);
    }

    private static Task<string> FilesAsync(Guest guest) =>
        guest.CheckAsync(
            "find /etc/kubernetes /etc/systemd/system /etc/containerd /etc/cni /etc/modules-load.d /etc/sysctl.d -type f -printf '%p %m %i %T@\\n' | sort");
}
