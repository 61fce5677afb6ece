using System.Diagnostics;
using NodeAgent.Machine;

namespace NodeAgent.Convergence;

/// <summary>What became of one resource in one run.</summary>
internal abstract record Outcome
{
    /// <summary>As <see cref="Finding.Notes"/>, once the work is done.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}

internal sealed record Held : Outcome
{
    public static readonly Held Instance = new();
}

internal sealed record Changed(Change Change) : Outcome;

internal sealed record RefusedToChange(Refused Finding) : Outcome;

internal sealed record Failed(string Why) : Outcome
{
    /// <summary>As <see cref="MachineException.IsOutOfReach"/>.</summary>
    public bool IsOutOfReach { get; init; }
}

internal sealed record Skipped(Resource Because) : Outcome;

/// <summary>The run's deadline came, or it was told to stop, before this one's turn was over.</summary>
internal sealed record OutOfTime : Outcome
{
    public static readonly OutOfTime Instance = new();
}

internal sealed record Step(Resource Resource, Outcome Outcome, TimeSpan Duration);

/// <summary>Hears of a run as it goes on.</summary>
internal interface IRunObserver
{
    void Changing(Resource resource, Change change);

    void Finished(Step step);
}

internal sealed record RunResult(IReadOnlyList<Step> Steps)
{
    public IReadOnlyList<(Resource Resource, string Note)> Notes => [.. Steps.SelectMany(s => s.Outcome.Notes.Select(n => (s.Resource, n)))];

    public int Count<T>()
        where T : Outcome => Steps.Count(s => s.Outcome is T);

    public bool Succeeded => Steps.All(s => s.Outcome is Held or Changed);
}

/// <summary>Carries a list out, in its order: examine, change, examine again. What fails stops what needs it, and nothing else.</summary>
internal static class Applier
{
    public static RunResult Apply(ResourceList list, IMachineReader reader, IMachineWriter writer, IRunObserver observer, CancellationToken cancellation)
    {
        var steps = new List<Step>(list.Items.Count);
        var outcomes = new Dictionary<Resource, Outcome>(list.Items.Count);
        foreach (var resource in list.Items)
        {
            var started = Stopwatch.GetTimestamp();
            var blocker = resource.Needs.FirstOrDefault(n => outcomes.GetValueOrDefault(n, Held.Instance) is not (Held or Changed));
            var outcome = cancellation.IsCancellationRequested ? OutOfTime.Instance
                : blocker is not null ? new Skipped(blocker)
                : ApplyOne(resource, list, reader, writer, observer, cancellation);
            outcomes[resource] = outcome;
            var step = new Step(resource, outcome, Stopwatch.GetElapsedTime(started));
            steps.Add(step);
            observer.Finished(step);
        }

        return new RunResult(steps);
    }

    private static Outcome ApplyOne(
        Resource resource, ResourceList list, IMachineReader reader, IMachineWriter writer, IRunObserver observer, CancellationToken cancellation)
    {
        try
        {
            var finding = resource.Apply(
                reader,
                writer,
                change =>
                {
                    observer.Changing(resource, change);
                    foreach (var answering in change.LeavesContent ? [] : list.Answering(resource))
                    {
                        answering.InputWillChange(resource, change, reader, writer);
                    }
                },
                cancellation);
            return finding switch
            {
                InSync inSync => inSync.Notes.Count == 0 ? Held.Instance : new Held { Notes = inSync.Notes },
                Refused refused => new RefusedToChange(refused),
                Unknown unknown => new Failed(unknown.Why) { IsOutOfReach = unknown.IsOutOfReach },
                Change change => Verify(resource, change, reader),
                _ => throw new UnreachableException($"{resource.Id}: {finding}"),
            };
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            return OutOfTime.Instance;
        }
        catch (Exception e) when (e is MachineException or ProbeException)
        {
            return cancellation.IsCancellationRequested ? OutOfTime.Instance
                : new Failed(e.Message) { IsOutOfReach = e is MachineException { IsOutOfReach: true } };
        }
    }

    private static Outcome Verify(Resource resource, Change change, IMachineReader reader) => resource.Examine(reader, []) switch
    {
        InSync inSync => new Changed(change) { Notes = inSync.Notes },
        Change still => new Failed($"was carried out ({change.Why}) and still differs: {still.Why}"),
        Refused refused => new Failed($"was carried out ({change.Why}) and is now refused: {refused.Why}"),
        Unknown unknown => new Failed($"was carried out ({change.Why}) and cannot be examined: {unknown.Why}"),
        var other => throw new UnreachableException($"{resource.Id}: {other}"),
    };
}
