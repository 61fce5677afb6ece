using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// What stays behind when settings leave files of ours: read from the files as they are now, so that no record is needed, and said before they are written. In
/// the list it stands before them. Nothing of it is ever changed here.
/// </summary>
/// <param name="paths">Files; or, ending in a slash, those in a directory that carry our mark.</param>
/// <param name="say">Sentences, from the texts of those files that are there.</param>
internal sealed class Remains(Concern concern, string name, IReadOnlyList<string> paths, Func<IReadOnlyDictionary<string, string>, IEnumerable<string>> say)
    : Resource<IReadOnlyDictionary<string, string>>(concern, "remains", name)
{
    protected override IReadOnlyDictionary<string, string> Nothing => new Dictionary<string, string>();

    protected override IReadOnlyDictionary<string, string> Observe(IMachineReader reader)
    {
        var texts = new SortedDictionary<string, string>(StringComparer.Ordinal);
        try
        {
            foreach (var path in paths)
            {
                if (path.EndsWith('/'))
                {
                    foreach (var found in reader.Directory(path.TrimEnd('/')).Select(n => path + n).Where(p => Ownership.IsOurs(reader.File(p))))
                    {
                        Add(found);
                    }
                }
                else
                {
                    Add(path);
                }
            }
        }
        catch (ProbeException)
        {
            // Whoever looks after these files says that they cannot be read. Here it only means that there is nothing to be said.
        }

        return texts;

        void Add(string path)
        {
            // What not everybody may read is not shown, not even what is left of it.
            if (reader.File(path) is { Kind: FileKind.Regular, Content: { } content } file && file.Mode.HasFlag(UnixFileMode.OtherRead))
            {
                texts[path] = Encoding.UTF8.GetString(content);
            }
        }
    }

    protected override Finding Diff(IReadOnlyDictionary<string, string> state, IReadOnlyList<Resource> pending) => InSync.Saying([.. say(state)]);

    protected override void Apply(IMachineWriter writer, IReadOnlyDictionary<string, string> state, Change change, CancellationToken cancellation) =>
        throw new MachineException(Id, "there is nothing that could be changed about it");
}
