using System.Globalization;

namespace NodeAgent.Configuration;

/// <summary>A length of time as written: 90s, 10m, 2h, 90d. Whole numbers, one unit, more than zero.</summary>
internal readonly record struct Duration(TimeSpan Value)
{
    /// <summary>The longest that anything is waited for. Timers end at 49 days, and nobody waits for a node as long.</summary>
    public static readonly TimeSpan LongestWait = TimeSpan.FromHours(24);

    public static Duration Parse(string text)
    {
        if (text.Length >= 2 && long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count is > 0
            and < 1_000_000)
        {
            switch (text[^1])
            {
                case 's': return new(TimeSpan.FromSeconds(count));
                case 'm': return new(TimeSpan.FromMinutes(count));
                case 'h': return new(TimeSpan.FromHours(count));
                case 'd': return new(TimeSpan.FromDays(count));
            }
        }

        throw new FormatException($"'{text}' is not a duration; expected a whole number and a unit, as in 90s, 10m, 2h or 90d");
    }

    /// <summary>The largest unit that divides it, so that parsing gives it back.</summary>
    public override string ToString()
    {
        var seconds = (long)Value.TotalSeconds;
        var (unit, letter) = seconds % 86400 == 0 ? (86400, 'd') : seconds % 3600 == 0 ? (3600, 'h') : seconds % 60 == 0 ? (60, 'm') : (1, 's');
        return string.Create(CultureInfo.InvariantCulture, $"{seconds / unit}{letter}");
    }
}

/// <summary>Exactly one is set: bytes, or percent (1 to 100) of the volume group.</summary>
internal readonly record struct VolumeSize(long? Bytes, int? Percent)
{
    private static readonly (string Suffix, long Factor)[] Units =
        [("TiB", 1L << 40), ("GiB", 1L << 30), ("MiB", 1L << 20), ("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000)];

    public static VolumeSize Parse(string text)
    {
        if (text.EndsWith('%') && int.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var percent)
            && percent is >= 1 and <= 100)
        {
            return new(null, percent);
        }

        foreach (var (suffix, factor) in Units)
        {
            if (text.EndsWith(suffix, StringComparison.Ordinal)
                && long.TryParse(text.AsSpan(0, text.Length - suffix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var count)
                && count is > 0 and < 1_000_000)
            {
                return new(count * factor, null);
            }
        }

        throw new FormatException(
            $"'{text}' is not a volume size; expected percent of the volume group (1% to 100%) or bytes with a unit (MiB, GiB, TiB, MB, GB, TB), as in 60% "
                + "or 200GiB");
    }

    public override string ToString()
    {
        if (Percent is { } percent)
        {
            return string.Create(CultureInfo.InvariantCulture, $"{percent}%");
        }

        var bytes = Bytes ?? 0;
        var (suffix, factor) = Units.First(u => bytes % u.Factor == 0 || u.Factor == 1_000_000);
        return string.Create(CultureInfo.InvariantCulture, $"{bytes / factor}{suffix}");
    }
}
