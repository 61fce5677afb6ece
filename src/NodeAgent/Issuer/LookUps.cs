namespace NodeAgent.Issuer;

/// <summary>
/// Many questions, few calls: those that come while others wait go together, a full call at once, a smaller one after a pause that grows with use. What was
/// found is remembered for seconds; what was not found is asked again each time.
/// </summary>
/// <param name="ask">All keys of one call to what was found; a key that is missing there is not to be found.</param>
/// <param name="largest">Keys a call.</param>
internal sealed class LookUps<T>(
    Func<IReadOnlyList<string>, CancellationToken, Task<IReadOnlyDictionary<string, T>>> ask, int largest, TimeSpan remembered, TimeProvider time)
    where T : class
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(10);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, List<TaskCompletionSource<T?>>> _waiting = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (T Value, long At)> _known = new(StringComparer.Ordinal);
    private readonly Queue<long> _calls = new();
    private bool _running;

    public long Calls { get; private set; }

    /// <returns>Null when there is no such thing, as far as is known yet.</returns>
    public Task<T?> Get(string key)
    {
        // One for each who waits: where several wait for the same task, the platform sends them to the thread pool.
        var answer = new TaskCompletionSource<T?>();
        bool isFirst;
        lock (_gate)
        {
            if (_known.TryGetValue(key, out var known) && time.GetElapsedTime(known.At) < remembered)
            {
                return Task.FromResult<T?>(known.Value);
            }

            if (!_waiting.TryGetValue(key, out var waiters))
            {
                _waiting[key] = waiters = [];
            }

            waiters.Add(answer);
            (isFirst, _running) = (!_running, true);
        }

        if (isFirst)
        {
            _ = Run();
        }

        return Turn(answer.Task);
    }

    /// <summary>
    /// Who waits goes on by itself, and not within what gave the answer, or all who waited would go on one after the other. By a timer and not by the thread
    /// pool alone, so that whose time it is has the order in hand: tests.
    /// </summary>
    private async Task<T?> Turn(Task<T?> answer)
    {
        await ((Task)answer).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        var turn = new TaskCompletionSource();
        using var timer = time.CreateTimer(static state => ((TaskCompletionSource)state!).SetResult(), turn, TimeSpan.Zero, Timeout.InfiniteTimeSpan);
        await turn.Task.ConfigureAwait(false);
        return await answer.ConfigureAwait(false);
    }

    private async Task Run()
    {
        while (true)
        {
            var pause = Pause(RecentCalls());
            var since = time.GetTimestamp();
            while (time.GetElapsedTime(since) < pause && Waiting < largest)
            {
                await Task.Delay(Tick, time).ConfigureAwait(false);
            }

            List<KeyValuePair<string, List<TaskCompletionSource<T?>>>> batch;
            lock (_gate)
            {
                batch = [.. _waiting.Take(largest)];
                if (batch.Count == 0)
                {
                    _running = false;
                    return;
                }

                foreach (var (key, _) in batch)
                {
                    _waiting.Remove(key);
                }

                _calls.Enqueue(time.GetTimestamp());
                Calls++;
            }

            await Answer(batch).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Fewer than 50 calls a minute, but for full ones: EC2's buckets refill slowly, and other callers of the account drink from them, too. One node that joins
    /// waits for nobody.
    /// </summary>
    private static TimeSpan Pause(int callsOfThisMinute) => TimeSpan.FromMilliseconds(callsOfThisMinute switch { < 10 => 20, < 20 => 500, _ => 2000 });

    private int Waiting
    {
        get
        {
            lock (_gate)
            {
                return _waiting.Count;
            }
        }
    }

    private int RecentCalls()
    {
        lock (_gate)
        {
            while (_calls.TryPeek(out var oldest) && time.GetElapsedTime(oldest) > TimeSpan.FromMinutes(1))
            {
                _calls.Dequeue();
            }

            return _calls.Count;
        }
    }

    private async Task Answer(List<KeyValuePair<string, List<TaskCompletionSource<T?>>>> batch)
    {
        try
        {
            using var patience = new CancellationTokenSource(Patience, time);
            var found = await ask([.. batch.Select(b => b.Key)], patience.Token).ConfigureAwait(false);
            lock (_gate)
            {
                foreach (var old in _known.Where(k => time.GetElapsedTime(k.Value.At) >= remembered).Select(k => k.Key).ToList())
                {
                    _known.Remove(old);
                }

                foreach (var (key, _) in batch)
                {
                    if (found.TryGetValue(key, out var value))
                    {
                        _known[key] = (value, time.GetTimestamp());
                    }
                }
            }

            foreach (var (key, waiters) in batch)
            {
                waiters.ForEach(w => w.SetResult(found.GetValueOrDefault(key)));
            }
        }
#pragma warning disable CA1031 // Whatever it is, it is the answer to those who wait, and the next batch is tried.
        catch (Exception e)
#pragma warning restore CA1031
        {
            foreach (var waiter in batch.SelectMany(b => b.Value))
            {
                waiter.TrySetException(e);
            }
        }
    }
}
