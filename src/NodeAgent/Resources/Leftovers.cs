using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// Files of ours, known by their first line, that nothing in the list wants any more: they go, in the reverse of the order in which they were made. What only
/// looks like ours (it lies in a directory of ours, or has our name) and does not carry the mark is said and stays. Looks only where the agent writes.
/// </summary>
internal sealed class Leftovers : Resource<Leftovers.State>
{
    private readonly IReadOnlyList<string> _directories;
    private readonly IReadOnlySet<string> _wanted;

    /// <param name="directories">Territory: looked through, not below. A directory ending in /* stands for every directory in it.</param>
    public Leftovers(string name, IReadOnlyList<string> directories, IReadOnlySet<string> wanted)
        : base(Concern.Leftovers, "leftover", name)
    {
        _directories = directories;
        _wanted = wanted;
    }

    /// <summary>Paths that nobody else uses, for files whose format has no comments to mark them with.</summary>
    public IReadOnlyList<string> NamedOurs { get; init; } = [];

    /// <summary>Paths of files with a key, which are not read like others.</summary>
    public IReadOnlyList<string> Keys { get; init; } = [];

    /// <summary>Such paths, and of what lies beside keys, where others have files, too (kubeadm): what carries no mark there is no matter of ours.</summary>
    public IReadOnlyList<string> SharedKeys { get; init; } = [];

    /// <summary>Directories of the territory in which nobody else has files.</summary>
    public IReadOnlyList<string> OwnDirectories { get; init; } = [];

    /// <summary>What is lost with a file, beside it.</summary>
    public Func<string, Disruption> Costs { get; init; } = _ => Disruption.None;

    /// <summary>Directories of the territory that another one looks after.</summary>
    public IReadOnlySet<string> Except { get; init; } = new HashSet<string>();

    /// <summary>Of the territory, the only paths that are looked at; null for all.</summary>
    public IReadOnlySet<string>? Only { get; init; }

    /// <summary>The unit to stop before its file goes, by path and text; null where none is.</summary>
    public Func<string, string, string?> StopsFirst { get; init; } = (_, _) => null;

    /// <param name="Ours">In the order in which they were made.</param>
    internal sealed record State(IReadOnlyList<Leftover> Ours, IReadOnlyList<string> Notes);

    /// <param name="Unit">To be stopped first.</param>
    internal sealed record Leftover(string Path, string? Unit = null);

    protected override State Nothing => new([], []);

    protected override State Observe(IMachineReader reader)
    {
        var ours = new List<Leftover>();
        var notes = new List<string>();
        foreach (var path in Keys.Where(k => !_wanted.Contains(k)))
        {
            var report = reader.PrivateKey(path);
            if (Ownership.InstanceOf(report) is not null)
            {
                ours.Add(new(path));
            }
            else if (report.Kind == FileKind.Regular)
            {
                notes.Add(Unmarked(path));
            }
        }

        ours.AddRange(SharedKeys.Where(k => !_wanted.Contains(k) && Ownership.InstanceOf(reader.PrivateKey(k)) is not null).Select(k => new Leftover(k)));

        foreach (var directory in _directories.SelectMany(d => Expand(reader, d)).Where(d => !Except.Contains(d)))
        {
            foreach (var name in reader.Directory(directory))
            {
                var path = $"{directory}/{name}";
                if (Only?.Contains(path) != false && !_wanted.Contains(path) && !NamedOurs.Contains(path) && !SharedKeys.Contains(path)
                    && reader.File(path) is { Kind: FileKind.Regular } file)
                {
                    Judge(path, directory, name, file);
                }
            }
        }

        ours.AddRange(NamedOurs.Where(p => !_wanted.Contains(p) && reader.File(p).Kind == FileKind.Regular).Select(p => new Leftover(p)));
        return new State(ours, notes);

        void Judge(string path, string directory, string name, FileReport file)
        {
            // By its name a file that the agent was about to put in place when it died: only half of it may be there.
            if (name.StartsWith('.') && name.EndsWith(Files.TemporarySuffix, StringComparison.Ordinal))
            {
                ours.Add(new(path));
            }
            else if (!Ownership.IsOurs(file))
            {
                if (Owns(directory) || LooksLikeOurs(directory, name))
                {
                    notes.Add(Unmarked(path));
                }
            }
            else if (UnknownUnit(directory, name))
            {
                notes.Add($"{path} is a unit of a kind that this version of the agent does not make; it is left alone: "
                    + "a newer version looks after it, or remove it by hand");
            }
            else
            {
                ours.Add(new(path, file.Content is { } content ? StopsFirst(path, Encoding.UTF8.GetString(content)) : null));
            }
        }
    }

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending) => state.Ours.Count == 0
        ? InSync.Saying(state.Notes)
        : new Change(
            $"no longer wanted: {string.Join(", ", state.Ours.Select(o => o.Unit is null ? o.Path : $"{o.Path} (and {o.Unit} is stopped)"))}",
            state.Ours.Max(o => o.Unit is null ? Costs(o.Path) : Disruption.RestartsService),
            string.Concat(state.Ours.Select(o => $"- {o.Path}\n")))
        { Notes = state.Notes };

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation)
    {
        foreach (var (path, unit) in state.Ours.Reverse())
        {
            if (unit is not null)
            {
                Stop(writer, unit, cancellation);
            }

            writer.DeleteFile(path);
        }
    }

    private static string Unmarked(string path) =>
        $"{path} does not carry our mark, its first line, so it is left alone: look at it, and remove it by hand if nothing needs it";

    private static void Stop(IMachineWriter writer, string unit, CancellationToken cancellation)
    {
        try
        {
            writer.StopUnit(unit);
        }
        catch (MachineException) when (unit.EndsWith(".mount", StringComparison.Ordinal) && !cancellation.IsCancellationRequested)
        {
            // Somebody uses it. Its file goes all the same, so that the next boot does without; until then UnwantedVolumes says that it is mounted.
        }
    }

    private bool Owns(string directory) => OwnDirectories.Contains(directory) || OwnDirectories.Contains(directory[..directory.LastIndexOf('/')] + "/*");

    // In /etc/nodeagent people write, and may override our units by name.
    private static bool LooksLikeOurs(string directory, string name) => name.Contains("nodeagent", StringComparison.Ordinal)
        && directory != "/etc/nodeagent" && !(IsUnits(directory) && name.EndsWith(".service", StringComparison.Ordinal));

    private static bool UnknownUnit(string directory, string name) =>
        IsUnits(directory) && !name.EndsWith(".mount", StringComparison.Ordinal) && !name.EndsWith(".service", StringComparison.Ordinal);

    private static bool IsUnits(string directory) => directory == "/etc/systemd/system";

    private static IEnumerable<string> Expand(IMachineReader reader, string directory)
    {
        if (!directory.EndsWith("/*", StringComparison.Ordinal))
        {
            return [directory];
        }

        var parent = directory[..^2];
        return reader.Directory(parent).Select(n => $"{parent}/{n}").Where(p => reader.File(p).Kind == FileKind.Directory);
    }
}
