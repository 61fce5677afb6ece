using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>EC2's stop and start: the same instance, the same root disk, blank instance-store disks. The node comes back on new volumes.</summary>
internal static class StopStart
{
    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await Worker.ReadyNodeAsync(lab);
        var before = await guest.CheckAsync("lsblk --noheadings --output UUID /dev/nodeagent/*");

        await guest.StopStartAsync();
        await Worker.ReadyAsync(lab, guest);

        (await guest.CheckAsync("lsblk --noheadings --output UUID /dev/nodeagent/*")).ShouldNotBe(before);
        (await guest.CheckAsync("findmnt --noheadings --output SOURCE /var/lib/containerd")).ShouldBe("/dev/mapper/nodeagent-runtime");
        (await guest.CheckAsync("ctr -n k8s.io images ls -q name==registry.k8s.io/pause:3.9")).ShouldBe("registry.k8s.io/pause:3.9");
        (await guest.CheckAsync("systemctl --failed --no-legend --plain")).ShouldBe("");
        var ebs = GuestOptions.TwoInstanceStoreDisksAndOneOfEbs[2];
        (await guest.ChecksumAsync(ebs)).ShouldBe(VirtualMachine.PristineChecksum(ebs));
        await Worker.NothingToDoAsync(guest);
    }
}
