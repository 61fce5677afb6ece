using System.Globalization;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// A node joins 61 days ago; then its clock goes on to today. The timer renews what is due, kubelet 1.20 is restarted for its serving certificate and nothing
/// else is, and the node stays healthy. The issuer is on the same machine, since it is the one that has the same clock.
/// </summary>
internal static class Renewal
{
    private static readonly TimeSpan Ago = TimeSpan.FromDays(61);

    public static async Task RunAsync(Laboratory lab)
    {
        await lab.ApiServer.StartedAsync();
        var fleet = await Fleet.CreateAsync(lab);
        await using var guest = await lab.BootAsync();
        await fleet.LaunchAsync(guest, "worker", "10.0.2.15", "ec2:DescribeInstances", "s3:GetObject", "s3:ListBucket");
        await Issuing.InstallAsync(guest);
        await Issuing.ConfigureAsync(fleet, guest);
        await Issuing.LaunchAsync(lab, guest, $$$"""
            certificates: {issuer: {endpoints: ["https://127.0.0.1:{{{Issuing.Port}}}"]}}

            """);
        // A timer that waits up to five minutes would make a long scenario of it.
        await guest.WriteAsync("/etc/systemd/system/nodeagent-renew.timer.d/50-lab.conf", "[Timer]\nRandomizedDelaySec=0\n");
        await guest.CheckAsync("systemctl add-wants multi-user.target nodeagent-issuer.service");
        // It would set the clock on to when it last ran.
        await guest.CheckAsync("systemctl mask --now systemd-timesyncd.service && rm -rf /var/lib/systemd/timesync /var/lib/private/systemd/timesync");
        await guest.RebootAsync(-Ago);
        await Worker.ReadyAsync(lab, guest);
        var then = await guest.CheckAsync("date +%s");
        (DateTimeOffset.UtcNow.ToUnixTimeSeconds() - long.Parse(then, CultureInfo.InvariantCulture)).ShouldBeGreaterThan(60 * 86400);
        (await guest.RunAsync("nodeagent certs list")).ExitCode.ShouldBe(0);

        const string Serial =
            "for f in kubelet-client.pem kubelet-serving.pem kube-proxy/client.pem; do openssl x509 -noout -serial -in /etc/kubernetes/pki/$f; done";
        var (serials, kubelet, containerd, proxy) = (
            await guest.CheckAsync(Serial),
            await Worker.InvocationAsync(guest, "kubelet.service"),
            await Worker.InvocationAsync(guest, "containerd.service"),
            await guest.CheckAsync("pgrep -x kube-proxy"));
        await guest.CheckAsync($"date --set=@{DateTimeOffset.UtcNow.ToUnixTimeSeconds()}");
        await lab.WaitForAsync("the timer has renewed all three", TimeSpan.FromMinutes(4), async () =>
        {
            var now = await guest.CheckAsync(Serial);
            return (now.Split('\n').Intersect(serials.Split('\n')).Any() is false, now);
        });
        await guest.WaitForAsync("! systemctl is-active nodeagent-renew.service", TimeSpan.FromMinutes(2));
        (await guest.CheckAsync("systemctl show --value --property Result nodeagent-renew.service")).ShouldBe("success");

        var renewed = (await Issuing.AuditAsync(guest))[^1];
        (renewed.Decision, renewed.Roles?.Count).ShouldBe(("granted", 3), renewed.ToString());
        (await Worker.InvocationAsync(guest, "kubelet.service")).ShouldNotBe(kubelet);
        (await guest.CheckAsync("systemctl show --value --property NRestarts kubelet.service")).ShouldBe("0");
        (await Worker.InvocationAsync(guest, "containerd.service")).ShouldBe(containerd);
        (await guest.CheckAsync("pgrep -x kube-proxy")).ShouldBe(proxy);
        await guest.WaitForAsync("curl --silent --fail http://127.0.0.1:10248/healthz", Worker.ConvergeTimeout);
        await Worker.ReadyAsync(lab, guest);
        await Issuing.OpenSslAgreesAsync(guest);
        (await guest.RunAsync("nodeagent certs list")).ExitCode.ShouldBe(0);
        await Worker.NothingToDoAsync(guest);
    }
}
