using NodeAgent.Convergence;
using Serilog;
using Serilog.Core;

namespace NodeAgent.Telemetry;

/// <summary>A run as journald has it: an entry for each resource that changed, does not hold or has something to say, with its fields.</summary>
internal sealed class RunLog(ILogger logger) : IRunObserver
{
    public static Logger ToJournal(string version, ILogEventSink sink) => new LoggerConfiguration()
        .MinimumLevel.Information()
        .Enrich.WithProperty("Version", version)
        .WriteTo.Sink(sink)
        .CreateLogger();

    public void Changing(Resource resource, Change change)
    {
    }

    public void Finished(Step step)
    {
        if (step.Outcome is Held && step.Outcome.Notes.Count == 0)
        {
            return;
        }

        var log = logger
            .ForContext("Resource", step.Resource.Id)
            .ForContext("Concern", step.Resource.Concern.ToString())
            .ForContext("DurationMs", (long)step.Duration.TotalMilliseconds);
        foreach (var note in step.Outcome.Notes)
        {
            log.Information("{Outcome:l} {What:l}: {Why:l}", "said", step.Resource.Id, note);
        }

        var why = RunText.Why(step.Outcome);
        switch (step.Outcome)
        {
            case Held:
                break;
            case Changed changed:
                log.ForContext("Disruption", changed.Change.Disruption.ToString())
                    .Information("{Outcome:l} {What:l}: {Why:l}", "changed", step.Resource.Id, why);
                break;
            case Skipped or OutOfTime:
                log.Warning("{Outcome:l} {What:l}: {Why:l}", RunText.Verb(step.Outcome), step.Resource.Id, why);
                break;
            default:
                log.Error("{Outcome:l} {What:l}: {Why:l}", RunText.Verb(step.Outcome), step.Resource.Id, why);
                break;
        }
    }
}
