using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace NodeAgent.Machine;

/// <summary>
/// Whole disks as the kernel (sysfs) and udev know them, without a child process. Paths are below <paramref name="root"/>, which is empty but for tests.
/// </summary>
internal sealed class BlockDevices(string root = "")
{
    // Not disks one would keep anything on, or not disks but what is made of them.
    private static readonly string[] NotDisks = ["loop", "ram", "zram", "dm-", "md", "sr", "fd"];

    /// <summary>How long to wait for udev to have dealt with what it was told of before disks are read: at boot it may still be at it.</summary>
    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(10);

    public IReadOnlyList<DiskReport> Disks(IReadOnlyList<Mounts.Entry> mounts, IReadOnlyList<string> swaps, CancellationToken cancellation)
    {
        WaitUntil(() => !File.Exists($"{root}/run/udev/queue"), SettleTime, cancellation);
        var disks = new List<DiskReport>();
        foreach (var name in Files.Names($"{root}/sys/block"))
        {
            // "hidden": one path of an NVMe disk that has several.
            if (!NotDisks.Any(n => name.StartsWith(n, StringComparison.Ordinal))
                && Attribute(name, "hidden") != "1"
                && Number(name, "size") is var sectors and > 0)
            {
                disks.Add(Disk(name, sectors * 512, mounts, swaps));
            }
        }

        return disks;
    }

    /// <summary>Kernel name of the device a path under /dev leads to, as in /dev/nvme1n1; the path itself when it is no link.</summary>
    public static string Canonical(string path)
    {
        if (Files.ReadLink(path) is null)
        {
            return path;
        }

        try
        {
            return File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path;
        }
        catch (IOException)
        {
            return path;
        }
    }

    /// <summary>Partitions of a disk by its path, by number.</summary>
    public IReadOnlyList<string> Partitions(string device) => [.. PartitionNames(KernelName(device)).Select(DevicePath)];

    /// <summary>Reads the two ends of a device: libblkid takes a device it cannot read for one with nothing on it.</summary>
    public static void CheckReadable(string device)
    {
        var subject = $"device {device}";
        var file = Libc.Open(device, Libc.ReadOnly | Libc.CloseOnExec | Libc.NonBlocking, 0);
        if (file < 0)
        {
            throw new ProbeException(subject, "cannot be opened: " + Libc.LastError());
        }

        try
        {
            var buffer = new byte[64 * 1024];
            var size = Libc.Seek(file, 0, Libc.SeekEnd);
            if (size <= 0)
            {
                throw new ProbeException(subject, size < 0 ? "has no size: " + Libc.LastError() : "has no size");
            }

            foreach (var offset in (ReadOnlySpan<long>)[0, Math.Max(0, size - buffer.Length)])
            {
                if (Libc.ReadAt(file, buffer, buffer.Length, offset) <= 0)
                {
                    throw new ProbeException(subject, $"cannot be read at byte {offset}: {Libc.LastError()}");
                }
            }
        }
        finally
        {
            _ = Libc.Close(file);
        }
    }

    /// <summary>Waits until <paramref name="condition"/> holds.</summary>
    /// <param name="pause">Between two looks; 20 ms where it is not given.</param>
    /// <returns>False when <paramref name="limit"/> passed first.</returns>
    public static bool WaitUntil(Func<bool> condition, TimeSpan limit, CancellationToken cancellation, TimeSpan? pause = null)
    {
        var end = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        while (!condition())
        {
            if (Environment.TickCount64 >= end)
            {
                return false;
            }

            cancellation.WaitHandle.WaitOne(pause ?? TimeSpan.FromMilliseconds(20));
            cancellation.ThrowIfCancellationRequested();
        }

        return true;
    }

    private DiskReport Disk(string name, long bytes, IReadOnlyList<Mounts.Entry> mounts, IReadOnlyList<string> swaps)
    {
        var partitions = PartitionNames(name);
        var holders = new List<string>();
        var users = new List<string>();
        foreach (var device in (string[])[name, .. partitions])
        {
            var directory = device == name ? name : $"{name}/{device}";
            holders.AddRange(Files.Names($"{root}/sys/block/{directory}/holders").Select(DevicePath));
            var number = Attribute(directory, "dev");
            var path = DevicePath(device);
            // btrfs mounts have a device number of their own: look at the source as well.
            var mounted = mounts.Where(m => m.Device == number || Canonical(m.Mount.Source) == path);
            users.AddRange(mounted.Select(m => $"{path} is mounted at {m.Mount.Target}").Distinct());
            users.AddRange(swaps.Where(s => Canonical(s) == path).Select(_ => $"{path} is swapped to"));
        }

        if (partitions.Count == 0 && holders.Count == 0 && users.Count == 0 && IsClaimed(DevicePath(name)))
        {
            users.Add($"{DevicePath(name)} is held by another program or mounted in another namespace");
        }

        var udev = Files.Text($"{root}/run/udev/data/b{Attribute(name, "dev")}");
        return new DiskReport(
            DevicePath(name),
            Attribute(name, "device/model"),
            // NVMe and virtio have it in sysfs; for SCSI udev reads it from the disk.
            FirstNotEmpty(
                Attribute(name, "device/serial"),
                Attribute(name, "serial"),
                UdevProperty(udev, "ID_SCSI_SERIAL"),
                UdevProperty(udev, "ID_SERIAL_SHORT")),
            bytes,
            Attribute(name, "ro") == "1",
            Links(DevicePath(name), udev),
            [.. partitions.Select(DevicePath)],
            [.. holders.Distinct().Order(StringComparer.Ordinal)],
            users);
    }

    /// <summary>
    /// Links of udev's record of the device, or of /dev/disk where it has none, that really lead to it: of several claimants of a link only one gets it.
    /// </summary>
    private List<string> Links(string device, string? udev)
    {
        var candidates = udev is not null
            ? udev.Split('\n').Where(l => l.StartsWith("S:", StringComparison.Ordinal)).Select(l => "/dev/" + l[2..])
            : Files.Names($"{root}/dev/disk").SelectMany(by => Files.Names($"{root}/dev/disk/{by}").Select(n => $"/dev/disk/{by}/{n}"));
        return [.. candidates.Where(l => Canonical(root + l) == root + device).Order(StringComparer.Ordinal)];
    }

    private static string UdevProperty(string? udev, string name)
    {
        var start = $"E:{name}=";
        return udev?.Split('\n').FirstOrDefault(l => l.StartsWith(start, StringComparison.Ordinal))?[start.Length..].Trim() ?? "";
    }

    private static string FirstNotEmpty(params ReadOnlySpan<string> values)
    {
        foreach (var value in values)
        {
            if (value.Length > 0)
            {
                return value;
            }
        }

        return "";
    }

    private List<string> PartitionNames(string name) =>
        [.. Files.Names($"{root}/sys/block/{name}")
            .Where(n => n.StartsWith(name, StringComparison.Ordinal) && File.Exists($"{root}/sys/block/{name}/{n}/partition"))
            .OrderBy(n => Number($"{name}/{n}", "partition"))];

    private string Attribute(string device, string name) => Files.Text($"{root}/sys/block/{device}/{name}")?.Trim() ?? "";

    private long Number(string device, string name) =>
        long.TryParse(Attribute(device, name), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : 0;

    // sysfs writes the slash of names like cciss/c0d0 as an exclamation mark.
    private static string DevicePath(string name) => "/dev/" + name.Replace('!', '/');

    private static string KernelName(string device) => Canonical(device)["/dev/".Length..].Replace('/', '!');

    /// <summary>
    /// open(2): O_EXCL on a block device fails with EBUSY while the kernel or a program has it to itself. Only asked of disks without any other sign of use.
    /// </summary>
    private bool IsClaimed(string device)
    {
        if (root.Length > 0)
        {
            return false;
        }

        var file = Libc.Open(device, Libc.ReadOnly | Libc.Exclusive | Libc.CloseOnExec | Libc.NonBlocking, 0);
        if (file >= 0)
        {
            _ = Libc.Close(file);
            return false;
        }

        return Marshal.GetLastPInvokeError() == Libc.Busy;
    }

    /// <summary>As udev writes a label into a link's name: everything but a few characters as \x and two digits (systemd's encode_devnode_name).</summary>
    public static string EncodeLabel(string label)
    {
        var name = new StringBuilder();
        foreach (var b in Encoding.UTF8.GetBytes(label))
        {
            if (char.IsAsciiLetterOrDigit((char)b) || (b < 128 && "#+-.:=@_".Contains((char)b, StringComparison.Ordinal)))
            {
                name.Append((char)b);
            }
            else
            {
                name.Append(CultureInfo.InvariantCulture, $"\\x{b:x2}");
            }
        }

        return name.ToString();
    }
}
