using NodeAgent.Machine;

namespace NodeAgent.Tests.Machine;

public sealed class BlockDevicesTests : IDisposable
{
    private readonly TemporaryDirectory _root = new();

    public void Dispose() => _root.Dispose();

    [Fact]
    public void A_blank_instance_store_disk_is_reported_with_its_links()
    {
        Disk("nvme1n1", "259:1", "Amazon EC2 NVMe Instance Storage", "AWS22AAA");
        _root.Put("dev/nvme1n1");
        _root.Link("dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_AWS22AAA", "../../nvme1n1");
        _root.Link("dev/disk/by-label/na-kubelet", "../../nvme2n1");
        _root.Put(
            "run/udev/data/b259:1",
            "S:disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_AWS22AAA\nS:disk/by-label/na-kubelet\nI:123\nE:ID_SERIAL_SHORT=other\n");

        var disk = Disks().ShouldHaveSingleItem();

        disk.Path.ShouldBe("/dev/nvme1n1");
        disk.Model.ShouldBe("Amazon EC2 NVMe Instance Storage");
        disk.Serial.ShouldBe("AWS22AAA");
        disk.Bytes.ShouldBe(1024 * 512);
        disk.ReadOnly.ShouldBeFalse();
        // The label went to another device.
        disk.Links.ShouldBe(["/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_AWS22AAA"]);
        disk.Partitions.ShouldBeEmpty();
        disk.Holders.ShouldBeEmpty();
        disk.Users.ShouldBeEmpty();
    }

    [Fact]
    public void Partitions_their_holders_their_mounts_and_their_swap_are_the_disks_own()
    {
        Disk("nvme0n1", "259:0", "Amazon Elastic Block Store", "vol0123");
        foreach (var (number, device) in new[] { (10, "259:12"), (1, "259:10"), (2, "259:11") })
        {
            _root.Put($"sys/block/nvme0n1/nvme0n1p{number}/partition", $"{number}\n");
            _root.Put($"sys/block/nvme0n1/nvme0n1p{number}/dev", device + "\n");
        }

        _root.Put("sys/block/nvme0n1/nvme0n1p2/holders/dm-0");
        var mounts = Mounts.Parse("""
            22 1 259:10 / / rw - ext4 /dev/root rw
            23 1 259:10 /x /bind rw - ext4 /dev/root rw
            24 1 0:40 / /data rw - btrfs /dev/nvme0n1 rw
            """);

        var disk = Disks(mounts, ["/dev/nvme0n1p10"]).ShouldHaveSingleItem();

        disk.Partitions.ShouldBe(["/dev/nvme0n1p1", "/dev/nvme0n1p2", "/dev/nvme0n1p10"]);
        disk.Holders.ShouldBe(["/dev/dm-0"]);
        disk.Users.ShouldBe(
        [
            "/dev/nvme0n1 is mounted at /data",
            "/dev/nvme0n1p1 is mounted at /",
            "/dev/nvme0n1p1 is mounted at /bind",
            "/dev/nvme0n1p10 is swapped to",
        ]);
    }

    [Theory]
    [InlineData("loop0")]
    [InlineData("dm-0")]
    [InlineData("md127")]
    [InlineData("zram0")]
    [InlineData("ram0")]
    [InlineData("sr0")]
    [InlineData("fd0")]
    public void What_is_no_disk_is_left_out(string name)
    {
        Disk(name, "7:0");

        Disks().ShouldBeEmpty();
    }

    [Fact]
    public void Devices_without_size_and_hidden_paths_of_a_disk_are_left_out()
    {
        Disk("nbd0", "43:0");
        _root.Put("sys/block/nbd0/size", "0\n");
        Disk("nvme0c0n1", "259:3");
        _root.Put("sys/block/nvme0c0n1/hidden", "1\n");

        Disks().ShouldBeEmpty();
    }

    [Fact]
    public void Without_a_record_of_udev_the_links_are_looked_for()
    {
        Disk("xvdb", "202:16");
        _root.Put("dev/xvdb");
        _root.Link("dev/disk/by-path/xen-vbd-51728", "../../xvdb");

        Disks().ShouldHaveSingleItem().Links.ShouldBe(["/dev/disk/by-path/xen-vbd-51728"]);
    }

    [Theory]
    [InlineData("na-kubelet", "na-kubelet")]
    [InlineData("a b/c", "a\\x20b\\x2fc")]
    public void Labels_are_encoded_as_udev_names_links(string label, string link) => BlockDevices.EncodeLabel(label).ShouldBe(link);

    private IReadOnlyList<DiskReport> Disks(IReadOnlyList<Mounts.Entry>? mounts = null, IReadOnlyList<string>? swaps = null) =>
        new BlockDevices(_root.Path).Disks(mounts ?? [], swaps ?? [], CancellationToken.None);

    private void Disk(string name, string number, string model = "", string serial = "")
    {
        _root.Put($"sys/block/{name}/dev", number + "\n");
        _root.Put($"sys/block/{name}/size", "1024\n");
        _root.Put($"sys/block/{name}/ro", "0\n");
        if (model.Length > 0)
        {
            // NVMe pads both with spaces.
            _root.Put($"sys/block/{name}/device/model", model.PadRight(40) + "\n");
            _root.Put($"sys/block/{name}/device/serial", serial.PadRight(20) + "\n");
        }
    }
}
