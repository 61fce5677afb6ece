using System.Text;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// User data with a misspelt field: exit code 3 with layer, line, column and the nearest name; nothing changed, not tried again, no kubelet. Mended, the
/// machine becomes a node.
/// </summary>
internal static class BadConfig
{
    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.StartContainerAsync();
        await Worker.InstallAsync(lab, guest);
        var broken = Worker.UserData(lab, Worker.ContainerOverrides + "node:\n  maxPod: 58\n");
        await guest.Imds.SetUserDataAsync(Encoding.UTF8.GetBytes(broken));
        await guest.CheckAsync("systemctl enable kubelet.service");
        await guest.RebootAsync();

        await guest.WaitForAsync("systemctl is-failed nodeagent.service", TimeSpan.FromSeconds(60));
        (await guest.CheckAsync("systemctl show --property ExecMainStatus,NRestarts nodeagent.service | sort | xargs"))
            .ShouldBe("ExecMainStatus=3 NRestarts=0");
        var line = broken.Split('\n').ToList().FindIndex(l => l.Contains("maxPod:")) + 1;
        (await guest.CheckAsync("journalctl --boot --output cat --unit nodeagent.service")).ShouldContain($"user data:{line}:3: node: unknown field 'maxPod'");
        (await guest.RunAsync("systemctl is-active kubelet.service")).Output.Trim().ShouldNotBe("active");
        (await guest.RunAsync("nodeagent plan")).ExitCode.ShouldBe(3);
        (await guest.CheckAsync("ls /etc/kubernetes 2>/dev/null || true")).ShouldBe("");

        var before = await guest.CheckAsync("find /etc -newer /run/nodeagent/status.json -type f | sort");
        (await guest.RunAsync("nodeagent apply")).ExitCode.ShouldBe(3);
        (await guest.CheckAsync("find /etc -newer /run/nodeagent/status.json -type f | sort")).ShouldBe(before);

        await Worker.LaunchAsync(lab, guest, Worker.ContainerOverrides);
        await guest.CheckAsync("systemctl restart nodeagent.service", TimeSpan.FromSeconds(60));
        await guest.WaitForAsync("systemctl is-active kubelet.service", TimeSpan.FromSeconds(30));
        await Worker.NothingToDoAsync(guest);
    }
}
