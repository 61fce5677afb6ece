using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>The restart that a running service owes to changed inputs. A service that does not run owes none: it reads them when it starts.</summary>
internal sealed class Restart(Concern concern, string unit) : Resource<Restart.State>(concern, "restart", unit)
{
    /// <summary>What it costs the node: of a service that pods do not notice, nothing.</summary>
    public Disruption Disruption { get; init; } = Disruption.RestartsService;

    protected override State Nothing => new(new UnitReport(Name), null);

    protected override State Observe(IMachineReader reader)
    {
        var report = reader.Unit(Name);
        return new State(report, OwedRestart.Read(reader, report));
    }

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending)
    {
        if (state.Unit.Job == "restart")
        {
            return InSync.Instance;
        }

        var reasons = (state.Owed?.Because ?? []).Concat(state.Unit.IsActive ? pending.Select(p => p.Id) : []).Distinct().ToList();
        return reasons.Count == 0 ? InSync.Instance : new Change($"because of {string.Join(", ", reasons)}", Disruption);
    }

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation)
    {
        writer.RestartUnit(Name);
    }

    public override void InputWillChange(Resource input, Change change, IMachineReader reader, IMachineWriter writer) =>
        OwedRestart.Add(reader, writer, reader.Unit(Name), input.Id);

    public static string Because(IReadOnlyList<Resource> pending) =>
        string.Join(", ", pending.Select(p => p.Name)) + (pending.Count == 1 ? " changes" : " change");

    internal sealed record State(UnitReport Unit, OwedRestart? Owed);
}
