using System.Globalization;
using System.Text.Json;
using NodeAgent.Commands;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Telemetry;
using NodeAgent.Tests.Convergence;
using NodeAgent.Tests.Simulation;
using Serilog;
using Serilog.Core;
using Serilog.Events;

namespace NodeAgent.Tests.Commands;

/// <summary>What is only said is said everywhere, and is neither work nor failure.</summary>
public sealed class NotesTests
{
    private readonly SimulatedMachine _machine = new([]);
    private readonly ResourceList _list = new(
        [new Pretend("quiet") { Finds = InSync.Instance }, new Pretend("holds") { Finds = InSync.Saying(["a label stays"]) }]);

    [Fact]
    public void A_plan_with_nothing_but_notes_has_nothing_to_do_and_says_them()
    {
        var plan = Plan.Make(_list, _machine);

        ExitCode.Of(plan).ShouldBe(ExitCode.Ok);
        using var text = new StringWriter(CultureInfo.InvariantCulture) { NewLine = "\n" };
        new PlanText(text, color: false).Write(plan);
        text.ToString().ShouldBe("Kernel\n  i pretend holds: a label stays\n\nNothing to do: 0 to change, 2 in sync, 1 only said.\n");
        using var json = JsonDocument.Parse(PlanJson.Write(plan, "node"));
        json.RootElement.GetProperty("steps").GetArrayLength().ShouldBe(0);
        json.RootElement.GetProperty("notes").ToString().ReplaceLineEndings("").Replace(" ", "", StringComparison.Ordinal)
            .ShouldBe("[{\"resource\":\"pretendholds\",\"note\":\"alabelstays\"}]");
    }

    [Fact]
    public void A_plan_without_any_has_no_word_of_them()
    {
        var plan = Plan.Make(new ResourceList([new Pretend("quiet") { Finds = InSync.Instance }]), _machine);

        PlanText.Summary(plan).ShouldBe("Nothing to do: 0 to change, 1 in sync.");
        PlanJson.Write(plan, "node").ShouldNotContain("notes");
    }

    [Fact]
    public void A_run_says_them_on_the_terminal_in_its_JSON_and_in_the_journal()
    {
        var events = new Events();
        using var log = RunLog.ToJournal("1.0", events);
        using var text = new StringWriter(CultureInfo.InvariantCulture) { NewLine = "\n" };
        var timeline = new Timeline();

        var result = Applier.Apply(
            _list, _machine, _machine, new ApplyProgress(text, false, false, _ => { }, new RunLog(log), timeline), CancellationToken.None);

        ExitCode.Of(result).ShouldBe(ExitCode.Ok);
        _machine.Writes.ShouldBeEmpty();
        text.ToString().ShouldBe("  i pretend holds: a label stays\n");
        events.Lines.ShouldBe(["said pretend holds: a label stays"]);
        using var json = JsonDocument.Parse(RunJson.Write(result, "node", 0, timeline));
        json.RootElement.GetProperty("steps").GetArrayLength().ShouldBe(0);
        json.RootElement.GetProperty("notes")[0].GetProperty("note").GetString().ShouldBe("a label stays");
    }

    [Fact]
    public void A_change_is_written_with_what_it_leaves_and_a_run_says_what_is_left_afterwards()
    {
        var leftovers = new NodeAgent.Resources.Leftovers("files", ["/etc/a"], new HashSet<string>()) { OwnDirectories = ["/etc/a"] };
        _machine.WriteFile("/etc/a/ours", System.Text.Encoding.UTF8.GetBytes(Ownership.Header + "\n"), UnixFileMode.UserRead);
        _machine.WriteFile("/etc/a/theirs", [], UnixFileMode.UserRead);
        var list = new ResourceList([leftovers]);

        var plan = Plan.Make(list, _machine);
        ExitCode.Of(plan).ShouldBe(ExitCode.ChangesPending);
        plan.Notes.ShouldHaveSingleItem().Note.ShouldStartWith("/etc/a/theirs does not carry our mark");
        var result = Applier.Apply(list, _machine, _machine, new Heard(), CancellationToken.None);

        result.Steps.Single().Outcome.ShouldBeOfType<Changed>();
        result.Notes.ShouldHaveSingleItem().Note.ShouldStartWith("/etc/a/theirs does not carry our mark");
        _machine.File("/etc/a/ours").Kind.ShouldBe(FileKind.Absent);
    }

    private sealed class Events : ILogEventSink
    {
        public List<string> Lines { get; } = [];

        public void Emit(LogEvent logEvent) => Lines.Add(logEvent.RenderMessage(CultureInfo.InvariantCulture));
    }
}
