using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>A directory that others fill. What is in it is not ours, and its mode is only set where it is made.</summary>
internal sealed class DirectoryResource(Concern concern, string path, UnixFileMode mode) : Resource<FileReport>(concern, "directory", path)
{
    public const UnixFileMode Searchable = ConfigFile.Readable | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    public UnixFileMode Mode => mode;

    protected override FileReport Nothing => FileReport.Absent;

    protected override FileReport Observe(IMachineReader reader) => reader.File(Name);

    // A link to a directory somewhere else is an administrator's decision.
    protected override Finding Diff(FileReport state, IReadOnlyList<Resource> pending) => state.Kind switch
    {
        FileKind.Directory or FileKind.Link => InSync.Instance,
        FileKind.Absent => new Change("not there"),
        _ => new Refused("something that is not a directory is in its place", $"look at it, then move it away: {Name}"),
    };

    protected override void Apply(IMachineWriter writer, FileReport state, Change change, CancellationToken cancellation) => writer.MakeDirectory(Name, mode);
}
