using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// systemd has read the unit files that are on disk. Inputs are those files; a unit that it has not loaded yet is read when it is first asked for.
/// </summary>
internal sealed class SystemdManager(Concern concern, string name, IReadOnlyList<string> units)
    : Resource<IReadOnlyList<string>>(concern, "systemd configuration", name)
{
    protected override IReadOnlyList<string> Nothing => units;

    protected override IReadOnlyList<string> Observe(IMachineReader reader) => [.. units.Where(u => reader.Unit(u).NeedDaemonReload)];

    protected override Finding Diff(IReadOnlyList<string> state, IReadOnlyList<Resource> pending) =>
        state.Count > 0 ? new Change($"files of {string.Join(", ", state)} changed on disk")
        : pending.Count > 0 ? new Change($"to be read again, because {Restart.Because(pending)}")
        : InSync.Instance;

    protected override void Apply(IMachineWriter writer, IReadOnlyList<string> state, Change change, CancellationToken cancellation) => writer.ReloadSystemd();
}
