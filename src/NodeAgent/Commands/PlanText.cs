using System.Globalization;
using NodeAgent.Advice;
using NodeAgent.Convergence;

namespace NodeAgent.Commands;

/// <summary>A plan for people: by concern, each change with its reason and diff, one line that sums up.</summary>
internal sealed class PlanText(TextWriter output, bool color)
{
    private const string Red = "\e[31m", Green = "\e[32m", Yellow = "\e[33m", Cyan = "\e[36m", Bold = "\e[1m", Reset = "\e[0m";

    public void Write(Plan plan, IReadOnlyList<Advisory>? advice = null)
    {
        advice ??= [];
        if (advice.Count > 0)
        {
            output.WriteLine(Paint(Bold, "Advice"));
            foreach (var advisory in advice)
            {
                output.WriteLine($"  {(advisory.IsRefused ? Paint(Red, "x") : Paint(Cyan, "i"))} {AdviceText.Line(advisory)}");
            }

            output.WriteLine();
        }

        foreach (var group in plan.Steps.Where(s => s.Finding is not InSync || s.Finding.Notes.Count > 0).GroupBy(s => s.Resource.Concern).OrderBy(g => g.Key))
        {
            output.WriteLine(Paint(Bold, Title(group.Key)));
            foreach (var step in group)
            {
                Write(step);
            }

            output.WriteLine();
        }

        output.WriteLine(Summary(plan, advice.Count(a => a.IsRefused)));
    }

    public static string Summary(Plan plan, int refusedByAdvice = 0)
    {
        var parts = new List<string> { Count(plan.Changes, "to change") };
        if (plan.Refusals > 0)
        {
            parts.Add(Count(plan.Refusals, "refused"));
        }

        if (plan.Unknowns > 0)
        {
            parts.Add(Count(plan.Unknowns, "that could not be examined"));
        }

        parts.Add(Count(plan.Steps.Count - plan.Changes - plan.Refusals - plan.Unknowns, "in sync"));
        var sum = plan.Changes + plan.Refusals + plan.Unknowns == 0 ? "Nothing to do" : "Plan";
        if (plan.Notes.Count is > 0 and var notes)
        {
            parts.Add(Count(notes, "only said"));
        }

        if (refusedByAdvice > 0)
        {
            parts.Add(Count(refusedByAdvice, "refused by advice, so that nothing would be done"));
        }

        return $"{sum}: {string.Join(", ", parts)}.{(plan.Worst == Disruption.None ? "" : $" Most disruptive: {Words(plan.Worst)}.")}";
    }

    public static string Words(Disruption disruption) => disruption switch
    {
        Disruption.RestartsService => "restarts a service",
        Disruption.InterruptsServices => "interrupts services",
        Disruption.RecreatesPods => "recreates pods",
        Disruption.DestroysData => "destroys data",
        _ => "none",
    };

    public static string Title(Concern concern) => concern switch
    {
        Concern.StaticPods => "Static pods",
        Concern.Network => "Pod network",
        _ => concern.ToString(),
    };

    private void Write(PlannedStep step)
    {
        if (step.Finding is not InSync)
        {
            WriteChange(step);
        }

        foreach (var note in step.Finding.Notes)
        {
            output.WriteLine($"  {Paint(Cyan, "i")} {step.Resource.Id}: {note}");
        }
    }

    private void WriteChange(PlannedStep step)
    {
        var (mark, paint, text, diff) = step.Finding switch
        {
            Change c =>
                (c.Disruption == Disruption.None ? "~" : "!", c.Disruption == Disruption.DestroysData ? Red : Yellow, Disrupting(c.Why, c.Disruption), c.Diff),
            After a => (">", Yellow, Disrupting($"{a.Expected.Why} (seen once there is {a.Ground.Id})", a.Expected.Disruption), a.Expected.Diff),
            Refused r => ("x", Red, $"REFUSED: {r.Why}. To do: {r.Remedy}", null),
            Unknown u => ("?", Red, $"UNKNOWN: {u.Why}", null),
            _ => throw new ArgumentOutOfRangeException(nameof(step), step.Finding, null),
        };
        output.WriteLine(
            $"  {Paint(paint, mark)} {step.Resource.Id}: {text}{(step.BlockedBy is { } blocker ? $" (would be skipped: needs {blocker.Id})" : "")}");
        foreach (var line in (diff ?? "").Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            output.WriteLine("      " + (line[0] switch { '+' => Paint(Green, line), '-' => Paint(Red, line), '@' => Paint(Cyan, line), _ => line }));
        }
    }

    private static string Disrupting(string why, Disruption disruption) => disruption == Disruption.None ? why : $"{why} [{Words(disruption)}]";

    private static string Count(int count, string what) => string.Create(CultureInfo.InvariantCulture, $"{count} {what}");

    private string Paint(string paint, string text) => color ? paint + text + Reset : text;
}
