using System.Text;
using System.Text.Json;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>What the scenarios of a worker share: the user data it boots with, and how its state is asked for.</summary>
internal static class Worker
{
    public const string Node = "ip-10-0-2-15.ec2.internal";

    public const string AuthorityFolder = "/var/lib/lab/ca";

    /// <summary>Generous: the machine that emulates may be busy.</summary>
    public static readonly TimeSpan ConvergeTimeout = TimeSpan.FromMinutes(5);

    /// <summary>A machine image: the agent's package, and what is the same for every node of it.</summary>
    public static async Task InstallAsync(Laboratory lab, Guest guest)
    {
        await guest.InstallAgentAsync();
        await guest.PushCertificateAuthorityAsync(AuthorityFolder);
        await guest.WriteAsync("/etc/nodeagent/config.d/10-image.yaml", $$"""
            apiVersion: nodeagent/v1
            kind: NodeConfig
            network:
              pluginBinaries: /usr/lib/cni
            certificates:
              source: directory
              laboratory: true
              directory: {{AuthorityFolder}}
            """);
    }

    /// <summary>A machine that has become a Ready node by its first boot, where that is only the beginning of a scenario.</summary>
    public static async Task<VirtualMachine> ReadyNodeAsync(Laboratory lab)
    {
        await lab.ApiServer.StartedAsync();
        var guest = await lab.BootAsync();
        await InstallAsync(lab, guest);
        await LaunchAsync(lab, guest);
        await guest.RebootAsync();
        await ReadyAsync(lab, guest);
        return guest;
    }

    /// <summary>User data, as the launch template gives it; tags name role and cluster.</summary>
    public static async Task LaunchAsync(Laboratory lab, Guest guest, string more = "")
    {
        guest.Imds.Tags = new() { ["Name"] = "worker", ["nodeagent:cluster"] = "laboratory", ["nodeagent:role"] = "worker" };
        await guest.Imds.SetUserDataAsync(Encoding.UTF8.GetBytes(UserData(lab, more)));
    }

    public static string UserData(Laboratory lab, string more = "")
    {
        var authority = File.ReadAllText(lab.CertificateAuthority.CertificateFile).Trim().ReplaceLineEndings("\n    ");
        return $"""
            apiVersion: nodeagent/v1
            kind: NodeConfig
            cluster:
              endpoint: {ApiServer.Url}
              podRange: 10.244.0.0/16
              certificateAuthority: |
                {authority}
            network:
              podRange: 10.244.3.0/24

            """ + more;
    }

    /// <summary>What a container can hold: no modules, and only the sysctls of its own network.</summary>
    public const string ContainerOverrides = """
        kernel:
          modules: []
          sysctls:
            net.bridge.bridge-nf-call-iptables: null
            net.bridge.bridge-nf-call-ip6tables: null
            vm.overcommit_memory: null
            vm.panic_on_oom: null
            vm.max_map_count: null
            kernel.panic: null
            kernel.panic_on_oops: null
            kernel.keys.root_maxkeys: null
            kernel.keys.root_maxbytes: null
            kernel.pid_max: null
            fs.inotify.max_user_instances: null
            fs.inotify.max_user_watches: null
        kubeProxy:
          mode: none

        """;

    /// <summary>Waits until nodeagent.service has succeeded in this boot.</summary>
    public static async Task PreparedAsync(Guest guest)
    {
        try
        {
            await guest.WaitForAsync("systemctl is-active nodeagent.service", ConvergeTimeout);
        }
        catch (ShouldAssertException)
        {
            Console.WriteLine(await guest.CheckAsync("systemctl status --no-pager --full nodeagent.service || true"));
            throw;
        }
    }

    public static async Task HealthyAsync(Guest guest)
    {
        await PreparedAsync(guest);
        try
        {
            await guest.WaitForAsync("systemctl is-active nodeagent-ready.service", ConvergeTimeout);
        }
        catch (ShouldAssertException)
        {
            Console.WriteLine(
                await guest.CheckAsync("systemctl status --no-pager --full nodeagent-ready.service kubelet.service containerd.service | tail -60 || true"));
            throw;
        }
    }

    public static async Task ReadyAsync(Laboratory lab, Guest guest)
    {
        await HealthyAsync(guest);
        await lab.WaitForAsync("the node is Ready", ConvergeTimeout, () => lab.ApiServer.NodeReadyAsync(Node));
    }

    /// <summary>Resources that a plan would change, with the plan's exit code.</summary>
    public static async Task<(int ExitCode, IReadOnlyList<string> Resources)> PlanAsync(Guest guest)
    {
        var result = await guest.RunAsync("nodeagent plan --format json --deadline 4m", TimeSpan.FromMinutes(5));
        if (result.ExitCode is not (0 or 2 or 5))
        {
            throw new LabException($"plan exits {result.ExitCode}\n{result.Output}{result.Error}");
        }

        using var plan = JsonDocument.Parse(result.Output);
        return (result.ExitCode, [.. plan.RootElement.GetProperty("steps").EnumerateArray().Select(s => s.GetProperty("resource").GetString()!)]);
    }

    public static async Task NothingToDoAsync(Guest guest)
    {
        var (exitCode, resources) = await PlanAsync(guest);
        resources.ShouldBeEmpty();
        exitCode.ShouldBe(0);
    }

    /// <summary>Which run of a unit this is: another one after every start.</summary>
    public static Task<string> InvocationAsync(Guest guest, string unit) => guest.CheckAsync($"systemctl show --value --property InvocationID {unit}");
}
