using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

public class NetworkdTests
{
    private const string Restrained = "{apiVersion: nodeagent/v1, kind: NodeConfig, network: {restrainNetworkd: true}}";

    [Fact]
    public void Where_networkd_runs_it_is_told_and_restarted_and_told_no_more_when_nobody_asks_for_it()
    {
        var worker = On(true);
        worker.Machine.RestartUnit("systemd-networkd.service");
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.File(Networkd.SettingsPath).Kind.ShouldBe(FileKind.Regular);
        worker.Machine.File(Networkd.LinksPath).Kind.ShouldBe(FileKind.Regular);
        worker.Machine.Writes.Count(w => w == "restart systemd-networkd.service").ShouldBe(2);
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();

        worker.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig}";
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.File(Networkd.SettingsPath).Kind.ShouldBe(FileKind.Absent);
        worker.Machine.File(Networkd.LinksPath).Kind.ShouldBe(FileKind.Absent);
        worker.Machine.Writes.Count(w => w == "restart systemd-networkd.service").ShouldBe(3);
    }

    [Fact]
    public void Where_it_does_not_run_nothing_is_written()
    {
        var worker = On(null);
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.File(Networkd.SettingsPath).Kind.ShouldBe(FileKind.Absent);
    }

    private static Worker On(bool? networkd)
    {
        var facts = Worker.ExampleFacts();
        return new Worker { Facts = facts with { Kernel = facts.Kernel with { SystemdNetworkd = networkd } }, ExtraConfig = Restrained };
    }
}
