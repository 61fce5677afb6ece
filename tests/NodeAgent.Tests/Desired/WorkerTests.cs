using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

/// <summary>The whole list of a worker, carried out on a machine in memory.</summary>
public class WorkerTests
{
    [Fact]
    public void A_first_boot_changes_what_is_needed_and_a_second_plan_is_empty()
    {
        var worker = new Worker();
        var result = worker.Apply();

        Problems(result).ShouldBeEmpty();
        Pending(worker.Plan()).ShouldBeEmpty();
        worker.Machine.Writes.ShouldContain("start containerd.service");
        worker.Machine.Writes.ShouldContain("start kubelet.service");
        worker.Machine.Writes.ShouldNotContain("restart kubelet.service");
    }

    [Fact]
    public void Certificates_that_are_due_are_asked_for_together_and_others_are_not()
    {
        var worker = new Worker();
        worker.Apply();
        worker.Asked.ShouldBe([["kubelet-client", "kubelet-serving", "kube-proxy"]]);

        worker.Asked.Clear();
        worker.Machine.DeleteFile("/etc/kubernetes/pki/kubelet-serving.pem");
        worker.Machine.DeleteFile("/etc/kubernetes/pki/kube-proxy/client.pem");
        Problems(worker.Apply()).ShouldBeEmpty();

        worker.Asked.ShouldBe([["kubelet-serving", "kube-proxy"]]);
    }

    [Fact]
    public void A_second_apply_writes_nothing()
    {
        var worker = new Worker();
        worker.Apply();
        worker.Machine.Writes.Clear();

        worker.Apply();

        worker.Machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void After_a_reboot_only_what_boot_does_not_bring_back_is_done_again()
    {
        var worker = new Worker();
        worker.Apply();
        worker.Machine.Reboot();
        worker.Machine.Writes.Clear();

        Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Writes.ShouldBe(
        [
            "start var-lib-containerd.mount", "start var-lib-kubelet.mount", "start var-log-pods.mount", "write /run/nodeagent/prepared",
            "start containerd.service", "start kubelet.service",
        ]);
    }

    [Fact]
    public void A_stop_and_start_of_the_instance_gets_its_disks_made_anew()
    {
        var worker = new Worker();
        worker.Apply();
        worker.Machine.StopAndStart();

        Problems(worker.Apply()).ShouldBeEmpty();

        Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void Nothing_starts_a_container_before_every_mount_and_file_is_there()
    {
        var worker = new Worker();
        worker.Apply();

        var writes = worker.Machine.Writes;
        writes.IndexOf("write /run/nodeagent/prepared").ShouldBe(writes.IndexOf("start containerd.service") - 1);
        writes.FindLastIndex(w => w.StartsWith("start var-", StringComparison.Ordinal)).ShouldBeLessThan(writes.IndexOf("write /run/nodeagent/prepared"));
    }

    [Fact]
    public void A_refused_disk_keeps_kubelet_from_starting_and_nothing_below_it_is_touched()
    {
        var worker = new Worker();
        worker.Machine.Sign("/dev/nvme1n1", "ext4");

        var result = worker.Apply();

        result.Count<RefusedToChange>().ShouldBe(1);
        worker.Machine.Writes.ShouldNotContain(w => w.Contains("group", StringComparison.Ordinal) || w.StartsWith("mkfs", StringComparison.Ordinal));
        worker.Machine.Writes.ShouldNotContain(w => w.StartsWith("start ", StringComparison.Ordinal));
        worker.Machine.File("/run/nodeagent/prepared").Kind.ShouldBe(FileKind.Absent);
    }

    [Fact]
    public void An_edited_kubelet_configuration_is_put_back_and_restarts_kubelet_alone()
    {
        var worker = new Worker();
        worker.Apply();
        worker.Machine.Put("/etc/kubernetes/kubelet.yaml", new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes("maxPods: 3\n"), (UnixFileMode)0x1A4));
        worker.Machine.Writes.Clear();

        Pending(worker.Plan()).ShouldBe(["file /etc/kubernetes/kubelet.yaml", "restart kubelet.service"]);
        Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Writes.ShouldBe(["write /run/nodeagent/owed/kubelet.service.json", "write /etc/kubernetes/kubelet.yaml", "restart kubelet.service"]);
        Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void A_mode_that_was_changed_by_hand_is_put_back_and_restarts_nothing()
    {
        var worker = new Worker();
        worker.Apply();
        var file = worker.Machine.File("/etc/kubernetes/kubelet.yaml");
        worker.Machine.Put("/etc/kubernetes/kubelet.yaml", file with { Mode = (UnixFileMode)0x180 });
        worker.Machine.Writes.Clear();

        Pending(worker.Plan()).ShouldBe(["file /etc/kubernetes/kubelet.yaml"]);
        Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Writes.ShouldBe(["write /etc/kubernetes/kubelet.yaml"]);
    }

    [Fact]
    public void A_file_of_ours_that_nothing_wants_any_more_is_removed_and_others_stay()
    {
        var worker = new Worker();
        worker.Apply();
        worker.Machine.Put(
            "/etc/sysctl.d/80-old.conf",
            new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes(Ownership.Header + "\nkernel.panic = 3\n"), (UnixFileMode)0x1A4));
        worker.Machine.Put("/etc/sysctl.d/70-theirs.conf", new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes("kernel.panic = 3\n"), (UnixFileMode)0x1A4));

        worker.Apply();

        worker.Machine.File("/etc/sysctl.d/80-old.conf").Kind.ShouldBe(FileKind.Absent);
        worker.Machine.File("/etc/sysctl.d/70-theirs.conf").Kind.ShouldBe(FileKind.Regular);
    }

    internal static IReadOnlyList<string> Problems(RunResult result) =>
        [.. result.Steps.Where(s => s.Outcome is not (Held or Changed)).Select(s => $"{s.Resource.Id}: {s.Outcome}")];

    internal static IReadOnlyList<string> Pending(Plan plan) => [.. plan.Steps.Where(s => s.Finding is not InSync).Select(s => s.Resource.Id)];
}
