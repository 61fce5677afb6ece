using NodeAgent.Commands;
using NodeAgent.Machine;

namespace NodeAgent.Tests.Machine;

public sealed class RunLockTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void A_second_run_is_told_who_holds_it_and_gives_up_when_its_time_is_up()
    {
        var told = new List<string>();
        using var first = RunLock.Acquire(Lock, "apply", told.Add, CancellationToken.None);
        using var deadline = new CancellationTokenSource();

        var e = Should.Throw<OperationCanceledException>(() => RunLock.Acquire(
            Lock,
            "plan",
            holder =>
            {
                told.Add(holder);
                deadline.Cancel();
            },
            deadline.Token));

        told.ShouldHaveSingleItem().ShouldContain($"process {Environment.ProcessId} (nodeagent apply)");
        e.Message.ShouldContain("nodeagent apply");
        ExitCode.Of(e).ShouldBe(ExitCode.NotReachableInTime);
    }

    [Fact]
    public void Nobody_else_may_open_the_lock_not_even_one_that_was_open_before()
    {
        RunLock.Acquire(Lock, "apply", _ => { }, CancellationToken.None).Dispose();
        Files.Report(Lock).Mode.ShouldBe(Files.OwnerOnly);
        Files.Write(Lock, [], Files.WorldReadable);

        RunLock.Acquire(Lock, "apply", _ => { }, CancellationToken.None).Dispose();

        Files.Report(Lock).Mode.ShouldBe(Files.OwnerOnly);
    }

    [Fact]
    public void A_second_run_goes_on_when_the_first_is_over()
    {
        var first = RunLock.Acquire(Lock, "apply", _ => { }, CancellationToken.None);

        using var second = RunLock.Acquire(Lock, "apply", _ => first.Dispose(), CancellationToken.None);

        Files.Text(Lock).ShouldBe($"{Environment.ProcessId} apply\n");
    }

    private string Lock => $"{_directory.Path}/run/lock";
}
