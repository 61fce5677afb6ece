using System.Text;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// A machine without any way out but a proxy that wants a password: the tags, which name the cluster, come from EC2 through it, metadata directly, and runtime
/// and kubelet get it in their environment. The password is seen nowhere. Without a proxy in the configuration, nothing of it stays.
/// </summary>
internal static class Proxy
{
    private const string Endpoint = "http://ec2.us-east-1.amazonaws.com";

    private const string Password = "hunter2";

    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.StartContainerAsync();
        (await guest.CheckAsync("ip route")).ShouldBe("");
        await using var proxy = new ForwardProxy(guest.NetworkNamespace, 3128, $"worker:{Password}", lab.Aws.Port);
        await Worker.InstallAsync(lab, guest);
        await TagsFromEc2.LaunchedAsync(lab, guest, "behind-a-proxy");
        var userData = Worker.UserData(
            lab, $"{Worker.ContainerOverrides}proxy: {{http: 'http://worker:{Password}@127.0.0.1:3128', noProxy: [.example.net]}}\n");
        await guest.Imds.SetUserDataAsync(Encoding.UTF8.GetBytes(userData));
        await TagsFromEc2.AsRoleAsync(lab, guest, "ec2:DescribeTags");
        // Whoever asked metadata by the environment's proxy would ask nobody.
        await guest.WriteAsync(
            "/etc/systemd/system/nodeagent.service.d/lab.conf", $"[Service]\nEnvironment=AWS_ENDPOINT_URL_EC2={Endpoint} HTTP_PROXY=http://127.0.0.1:9\n");

        var started = await guest.RunAsync("systemctl daemon-reload && systemctl restart nodeagent.service", TimeSpan.FromMinutes(2));
        started.ExitCode.ShouldBe(0, await guest.CheckAsync("journalctl --output cat --unit nodeagent.service | tail -20"));

        await guest.WaitForAsync("systemctl is-active kubelet.service && systemctl is-active containerd.service", TimeSpan.FromSeconds(30));
        (await guest.CheckAsync("cat /etc/kubernetes/kubelet.conf")).ShouldContain("behind-a-proxy");
        proxy.Requests.ShouldNotBeEmpty();
        proxy.Requests.ShouldAllBe(r => r == $"POST {Endpoint}/ HTTP/1.1");
        foreach (var unit in new[] { "kubelet.service", "containerd.service" })
        {
            var environment = (await EnvironmentAsync(guest, unit)).Split('\n');
            environment.ShouldContain($"HTTP_PROXY=http://worker:{Password}@127.0.0.1:3128");
            environment.Single(v => v.StartsWith("NO_PROXY=", StringComparison.Ordinal)).Split('=')[1].Split(',')
                .ShouldBe(
                    ["127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "localhost", ".example.net", "cluster.local", "10.0.2.100", "10.96.0.0/12",
                        "10.244.0.0/16"],
                    ignoreOrder: true);
        }

        (await guest.CheckAsync("stat -c '%a %U' /etc/nodeagent/proxy.env")).ShouldBe("600 root");
        (await guest.CheckAsync(
            "systemctl show kubelet.service containerd.service nodeagent.service; systemctl cat kubelet.service containerd.service; journalctl --output cat"))
                .ShouldNotContain(Password);
        var plan = await guest.RunAsync($"AWS_ENDPOINT_URL_EC2={Endpoint} nodeagent plan", TimeSpan.FromMinutes(2));
        plan.ExitCode.ShouldBe(0, plan.Output + plan.Error);

        await Worker.LaunchAsync(lab, guest, Worker.ContainerOverrides);
        var gone = await guest.RunAsync("nodeagent apply", TimeSpan.FromMinutes(2));
        gone.ExitCode.ShouldBe(0, gone.Output + gone.Error);
        (await guest.RunAsync("test -e /etc/nodeagent/proxy.env")).ExitCode.ShouldNotBe(0);
        (await EnvironmentAsync(guest, "kubelet.service")).ShouldNotContain("_PROXY");
        (await EnvironmentAsync(guest, "containerd.service")).ShouldNotContain("_PROXY");
        await Worker.NothingToDoAsync(guest);
    }

    private static Task<string> EnvironmentAsync(Guest guest, string unit) =>
        // Until the service's own program runs, its process has the manager's environment.
        guest.CheckAsync(
            $"timeout 20 sh -c 'until p=$(systemctl show --value --property MainPID {unit}) && ! grep -qz ^container_uuid= /proc/$p/environ; do sleep 0.1; "
                + "done; tr \"\\0\" \"\\n\" </proc/$p/environ'");
}
