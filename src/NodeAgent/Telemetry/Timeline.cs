using System.Diagnostics;
using System.Globalization;

namespace NodeAgent.Telemetry;

/// <summary>Where a run's time went, by phase, in the order in which phases began. Phases that are named twice add up.</summary>
internal sealed class Timeline
{
    private readonly long _started = Stopwatch.GetTimestamp();
    private readonly List<(string Phase, TimeSpan Duration)> _phases = [];

    public TimeSpan Total => Stopwatch.GetElapsedTime(_started);

    public IReadOnlyList<(string Phase, TimeSpan Duration)> Phases => _phases;

    public T Measure<T>(string phase, Func<T> work)
    {
        var started = Stopwatch.GetTimestamp();
        try
        {
            return work();
        }
        finally
        {
            Add(phase, Stopwatch.GetElapsedTime(started));
        }
    }

    public async Task<T> MeasureAsync<T>(string phase, Func<Task<T>> work)
    {
        var started = Stopwatch.GetTimestamp();
        try
        {
            return await work().ConfigureAwait(false);
        }
        finally
        {
            Add(phase, Stopwatch.GetElapsedTime(started));
        }
    }

    public void Add(string phase, TimeSpan duration)
    {
        var index = _phases.FindIndex(p => p.Phase == phase);
        if (index < 0)
        {
            _phases.Add((phase, duration));
        }
        else
        {
            _phases[index] = (phase, _phases[index].Duration + duration);
        }
    }

    /// <summary>As in "1.9 s (start 50 ms, metadata 120 ms, storage 1.2 s)".</summary>
    public override string ToString() =>
        $"{Text(Total)} ({string.Join(", ", _phases.Where(p => p.Duration.TotalMilliseconds >= 1).Select(p => $"{p.Phase} {Text(p.Duration)}"))})";

    public static string Text(TimeSpan duration) => duration.TotalSeconds >= 10 ? string.Create(CultureInfo.InvariantCulture, $"{duration.TotalSeconds:0} s")
        : duration.TotalSeconds >= 1 ? string.Create(CultureInfo.InvariantCulture, $"{duration.TotalSeconds:0.0} s")
        : string.Create(CultureInfo.InvariantCulture, $"{duration.TotalMilliseconds:0} ms");
}
