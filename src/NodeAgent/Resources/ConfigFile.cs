using System.Globalization;
using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>A file whose whole content is ours. Content is compared by bytes; who owns it and its mode belong to it.</summary>
internal sealed class ConfigFile(Concern concern, string path, string content) : Resource<FileReport>(concern, "file", path)
{
    public const UnixFileMode Readable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    public const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly byte[] _content = Encoding.UTF8.GetBytes(content);

    public string Content { get; } = content;

    public UnixFileMode Mode { get; init; } = Readable;

    /// <summary>What a new content does to what reads the file by itself, as kubelet does with static pods.</summary>
    public Disruption Disruption { get; init; }

    /// <summary>Whether the content may be shown. The diff of what may not says only that it differs.</summary>
    public bool IsSecret { get; init; }

    protected override FileReport Nothing => FileReport.Absent;

    protected override FileReport Observe(IMachineReader reader) => reader.File(Name);

    protected override Finding Diff(FileReport state, IReadOnlyList<Resource> pending) => state.Kind switch
    {
        FileKind.Absent => new Change("not there", Disruption, Show("")),
        FileKind.Directory or FileKind.Other => new Refused("something that is not a file is in its place", $"look at it, then move it away: {Name}"),
        FileKind.Link => new Change($"is a link to {state.Target}", Disruption),
        _ when !state.Matches(_content) => new Change("content differs", Disruption, Show(Old(state))),
        _ when state.Mode != Mode => new Change($"mode is {state.Mode.Octal()}, should be {Mode.Octal()}") { LeavesContent = true },
        _ when state.Uid != 0 || state.Gid != 0 =>
            new Change(string.Create(CultureInfo.InvariantCulture, $"owner is {state.Uid}:{state.Gid}, should be 0:0")) { LeavesContent = true },
        _ => InSync.Instance,
    };

    protected override void Apply(IMachineWriter writer, FileReport state, Change change, CancellationToken cancellation) =>
        writer.WriteFile(Name, _content, Mode);

    private string? Show(string? before) => IsSecret || before is null ? null : UnifiedDiff.Of(before, Content);

    // What not everybody may read is not shown either, even where nothing secret takes its place: a mirror that loses its headers.
    private static string? Old(FileReport state) =>
        state.Content is { } old && state.Mode.HasFlag(UnixFileMode.OtherRead) ? Encoding.UTF8.GetString(old) : null;
}
