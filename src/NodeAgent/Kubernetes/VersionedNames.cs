namespace NodeAgent.Kubernetes;

/// <summary>A name that a program of Kubernetes takes (a flag, a field at the top of its configuration, a plugin), and the minors that take it.</summary>
/// <param name="Since">The first minor of 1.x that has it.</param>
/// <param name="Gone">The first that has it no more; null while it lasts.</param>
/// <param name="Source">Where that is written: of <paramref name="Gone"/> where it is given, else of <paramref name="Since"/>.</param>
internal sealed record VersionedName(string Name, int Since, int? Gone, string Source)
{
    public bool In(int minor) => minor >= Since && !(minor >= Gone);
}

/// <summary>
/// Which minor of a program takes which names: the list of 1.20, and one row for each that came or went since. docs/versions.md tells how they were
/// recorded. Where the exact minor of a removal was not found, the row has the first recorded list without the name and says so: before it, the name is
/// let pass.
/// </summary>
internal sealed class VersionedNames
{
    private readonly string _program;
    private readonly string _kind;
    private readonly string _prefix;
    private readonly Dictionary<string, VersionedName> _byName = new(StringComparer.Ordinal);

    /// <param name="kind">What the names are, as in flag.</param>
    /// <param name="prefix">What stands before a name where people write it, as in --.</param>
    /// <param name="first">The names of the oldest minor of the table, between white space.</param>
    public VersionedNames(string program, string kind, string prefix, string first, string source, IReadOnlyList<VersionedName> changes)
    {
        (_program, _kind, _prefix, Changes) = (program, kind, prefix, changes);
        foreach (var name in first.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
        {
            _byName[name] = new(name, KubeletVersions.Oldest.Minor, null, source);
        }

        foreach (var change in changes)
        {
            _byName[change.Name] = change;
        }
    }

    /// <summary>Flags of the log that all programs had until klog's own went.</summary>
    public static IReadOnlyList<VersionedName> Klog { get; } =
    [
        .. "add-dir-header alsologtostderr log-backtrace-at log-dir log-file log-file-max-size".Split(' ')
            .Concat("logtostderr one-output skip-headers skip-log-headers stderrthreshold".Split(' '))
            .Select(name => new VersionedName(name, 20, 26, "kubernetes#112120, KEP-2845")),
    ];

    public IReadOnlyList<VersionedName> Changes { get; }

    public IEnumerable<VersionedName> All => _byName.Values;

    public bool Has(string name, KubeletVersion version) => Has(name, version.Version);

    public bool Has(string name, KubernetesVersion version) => version.Major == 1 && _byName.TryGetValue(name, out var row) && row.In(version.Minor);

    public string? Objection(string name, KubeletVersion version) => Objection(name, version.Version);

    /// <returns>Why the program of this version does not take the name; null when it does.</returns>
    public string? Objection(string name, KubernetesVersion version)
    {
        if (!_byName.TryGetValue(name, out var row))
        {
            var (oldest, newest) = (KubeletVersions.Oldest.Version, KubeletVersions.Newest.Version);
            return $"no {_program} in the table of versions ({oldest} to {newest}) has the {_kind} {_prefix}{name}";
        }

        if (row.In(version.Minor))
        {
            return null;
        }

        var (program, what) = ($"{_program} {version}", $"the {_kind} {_prefix}{name}");
        return version.Minor < row.Since
            ? $"{program} does not know {what}, which came with {new KubernetesVersion(1, row.Since)} ({row.Source})"
            : $"{program} has {what} no more; it is gone since {new KubernetesVersion(1, row.Gone ?? 0)} ({row.Source})";
    }
}
