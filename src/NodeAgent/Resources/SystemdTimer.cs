using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// A timer that runs, or does not. Whether it runs after a boot is for files of ours to say; what changes in its rhythm, systemd takes up as it reads its units
/// again. Starting or stopping it disturbs nobody, least of all the service that it triggers.
/// </summary>
internal sealed class SystemdTimer(Concern concern, string unit, bool runs) : Resource<UnitReport>(concern, "timer", unit)
{
    protected override UnitReport Nothing => new(Name, LoadState: "loaded", UnitFileState: "static");

    protected override UnitReport Observe(IMachineReader reader) => reader.Unit(Name);

    protected override Finding Diff(UnitReport state, IReadOnlyList<Resource> pending) =>
        // The brake that people reach for; a boot shall not fail on it.
        runs && state.LoadState == "masked" ? InSync.Saying([$"{Name} is masked, so this node does not look for new configuration; systemctl unmask {Name}"])
        : runs && !state.IsLoaded ? new Unknown($"systemd says {state.LoadState}; install the package that brings {Name}")
        : runs && !state.IsActive ? new Change("not running")
        : !runs && state.IsActive ? new Change("no longer wanted")
        : InSync.Instance;

    protected override void Apply(IMachineWriter writer, UnitReport state, Change change, CancellationToken cancellation)
    {
        if (runs)
        {
            writer.StartUnit(Name);
        }
        else
        {
            writer.StopUnit(Name);
        }
    }
}
