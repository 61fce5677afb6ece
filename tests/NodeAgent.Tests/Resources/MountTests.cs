using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Resources;

public class MountTests
{
    private readonly SimulatedMachine _machine = new([]);

    [Theory]
    [InlineData("/dev/mapper/a--group-my--volume")]
    [InlineData("/dev/a-group/my-volume")]
    public void Our_volume_is_known_by_both_of_its_names(string source) => Examine(source, ["rw", "noatime"]).ShouldBe(InSync.Instance);

    [Theory]
    [InlineData("/dev/mapper/a-group-my-volume")]
    [InlineData("/dev/a-group/other")]
    public void Another_volume_with_a_similar_name_is_not_ours(string source) => Examine(source, ["rw", "noatime"]).ShouldBeOfType<Refused>()
        .Why.ShouldContain(source);

    [Fact]
    public void Another_file_system_on_our_volume_is_refused()
    {
        _machine.Set(new MountReport("/dev/a-group/my-volume", "/data", "ext4", ["rw", "noatime"]));

        Mount().Examine(_machine, []).ShouldBeOfType<Refused>();
    }

    [Fact]
    public void What_is_mounted_on_top_is_what_counts()
    {
        _machine.Set(new MountReport("/dev/a-group/my-volume", "/data", "xfs", ["rw", "noatime"]));
        _machine.Set(new MountReport("tmpfs", "/data", "tmpfs", ["rw"]));

        Mount().Examine(_machine, []).ShouldBeOfType<Refused>().Why.ShouldContain("tmpfs");
    }

    [Fact]
    public void An_option_that_is_missing_is_named() => Examine("/dev/a-group/my-volume", ["rw", "relatime"])
        .ShouldBe(new Change("mounted without noatime") { LeavesContent = true });

    [Fact]
    public void Options_that_the_kernel_does_not_show_or_shows_otherwise_are_not_missed() =>
        Examine(
            "/dev/a-group/my-volume",
            ["rw", "relatime", "prjquota"],
            "defaults", "nodiscard", "nofail", "x-systemd.device-timeout=5", "pquota", "exec", "dev", "suid", "async", "strictatime", "lazytime")
                .ShouldBe(InSync.Instance);

    [Fact]
    public void Options_that_keep_things_out_are_missed() =>
        Examine("/dev/a-group/my-volume", ["rw", "nodev"], "nodev", "nosuid", "noexec")
            .ShouldBe(new Change("mounted without nosuid, noexec") { LeavesContent = true });

    [Fact]
    public void More_options_than_ours_are_no_difference() => Examine("/dev/a-group/my-volume", ["rw", "noatime", "attr2", "inode64"])
        .ShouldBe(InSync.Instance);

    [Fact]
    public void Read_only_is_a_difference_where_it_is_not_asked_for() => Examine("/dev/a-group/my-volume", ["ro", "noatime"])
        .ShouldBe(new Change("mounted read-only") { LeavesContent = true });

    [Fact]
    public void Read_only_is_no_difference_where_it_is_asked_for() => Examine("/dev/a-group/my-volume", ["ro"], "ro").ShouldBe(InSync.Instance);

    [Fact]
    public void A_mount_hides_what_lies_below_it_and_nothing_beside_it()
    {
        Mount().Hides(new ConfigFile(Concern.Kubelet, "/data/below", "")).ShouldBeTrue();
        Mount().Hides(new ConfigFile(Concern.Kubelet, "/data-beside", "")).ShouldBeFalse();
        Mount().Hides(new Service(Concern.Kubelet, "kubelet.service")).ShouldBeFalse();
    }

    private Finding Examine(string source, IReadOnlyList<string> shown, params string[] options)
    {
        _machine.Set(new MountReport(source, "/data", "xfs", shown));
        return Mount(options).Examine(_machine, []);
    }

    private static Mount Mount(params string[] options) =>
        new("data.mount", "/data", "a-group", "my-volume", "xfs", options.Length == 0 ? ["noatime"] : options);
}
