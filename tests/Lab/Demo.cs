using NodeAgent.Lab.Scenarios;

namespace NodeAgent.Lab;

/// <summary>`lab demo`: a fresh machine image becomes a node by booting, as its user sees it.</summary>
internal static class Demo
{
    public static async Task RunAsync(Laboratory lab)
    {
        Chapter("An instance with two instance-store disks, from an image with the agent's package, kubelet and containerd");
        var apiServer = lab.ApiServer.StartedAsync();
        await using var guest = await lab.BootAsync();
        await Worker.InstallAsync(lab, guest);
        await Worker.LaunchAsync(lab, guest, "node: {readiness: {gate: ready}, labels: {pool: blue}}\n");
        await apiServer;
        await ShowAsync(guest, "nodeagent version");
        await ShowAsync(guest, "lsblk --nodeps --output NAME,SIZE,MODEL,SERIAL /dev/nvme*n1");
        await ShowAsync(guest, "nodeagent config show | grep -v '# defaults' | grep -vE '^ +[A-Za-z0-9+/=]{40,}|CERTIFICATE'");

        Chapter("What it would do, before it does it (diffs left out here)");
        await ShowAsync(guest, "nodeagent plan | grep -v '^      '; echo \"exit code ${PIPESTATUS[0]}\"");

        Chapter("The first boot: systemd runs it before containerd and kubelet");
        await guest.RebootAsync();
        await Worker.ReadyAsync(lab, guest);

        Chapter("What it did");
        await ShowAsync(guest, "journalctl --boot --unit nodeagent.service --output cat | grep -vE 'sysctl|^Start'");
        await ShowAsync(guest, "systemctl status --no-pager --lines 0 nodeagent nodeagent-ready kubelet containerd | grep -E '^●|Active:|Status:'");
        await ShowAsync(guest, "findmnt --types xfs --output TARGET,SOURCE,SIZE");
        await ShowAsync(guest, $"kubectl --kubeconfig /etc/kubernetes/kubelet.conf get node {Worker.Node} --output wide || true");

        Chapter("A second plan");
        await ShowAsync(guest, "nodeagent plan; echo \"exit code $?\"");

        Chapter("Somebody edits a file by hand: what differs, and what mending it takes");
        await ShowAsync(guest, "sed -i 's/maxPods: 110/maxPods: 5/' /etc/kubernetes/kubelet.yaml; nodeagent plan; echo \"exit code $?\"");
        await ShowAsync(guest, "nodeagent apply; echo \"exit code $?\"");
        Console.WriteLine("\nDone. 'make e2e SCENARIO=repair' does more of this; tests/Lab/README.md says how to look around in such a machine.");
    }

    private static void Chapter(string title) => Console.WriteLine($"\n=== {title}");

    private static async Task ShowAsync(Guest guest, string command)
    {
        Console.WriteLine($"\n# {command}");
        var result = await guest.RunAsync(command, TimeSpan.FromMinutes(3));
        Console.Write(result.Output + result.Error);
    }
}
