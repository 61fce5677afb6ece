using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>The plug is pulled in each phase of a first boot; each next boot converges, and nothing stays half done.</summary>
internal static class PowerCut
{
    // What the journal says just before or in the middle of a phase.
    private static readonly string[] Phases =
    [
        "/var/lib/nodeagent/gate", "volume group nodeagent", "file system /dev/nodeagent", "module br_netfilter",
        "certificate /etc/kubernetes/pki/kubelet-client.pem",
        "file /etc/kubernetes/kubelet.yaml", "mount /var/lib/kubelet", "file /run/nodeagent/prepared",
    ];

    public static async Task RunAsync(Laboratory lab)
    {
        foreach (var phase in Phases)
        {
            lab.Say($"cut at '{phase}'");
            await using var guest = await lab.BootAsync();
            await Worker.InstallAsync(lab, guest);
            await Worker.LaunchAsync(lab, guest);
            var offset = guest.JournalLength;
            var booting = guest.RebootAsync();
            await guest.WaitForJournalAsync(phase, Worker.ConvergeTimeout, offset);
            await booting;
            await guest.PowerCutAsync();
            await Worker.HealthyAsync(guest);
            await Worker.NothingToDoAsync(guest);
            (await guest.CheckAsync("find /etc /var/lib/nodeagent -name '.*.nodeagent-new'")).ShouldBe("");
        }
    }
}
