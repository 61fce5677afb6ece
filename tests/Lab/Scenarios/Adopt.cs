using System.Text.Json;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// A node runs, and a layer that it shares changes. With policy "boot" nothing happens; with "running" its timer takes what disturbs nothing, and what restarts
/// kubelet waits for the node's slot. Bad configuration changes nothing, and the timer goes when it is not wanted any more.
/// </summary>
internal static class Adopt
{
    private const string Timer = "nodeagent-adopt.timer";

    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.StartContainerAsync();
        await Worker.InstallAsync(lab, guest);
        await S3Layers.FillBucketAsync(lab, guest);
        await TagsFromEc2.RoleAsync(lab, guest, "s3:GetObject", "s3:ListBucket");
        await PublishAsync(lab, "kernel: {sysctls: {net.core.somaxconn: 4001}}");
        await Worker.LaunchAsync(lab, guest, S3Layers.Section() + Worker.ContainerOverrides);
        await guest.RebootAsync();
        await using (await guest.ConnectAwsAsync())
        {
            await Worker.PreparedAsync(guest);
            await guest.WaitForAsync("systemctl is-active kubelet.service", TimeSpan.FromSeconds(30));
            var kubelet = await Worker.InvocationAsync(guest, "kubelet.service");
            (await PendingAsync(guest)).ExitCode.ShouldBe(0);
            (await guest.CheckAsync("stat --format '%a %U' /var/lib/nodeagent/adopted.json")).ShouldBe("600 root");

            // At boot only: it says what waits and touches nothing.
            await PublishAsync(lab, "kernel: {sysctls: {net.core.somaxconn: 4002}}");
            await UntouchedAsync(guest, () => guest.CheckAsync("systemctl start nodeagent-adopt.service"));
            (await guest.CheckAsync("sysctl --values net.core.somaxconn")).ShouldBe("4001");
            var waits = await guest.RunAsync("nodeagent config show --pending");
            waits.ExitCode.ShouldBe(2);
            waits.Output.ShouldContain(
                "kernel.sysctls[net.core.somaxconn]: \"4001\" -> \"4002\"  # s3://example-nodes/v1/acme/prod/us-east-1/laboratory/worker.yaml:");
            waits.Output.ShouldContain("adoption.when is boot (defaults:");
            (await guest.RunAsync($"systemctl is-active {Timer}")).Output.Trim().ShouldBe("inactive");

            // While it runs: by hand once, by the timer from then on.
            await PublishAsync(lab, Running("24h") + "kernel: {sysctls: {net.core.somaxconn: 4002}}");
            await guest.CheckAsync("nodeagent apply");
            (await guest.CheckAsync("sysctl --values net.core.somaxconn")).ShouldBe("4002");
            (await guest.CheckAsync($"systemctl is-active {Timer}")).ShouldBe("active");
            (await guest.CheckAsync($"systemctl show --property TimersMonotonic {Timer}")).ShouldNotContain("30min");
            await PublishAsync(lab, Running("24h") + "kernel: {sysctls: {net.core.somaxconn: 4003}}");
            await guest.WaitForAsync("test $(sysctl --values net.core.somaxconn) = 4003", TimeSpan.FromMinutes(3));
            await guest.WaitForAsync("! systemctl is-active nodeagent-adopt.service", TimeSpan.FromSeconds(30));
            (await guest.CheckAsync("journalctl --output cat --unit nodeagent-adopt.service"))
                .ShouldContain("none of which disturbs the node. It is adopted now.");
            (await PendingAsync(guest)).ExitCode.ShouldBe(0);

            // Another rhythm counts at once, without a restart of the timer that would begin anew.
            await PublishAsync(lab, Running("30d", "2h") + "kernel: {sysctls: {net.core.somaxconn: 4003}}");
            await guest.CheckAsync("systemctl start nodeagent-adopt.service");
            (await SecondsToNextLookAsync(guest)).ShouldBeInRange(7000, 7200);

            // A label is kubelet's to read, as it starts: this node's slot is some time in the next 30 days.
            await PublishAsync(lab, Running("30d", "2h") + "kernel: {sysctls: {net.core.somaxconn: 4004}}\nnode: {labels: {example.com/pool: blue}}");
            await UntouchedAsync(guest, () => guest.CheckAsync("systemctl start nodeagent-adopt.service"));
            var first = await PendingAsync(guest);
            (first.ExitCode, first.Disruptive).ShouldBe((2, true));
            DateTimeOffset.Parse(first.Slot!, null).ShouldBeInRange(DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddDays(30));
            await guest.CheckAsync("systemctl start nodeagent-adopt.service");
            (await PendingAsync(guest)).Slot.ShouldBe(first.Slot);
            (await guest.CheckAsync("cat /run/nodeagent/status.json")).ShouldContain($"\"slot\": \"{first.Slot}\"");
            (await guest.CheckAsync("journalctl --output cat --unit nodeagent-adopt.service"))
                .ShouldContain($"(restart kubelet.service). It is adopted as a whole from {first.Slot} on");
            (await guest.CheckAsync("sysctl --values net.core.somaxconn")).ShouldBe("4003");
            (await Worker.InvocationAsync(guest, "kubelet.service")).ShouldBe(kubelet);

            // In a window of one second the slot has come.
            await PublishAsync(lab, Running("1s", "2h") + "kernel: {sysctls: {net.core.somaxconn: 4004}}\nnode: {labels: {example.com/pool: blue}}");
            await guest.CheckAsync("systemctl start nodeagent-adopt.service || systemctl start nodeagent-adopt.service");
            var restarted = await Worker.InvocationAsync(guest, "kubelet.service");
            restarted.ShouldNotBe(kubelet);
            (await guest.CheckAsync("cat /etc/systemd/system/kubelet.service.d/*")).ShouldContain("example.com/pool=blue");
            (await guest.CheckAsync("journalctl --output cat --unit nodeagent-adopt.service | grep -c 'changed restart kubelet.service'")).ShouldBe("1");
            await UntouchedAsync(guest, () => guest.CheckAsync("systemctl start nodeagent-adopt.service"));
            (await PendingAsync(guest)).ExitCode.ShouldBe(0);
            await Worker.NothingToDoAsync(guest);

            // Bad configuration is told, by exit code too, and changes nothing; the next look is as good as any.
            await PublishAsync(lab, Running("1s", "2h") + "node: {label: {example.com/pool: green}}");
            await UntouchedAsync(guest, () => guest.RunAsync("systemctl start nodeagent-adopt.service"));
            (await guest.CheckAsync("systemctl show --value --property ExecMainStatus nodeagent-adopt.service")).ShouldBe("3");
            (await guest.CheckAsync("cat /run/nodeagent/status.json")).ShouldContain("unknown field 'label'");
            (await guest.RunAsync("nodeagent config show --pending")).ExitCode.ShouldBe(3);
        }

        // S3 is away: whether there is anything new is not known, and not said to be.
        await UntouchedAsync(guest, () => guest.RunAsync("nodeagent apply --adopt --deadline 12s", TimeSpan.FromMinutes(1)));
        (await guest.RunAsync("nodeagent apply --adopt --deadline 12s", TimeSpan.FromMinutes(1))).ExitCode.ShouldBe(4);

        // A boot brings the timer along, and takes what is there: the way back to "boot".
        await PublishAsync(lab, "node: {labels: {example.com/pool: green}}");
        await guest.RebootAsync();
        (await guest.CheckAsync($"systemctl is-active {Timer}")).ShouldBe("active");
        await using (await guest.ConnectAwsAsync())
        {
            await Worker.PreparedAsync(guest);
            (await guest.CheckAsync("cat /etc/systemd/system/kubelet.service.d/*")).ShouldContain("example.com/pool=green");
            (await guest.RunAsync($"systemctl is-active {Timer}")).Output.Trim().ShouldBe("inactive");
            (await guest.RunAsync($"ls /etc/systemd/system/{Timer}.d/* /etc/systemd/system/timers.target.d/*")).Output.ShouldBe("");
            (await PendingAsync(guest)).ExitCode.ShouldBe(0);
            await Worker.NothingToDoAsync(guest);
        }
    }

    private static string Running(string window, string every = "1m") => $"adoption: {{when: running, every: {every}, splay: 1s, window: {window}}}\n";

    private static async Task<int> SecondsToNextLookAsync(Guest guest) => int.Parse(
        await guest.CheckAsync(
            "next=$(busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1/unit/nodeagent_2dadopt_2etimer org.freedesktop.systemd1.Timer "
            + "NextElapseUSecMonotonic) && "
            + "echo $((${next#t } / 1000000 - $(cut -d. -f1 /proc/uptime)))"),
        null);

    private static Task PublishAsync(Laboratory lab, string more) =>
        lab.Aws.PutObjectAsync(S3Layers.Bucket, $"v1/{S3Layers.Layers[^1].Key}", $"apiVersion: nodeagent/v1\nkind: NodeConfig\n{more}\n");

    private static async Task<(int ExitCode, string? Slot, bool Disruptive)> PendingAsync(Guest guest)
    {
        var result = await guest.RunAsync("nodeagent config show --pending --format json", TimeSpan.FromMinutes(1));
        if (result.ExitCode is not (0 or 2))
        {
            throw new LabException($"config show --pending exits {result.ExitCode}\n{result.Output}{result.Error}");
        }

        using var json = JsonDocument.Parse(result.Output);
        return (result.ExitCode, json.RootElement.GetProperty("slot").GetString(), json.RootElement.GetProperty("disruptive").GetBoolean());
    }

    /// <summary>No file of the machine's configuration is another afterwards, and no service another run.</summary>
    private static async Task UntouchedAsync(Guest guest, Func<Task> act)
    {
        const string State =
            "find /etc /run/nodeagent/owed -type f -printf '%p %T@ %s\\n' 2>/dev/null | sort; systemctl show --property InvocationID kubelet.service "
                + "containerd.service";
        var before = await guest.CheckAsync(State);
        await act();
        (await guest.CheckAsync(State)).ShouldBe(before);
    }
}
