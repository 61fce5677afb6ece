using NodeAgent.Configuration;

namespace NodeAgent.Tests.Configuration;

/// <summary>From when a window counts.</summary>
public class AdoptionRecordTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 21, 10, 0, 0, TimeSpan.Zero);

    private static readonly TimeSpan Every = TimeSpan.FromMinutes(30);

    private static readonly ConfigValues New = new(new Dictionary<string, string> { ["a"] = "1" });

    private readonly AdoptionRecord _record = new("i-1", Now.AddDays(-1), new Dictionary<string, string>());

    [Fact]
    public void It_counts_from_the_first_time_that_this_node_saw_it()
    {
        var record = _record;
        for (var minutes = 0; minutes < 1000; minutes += 30)
        {
            record = record with { Pending = record.Saw(New, Now.AddMinutes(minutes), Every) };
            record.Pending.Since.ShouldBe(Now);
        }
    }

    [Fact]
    public void Another_configuration_counts_anew_and_so_does_the_first_when_it_comes_back()
    {
        var record = _record with { Pending = _record.Saw(New, Now, Every) };
        var other = new ConfigValues(new Dictionary<string, string> { ["a"] = "2" });
        record = record with { Pending = record.Saw(other, Now.AddHours(1), Every) };
        record.Pending.Since.ShouldBe(Now.AddHours(1));

        record.Saw(New, Now.AddHours(2), Every).Since.ShouldBe(Now.AddHours(2));
    }

    /// <summary>Or all nodes whose slots passed while S3 was away would take it as soon as it is back.</summary>
    [Fact]
    public void It_counts_only_while_the_node_looks()
    {
        var record = _record with { Pending = _record.Saw(New, Now, Every) };

        record.Saw(New, Now + (3 * Every), Every).Since.ShouldBe(Now);
        record.Saw(New, Now + (3 * Every) + TimeSpan.FromSeconds(1), Every).Since.ShouldBe(Now + (3 * Every) + TimeSpan.FromSeconds(1));
    }

    [Fact]
    public void A_clock_that_was_set_back_makes_nobody_wait_for_longer_than_the_window()
    {
        var record = _record with { Pending = _record.Saw(New, Now, Every) };

        record.Saw(New, Now.AddDays(-300), Every).Since.ShouldBe(Now.AddDays(-300));
    }
}
