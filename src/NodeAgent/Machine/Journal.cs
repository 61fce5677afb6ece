using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace NodeAgent.Machine;

/// <summary>Structured entries for the systemd journal: sd_journal_sendv(3).</summary>
internal static unsafe partial class Journal
{
    /// <summary>Whether a journal takes entries on this machine.</summary>
    public static bool IsThere => File.Exists("/run/systemd/journal/socket");

    /// <summary>
    /// Whether standard error is connected to the journal, so that what is written there and sent here would be in it twice: systemd.exec(5), JOURNAL_STREAM.
    /// </summary>
    public static bool IsStandardError
    {
        get
        {
            var stream = Environment.GetEnvironmentVariable("JOURNAL_STREAM");
            return !string.IsNullOrEmpty(stream)
                && Libc.Status(2, "", Libc.AtEmptyPath, Libc.FileStatus.Basic, out var status) == 0
                && stream == string.Create(CultureInfo.InvariantCulture, $"{Device(status.DeviceMajor, status.DeviceMinor)}:{status.Inode}");
        }
    }

    /// <param name="fields">MESSAGE, PRIORITY (0 to 7), SYSLOG_IDENTIFIER, ...: upper-case letters, digits and underscores, not an underscore first.</param>
    /// <returns>Whether the journal took it.</returns>
    public static bool Send(IReadOnlyList<(string Name, string Value)> fields)
    {
        var length = 0;
        foreach (var (name, value) in fields)
        {
            length += Encoding.UTF8.GetMaxByteCount(name.Length + 1 + value.Length);
        }

        var buffer = ArrayPool<byte>.Shared.Rent(length);
        var vector = stackalloc Slice[fields.Count];
        try
        {
            fixed (byte* start = buffer)
            {
                var at = 0;
                for (var i = 0; i < fields.Count; i++)
                {
                    var begin = at;
                    at += Encoding.UTF8.GetBytes(fields[i].Name, buffer.AsSpan(at));
                    buffer[at++] = (byte)'=';
                    at += Encoding.UTF8.GetBytes(fields[i].Value, buffer.AsSpan(at));
                    vector[i] = new Slice { Start = start + begin, Length = (nuint)(at - begin) };
                }

                return sd_journal_sendv(vector, fields.Count) == 0;
            }
        }
        catch (DllNotFoundException)
        {
            return false;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>gnu_dev_makedev(3)</summary>
    private static ulong Device(ulong major, ulong minor) =>
        (minor & 0xFF) | ((major & 0xFFF) << 8) | ((minor & ~0xFFul) << 12) | ((major & ~0xFFFul) << 32);

    [LibraryImport("libsystemd.so.0")]
    private static partial int sd_journal_sendv(Slice* vector, int count);

    /// <summary>struct iovec</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Slice
    {
        public byte* Start;
        public nuint Length;
    }
}
