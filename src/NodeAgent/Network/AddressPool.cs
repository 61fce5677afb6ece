namespace NodeAgent.Network;

/// <summary>A range that is somebody's, and whose.</summary>
/// <param name="Whose">As a message names it: "cluster.podRange", "peers.office".</param>
internal readonly record struct Claim(string Whose, Cidr Range)
{
    public override string ToString() => $"{Whose} {Range}";

    /// <summary>
    /// Who of <paramref name="theirs"/> has addresses of <paramref name="mine"/>, in their order. What a plan keeps apart and what a node is checked against is
    /// this one rule.
    /// </summary>
    public static IEnumerable<(Claim Mine, Claim Theirs)> Overlaps(IEnumerable<Claim> mine, IReadOnlyCollection<Claim> theirs) =>
        from m in mine
        from t in theirs
        where m.Range.Overlaps(t.Range)
        select (m, t);
}

/// <summary>Ranges of IPv4 of which parts are handed out, the lowest that is free first: the same questions in the same order have the same answers.</summary>
/// <param name="ranges">In the order in which they are used.</param>
/// <param name="taken">What nobody gets; grows with what is handed out, here or by whoever shares the list.</param>
internal sealed class AddressPool(IReadOnlyList<Cidr> ranges, List<Cidr> taken)
{
    public IReadOnlyList<Cidr> Ranges { get; } = ranges;

    /// <returns>Null where no part of this size is free.</returns>
    public Cidr? Take(int prefix)
    {
        foreach (var range in Ranges.Where(r => r.Prefix <= prefix))
        {
            var size = 1UL << (32 - prefix);
            var (first, last) = ((ulong)range.Bounds.First, (ulong)range.Bounds.Last);
            while (first + size - 1 <= last)
            {
                var part = Cidr.IPv4((uint)first, prefix);
                if (taken.FindIndex(t => t.Overlaps(part)) is >= 0 and var index)
                {
                    first = Up(taken[index].Bounds.Last + 1UL, size);
                    continue;
                }

                taken.Add(part);
                return part;
            }
        }

        return null;
    }

    /// <summary>How many more parts of this size there are.</summary>
    public long Room(int prefix)
    {
        var size = 1UL << (32 - prefix);
        var room = 0L;
        foreach (var range in Ranges)
        {
            ulong at = range.Bounds.First;
            foreach (var (first, last) in taken.Where(t => t.Overlaps(range)).Select(t => t.Bounds).Order())
            {
                room += Between(at, first);
                at = Math.Max(at, last + 1UL);
            }

            room += Between(at, range.Bounds.Last + 1UL);
        }

        return room;

        long Between(ulong from, ulong end) => end > Up(from, size) ? (long)((end - Up(from, size)) / size) : 0;
    }

    private static ulong Up(ulong address, ulong size) => (address + size - 1) / size * size;
}
