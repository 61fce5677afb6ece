using System.Collections.Concurrent;
using System.Net;
using Amazon.Runtime;
using NodeAgent.Aws;
using NodeAgent.Commands;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Machine;

namespace NodeAgent.Tests.Commands;

public sealed class LaunchTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly FakeGroup _group = new();
    private readonly ConcurrentQueue<string> _said = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(ExitCode.BadConfiguration)]
    [InlineData(ExitCode.Refused)]
    public async Task What_nothing_mends_is_abandoned_at_once_and_told_once(int exitCode)
    {
        await using (var launch = Begin())
        {
            await launch.Ended(exitCode, default);
            await launch.Ended(exitCode, default);
        }

        await using var again = Begin();
        await again.Ended(exitCode, default);
        Answers().ShouldBe(["ABANDON"]);
    }

    [Theory]
    [InlineData(ExitCode.Ok)]
    [InlineData(ExitCode.Failed)]
    [InlineData(ExitCode.NotReachableInTime)]
    [InlineData(ExitCode.ToldToStop)]
    public async Task What_may_still_come_to_something_is_not_answered(int exitCode)
    {
        await using var launch = Begin();
        await launch.Ended(exitCode, default);

        Answers().ShouldBeEmpty();
    }

    [Theory]
    [InlineData(ExitCode.Failed, new[] { "ABANDON" })]
    [InlineData(ExitCode.NotReachableInTime, new[] { "ABANDON" })]
    [InlineData(ExitCode.Ok, new string[0])]
    [InlineData(ExitCode.ToldToStop, new string[0])]
    public async Task A_failure_after_too_long_is_the_last_one(int exitCode, string[] answers)
    {
        await using var launch = Begin(giveUpAfter: TimeSpan.Zero);
        await launch.Ended(exitCode, default);

        Answers().ShouldBe(answers);
    }

    [Fact]
    public async Task Another_target_is_another_launch()
    {
        await using (var warm = Begin("Warmed:Stopped"))
        {
            (await warm.Answer(LifecycleResult.Continue, "prepared", default)).ShouldBeTrue();
        }

        _group.InProgress = true;
        await using var launch = Begin();
        (await launch.Answer(LifecycleResult.Continue, "healthy", default)).ShouldBeTrue();
        Answers().ShouldBe(["CONTINUE", "CONTINUE"]);
    }

    [Fact]
    public async Task A_node_that_was_in_service_all_along_has_nobody_who_waits_and_that_is_no_failure()
    {
        _group.InProgress = false;
        await using var launch = Begin();

        (await launch.Answer(LifecycleResult.Continue, "healthy", default)).ShouldBeTrue();
        _said.ShouldContain(s => s.Contains("waits for no answer", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Back_in_a_warm_pool_the_answer_waits_for_the_pools_action()
    {
        _group.InProgress = false;
        await using var launch = Begin("Warmed:Running");

        var answered = launch.Answer(LifecycleResult.Continue, "prepared", default);
        await Wait.Until(() => Answers().Any());
        _group.InProgress = true;

        (await answered).ShouldBeTrue();
        (_group.InProgress, Answers().Count() > 1).ShouldBe((false, true));
        _said.ShouldNotContain(s => s.Contains("waits for no answer", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_right_that_is_missing_is_named_and_the_answer_is_still_owed()
    {
        _group.Failure = new AmazonServiceException("not authorized", null, ErrorType.Sender, "AccessDenied", "1", HttpStatusCode.Forbidden);
        await using (var launch = Begin())
        {
            (await launch.Answer(LifecycleResult.Continue, "healthy", default)).ShouldBeFalse();
        }

        _said.ShouldContain(s => s.Contains("Allow the role of this instance the action autoscaling:CompleteLifecycleAction", StringComparison.Ordinal));
        _group.Failure = null;
        await using var again = Begin();
        (await again.Answer(LifecycleResult.Continue, "healthy", default)).ShouldBeTrue();
    }

    private Launch Begin(string target = "InService", TimeSpan? giveUpAfter = null) => Launch.Begin(
        target,
        () => _group.Hook,
        TimeSpan.FromMinutes(1),
        giveUpAfter ?? TimeSpan.FromHours(1),
        $"{_directory.Path}/launch.json",
        new Hurried(),
        _said.Enqueue);

    private IEnumerable<string> Answers() => _group.Calls.Where(c => c != "heartbeat");
}
