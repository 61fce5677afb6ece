using System.Globalization;

namespace NodeAgent.Kubernetes;

/// <summary>A release of Kubernetes by what its behaviour depends on.</summary>
internal readonly record struct KubernetesVersion(int Major, int Minor) : IComparable<KubernetesVersion>
{
    /// <param name="text">As in 1.20.2 or 1.29.0-eks-5e0fdde.</param>
    public static KubernetesVersion? Parse(string text)
    {
        var parts = text.TrimStart('v').Split('.');
        return parts.Length >= 2
            && int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out var major)
            && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var minor)
            ? new KubernetesVersion(major, minor)
            : null;
    }

    public int CompareTo(KubernetesVersion other) => (Major, Minor).CompareTo((other.Major, other.Minor));

    public bool IsAtLeast(int major, int minor) => CompareTo(new(major, minor)) >= 0;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Major}.{Minor}");
}
