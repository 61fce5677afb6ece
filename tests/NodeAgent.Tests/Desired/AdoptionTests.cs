using System.Text;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

public class AdoptionTests
{
    private const string Rhythm = "/etc/systemd/system/nodeagent-adopt.timer.d/50-nodeagent.conf";

    private const string Wanted = "/etc/systemd/system/timers.target.d/50-nodeagent-adopt.timer.conf";

    private const string Boot = "{apiVersion: nodeagent/v1, kind: NodeConfig}";

    [Fact]
    public void A_node_that_adopts_at_boot_has_no_timer_and_is_not_asked_to_have_one()
    {
        var worker = new Worker();
        worker.Machine.Set(new UnitReport(Adoption.TimerUnit));

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        (worker.Machine.File(Rhythm).Kind, worker.Machine.File(Wanted).Kind).ShouldBe((FileKind.Absent, FileKind.Absent));
        worker.Machine.Writes.ShouldNotContain(w => w.Contains("adopt", StringComparison.Ordinal));
    }

    [Fact]
    public void A_node_that_adopts_while_it_runs_has_it_in_its_own_rhythm_from_boot_on()
    {
        var worker = new Worker { ExtraConfig = Running("every: 1h, splay: 20m") };

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Unit(Adoption.TimerUnit).IsActive.ShouldBeTrue();
        Text(worker, Wanted).ShouldEndWith("[Unit]\nWants=nodeagent-adopt.timer\n");
        var lines = Text(worker, Rhythm).Split('\n');
        // The first is empty: it takes back what the unit itself says.
        lines.Where(l => l.StartsWith("On", StringComparison.Ordinal)).Select(l => l.Split('=')[0]).ShouldBe(["OnActiveSec", "OnActiveSec", "OnUnitActiveSec"]);
        lines.ShouldContain("OnActiveSec=");
        lines.ShouldContain("OnUnitActiveSec=3600");
        First(lines).ShouldBeInRange(3600, 3600 + 1199);
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();

        worker.Facts = worker.Facts with { Instance = worker.Facts.Instance with { Id = "i-0fedcba9876543210" } };
        worker.Apply();
        First(Text(worker, Rhythm).Split('\n')).ShouldNotBe(First(lines));

        static int First(string[] lines) => int.Parse(lines.Single(l => l.StartsWith("OnActiveSec=", StringComparison.Ordinal) && l.Length > 12)[12..], null);
    }

    [Fact]
    public void Turning_it_on_off_or_to_another_rhythm_disturbs_nothing_on_the_node()
    {
        var worker = new Worker();
        worker.Apply();
        foreach (var config in new[] { Running("every: 1h"), Running("every: 40m"), Boot })
        {
            worker.ExtraConfig = config;
            worker.Machine.Writes.Clear();
            ((int)worker.Plan().Worst).ShouldBe(0);

            WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

            worker.Machine.Writes.ShouldContain("reload systemd");
            worker.Machine.Writes.ShouldNotContain(w => w.StartsWith("restart", StringComparison.Ordinal));
            WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
        }

        worker.Machine.Unit(Adoption.TimerUnit).IsActive.ShouldBeFalse();
        (worker.Machine.File(Rhythm).Kind, worker.Machine.File(Wanted).Kind).ShouldBe((FileKind.Absent, FileKind.Absent));
    }

    [Fact]
    public void Without_the_unit_it_is_said_which_package_brings_it()
    {
        var worker = new Worker { ExtraConfig = Running("every: 1h") };
        worker.Machine.Set(new UnitReport(Adoption.TimerUnit));

        WorkerTests.Problems(worker.Apply()).ShouldHaveSingleItem().ShouldContain("install the package that brings nodeagent-adopt.timer");
    }

    private static string Running(string more) => $"{{apiVersion: nodeagent/v1, kind: NodeConfig, adoption: {{when: running, {more}}}}}";

    private static string Text(Worker worker, string path) => Encoding.UTF8.GetString(worker.Machine.File(path).Content.ShouldNotBeNull());
}
