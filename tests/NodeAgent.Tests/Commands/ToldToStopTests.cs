using System.Diagnostics;
using NodeAgent.Commands;

namespace NodeAgent.Tests.Commands;

/// <summary>The program as systemd sees it: only an exit code tells what was told to stop from what failed.</summary>
public sealed class ToldToStopTests
{
    [Fact]
    public async Task A_command_that_waits_and_is_told_to_stop_has_not_failed()
    {
        // The program brings its own runtime, which is not beside the tests: it runs on theirs.
        var own = Path.Combine(AppContext.BaseDirectory, "NodeAgent.Tests");
        string[] arguments =
        [
            "exec", "--depsfile", own + ".deps.json", "--runtimeconfig", own + ".runtimeconfig.json", Path.Combine(AppContext.BaseDirectory, "nodeagent.dll"),
            "ready", "--runtime-socket", "/nowhere.sock",
        ];
        using var agent = Process.Start(new ProcessStartInfo(Environment.ProcessPath!, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        // It has begun to wait, so that the signal finds somebody who knows what to do with it.
        (await agent.StandardOutput.ReadLineAsync(patience.Token)).ShouldNotBeNull().ShouldStartWith("waiting: ");

        using var kill = Process.Start("kill", ["-TERM", $"{agent.Id}"]);
        await agent.WaitForExitAsync(patience.Token);

        agent.ExitCode.ShouldBe(ExitCode.ToldToStop, await agent.StandardError.ReadToEndAsync(patience.Token));
    }
}
