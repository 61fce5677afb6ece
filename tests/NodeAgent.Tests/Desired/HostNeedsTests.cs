using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

/// <summary>What the host brings for plugins that pods of the cluster set up; golden cases have each one's whole node.</summary>
public class HostNeedsTests
{
    private const string Bridge = "{apiVersion: nodeagent/v1, kind: NodeConfig}";

    [Theory]
    [InlineData("cilium")]
    [InlineData("calico")]
    [InlineData("flannel")]
    [InlineData("aws-vpc-cni")]
    public void The_plugins_own_configuration_is_left_to_it_and_nothing_waits_for_it(string plugin)
    {
        var worker = With(plugin);

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.File("/etc/cni/net.d").Kind.ShouldBe(FileKind.Directory);
        worker.Machine.File("/opt/cni/bin").Kind.ShouldBe(FileKind.Directory);
        worker.Machine.Directory("/etc/cni/net.d").ShouldBeEmpty();
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
        worker.Plan().Notes.ShouldBeEmpty();
    }

    [Theory]
    [InlineData("cilium", "10-calico.conflist", "is calico's, and the runtime takes the first file by name: pods get it as long as cilium has written none")]
    [InlineData("calico", "05-cilium.conflist", "is cilium's, and the runtime takes the first file by name: pods get that network and not calico's")]
    [InlineData("aws-vpc-cni", "10-flannel.conflist", "is flannel's")]
    [InlineData("flannel", "00-mine.conf", "is somebody else's, and the runtime takes the first file by name: pods get that network and not flannel's")]
    public void What_another_plugin_left_is_said_with_whose_it_is_and_left_alone(string plugin, string file, string note)
    {
        var worker = With(plugin);
        worker.Machine.Put($"/etc/cni/net.d/{file}", new FileReport(FileKind.Regular, Content: "{}"u8.ToArray()));

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        var said = worker.Plan().Notes.ShouldHaveSingleItem().Note;
        said.ShouldStartWith($"/etc/cni/net.d/{file} {note}");
        said.ShouldEndWith($"rm /etc/cni/net.d/{file}");
        worker.Machine.File($"/etc/cni/net.d/{file}").Kind.ShouldBe(FileKind.Regular);
    }

    [Fact]
    public void The_plugins_own_files_and_what_no_runtime_reads_are_not_spoken_of()
    {
        var worker = With("cilium");
        foreach (var file in new[] { "05-cilium.conflist", "10-calico.conflist.cilium_bak", "calico-kubeconfig" })
        {
            worker.Machine.Put($"/etc/cni/net.d/{file}", new FileReport(FileKind.Regular, Content: "{}"u8.ToArray()));
        }

        worker.Plan().Notes.ShouldBeEmpty();
    }

    [Fact]
    public void Flannel_is_told_which_programs_it_calls_and_nobody_brought()
    {
        var worker = With("flannel");
        worker.Machine.Put("/opt/cni/bin/bridge", new FileReport(FileKind.Regular, Content: "x"u8.ToArray()));
        worker.Machine.Put("/opt/cni/bin/loopback", new FileReport(FileKind.Regular, Content: "x"u8.ToArray()));

        worker.Plan().Notes.Select(n => n.Note.Split(',')[0]).ShouldBe(["flannel calls host-local", "flannel calls portmap"]);
    }

    [Fact]
    public void The_bridges_configuration_goes_when_a_plugin_of_the_cluster_comes_and_its_remains_are_said()
    {
        var worker = With("cilium");
        worker.ExtraConfig = Bridge;
        worker.Apply();
        worker.ExtraConfig = Config("cilium");

        worker.Plan().Notes.Select(n => n.Note).ShouldContain(n => n.StartsWith("the bridge cni0, its address and its rules stay", StringComparison.Ordinal));
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.File(PodNetwork.ConfigurationPath).Kind.ShouldBe(FileKind.Absent);
    }

    [Fact]
    public void Cilium_gets_no_reverse_path_filter_and_takes_it_along_when_it_goes()
    {
        var worker = With("cilium");
        worker.Apply();

        Text(worker, "/etc/sysctl.d/96-nodeagent-cilium.conf").ShouldContain("net.ipv4.conf.lxc*.rp_filter = 0\n");
        worker.Machine.Sysctl("net.ipv4.conf.all.rp_filter").ShouldBe("0");

        worker.ExtraConfig = Bridge;
        worker.Apply();
        worker.Machine.File("/etc/sysctl.d/96-nodeagent-cilium.conf").Kind.ShouldBe(FileKind.Absent);
    }

    [Fact]
    public void The_configurations_own_value_of_a_sysctl_wins()
    {
        var worker = With("calico", ", kernel: {sysctls: {net.ipv4.conf.all.rp_filter: 1}}");
        worker.Apply();

        worker.Machine.Sysctl("net.ipv4.conf.all.rp_filter").ShouldBe("1");
    }

    [Theory]
    [InlineData("aws-vpc-cni", "OriginalName=eni*\n")]
    [InlineData("flannel", "OriginalName=flannel*\n")]
    public void Links_whose_address_others_were_told_keep_it(string plugin, string match)
    {
        var worker = With(plugin);
        worker.Facts = worker.Facts with { Kernel = worker.Facts.Kernel with { SystemdNetworkd = true } };
        worker.Machine.RestartUnit("systemd-networkd.service");
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        Text(worker, Networkd.AddressesPath).ShouldContain($"[Match]\n{match}\n[Link]\nMACAddressPolicy=none\n");
        worker.Machine.Writes.Count(w => w == "restart systemd-networkd.service").ShouldBe(1);

        worker.ExtraConfig = Config("cilium");
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.File(Networkd.AddressesPath).Kind.ShouldBe(FileKind.Absent);
    }

    private static Worker With(string plugin, string more = "")
    {
        var worker = new Worker { ExtraConfig = Config(plugin, more) };
        worker.Machine.SetSysctl("net.ipv4.conf.all.rp_filter", "2");
        worker.Machine.Writes.Clear();
        return worker;
    }

    private static string Config(string plugin, string more = "") =>
        $"{{apiVersion: nodeagent/v1, kind: NodeConfig, network: {{plugin: {plugin}, podRange: null}}{more}}}";

    private static string Text(Worker worker, string path) => Encoding.UTF8.GetString(worker.Machine.File(path).Content!);
}
