using NodeAgent.Machine;

namespace NodeAgent.Tests.Machine;

public sealed class MountsTests
{
    [Fact]
    public void Mountinfo_is_read_with_its_escapes_and_optional_fields()
    {
        var mounts = Mounts.Parse("""
            22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw,discard,errors=remount-ro
            41 22 253:0 / /var/lib/kubelet rw,noatime shared:20 master:3 - xfs /dev/mapper/nodeagent-kubelet rw,attr2,noatime
            42 22 0:45 / /mnt/a\040b\134c\011d rw - tmpfs tmp\043fs ro,size=4k

            """);

        mounts.Count.ShouldBe(3);
        mounts[0].Device.ShouldBe("259:2");
        mounts[0].Mount.Source.ShouldBe("/dev/root");
        mounts[0].Mount.Options.ShouldBe(["rw", "relatime", "discard", "errors=remount-ro"]);
        mounts[1].Mount.Target.ShouldBe("/var/lib/kubelet");
        mounts[1].Mount.FileSystem.ShouldBe("xfs");
        mounts[1].Mount.Options.ShouldBe(["rw", "noatime", "attr2"]);
        mounts[2].Mount.Target.ShouldBe("/mnt/a b\\c\td");
        mounts[2].Mount.Source.ShouldBe("tmp#fs");
    }

    [Fact]
    public void A_mount_that_follows_another_namespace_is_known() =>
        Mounts.Parse("""
            41 22 253:0 / /a rw shared:20 master:3 - xfs /dev/x rw
            42 22 253:0 / /b rw shared:20 - xfs /dev/x rw
            43 22 253:0 / /c rw - xfs /dev/x rw

            """).Select(m => m.Follows).ShouldBe([true, false, false]);

    [Theory]
    [InlineData("-.mount", "/")]
    [InlineData("var-lib-kubelet.mount", "/var/lib/kubelet")]
    [InlineData(@"data-a\x2db-c\x20d.mount", "/data/a-b/c d")]
    [InlineData(@"data-\xc3\xa4.mount", "/data/ä")]
    public void The_target_of_a_mount_unit_stands_in_its_name(string unit, string target) => Mounts.TargetOf(unit).ShouldBe(target);

    [Fact]
    public void A_mount_is_read_only_when_its_file_system_is() =>
        Mounts.Parse("42 22 0:45 / /mnt rw,noatime - xfs /dev/x ro,attr2\n").Single().Mount.Options.ShouldBe(["ro", "noatime", "attr2"]);

    [Theory]
    [InlineData("42 22 0:45 / /mnt rw xfs /dev/x ro")]
    [InlineData("42 22 0:45 / /mnt rw - xfs /dev/x")]
    [InlineData("42")]
    public void A_line_that_is_not_understood_is_a_failed_probe(string line) =>
        Should.Throw<ProbeException>(() => Mounts.Parse(line)).Message.ShouldContain(line);

    [Fact]
    public void Swaps_are_read_below_their_heading() =>
        Mounts.ParseSwaps("Filename\t\t\tType\tSize\tUsed\tPriority\n/dev/nvme1n1p2          partition\t1048572\t\t0\t\t-2\n/swap\\040file file 1 0 -3\n")
            .ShouldBe(["/dev/nvme1n1p2", "/swap file"]);
}
