using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>A mount that holds now. Its unit file stands beside it in the list, so that it holds after the next boot too.</summary>
internal sealed class Mount(string unit, string target, string group, string volume, string type, IReadOnlyList<string> options)
    : Resource<IReadOnlyList<MountReport>>(Concern.Storage, "mount", target)
{
    // Only what the kernel shows as it was given, and the mount can contradict (show_mnt_opts in fs/proc_namespace.c). It shows others under another name
    // (xfs: pquota as prjquota) or never (exec, async, strictatime, nofail); these are the unit file's.
    private static readonly string[] Compared = ["nodev", "nosuid", "noexec", "noatime", "nodiratime", "ro"];

    public override bool Hides(Resource other) => other.Name.StartsWith(Name + "/", StringComparison.Ordinal);

    protected override IReadOnlyList<MountReport> Nothing => [];

    protected override IReadOnlyList<MountReport> Observe(IMachineReader reader) => [.. reader.Mounts().Where(m => m.Target == Name)];

    protected override Finding Diff(IReadOnlyList<MountReport> state, IReadOnlyList<Resource> pending)
    {
        if (state is not [.., var top])
        {
            return new Change($"not mounted; /dev/{group}/{volume}");
        }

        if (!Filesystem.IsDevice(top.Source, group, volume) || top.FileSystem != type)
        {
            return new Refused($"{top.Source} ({top.FileSystem}) is mounted there", $"unmount it, or give the volume another place: {Name}");
        }

        var missing = options.Where(o => Compared.Contains(o) && !top.Options.Contains(o)).ToList();
        return missing.Count > 0 ? new Change($"mounted without {string.Join(", ", missing)}") { LeavesContent = true }
            : top.Options.Contains("ro") && !options.Contains("ro") ? new Change("mounted read-only") { LeavesContent = true }
            : InSync.Instance;
    }

    protected override void Apply(IMachineWriter writer, IReadOnlyList<MountReport> state, Change change, CancellationToken cancellation)
    {
        if (state.Count == 0)
        {
            writer.StartUnit(unit);
        }
        else
        {
            writer.ReloadUnit(unit);
        }
    }
}
