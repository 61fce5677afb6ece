using System.Globalization;

namespace NodeAgent.Machine;

/// <summary>Processes of this machine's own network namespace, from proc(5).</summary>
internal static class Processes
{
    /// <param name="name">At most 15 characters: the kernel keeps no more.</param>
    public static IReadOnlyList<ProcessReport> Named(string name)
    {
        var ours = Files.ReadLink("/proc/self/ns/net");
        var found = new List<ProcessReport>();
        foreach (var process in Files.Names("/proc").Where(n => n.All(char.IsAsciiDigit)))
        {
            try
            {
                if (Files.Text($"/proc/{process}/comm")?.TrimEnd('\n') == name && Files.ReadLink($"/proc/{process}/ns/net") == ours
                    // None are left of one that has ended and was not waited for.
                    && Files.Text($"/proc/{process}/cmdline") is { Length: > 0 } arguments)
                {
                    found.Add(new(int.Parse(process, CultureInfo.InvariantCulture), arguments.TrimEnd('\0').Split('\0')));
                }
            }
            catch (ProbeException)
            {
                // It ended while it was looked at (ESRCH).
            }
        }

        return [.. found.OrderBy(p => p.Id)];
    }
}
