using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Facts;
using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <summary>Exceptions as people read them. What nobody expected keeps its stack trace.</summary>
internal static class Errors
{
    /// <param name="timedOut">Whether the run's own deadline has passed.</param>
    public static string Text(Exception exception, TimeSpan? deadline, bool timedOut) => exception switch
    {
        ConfigurationException { Errors: [var only] } => $"bad configuration: {only}",
        ConfigurationException e => $"bad configuration, {e.Errors.Count} errors:\n{string.Join('\n', e.Errors.Select(x => $"  {x}"))}",
        OperationCanceledException e when timedOut && deadline is { } value => $"not done within the deadline of {new Duration(value)}: {e.Message}",
        OperationCanceledException => "told to stop",
        AwsException or NotPossibleException or FactsException or MachineException or ProbeException or NotReachableException or Pki.CaException => exception.Message,
        _ => exception.ToString(),
    };
}
