using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// An instance-store disk with somebody's file system on it: refused with exit code 5, named, untouched, and not tried again; once it is wiped, the machine
/// becomes a node.
/// </summary>
internal static class ForeignDisk
{
    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.BootAsync();
        var disk = GuestOptions.TwoInstanceStoreDisksAndOneOfEbs[0];
        await guest.CheckAsync($"mkfs.ext4 -q {disk.Link} && sync");
        var before = await guest.ChecksumAsync(disk);
        await Worker.InstallAsync(lab, guest);
        await Worker.LaunchAsync(lab, guest);
        await guest.RebootAsync();

        await guest.WaitForAsync("systemctl is-failed nodeagent.service", Worker.ConvergeTimeout);
        (await guest.CheckAsync("systemctl show --property ExecMainStatus,NRestarts nodeagent.service | sort | xargs"))
            .ShouldBe("ExecMainStatus=5 NRestarts=0");
        (await guest.CheckAsync("journalctl --boot --output cat NODEAGENT_OUTCOME=refused")).ShouldContain("carries ext4");
        (await guest.RunAsync("systemctl is-active kubelet.service containerd.service")).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .ShouldAllBe(s => s != "active");
        (await guest.ChecksumAsync(disk)).ShouldBe(before);
        (await guest.RunAsync("nodeagent plan")).ExitCode.ShouldBe(5);

        await guest.CheckAsync($"wipefs --all --quiet {disk.Link}");
        await guest.CheckAsync("systemctl restart nodeagent.service", Worker.ConvergeTimeout);
        await Worker.HealthyAsync(guest);
        await Worker.NothingToDoAsync(guest);
    }
}
