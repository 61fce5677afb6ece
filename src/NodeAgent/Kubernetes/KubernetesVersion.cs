using System.Globalization;

namespace NodeAgent.Kubernetes;

/// <summary>A release of Kubernetes by what its behaviour depends on.</summary>
internal readonly record struct KubernetesVersion(int Major, int Minor) : IComparable<KubernetesVersion>
{
    /// <param name="text">As in 1.20.2 or 1.29.0-eks-5e0fdde.</param>
    public static KubernetesVersion? Parse(string? text) => ReleaseNumber.Parse(text) is { } number ? new(number.Major, number.Minor) : null;

    /// <summary>Of one of Kubernetes' own programs, by its image's tag; null where that is no version.</summary>
    public static KubernetesVersion? OfImage(string image) => Parse(ImageTag.Of(image)) is { Major: 1 } version ? version : null;

    /// <summary>Of one of Kubernetes' own programs on a node: what its image's tag says, else kubelet's release.</summary>
    public static KubernetesVersion? Of(string? image, string? kubelet) => (image is null ? null : OfImage(image)) ?? Parse(kubelet);

    public int CompareTo(KubernetesVersion other) => (Major, Minor).CompareTo((other.Major, other.Minor));

    public bool IsAtLeast(int major, int minor) => CompareTo(new(major, minor)) >= 0;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Major}.{Minor}");
}
