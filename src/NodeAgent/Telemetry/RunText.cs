using NodeAgent.Convergence;

namespace NodeAgent.Telemetry;

/// <summary>The words for what became of a resource, the same wherever they are read.</summary>
internal static class RunText
{
    public static string Verb(Outcome outcome) => outcome switch
    {
        Held => "holds",
        Changed => "changed",
        RefusedToChange => "refused",
        Failed => "failed",
        Skipped => "skipped",
        OutOfTime => "out of time",
        _ => throw new ArgumentOutOfRangeException(nameof(outcome), outcome, null),
    };

    public static string Why(Outcome outcome) => outcome switch
    {
        Held => "",
        Changed changed => changed.Change.Why,
        RefusedToChange refused => $"{refused.Finding.Why}. To do: {refused.Finding.Remedy}",
        Failed failed => failed.Why,
        Skipped skipped => $"needs {skipped.Because.Id}",
        OutOfTime => "the run's deadline came first",
        _ => throw new ArgumentOutOfRangeException(nameof(outcome), outcome, null),
    };
}
