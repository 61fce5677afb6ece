using System.Text;

namespace NodeAgent.Machine;

/// <summary>/proc/self/mountinfo and /proc/swaps: proc(5).</summary>
internal static class Mounts
{
    /// <param name="Device">Major and minor number, as in 259:1.</param>
    /// <param name="Follows">A mount of another namespace that goes when this one's does (a slave: mount_namespaces(7)).</param>
    public sealed record Entry(string Device, MountReport Mount, bool Follows = false);

    /// <summary>
    /// Which process sees, in a mount namespace of its own, the file system that is mounted here, and would go on to when it is unmounted: a container whose
    /// volume is on it. Such a mount is not busy for umount(2), and what the container writes from then on nobody else finds.
    /// </summary>
    /// <returns>Null when there is none.</returns>
    public static string? HolderElsewhere(string target)
    {
        var here = Parse(Files.Text("/proc/self/mountinfo") ?? "").LastOrDefault(e => e.Mount.Target == target);
        var seen = new HashSet<string> { Files.ReadLink("/proc/self/ns/mnt") ?? "" };
        foreach (var process in here is null ? [] : Files.Names("/proc").Where(n => char.IsAsciiDigit(n[0])))
        {
            try
            {
                if (Files.ReadLink($"/proc/{process}/ns/mnt") is { } space && seen.Add(space)
                    && Parse(Files.Text($"/proc/{process}/mountinfo") ?? "").Any(e => e.Device == here!.Device && !e.Follows))
                {
                    return $"process {process} ({Files.Text($"/proc/{process}/comm")?.Trim()})";
                }
            }
            catch (ProbeException)
            {
                // It has just ended.
            }
        }

        return null;
    }

    /// <summary>Where a mount unit mounts: systemd-escape --unescape --path.</summary>
    public static string TargetOf(string unit)
    {
        var name = unit[..^".mount".Length];
        var bytes = new List<byte> { (byte)'/' };
        for (var i = name == "-" ? 1 : 0; i < name.Length; i++)
        {
            if (name[i] == '\\' && i + 3 < name.Length && name[i + 1] == 'x')
            {
                bytes.Add(Convert.ToByte(name.Substring(i + 2, 2), 16));
                i += 3;
            }
            else
            {
                bytes.Add(name[i] == '-' ? (byte)'/' : (byte)name[i]);
            }
        }

        return Encoding.UTF8.GetString([.. bytes]);
    }

    public static IReadOnlyList<Entry> Parse(string mountinfo)
    {
        var entries = new List<Entry>();
        foreach (var line in mountinfo.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue
            // The optional fields are of any number; a lone "-" ends them.
            var fields = line.Split(' ');
            var dash = Array.IndexOf(fields, "-", Math.Min(6, fields.Length));
            if (dash < 0 || fields.Length < dash + 4)
            {
                throw new ProbeException("/proc/self/mountinfo", $"a line that is not understood: {line}");
            }

            entries.Add(new Entry(
                fields[2],
                new MountReport(Unescape(fields[dash + 2]), Unescape(fields[4]), Unescape(fields[dash + 1]), Options(fields[5], fields[dash + 3])),
                fields[6..dash].Any(f => f.StartsWith("master:", StringComparison.Ordinal))));
        }

        return entries;
    }

    /// <returns>Files and devices that are swapped to.</returns>
    public static IReadOnlyList<string> ParseSwaps(string swaps) =>
        [.. swaps.Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(1).Select(l => Unescape(l[..l.AsSpan().IndexOfAny(' ', '\t')]))];

    /// <summary>Of the mount, then of the file system; read-only when either is.</summary>
    private static List<string> Options(string mount, string fileSystem)
    {
        var both = mount.Split(',').Concat(fileSystem.Split(',')).Where(o => o.Length > 0).Select(Unescape).ToList();
        var options = new List<string> { both.Contains("ro") ? "ro" : "rw" };
        options.AddRange(both.Where(o => o is not ("ro" or "rw")).Distinct());
        return options;
    }

    /// <summary>Space, tab, newline, backslash and # come as a backslash and three octal digits of each byte.</summary>
    private static string Unescape(string field)
    {
        if (!field.Contains('\\', StringComparison.Ordinal))
        {
            return field;
        }

        var bytes = Encoding.UTF8.GetBytes(field);
        var length = 0;
        for (var i = 0; i < bytes.Length; i++)
        {
            if (bytes[i] == '\\' && i + 3 < bytes.Length && IsOctal(bytes[i + 1]) && IsOctal(bytes[i + 2]) && IsOctal(bytes[i + 3]))
            {
                bytes[length++] = (byte)(((bytes[i + 1] - '0') << 6) | ((bytes[i + 2] - '0') << 3) | (bytes[i + 3] - '0'));
                i += 3;
            }
            else
            {
                bytes[length++] = bytes[i];
            }
        }

        return Encoding.UTF8.GetString(bytes, 0, length);
    }

    private static bool IsOctal(byte b) => b is >= (byte)'0' and <= (byte)'7';
}
