using System.Globalization;

namespace NodeAgent.Commands;

/// <summary>How a moment is written for people and for what reads our files and JSON: UTC, to the second, as in 2026-11-21T19:16:40Z.</summary>
internal static class Rfc3339
{
    public static string Text(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
