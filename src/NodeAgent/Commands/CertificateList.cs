using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using NodeAgent.Machine;
using NodeAgent.Pki;

namespace NodeAgent.Commands;

/// <summary>
/// A certificate of the table as it lies on this machine, by the table and the disk alone: no configuration, no metadata, so that it can be asked for when
/// nothing else works. Whether subject and names are still right, 'nodeagent plan' knows.
/// </summary>
/// <param name="Asker">Null for CAs.</param>
/// <param name="Certificate">Null where none can be read.</param>
/// <param name="State">"ok", or what is to be done something about.</param>
internal sealed record ListedCertificate(string Role, string Path, Asker? Asker, ParsedCertificate? Certificate, string State)
{
    public const string Ok = "ok";

    public bool IsOk => State == Ok || IsOutlived;

    /// <summary>A CA beside which another one is trusted that holds: a rotation leaves it behind.</summary>
    public bool IsOutlived { get; init; }
}

internal static class CertificateList
{
    private const string Unreadable = "holds no certificate that can be read";

    /// <summary>Whether there is such a directory at all: of one that is not there, or cannot be looked into, nothing could be said to be well.</summary>
    public static bool IsDirectory(IMachineReader machine, string directory) => machine.File(directory + "/.").Kind == FileKind.Directory;

    /// <summary>A node without certificates is one to which something is to be done, too.</summary>
    public static int ExitCodeOf(IReadOnlyList<ListedCertificate> all) => all.Count > 0 && all.All(c => c.IsOk) ? ExitCode.Ok : ExitCode.ChangesPending;

    /// <summary>Of the files that are there, in the order of the table, CAs first; of a file with several CAs, each.</summary>
    /// <param name="directory">What stands for /etc/kubernetes.</param>
    public static IReadOnlyList<ListedCertificate> Read(IMachineReader machine, string directory)
    {
        var found = new List<ListedCertificate>();
        var authorities = new Dictionary<Authority, IReadOnlyList<byte[]>>();
        foreach (var row in RoleTable.Authorities)
        {
            var path = directory + row.CertificatePath["/etc/kubernetes".Length..];
            if (machine.File(path) is not { Kind: FileKind.Regular } file)
            {
                continue;
            }

            var trusted = authorities[row.Authority] = Pem.Certificates(Encoding.UTF8.GetString(file.Content ?? []));
            List<ListedCertificate> listed = [.. trusted.Select(ParsedCertificate.Parse).Select(c =>
                new ListedCertificate(row.Role, path, null, c, c is null ? Unreadable : StateOf(row, c, machine.Now)))];
            var isOneGood = listed.Any(c => c.State == ListedCertificate.Ok);
            found.AddRange(listed.Count == 0
                ? [new(row.Role, path, null, null, Unreadable)]
                : listed.Select(c => c with { IsOutlived = isOneGood && c.Certificate is not null && c.State != ListedCertificate.Ok }));
        }

        foreach (var row in RoleTable.All)
        {
            var (path, keyPath) = (directory + row.Path["/etc/kubernetes".Length..], directory + row.KeyPath["/etc/kubernetes".Length..]);
            try
            {
                if (Report(machine, row, path, keyPath) is { } report)
                {
                    found.Add(Of(row, path, report, authorities.GetValueOrDefault(row.Authority), machine.Now));
                }
            }
            catch (ProbeException e)
            {
                found.Add(new(row.Role, path, row.AskedBy, null, e.Why));
            }
        }

        return found;
    }

    private static KeyReport? Report(IMachineReader machine, RoleCertificate row, string path, string keyPath)
    {
        switch (row.Layout)
        {
            case FileLayout.Pair:
                var (key, file) = (machine.PrivateKey(keyPath), machine.File(path));
                return key.Kind == FileKind.Absent && file.Kind == FileKind.Absent
                    ? null
                    : key with { Certificates = Pem.Certificates(Encoding.UTF8.GetString(file.Content ?? [])) };
            default:
                return machine.PrivateKey(path) is { Kind: not FileKind.Absent } both ? both : null;
        }
    }

    private static ListedCertificate Of(RoleCertificate row, string path, KeyReport report, IReadOnlyList<byte[]>? authorities, DateTimeOffset now)
    {
        var chain = report.Certificates ?? [];
        if (chain.Count == 0 || ParsedCertificate.Parse(chain[0]) is not { } certificate)
        {
            return new(row.Role, path, row.AskedBy, null, Unreadable);
        }

        var state = report.PublicKey is null ? "its key cannot be read"
            : !report.PublicKey.AsSpan().SequenceEqual(certificate.PublicKey) ? "the key is not its"
            : report.Mode != Files.OwnerOnly ? $"others may read the key: mode {report.Mode.Octal()}"
            : authorities is not null && !ParsedCertificate.IsIssuedBy(chain, authorities) ? "not issued by the CA that is here"
            : StateOf(certificate, now) ?? (now >= Renewal.Latest(certificate) ? "due" : ListedCertificate.Ok);
        return new(row.Role, path, row.AskedBy, certificate, state);
    }

    private static string? StateOf(ParsedCertificate certificate, DateTimeOffset now) =>
        now >= certificate.NotAfter ? "expired" : now < certificate.NotBefore ? "not valid yet" : null;

    /// <summary>A CA is due while it still outlives what it signs.</summary>
    private static string StateOf(RoleAuthority row, ParsedCertificate certificate, DateTimeOffset now) => StateOf(certificate, now)
        ?? (certificate.NotAfter - now < RoleTable.All.Where(r => r.Authority == row.Authority).Max(r => r.Lifetime)
            ? "due: make a new CA"
            : ListedCertificate.Ok);

    public static string Text(IReadOnlyList<ListedCertificate> all, string directory)
    {
        if (all.Count == 0)
        {
            return $"No certificate of the table is below {directory}.\n";
        }

        string[][] rows =
        [
            ["ROLE", "EXPIRES", "STATE", "SUBJECT", "ISSUER", "NAMES"],
            .. all.Select(c => (string[])
            [
                c.Role, c.Certificate is null ? "-" : c.Certificate.NotAfter.UtcDateTime.ToString("yyyy-MM-dd HH:mm'Z'", CultureInfo.InvariantCulture), c.State,
                c.Certificate?.Subject ?? "-", c.Certificate?.Issuer ?? "-",
                c.Certificate is null || Names(c.Certificate) is not { Length: > 0 } names ? "-" : names,
            ]),
        ];
        var widths = Enumerable.Range(0, rows[0].Length - 1).Select(i => rows.Max(r => r[i].Length)).ToList();
        return string.Concat(rows.Select(r => string.Join("  ", r.Select((cell, i) => i < widths.Count ? cell.PadRight(widths[i]) : cell)) + "\n"));
    }

    /// <summary>Fields are only ever added.</summary>
    public static string Json(IReadOnlyList<ListedCertificate> all, int exitCode)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new() { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteNumber("exitCode", exitCode);
            json.WriteStartArray("certificates");
            foreach (var one in all)
            {
                json.WriteStartObject();
                json.WriteString("role", one.Role);
                json.WriteString("path", one.Path);
                json.WriteString("state", one.State);
                json.WriteBoolean("ok", one.IsOk);
                if (one.Certificate is { } certificate)
                {
                    json.WriteString("subject", certificate.Subject);
                    json.WriteString("issuer", certificate.Issuer);
                    json.WriteString("keyAlgorithm", KeyAlgorithms.Describe(certificate.PublicKey));
                    json.WriteString("notBefore", Rfc3339.Text(certificate.NotBefore));
                    json.WriteString("notAfter", Rfc3339.Text(certificate.NotAfter));
                    json.WriteStartArray("names");
                    foreach (var name in certificate.DnsNames.Concat(certificate.Addresses.Select(a => a.ToString())))
                    {
                        json.WriteStringValue(name);
                    }

                    json.WriteEndArray();
                }

                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray()) + "\n";
    }

    private static string Names(ParsedCertificate certificate) =>
        string.Join(", ", certificate.DnsNames.Concat(certificate.Addresses.Select(a => a.ToString())));
}
