namespace NodeAgent.Tests.Issuer;

/// <summary>
/// Time that nobody waits for, and one thread for everybody: when nobody can go on, it is as late as the first who waits wants it to be. What is due at the
/// same moment comes in an order that a seed chooses, so that every run with that seed is the same.
/// </summary>
/// <remarks>
/// It holds as long as everything waits by this time alone, or for somebody who does: then whatever ends a wait is done here, and what waited goes on here,
/// inside of it (continuations of ConfigureAwait(false) stay on a thread without a context of its own). Task.Run, and completions that run asynchronously,
/// leave for the thread pool, and so does what a token cancels; who comes back from there is refused.
/// </remarks>
internal sealed class VirtualTime : TimeProvider
{
    private static readonly DateTimeOffset Start = new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);

    private readonly PriorityQueue<(Timer Timer, long Due), (long Due, int Lot)> _timers = new();
    private int _thread;
    private long _now;

    public Random Chance { get; set; } = new(1);

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => _now;

    public override DateTimeOffset GetUtcNow() => Start.AddTicks(_now);

    /// <summary>While whoever calls does something that takes so long.</summary>
    public void Pass(TimeSpan time) => _now += time.Ticks;

    public void Run(Func<Task> work) => Run(async () =>
    {
        await work();
        return true;
    });

    public T Run<T>(Func<Task<T>> work)
    {
        var context = SynchronizationContext.Current;
        SynchronizationContext.SetSynchronizationContext(null);
        _thread = Environment.CurrentManagedThreadId;
        try
        {
            var task = work();
            while (!task.IsCompleted)
            {
                if (!_timers.TryDequeue(out var next, out _))
                {
                    throw new InvalidOperationException("Everybody waits, and nothing is left that could end it.");
                }

                next.Timer.Fire(next.Due);
            }

            return task.GetAwaiter().GetResult();
        }
        finally
        {
            _thread = 0;
            SynchronizationContext.SetSynchronizationContext(context);
        }
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        period.ShouldBe(Timeout.InfiniteTimeSpan);
        var timer = new Timer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    private sealed class Timer(VirtualTime time, TimerCallback callback, object? state) : ITimer
    {
        private const long Never = -1;

        private long _due = Never;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            _due = dueTime == Timeout.InfiniteTimeSpan ? Never : time._now + dueTime.Ticks;
            if (_due != Never)
            {
                // What a stack trace costs, with its lines looked up, is for whom it tells something: there are timers by the hundred thousand.
                if (Environment.CurrentManagedThreadId != time._thread)
                {
                    throw new ShouldAssertException($"somebody has left the one thread: {Environment.StackTrace}");
                }

                time._timers.Enqueue((this, _due), (_due, time.Chance.Next()));
            }

            return true;
        }

        /// <summary>Unless it was changed since it was asked to be due then.</summary>
        public void Fire(long due)
        {
            if (due == _due)
            {
                _due = Never;
                time._now = Math.Max(time._now, due);
                callback(state);
            }
        }

        public void Dispose() => _due = Never;

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
