using NodeAgent.Advice;
using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Facts;
using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <summary>What a caller may rely on: docs/operations.md has them with what to do about each.</summary>
internal static class ExitCode
{
    public const int Ok = 0;

    public const int Failed = 1;

    /// <summary>plan, config show --pending and cluster plan: something would change; certs list: something is due, or there is none.</summary>
    public const int ChangesPending = 2;

    /// <summary>Also of the command line.</summary>
    public const int BadConfiguration = 3;

    public const int NotReachableInTime = 4;

    public const int Refused = 5;

    /// <summary>SIGTERM or SIGINT, as shells count it.</summary>
    public const int ToldToStop = 143;

    public static int Of(Exception exception) => exception switch
    {
        ConfigurationException or FactsException => BadConfiguration,
        NotPossibleException { IsRefusal: true } => Refused,
        AwsException { IsOutOfReach: true } or MachineException { IsOutOfReach: true } => NotReachableInTime,
        OperationCanceledException or NotReachableException => NotReachableInTime,
        _ => Failed,
    };

    public static int Of(Plan plan, IReadOnlyList<Advisory>? advice = null) => plan.Refusals > 0 || advice?.Any(a => a.IsRefused) == true
        ? Refused
        : plan.Unknowns > 0 ? Failed : plan.Changes > 0 ? ChangesPending : Ok;

    public static int Of(RunResult result) => result.Count<RefusedToChange>() > 0 ? Refused
        : result.Steps.Any(s => s.Outcome is OutOfTime or Failed { IsOutOfReach: true }) ? NotReachableInTime
        : result.Succeeded ? Ok
        : Failed;
}
