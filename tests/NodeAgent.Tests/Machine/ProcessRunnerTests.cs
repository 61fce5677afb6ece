using System.Globalization;
using NodeAgent.Machine;

namespace NodeAgent.Tests.Machine;

public sealed class ProcessRunnerTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Output_is_kept_and_success_has_no_failure()
    {
        var result = new ProcessRunner(CancellationToken.None).Run(["echo", "a b", "c"]);

        result.Failure.ShouldBeNull();
        result.ExitCode.ShouldBe(0);
        result.Output.ShouldBe("a b c\n");
        result.Command.ShouldBe("echo 'a b' c");
    }

    [Fact]
    public void A_failure_says_exit_code_and_what_was_said_last()
    {
        var result = new ProcessRunner(CancellationToken.None).Run(["sh", "-c", "echo out; echo 'no such thing' >&2; exit 5"]);

        result.ExitCode.ShouldBe(5);
        result.Failure.ShouldBe("exit code 5: no such thing");
        result.ErrorOutput.ShouldBe("no such thing");
    }

    [Fact]
    public void A_signal_is_a_failure() => new ProcessRunner(CancellationToken.None).Run(["sh", "-c", "kill -9 $$"]).Failure.ShouldBe("ended by signal 9");

    [Fact]
    public void A_missing_program_is_told_from_one_that_failed()
    {
        var runner = new ProcessRunner(CancellationToken.None);

        runner.Run(["there-is-no-such-program"]).IsMissing.ShouldBeTrue();
        runner.Run(["there-is-no-such-program"]).Failure!.ShouldContain("not installed");
        runner.Run(["false"]).IsMissing.ShouldBeFalse();
    }

    [Fact]
    public void Nothing_of_our_environment_or_input_gets_in()
    {
        Environment.SetEnvironmentVariable("NODEAGENT_TEST_SECRET", "seen");

        var result = new ProcessRunner(CancellationToken.None).Run(["sh", "-c", "env; cat; echo end"]);

        result.Output.ShouldContain("LC_ALL=C\n");
        result.Output.ShouldNotContain("NODEAGENT_TEST_SECRET");
        result.Output.ShouldEndWith("end\n");
    }

    [Fact]
    public void Broken_pipes_end_a_pipeline_as_in_a_shell()
    {
        // .NET ignores SIGPIPE; inherited, yes(1) would complain of a write error instead of ending silently.
        new ProcessRunner(CancellationToken.None).Run(["sh", "-c", "yes | head -1"]).ErrorOutput.ShouldBe("");
    }

    [Fact]
    public void More_output_than_allowed_is_a_failure_and_no_memory()
    {
        var result = new ProcessRunner(CancellationToken.None).Run(["head", "-c", "10000000", "/dev/zero"], outputLimit: 1000);

        result.Output.Length.ShouldBe(1000);
        result.Failure.ShouldBe("said more than 1000 bytes");
    }

    [Fact]
    public void Of_many_complaints_the_first_and_the_last_are_kept()
    {
        var result = new ProcessRunner(CancellationToken.None).Run(["sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done >&2; exit 1"]);

        result.ErrorOutput.Length.ShouldBeLessThan(5000);
        result.ErrorOutput.ShouldStartWith("line 0\nline 1\n");
        result.ErrorOutput.ShouldContain("\n…\n");
        result.ErrorOutput.ShouldEndWith("line 19999");
        result.Failure!.ShouldStartWith("exit code 1: line 0\n");
        result.Failure!.ShouldEndWith("line 19999");
    }

    [Fact]
    public void Cancelling_ends_the_whole_group_also_what_ignores_a_polite_request()
    {
        using var cancellation = new CancellationTokenSource();
        var pids = $"{_directory.Path}/pids";
        var waiter = new Thread(() =>
        {
            while (!File.Exists(pids + "-done"))
            {
                Thread.Yield();
            }

            cancellation.Cancel();
        });
        waiter.Start();

        // A grandchild that ignores SIGTERM and holds the pipes, and a child that waits for it.
        var stubborn = $"(trap '' TERM; echo $$ > {pids}; exec sh -c 'echo $$ >> {pids}; touch {pids}-done; while :; do sleep 1; done')";
        string[] command = ["sh", "-c", $"{stubborn} & echo said >&2; wait"];
        var e = Should.Throw<OperationCanceledException>(() => new ProcessRunner(cancellation.Token).Run(command));

        waiter.Join();
        e.Message.ShouldContain("sh -c");
        e.Message.ShouldContain("said");
        foreach (var pid in File.ReadAllLines(pids))
        {
            // The kernel has been told; it may take it a moment.
            SpinWait.SpinUntil(() => !IsRunning(pid), TimeSpan.FromSeconds(20)).ShouldBeTrue($"process {pid} runs on");
        }
    }

    [Fact]
    public void A_program_that_leaves_a_daemon_with_our_pipes_behind_does_not_hold_us()
    {
        var result = new ProcessRunner(CancellationToken.None).Run(["sh", "-c", $"sleep 600 & echo $! > {_directory.Path}/pid; echo done"]);

        result.Failure.ShouldBeNull();
        result.Output.ShouldBe("done\n");
        using var left = System.Diagnostics.Process.GetProcessById(int.Parse(File.ReadAllText($"{_directory.Path}/pid"), CultureInfo.InvariantCulture));
        left.Kill();
    }

    [Fact]
    public void A_cancelled_run_starts_nothing()
    {
        Should.Throw<OperationCanceledException>(() => new ProcessRunner(new CancellationToken(canceled: true)).Run(["touch", $"{_directory.Path}/started"]));

        File.Exists($"{_directory.Path}/started").ShouldBeFalse();
    }

    private static bool IsRunning(string pid)
    {
        // A zombie nobody has reaped yet is not running.
        var stat = File.Exists($"/proc/{pid}/stat") ? File.ReadAllText($"/proc/{pid}/stat") : ") Z";
        return stat[stat.LastIndexOf(')')..].Split(' ')[1] is not ("Z" or "X");
    }
}
