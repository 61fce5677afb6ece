using System.Globalization;
using System.Net;
using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// Lines of ours in /etc/hosts, which is everybody's file: each bears our mark at its end, and all others stay as they are. The file is written in place: pods
/// that mount it see another file's content never (kops writes it so for the same reason); one of more than a block of the disk is renamed into place as any,
/// for the sake of power cuts.
/// </summary>
/// <param name="endpoint">Whose host it is; null for none: lines of before go.</param>
/// <param name="addresses">None: nobody is known yet, and lines of before stay.</param>
internal sealed class HostsEntry(Uri? endpoint, IReadOnlyList<string> addresses) : Resource<FileReport>(Concern.Network, "hosts", Path)
{
    public const string Path = "/etc/hosts";

    private const int Block = 4096;

    private const string Mark = "# nodeagent: cluster.endpoint, port ";

    protected override FileReport Nothing => FileReport.Absent;

    /// <summary>Where a file has the cluster's endpoint.</summary>
    public static IReadOnlyList<IPEndPoint> Endpoints(string hosts) =>
    [
        .. hosts.Split('\n').Where(IsOurs)
            .Select(l => (Address: l.Split(' ')[0], Port: l[(l.IndexOf(Mark, StringComparison.Ordinal) + Mark.Length)..]))
            .Where(l => IPAddress.TryParse(l.Address, out _) && ushort.TryParse(l.Port, CultureInfo.InvariantCulture, out _))
            .Select(l => new IPEndPoint(IPAddress.Parse(l.Address), ushort.Parse(l.Port, CultureInfo.InvariantCulture))),
    ];

    protected override FileReport Observe(IMachineReader reader) => reader.File(Path);

    protected override Finding Diff(FileReport state, IReadOnlyList<Resource> pending)
    {
        if (state.Kind is not (FileKind.Regular or FileKind.Absent))
        {
            return endpoint is null
                ? InSync.Instance
                : new Refused($"{Path} is no regular file", "put one in its place: the cluster's endpoint is to be found by it");
        }

        if (state.Kind == FileKind.Regular && state.Content is null)
        {
            return endpoint is null
                ? InSync.Instance
                : new Refused($"{Path} is larger than anything that is read whole (1 MiB)", "make it smaller: the cluster's endpoint is to be found by it");
        }

        var text = Text(state);
        if (endpoint is null && !text.Split('\n').Any(IsOurs))
        {
            return InSync.Instance;
        }

        if (endpoint is not null && addresses.Count == 0)
        {
            return InSync.Saying([Addresses(text) is { Count: > 0 } kept
                ? $"EC2 shows no running control plane instance; {endpoint!.DnsSafeHost} stays {string.Join(", ", kept)}"
                : $"EC2 shows no running control plane instance yet, so {endpoint!.DnsSafeHost} has no address; nodeagent-endpoint.timer looks again"]);
        }

        return Wanted(text) == text ? InSync.Instance
            : new Change(
                endpoint is null
                    ? "lines of ours are no longer wanted"
                    : $"{endpoint!.DnsSafeHost} is {Or(Addresses(text))}, should be {string.Join(", ", addresses)}");
    }

    protected override void Apply(IMachineWriter writer, FileReport state, Change change, CancellationToken cancellation)
    {
        var content = Encoding.Latin1.GetBytes(Wanted(Text(state)));
        if (content.Length > Block)
        {
            writer.WriteFile(Path, content, ConfigFile.Readable);
        }
        else
        {
            writer.OverwriteFile(Path, content, ConfigFile.Readable);
        }
    }

    private string Wanted(string text)
    {
        var others = string.Concat(text.Split('\n', StringSplitOptions.None).Where(l => !IsOurs(l)).Select(l => l + "\n"));
        // What Split adds after the last line break.
        others = others.Length == 1 ? "" : text.EndsWith('\n') ? others[..^1] : others;
        return others + string.Concat(
            endpoint is null ? [] : addresses.Select(a => string.Create(CultureInfo.InvariantCulture, $"{a} {endpoint!.DnsSafeHost} {Mark}{endpoint.Port}\n")));
    }

    private static bool IsOurs(string line) => line.Contains(Mark, StringComparison.Ordinal);

    private static List<string> Addresses(string text) => [.. Endpoints(text).Select(e => e.Address.ToString())];

    // Byte by byte, whatever others wrote it in.
    private static string Text(FileReport state) => state.Content is { } content ? Encoding.Latin1.GetString(content) : "";

    private static string Or(List<string> known) => known.Count == 0 ? "not there" : string.Join(", ", known);
}
