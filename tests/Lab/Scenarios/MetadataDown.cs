using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// No metadata: exit code 4 within the deadline, a message with path and cause, no kubelet; when metadata is back, the unit recovers by itself.
/// </summary>
internal static class MetadataDown
{
    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.StartContainerAsync();
        await Worker.InstallAsync(lab, guest);
        await Worker.LaunchAsync(lab, guest, Worker.ContainerOverrides);
        await guest.WriteAsync("/etc/systemd/system/nodeagent.service.d/short.conf", """
            [Service]
            ExecStart=
            ExecStart=/usr/bin/nodeagent apply --at-boot --deadline 10s
            RestartSec=2s
            RestartMaxDelaySec=4s
            """);
        await guest.CheckAsync("systemctl enable kubelet.service");
        await guest.Imds.SetFaultsAsync(new MetadataFault("Status", Status: 503));
        await guest.RebootAsync();

        await guest.WaitForAsync("test $(systemctl show --value --property NRestarts nodeagent.service) -ge 1", TimeSpan.FromSeconds(60));
        (await guest.CheckAsync("systemctl show --value --property ExecMainStatus nodeagent.service || true")).ShouldBeOneOf("4", "0");
        var log = await guest.CheckAsync("journalctl --boot --output cat --unit nodeagent.service");
        log.ShouldContain("http://169.254.169.254/latest/");
        log.ShouldContain("503");
        log.ShouldContain("status=4");
        (await guest.RunAsync("systemctl is-active kubelet.service")).Output.Trim().ShouldNotBe("active");
        (await guest.RunAsync("systemctl is-active containerd.service")).Output.Trim().ShouldNotBe("active");
        await guest.WaitForAsync("grep --quiet 'http://169.254.169.254/latest/' /run/nodeagent/status.json", TimeSpan.FromSeconds(30));

        await guest.Imds.SetFaultsAsync();
        await Worker.PreparedAsync(guest);
        await guest.WaitForAsync("systemctl is-active kubelet.service containerd.service", TimeSpan.FromSeconds(60));
    }
}
