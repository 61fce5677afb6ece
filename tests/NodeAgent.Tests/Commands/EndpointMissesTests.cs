using NodeAgent.Commands;
using Shouldly;

namespace NodeAgent.Tests.Commands;

/// <summary>An API server that is away for a moment is no reason for thousands of nodes to ask EC2.</summary>
public sealed class EndpointMissesTests
{
    private static readonly DateTimeOffset Now = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData(0.0, 20)]
    [InlineData(1.0, 60)]
    public void After_the_first_miss_EC2_is_asked_no_sooner_than_20_and_no_later_than_60_seconds(double share, int seconds)
    {
        var misses = EndpointMisses.Read(null);
        misses.IsTime(Now).ShouldBeFalse();

        misses = misses.Seen(Now, share);

        misses.IsTime(Now.AddSeconds(seconds - 1)).ShouldBeFalse();
        misses.IsTime(Now.AddSeconds(seconds)).ShouldBeTrue();
        misses.Seen(Now.AddSeconds(10), 0.5).ShouldBe(misses, "another miss puts it off");
    }

    [Fact]
    public void The_longer_it_is_away_the_more_rarely_EC2_is_asked_down_to_every_five_minutes()
    {
        var misses = EndpointMisses.Read(null).Seen(Now, 0);
        var pauses = new List<long>();
        for (var i = 0; i < 7; i++)
        {
            misses = EndpointMisses.Read(System.Text.Encoding.UTF8.GetString(misses.Asked(Now, 1).Write()));
            pauses.Add(misses.Next!.Value - Now.ToUnixTimeSeconds());
        }

        pauses.ShouldBe([30, 60, 120, 240, 300, 300, 300]);
        misses.Asked(Now, 0).Next.ShouldBe(Now.ToUnixTimeSeconds() + 150, "nodes spread");
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("null")]
    public void What_cannot_be_read_is_a_first_miss(string json) => EndpointMisses.Read(json).ShouldBe(new EndpointMisses(0, null));
}
