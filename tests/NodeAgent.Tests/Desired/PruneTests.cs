using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

/// <summary>What leaves the configuration leaves the node, or is said; what is not ours stays, whatever happened in between.</summary>
public class PruneTests
{
    private const string Lean = """
        apiVersion: nodeagent/v1
        kind: NodeConfig
        network: {plugin: none}
        kubeProxy: {mode: none}
        """;

    private const string Rich = """
        apiVersion: nodeagent/v1
        kind: NodeConfig
        node:
          labels: {example.com/pool: spot, example.com/disk: fast}
          taints: [{key: dedicated, value: db, effect: NoSchedule}]
        kernel:
          modules: [overlay, br_netfilter, nf_conntrack, ip_vs]
          sysctls: {net.core.somaxconn: 4096}
        storage:
          volumes:
            scratch: {mount: /srv/scratch, size: 5%, filesystem: ext4}
        containerd:
          mirrors: {docker.io: {endpoints: [https://mirror.example]}}
        kubelet:
          credentialProviders: {ecr-credential-provider: {}}
        """;

    private static readonly string[] Gone =
    [
        "/etc/cni/net.d/10-nodeagent.conflist", "/etc/containerd/nodeagent/hosts/docker.io/hosts.toml", "/etc/kubernetes/credential-providers.yaml",
        "/etc/kubernetes/kube-proxy/config.yaml", "/etc/kubernetes/kube-proxy/kubeconfig", "/etc/kubernetes/manifests/kube-proxy.yaml",
        "/etc/kubernetes/pki/kube-proxy/client.pem", "/etc/systemd/system/srv-scratch.mount",
    ];

    [Fact]
    public void What_leaves_the_configuration_leaves_the_node_and_what_stays_is_said_with_the_command_that_removes_it()
    {
        var worker = RichWorker();
        worker.ExtraConfig = Lean;

        var plan = worker.Plan();

        WorkerTests.Pending(plan).ShouldBe(
        [
            "file /etc/modules-load.d/nodeagent.conf", "file /etc/sysctl.d/95-nodeagent.conf", "network plugin none", "file /etc/kubernetes/kubelet.yaml",
            "service proxy none", "file /etc/systemd/system/kubelet.service.d/50-nodeagent.conf", "leftover files", "leftover files of kube-proxy",
            "leftover unit files", "systemd configuration of the node", "restart kubelet.service",
        ]);
        var node = Worker.ExampleFacts().Instance.PrivateDnsName;
        string[] said =
        [
            "remains of modules and sysctls: module ip_vs is not loaded at boot any more; loaded now, it stays until the next boot, or: modprobe "
                + "--remove ip_vs",
            "remains of modules and sysctls: sysctl net.core.somaxconn is not set any more; the running kernel keeps 4096 until the next boot, since what it "
                + "was before is not known",
            "remains of the pod network: the bridge cni0, its address and its rules stay until the next boot, or until its last pod is gone and: ip link "
                + "delete cni0",
            $"remains of the Node: label example.com/disk stays on the Node, since kubelet removes none: kubectl label node {node} example.com/disk-",
            $"remains of the Node: label example.com/pool stays on the Node, since kubelet removes none: kubectl label node {node} example.com/pool-",
            $"remains of the Node: taint dedicated:NoSchedule stays on the Node, since kubelet removes none: kubectl taint node {node} dedicated:NoSchedule-",
        ];
        Said(plan.Notes).ShouldBe([.. said, "remains of volumes: volume nodeagent/scratch is no longer wanted and keeps its data (mounted at /srv/scratch); "
            + "to remove it with all that is on it: umount /srv/scratch && lvremove --yes nodeagent/scratch"]);

        worker.Machine.Writes.Clear();
        var result = worker.Apply();

        WorkerTests.Problems(result).ShouldBeEmpty();
        Said(result.Notes).ShouldBe([.. said, Scratch]);
        worker.Machine.AllFiles.Keys.Intersect(Gone).ShouldBeEmpty();
        worker.Machine.Mounts().ShouldNotContain(m => m.Target == "/srv/scratch");
        var writes = worker.Machine.Writes;
        writes.Where(w => w.StartsWith("restart", StringComparison.Ordinal)).ShouldBe(["restart kubelet.service"]);
        writes.IndexOf("stop srv-scratch.mount").ShouldBe(writes.IndexOf("delete /etc/systemd/system/srv-scratch.mount") - 1);
        writes.IndexOf("reload systemd").ShouldBeGreaterThan(writes.IndexOf("delete /etc/systemd/system/srv-scratch.mount"));
        // The pod goes before what it reads.
        writes.IndexOf("delete /etc/kubernetes/manifests/kube-proxy.yaml").ShouldBeLessThan(writes.IndexOf("delete /etc/kubernetes/kube-proxy/kubeconfig"));
        writes.IndexOf("delete /etc/kubernetes/kube-proxy/kubeconfig").ShouldBeLessThan(writes.IndexOf("delete /etc/kubernetes/pki/kube-proxy/client.pem"));
        worker.Machine.Group("nodeagent").Volumes.ShouldContain(v => v.Name == "scratch");

        // What the files said is known once, what lies on disks is said for as long as it lies there.
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
        Said(worker.Plan().Notes).ShouldBe([Scratch]);
    }

    [Fact]
    public void A_mount_that_somebody_uses_stays_until_the_next_boot_and_is_said_and_does_not_fail_the_run()
    {
        var worker = RichWorker();
        worker.ExtraConfig = Lean;
        worker.Machine.Breaks = w => w == "stop srv-scratch.mount" ? "target is busy" : null;

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.File("/etc/systemd/system/srv-scratch.mount").Kind.ShouldBe(FileKind.Absent);
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
        Said(worker.Plan().Notes).ShouldHaveSingleItem()
            .ShouldContain("(mounted at /srv/scratch); to remove it with all that is on it: umount /srv/scratch && lvremove --yes nodeagent/scratch");
        worker.Machine.Reboot();
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        Said(worker.Plan().Notes).ShouldBe([Scratch]);
    }

    [Fact]
    public void A_volume_whose_place_changes_is_mounted_at_the_new_one_and_the_old_one_is_said_while_it_is_in_use()
    {
        var worker = RichWorker();
        worker.ExtraConfig = Rich.Replace("/srv/scratch", "/data/scratch", StringComparison.Ordinal);
        worker.Machine.Breaks = w => w == "stop srv-scratch.mount" ? "target is busy" : null;

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
        Said(worker.Plan().Notes)
            .ShouldBe(["remains of volumes: volume nodeagent/scratch is still mounted at /srv/scratch, until the next boot or: umount /srv/scratch"]);
        // Parts of it that pods were given are theirs.
        worker.Machine.Unmount("/srv/scratch");
        worker.Machine.Set(worker.Machine.Mounts().Single(m => m.Target == "/data/scratch") with { Target = "/var/lib/kubelet/pods/1/volume-subpaths/x/c/0" });
        Said(worker.Plan().Notes).ShouldBeEmpty();
    }

    [Fact]
    public void Where_volumes_cannot_be_asked_for_and_none_are_wanted_the_run_goes_on_and_says_so()
    {
        var machine = new NodeAgent.Machine.EmptyMachineReader(DateTimeOffset.UnixEpoch, []);
        var list = new NodeAgent.Resources.UnwantedVolumes(null, new Dictionary<string, string>());

        list.Examine(machine, []).ShouldBe(InSync.Instance);
        list.Examine(new ReplayReader(new Recording()), []).ShouldBeOfType<InSync>()
            .Notes.ShouldHaveSingleItem().ShouldStartWith("whether there are volume groups of ours could not be seen: ");
    }

    [Fact]
    public void What_runtime_and_kubelet_stand_on_is_not_taken_from_under_them_and_its_group_stays()
    {
        var worker = RichWorker();
        worker.ExtraConfig = Lean + "\nstorage: {volumes: {runtime: null, kubelet: null, podlogs: null}}\n";
        foreach (var disk in worker.Machine.Disks().Where(d => d.Serial.StartsWith("AWS", StringComparison.Ordinal)).ToList())
        {
            worker.Machine.Set(disk with { Holders = ["dm-0"] });
        }

        worker.Machine.Writes.Clear();
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Writes.Where(w => w.StartsWith("stop", StringComparison.Ordinal)).ShouldBe(["stop srv-scratch.mount"]);
        worker.Machine.AllFiles.Keys.ShouldNotContain(f => f.EndsWith(".mount", StringComparison.Ordinal));
        Said(worker.Plan().Notes).ShouldHaveSingleItem().ShouldBe(
            "remains of volumes: volume group nodeagent is no longer wanted and keeps its 4 volumes and their data (mounted at /var/lib/containerd, "
            + "/var/lib/kubelet, /var/log/pods); to remove it "
            + "with all that is on it: umount /var/lib/containerd && umount /var/lib/kubelet && umount /var/log/pods && vgremove --yes nodeagent");
        worker.Machine.Group("nodeagent").Volumes.Count.ShouldBe(4);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void A_prune_cut_off_at_any_write_is_finished_by_the_next_run_and_takes_nothing_else(bool afterEffect, bool reboots)
    {
        for (var cut = 0; ; cut++)
        {
            var worker = RichWorker();
            PutTheirs(worker.Machine);
            var kubelet = worker.Machine.Unit("kubelet.service").InvocationId;
            worker.ExtraConfig = Lean;
            (worker.Machine.CrashAtWrite, worker.Machine.CrashAfterEffect) = (cut, afterEffect);
            if (!CrashTests.Dies(worker))
            {
                cut.ShouldBeGreaterThan(10);
                return;
            }

            worker.Machine.CrashAtWrite = -1;
            if (reboots)
            {
                worker.Machine.Reboot();
            }

            WorkerTests.Problems(worker.Apply()).ShouldBeEmpty($"cut at write {cut}");
            WorkerTests.Pending(worker.Plan()).ShouldBeEmpty($"cut at write {cut}");
            worker.Machine.AllFiles.Keys.Intersect(Gone).ShouldBeEmpty($"cut at write {cut}");
            worker.Machine.AllFiles.Keys.Intersect(Theirs).Count().ShouldBe(Theirs.Length, $"cut at write {cut}");
            worker.Machine.Mounts().ShouldNotContain(m => m.Target == "/srv/scratch", $"cut at write {cut}");
            worker.Machine.Unit("kubelet.service").InvocationId.ShouldNotBe(kubelet, $"cut at write {cut}: kubelet still runs on what it read before");
        }
    }

    [Fact]
    public void What_carries_no_mark_is_said_in_plan_and_apply_and_never_pruned_nor_a_change()
    {
        var worker = new Worker();
        worker.Apply();
        PutTheirs(worker.Machine);

        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
        string[] said =
        [
            "leftover files: /etc/sysctl.d/99-nodeagent.conf does not carry our mark, its first line, so it is left alone: look at it, and remove it by hand "
                + "if nothing needs it",
            "leftover files: /etc/containerd/nodeagent/mine.toml does not carry our mark, its first line, so it is left alone: look at it, and remove it by "
                + "hand if nothing needs it",
            "leftover files: /etc/containerd/nodeagent/hosts/ghcr.io/hosts.toml does not carry our mark, its first line, so it is left alone: look at it, and "
                + "remove it by hand if nothing needs it",
            "leftover drop-ins of kubelet.service: /etc/systemd/system/kubelet.service.d/40-nodeagent.conf does not carry our mark, its first line, so it is "
                + "left alone: look at it, "
                + "and remove it by hand if nothing needs it",
        ];
        Said(worker.Plan().Notes).ShouldBe(said);
        worker.Machine.Writes.Clear();
        Said(worker.Apply().Notes).ShouldBe(said);
        worker.Machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void A_file_whose_mark_was_removed_by_hand_is_said_once_nothing_wants_it()
    {
        var worker = RichWorker();
        const string Path = "/etc/containerd/nodeagent/hosts/docker.io/hosts.toml";
        var text = Encoding.UTF8.GetString(worker.Machine.File(Path).Content!);
        worker.Machine.Put(Path, Text(text[(text.IndexOf('\n', StringComparison.Ordinal) + 1)..]));
        worker.ExtraConfig = Lean;

        worker.Apply();

        worker.Machine.File(Path).Kind.ShouldBe(FileKind.Regular);
        Said(worker.Plan().Notes).ShouldContain(n => n.StartsWith($"leftover files: {Path} does not carry our mark", StringComparison.Ordinal));
    }

    [Fact]
    public void A_key_that_is_not_ours_stays_where_ours_would_be()
    {
        var worker = new Worker();
        worker.Apply();
        const string Path = "/etc/kubernetes/pki/kube-proxy/client.pem";
        var text = Encoding.UTF8.GetString(worker.Machine.File(Path).Content!);
        worker.Machine.Put(Path, Text(text[(text.IndexOf('\n', StringComparison.Ordinal) + 1)..]));
        worker.ExtraConfig = Lean;

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.File(Path).Kind.ShouldBe(FileKind.Regular);
        Said(worker.Plan().Notes).ShouldHaveSingleItem().ShouldStartWith($"leftover files of kube-proxy: {Path} does not carry our mark");
    }

    [Fact]
    public void A_drop_in_of_ours_that_nothing_wants_goes_and_restarts_its_service_alone()
    {
        var worker = new Worker();
        worker.Apply();
        worker.Machine.Put("/etc/systemd/system/kubelet.service.d/60-nodeagent-later.conf", Text(Ownership.Header + "\n[Service]\nNice=5\n"));
        worker.Machine.Writes.Clear();

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Writes.ShouldBe(
        [
            "write /run/nodeagent/owed/kubelet.service.json", "delete /etc/systemd/system/kubelet.service.d/60-nodeagent-later.conf", "reload systemd",
            "restart kubelet.service",
        ]);
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void A_write_that_died_half_way_leaves_nothing()
    {
        var worker = new Worker();
        worker.Apply();
        worker.Machine.Put("/etc/kubernetes/.kubelet.yaml.nodeagent-new", Text("half a li"));

        worker.Apply();

        worker.Machine.File("/etc/kubernetes/.kubelet.yaml.nodeagent-new").Kind.ShouldBe(FileKind.Absent);
    }

    /// <summary>An older agent after a newer one: the mark's first sentence does not change, kinds of units may be new.</summary>
    [Fact]
    public void A_downgrade_prunes_what_it_knows_how_to_take_back_and_says_the_rest()
    {
        var worker = new Worker();
        worker.Apply();
        worker.Machine.Put(
            "/etc/sysctl.d/96-nodeagent-later.conf", Text("# Written by NodeAgent. In other words, as a later version has it.\nkernel.panic = 3\n"));
        worker.Machine.Put("/etc/systemd/system/nodeagent-adopt.timer", Text(Ownership.Header + "\n[Timer]\nOnBootSec=1h\n"));

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.File("/etc/sysctl.d/96-nodeagent-later.conf").Kind.ShouldBe(FileKind.Absent);
        worker.Machine.File("/etc/systemd/system/nodeagent-adopt.timer").Kind.ShouldBe(FileKind.Regular);
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
        Said(worker.Plan().Notes).ShouldHaveSingleItem()
            .ShouldContain("nodeagent-adopt.timer is a unit of a kind that this version of the agent does not make");
    }

    [Fact]
    public void Without_any_record_of_ours_nothing_is_pruned_and_only_the_gate_is_armed_again()
    {
        var worker = RichWorker();
        PutTheirs(worker.Machine);
        foreach (var path in worker.Machine.AllFiles.Keys.Where(f => f.StartsWith("/var/lib/nodeagent/", StringComparison.Ordinal)).ToList())
        {
            worker.Machine.Remove(path);
        }

        worker.Machine.Writes.Clear();
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.Writes.ShouldBe(["write /var/lib/nodeagent/gate"]);

        // And what leaves afterwards still goes: nothing but the things themselves says whose they are.
        worker.ExtraConfig = Lean;
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.AllFiles.Keys.Intersect(Gone).ShouldBeEmpty();
        worker.Machine.AllFiles.Keys.Intersect(Theirs).Count().ShouldBe(Theirs.Length);
    }

    [Theory]
    [InlineData("ip-10-0-1-8.eu-central-1.compute.internal", "10.0.1.8")]
    // Addresses come back, and with them names.
    [InlineData("ip-10-0-1-7.eu-central-1.compute.internal", "10.0.1.7")]
    public void An_image_baked_from_a_running_node_keeps_no_key_and_no_identity_of_it(string name, string address)
    {
        var worker = RichWorker();
        var keys = Keys(worker.Machine);
        worker.Machine.StopAndStart();
        worker.Facts = worker.Facts with
        {
            Instance = worker.Facts.Instance with { Id = "i-0fedcba9876543210", PrivateDnsName = name, PrivateAddress = address },
        };

        var result = worker.Apply();

        WorkerTests.Problems(result).ShouldBeEmpty();
        // Nobody is told to delete the Node of the machine that goes on elsewhere.
        result.Notes.ShouldBeEmpty();
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
        Keys(worker.Machine).Intersect(keys).ShouldBeEmpty();
        worker.Machine.AllFiles.Where(f => f.Value.Content is { } c && Encoding.UTF8.GetString(c).Contains("i-0123456789abcdef0", StringComparison.Ordinal))
            .ShouldBeEmpty();
    }

    [Fact]
    public void A_node_that_changes_its_name_leaves_a_Node_which_is_said()
    {
        var worker = RichWorker();
        worker.ExtraConfig = Rich.Replace("node:\n", "node:\n  name: instanceId\n", StringComparison.Ordinal);

        var before = Worker.ExampleFacts().Instance.PrivateDnsName;
        Said(worker.Plan().Notes)
            .ShouldBe([$"remains of the Node: the Node {before}, as this machine was called, stays in the cluster: kubectl delete node {before}"]);
    }

    /// <summary>The field for taints came with kubelet 1.23; what moves there from the command line has not left.</summary>
    [Fact]
    public void Labels_and_taints_are_compared_whatever_place_says_them_and_what_is_new_or_other_is_said_too()
    {
        var worker = RichWorker();
        worker.Facts = worker.Facts with { Versions = worker.Facts.Versions with { Kubelet = "1.30.2" } };
        Said(worker.Plan().Notes).ShouldBeEmpty();
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.ExtraConfig = Rich.Replace("spot", "reserved", StringComparison.Ordinal).Replace("value: db,", "value: web,", StringComparison.Ordinal)
            .Replace("node:\n", "node:\n  name: privateDnsName\n", StringComparison.Ordinal)
            .Replace("NoSchedule}", "NoSchedule}, {key: new, effect: NoExecute}", StringComparison.Ordinal);

        var node = Worker.ExampleFacts().Instance.PrivateDnsName;
        Said(worker.Plan().Notes).ShouldBe(
        [
            $"remains of the Node: label example.com/pool=reserved comes with a new registration only: kubectl label node {node} --overwrite "
                + "example.com/pool=reserved",
            $"remains of the Node: taint dedicated=web:NoSchedule comes with a new registration only: kubectl taint node {node} --overwrite "
                + "dedicated=web:NoSchedule",
            $"remains of the Node: taint new:NoExecute comes with a new registration only: kubectl taint node {node} --overwrite new:NoExecute",
        ]);
    }

    [Theory]
    [InlineData("plain")]
    [InlineData("two words")]
    [InlineData("50% of $HOME \\ and \"more\"; it's all")]
    public void What_is_quoted_for_a_command_line_is_read_back(string argument) => NodeAgent.Desired.Kubelet.Unquote(NodeAgent.Desired.Kubelet.Quote(argument))
        .ShouldBe(argument);

    [Fact]
    public void What_another_runtime_leaves_running_is_said()
    {
        var worker = new Worker { ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, runtime: docker}" };
        worker.Facts = worker.Facts with { Versions = worker.Facts.Versions with { Docker = "26.1.5" } };
        worker.Machine.Set(new UnitReport("docker.service", LoadState: "loaded", UnitFileState: "enabled"));
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig}";

        Said(worker.Plan().Notes).ShouldContain(n => n.EndsWith("systemctl disable --now docker.service", StringComparison.Ordinal));
        worker.Apply();

        worker.Machine.AllFiles.Keys.ShouldNotContain(
            f => f.Contains("docker.service.d/50", StringComparison.Ordinal) || f.StartsWith("/etc/docker/", StringComparison.Ordinal));
    }

    private const string Scratch =
        "remains of volumes: volume nodeagent/scratch is no longer wanted and keeps its data; to remove it with all that is on it: lvremove --yes "
            + "nodeagent/scratch";

    private static readonly string[] Theirs =
    [
        "/etc/containerd/nodeagent/hosts/ghcr.io/hosts.toml", "/etc/containerd/nodeagent/mine.toml", "/etc/kubernetes/admin.conf",
        "/etc/sysctl.d/70-theirs.conf",
        "/etc/sysctl.d/99-nodeagent.conf", "/etc/systemd/system/data.mount", "/etc/systemd/system/kubelet.service.d/40-nodeagent.conf",
        "/etc/systemd/system/nodeagent.service",
    ];

    private static void PutTheirs(SimulatedMachine machine)
    {
        foreach (var path in Theirs)
        {
            machine.Put(path, Text("# by hand\n"));
        }

        machine.ReloadSystemd();
    }

    private static Worker RichWorker()
    {
        var worker = new Worker { ExtraConfig = Rich };
        worker.Machine.SetModule("ip_vs", ModuleState.Available);
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.AllFiles.Keys.Intersect(Gone).Count().ShouldBe(Gone.Length);
        return worker;
    }

    private static IReadOnlyList<string> Keys(SimulatedMachine machine) => [.. machine.AllFiles.Keys.Where(f => f.EndsWith(".pem", StringComparison.Ordinal))
        .Select(f => Convert.ToBase64String(machine.PrivateKey(f).PublicKey!))];

    private static FileReport Text(string text) => new(FileKind.Regular, Encoding.UTF8.GetBytes(text), (UnixFileMode)0b110_100_100);

    private static IReadOnlyList<string> Said(IReadOnlyList<(Resource Resource, string Note)> notes) => [.. notes.Select(n => $"{n.Resource.Id}: {n.Note}")];
}
