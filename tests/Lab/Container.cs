using System.Diagnostics;
using System.Globalization;

namespace NodeAgent.Lab;

/// <summary>The same root under systemd-nspawn: real systemd and D-Bus at native speed, no devices, and stand-ins for kubelet and containerd.</summary>
internal sealed class Container : Guest
{
    private static readonly string[] Layers = ["upper", "work", "merged"];

    private readonly string folder;
    private readonly string root;
    private Child? nspawn;
    private Child? journal;
    private string leader = "";

    private Container(Laboratory lab, string root)
        : base(lab)
    {
        folder = lab.Folder;
        this.root = root;
    }

    public override string JournalFile => Path.Combine(folder, "container.log");

    public static async Task<Container> StartAsync(Laboratory lab)
    {
        var container = new Container(lab, Path.Combine(await Caches.GuestAsync(), "root"));
        try
        {
            foreach (var layer in Layers)
            {
                Directory.CreateDirectory(Path.Combine(container.folder, layer));
            }

            (await Child.RunAsync("cp", ["-r", $"{Caches.Sources}/container/.", $"{container.folder}/upper/"], TimeSpan.FromSeconds(10))).EnsureSuccess();
            await container.PowerOnAsync("started");
            return container;
        }
        catch
        {
            await container.DisposeAsync();
            throw;
        }
    }

    public override async Task<CommandResult> RunAsync(string command, TimeSpan? timeout = null, byte[]? input = null)
    {
        var limit = timeout ?? TimeSpan.FromSeconds(30);
        var seconds = limit.TotalSeconds.ToString("0.###", CultureInfo.InvariantCulture);
        var result = await Child.RunAsync(
            "nsenter", [.. Enter, "timeout", "--signal=KILL", seconds, "bash", "-c", command], limit + TimeSpan.FromSeconds(10), input);
        return result.ExitCode is 124 or 137
            ? throw new LabException($"no end after {seconds} s in the container: {command}\n{result.Output}{result.Error}".TrimEnd())
            : result with { Command = command };
    }

    public override async Task RebootAsync()
    {
        await RunAsync("systemctl poweroff --no-block");
        await nspawn!.WaitForExitAsync(TimeSpan.FromMinutes(2), "shutting the container down");
        await DisconnectAsync();
        await PowerOnAsync("rebooted");
    }

    public override async ValueTask DisposeAsync()
    {
        await DisconnectAsync();
        foreach (var layer in Layers.Where(layer => Directory.Exists(Path.Combine(folder, layer))))
        {
            Directory.Delete(Path.Combine(folder, layer), recursive: true);
        }
    }

    /// <summary>Somebody who answers at http://10.0.2.101 until disposed of, or until the container reboots.</summary>
    public Task<Listener> ListenAsync(Func<Stream, Task> serve) => ListenAsync("10.0.2.101", 80, serve);

    /// <summary>The API server where virtual machines have it, too; until disposed of, or until the container reboots.</summary>
    public async Task<Listener> ConnectApiServerAsync()
    {
        await Lab.ApiServer.StartedAsync();
        return await ListenAsync("10.0.2.100", 6443, async stream =>
        {
            using var client = new System.Net.Sockets.TcpClient();
            await client.ConnectAsync(System.Net.IPAddress.Loopback, Lab.ApiServer.Port);
            var server = client.GetStream();
            await Task.WhenAny(stream.CopyToAsync(server), server.CopyToAsync(stream));
        });
    }

    private async Task<Listener> ListenAsync(string address, int port, Func<Stream, Task> serve)
    {
        await CheckAsync($"ip address replace {address}/32 dev lo && ip link set lo up");
        return Listener.Start(leader, address, port, serve);
    }

    /// <summary>AWS at http://10.0.2.101, as virtual machines have it.</summary>
    public Task<Listener> ConnectAwsAsync() => ListenAsync(async stream =>
    {
        using var client = new System.Net.Sockets.TcpClient();
        await client.ConnectAsync(System.Net.IPAddress.Loopback, Lab.Aws.Port);
        var aws = client.GetStream();
        await Task.WhenAny(stream.CopyToAsync(aws), aws.CopyToAsync(stream));
    });

    /// <summary>A port of its loopback is one that the host's loopback has, too, across reboots.</summary>
    public Listener Expose(int port, int hostPort) => Listener.Forward(hostPort, () => leader, port);

    /// <summary>Arguments of nsenter, before those of what it shall run in here.</summary>
    public string[] Enter => ["-t", leader, "-a", "env", "-i", "HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8"];

    /// <summary>Its network, which has loopback and nothing else; another one after a reboot.</summary>
    public string NetworkNamespace => $"/proc/{leader}/ns/net";

    private async Task DisconnectAsync()
    {
        foreach (var child in new[] { nspawn, journal }.OfType<Child>())
        {
            await child.DisposeAsync();
        }
    }

    private async Task PowerOnAsync(string what)
    {
        var clock = Stopwatch.StartNew();
        // In a mount namespace of its own: the overlay goes with the container, even when the runner is killed.
        nspawn = await Child.StartAsync(
            Path.Combine(folder, "console.log"),
            "unshare",
            [
                "--mount", "sh", "-c",
                "mount -t overlay overlay -o \"lowerdir=$1,upperdir=$0/upper,workdir=$0/work\" \"$0/merged\" && "
                + "exec systemd-nspawn --quiet --machine=lab-$$ --directory=\"$0/merged\" --register=no --keep-unit --private-network --console=pipe --boot",
                folder, root,
            ],
            ("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1"));
        leader = await Lab.WaitForAsync("the container's systemd", TimeSpan.FromSeconds(30), async () =>
        {
            if (nspawn.HasExited)
            {
                throw new LabException($"systemd-nspawn ended; see {folder}/console.log");
            }

            // Of its children, the one that is process 1 of its own namespace; a helper lives beside it for a moment.
            foreach (var pid in (await ReadProcAsync($"{nspawn.Id}/task/{nspawn.Id}/children")).Split(' ', StringSplitOptions.RemoveEmptyEntries))
            {
                if ((await ReadProcAsync($"{pid}/status")).Contains($"NSpid:\t{pid}\t1\n", StringComparison.Ordinal))
                {
                    return (true, pid);
                }
            }

            return (false, "no process 1");
        });
        await WaitForAsync("test -S /run/dbus/system_bus_socket && test -S /run/systemd/private", TimeSpan.FromSeconds(30));
        // Not in the container's process namespace: at shutdown systemd would stop it, nsenter would stop itself after it, and both would be waited for
        // (nsenter.c, WUNTRACED).
        journal = await Child.StartAsync(
            JournalFile, "nsenter", ["-t", leader, "--mount", "journalctl", "--boot", "--follow", "--lines=all", "--output=short-precise"]);
        Lab.Say($"{what} in {clock.Elapsed.TotalSeconds:0.0} s");
    }

    private static async Task<string> ReadProcAsync(string file)
    {
        try
        {
            return await File.ReadAllTextAsync($"/proc/{file}");
        }
        catch (IOException)
        {
            return ""; // gone, or not there yet
        }
    }
}
