using NodeAgent.Convergence;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>A run as it goes on: a line for what is being changed, and what became of it.</summary>
internal sealed class ApplyProgress(TextWriter output, bool terminal, bool color, Action<string> status, IRunObserver log, Timeline timeline) : IRunObserver
{
    private const string Red = "\e[31m", Green = "\e[32m", Cyan = "\e[36m", Dim = "\e[2m", Reset = "\e[0m", ClearLine = "\r\e[K";

    public void Changing(Resource resource, Change change)
    {
        status($"changing {resource.Id}");
        if (terminal)
        {
            output.Write($"  {Paint(Dim, "…")} {resource.Id}: {change.Why}");
        }

        log.Changing(resource, change);
    }

    public void Finished(Step step)
    {
        timeline.Add(PlanText.Title(step.Resource.Concern).ToLowerInvariant(), step.Duration);
        log.Finished(step);
        if (step.Outcome is not Held)
        {
            Write(step);
        }

        foreach (var note in step.Outcome.Notes)
        {
            output.WriteLine($"  {Paint(Cyan, "i")} {step.Resource.Id}: {note}");
        }
    }

    private void Write(Step step)
    {
        var mark = step.Outcome is Changed ? Paint(Green, "✓") : Paint(Red, "✗");
        var verb = step.Outcome is Changed ? "" : RunText.Verb(step.Outcome).ToUpperInvariant() + ": ";
        output.WriteLine(
            $"{(terminal ? ClearLine : "")}  {mark} {step.Resource.Id}: {verb}{RunText.Why(step.Outcome)} {Paint(Dim, $"({Timeline.Text(step.Duration)})")}");
    }

    private string Paint(string paint, string text) => color ? paint + text + Reset : text;
}
