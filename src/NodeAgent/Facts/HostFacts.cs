using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using NodeAgent.Machine;

namespace NodeAgent.Facts;

/// <summary>Hardware and kernel, from what the kernel says of itself.</summary>
internal static class HostFacts
{
    public static HardwareFacts Hardware(IMachineReader machine) => new()
    {
        Processors = CountOnline(Text(machine, "/sys/devices/system/cpu/online")),
        MemoryBytes = MemTotal(Text(machine, "/proc/meminfo")),
        // kernel.arch is there from Linux 6.1 on.
        Architecture = machine.Sysctl("kernel.arch") ?? (RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "aarch64" : "x86_64"),
    };

    public static KernelFacts Kernel(IMachineReader machine) => new()
    {
        Release = machine.Sysctl("kernel.osrelease") ?? throw new ProbeException("sysctl kernel.osrelease", "there is no such key"),
        CgroupVersion = machine.Mounts().LastOrDefault(m => m.Target == "/sys/fs/cgroup") switch
        {
            { FileSystem: "cgroup2" } => 2,
            // A tmpfs, with one mount a controller below it.
            not null => 1,
            null => throw new ProbeException("/sys/fs/cgroup", "nothing is mounted there"),
        },
        SystemdResolved = machine.File("/run/systemd/resolve/resolv.conf").Kind == FileKind.Regular,
        SystemdNetworkd = machine.File("/run/systemd/netif/links").Kind == FileKind.Directory ? true : null,
        // Debian's and Ubuntu's chrony reads sources.d from 4.0 on. Their packages of the two exclude each other.
        TimeService = machine.File("/etc/chrony/sources.d").Kind == FileKind.Directory ? "chrony"
            : machine.File("/usr/lib/systemd/systemd-timesyncd").Kind == FileKind.Regular ? "systemd-timesyncd" : null,
    };

    /// <summary>The kernel's list format: "0-3,5".</summary>
    private static int CountOnline(string list)
    {
        var count = 0;
        foreach (var part in list.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            var ends = part.Split('-');
            if (!int.TryParse(ends[0], NumberStyles.None, CultureInfo.InvariantCulture, out var first)
                || !int.TryParse(ends[^1], NumberStyles.None, CultureInfo.InvariantCulture, out var last)
                || last < first)
            {
                throw new ProbeException("/sys/devices/system/cpu/online", $"'{list}' is not a list of processors");
            }

            count += last - first + 1;
        }

        return count > 0 ? count : throw new ProbeException("/sys/devices/system/cpu/online", "names no processor");
    }

    private static long MemTotal(string text)
    {
        foreach (var line in text.AsSpan().EnumerateLines())
        {
            if (line.StartsWith("MemTotal:") && line.EndsWith(" kB")
                && long.TryParse(line["MemTotal:".Length..^" kB".Length].Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var kibibytes))
            {
                return kibibytes * 1024;
            }
        }

        throw new ProbeException("/proc/meminfo", "has no MemTotal in kB");
    }

    private static string Text(IMachineReader machine, string path) => machine.File(path).Content is { } content
        ? Encoding.ASCII.GetString(content).TrimEnd()
        : throw new ProbeException(path, "is not there");
}
