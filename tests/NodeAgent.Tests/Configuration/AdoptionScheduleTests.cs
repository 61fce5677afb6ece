using System.Globalization;
using NodeAgent.Configuration;

namespace NodeAgent.Tests.Configuration;

public class AdoptionScheduleTests
{
    private const int Nodes = 5000;

    private static readonly DateTimeOffset Seen = new(2026, 11, 21, 10, 0, 0, TimeSpan.Zero);

    private static readonly TimeSpan Day = TimeSpan.FromDays(1);

    [Theory]
    [InlineData("0123456789ab")]
    [InlineData("ba9876543210")]
    public void Slots_of_5000_nodes_spread_evenly_over_the_window(string digest)
    {
        var slots = Ids().Select(id => AdoptionSchedule.Slot(id, digest, Seen, Day)).ToList();

        slots.ShouldAllBe(s => s >= Seen && s < Seen + Day);
        // Pearson's chi-square over the hours: 23 degrees of freedom exceed 49.7 in one of a thousand even spreads.
        var expected = Nodes / 24.0;
        slots.GroupBy(s => s.Hour).Sum(g => Math.Pow(g.Count() - expected, 2) / expected).ShouldBeLessThan(49.7);
        slots.GroupBy(s => s.Hour).Count().ShouldBe(24);
        // 3.5 a minute on average.
        slots.GroupBy(s => (int)(s - Seen).TotalMinutes).Max(g => g.Count()).ShouldBeLessThan(20);
    }

    /// <summary>As Auto Scaling names them: IDs that differ in one digit must not come one after the other.</summary>
    [Fact]
    public void IDs_that_follow_each_other_have_nothing_to_do_with_each_other()
    {
        var shares = Ids().Select(id => AdoptionSchedule.Share(id, "x")).ToList();

        Correlation(shares.SkipLast(1), shares.Skip(1)).ShouldBeInRange(-0.05, 0.05);
    }

    [Fact]
    public void A_slot_is_the_same_whenever_it_is_asked_for()
    {
        // Written down: a node asks in another process each time, and nodes of one fleet do not all have the same version of the agent.
        AdoptionSchedule.Slot("i-0123456789abcdef0", "0123456789ab", Seen, Day).ShouldBe(new DateTimeOffset(2026, 11, 21, 14, 15, 8, TimeSpan.Zero));
    }

    [Fact]
    public void It_is_not_always_the_same_nodes_that_go_first()
    {
        AdoptionSchedule.Slot("i-0123456789abcdef0", "0123456789ab", Seen, Day)
            .ShouldNotBe(AdoptionSchedule.Slot("i-0123456789abcdef0", "0123456789ac", Seen, Day));

        Correlation(Ids().Select(id => AdoptionSchedule.Share(id, "0123456789ab")), Ids().Select(id => AdoptionSchedule.Share(id, "0123456789ac")))
            .ShouldBeInRange(-0.05, 0.05);
    }

    [Theory]
    [InlineData("running", false, true, 0, "NothingNew")]
    [InlineData("boot", false, false, 0, "NothingNew")]
    [InlineData("boot", true, false, 0, "AtBoot")]
    [InlineData("boot", true, true, 3, "AtBoot")]
    [InlineData("running", true, false, 0, "Now")]
    [InlineData("running", true, true, 0, "InSlot")]
    [InlineData("running", true, true, 1, "InSlot")]
    [InlineData("running", true, true, 2, "Now")]
    [InlineData("running", true, true, 3, "Now")]
    public void What_a_look_comes_to(string when, bool isNew, bool isDisruptive, int hours, string expected)
    {
        var policy = ConfigText.LoadText($"adoption: {{when: {when}}}").Config.Adoption;

        AdoptionSchedule.Decide(policy, isNew, isDisruptive, false, Seen.AddHours(2), Seen.AddHours(hours)).ToString().ShouldBe(expected);
    }

    [Fact]
    public void What_wants_a_boot_waits_for_one_whatever_the_policy_and_the_slot() =>
        AdoptionSchedule.Decide(ConfigText.LoadText("adoption: {when: running}").Config.Adoption, true, true, true, Seen, Seen.AddHours(1))
            .ShouldBe(AdoptionStep.AtBoot);

    private static IEnumerable<string> Ids() => Enumerable.Range(0, Nodes).Select(n => string.Create(CultureInfo.InvariantCulture, $"i-0a5d1a26e{n:x8}"));

    private static double Correlation(IEnumerable<double> a, IEnumerable<double> b)
    {
        var pairs = a.Zip(b).ToList();
        var (x, y) = (pairs.Average(p => p.First), pairs.Average(p => p.Second));
        return pairs.Sum(p => (p.First - x) * (p.Second - y)) / Math.Sqrt(pairs.Sum(p => Math.Pow(p.First - x, 2)) * pairs.Sum(p => Math.Pow(p.Second - y, 2)));
    }
}
