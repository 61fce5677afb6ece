using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;

namespace NodeAgent.Lab;

internal sealed record CommandResult(string Command, int ExitCode, string Output, string Error)
{
    public CommandResult EnsureSuccess() => ExitCode == 0 ? this : throw new LabException($"exit code {ExitCode} of: {Command}\n{Output}{Error}".TrimEnd());
}

/// <summary>The laboratory itself failed, or what it ran for a scenario: the message says all there is to say.</summary>
internal sealed class LabException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>A process of the host that dies with the runner, however the runner ends.</summary>
internal sealed class Child : IAsyncDisposable
{
    // The signal at the parent's death fires when the *thread* that forked ends (prctl(2)): one thread that lives as long as the runner forks for all.
    private static readonly BlockingCollection<Action> Forks = [];

    private readonly Process process;
    private bool disposed;

    static Child() => new Thread(() =>
    {
        foreach (var fork in Forks.GetConsumingEnumerable())
        {
            fork();
        }
    })
    { IsBackground = true, Name = "forks" }.Start();

    private Child(Process process) => this.process = process;

    public int Id => process.Id;

    public bool HasExited => process.HasExited;

    public int ExitCode => process.ExitCode;

    /// <summary>Starts a service of the host; all that it prints goes to <paramref name="log"/>.</summary>
    public static async Task<Child> StartAsync(string log, string program, IEnumerable<string> arguments, params (string Name, string Value)[] environment) =>
        new(await StartProcessAsync("sh", ["-c", "exec \"$@\" >>\"$0\" 2>&1 </dev/null", log, program, .. arguments], environment, piped: false));

    /// <summary>Runs a program of the host to its end, whatever its exit code.</summary>
    public static async Task<CommandResult> RunAsync(string program, IEnumerable<string> arguments, TimeSpan timeout, byte[]? input = null)
    {
        var all = arguments.ToArray();
        using var process = await StartProcessAsync(program, all, [], piped: true);
        using var deadline = new CancellationTokenSource(timeout);
        var command = $"{program} {string.Join(' ', all)}";
        try
        {
            var output = ReadAsync(process.StandardOutput.BaseStream, deadline.Token);
            var error = ReadAsync(process.StandardError.BaseStream, deadline.Token);
            if (input is not null)
            {
                await process.StandardInput.BaseStream.WriteAsync(input, deadline.Token);
            }

            process.StandardInput.Close();
            await process.WaitForExitAsync(deadline.Token);
            return new(command, process.ExitCode, await output, await error);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw new LabException($"no end after {timeout.TotalSeconds:0} s: {command}");
        }
    }

    public async Task WaitForExitAsync(TimeSpan timeout, string what)
    {
        using var deadline = new CancellationTokenSource(timeout);
        try
        {
            await process.WaitForExitAsync(deadline.Token);
        }
        catch (OperationCanceledException)
        {
            throw new LabException($"{what}: still running after {timeout.TotalSeconds:0} s");
        }
    }

    /// <summary>Kills it without notice.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!disposed)
        {
            disposed = true;
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync();
            process.Dispose();
        }
    }

    private static async Task<string> ReadAsync(Stream stream, CancellationToken stop)
    {
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return await reader.ReadToEndAsync(stop);
    }

    private static Task<Process> StartProcessAsync(string program, string[] arguments, (string Name, string Value)[] environment, bool piped)
    {
        var start = new ProcessStartInfo("setpriv", ["--pdeathsig", "KILL", "--", program, .. arguments])
        {
            RedirectStandardInput = piped,
            RedirectStandardOutput = piped,
            RedirectStandardError = piped,
        };
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        var started = new TaskCompletionSource<Process>(TaskCreationOptions.RunContinuationsAsynchronously);
        Forks.Add(() =>
        {
            try
            {
                started.SetResult(Process.Start(start)!);
            }
            catch (Exception e)
            {
                started.SetException(e);
            }
        });
        return started.Task;
    }
}
