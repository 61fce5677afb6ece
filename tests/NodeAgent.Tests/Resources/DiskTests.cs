using NodeAgent.Commands;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Resources;

/// <summary>docs/disks.md, row by row: each of these names is a row there.</summary>
public class DiskTests
{
    private const string First = "/dev/nvme1n1";

    private const string Second = "/dev/nvme2n1";

    private const long Extent = 4L << 20;

    private readonly Worker _worker = new();

    [Fact]
    public void Blank_disks_become_one_volume_group_with_volumes_file_systems_and_mounts()
    {
        Converges();

        _worker.Machine.Group("nodeagent").Devices.ShouldBe([First, Second]);
        _worker.Machine.Group("nodeagent").Tags.ShouldBe(["nodeagent"]);
        _worker.Machine.Group("nodeagent").Volumes.ShouldAllBe(v => v.Stripes == 2 && v.Tags.Single() == "nodeagent");
        _worker.Machine.Mounts().Select(m => m.Target).ShouldBe(["/var/lib/containerd", "/var/lib/kubelet", "/var/log/pods"]);
    }

    [Fact]
    public void A_volume_group_of_ours_that_is_whole_is_mounted_and_not_made_again()
    {
        AfterReboot();

        Converges();

        Writes("create", "mkfs", "wipe", "remove").ShouldBeEmpty();
        Writes("start var-").Count.ShouldBe(3);
    }

    [Fact]
    public void A_volume_that_is_not_active_is_activated()
    {
        AfterReboot();
        Change(v => v.Name == "kubelet" ? v with { Active = false } : v);

        Converges();

        Writes("activate").ShouldBe(["activate nodeagent/kubelet"]);
        Writes("mkfs").ShouldBeEmpty();
    }

    [Fact]
    public void A_blank_disk_beside_a_whole_volume_group_of_ours_is_left_alone()
    {
        AfterReboot();
        var machine = _worker.Machine;
        var third = Worker.InstanceStore(3);
        _worker.Facts = _worker.Facts with { Disks = [.. _worker.Facts.Disks, third] };
        machine.Add(third);

        Converges();

        machine.Group("nodeagent").Devices.ShouldBe([First, Second]);
        machine.Signatures(third.Path).ShouldBeEmpty();
    }

    [Fact]
    public void New_blank_disks_after_a_stop_and_start_are_made_as_on_the_first_boot()
    {
        _worker.Apply();
        _worker.Machine.StopAndStart();
        _worker.Machine.Writes.Clear();

        Converges();

        Writes("create group").Count.ShouldBe(1);
        Writes("mkfs").Count.ShouldBe(3);
        Writes("wipe").ShouldBeEmpty();
    }

    [Fact]
    public void A_volume_group_of_ours_that_lost_a_disk_is_refused()
    {
        AfterLosingADisk();

        IsRefused("volume group nodeagent", "has lost 1 disk");
    }

    [Fact]
    public void A_volume_group_of_ours_that_lost_a_disk_is_made_anew_where_lostMember_says_rebuild()
    {
        AfterLosingADisk();
        Storage("lostMember: rebuild");

        Finding("volume group nodeagent").ShouldBeOfType<Change>().Disruption.ShouldBe(Disruption.DestroysData);
        Converges();

        _worker.Machine.Group("nodeagent").Devices.ShouldBe([First]);
        _worker.Machine.Group("nodeagent").Volumes.ShouldAllBe(v => v.Stripes == 1);
    }

    [Fact]
    public void A_disk_with_a_foreign_signature_is_refused()
    {
        _worker.Machine.Sign(Second, "ext4");

        IsRefused("volume group nodeagent", $"{Second} carries ext4");
    }

    [Fact]
    public void A_disk_with_a_foreign_signature_is_wiped_where_wipe_says_foreign()
    {
        _worker.Machine.Sign(Second, "ext4");
        Storage("wipe: foreign");

        Finding("volume group nodeagent").ShouldBeOfType<Change>().Disruption.ShouldBe(Disruption.DestroysData);
        Converges();

        Writes("wipe").ShouldBe([$"wipe {Second}"]);
    }

    [Fact]
    public void A_partitioned_disk_is_refused()
    {
        Partition();

        IsRefused("volume group nodeagent", $"{First} carries gpt, partition {First}p1");
    }

    [Fact]
    public void A_partitioned_disk_is_wiped_where_wipe_says_foreign()
    {
        Partition();
        Storage("wipe: foreign");

        Converges();

        Writes("wipe").ShouldBe([$"wipe {First}"]);
    }

    [Fact]
    public void A_disk_in_use_is_refused_whatever_the_configuration_says()
    {
        _worker.Machine.Set(Worker.InstanceStore(1) with { Users = ["mounted at /data"] });
        Storage("wipe: foreign, lostMember: rebuild");

        IsRefused("volume group nodeagent", $"{First} is in use: mounted at /data");
    }

    [Fact]
    public void A_disk_that_another_device_is_stacked_on_is_refused_whatever_the_configuration_says()
    {
        _worker.Machine.Set(Worker.InstanceStore(1) with { Holders = ["/dev/md0"] });
        Storage("wipe: foreign, lostMember: rebuild");

        IsRefused("volume group nodeagent", $"{First} is held by /dev/md0");
    }

    [Fact]
    public void A_disk_of_another_volume_group_is_refused_whatever_the_configuration_says()
    {
        _worker.Machine.Sign(First, "LVM2_member");
        _worker.Machine.Set(new VolumeGroupReport("theirs", [], Extent, 1000, 1000, 0, [First], []));
        Storage("wipe: foreign, lostMember: rebuild");

        IsRefused("volume group nodeagent", $"{First} belongs to the volume group theirs");
    }

    [Fact]
    public void A_read_only_disk_is_refused_whatever_the_configuration_says()
    {
        _worker.Machine.Set(Worker.InstanceStore(2) with { ReadOnly = true });
        Storage("wipe: foreign");

        IsRefused("volume group nodeagent", $"{Second} is read-only");
    }

    [Fact]
    public void A_disk_that_cannot_be_read_is_not_taken_for_blank()
    {
        _worker.Machine.Unreadable.Add(First);
        Storage("wipe: foreign");

        Finding("volume group nodeagent").ShouldBeOfType<Unknown>().Why.ShouldContain("Input/output error");
        ExitCode.Of(_worker.Apply()).ShouldBe(ExitCode.Failed);
        IsUntouched();
    }

    [Fact]
    public void A_disk_that_went_away_after_facts_were_gathered_is_an_error()
    {
        _worker.Machine = new SimulatedMachine(_worker.Facts.Disks.Where(d => d.Path != Second));

        Finding("volume group nodeagent").ShouldBeOfType<Unknown>().Why.ShouldContain(Second);
        ExitCode.Of(_worker.Apply()).ShouldBe(ExitCode.Failed);
        IsUntouched();
    }

    [Fact]
    public void An_EBS_volume_is_never_taken_whatever_matches_it()
    {
        Storage("wipe: foreign, match: {paths: ['/dev/nvme*']}");
        _worker.Machine.Sign("/dev/nvme0n1", "gpt");

        Converges();

        _worker.Machine.Group("nodeagent").Devices.ShouldBe([First, Second]);
        _worker.Machine.Signatures("/dev/nvme0n1").Single().Type.ShouldBe("gpt");
    }

    [Fact]
    public void Without_ephemeral_disks_everything_stays_on_the_root_disk()
    {
        WithoutDisks();

        Converges();

        Writes("create group", "create volume", "mkfs", "start var-").ShouldBeEmpty();
    }

    [Fact]
    public void A_machine_that_lost_all_its_ephemeral_disks_is_refused_and_not_moved_to_the_root_disk()
    {
        _worker.Apply();
        _worker.Machine.Reboot();
        _worker.Facts = _worker.Facts with { Disks = [.. _worker.Facts.Disks.Where(d => d.Model == "Amazon Elastic Block Store")] };

        var result = _worker.Apply();

        result.Count<RefusedToChange>().ShouldBe(1);
        _worker.Machine.File("/etc/systemd/system/var-lib-kubelet.mount").Kind.ShouldBe(FileKind.Regular);
        _worker.Machine.File("/run/nodeagent/prepared").Kind.ShouldBe(FileKind.Absent);
    }

    [Fact]
    public void Without_ephemeral_disks_the_machine_is_refused_where_whenNoDisks_says_refuse()
    {
        WithoutDisks();
        Storage("whenNoDisks: refuse");

        var refusal = Should.Throw<NotPossibleException>(() => _worker.List());

        ExitCode.Of(refusal).ShouldBe(ExitCode.Refused);
        refusal.Message.ShouldContain("has no ephemeral disk");
    }

    [Fact]
    public void A_volume_group_of_our_name_that_is_not_ours_is_refused()
    {
        _worker.Machine.Set(new VolumeGroupReport("nodeagent", ["theirs"], Extent, 1000, 1000, 0, ["/dev/nvme0n1p4"], []));
        Storage("wipe: foreign, lostMember: rebuild");

        IsRefused("volume group nodeagent", "carries no tag of ours");
    }

    [Fact]
    public void A_volume_of_our_name_that_is_not_ours_is_refused()
    {
        AfterReboot();
        Change(v => v.Name == "runtime" ? v with { Tags = [] } : v);

        IsRefused("logical volume nodeagent/runtime", "carries no tag of ours");
    }

    [Fact]
    public void Volumes_that_do_not_fit_are_refused()
    {
        AfterReboot();
        _worker.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, storage: {volumes: {more: {mount: /data, size: 10TiB, filesystem: xfs}}}}";

        IsRefused("logical volume nodeagent/more", "make the sizes under storage.volumes smaller");
    }

    [Fact]
    public void A_file_system_that_was_never_finished_is_made_again()
    {
        AfterReboot();
        Change(v => v.Name == "kubelet" ? v with { Tags = [.. v.Tags, Ownership.UnformattedTag] } : v);

        Converges();

        Writes("mkfs").ShouldBe(["mkfs /dev/nodeagent/kubelet"]);
    }

    [Fact]
    public void A_volume_that_lost_its_file_system_is_refused()
    {
        AfterReboot();
        _worker.Machine.Blank("/dev/nodeagent/runtime");

        IsRefused("file system /dev/nodeagent/runtime", "was formatted as xfs and carries nothing now");
    }

    [Fact]
    public void A_volume_with_another_file_system_is_refused()
    {
        AfterReboot();
        _worker.Machine.Sign("/dev/nodeagent/runtime", "ext4");

        IsRefused("file system /dev/nodeagent/runtime", "carries ext4, should be xfs");
    }

    [Fact]
    public void Something_else_mounted_at_our_place_is_refused()
    {
        AfterReboot();
        _worker.Machine.Set(new MountReport("/dev/nvme0n1p5", "/var/lib/kubelet", "ext4", ["rw"]));

        IsRefused("mount /var/lib/kubelet", "/dev/nvme0n1p5 (ext4) is mounted there");
    }

    [Fact]
    public void A_mount_of_ours_without_its_options_or_read_only_is_mounted_again_with_them()
    {
        _worker.Apply();
        _worker.Machine.Unmount("/var/log/pods");
        _worker.Machine.Set(new MountReport("/dev/mapper/nodeagent-podlogs", "/var/log/pods", "xfs", ["ro", "noatime", "nodev", "nosuid"]));
        _worker.Machine.Writes.Clear();

        Finding("mount /var/log/pods").ShouldBeOfType<Change>().Why.ShouldBe("mounted without noexec");
        Converges();

        Writes("reload var-").ShouldBe(["reload var-log-pods.mount"]);
    }

    [Fact]
    public void Every_row_of_the_table_in_the_docs_is_a_test_here_and_every_test_a_row()
    {
        var rows = File.ReadLines(Path.Join(Repository.Folder, "docs", "disks.md"))
            .Where(l => l.StartsWith("| ", StringComparison.Ordinal))
            .Select(l => l.Split('|')[1].Trim())
            .Where(r => r != "what is found, and what is done");
        var tests = typeof(DiskTests).GetMethods().Concat(typeof(EtcdVolumeTests).GetMethods())
            .Where(m => m.GetCustomAttributes(typeof(FactAttribute), false).Length > 0)
            .Select(m => m.Name.Replace('_', ' '))
            .Where(n => !n.StartsWith("Every row", StringComparison.Ordinal));

        rows.ShouldBe(tests, ignoreOrder: true);
    }

    private void Storage(string settings) => _worker.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, storage: {" + settings + "}}";

    private void AfterReboot()
    {
        _worker.Apply();
        _worker.Machine.Reboot();
        _worker.Machine.Writes.Clear();
    }

    private void AfterLosingADisk()
    {
        AfterReboot();
        _worker.Facts = _worker.Facts with { Disks = [.. _worker.Facts.Disks.Where(d => d.Path != Second)] };
        _worker.Machine.Set(_worker.Machine.Group("nodeagent") with { MissingDevices = 1, Devices = [First, "[unknown]"] });
    }

    private void WithoutDisks()
    {
        _worker.Facts = _worker.Facts with { Disks = [.. _worker.Facts.Disks.Where(d => d.Path == "/dev/nvme0n1")] };
        _worker.Machine = new SimulatedMachine(_worker.Facts.Disks);
    }

    private void Partition()
    {
        _worker.Machine.Set(Worker.InstanceStore(1) with { Partitions = [$"{First}p1"] });
        _worker.Machine.Sign(First, "gpt");
    }

    private void Change(Func<LogicalVolumeReport, LogicalVolumeReport> change)
    {
        var group = _worker.Machine.Group("nodeagent");
        _worker.Machine.Set(group with { Volumes = [.. group.Volumes.Select(change)] });
    }

    private Finding Finding(string id) => _worker.Plan().Steps.Single(s => s.Resource.Id == id).Finding;

    private List<string> Writes(params string[] beginnings) =>
        [.. _worker.Machine.Writes.Where(w => beginnings.Any(b => w.StartsWith(b, StringComparison.Ordinal)))];

    private void Converges()
    {
        Desired.WorkerTests.Problems(_worker.Apply()).ShouldBeEmpty();
        Desired.WorkerTests.Pending(_worker.Plan()).ShouldBeEmpty();
    }

    /// <summary>Plan and apply both refuse with exit 5, nothing on any disk changes, and no container starts.</summary>
    private void IsRefused(string id, string why)
    {
        var plan = _worker.Plan();
        var refused = plan.Steps.Single(s => s.Finding is Refused);
        refused.Resource.Id.ShouldBe(id);
        var finding = (Refused)refused.Finding;
        $"{finding.Why}. {finding.Remedy}".ShouldContain(why);
        ExitCode.Of(plan).ShouldBe(ExitCode.Refused);

        var result = _worker.Apply();

        ExitCode.Of(result).ShouldBe(ExitCode.Refused);
        result.Count<RefusedToChange>().ShouldBe(1);
        IsUntouched();
    }

    private void IsUntouched()
    {
        Writes("create group", "create volume", "remove", "wipe", "mkfs", "untag").ShouldBeEmpty();
        Writes("start containerd", "start kubelet", "restart").ShouldBeEmpty();
        _worker.Machine.File(BootGate.StampPath).Kind.ShouldBe(FileKind.Absent);
    }
}
