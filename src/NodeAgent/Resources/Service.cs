using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// A service that runs now and starts at boot. During boot its start is only queued, since it is ordered after the agent. One that shall not run is stopped,
/// and whether it starts at boot is for files of ours to say.
/// </summary>
internal sealed class Service(Concern concern, string unit, bool runs = true) : Resource<UnitReport>(concern, "service", unit)
{
    protected override UnitReport Nothing => new(Name, LoadState: "loaded", UnitFileState: "disabled");

    protected override UnitReport Observe(IMachineReader reader) => reader.Unit(Name);

    protected override Finding Diff(UnitReport state, IReadOnlyList<Resource> pending)
    {
        if (!runs)
        {
            return state.IsActive ? new Change("no longer wanted") : InSync.Instance;
        }

        if (!state.IsLoaded)
        {
            return new Unknown($"systemd says {state.LoadState}; install the package that brings {Name}, or unmask it");
        }

        var why = new List<string>();
        if (state.UnitFileState == "disabled")
        {
            why.Add("not enabled");
        }

        if (!IsRunningOrAboutTo(state))
        {
            why.Add(state.ActiveState == "failed" ? "failed" : "not running");
        }

        return why.Count == 0 ? InSync.Instance : new Change(string.Join(", ", why));
    }

    protected override void Apply(IMachineWriter writer, UnitReport state, Change change, CancellationToken cancellation)
    {
        if (!runs)
        {
            writer.StopUnit(Name);
            return;
        }

        if (state.UnitFileState == "disabled")
        {
            writer.EnableUnit(Name);
        }

        if (!IsRunningOrAboutTo(state))
        {
            writer.StartUnit(Name);
        }
    }

    private static bool IsRunningOrAboutTo(UnitReport state) => state.IsActive || state.ActiveState == "activating" || state.Job is "start" or "restart";
}
