using NodeAgent.Commands;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Convergence;

public sealed class ApplierTests : IDisposable
{
    private readonly SimulatedMachine _machine = new([]);
    private readonly Heard _heard = new();
    private readonly CancellationTokenSource _stop = new();

    public void Dispose() => _stop.Dispose();

    [Fact]
    public void What_fails_skips_what_needs_it_and_nothing_else()
    {
        var failing = new Pretend("failing") { Throws = new MachineException("mkfs", "no space") };
        var needing = new Pretend("needing") { Needs = [failing] };
        var further = new Pretend("further") { Needs = [needing] };
        var other = new Pretend("other");

        var result = Apply(failing, needing, further, other);

        Outcomes(result).ShouldBe(["Failed", "Skipped", "Skipped", "Changed"]);
        result.Steps[0].Outcome.ShouldBe(new Failed("mkfs: no space"));
        result.Steps[2].Outcome.ShouldBe(new Skipped(needing));
        result.Succeeded.ShouldBeFalse();
        ExitCode.Of(result).ShouldBe(ExitCode.Failed);
        _machine.Writes.ShouldBe(["write other"]);
    }

    [Fact]
    public void What_was_carried_out_and_still_differs_is_an_error_that_says_both()
    {
        var result = Apply(new Pretend("stubborn") { Works = false });

        result.Steps.Single().Outcome.ShouldBe(new Failed("was carried out (not there) and still differs: not there"));
    }

    [Fact]
    public void A_refusal_outweighs_a_failure_in_the_exit_code()
    {
        var result = Apply(
            new Pretend("refused") { Finds = new Refused("theirs", "ask them") }, new Pretend("failing") { Throws = new MachineException("x", "y") });

        ExitCode.Of(result).ShouldBe(ExitCode.Refused);
    }

    [Fact]
    public void What_cannot_be_examined_is_a_failure_and_is_not_touched()
    {
        var result = Apply(new Pretend("unknown") { Finds = new Unknown("no answer") });

        result.Steps.Single().Outcome.ShouldBe(new Failed("no answer"));
        _machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void A_second_run_holds_and_writes_nothing()
    {
        Apply(new Pretend("one"), new Pretend("two"));
        _machine.Writes.Clear();

        Outcomes(Apply(new Pretend("one"), new Pretend("two"))).ShouldBe(["Held", "Held"]);
        _machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void Who_answers_to_an_input_is_told_before_it_is_touched()
    {
        var input = new Pretend("input");
        var answering = new Pretend("answering") { Inputs = [input] };

        Apply(input, answering);

        answering.Told.ShouldBe(["input before"]);
    }

    [Fact]
    public void Who_answers_to_an_input_is_not_told_when_it_holds()
    {
        _machine.WriteFile("input", [], UnixFileMode.UserRead);
        var input = new Pretend("input");
        var answering = new Pretend("answering") { Inputs = [input] };

        Apply(input, answering);

        answering.Told.ShouldBeEmpty();
    }

    [Fact]
    public void A_deadline_that_passes_inside_a_step_ends_the_run_after_it()
    {
        var slow = new Pretend("slow") { OnApply = _stop.Cancel, Throws = new OperationCanceledException(_stop.Token) };
        var next = new Pretend("next");

        var result = Apply(slow, next);

        Outcomes(result).ShouldBe(["OutOfTime", "OutOfTime"]);
        ExitCode.Of(result).ShouldBe(ExitCode.NotReachableInTime);
        _machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void A_command_that_was_killed_by_the_deadline_did_not_fail_by_itself()
    {
        var killed = new Pretend("killed") { OnApply = _stop.Cancel, Throws = new MachineException("mkfs", "was killed") };

        Outcomes(Apply(killed)).ShouldBe(["OutOfTime"]);
    }

    [Fact]
    public void A_step_that_was_done_when_the_deadline_passed_counts()
    {
        var done = new Pretend("done") { OnApply = _stop.Cancel };

        Outcomes(Apply(done, new Pretend("next"))).ShouldBe(["Changed", "OutOfTime"]);
    }

    [Fact]
    public void An_error_that_nobody_expects_is_not_swallowed() =>
        Should.Throw<InvalidOperationException>(() => Apply(new Pretend("broken") { Throws = new InvalidOperationException("a bug") }));

    [Fact]
    public void Observers_hear_of_a_change_before_and_of_each_step_after()
    {
        _machine.WriteFile("there", [], UnixFileMode.UserRead);

        Apply(new Pretend("there"), new Pretend("missing"));

        _heard.Lines.ShouldBe(["there Held", "changing missing", "missing Changed"]);
    }

    private RunResult Apply(params Resource[] list) => Applier.Apply(new ResourceList(list), _machine, _machine, _heard, _stop.Token);

    private static IEnumerable<string> Outcomes(RunResult result) => result.Steps.Select(s => s.Outcome.GetType().Name);
}
