using System.Globalization;
using System.Text;

namespace NodeAgent.Machine;

/// <summary>One run at a time: flock(2), which the kernel lets go of however a run ends.</summary>
internal sealed class RunLock : IDisposable
{
    public const string DefaultPath = "/run/nodeagent/lock";

    private readonly int _file;

    private RunLock(int file)
    {
        _file = file;
    }

    /// <param name="command">What this run is, for others to be told who holds it: "apply".</param>
    /// <param name="waiting">Told once, in words, who is waited for.</param>
    /// <exception cref="OperationCanceledException">Another run still held it when <paramref name="cancellation"/> fired.</exception>
    public static RunLock Acquire(string path, string command, Action<string> waiting, CancellationToken cancellation)
    {
        const string what = "take the run lock";
        Files.MakeDirectory(Path.GetDirectoryName(path)!, Files.OpenDirectory);
        var file = Libc.Open(path, Libc.ReadWrite | Libc.Create | Libc.NoFollow | Libc.CloseOnExec, (uint)Files.OwnerOnly);
        if (file < 0)
        {
            throw new MachineException(what, $"{path}: {Libc.LastError()}");
        }

        // flock(2) is content with a descriptor that can only read: whoever may read the file could hold up every run. One of an older version may be there.
        _ = Libc.ChangeMode(file, (uint)Files.OwnerOnly);
        var told = false;
        while (Libc.Lock(file, Libc.LockExclusive | Libc.LockNonBlocking) != 0)
        {
            var holder = $"another run holds {path}: {Holder(path)}";
            if (!told)
            {
                told = true;
                waiting(holder);
            }

            if (cancellation.WaitHandle.WaitOne(50))
            {
                _ = Libc.Close(file);
                throw new OperationCanceledException($"{what}: {holder}", cancellation);
            }
        }

        var line = Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessId} {command}\n"));
        _ = Libc.Truncate(file, 0);
        _ = Libc.Write(file, line, line.Length);
        return new RunLock(file);
    }

    public void Dispose()
    {
        _ = Libc.Truncate(_file, 0);
        _ = Libc.Close(_file);
    }

    private static string Holder(string path)
    {
        var parts = (Files.Text(path) ?? "").Trim().Split(' ', 2);
        return parts.Length == 2 ? $"process {parts[0]} (nodeagent {parts[1]})" : "a process that has not said which";
    }
}
