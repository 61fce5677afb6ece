using NodeAgent.Machine;

namespace NodeAgent.Convergence;

/// <param name="BlockedBy">A resource this one needs that would not come to hold; this one would be skipped.</param>
internal sealed record PlannedStep(Resource Resource, Finding Finding, Resource? BlockedBy);

/// <summary>What an apply would do now. Made with a reader alone.</summary>
internal sealed class Plan
{
    private Plan(IReadOnlyList<PlannedStep> steps) => Steps = steps;

    public IReadOnlyList<PlannedStep> Steps { get; }

    public int Changes => Steps.Count(s => s.Finding is Change or After);

    public int Refusals => Steps.Count(s => s.Finding is Refused);

    public int Unknowns => Steps.Count(s => s.Finding is Unknown);

    public Disruption Worst => Steps.Select(DisruptionOf).DefaultIfEmpty().Max();

    public static Disruption DisruptionOf(PlannedStep step) => step.Finding switch
    {
        Change c => c.Disruption,
        After a => a.Expected.Disruption,
        _ => Disruption.None,
    };

    /// <summary>What is only said, with the resource that says it, in the list's order.</summary>
    public IReadOnlyList<(Resource Resource, string Note)> Notes => [.. Steps.SelectMany(s => s.Finding.Notes.Select(n => (s.Resource, n)))];

    public static Plan Make(ResourceList list, IMachineReader reader)
    {
        var steps = new List<PlannedStep>(list.Items.Count);
        var byResource = new Dictionary<Resource, PlannedStep>(list.Items.Count);
        foreach (var resource in list.Items)
        {
            var blockedBy = resource.Needs.FirstOrDefault(n => byResource[n].Finding is Refused or Unknown || byResource[n].BlockedBy is not null);
            var ground = resource.Needs.FirstOrDefault(
                n => n.Hides(resource) && (byResource[n].Finding is Change or After || byResource[n].BlockedBy is not null));
            var pending = resource.Inputs.Where(i => byResource[i].Finding is Change { LeavesContent: false } or After).ToList();
            var finding = ground is null ? resource.Examine(reader, pending) : new After(ground, resource.ExpectedOnNothing());
            var step = new PlannedStep(resource, finding, blockedBy);
            steps.Add(step);
            byResource[resource] = step;
        }

        return new Plan(steps);
    }
}
