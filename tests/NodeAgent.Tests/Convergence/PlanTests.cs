using NodeAgent.Convergence;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Convergence;

public class PlanTests
{
    private readonly SimulatedMachine _machine = new([]);

    [Fact]
    public void What_a_pending_resource_hides_waits_for_it_and_is_not_examined()
    {
        var ground = new Pretend("ground") { Hiding = _ => true };
        var hidden = new Pretend("hidden") { Needs = [ground], Finds = new Refused("looked where nothing can be seen yet", "") };

        var step = Step(hidden, ground, hidden);

        // What an empty ground would need is still asked of it.
        step.Finding.ShouldBeOfType<After>().Ground.ShouldBe(ground);
        step.BlockedBy.ShouldBeNull();
    }

    [Fact]
    public void What_a_resource_in_place_could_hide_is_examined()
    {
        _machine.WriteFile("ground", [], UnixFileMode.UserRead);
        var ground = new Pretend("ground") { Hiding = _ => true };
        var seen = new Pretend("seen") { Needs = [ground] };

        Step(seen, ground, seen).Finding.ShouldBeOfType<Change>();
    }

    [Fact]
    public void What_is_needed_and_hides_nothing_keeps_nothing_from_being_examined()
    {
        var needed = new Pretend("needed");
        var seen = new Pretend("seen") { Needs = [needed] };

        Step(seen, needed, seen).Finding.ShouldBeOfType<Change>();
    }

    [Fact]
    public void What_lies_behind_something_hidden_is_hidden_too()
    {
        var first = new Pretend("first") { Hiding = _ => true };
        var second = new Pretend("second") { Needs = [first], Hiding = _ => true };
        var third = new Pretend("third") { Needs = [second] };

        Step(third, first, second, third).Finding.ShouldBeOfType<After>().Ground.ShouldBe(second);
    }

    [Fact]
    public void A_refusal_blocks_what_needs_it_and_what_needs_that_and_nothing_else()
    {
        var refused = new Pretend("refused") { Finds = new Refused("theirs", "ask them") };
        var needing = new Pretend("needing") { Needs = [refused] };
        var further = new Pretend("further") { Needs = [needing] };
        var other = new Pretend("other");
        var plan = Plan.Make(new ResourceList([refused, needing, further, other]), _machine);

        plan.Steps.Select(s => s.BlockedBy?.Name).ShouldBe([null, "refused", "needing", null]);
        (plan.Refusals, plan.Unknowns, plan.Changes).ShouldBe((1, 0, 3));
    }

    [Fact]
    public void What_could_not_be_probed_blocks_what_needs_it()
    {
        var unknown = new Pretend("unknown") { Finds = new Unknown("no answer") };
        var needing = new Pretend("needing") { Needs = [unknown] };

        Step(needing, unknown, needing).BlockedBy.ShouldBe(unknown);
    }

    [Fact]
    public void A_resource_is_told_which_of_its_inputs_will_change()
    {
        _machine.WriteFile("there", [], UnixFileMode.UserRead);
        var there = new Pretend("there");
        var missing = new Pretend("missing");
        var answering = new Pretend("answering") { Inputs = [there, missing] };

        Step(answering, there, missing, answering);

        answering.Pending.ShouldBe([missing]);
    }

    [Fact]
    public void A_plan_writes_nothing()
    {
        new Worker { Machine = _machine }.Plan();

        _machine.Writes.ShouldBeEmpty();
    }

    private PlannedStep Step(Resource of, params Resource[] list) => Plan.Make(new ResourceList(list), _machine).Steps.Single(s => s.Resource == of);
}
