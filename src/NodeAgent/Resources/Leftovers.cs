using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>Files of ours, known by their first line, that nothing in the list wants any more. Looks only where the agent writes.</summary>
internal sealed class Leftovers : Resource<IReadOnlyList<string>>
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

    protected override IReadOnlyList<string> Nothing => [];

    protected override IReadOnlyList<string> Observe(IMachineReader reader)
    {
        var found = new List<string>();
        foreach (var directory in _directories.SelectMany(d => Expand(reader, d)))
        {
            found.AddRange(reader.Directory(directory).Select(n => $"{directory}/{n}").Where(p => !_wanted.Contains(p) && Ownership.IsOurs(reader.File(p))));
        }

        found.AddRange(NamedOurs.Where(p => !_wanted.Contains(p) && reader.File(p).Kind == FileKind.Regular));
        return found;
    }

    protected override Finding Diff(IReadOnlyList<string> state, IReadOnlyList<Resource> pending) =>
        state.Count == 0 ? InSync.Instance : new Change($"no longer wanted: {string.Join(", ", state)}", Diff: string.Concat(state.Select(p => $"- {p}\n")));

    protected override void Apply(IMachineWriter writer, IReadOnlyList<string> state, Change change, CancellationToken cancellation)
    {
        foreach (var path in state.Reverse())
        {
            writer.DeleteFile(path);
        }
    }

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
