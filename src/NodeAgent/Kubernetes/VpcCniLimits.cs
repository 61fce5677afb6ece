using System.Globalization;

namespace NodeAgent.Kubernetes;

/// <param name="Interfaces">Network interfaces that an instance may have, on its default network card.</param>
/// <param name="Addresses">IPv4 addresses of each.</param>
internal sealed record VpcCniLimits(int Interfaces, int Addresses)
{
    /// <summary>By instance type, as in m5.large; null for one that is not in the table (vpc-cni-limits.txt, which says where it is from).</summary>
    public static VpcCniLimits? Of(string type)
    {
        var dot = type.IndexOf('.', StringComparison.Ordinal);
        if (dot < 0)
        {
            return null;
        }

        foreach (var line in Table().AsSpan().EnumerateLines())
        {
            if (!line.StartsWith(type.AsSpan(0, dot)) || line.Length <= dot || line[dot] != ' ')
            {
                continue;
            }

            foreach (var entry in line[dot..].ToString().Split(' ', StringSplitOptions.RemoveEmptyEntries))
            {
                if (entry.StartsWith($"{type[(dot + 1)..]}=", StringComparison.Ordinal))
                {
                    var numbers = entry[(entry.IndexOf('=', StringComparison.Ordinal) + 1)..].Split('x');
                    return new(int.Parse(numbers[0], CultureInfo.InvariantCulture), int.Parse(numbers[1], CultureInfo.InvariantCulture));
                }
            }
        }

        return null;
    }

    private static string Table()
    {
        using var stream = typeof(VpcCniLimits).Assembly.GetManifestResourceStream("vpc-cni-limits.txt")
            ?? throw new InvalidOperationException("The table of instance types is missing from this binary");
        var content = new byte[stream.Length];
        stream.ReadExactly(content);
        return System.Text.Encoding.UTF8.GetString(content);
    }
}
