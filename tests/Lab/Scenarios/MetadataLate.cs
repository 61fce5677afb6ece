using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>Metadata refuses for the first 20 seconds of a boot, then answers: the first try of the unit is enough.</summary>
internal static class MetadataLate
{
    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.StartContainerAsync();
        await Worker.InstallAsync(lab, guest);
        await Worker.LaunchAsync(lab, guest, Worker.ContainerOverrides);
        await guest.Imds.SetFaultsAsync(new MetadataFault("Refuse", Seconds: 20));
        await guest.RebootAsync();

        await Worker.PreparedAsync(guest);

        (await guest.CheckAsync("systemctl show --value --property NRestarts nodeagent.service")).ShouldBe("0");
        await guest.WaitForAsync("systemctl is-active kubelet.service", TimeSpan.FromSeconds(30));
        await Worker.NothingToDoAsync(guest);
    }
}
