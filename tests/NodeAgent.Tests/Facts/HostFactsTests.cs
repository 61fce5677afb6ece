using System.Text;
using NodeAgent.Facts;
using NodeAgent.Machine;

namespace NodeAgent.Tests.Facts;

public class HostFactsTests
{
    [Theory]
    [InlineData("0", 1)]
    [InlineData("0-15", 16)]
    [InlineData("0-3,5,8-9", 7)]
    public void Processors_are_those_that_are_online(string list, int count)
    {
        var machine = new Host { Files = { ["/sys/devices/system/cpu/online"] = list + "\n", ["/proc/meminfo"] = "MemTotal:  7910420 kB\nMemFree: 7 kB\n" } };

        HostFacts.Hardware(machine).ShouldBe(new HardwareFacts { Processors = count, MemoryBytes = 7910420L * 1024, Architecture = "x86_64" });
    }

    [Fact]
    public void What_the_kernel_does_not_say_is_a_probe_that_failed()
    {
        var machine = new Host { Files = { ["/sys/devices/system/cpu/online"] = "0-1\n", ["/proc/meminfo"] = "MemFree: 1 kB\n" } };

        Should.Throw<ProbeException>(() => HostFacts.Hardware(machine)).Message.ShouldContain("/proc/meminfo");
    }

    [Theory]
    [InlineData("cgroup2", 2)]
    [InlineData("tmpfs", 1)]
    public void The_cgroup_version_is_that_of_the_mount(string filesystem, int version)
    {
        var machine = new Host { Cgroups = filesystem, Files = { ["/run/systemd/resolve/resolv.conf"] = "nameserver 10.0.0.2\n" } };

        HostFacts.Kernel(machine).ShouldBe(new KernelFacts { Release = "6.12.48+deb13-cloud-amd64", CgroupVersion = version, SystemdResolved = true });
    }

    private sealed class Host : IMachineReader
    {
        public Dictionary<string, string> Files { get; } = [];

        public string Cgroups { get; init; } = "cgroup2";

        public DateTimeOffset Now => throw new NotSupportedException();

        public FileReport File(string path) => Files.TryGetValue(path, out var text) ? new(FileKind.Regular, Encoding.UTF8.GetBytes(text)) : FileReport.Absent;

        public IReadOnlyList<MountReport> Mounts() => [new("sysfs", "/sys", "sysfs", []), new("cgroup", "/sys/fs/cgroup", Cgroups, [])];

        public string? PacketFilter(string table) => throw new NotSupportedException();

        public IReadOnlyList<string> PacketFilterTables() => throw new NotSupportedException();

        public IReadOnlyList<ChainTable> Chains(string prefix) => throw new NotSupportedException();

        public IReadOnlyList<string> IpSets() => throw new NotSupportedException();

        public IReadOnlyList<int> IpSetPorts(string set) => throw new NotSupportedException();

        public IReadOnlyList<VirtualServer> VirtualServers() => throw new NotSupportedException();

        public IReadOnlyList<string>? Addresses(string networkInterface) => throw new NotSupportedException();

        public IReadOnlyList<ProcessReport> Processes(string name) => throw new NotSupportedException();

        public string? Sysctl(string name) => name switch
        {
            "kernel.osrelease" => "6.12.48+deb13-cloud-amd64",
            "kernel.arch" => "x86_64",
            _ => null,
        };

        public IReadOnlyList<string> Directory(string path) => throw new NotSupportedException();

        public KeyReport PrivateKey(string path) => throw new NotSupportedException();

        public UnitReport Unit(string name) => throw new NotSupportedException();

        public IReadOnlyList<DiskReport> Disks() => throw new NotSupportedException();

        public IReadOnlyList<Signature> Signatures(string device) => throw new NotSupportedException();

        public IReadOnlyList<VolumeGroupReport> VolumeGroups() => throw new NotSupportedException();

        public ModuleState Module(string name) => throw new NotSupportedException();
    }
}
