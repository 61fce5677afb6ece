using System.Text;
using NodeAgent.Commands;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

/// <summary>docs/replacing.md, what of it needs no machine.</summary>
public class ReplacingTests
{
    private static readonly string[] Programs = ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"];

    [Fact]
    public void After_a_change_of_the_instance_type_the_next_boot_goes_by_the_machine_that_it_finds()
    {
        var worker = new Worker();
        worker.Apply();
        var before = Text(worker, "/etc/kubernetes/kubelet.yaml");
        worker.Machine.StopAndStart();
        worker.Facts = worker.Facts with
        {
            Instance = worker.Facts.Instance with { Type = "m5d.xlarge" },
            Hardware = worker.Facts.Hardware with { Processors = 4, MemoryBytes = 16L << 30 },
            Disks = [.. worker.Facts.Disks.Where(d => d.Path != "/dev/nvme2n1")],
        };

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Group("nodeagent").Devices.ShouldBe(["/dev/nvme1n1"]);
        Text(worker, "/etc/kubernetes/kubelet.yaml").ShouldNotBe(before, "what is reserved follows processors and memory");
        Text(worker, "/etc/systemd/system/kubelet.service.d/50-nodeagent.conf").ShouldContain("node.kubernetes.io/instance-type=m5d.xlarge");
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void A_change_to_a_type_without_instance_store_is_refused_in_place()
    {
        var worker = new Worker();
        worker.Apply();
        worker.Machine.StopAndStart();
        worker.Facts = worker.Facts with { Instance = worker.Facts.Instance with { Type = "m5.xlarge" }, Disks = [worker.Facts.Disks[0]] };

        ExitCode.Of(worker.Apply()).ShouldBe(ExitCode.Refused);
    }

    [Fact]
    public void A_patch_version_in_place_changes_images_and_nothing_else_and_back_again_is_as_before()
    {
        var plane = new ControlPlane(staticPods: true);
        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();
        var before = Files(plane);

        Run("1.20.15");

        var changed = Files(plane).Where(f => before[f.Key] != f.Value).Select(f => f.Key).ToList();
        changed.ShouldBe([.. Programs.Select(p => $"/etc/kubernetes/manifests/{p}.yaml")]);
        Text(plane.Node, changed[0]).ShouldContain("registry.k8s.io/kube-apiserver:v1.20.15");

        Run("1.20.2");

        Files(plane).ShouldBe(before);

        void Run(string kubelet)
        {
            plane.Node.Facts = plane.Node.Facts with { Versions = plane.Node.Facts.Versions with { Kubelet = kubelet } };
            WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();
            WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
        }
    }

    private static SortedDictionary<string, string> Files(ControlPlane plane) => new(
        plane.Machine.AllFiles.Where(f => f.Key.StartsWith("/etc/", StringComparison.Ordinal))
            .ToDictionary(f => f.Key, f => Encoding.UTF8.GetString(f.Value.Content ?? [])),
        StringComparer.Ordinal);

    private static string Text(Worker worker, string path) => Encoding.UTF8.GetString(worker.Machine.File(path).Content!);
}
