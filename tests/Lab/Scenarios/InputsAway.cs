using System.Text;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// Without S3 and EC2 a first boot fails with exit code 4, and goes on by itself when they are there. A node reboots without them and without its issuer: it
/// comes back with what it kept, and says so. What it kept is worth nothing to another instance.
/// </summary>
internal static class InputsAway
{
    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.StartContainerAsync();
        await Worker.InstallAsync(lab, guest);
        await S3Layers.FillBucketAsync(lab, guest);
        await TagsFromEc2.LaunchedAsync(lab, guest, "laboratory");
        await TagsFromEc2.RoleAsync(lab, guest, "s3:GetObject", "s3:ListBucket", "ec2:DescribeTags");
        await Worker.LaunchAsync(lab, guest, S3Layers.Section() + Worker.ContainerOverrides);
        await guest.Imds.SetTagsAsync(null);
        await guest.WriteAsync("/etc/systemd/system/nodeagent.service.d/short.conf", $"""
            [Service]
            Environment=AWS_ENDPOINT_URL_EC2={Aws.Url}
            ExecStart=
            ExecStart=/usr/bin/nodeagent apply --at-boot --deadline 20s
            RestartSec=2s
            RestartMaxDelaySec=4s
            """);
        await guest.CheckAsync("systemctl enable kubelet.service");
        await guest.RebootAsync();

        await guest.WaitForAsync("journalctl --boot --unit nodeagent.service | grep --quiet status=4", TimeSpan.FromMinutes(2));
        (await guest.RunAsync("systemctl is-active kubelet.service")).Output.Trim().ShouldNotBe("active");
        await using (await guest.ConnectAwsAsync())
        {
            await Worker.PreparedAsync(guest);
            await guest.WaitForAsync("systemctl is-active kubelet.service", TimeSpan.FromSeconds(60));
            (await guest.CheckAsync("stat --format '%a %U' /var/lib/nodeagent/inputs.json")).ShouldBe("600 root");
            (await guest.CheckAsync("cat /run/nodeagent/status.json")).ShouldNotContain("standIns");
        }

        await guest.CheckAsync($"mv {Worker.AuthorityFolder} {Worker.AuthorityFolder}.away");
        await guest.RebootAsync();
        await Worker.PreparedAsync(guest);
        await guest.WaitForAsync("systemctl is-active kubelet.service", TimeSpan.FromSeconds(60));
        var log = await guest.CheckAsync("journalctl --boot --output cat --unit nodeagent.service");
        log.ShouldContain("S3 is away, so shared layers are those of the last good run, of ");
        log.ShouldContain("EC2 is away, so the instance's tags are those of the last good run, of ");
        (await guest.CheckAsync("cat /run/nodeagent/status.json")).ShouldContain("S3 is away, so shared layers are those of the last good run");
        (await guest.CheckAsync("cat /etc/systemd/system/kubelet.service.d/*")).ShouldContain("example.com/role=said");
        var plan = await guest.RunAsync($"AWS_ENDPOINT_URL_EC2={Aws.Url} nodeagent plan --deadline 20s");
        (plan.ExitCode, plan.Error).ShouldBe((0, ""));
        plan.Output.ShouldContain("S3 is away");

        // An image was baked from it.
        TagsFromEc2.BecomeInstance(guest, "i-0bbbbbbbbbbbbbbbb");
        await guest.Imds.SaveAsync();
        await guest.RebootAsync();
        await guest.WaitForAsync("journalctl --boot --unit nodeagent.service | grep --quiet status=4", TimeSpan.FromMinutes(2));
        (await guest.RunAsync("systemctl is-active kubelet.service")).Output.Trim().ShouldNotBe("active");
        (await guest.RunAsync("test -e /var/lib/nodeagent/inputs.json")).ExitCode.ShouldBe(1);
    }
}
