using System.Diagnostics;
using System.Globalization;
using NodeAgent.Machine;

namespace NodeAgent.Telemetry;

/// <summary>
/// Where a run's time went, by phase, in the order in which phases ended first. Phases that are named twice add up. A phase has the processor time since the
/// one before ended, whoever of this process spent it: what goes on beside it, too.
/// </summary>
internal sealed class Timeline
{
    /// <summary>The phase before all others: .NET's own start, and what led here. Nobody measured how long it took.</summary>
    public const string Start = "start";

    private readonly long _started = Stopwatch.GetTimestamp();
    private readonly Func<ProcessorTime> _processor;
    private readonly List<(string Phase, TimeSpan Duration, ProcessorTime Processor)> _phases = [];
    private ProcessorTime _accounted;

    /// <param name="processor">What this process has spent; the machine's word unless given.</param>
    public Timeline(Func<ProcessorTime>? processor = null)
    {
        _processor = processor ?? (() => ProcessorTime.Now);
        Add(Start, TimeSpan.Zero);
    }

    public TimeSpan Total => Stopwatch.GetElapsedTime(_started);

    public IReadOnlyList<(string Phase, TimeSpan Duration, ProcessorTime Processor)> Phases => _phases;

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
        var all = _processor();
        var processor = all - _accounted;
        _accounted = all;
        var index = _phases.FindIndex(p => p.Phase == phase);
        if (index < 0)
        {
            _phases.Add((phase, duration, processor));
        }
        else
        {
            _phases[index] = (phase, _phases[index].Duration + duration, _phases[index].Processor + processor);
        }
    }

    /// <summary>By phase, to the millisecond, for programs; what is none of it is left out.</summary>
    public IReadOnlyDictionary<string, double> Seconds(Func<(string Phase, TimeSpan Duration, ProcessorTime Processor), TimeSpan> of) =>
        _phases.Where(p => of(p) > TimeSpan.Zero).ToDictionary(p => p.Phase, p => Math.Round(of(p).TotalSeconds, 3));

    /// <summary>As in "1.9 s (metadata 120 ms, storage 1.2 s), processor 480 ms, programs' 210 ms".</summary>
    public override string ToString()
    {
        var phases = string.Join(", ", _phases.Where(p => p.Duration.TotalMilliseconds >= 1).Select(p => $"{p.Phase} {Text(p.Duration)}"));
        return $"{Text(Total)} ({phases}), processor {Text(_accounted.Own)}, programs' {Text(_accounted.Programs)}";
    }

    public static string Text(TimeSpan duration) => duration.TotalSeconds >= 10 ? string.Create(CultureInfo.InvariantCulture, $"{duration.TotalSeconds:0} s")
        : duration.TotalSeconds >= 1 ? string.Create(CultureInfo.InvariantCulture, $"{duration.TotalSeconds:0.0} s")
        : string.Create(CultureInfo.InvariantCulture, $"{duration.TotalMilliseconds:0} ms");
}
