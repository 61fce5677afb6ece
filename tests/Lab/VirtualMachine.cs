using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace NodeAgent.Lab;

/// <param name="Serial">As udev names it: AWS… for instance storage, vol… for EBS.</param>
/// <param name="Size">As truncate(1) takes it: 1G.</param>
internal sealed record Disk(string Kind, string Serial, string Size)
{
    public string Link => $"/dev/disk/by-id/nvme-{(Kind == "ebs" ? "Amazon_Elastic_Block_Store" : "Amazon_EC2_NVMe_Instance_Storage")}_{Serial}";

    public static Disk InstanceStore(string serial, string size = "2G") => new("ephemeral", serial, size);

    /// <summary>Filled with recognisable bytes: <see cref="VirtualMachine.ChecksumAsync"/> tells whether one of them changed.</summary>
    public static Disk Ebs(string serial, string size = "32M") => new("ebs", serial, size);
}

/// <summary>A place in a virtual network for one instance.</summary>
/// <param name="Name">Of its folder among the scenario's, too.</param>
/// <param name="Memory">MiB.</param>
/// <param name="Volume">An EBS volume that is attached before it boots, and outlives it.</param>
/// <param name="Processors">Two guests of two on a machine of two: a spinlock's holder in one waits for a processor while the other spins.</param>
internal sealed record Seat(VirtualNetwork Network, string Name, string Address, int Memory = 2048, Volume? Volume = null, int Processors = 2)
{
    private string Last => Address[(Address.LastIndexOf('.') + 1)..];

    public string Tap => $"lab{Last}";

    public string Mac => $"02:5d:00:00:10:{int.Parse(Last, CultureInfo.InvariantCulture):x2}";
}

/// <summary>
/// An EBS volume that moves from guest to guest: a file of its own behind QEMU's NVMe. Its serial is EBS's; its model QEMU does not let anybody choose.
/// </summary>
/// <param name="Id">As in vol-0a1b2c3d4e5f60718.</param>
internal sealed record Volume(string Id, string File) : IDisposable
{
    public string Serial => Id.Replace("-", "", StringComparison.Ordinal);

    public static async Task<Volume> CreateAsync(Laboratory lab, string id, string size)
    {
        var volume = new Volume(id, Path.Combine(lab.Folder, id + ".qcow2"));
        (await Child.RunAsync("qemu-img", ["create", "-q", "-f", "qcow2", volume.File, size], TimeSpan.FromSeconds(30))).EnsureSuccess();
        return volume;
    }

    public void Dispose() => System.IO.File.Delete(File);
}

internal sealed record GuestOptions
{
    public static readonly IReadOnlyList<Disk> TwoInstanceStoreDisksAndOneOfEbs =
        [Disk.InstanceStore("AWS1A2B3C4D5E6F70001"), Disk.InstanceStore("AWS1A2B3C4D5E6F70002"), Disk.Ebs("vol0a1b2c3d4e5f60718")];

    public IReadOnlyList<Disk> Disks { get; init; } = TwoInstanceStoreDisksAndOneOfEbs;
}

/// <summary>The virtual machine of QEMU: restored from a snapshot taken after boot, then cut off, stopped and booted as a scenario wants.</summary>
internal sealed class VirtualMachine : Guest
{
    // Under emulation on a loaded machine a boot takes four times what it takes on an idle one.
    private static readonly TimeSpan BootTimeout = TimeSpan.FromMinutes(4);

    private static readonly string[] Environment = ["HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8"];

    private readonly string folder;
    private readonly string guest;
    private readonly string sockets = Directory.CreateTempSubdirectory("lab").FullName; // short: a Unix socket's path holds 107 bytes
    private Child? qemu;
    private JsonLines? monitor;
    private JsonLines? agent;
    private int pushed;
    private Seat? seat;
    private string metadata = "";

    private VirtualMachine(Laboratory lab, string folder, string guest)
        : base(lab)
    {
        this.folder = folder;
        this.guest = guest;
    }

    public override string JournalFile => Path.Combine(folder, "journal.log");

    /// <summary>
    /// Another instance of an image that <see cref="BakeAsync"/> left. Off: what its metadata says is to be settled before it boots for the first time.
    /// </summary>
    public static async Task<VirtualMachine> CreateAsync(Laboratory lab, string image, Seat seat)
    {
        var folder = Directory.CreateDirectory(Path.Combine(lab.Folder, seat.Name)).FullName;
        var machine = new VirtualMachine(lab, folder, await Caches.GuestAsync()) { seat = seat };
        await OverlayAsync(image, "qcow2", machine.DiskFile("vda"));
        await OverlayAsync(Path.Combine(machine.guest, "store.ext4"), "raw", machine.DiskFile("vdb"));
        return machine;
    }

    public static async Task<VirtualMachine> StartAsync(Laboratory lab, GuestOptions options)
    {
        var snapshot = await SnapshotAsync(lab);
        var machine = new VirtualMachine(lab, lab.Folder, await Caches.GuestAsync());
        try
        {
            await OverlayAsync(Path.Combine(snapshot, "vda.qcow2"), "qcow2", machine.DiskFile("vda"));
            await OverlayAsync(Path.Combine(snapshot, "vdb.qcow2"), "qcow2", machine.DiskFile("vdb"));

            await machine.PowerOnAsync($"restored with {options.Disks.Count} disks", restore: Path.Combine(snapshot, "memory"));
            if (options.Disks.Count > 0)
            {
                await machine.WriteAsync("/run/lab/store/disks.conf", string.Concat(options.Disks.Select(disk => $"{disk.Kind} {disk.Serial} {disk.Size}\n")));
                await machine.CheckAsync("systemctl restart lab-disks", TimeSpan.FromMinutes(2));
            }

            return machine;
        }
        catch
        {
            await machine.DisposeAsync();
            throw;
        }
    }

    public override async Task<CommandResult> RunAsync(string command, TimeSpan? timeout = null, byte[]? input = null)
    {
        var limit = timeout ?? TimeSpan.FromSeconds(60);
        // The guest ends the command; the host only waits a little longer, in case that the guest itself hangs.
        using var deadline = new CancellationTokenSource(limit + TimeSpan.FromSeconds(20));
        try
        {
            var start = await agent!.CallAsync(
                "guest-exec",
                new Dictionary<string, object>
                {
                    ["path"] = "/usr/bin/timeout",
                    ["arg"] = new[] { "--signal=KILL", limit.TotalSeconds.ToString("0.###", CultureInfo.InvariantCulture), "bash", "-c", command },
                    ["env"] = Environment,
                    ["input-data"] = Convert.ToBase64String(input ?? []),
                    ["capture-output"] = true,
                },
                deadline.Token);
            var pid = start.GetProperty("pid").GetInt32();
            for (var pause = 10; ; pause = Math.Min(pause * 2, 200))
            {
                var status = await agent.CallAsync("guest-exec-status", new { pid }, deadline.Token);
                if (!status.GetProperty("exited").GetBoolean())
                {
                    await Task.Delay(pause, deadline.Token);
                    continue;
                }

                string Text(string name) => status.TryGetProperty(name, out var data) ? Encoding.UTF8.GetString(data.GetBytesFromBase64()) : "";
                var killed = status.TryGetProperty("signal", out _);
                var result = new CommandResult(command, killed ? 137 : status.GetProperty("exitcode").GetInt32(), Text("out-data"), Text("err-data"));
                return result.ExitCode is 124 or 137
                    ? throw new LabException($"no end after {limit.TotalSeconds:0} s in the guest: {command}\n{result.Output}{result.Error}".TrimEnd())
                    : result;
            }
        }
        catch (OperationCanceledException e)
        {
            throw new LabException($"the guest did not answer for {limit.TotalSeconds + 20:0} s: {command}", e);
        }
    }

    /// <summary>Through the network of the guest, which carries ten times what the guest agent does.</summary>
    public override async Task PushAsync(string file, string guestPath)
    {
        var name = $"push-{++pushed}";
        var copy = Path.Combine(sockets, name);
        File.CreateSymbolicLink(copy, Path.GetFullPath(file));
        await CheckAsync(
            $"set -e; f='{guestPath}'; mkdir -p \"$(dirname \"$f\")\"; exec 3<>/dev/tcp/10.0.2.102/1; echo get {name} >&3; cat <&3 >\"$f.pushed\"; "
            + $"test \"$(stat -c %s \"$f.pushed\")\" = {new FileInfo(file).Length}; sync \"$f.pushed\"; mv \"$f.pushed\" \"$f\"",
            TimeSpan.FromMinutes(5));
    }

    public override Task SaveMetadataAsync(string state)
    {
        metadata = state;
        return qemu is null ? Task.CompletedTask : base.SaveMetadataAsync(state);
    }

    /// <summary>The first boot of one that <see cref="CreateAsync"/> made.</summary>
    public Task BootAsync() => PowerOnAsync("booted");

    /// <summary>It stands still, as on a host that has no processor for it; its clock does not.</summary>
    public Task SuspendAsync() => SignalAsync("STOP");

    public Task ResumeAsync() => SignalAsync("CONT");

    /// <summary>Terminated: nothing of it is left, and its network does not know it any more.</summary>
    public async Task TerminateAsync()
    {
        await DisconnectAsync();
        File.Delete(DiskFile("vda"));
        File.Delete(DiskFile("vdb"));
    }

    private async Task SignalAsync(string signal) =>
        (await Child.RunAsync("kill", ["-s", signal, $"{qemu!.Id}"], TimeSpan.FromSeconds(10))).EnsureSuccess();

    /// <summary>Shuts it down and leaves its disk as a machine image. Returns its file.</summary>
    public async Task<string> BakeAsync(string name)
    {
        await PowerOffAsync(inOrder: true);
        var image = Path.Combine(Lab.Folder, name + ".qcow2");
        File.Move(DiskFile("vda"), image);
        return image;
    }

    /// <summary>The plug is pulled: what the guest had not yet flushed to its disks is lost. Then it boots again.</summary>
    public async Task PowerCutAsync()
    {
        await PowerOffAsync(inOrder: false);
        await PowerOnAsync("booted after a power cut");
    }

    public override Task RebootAsync() => RebootAsync(TimeSpan.Zero);

    /// <param name="clock">By how much its clock is ahead of this machine's; one that is behind is negative.</param>
    public async Task RebootAsync(TimeSpan clock)
    {
        await PowerOffAsync(inOrder: true);
        await PowerOnAsync("rebooted", clock: clock);
    }

    /// <summary>EC2's stop and start: the same instance and volumes, blank instance-store disks, old metadata tokens void.</summary>
    public async Task StopStartAsync()
    {
        Imds.Restarted();
        await Imds.SaveAsync();
        await PowerOffAsync(inOrder: true);
        await PowerOnAsync("started with blank instance-store disks", kernelArguments: "lab.blank");
    }

    /// <summary>SHA-256 of what a disk holds, read past the guest's caches.</summary>
    public async Task<string> ChecksumAsync(Disk disk) =>
        (await CheckAsync($"sync; blockdev --flushbufs {disk.Link}; sha256sum {disk.Link}", TimeSpan.FromMinutes(2))).Split(' ')[0];

    /// <summary>What <see cref="ChecksumAsync"/> gives for an EBS-like disk that nobody wrote to.</summary>
    public static string PristineChecksum(Disk disk)
    {
        var line = Encoding.ASCII.GetBytes(disk.Serial + "\n");
        var unit = disk.Size[^1] switch { 'G' => 1L << 30, 'M' => 1L << 20, var other => throw new ArgumentException($"size in M or G, not '{other}'") };
        var content = new byte[long.Parse(disk.Size[..^1], CultureInfo.InvariantCulture) * unit];
        for (var i = 0; i < content.Length; i++)
        {
            content[i] = line[i % line.Length];
        }

        return Convert.ToHexStringLower(SHA256.HashData(content));
    }

    public override async ValueTask DisposeAsync()
    {
        await DisconnectAsync();
        File.Delete(DiskFile("vda"));
        File.Delete(DiskFile("vdb"));
        if (Directory.Exists(sockets))
        {
            Directory.Delete(sockets, recursive: true);
        }
    }

    /// <summary>A machine that booted once and has nothing left to start, frozen: disks and memory. Kept in the cache for all scenarios.</summary>
    public static async Task<string> SnapshotAsync(Laboratory lab)
    {
        var guest = await Caches.GuestAsync();
        var version = (await Child.RunAsync("qemu-system-x86_64", ["--version"], TimeSpan.FromSeconds(10))).EnsureSuccess().Output;
        var hardware = string.Join(' ', Hardware("", "", 0, 0, 0, null)) + KernelArguments;
        var key = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(guest + version + hardware)))[..12];
        var snapshot = Path.Combine(Caches.Root, $"snapshot-{key}");
        using var turn = await TurnAsync(Path.Combine(Caches.Root, "snapshot.lock"));
        if (Directory.Exists(snapshot))
        {
            Directory.SetLastWriteTimeUtc(snapshot, DateTime.UtcNow);
            return snapshot;
        }

        var unused = DateTime.UtcNow.AddDays(-2);
        foreach (var old in Directory.GetDirectories(Caches.Root, "snapshot-*").Where(old => Directory.GetLastWriteTimeUtc(old) < unused))
        {
            Directory.Delete(old, recursive: true);
        }

        var unfinished = snapshot + ".part";
        if (Directory.Exists(unfinished))
        {
            Directory.Delete(unfinished, recursive: true);
        }

        Directory.CreateDirectory(unfinished);
        var machine = new VirtualMachine(lab, unfinished, guest);
        await OverlayAsync(Path.Combine(guest, "root.ext4"), "raw", machine.DiskFile("vda"));
        await OverlayAsync(Path.Combine(guest, "store.ext4"), "raw", machine.DiskFile("vdb"));
        try
        {
            await machine.PowerOnAsync("booted for the snapshot");
            var state = await machine.WaitForBootAsync();
            if (state != "running")
            {
                var units = await machine.RunAsync("systemctl --failed --no-legend; systemctl list-jobs");
                throw new LabException($"the guest is {state} after its boot:\n{units.Output}");
            }

            // Warm: what every scenario runs first comes from memory.
            await machine.CheckAsync("kubelet --version; containerd --version; dpkg --version; lvm version; sync", TimeSpan.FromMinutes(2));
            await machine.FreezeAsync(Path.Combine(unfinished, "memory"));
        }
        finally
        {
            await machine.DisconnectAsync();
            Directory.Delete(machine.sockets, recursive: true);
        }

        Directory.Move(unfinished, snapshot);
        return snapshot;
    }

    private string DiskFile(string disk) => Path.Combine(folder, disk + ".qcow2");

    // Emulated, nothing speculates: what kernels do about that only costs.
    private const string KernelArguments = "console=ttyS0 quiet systemd.show_status=yes mitigations=off";

    /// <summary>The machine as EC2 would show it. The same for all, or a snapshot does not fit: only files, sockets and ports differ.</summary>
    private static string[] Hardware(string folder, string sockets, int apiServer, int aws, int issuer, Seat? seat) =>
    [
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "pc", "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max", "-smp", $"{seat?.Processors ?? 2}", "-m", $"{seat?.Memory ?? 2048}",
        // unsafe: a flush of the guest goes as far as this host's page cache, which outlives QEMU; what the guest did not flush is lost with it.
        "-drive", $"if=none,id=vda,format=qcow2,cache=unsafe,discard=unmap,file={folder}/vda.qcow2", "-device", "virtio-blk-pci,drive=vda",
        "-drive", $"if=none,id=vdb,format=qcow2,cache=unsafe,discard=unmap,file={folder}/vdb.qcow2", "-device", "virtio-blk-pci,drive=vdb",
        "-netdev", "user,id=net,restrict=on"
            + $",guestfwd=tcp:10.0.2.100:6443-cmd:nc -N 127.0.0.1 {apiServer}"
            + $",guestfwd=tcp:10.0.2.101:80-cmd:nc -N 127.0.0.1 {aws}"
            + $",guestfwd=tcp:10.0.2.104:10261-cmd:nc -N 127.0.0.1 {issuer}"
            + $",guestfwd=tcp:10.0.2.102:1-cmd:{Caches.Sources}/host/exchange {sockets}",
        // The guest calls them by where they sit: ens5 is the instance's, and where it has neighbours, ens6 leads to the laboratory.
        "-device", seat is null ? $"virtio-net-pci,netdev=net,addr=5,mac={Imds.Mac}" : "virtio-net-pci,netdev=net,addr=6,mac=02:5d:00:00:02:0e",
        .. seat is null
            ? (string[])[]
            : ["-netdev", $"tap,id=vpc,ifname={seat.Tap},script=no,downscript=no", "-device", $"virtio-net-pci,netdev=vpc,addr=5,mac={seat.Mac}"],
        .. seat?.Volume is { } volume
            ? (string[])["-drive", $"if=none,id=ebs,format=qcow2,cache=unsafe,file={volume.File}", "-device", $"nvme,drive=ebs,serial={volume.Serial}"]
            : [],
        "-device", "virtio-rng-pci",
        "-device", "virtio-serial-pci",
        "-chardev", $"socket,id=agent,server=on,wait=off,path={sockets}/agent", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        "-chardev", $"file,id=journal,append=on,path={folder}/journal.log", "-device", "virtserialport,chardev=journal,name=lab.journal",
        "-chardev", $"file,id=console,append=on,path={folder}/console.log", "-serial", "chardev:console",
        "-qmp", $"unix:{sockets}/monitor,server=on,wait=off",
        "-smbios", "type=0,vendor=Amazon EC2,version=1.0",
        "-smbios", "type=1,manufacturer=Amazon EC2,product=m5d.large,serial=ec2e1916-9099-7caf-fd21-012345abcdef,uuid=ec2e1916-9099-7caf-fd21-012345abcdef",
        "-smbios", "type=2,manufacturer=Amazon EC2,asset=i-0a5d1a26e00000001",
    ];

    private static async Task OverlayAsync(string backing, string format, string file) =>
        (await Child.RunAsync("qemu-img", ["create", "-q", "-f", "qcow2", "-b", backing, "-F", format, file], TimeSpan.FromSeconds(30))).EnsureSuccess();

    private static async Task<FileStream> TurnAsync(string file)
    {
        while (true)
        {
            try
            {
                return new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException)
            {
                await Task.Delay(500);
            }
        }
    }

    private async Task PowerOnAsync(string what, string? restore = null, string kernelArguments = "", TimeSpan clock = default, bool again = false)
    {
        var elapsed = Stopwatch.StartNew();
        string[] given = [];
        if (seat is not null)
        {
            // systemd.system-credentials(7): what a machine is told as it is made.
            foreach (var (name, value) in new[] { ("imds", metadata), ("address", seat.Address) })
            {
                var file = Path.Combine(sockets, name);
                await File.WriteAllTextAsync(file, $"io.systemd.credential.binary:lab.{name}={Convert.ToBase64String(Encoding.UTF8.GetBytes(value))}");
                given = [.. given, "-smbios", $"type=11,path={file}"];
            }

            kernelArguments +=
                $" systemd.hostname=ip-{seat.Address.Replace('.', '-')} "
                    + $"systemd.machine_id={Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(folder)))[..32]}";
        }

        string[] start = restore is not null ? ["-incoming", $"file:{restore}"]
            : clock != TimeSpan.Zero ? ["-rtc", $"base={(DateTime.UtcNow + clock).ToString("yyyy-MM-dd'T'HH:mm:ss", CultureInfo.InvariantCulture)}"]
            : [];
        qemu = await Child.StartAsync(
            Path.Combine(folder, "qemu.log"),
            "qemu-system-x86_64",
            [
                .. Hardware(folder, sockets, Lab.ApiServer.Port, Lab.Aws.Port, Lab.IssuerPort, seat), .. given, .. start,
                "-kernel", $"{guest}/vmlinuz", "-initrd", $"{guest}/initrd", "-append", $"{KernelArguments} {kernelArguments}",
            ]);
        using var deadline = new CancellationTokenSource(BootTimeout);
        try
        {
            if (seat is not null)
            {
                await seat.Network.AttachAsync(seat.Tap);
            }

            monitor = await JsonLines.ConnectAsync($"{sockets}/monitor", deadline.Token);
            await monitor.CallAsync("qmp_capabilities", null, deadline.Token);
            if (restore is not null)
            {
                while ((await monitor.CallAsync("query-status", null, deadline.Token)).GetProperty("status").GetString() == "inmigrate")
                {
                    await Task.Delay(20, deadline.Token);
                }

                await monitor.CallAsync("cont", null, deadline.Token);
            }

            agent = await JsonLines.ConnectAsync($"{sockets}/agent", deadline.Token);
            await agent.CallAsync("guest-ping", null, deadline.Token);
        }
        // QEMU's emulation fails an assertion of its own once in some hundred boots (iotlb_to_section); a second one is no accident.
        catch (IOException) when (restore is null && !again && qemu.HasExited)
        {
            Lab.Say("QEMU itself ended (qemu.log): once more");
            await DisconnectAsync();
            await PowerOnAsync(what, null, kernelArguments, clock, again: true);
            return;
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            throw new LabException($"the guest does not answer after {elapsed.Elapsed.TotalSeconds:0} s; see {folder}/console.log and qemu.log", e);
        }

        if (restore is not null)
        {
            // Its clock goes on from when it was frozen; certificates made since would not be valid yet.
            await CheckAsync($"date --set=@{DateTimeOffset.UtcNow.ToUnixTimeSeconds()}");
        }

        Lab.Say($"{what} in {elapsed.Elapsed.TotalSeconds:0.0} s");
    }

    private async Task PowerOffAsync(bool inOrder)
    {
        if (inOrder)
        {
            try
            {
                await RunAsync("systemctl poweroff --no-block");
            }
            catch (Exception e) when (e is IOException or LabException)
            {
                // It may be off before it answers. Whether it is shows below.
            }

            await qemu!.WaitForExitAsync(TimeSpan.FromMinutes(3), "shutting the guest down");
        }

        await DisconnectAsync();
    }

    /// <summary>Whether the buffer of translated code was large enough: each flush of it has all that runs translated again.</summary>
    private async Task SayTranslationAsync(JsonLines open)
    {
        try
        {
            using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(5));
            var told = await open.CallAsync("human-monitor-command", new Dictionary<string, string> { ["command-line"] = "info jit" }, deadline.Token);
            await File.AppendAllTextAsync(Path.Combine(folder, "qemu.log"), told.GetString(), deadline.Token);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or LabException)
        {
            // It is for the log alone.
        }
    }

    private async Task FreezeAsync(string file)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        await monitor!.CallAsync("stop", null, deadline.Token);
        await monitor.CallAsync("migrate-set-parameters", new Dictionary<string, long> { ["max-bandwidth"] = 10L << 30 }, deadline.Token);
        await monitor.CallAsync("migrate", new { uri = $"file:{file}" }, deadline.Token);
        string? status;
        while ((status = (await monitor.CallAsync("query-migrate", null, deadline.Token)).GetProperty("status").GetString()) != "completed")
        {
            if (status == "failed")
            {
                throw new LabException($"freezing the guest failed; see {folder}/qemu.log");
            }

            await Task.Delay(100, deadline.Token);
        }

        await monitor.CallAsync("quit", null, deadline.Token);
        await qemu!.WaitForExitAsync(TimeSpan.FromSeconds(30), "QEMU after the freeze");
    }

    private async Task DisconnectAsync()
    {
        if (seat is not null && qemu is { HasExited: false } && monitor is not null)
        {
            await SayTranslationAsync(monitor);
        }

        if (qemu is not null)
        {
            await qemu.DisposeAsync();
            qemu = null;
        }

        monitor?.Dispose();
        agent?.Dispose();
    }
}
