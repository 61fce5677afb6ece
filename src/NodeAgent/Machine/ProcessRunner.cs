using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace NodeAgent.Machine;

/// <summary>
/// Runs a program to its end: an argument list and no shell, programs from fixed directories, nothing on standard input, LC_ALL=C and no environment of ours,
/// its own process group, output bounded. When <paramref name="cancellation"/> fires, the whole group goes and the call throws
/// <see cref="OperationCanceledException"/> naming the command. Secrets have no place in arguments: everybody can read them.
/// </summary>
internal sealed class ProcessRunner(CancellationToken cancellation)
{
    private const int ErrorEndBytes = 2 * 1024;
    private const int NoHang = 1;

    private static readonly string[] SearchPath = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

    // LVM complains of every descriptor it inherits, the journal's among them.
    private static readonly string[] Environment = ["PATH=" + string.Join(':', SearchPath), "LC_ALL=C", "HOME=/root", "LVM_SUPPRESS_FD_WARNINGS=1"];

    public CancellationToken Cancellation => cancellation;

    /// <summary>Where a program is; null when it is in none of the directories looked in.</summary>
    public static string? Find(string program) => program.Contains('/', StringComparison.Ordinal)
        ? (File.Exists(program) ? program : null)
        : SearchPath.Select(d => $"{d}/{program}").FirstOrDefault(File.Exists);

    /// <param name="command">The program, by name or absolute path, and its arguments.</param>
    /// <param name="outputLimit">Bytes of standard output that are kept; more makes it a failure.</param>
    public ProcessResult Run(IReadOnlyList<string> command, int outputLimit = 8 * 1024 * 1024) => Run(command, new Output(outputLimit, null));

    /// <param name="line">Is handed every line of standard output, which is not kept.</param>
    /// <inheritdoc cref="Run(IReadOnlyList{string}, int)"/>
    public ProcessResult Run(IReadOnlyList<string> command, Action<string> line) => Run(command, new Output(int.MaxValue, line));

    private ProcessResult Run(IReadOnlyList<string> command, Output kept)
    {
        var text = string.Join(' ', command.Select(a => a.Length == 0 || a.Contains(' ', StringComparison.Ordinal) ? $"'{a}'" : a));
        cancellation.ThrowIfCancellationRequested();
        if (Find(command[0]) is not { } path)
        {
            var why = command[0].Contains('/', StringComparison.Ordinal) ? "is not there" : $"is not installed (looked in {string.Join(", ", SearchPath)})";
            return new ProcessResult(text, -1, "", $"{command[0]} {why}") { IsMissing = true };
        }

        Span<int> output = stackalloc int[2];
        Span<int> error = stackalloc int[2];
        if (Libc.Pipe(output, Libc.CloseOnExec) != 0)
        {
            return new ProcessResult(text, -1, "", "could not be started: " + Libc.LastError());
        }

        if (Libc.Pipe(error, Libc.CloseOnExec) != 0)
        {
            var why = Libc.LastError();
            CloseBoth(output);
            return new ProcessResult(text, -1, "", "could not be started: " + why);
        }

        var started = Start(path, command, output[1], error[1], out var process);
        _ = Libc.Close(output[1]);
        _ = Libc.Close(error[1]);
        try
        {
            return started == 0
                ? Attend(text, process, output[0], error[0], kept)
                : new ProcessResult(text, -1, "", $"{path} could not be started: {Libc.Error(started)}");
        }
        finally
        {
            _ = Libc.Close(output[0]);
            _ = Libc.Close(error[0]);
        }
    }

    private static void CloseBoth(Span<int> ends)
    {
        _ = Libc.Close(ends[0]);
        _ = Libc.Close(ends[1]);
    }

    private static unsafe int Start(string path, IReadOnlyList<string> command, int output, int error, out int process)
    {
        // glibc: 80 and 336 bytes, sigset_t 128; musl needs less.
        byte* actions = stackalloc byte[512];
        byte* attributes = stackalloc byte[512];
        byte* all = stackalloc byte[128];
        byte* none = stackalloc byte[128];
        new Span<byte>(all, 128).Fill(0xFF);
        new Span<byte>(none, 128).Clear();

        _ = Libc.InitFileActions(actions);
        _ = Libc.InitSpawnAttributes(attributes);
        var arguments = new Native(command);
        var environment = new Native(Environment);
        try
        {
            _ = Libc.AddOpen(actions, 0, "/dev/null", Libc.ReadOnly, 0);
            _ = Libc.AddDuplicate(actions, output, 1);
            _ = Libc.AddDuplicate(actions, error, 2);
            // POSIX_SPAWN_SETPGROUP, SETSIGDEF, SETSIGMASK: .NET ignores SIGPIPE, which a child must not inherit.
            _ = Libc.SetSpawnFlags(attributes, 2 | 4 | 8);
            _ = Libc.SetSpawnGroup(attributes, 0);
            _ = Libc.SetSpawnDefaultSignals(attributes, all);
            _ = Libc.SetSpawnSignalMask(attributes, none);
            fixed (nint* argv = arguments.Pointers, envp = environment.Pointers)
            {
                return Libc.Spawn(out process, path, actions, attributes, argv, envp);
            }
        }
        finally
        {
            arguments.Free();
            environment.Free();
            _ = Libc.DestroyFileActions(actions);
            _ = Libc.DestroySpawnAttributes(attributes);
        }
    }

    private ProcessResult Attend(string command, int process, int output, int error, Output kept)
    {
        var said = new Ends(ErrorEndBytes);
        var openOutput = true;
        var openError = true;
        var pause = 1;
        var buffer = new byte[32 * 1024];
        Span<Libc.PollDescriptor> polled = stackalloc Libc.PollDescriptor[2];
        while (true)
        {
            // A negative descriptor is passed over by poll. Once both ends are closed the program is as good as gone.
            polled[0] = new Libc.PollDescriptor { Descriptor = openOutput ? output : -1, Events = 1 };
            polled[1] = new Libc.PollDescriptor { Descriptor = openError ? error : -1, Events = 1 };
            var wait = openOutput || openError ? 50 : pause = Math.Min(pause * 2, 50);
            if (Libc.Poll(polled, 2, wait) > 0)
            {
                if (polled[0].Answer != 0)
                {
                    var read = (int)Libc.Read(output, buffer, buffer.Length);
                    openOutput = read > 0;
                    kept.Add(buffer.AsSpan(0, Math.Max(read, 0)));
                }

                if (polled[1].Answer != 0)
                {
                    var read = (int)Libc.Read(error, buffer, buffer.Length);
                    openError = read > 0;
                    said.Add(buffer.AsSpan(0, Math.Max(read, 0)));
                }

                if (!cancellation.IsCancellationRequested)
                {
                    continue;
                }
            }

            // Also when an end is still open: what a program left behind may hold it for ever.
            var reaped = Libc.WaitProcess(process, out var status, NoHang);
            if (reaped == process)
            {
                return Result(command, status, kept.Text(), said.ToString(), kept.Truncated);
            }

            if (reaped < 0 && Marshal.GetLastPInvokeError() == Libc.NoChild)
            {
                return new ProcessResult(command, -1, "", "its exit code is lost: somebody made this process ignore its children");
            }

            if (cancellation.IsCancellationRequested)
            {
                Stop(process);
                var why = said.ToString();
                throw new OperationCanceledException(
                    $"{command}: stopped, because it was still running when the time was up{(why.Length > 0 ? $"; it had said: {why}" : "")}", cancellation);
            }
        }
    }

    /// <summary>Asks the group to end, gives it a second, then ends it. The leader is reaped last, so that its number cannot be another's meanwhile.</summary>
    private static void Stop(int process)
    {
        _ = Libc.Signal(-process, Libc.Terminate);
        var clock = Stopwatch.StartNew();
        while (clock.ElapsedMilliseconds < 1000 && !HasEnded(process))
        {
            Thread.Sleep(5);
        }

        _ = Libc.Signal(-process, Libc.Kill);
        clock.Restart();
        // A program in uninterruptible sleep outlives even SIGKILL for a while: do not wait for ever.
        while (Libc.WaitProcess(process, out _, NoHang) == 0 && clock.ElapsedMilliseconds < 5000)
        {
            Thread.Sleep(5);
        }
    }

    /// <summary>Whether the leader is a zombie: state in /proc/PID/stat, after the name, which may itself hold parentheses.</summary>
    private static bool HasEnded(int process)
    {
        var stat = Files.Text(string.Create(CultureInfo.InvariantCulture, $"/proc/{process}/stat"));
        return stat is null || stat.AsSpan(stat.LastIndexOf(')') + 1).TrimStart().StartsWith("Z");
    }

    private static ProcessResult Result(string command, int status, string output, string error, string? truncated)
    {
        var signal = status & 0x7F;
        if (signal != 0)
        {
            return new ProcessResult(command, 128 + signal, output, Because($"ended by signal {signal}", error, output)) { ErrorOutput = error };
        }

        var code = (status >> 8) & 0xFF;
        var failure = code != 0 ? Because($"exit code {code}", error, output) : truncated;
        return new ProcessResult(command, code, output, failure) { ErrorOutput = error };
    }

    private static string Because(string what, string error, string output)
    {
        var said = error.Length > 0 ? error : output.Trim();
        // mkfs.xfs gives its whole usage after the reason.
        var usage = said.IndexOf("\nUsage:", StringComparison.OrdinalIgnoreCase);
        said = usage > 0 ? said[..usage] : said;
        return said.Length == 0 ? what : $"{what}: {(said.Length > 1200 ? $"{said[..600]} … {said[^600..]}" : said)}";
    }

    /// <summary>Standard output: kept up to a limit, or handed on line by line.</summary>
    private sealed class Output(int limit, Action<string>? line)
    {
        private readonly ArrayBufferWriter<byte> _kept = new();
        private bool _truncated;

        public string? Truncated => _truncated ? $"said more than {limit} bytes" : null;

        public void Add(ReadOnlySpan<byte> more)
        {
            if (line is null)
            {
                var room = Math.Min(more.Length, limit - _kept.WrittenCount);
                _kept.Write(more[..room]);
                _truncated |= room < more.Length;
                return;
            }

            for (var end = more.IndexOf((byte)'\n'); end >= 0; end = more.IndexOf((byte)'\n'))
            {
                _kept.Write(more[..end]);
                line(Take());
                more = more[(end + 1)..];
            }

            _kept.Write(more);
        }

        /// <summary>To be called once, at the end.</summary>
        public string Text()
        {
            if (line is null)
            {
                return Take();
            }

            if (_kept.WrittenCount > 0)
            {
                line(Take());
            }

            return "";
        }

        private string Take()
        {
            var text = Encoding.UTF8.GetString(_kept.WrittenSpan);
            _kept.ResetWrittenCount();
            return text;
        }
    }

    /// <summary>The two ends of a text of any length.</summary>
    private sealed class Ends(int bytes)
    {
        private readonly List<byte> _first = [];
        private readonly List<byte> _last = [];
        private bool _cut;

        public void Add(ReadOnlySpan<byte> more)
        {
            var first = Math.Min(more.Length, bytes - _first.Count);
            _first.AddRange(more[..first]);
            _last.AddRange(more[first..]);
            if (_last.Count > 16 * bytes)
            {
                Cut();
            }
        }

        public override string ToString()
        {
            Cut();
            return (Text(_first) + (_cut ? "\n…\n" : "") + Text(_last)).Trim();
        }

        private void Cut()
        {
            if (_last.Count > bytes)
            {
                _last.RemoveRange(0, _last.Count - bytes);
                _cut = true;
            }
        }

        private static string Text(List<byte> part) => Encoding.UTF8.GetString(CollectionsMarshal.AsSpan(part));
    }

    /// <summary>A NULL-terminated array of C strings.</summary>
    private readonly struct Native
    {
        public Native(IReadOnlyList<string> strings)
        {
            Pointers = new nint[strings.Count + 1];
            for (var i = 0; i < strings.Count; i++)
            {
                Pointers[i] = Marshal.StringToCoTaskMemUTF8(strings[i]);
            }
        }

        public nint[] Pointers { get; }

        public void Free()
        {
            foreach (var pointer in Pointers)
            {
                Marshal.FreeCoTaskMem(pointer);
            }
        }
    }
}

/// <param name="Command">As one would type it.</param>
/// <param name="ExitCode">128 + signal when a signal ended it; -1 when it never ran.</param>
/// <param name="Failure">Null when it ran and ended with 0; otherwise the exit code and what it said, in words.</param>
internal sealed record ProcessResult(string Command, int ExitCode, string Output, string? Failure)
{
    /// <summary>Standard error, trimmed; of more than 4 KiB the first two and the last two.</summary>
    public string ErrorOutput { get; init; } = "";

    /// <summary>There is no such program.</summary>
    public bool IsMissing { get; init; }
}
