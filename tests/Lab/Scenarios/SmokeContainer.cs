using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>The container ring itself: systemd runs, metadata answers as told, the stand-ins stand in, a reboot keeps files.</summary>
internal static class SmokeContainer
{
    private const string Metadata =
        "t=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token) && "
        + "curl -sf -H \"X-aws-ec2-metadata-token: $t\" http://169.254.169.254/latest/meta-data/";

    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.StartContainerAsync();
        var state = await guest.WaitForBootAsync();
        state.ShouldBe("running", await guest.CheckAsync("systemctl --failed --no-legend"));
        (await guest.CheckAsync(Metadata + "tags/instance/Name")).ShouldBe("worker");
        await guest.Imds.SetTagsAsync(new() { ["Name"] = "renamed" });
        (await guest.CheckAsync(Metadata + "tags/instance/Name")).ShouldBe("renamed");

        await guest.CheckAsync("systemctl start containerd kubelet");
        (await guest.WaitForAsync("curl -sf http://127.0.0.1:10248/healthz", TimeSpan.FromSeconds(10))).ShouldBe("ok");
        (await guest.RunAsync("echo out; echo err >&2; exit 7")).ShouldSatisfyAllConditions(
            result => result.ExitCode.ShouldBe(7),
            result => result.Output.ShouldBe("out\n"),
            result => result.Error.ShouldBe("err\n"));

        await guest.WriteAsync("/var/lib/kept", "kept");
        await guest.RebootAsync();
        (await guest.CheckAsync("cat /var/lib/kept")).ShouldBe("kept");
    }
}
