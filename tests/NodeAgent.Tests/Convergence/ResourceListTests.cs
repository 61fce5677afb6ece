using NodeAgent.Convergence;

namespace NodeAgent.Tests.Convergence;

public class ResourceListTests
{
    [Fact]
    public void What_a_resource_needs_must_stand_before_it()
    {
        var needed = new Pretend("needed");

        Should.Throw<ArgumentException>(() => new ResourceList([new Pretend("needing") { Needs = [needed] }, needed])).Message
            .ShouldBe("pretend needing names pretend needed, which does not stand before it");
    }

    [Fact]
    public void What_a_resource_answers_to_must_be_in_the_list() =>
        Should.Throw<ArgumentException>(() => new ResourceList([new Pretend("answering") { Inputs = [new Pretend("input")] }]))
            .Message.ShouldContain("pretend input");

    [Fact]
    public void Nothing_stands_twice_in_a_list() =>
        Should.Throw<ArgumentException>(() => new ResourceList([new Pretend("one"), new Pretend("one")]))
            .Message.ShouldBe("pretend one stands twice in the list");

    [Fact]
    public void Nothing_needs_itself()
    {
        var one = new Pretend("one");
        var again = new Pretend("two") { Needs = [one] };

        Should.Throw<ArgumentException>(() => new ResourceList([again, one]));
        new ResourceList([one, again]).Items.ShouldBe([one, again]);
    }
}
