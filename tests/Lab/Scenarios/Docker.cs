using System.Globalization;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// kubelet 1.20 with Docker, which it talks to by itself: containers run on the ephemeral disks, logs are rotated, and what is not ours stays.
/// </summary>
internal static class Docker
{
    private const string TheirConfiguration = "{\"debug\": true, \"data-root\": \"/somewhere/else\"}\n";

    public static async Task RunAsync(Laboratory lab)
    {
        var apiServer = lab.ApiServer.StartedAsync();
        await using var guest = await lab.BootAsync();
        await Worker.InstallAsync(lab, guest);
        await guest.WriteAsync("/etc/docker/daemon.json", TheirConfiguration);
        await Worker.LaunchAsync(lab, guest, "runtime: docker\ndocker: {binary: /usr/sbin/dockerd, logs: {maxSize: 100k, maxFiles: 2}}\n");
        await apiServer;
        await guest.RebootAsync();
        await Worker.ReadyAsync(lab, guest);

        (await guest.CheckAsync("docker info --format '{{.Driver}} {{.CgroupDriver}} {{.LoggingDriver}} {{.DockerRootDir}} {{.LiveRestoreEnabled}}'"))
            .ShouldBe("overlay2 systemd json-file /var/lib/docker true");
        (await guest.CheckAsync("findmnt --noheadings --output SOURCE,FSTYPE /var/lib/docker | xargs")).ShouldBe("/dev/mapper/nodeagent-runtime xfs");
        // containerd beneath keeps its own there too, and nothing on the root disk.
        await guest.CheckAsync("test -d /var/lib/docker/io.nodeagent.containerd/io.containerd.metadata.v1.bolt && ! mountpoint --quiet /var/lib/containerd");
        await PodsAsync(lab, guest);
        await LogsAsync(lab, guest);
        await LiveRestoreAsync(guest);
        (await guest.CheckAsync("cat /etc/docker/daemon.json")).ShouldBe(TheirConfiguration.Trim());
        (await guest.CheckAsync("systemctl --failed --no-legend --plain")).ShouldBe("");
        await Worker.NothingToDoAsync(guest);
    }

    private static async Task PodsAsync(Laboratory lab, Guest guest)
    {
        await lab.ApiServer.ServiceAccountAsync();
        await PostAsync(lab, "pod", "Always", new { name = "pause", image = "registry.k8s.io/pause:3.9", imagePullPolicy = "Never" });
        var address = await PhaseAsync(lab, "pod", "Running");
        address.ShouldStartWith("10.244.3.");
        await guest.CheckAsync($"test -f /var/lib/docker/io.nodeagent.cni/nodeagent/{address}");
        await PhaseAsync(lab, $"kube-proxy-{Worker.Node}", "Running");
        await guest.WaitForAsync("iptables-save -t nat | grep -q KUBE-SERVICES", Worker.ConvergeTimeout);
        (await guest.CheckAsync("docker ps --format '{{.Names}}' | cut -d_ -f2,3 | sort | xargs"))
            .ShouldBe($"POD_kube-proxy-{Worker.Node} POD_pod kube-proxy_kube-proxy-{Worker.Node} pause_pod");
    }

    /// <summary>Three times what one file may hold: two files are there, neither much larger than that, and the newest line is in the newest.</summary>
    private static async Task LogsAsync(Laboratory lab, Guest guest)
    {
        var image = await guest.CheckAsync("docker images --format '{{.Repository}}:{{.Tag}}' | grep kube-proxy");
        const string Script = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); "
            + "echo \"$i of 2000: 0123456789012345678901234567890123456789012345678901234567890123456789\"; done";
        await PostAsync(lab, "writer", "Never", new { name = "writer", image, imagePullPolicy = "Never", command = new[] { "/usr/bin/sh", "-c", Script } });
        await PhaseAsync(lab, "writer", "Succeeded");
        var log = await guest.CheckAsync("docker inspect --format '{{.LogPath}}' $(docker ps --all --quiet --filter name=k8s_writer_writer)");
        log.ShouldStartWith("/var/lib/docker/containers/");
        (await guest.CheckAsync($"ls {log}*")).ShouldBe($"{log}\n{log}.1");
        foreach (var size in (await guest.CheckAsync($"stat --format %s {log} {log}.1")).Split('\n'))
        {
            int.Parse(size, CultureInfo.InvariantCulture).ShouldBeInRange(1, 110_000);
        }

        (await guest.CheckAsync("tail -n1 /var/log/pods/kube-system_writer_*/writer/0.log")).ShouldContain("2000 of 2000");
    }

    private static async Task LiveRestoreAsync(Guest guest)
    {
        const string Processes = "docker inspect --format '{{.State.Pid}}' $(docker ps --quiet --filter name=k8s_pause_pod)";
        var before = await guest.CheckAsync(Processes);
        await guest.CheckAsync("systemctl restart docker.service", TimeSpan.FromMinutes(3));
        (await guest.CheckAsync(Processes)).ShouldBe(before);
    }

    private static Task PostAsync(Laboratory lab, string name, string restartPolicy, object container) =>
        lab.ApiServer.PostAsync("/api/v1/namespaces/kube-system/pods", new
        {
            metadata = new { name },
            spec = new { nodeName = Worker.Node, restartPolicy, automountServiceAccountToken = false, containers = new[] { container } },
        });

    /// <summary>Waits, and returns the pod's address where it has one.</summary>
    private static Task<string> PhaseAsync(Laboratory lab, string pod, string phase) =>
        lab.WaitForAsync($"{pod} is {phase}", Worker.ConvergeTimeout, async () =>
    {
        var pods = (await lab.ApiServer.GetAsync("/api/v1/namespaces/kube-system/pods")).GetProperty("items").EnumerateArray();
        var all = pods.Where(p => p.GetProperty("metadata").GetProperty("name").GetString() == pod).Select(p => p.GetProperty("status")).ToList();
        return all is not [var status] ? (false, "no such pod")
            : status.GetProperty("phase").GetString() != phase ? (false, status.ToString())
            : (true, status.TryGetProperty("podIP", out var address) ? address.GetString()! : "");
    });
}
