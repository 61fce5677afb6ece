using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Pki;

namespace NodeAgent.Resources;

/// <summary>
/// A key that was made on this node and never leaves it, and the certificate for it, in one file that one rename replaces: a crash leaves the old pair or the
/// new one. So it is where a kubeconfig embeds both. In kubeadm's two files a crash between the two leaves a pair that does not match, which is seen and made
/// anew before what reads it starts; who reads them in that moment keeps the pair that it has (Go's tls.X509KeyPair refuses one that does not match). Every new
/// certificate has a new key. What reads the file takes a new one by itself or is restarted by a resource that has this one among its inputs; the renewal alone
/// disturbs nothing.
/// </summary>
/// <param name="role">What it is for and where it lies.</param>
/// <param name="content">What it shall say.</param>
/// <param name="node">The node's name: with the path it decides when within the last third of a lifetime renewal is due.</param>
/// <param name="authorities">The CA, PEM, one certificate or more. Null: what this node keeps in its file (<see cref="AuthorityCertificate"/>).</param>
/// <param name="round">Where the node's other certificates take part, too; null for one that is asked for alone.</param>
internal sealed class Certificate(
    RoleCertificate role, CertificateContent content, string node, string? authorities, ICertificateSource source, CertificateRound? round = null)
    : Resource<Certificate.State>(Concern.Certificates, "certificate", role.Path)
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private const UnixFileMode WorldReadable = OwnerOnly | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    private const string ExpiresIn = "expires in ";

    private readonly IReadOnlyList<byte[]>? _authorities = authorities is null ? null : Pem.Certificates(authorities);

    /// <summary>What is to be known of a renewal, once it was made.</summary>
    private IReadOnlyList<string> _notes = [];

    /// <param name="File">Key and certificates, be they in one file or in two.</param>
    /// <param name="Authorities">DER.</param>
    /// <param name="Ask">Whether the source can be had, for what is to be changed.</param>
    /// <param name="Others">Of the same round, that are due as well.</param>
    /// <param name="PublicMode">Of the certificate's own file, where it has one.</param>
    /// <param name="IsNeeded">Somebody reads it, or shall.</param>
    internal sealed record State(
        KeyReport File,
        DateTimeOffset Now,
        IReadOnlyList<byte[]> Authorities,
        Func<Change, Finding> Ask,
        Func<IReadOnlyList<Certificate>> Others,
        UnixFileMode PublicMode = WorldReadable,
        bool IsNeeded = true);

    public RoleCertificate Row => role;

    public string Role => role.Role;

    /// <summary>The ID of the instance to which the key belongs.</summary>
    public required string Instance { get; init; }

    public CertificateContent Content => content;

    public KeyAlgorithm KeyAlgorithm { get; init; }

    /// <summary>Of a role whose certificate is embedded in a kubeconfig: the rest of it.</summary>
    public ClusterAccess? Access { get; init; }

    /// <summary>Whether the pod that reads it has a manifest of ours, which follows it (<see cref="StaticPodManifest"/>).</summary>
    public bool HasManifest { get; init; }

    /// <summary>
    /// The manifest of the one pod that reads it, where this node shall not have that pod any more: until policy lets it end, its certificate is kept right.
    /// None is made for a pod that is not there. Null: it is wanted in any case.
    /// </summary>
    public string? OnlyWith { get; init; }

    /// <summary>A public key that has had its time, since somebody asks for a new certificate: one with another key holds.</summary>
    public byte[]? Outworn { get; set; }

    /// <summary>
    /// Whether one that is merely due, and holds for a third of its life to come, is left to nodeagent-renew.timer: a node that boots does not hang on whoever
    /// issues it.
    /// </summary>
    public bool MayWait { get; set; } = true;

    protected override State Observe(IMachineReader reader)
    {
        var (file, publicMode) = Files(reader);
        return new(
            file,
            reader.Now,
            _authorities ?? Pem.Certificates(Encoding.UTF8.GetString(reader.File(AuthorityPath).Content ?? [])),
            source.Ask,
            () => [.. (round?.Members ?? []).Where(m => m != this && m.Examine(reader, []) is Change)],
            publicMode,
            IsNeeded(reader));
    }

    /// <summary>Of <see cref="OnlyWith"/>: whether pod and certificate are there, and this node's own. They go together, elsewhere.</summary>
    public bool IsNeeded(IMachineReader reader) => OnlyWith is not { } manifest
        || (Ownership.IsOurs(reader.File(manifest)) && Ownership.InstanceOf(reader.PrivateKey(role.KeyPath)) == Instance);

    private string AuthorityPath => RoleTable.Of(role.Authority).CertificatePath;

    private (KeyReport File, UnixFileMode PublicMode) Files(IMachineReader reader)
    {
        if (role.Layout != FileLayout.Pair)
        {
            return (reader.PrivateKey(Name), WorldReadable);
        }

        var (key, file) = (reader.PrivateKey(role.KeyPath), reader.File(Name));
        return (key.Kind, file.Kind) switch
        {
            (FileKind.Directory, _) or (_, FileKind.Directory) => (new(FileKind.Directory), WorldReadable),
            (FileKind.Absent, FileKind.Absent) => (KeyReport.Absent, WorldReadable),
            (FileKind.Regular, FileKind.Regular) => (
                key with { Certificates = Pem.Certificates(Encoding.UTF8.GetString(file.Content ?? [])) }, file.Mode),
            (FileKind.Absent, FileKind.Regular) or (FileKind.Regular, FileKind.Absent) => (
                key with { Kind = FileKind.Regular, Mode = OwnerOnly, Certificates = [] }, WorldReadable),
            _ => (new(FileKind.Other), WorldReadable),
        };
    }

    protected override State Nothing { get; } = new(KeyReport.Absent, DateTimeOffset.MinValue, [], change => change, () => []);

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending)
    {
        var file = state.File;
        if (!state.IsNeeded)
        {
            return InSync.Instance;
        }

        if (file.Kind == FileKind.Directory)
        {
            return new Refused($"{Name} is a directory", "move it away: the certificate's file belongs there");
        }

        if (!ReferenceEquals(state, Nothing) && Unsigned(state) is { } wait)
        {
            return new Unknown(wait);
        }

        var reasons = file.Kind switch
        {
            FileKind.Absent => ["not there"],
            FileKind.Regular => Compare(state),
            _ => ["is not a regular file"],
        };
        if (reasons.Count == 0)
        {
            return InSync.Saying(_notes);
        }

        // What is wrong as well as due has to be right before anything is started on it.
        return MayWait && source.Unable is null && reasons is [var only] && only.StartsWith(ExpiresIn, StringComparison.Ordinal)
            ? InSync.Saying([$"{only}: nodeagent-renew.timer renews it, or 'nodeagent certs renew {role.Role}' at once"])
            : state.Ask(new Change(string.Join("; ", reasons)) { Notes = NotesOn(state) });
    }

    /// <summary>What whoever reads this file needs and does not get from here.</summary>
    private IReadOnlyList<string> NotesOn(State state)
    {
        if (role.AfterRenewal != AfterRenewal.RecreatePod || HasManifest || state.File is not { Kind: FileKind.Regular, Certificates: [var old, ..] }
            || ParsedCertificate.Parse(old) is not { } standing)
        {
            return [];
        }

        // https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/, "Manual certificate renewal".
        return
        [
            $"kube-{role.Role} reads {Name} only as it starts: its certificate holds until {Day(standing.NotAfter)}, and by then its pod has to be made anew. "
            + "Move its manifest out of /etc/kubernetes/manifests for 30 seconds and back, on one control plane node after the other",
        ];
    }

    /// <summary>Asked of whom has no right to write it, a certificate is not written: what came is examined as what stands on the disk is.</summary>
    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation)
    {
        var (chain, key) = (round ?? new CertificateRound(source)).Take(this, state.Others, cancellation);
        using var ours = key;
        var around = Access is null ? null : new Secret(Kubeconfig.Around(Access, content.CommonName));
        var reasons = Compare(state with
        {
            File = new(FileKind.Regular, OwnerOnly, key.ExportSubjectPublicKeyInfo(), chain, Around: around),
            PublicMode = WorldReadable,
        });
        if (reasons.Count > 0)
        {
            throw new MachineException(Id, "what was issued is not what was asked for: " + string.Join("; ", reasons));
        }

        foreach (var file in Lay(role, chain, key, Access, $"{Ownership.KeyHeader(Instance)}\n"))
        {
            writer.WriteFile(file.Path, file.Content, file.Mode);
            CryptographicOperations.ZeroMemory(file.Content);
        }

        _notes = change.Notes;
    }

    /// <summary>The files of a certificate and its key, in the order in which they are written.</summary>
    /// <param name="access">For one that a kubeconfig embeds.</param>
    /// <param name="mark">Their first line; none when empty.</param>
    public static IReadOnlyList<MadeFile> Lay(
        RoleCertificate role, IReadOnlyList<byte[]> chain, AsymmetricAlgorithm key, ClusterAccess? access, string mark = "")
    {
        switch (role.Layout)
        {
            case FileLayout.OneFile:
                return [new(role.Path, Encoding.ASCII.GetBytes(mark + Pem.Combine(chain, key)), OwnerOnly)];
            case FileLayout.Pair:
                return
                [
                    new(role.KeyPath, Encoding.ASCII.GetBytes(mark + Pem.Write(key)), OwnerOnly),
                    new(role.Path, Encoding.ASCII.GetBytes(mark + Pem.Write(chain)), WorldReadable),
                ];
            default:
                ArgumentNullException.ThrowIfNull(access);
                var text = Kubeconfig.Embed(access, role.CommonName, Pem.Write(chain), Pem.Write(key));
                return [new(role.Path, Encoding.UTF8.GetBytes(mark + text), OwnerOnly)];
        }
    }

    /// <summary>Why no certificate can be right at this time, be it that the clock is not set yet.</summary>
    private string? Unsigned(State state)
    {
        var now = state.Now;
        var parsed = state.Authorities.Select(ParsedCertificate.Parse).OfType<ParsedCertificate>().ToList();
        var ca = _authorities is null ? $"the CA in {AuthorityPath}" : "the cluster's CA";
        // A file that is missing or wrong is its own resource's.
        return parsed.Count == 0 ? _authorities is null ? null : "cluster.certificateAuthority holds no certificate that can be read"
            : parsed.All(a => now < a.NotBefore)
            ? $"the clock says {Day(now)}, and {ca} is valid from {Day(parsed.Min(a => a.NotBefore))}: is the clock set?"
            : parsed.All(a => now >= a.NotAfter)
            ? $"{ca} expired on {Day(parsed.Max(a => a.NotAfter))} and the clock says {Day(now)}: make a new CA"
            : null;
    }

    private List<string> Compare(State state)
    {
        var (file, now, publicMode) = (state.File, state.Now, state.PublicMode);
        var chain = file.Certificates ?? [];
        if (file.PublicKey is null)
        {
            return ["holds no key that can be read"];
        }

        if (chain.Count == 0 || ParsedCertificate.Parse(chain[0]) is not { } certificate)
        {
            return ["holds no certificate that can be read"];
        }

        var reasons = new List<string>();
        if (file.Mode != OwnerOnly)
        {
            // Whoever could read it may have the key, so a chmod would not do.
            reasons.Add($"mode is {file.Mode.Octal()}, should be 0600");
        }

        if (Ownership.InstanceOf(file) is { } origin && origin != Instance)
        {
            reasons.Add($"the key was made on {origin}");
        }

        if (publicMode != WorldReadable)
        {
            reasons.Add($"mode of {Name} is {publicMode.Octal()}, should be 0644");
        }

        if (Outworn is { } outworn && outworn.AsSpan().SequenceEqual(file.PublicKey))
        {
            reasons.Add("a new one is asked for");
        }

        if (KeyAlgorithms.Describe(file.PublicKey) is var kind && kind != KeyAlgorithm.Name())
        {
            reasons.Add($"key is {kind}, should be {KeyAlgorithm.Name()}");
        }

        if (!file.PublicKey.AsSpan().SequenceEqual(certificate.PublicKey))
        {
            reasons.Add("the key is not the certificate's");
        }

        if (certificate.Subject != content.Subject)
        {
            reasons.Add($"subject is {certificate.Subject}, should be {content.Subject}");
        }

        if (!ParsedCertificate.IsIssuedBy(chain, state.Authorities))
        {
            reasons.Add($"issuer {certificate.Issuer} is not the {(_authorities is null ? $"CA in {AuthorityPath}" : "cluster's CA")}");
        }

        if (Access is not null && !file.IsWithin(Kubeconfig.Around(Access, content.CommonName)))
        {
            reasons.Add("what is around certificate and key differs: the cluster's name, endpoint or CA, or an edit by hand");
        }

        var usages = string.Join(" and ", CertificateUsages.Oids.Where(u => content.Usage.HasFlag(u.Usage)).Select(u => u.Name).Order(StringComparer.Ordinal));
        if (string.Join(" and ", certificate.Usages) is var actual && actual != usages)
        {
            reasons.Add($"usage is {(actual.Length == 0 ? "not limited" : actual)}, should be {usages}");
        }

        if (certificate.IsAuthority)
        {
            reasons.Add("is a CA");
        }

        HashSet<string> named = new([.. certificate.DnsNames, .. certificate.Addresses.Select(a => a.ToString())], StringComparer.OrdinalIgnoreCase);
        HashSet<string> wanted = new([.. content.DnsNames, .. content.Addresses.Select(a => a.ToString())], StringComparer.OrdinalIgnoreCase);
        if (wanted.Except(named, named.Comparer).Order(StringComparer.Ordinal).ToList() is { Count: > 0 } missing)
        {
            reasons.Add($"names lack {string.Join(", ", missing)}");
        }

        if (named.Except(wanted, named.Comparer).Order(StringComparer.Ordinal).ToList() is { Count: > 0 } foreign)
        {
            reasons.Add($"names hold {string.Join(", ", foreign)} too");
        }

        if (now < certificate.NotBefore)
        {
            reasons.Add($"not valid before {Day(certificate.NotBefore)}, and the clock says {Day(now)}");
        }
        else if (now >= certificate.NotAfter)
        {
            reasons.Add($"expired on {Day(certificate.NotAfter)}");
        }
        else if (now >= Renewal.Due(certificate, $"{node}\n{Name}"))
        {
            reasons.Add(ExpiresIn + Left(certificate.NotAfter - now));
        }

        return reasons;
    }

    internal static string Day(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm'Z'", CultureInfo.InvariantCulture);

    private static string Left(TimeSpan left)
    {
        var (count, unit) = left.TotalDays >= 2 ? (left.TotalDays, "d") : left.TotalHours >= 2 ? (left.TotalHours, "h") : (left.TotalMinutes, "min");
        return string.Create(CultureInfo.InvariantCulture, $"{(long)count} {unit}");
    }
}

/// <summary>
/// A node's certificates, to be asked for together: the first that is applied asks for all that are due, and those whose turn comes later find what came for
/// them. Keys wait in memory alone.
/// </summary>
internal sealed class CertificateRound(ICertificateSource source)
{
    private readonly Dictionary<string, (IReadOnlyList<byte[]> Chain, AsymmetricAlgorithm Key)> _came = new(StringComparer.Ordinal);

    public IReadOnlyList<Certificate> Members { get; set; } = [];

    /// <exception cref="MachineException">Refused, or not to be had.</exception>
    public (IReadOnlyList<byte[]> Chain, AsymmetricAlgorithm Key) Take(
        Certificate member, Func<IReadOnlyList<Certificate>> others, CancellationToken cancellation)
    {
        if (_came.Remove(member.Role, out var came))
        {
            return came;
        }

        IReadOnlyList<Certificate> due = [member, .. others().Where(o => !_came.ContainsKey(o.Role))];
        // Each RSA key costs 150 ms of a processor.
        var keys = Task.WhenAll(due.Select(d => Task.Run(() => d.KeyAlgorithm.NewKey()))).GetAwaiter().GetResult();
        var chains = source.ObtainAll([.. due.Select((d, i) => (d.Role, SigningRequest.Create(keys[i], d.Content)))], cancellation);
        for (var i = 1; i < due.Count; i++)
        {
            _came[due[i].Role] = (chains[i], keys[i]);
        }

        return (chains[0], keys[0]);
    }
}
