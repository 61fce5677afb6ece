using NodeAgent.Machine;
using Storage = NodeAgent.Machine.Storage;

namespace NodeAgent.Tests.Machine;

/// <summary>The reports under captured/ are of lvm2 2.03.16 on two loop devices (without a device mapper, so that "lv_active" says unknown).</summary>
public sealed class StorageTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void A_whole_volume_group_is_read()
    {
        var group = Storage.ParseVolumeGroups(Captured("fullreport.json"), d => d).ShouldHaveSingleItem();

        group.Name.ShouldBe("nodeagent");
        group.Tags.ShouldBe(["nodeagent"]);
        group.ExtentBytes.ShouldBe(4 * 1024 * 1024);
        group.Extents.ShouldBe(98);
        group.FreeExtents.ShouldBe(18);
        group.MissingDevices.ShouldBe(0);
        // The third physical volume there is in no group.
        group.Devices.ShouldBe(["/dev/loop0", "/dev/loop1"]);
        group.Volumes.Count.ShouldBe(2);
        group.Volumes[0].Name.ShouldBe("kubelet");
        group.Volumes[0].Path.ShouldBe("/dev/nodeagent/kubelet");
        group.Volumes[0].Tags.ShouldBe(["b", "unformatted"]);
        group.Volumes[0].Bytes.ShouldBe(83886080);
        group.Volumes[0].Stripes.ShouldBe(2);
        // Linear, in two segments.
        group.Volumes[1].Stripes.ShouldBe(1);
    }

    [Fact]
    public void A_lost_member_is_counted_and_named_unknown()
    {
        var group = Storage.ParseVolumeGroups(Captured("fullreport-member-lost.json"), d => d).ShouldHaveSingleItem();

        group.MissingDevices.ShouldBe(1);
        group.Devices.ShouldBe(["/dev/loop0", "[unknown]"]);
    }

    [Fact]
    public void Devices_are_given_by_their_kernel_names()
    {
        var json = Captured("fullreport.json").Replace("/dev/loop0", "/dev/disk/by-id/x", StringComparison.Ordinal);

        var group = Storage.ParseVolumeGroups(json, d => d == "/dev/disk/by-id/x" ? "/dev/nvme2n1" : d).ShouldHaveSingleItem();

        group.Devices.ShouldBe(["/dev/loop1", "/dev/nvme2n1"]);
    }

    [Fact]
    public void Only_an_active_volume_counts_as_active()
    {
        var json = Captured("fullreport.json");

        Storage.ParseVolumeGroups(json.Replace("\"unknown\"", "\"active\"", StringComparison.Ordinal), d => d)[0].Volumes.ShouldAllBe(v => v.Active);
        Storage.ParseVolumeGroups(json.Replace("\"unknown\"", "\"\"", StringComparison.Ordinal), d => d)[0].Volumes.ShouldAllBe(v => !v.Active);
    }

    [Fact]
    public void No_volume_groups_are_an_answer() => Storage.ParseVolumeGroups("""{ "report": [ ] }""", d => d).ShouldBeEmpty();

    [Theory]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("""{"report":[{"vg":[]}]}""")]
    [InlineData("""{"report":[{"vg":[{"vg_name":"a","vg_tags":"","vg_extent_size":"4.00m"}],"pv":[],"lv":[],"seg":[]}]}""")]
    public void A_report_that_is_not_understood_is_a_failed_probe(string json) => Should.Throw<ProbeException>(() => Storage.ParseVolumeGroups(json, d => d));

    // wipefs of util-linux 2.38, as captured.
    [Fact]
    public void Signatures_are_read() => Storage.ParseSignatures(
        """
        {
           "signatures": [
              {
                 "device": "m1.img",
                 "offset": "0x438",
                 "type": "ext4",
                 "uuid": "c2bd1b40-faed-4447-86a2-d2cc902d9afc",
                 "label": null
              }
           ]
        }
        """,
        "it").ShouldBe([new Signature("ext4", 0x438)]);

    [Theory]
    [InlineData("NodeAg-0123-4567-89ab-cdef-0123-456789", 0)]
    [InlineData("0dbF1U-Q298-f5rn-nYgD-0aV4-5Duw-ujtsFw", 1)]
    public void Only_a_physical_volume_of_ours_counts_as_blank(string uuid, int signatures) => Storage.ParseSignatures(
        $$"""{"signatures":[{"device":"loop0","offset":"0x218","type":"LVM2_member","uuid":"{{uuid}}","label":null}]}""",
        "it").Count.ShouldBe(signatures);

    [Theory]
    [InlineData("{\n   \"signatures\": [\n\n   ]\n}\n")]
    [InlineData("\n")]
    [InlineData("")]
    public void No_signatures_are_an_answer(string json) => Storage.ParseSignatures(json, "it").ShouldBeEmpty();

    [Theory]
    [InlineData("{")]
    [InlineData("{}")]
    [InlineData("""{"signatures":[{"offset":"0x0"}]}""")]
    [InlineData("""{"signatures":[{"type":"xfs","offset":"zero"}]}""")]
    public void Signatures_that_are_not_understood_are_a_failed_probe(string json) => Should.Throw<ProbeException>(() => Storage.ParseSignatures(json, "it"));

    [Fact]
    public void Blank_and_formatted_devices_are_told_apart_by_the_real_programs()
    {
        var image = $"{_directory.Path}/image";
        using (var file = File.Create(image))
        {
            file.SetLength(64 * 1024 * 1024);
        }

        Real().Signatures(image).ShouldBeEmpty();

        Real().MakeFilesystem(image, "ext4", "na-test");

        Real().Signatures(image).ShouldBe([new Signature("ext4", 0x438)]);

        Real().Wipe(image);

        Real().Signatures(image).ShouldBeEmpty();
    }

    [Fact]
    public void A_device_that_is_not_there_or_has_no_size_is_a_failed_probe_and_not_blank()
    {
        Should.Throw<ProbeException>(() => Real().Signatures($"{_directory.Path}/nothing")).Message.ShouldContain("No such file");
        Should.Throw<ProbeException>(() => Real().Signatures(_directory.Put("empty"))).Message.ShouldContain("has no size");
    }

    [Fact]
    public void A_device_with_a_signature_is_never_taken_into_a_volume_group()
    {
        var image = $"{_directory.Path}/image";
        using (var file = File.Create(image))
        {
            file.SetLength(64 * 1024 * 1024);
        }

        Real().MakeFilesystem(image, "ext4", "precious");

        Should.Throw<MachineException>(() => Real().CreateVolumeGroup("nodeagent", "tag", [image]))
            .Message.ShouldContain($"{image} carries a signature (ext4)");
    }

    [Theory]
    [InlineData("xfs", "thirteen-char")]
    [InlineData("ext4", "seventeen-letters")]
    [InlineData("btrfs", "x")]
    public void A_file_system_that_cannot_be_is_refused_before_anything_is_written(string type, string label)
    {
        var image = _directory.Put("image", "as it was");

        Should.Throw<MachineException>(() => Real().MakeFilesystem(image, type, label)).Message.ShouldContain(image);

        File.ReadAllText(image).ShouldBe("as it was");
    }

    private static Storage Real() => new(new ProcessRunner(CancellationToken.None), new BlockDevices());

    private static string Captured(string name) => File.ReadAllText($"{AppContext.BaseDirectory}/Machine/captured/{name}");
}
