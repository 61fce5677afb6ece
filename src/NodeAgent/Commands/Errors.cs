using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Facts;
using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <summary>Exceptions as people read them. What nobody expected keeps its stack trace.</summary>
internal static class Errors
{
    /// <summary>Runs until <paramref name="deadline"/>, and says that it was over where it was, instead of that somebody stopped the run.</summary>
    /// <exception cref="NotReachableException">The deadline came first.</exception>
    public static async Task<T> Within<T>(TimeSpan deadline, Func<CancellationToken, Task<T>> run, CancellationToken stop)
    {
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(stop);
        timer.CancelAfter(deadline);
        try
        {
            return await run(timer.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!stop.IsCancellationRequested)
        {
            throw new NotReachableException(Text(e, deadline, timedOut: true));
        }
    }

    /// <param name="timedOut">Whether the run's own deadline has passed.</param>
    public static string Text(Exception exception, TimeSpan? deadline, bool timedOut) => exception switch
    {
        ConfigurationException { Errors: [var only] } => $"bad configuration: {only}",
        ConfigurationException e => $"bad configuration, {e.Errors.Count} errors:\n{string.Join('\n', e.Errors.Select(x => $"  {x}"))}",
        OperationCanceledException e when timedOut && deadline is { } value => $"not done within the deadline of {new Duration(value)}: {e.Message}",
        OperationCanceledException => "told to stop",
        AwsException or NotPossibleException or FactsException or MachineException or ProbeException or NotReachableException
            or Pki.CaException => exception.Message,
        _ => exception.ToString(),
    };
}
