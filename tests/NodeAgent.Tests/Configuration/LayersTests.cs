using NodeAgent.Configuration;
using NodeAgent.Machine;

namespace NodeAgent.Tests.Configuration;

public class LayersTests
{
    [Fact]
    public void Layers_come_in_order_image_tags_user_data_files()
    {
        var machine = new Files
        {
            ["/etc/nodeagent/config.d/20-b.yaml"] = new(FileKind.Regular, "b"u8.ToArray()),
            ["/etc/nodeagent/config.d/10-a.yaml"] = new(FileKind.Link, Target: "../../site/a.yaml"),
            ["/etc/site/a.yaml"] = new(FileKind.Regular, "a"u8.ToArray()),
            ["/etc/nodeagent/config.d/README"] = new(FileKind.Regular, []),
            ["/etc/nodeagent/config.d/.10-a.yaml.swp"] = new(FileKind.Regular, []),
            ["/etc/nodeagent/config.d/.hidden.yaml"] = new(FileKind.Regular, []),
            ["/root/x"] = new(FileKind.Regular, "x"u8.ToArray()),
        };
        var layers = Layers.Of(machine, new Dictionary<string, string>(), [1], ["/root/x", "/root/x"]);
        layers.Select(l => l.Label)
            .ShouldBe(["/etc/nodeagent/config.d/10-a.yaml", "/etc/nodeagent/config.d/20-b.yaml", "tags", "user data", "/root/x", "/root/x"]);
        ((Layer.Document)layers[0]).Content.ShouldBe("a"u8.ToArray());
        Layers.Of(new Files(), null, null, []).ShouldBeEmpty();
    }

    [Fact]
    public void All_files_that_cannot_be_read_are_named()
    {
        var machine = new Files
        {
            ["/d"] = new(FileKind.Directory),
            ["/large"] = new(FileKind.Regular),
            ["/loop"] = new(FileKind.Link, Target: "loop"),
            ["/dangling"] = new(FileKind.Link, Target: "nowhere"),
            ["/broken"] = new(FileKind.Other, Target: "throws"),
        };
        Should.Throw<ConfigurationException>(() => Layers.Of(machine, null, null, ["/none", "/d", "/large", "/loop", "/dangling", "/broken"])).Errors.Select(
            e => e.ToString()).ShouldBe(
        [
            "/none: there is no such file",
            "/d: is not a regular file",
            "/large: is larger than 1 MiB",
            "/loop: is a link that leads nowhere",
            "/dangling: is a link to /nowhere, which is not there",
            "/broken: Input/output error",
        ]);
    }

    private sealed class Files : Dictionary<string, FileReport>, IMachineReader
    {
        public DateTimeOffset Now => throw new NotSupportedException();

        public FileReport File(string path)
        {
            var report = this.GetValueOrDefault(path, FileReport.Absent);
            return report.Target == "throws" ? throw new ProbeException(path, "Input/output error") : report;
        }

        public IReadOnlyList<string> Directory(string path) =>
            [.. Keys.Where(k => Path.GetDirectoryName(k) == path).Select(k => Path.GetFileName(k)!).Order(StringComparer.Ordinal)];

        public KeyReport PrivateKey(string path) => throw new NotSupportedException();

        public UnitReport Unit(string name) => throw new NotSupportedException();

        public IReadOnlyList<MountReport> Mounts() => throw new NotSupportedException();

        public IReadOnlyList<DiskReport> Disks() => throw new NotSupportedException();

        public IReadOnlyList<Signature> Signatures(string device) => throw new NotSupportedException();

        public IReadOnlyList<VolumeGroupReport> VolumeGroups() => throw new NotSupportedException();

        public ModuleState Module(string name) => throw new NotSupportedException();

        public string? Sysctl(string name) => throw new NotSupportedException();

        public string? PacketFilter(string table) => throw new NotSupportedException();

        public IReadOnlyList<string> PacketFilterTables() => throw new NotSupportedException();

        public IReadOnlyList<ChainTable> Chains(string prefix) => throw new NotSupportedException();

        public IReadOnlyList<string> IpSets() => throw new NotSupportedException();

        public IReadOnlyList<int> IpSetPorts(string set) => throw new NotSupportedException();

        public IReadOnlyList<VirtualServer> VirtualServers() => throw new NotSupportedException();

        public IReadOnlyList<string>? Addresses(string networkInterface) => throw new NotSupportedException();

        public IReadOnlyList<ProcessReport> Processes(string name) => throw new NotSupportedException();
    }
}
