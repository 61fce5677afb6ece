using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Pki;

namespace NodeAgent.Resources;

/// <summary>
/// A control plane node's copy of a CA's certificate that no configuration holds: etcd's, the front proxy's. It counts while it can be right, which is a CA's
/// certificate in its time, and every certificate of this node that should be of that CA is. Only where it cannot is the store asked, so a node with good files
/// boots without the store; a CA that changed in the store is not noticed here, and what the new one signs is not taken (<see cref="Certificate"/>): to put
/// another CA in place is a rotation, in stages, and not a repair.
/// </summary>
/// <param name="leaves">What of this node's is of this CA, in two files each.</param>
/// <param name="instance">The ID of this instance, for the mark.</param>
internal sealed class AuthorityCertificate(RoleAuthority row, IReadOnlyList<RoleCertificate> leaves, string instance, ICertificateSource source)
    : Resource<AuthorityCertificate.State>(Concern.Certificates, "file", row.CertificatePath)
{
    /// <summary>What the store said in this run: then the file is right and whatever is not of this CA is wrong.</summary>
    private byte[]? _confirmed;

    /// <param name="Leaves">Those that are there, each as its chain.</param>
    internal sealed record State(
        FileReport File, IReadOnlyList<(string Role, IReadOnlyList<byte[]> Chain)> Leaves, DateTimeOffset Now, Func<Change, Finding> Ask);

    protected override State Nothing { get; } = new(FileReport.Absent, [], DateTimeOffset.MinValue, change => change);

    protected override State Observe(IMachineReader reader) => new(
        reader.File(Name),
        [.. leaves.Select(l => (l.Role, Certificates(reader.File(l.Path)))).Where(l => l.Item2.Count > 0)],
        reader.Now,
        source.Ask);

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending)
    {
        var (file, now) = (state.File, state.Now);
        if (file.Kind is FileKind.Directory or FileKind.Other)
        {
            return new Refused("something that is not a file is in its place", $"look at it, then move it away: {Name}");
        }

        if (file.Kind != FileKind.Regular)
        {
            return state.Ask(new Change(file.Kind == FileKind.Absent ? "not there" : "is not a regular file"));
        }

        var found = Certificates(file);
        if (found.Count == 0 || ParsedCertificate.Parse(found[0]) is not { IsAuthority: true } certificate)
        {
            return state.Ask(new Change("holds no certificate of a CA"));
        }

        if (Ownership.InstanceOf(file) is { } origin && origin != instance)
        {
            return state.Ask(new Change($"is a copy that {origin} kept"));
        }

        var isConfirmed = _confirmed is not null && found.Count == 1 && found[0].AsSpan().SequenceEqual(_confirmed);
        if (now < certificate.NotBefore)
        {
            return new Unknown(
                $"{certificate.Subject} is valid from {Certificate.Day(certificate.NotBefore)}, and the clock says {Certificate.Day(now)}: is the clock set?");
        }

        if (now >= certificate.NotAfter)
        {
            var expired = $"{certificate.Subject} expired on {Certificate.Day(certificate.NotAfter)}";
            return isConfirmed ? new Unknown($"{expired}, and the store has no other: make a new CA") : state.Ask(new Change(expired));
        }

        if (!isConfirmed && state.Leaves.Where(l => !ParsedCertificate.IsIssuedBy(l.Chain, found)).Select(l => l.Role).ToList() is { Count: > 0 } foreign)
        {
            return state.Ask(new Change($"{string.Join(", ", foreign)} is of another CA: one of them is wrong"));
        }

        return file.Mode == ConfigFile.Readable
            ? InSync.Instance
            : new Change($"mode is {file.Mode.Octal()}, should be 0644") { LeavesContent = true };
    }

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation)
    {
        if (change.LeavesContent)
        {
            writer.WriteFile(Name, state.File.Content!, ConfigFile.Readable);
            return;
        }

        _confirmed = source.Authority(row.Authority);
        var isThat = Certificates(state.File) is [var standing] && standing.AsSpan().SequenceEqual(_confirmed);
        if (!isThat || state.File.Mode != ConfigFile.Readable || (Ownership.InstanceOf(state.File) ?? instance) != instance)
        {
            writer.WriteFile(Name, Encoding.ASCII.GetBytes($"{Ownership.KeyHeader(instance)}\n{Pem.Write([_confirmed])}"), ConfigFile.Readable);
        }
    }

    private static IReadOnlyList<byte[]> Certificates(FileReport file) => file.Content is { } content ? Pem.Certificates(Encoding.UTF8.GetString(content)) : [];
}
