using System.Text;
using NodeAgent.Commands;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Tests.Desired;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Resources;

/// <summary>docs/disks.md, etcd's volume, row by row: each of these names is a row there.</summary>
public class EtcdVolumeTests
{
    private const string Id = "vol-0a1b2c3d4e5f60718";

    private const string Device = "/dev/nvme3n1";

    private const string Mounted = "/var/lib/etcd";

    private const string Data = $"{Mounted}/data";

    private const string Mkfs = "mkfs /dev/nodeagent-etcd/data";

    private readonly ControlPlane _plane = Plane();

    private SimulatedMachine Machine => _plane.Machine;

    [Fact]
    public void A_blank_volume_gets_etcds_file_system_and_the_clusters_mark()
    {
        Machine.Add(Volume(Device));

        Converges(_plane);

        var group = Machine.Group("nodeagent-etcd");
        group.Devices.ShouldBe([Device]);
        group.Tags.ShouldBe(["nodeagent.etcd=test"]);
        Machine.Mounts().Count(m => m.Target == Mounted && m.FileSystem == "xfs").ShouldBe(1);
        Machine.File(Data).Mode.ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var manifest = Text("/etc/kubernetes/manifests/etcd.yaml");
        manifest.ShouldContain($"--data-dir={Data}");
        // An unmounted volume holds the pod back.
        manifest.ShouldContain($"path: {Data}\n      type: Directory");
        Text("/etc/systemd/system/kubelet.service.d/50-nodeagent.conf").Split('\n').Single(l => l.StartsWith("RequiresMountsFor=", StringComparison.Ordinal))
            .ShouldContain(Mounted);
        var writes = Machine.Writes;
        writes.IndexOf("start var-lib-etcd.mount").ShouldBeInRange(0, writes.IndexOf($"make directory {Data}"));
        writes.IndexOf($"make directory {Data}").ShouldBeLessThan(writes.IndexOf($"write {BootGate.StampPath}"));
    }

    [Fact]
    public void A_volume_of_this_cluster_is_mounted_with_what_is_on_it_on_another_machine()
    {
        var next = Replaced();

        Converges(next);

        next.Machine.Writes.ShouldNotContain(w => w.Contains("nodeagent-etcd", StringComparison.Ordinal), "nothing is made on it again");
        next.Machine.File($"{Data}/member").Kind.ShouldBe(FileKind.Regular);
    }

    [Fact]
    public void A_volume_of_another_cluster_is_refused_whatever_the_configuration_says()
    {
        var next = Replaced("cluster: {name: other}\nstorage: {wipe: foreign, lostMember: rebuild}");

        IsRefused(next, "volume group nodeagent-etcd", "holds the data of the cluster test, and this is other");
    }

    [Fact]
    public void A_volume_that_is_attached_late_is_waited_for()
    {
        Machine.Coming.Add(Volume("/dev/nvme7n1"));

        Converges(_plane);

        Machine.Writes.ShouldContain("wait for vol0a1b2c3d4e5f60718");
        Machine.Group("nodeagent-etcd").Devices.ShouldBe(["/dev/nvme7n1"]);
    }

    [Fact]
    public void A_volume_that_does_not_come_leaves_etcd_off_and_is_tried_again()
    {
        var result = _plane.Node.Apply();

        ExitCode.Of(result).ShouldBe(ExitCode.NotReachableInTime);
        Machine.File(Data).Kind.ShouldBe(FileKind.Absent);
        IsUntouched(Machine);

        Machine.Add(Volume(Device));
        Converges(_plane);
    }

    [Fact]
    public void A_volume_with_a_foreign_signature_is_refused_whatever_the_configuration_says()
    {
        Machine.Add(Volume(Device));
        Machine.Sign(Device, "ext4");

        IsRefused(_plane, "volume group nodeagent-etcd", $"{Id} ({Device}) carries ext4");
    }

    [Fact]
    public void A_partitioned_volume_is_refused_whatever_the_configuration_says()
    {
        Machine.Add(Volume(Device) with { Partitions = [$"{Device}p1"] });

        IsRefused(_plane, "volume group nodeagent-etcd", $"carries partition {Device}p1");
    }

    [Fact]
    public void A_volume_in_use_is_refused()
    {
        Machine.Add(Volume(Device) with { Users = ["mounted at /data"] });

        IsRefused(_plane, "volume group nodeagent-etcd", "is in use: mounted at /data");
    }

    [Fact]
    public void A_read_only_volume_is_refused()
    {
        Machine.Add(Volume(Device) with { ReadOnly = true });

        IsRefused(_plane, "volume group nodeagent-etcd", "is read-only");
    }

    [Fact]
    public void A_volume_of_another_volume_group_is_refused()
    {
        Machine.Add(Volume(Device));
        Machine.Set(Group("database", [], Device));

        IsRefused(_plane, "volume group nodeagent-etcd", "belongs to the volume group database");
    }

    [Fact]
    public void A_volume_whose_group_has_our_name_and_not_our_mark_is_refused()
    {
        Machine.Add(Volume(Device));
        Machine.Set(Group("nodeagent-etcd", [], Device));

        IsRefused(_plane, "volume group nodeagent-etcd", "carries no mark of ours");
    }

    [Fact]
    public void Another_volume_of_a_control_plane_on_the_same_machine_is_refused()
    {
        Machine.Add(Volume(Device));
        Machine.Set(Group("nodeagent-etcd", ["nodeagent.etcd=test"], "/dev/nvme4n1"));

        IsRefused(_plane, "volume group nodeagent-etcd", "is on /dev/nvme4n1, and not on");
    }

    [Fact]
    public void A_volume_that_cannot_be_read_is_not_taken_for_blank()
    {
        Machine.Add(Volume(Device));
        Machine.Unreadable.Add(Device);

        ExitCode.Of(_plane.Node.Apply()).ShouldBe(ExitCode.Failed);

        IsUntouched(Machine);
    }

    [Fact]
    public void Data_on_the_root_disk_is_not_hidden_by_a_volume()
    {
        Machine.Add(Volume(Device));
        Machine.Put($"{Mounted}/member/snap/db", new FileReport(FileKind.Regular, []));

        IsRefused(_plane, $"place of data {Mounted}", "something on the root disk that vol-0a1b2c3d4e5f60718 would hide: member");
    }

    [Fact]
    public void A_control_plane_that_had_its_data_on_a_volume_does_not_begin_anew_on_its_root_disk()
    {
        Machine.Add(Volume(Device));
        _plane.Node.Apply();
        Machine.Reboot();
        Machine.Writes.Clear();
        _plane.Node.PendingConfig = Document("etcd: {volume: null}");

        IsRefused(_plane, $"place of data {Mounted}", "the configuration names none");
        Machine.File("/etc/systemd/system/var-lib-etcd.mount").Kind.ShouldBe(FileKind.Regular);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_power_cut_at_any_write_leaves_what_the_next_boot_makes_whole(bool afterEffect)
    {
        for (var cut = 0; ; cut++)
        {
            var plane = Plane();
            plane.Machine.Add(Volume(Device));
            plane.Machine.CrashAtWrite = cut;
            plane.Machine.CrashAfterEffect = afterEffect;
            try
            {
                plane.Node.Apply();
                cut.ShouldBeGreaterThan(20);
                return;
            }
            catch (PowerCutException)
            {
                plane.Machine.Reboot();
                WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty($"cut at write {cut}");
                WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty($"cut at write {cut}");
                plane.Machine.Writes.Count(w => w == Mkfs).ShouldBeInRange(1, 2, $"cut at write {cut}");
            }
        }
    }

    private static ControlPlane Plane(string extra = "")
    {
        var plane = new ControlPlane(staticPods: true);
        plane.Node.ExtraConfig += $"\netcd: {{volume: {Id}}}\n{extra}";
        return plane;
    }

    /// <summary>The first machine ran, and is no more; another one has its volume, under another name.</summary>
    private ControlPlane Replaced(string extra = "")
    {
        Machine.Add(Volume(Device));
        Converges(_plane);
        Machine.Put($"{Data}/member", new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes("the cluster")));
        Machine.Reboot();
        var next = Plane(extra);
        next.Store = _plane.Store;
        next.Node.Facts = next.Node.Facts with
        {
            Instance = next.Node.Facts.Instance with
            {
                Id = "i-0fedcba9876543210",
                PrivateAddress = "10.0.1.8",
                PrivateDnsName = "ip-10-0-1-8.eu-central-1.compute.internal",
            },
        };
        next.Node.PendingConfig = Document(
            $"cluster: {{certificateAuthority: \"{_plane.Store.Text("ca.crt").Replace("\n", "\\n", StringComparison.Ordinal)}\"}}");
        next.Machine.Attach(Volume("/dev/nvme5n1"), Machine);
        return next;
    }

    private static DiskReport Volume(string path) => Worker.Disk(path, "Amazon Elastic Block Store", "vol0a1b2c3d4e5f60718") with { Bytes = 8L << 30 };

    private static VolumeGroupReport Group(string name, IReadOnlyList<string> tags, string device) => new(name, tags, 4L << 20, 2047, 2047, 0, [device], []);

    private static string Document(string text) => "{apiVersion: nodeagent/v1, kind: NodeConfig, " + text + "}";

    private string Text(string path) => Encoding.UTF8.GetString(Machine.File(path).Content!);

    private static void Converges(ControlPlane plane)
    {
        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();
        WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
    }

    /// <summary>With exit code 5, nothing on the volume changes, and neither runtime nor kubelet starts.</summary>
    private static void IsRefused(ControlPlane plane, string id, string why)
    {
        plane.Node.PendingConfig = plane.Node.PendingConfig.Contains("storage", StringComparison.Ordinal)
            || plane.Node.ExtraConfig.Contains("storage", StringComparison.Ordinal)
            ? plane.Node.PendingConfig
            : plane.Node.PendingConfig[..^1] + ", storage: {wipe: foreign, lostMember: rebuild}}";
        var refused = plane.Node.Plan().Steps.Single(s => s.Finding is Refused);
        refused.Resource.Id.ShouldBe(id);
        var finding = (Refused)refused.Finding;
        $"{finding.Why}. {finding.Remedy}".ShouldContain(why);

        ExitCode.Of(plane.Node.Apply()).ShouldBe(ExitCode.Refused);

        IsUntouched(plane.Machine);
    }

    private static void IsUntouched(SimulatedMachine machine)
    {
        machine.Writes.ShouldNotContain(w => w.Contains("nodeagent-etcd", StringComparison.Ordinal) || w.StartsWith("wipe", StringComparison.Ordinal)
            || w.StartsWith("start containerd", StringComparison.Ordinal) || w.StartsWith("start kubelet", StringComparison.Ordinal)
            || w.StartsWith("restart", StringComparison.Ordinal) || w == "start var-lib-etcd.mount");
        machine.File(BootGate.StampPath).Kind.ShouldBe(FileKind.Absent);
    }
}
