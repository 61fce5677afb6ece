using NodeAgent.Commands;

namespace NodeAgent.Tests.Commands;

public class ErrorsTests
{
    [Fact]
    public async Task Whom_the_deadline_ends_is_told_so_with_where_it_was()
    {
        var e = await Should.ThrowAsync<NotReachableException>(() => Errors.Within(TimeSpan.FromSeconds(1), UntilStopped, CancellationToken.None));

        e.Message.ShouldBe("not done within the deadline of 1s: the API server is not ready");
        ExitCode.Of(e).ShouldBe(ExitCode.NotReachableInTime);
    }

    [Fact]
    public async Task Whom_somebody_stops_before_the_deadline_is_not_told_of_it()
    {
        using var stop = new CancellationTokenSource();
        var run = Errors.Within(TimeSpan.FromHours(1), UntilStopped, stop.Token);

        await stop.CancelAsync();

        // Shouldly's own has no message for a task that is cancelled.
        (await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run)).Message.ShouldBe("the API server is not ready");
    }

    [Fact]
    public async Task What_is_done_in_time_is_what_it_is() =>
        (await Errors.Within(TimeSpan.FromHours(1), _ => Task.FromResult(5), CancellationToken.None)).ShouldBe(5);

    private static async Task<int> UntilStopped(CancellationToken stop)
    {
        await Task.Delay(Timeout.InfiniteTimeSpan, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        throw new OperationCanceledException("the API server is not ready", stop);
    }
}
