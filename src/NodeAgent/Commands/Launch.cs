using NodeAgent.Aws;
using NodeAgent.Desired;
using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <summary>
/// The launch of this instance as its group has to hear of it: heartbeats while somebody works on it, and one answer. `apply` begins it and gives it up where
/// no further try could help; `ready` goes on, and says that it was a success. Where no action of the hook is in progress (any boot of a node in service)
/// nothing is wrong: that is said once.
/// </summary>
internal sealed class Launch : IAsyncDisposable
{
    private static readonly TimeSpan AnswerWithin = TimeSpan.FromMinutes(1);

    // Back in a warm pool there is nearly nothing to be prepared, and the pool's action begins after the one of leaving has ended.
    private static readonly TimeSpan ActionMayCome = TimeSpan.FromMinutes(2);

    private static readonly TimeSpan BetweenAnswers = TimeSpan.FromSeconds(5);

    private readonly Lazy<LifecycleHook> _hook;
    private readonly TimeSpan _heartbeat;
    private readonly TimeSpan _giveUpAfter;
    private readonly string _path;
    private readonly TimeProvider _time;
    private readonly Action<string> _say;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _beating;
    private LifecycleRecord _record;
    private string _said = "";

    private Launch(
        LifecycleRecord record, Lazy<LifecycleHook> hook, TimeSpan heartbeat, TimeSpan giveUpAfter, string path, TimeProvider time, Action<string> say)
    {
        (_record, _hook, _heartbeat, _giveUpAfter, _path, _time, _say) = (record, hook, heartbeat, giveUpAfter, path, time, say);
        _beating = record.Answer is null ? Task.Run(Beat) : Task.CompletedTask;
    }

    /// <param name="target">The lifecycle state that this launch leads to: another one is another launch.</param>
    /// <param name="path">Of the launch's record.</param>
    /// <param name="open">Called when there is something to say.</param>
    /// <exception cref="MachineException">The record cannot be written.</exception>
    public static Launch Begin(
        string target, Func<LifecycleHook> open, TimeSpan heartbeat, TimeSpan giveUpAfter, string path, TimeProvider time, Action<string> say) =>
        new(LifecycleRecord.Begin(path, target, time), new(open), heartbeat, giveUpAfter, path, time, say);

    /// <summary>Whether it has gone on for so long without success that a failure is the last one.</summary>
    public bool IsOverdue => _record.Age(_time) >= _giveUpAfter;

    /// <summary>The run of `apply` that worked on it is over. Its success is only half of the way.</summary>
    public async Task Ended(int exitCode, CancellationToken stop)
    {
        // systemd tries nothing again after these two, and anything else until it is overdue.
        if (exitCode is ExitCode.BadConfiguration or ExitCode.Refused)
        {
            await Answer(LifecycleResult.Abandon, $"exit code {exitCode}, which trying again does not mend", stop).ConfigureAwait(false);
        }
        else if (exitCode is not (ExitCode.Ok or ExitCode.ToldToStop) && IsOverdue)
        {
            await Answer(LifecycleResult.Abandon, $"exit code {exitCode}, and nothing came of it within {_giveUpAfter.TotalMinutes:0.#} minutes", stop)
                .ConfigureAwait(false);
        }
    }

    /// <summary>The one answer; a second one is not given.</summary>
    /// <returns>Whether the group has it, or waits for none.</returns>
    public async Task<bool> Answer(LifecycleResult result, string why, CancellationToken stop)
    {
        if (_record.Answer is not null)
        {
            return true;
        }

        await StopBeating().ConfigureAwait(false);
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(stop);
        timer.CancelAfter(AnswerWithin);
        try
        {
            var isTaken = await _hook.Value.Complete(result, timer.Token).ConfigureAwait(false);
            while (!isTaken && result == LifecycleResult.Continue && Lifecycle.IsWarm(_record.Target) && _record.Age(_time) < ActionMayCome)
            {
                await Task.Delay(BetweenAnswers, _time, stop).ConfigureAwait(false);
                timer.CancelAfter(AnswerWithin);
                isTaken = await _hook.Value.Complete(result, timer.Token).ConfigureAwait(false);
            }

            Say(isTaken
                ? $"hook {_hook.Value.Name} is told {LifecycleHook.Word(result)}: {why}"
                : $"hook {_hook.Value.Name} waits for no answer ({LifecycleHook.Word(result)}: {why}): no launch of this instance is in progress");
            _record = _record with { Answer = LifecycleHook.Word(result) };
            _record.Write(_path);
            return true;
        }
        catch (Exception e) when (e is AwsException or MachineException or OperationCanceledException)
        {
            Say(e is OperationCanceledException ? $"hook {_hook.Value.Name} was not told {LifecycleHook.Word(result)}: no answer in time" : e.Message);
            return false;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await StopBeating().ConfigureAwait(false);
        _stop.Dispose();
    }

    private async Task StopBeating()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _beating.ConfigureAwait(false);
    }

    private async Task Beat()
    {
        try
        {
            while (true)
            {
                try
                {
                    if (!await _hook.Value.Heartbeat(_stop.Token).ConfigureAwait(false))
                    {
                        // Not the end of it: metadata may be ahead of the group.
                        Say($"hook {_hook.Value.Name} has no launch of this instance in progress");
                    }
                }
                catch (AwsException e)
                {
                    Say(e.Message);
                }

                await Task.Delay(_heartbeat, _time, _stop.Token).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            // Answered, or the run is over.
        }
    }

    private void Say(string what)
    {
        if (what != _said)
        {
            _said = what;
            _say(what);
        }
    }
}
