using NodeAgent.Commands;

namespace NodeAgent.Tests.Commands;

public class NoticeTests
{
    private const string Spot = """{"action": "terminate", "time": "2026-11-21T08:22:00Z"}""";

    [Theory]
    [InlineData(null, false)]
    [InlineData("InService", false)]
    [InlineData("Standby", false)]
    [InlineData("Detached", false)]
    [InlineData("Warmed:Running", true)]
    [InlineData("Warmed:Stopped", true)]
    public void These_are_no_reason_to_leave(string? target, bool warm) => Notice.Of(target, null, false, warm).ShouldBeNull();

    [Theory]
    [InlineData("Terminated", false)]
    [InlineData("Warmed:Terminated", true)]
    [InlineData("Warmed:Stopped", false)]
    [InlineData("Warmed:Running", false)]
    [InlineData("Warmed:Hibernated", false)]
    public void The_group_lets_it_go(string target, bool warm) => Notice.Of(target, null, false, warm).ShouldNotBeNull().IsGroups.ShouldBeTrue();

    [Fact]
    public void A_spot_interruption_says_when_it_is_over()
    {
        var notice = Notice.Of("InService", Spot, false, false).ShouldNotBeNull();

        (notice.IsGroups, notice.Ends).ShouldBe((false, new DateTimeOffset(2026, 11, 21, 8, 22, 0, TimeSpan.Zero)));
        Notice.Of("Terminated", Spot, false, false).ShouldNotBeNull()
            .ShouldSatisfyAllConditions(n => n.IsGroups.ShouldBeTrue(), n => n.Ends.ShouldBe(notice.Ends));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("<html>")]
    [InlineData("""{"action": 5, "time": "soon"}""")]
    public void What_cannot_be_read_is_a_notice_all_the_same(string text) => Notice.Of(null, text, false, false).ShouldNotBeNull().Ends.ShouldBeNull();

    [Fact]
    public void A_recommendation_counts_where_it_is_asked_for() => Notice.Of("InService", null, true, false).ShouldNotBeNull().IsGroups.ShouldBeFalse();
}
