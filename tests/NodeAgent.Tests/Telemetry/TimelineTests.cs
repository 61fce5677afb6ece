using System.Text.Json;
using NodeAgent.Commands;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Telemetry;

namespace NodeAgent.Tests.Telemetry;

public class TimelineTests
{
    private ProcessorTime _spent = Spent(30, 0);

    [Fact]
    public void A_phase_has_the_processor_time_since_the_one_before_and_the_first_is_what_it_took_to_start()
    {
        var timeline = Run();

        timeline.Phases.ShouldBe(
        [
            (Timeline.Start, TimeSpan.Zero, Spent(30, 0)),
            ("metadata", TimeSpan.FromSeconds(1), Spent(20, 0)),
            ("storage", TimeSpan.FromSeconds(3), Spent(40, 250)),
        ]);
        timeline.ToString().ShouldEndWith("(metadata 1.0 s, storage 3.0 s), processor 90 ms, programs' 250 ms");
    }

    [Fact]
    public void Programs_get_it_by_phase_without_those_that_had_none()
    {
        using var json = JsonDocument.Parse(RunJson.Write(new RunResult([]), "node", 0, Run()));

        Of("phaseSeconds").ShouldBe("metadata 1, storage 3");
        Of("processorSeconds").ShouldBe("start 0.03, metadata 0.02, storage 0.04");
        Of("programsProcessorSeconds").ShouldBe("storage 0.25");

        string Of(string name) => string.Join(", ", json.RootElement.GetProperty(name).EnumerateObject().Select(p => $"{p.Name} {p.Value.GetRawText()}"));
    }

    [Fact]
    public async Task What_the_machine_says_grows_with_work_and_with_the_programs_that_were_run()
    {
        var before = ProcessorTime.Now;
        before.Own.ShouldBeGreaterThan(TimeSpan.Zero);

        // Less than a tick of the clock may count as nothing: until it counts.
        await Wait.Until(() =>
        {
            Thread.SpinWait(1_000_000);
            return ProcessorTime.Now.Own > before.Own;
        });
        await Wait.Until(() =>
        {
            new ProcessRunner(CancellationToken.None).Run(["find", "/usr", "-maxdepth", "3"]).Failure.ShouldBeNull();
            return ProcessorTime.Now.Programs > before.Programs;
        });
    }

    private Timeline Run()
    {
        var timeline = new Timeline(() => _spent);
        _spent += Spent(20, 0);
        timeline.Add("metadata", TimeSpan.FromSeconds(1));
        _spent += Spent(15, 0);
        timeline.Add("storage", TimeSpan.FromSeconds(1));
        _spent += Spent(25, 250);
        timeline.Add("storage", TimeSpan.FromSeconds(2));
        return timeline;
    }

    private static ProcessorTime Spent(int own, int programs) => new(TimeSpan.FromMilliseconds(own), TimeSpan.FromMilliseconds(programs));
}
