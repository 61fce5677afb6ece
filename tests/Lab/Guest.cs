using System.Diagnostics;
using System.Text;

namespace NodeAgent.Lab;

/// <summary>A machine under test, in whichever ring: commands, files, metadata.</summary>
internal abstract class Guest : IAsyncDisposable
{
    protected Guest(Laboratory lab)
    {
        Lab = lab;
        Imds = new Imds(this);
    }

    public Imds Imds { get; }

    /// <summary>The machine's journal over all its boots, as the host got it; what a power cut interrupted is in it.</summary>
    public abstract string JournalFile { get; }

    protected Laboratory Lab { get; }

    /// <summary>Runs a bash command line in the guest, whatever its exit code. Killed after <paramref name="timeout"/> (60 s unless told).</summary>
    /// <remarks>Whoever starts something that stays must redirect its output, or the command does not end.</remarks>
    /// <exception cref="LabException">No end in time.</exception>
    public abstract Task<CommandResult> RunAsync(string command, TimeSpan? timeout = null, byte[]? input = null);

    /// <summary>Shuts down in order and boots again from the same disks. Returns when commands run: units may still be starting.</summary>
    public abstract Task RebootAsync();

    /// <summary>Like <see cref="RunAsync"/>, and the command must exit 0. Returns its standard output, trimmed.</summary>
    public async Task<string> CheckAsync(string command, TimeSpan? timeout = null) => (await RunAsync(command, timeout)).EnsureSuccess().Output.Trim();

    public virtual async Task PushAsync(string file, string guestPath) => await WriteAsync(guestPath, await File.ReadAllBytesAsync(file));

    public Task WriteAsync(string guestPath, string text, string mode = "644") => WriteAsync(guestPath, Encoding.UTF8.GetBytes(text), mode);

    /// <summary>Written beside and renamed, and on the disk when this returns: a power cut later takes nothing of it.</summary>
    public async Task WriteAsync(string guestPath, byte[] content, string mode = "644")
    {
        var command = $"set -e; f='{guestPath}'; mkdir -p \"$(dirname \"$f\")\"; "
            + $"install -m {mode} /dev/stdin \"$f.pushed\"; sync \"$f.pushed\"; mv \"$f.pushed\" \"$f\"";
        (await RunAsync(command, TimeSpan.FromMinutes(5), content)).EnsureSuccess();
    }

    /// <summary>The state of the metadata fake, from now on.</summary>
    public virtual Task SaveMetadataAsync(string state) => WriteAsync("/var/lib/lab/imds.json", state, "600");

    public async Task<byte[]> PullAsync(string guestPath) => Convert.FromBase64String(await CheckAsync($"base64 -w0 '{guestPath}'", TimeSpan.FromMinutes(5)));

    /// <summary>The files of <c>lab.CertificateAuthority</c>, with its key: what only a laboratory's machine may hold.</summary>
    public async Task PushCertificateAuthorityAsync(string guestFolder)
    {
        await WriteAsync($"{guestFolder}/ca.crt", await File.ReadAllBytesAsync(Lab.CertificateAuthority.CertificateFile));
        await WriteAsync($"{guestFolder}/ca.key", await File.ReadAllBytesAsync(Lab.CertificateAuthority.KeyFile), "600");
    }

    /// <summary>Installs the newest package that `make package` left.</summary>
    public async Task InstallAgentAsync()
    {
        var folder = Path.Combine(Caches.Repository, "artifacts", "packages");
        var package = Directory.Exists(folder)
            ? Directory.GetFiles(folder, "nodeagent_*.deb").OrderBy(File.GetLastWriteTimeUtc).LastOrDefault()
            : null;
        if (package is null)
        {
            throw new LabException($"no nodeagent_*.deb in {folder}: build the package first");
        }

        Lab.Say($"install {Path.GetFileName(package)}");
        await PushAsync(package, "/var/lib/lab/nodeagent.deb");
        await CheckAsync("dpkg --install /var/lib/lab/nodeagent.deb && rm /var/lib/lab/nodeagent.deb && sync", TimeSpan.FromMinutes(3));
    }

    /// <summary>Waits until the manager has nothing more to start. Returns "running", or "degraded" when units failed.</summary>
    public async Task<string> WaitForBootAsync(TimeSpan? timeout = null) =>
        (await RunAsync("systemctl is-system-running --wait", timeout ?? TimeSpan.FromMinutes(5))).Output.Trim();

    /// <summary>Asks until the command exits 0.</summary>
    public Task<string> WaitForAsync(string command, TimeSpan timeout) => Lab.WaitForAsync(command, timeout, async () =>
    {
        var result = await RunAsync(command);
        return result.ExitCode == 0 ? (true, result.Output.Trim()) : (false, $"exit code {result.ExitCode}\n{result.Output}{result.Error}".Trim());
    });

    /// <summary>Waits until the journal holds a text, from <paramref name="offset"/> bytes on.</summary>
    /// <remarks>Needs no command in the guest: quick enough to pull the plug by.</remarks>
    public async Task WaitForJournalAsync(string text, TimeSpan timeout, long offset = 0)
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            if (File.Exists(JournalFile))
            {
                await using var file = new FileStream(JournalFile, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
                file.Seek(Math.Min(offset, file.Length), SeekOrigin.Begin);
                using var reader = new StreamReader(file);
                if ((await reader.ReadToEndAsync()).Contains(text, StringComparison.Ordinal))
                {
                    return;
                }
            }

            if (clock.Elapsed > timeout)
            {
                throw new LabException($"not in the journal after {timeout.TotalSeconds:0} s: \"{text}\" ({JournalFile})");
            }

            await Task.Delay(20);
        }
    }

    public long JournalLength => File.Exists(JournalFile) ? new FileInfo(JournalFile).Length : 0;

    public abstract ValueTask DisposeAsync();
}
