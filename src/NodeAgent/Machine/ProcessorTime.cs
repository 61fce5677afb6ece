namespace NodeAgent.Machine;

/// <summary>User and system time, since this process began.</summary>
/// <param name="Own">Of all threads of this process, and of starting it.</param>
/// <param name="Programs">Of the programs that it ran and saw the end of, and of theirs. What systemd starts for it is not among them.</param>
internal readonly record struct ProcessorTime(TimeSpan Own, TimeSpan Programs)
{
    // getrusage(2): RUSAGE_SELF, RUSAGE_CHILDREN; struct rusage is two timevals and 14 more words.
    private const int Self = 0;
    private const int Children = -1;
    private const int Words = 18;

    public static ProcessorTime Now => new(Of(Self), Of(Children));

    public static ProcessorTime operator +(ProcessorTime a, ProcessorTime b) => new(a.Own + b.Own, a.Programs + b.Programs);

    public static ProcessorTime operator -(ProcessorTime a, ProcessorTime b) => new(a.Own - b.Own, a.Programs - b.Programs);

    private static TimeSpan Of(int whose)
    {
        Span<long> usage = stackalloc long[Words];
        return Libc.ResourceUsage(whose, usage) == 0
            ? TimeSpan.FromSeconds(usage[0] + usage[2]) + TimeSpan.FromMicroseconds(usage[1] + usage[3])
            : TimeSpan.Zero;
    }
}
