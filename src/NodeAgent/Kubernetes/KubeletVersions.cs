namespace NodeAgent.Kubernetes;

/// <summary>What a kubelet of one minor needs of the machine around it. docs/versions.md tells how the rows were recorded.</summary>
/// <param name="Cri">Versions of the container runtime interface that it speaks to a runtime of its own process.</param>
/// <param name="Dockershim">Whether it drives Docker by itself.</param>
/// <param name="RanHere">The release that this project's laboratory ran; null where the row was only read.</param>
/// <param name="Source">Where that is written.</param>
internal sealed record KubeletVersion(int Minor, CriVersions Cri, bool Dockershim, CgroupV1 CgroupV1, string? RanHere, string Source)
{
    public KubernetesVersion Version => new(1, Minor);
}

[Flags]
internal enum CriVersions
{
    V1Alpha2 = 1,
    V1 = 2,
    Both = V1Alpha2 | V1,
}

internal enum CgroupV1
{
    Supported,

    /// <summary>Works, gets no new features.</summary>
    Maintenance,

    /// <summary>kubelet does not start on it unless failCgroupV1 is false.</summary>
    RefusedByDefault,
}

/// <summary>What answers kubelet's container runtime interface.</summary>
internal enum CriServer
{
    Containerd,

    /// <summary>Docker, driven by kubelet itself.</summary>
    Dockershim,

    /// <summary>Docker, driven by cri-dockerd.</summary>
    CriDockerd,
}

/// <summary>From which release on a runtime speaks which versions of the interface, until the next row of the same.</summary>
internal sealed record CriServerRelease(CriServer Server, int Major, int Minor, CriVersions Cri, string Source);

/// <summary>Something that kubelet does by itself from a minor on, whatever its flags and fields are.</summary>
internal sealed record KubeletBehaviour(int Since, string Source)
{
    public bool In(KubeletVersion version) => version.Minor >= Since;
}

/// <summary>The table of versions. A new Kubernetes minor is a row here, rows in <see cref="KubeletNames"/> and
/// <see cref="ControlPlaneNames"/> for what it added and removed, and one in <see cref="ControlPlaneVersions"/>.</summary>
internal static class KubeletVersions
{
    private const string CriBefore = "kubernetes#106501: v1alpha2 alone until 1.22";
    private const string CriFallback = "kubernetes#106501: v1, else v1alpha2, from 1.23";
    private const string CriV1Only = "kubernetes#110618: v1 alone from 1.26";
    private const string NoDockershim = "kubernetes#97252: no dockershim from 1.24";
    private const string Maintenance = "KEP-4569: cgroup v1 in maintenance from 1.31";
    private const string CgroupV1Off = "KEP-5573, kubernetes#134298: failCgroupV1 true by default from 1.35";

    public static readonly IReadOnlyList<KubeletVersion> All =
    [
        new(20, CriVersions.V1Alpha2, true, CgroupV1.Supported, "1.20.2", CriBefore),
        new(21, CriVersions.V1Alpha2, true, CgroupV1.Supported, null, CriBefore),
        new(22, CriVersions.V1Alpha2, true, CgroupV1.Supported, null, CriBefore),
        new(23, CriVersions.Both, true, CgroupV1.Supported, null, CriFallback),
        new(24, CriVersions.Both, false, CgroupV1.Supported, null, $"{CriFallback}; {NoDockershim}"),
        new(25, CriVersions.Both, false, CgroupV1.Supported, null, $"{CriFallback}; {NoDockershim}"),
        new(26, CriVersions.V1, false, CgroupV1.Supported, null, CriV1Only),
        new(27, CriVersions.V1, false, CgroupV1.Supported, null, CriV1Only),
        new(28, CriVersions.V1, false, CgroupV1.Supported, null, CriV1Only),
        new(29, CriVersions.V1, false, CgroupV1.Supported, null, CriV1Only),
        new(30, CriVersions.V1, false, CgroupV1.Supported, null, CriV1Only),
        new(31, CriVersions.V1, false, CgroupV1.Maintenance, null, $"{CriV1Only}; {Maintenance}"),
        new(32, CriVersions.V1, false, CgroupV1.Maintenance, null, $"{CriV1Only}; {Maintenance}"),
        new(33, CriVersions.V1, false, CgroupV1.Maintenance, null, $"{CriV1Only}; {Maintenance}"),
        new(34, CriVersions.V1, false, CgroupV1.Maintenance, null, $"{CriV1Only}; {Maintenance}"),
        // containerd 1.x still works: that kubelet stops asking its own configuration for the cgroup driver was put off to 1.38 (enhancements#6087).
        new(35, CriVersions.V1, false, CgroupV1.RefusedByDefault, null, $"{CriV1Only}; {CgroupV1Off}"),
        new(36, CriVersions.V1, false, CgroupV1.RefusedByDefault, null, $"{CriV1Only}; {CgroupV1Off}"),
    ];

    public static readonly IReadOnlyList<CriServerRelease> CriServers =
    [
        new(CriServer.Containerd, 1, 3, CriVersions.V1Alpha2, "containerd#7863: 1.5 and before have v1alpha2 alone"),
        new(CriServer.Containerd, 1, 6, CriVersions.Both, "containerd#7863: 1.6 and 1.7 have both to their end"),
        new(CriServer.Containerd, 2, 0, CriVersions.V1, "containerd#8276: v1alpha2 removed in 2.0"),
        new(CriServer.CriDockerd, 0, 2, CriVersions.V1Alpha2, "cri-dockerd#136: 0.2 answers that v1 is not implemented"),
        new(CriServer.CriDockerd, 0, 3, CriVersions.Both, "cri-dockerd#125, #333: v1 from 0.3.0, v1alpha2 beside it"),
    ];

    /// <summary>Before, the gate of shutdownGracePeriod is off and the field does nothing.</summary>
    public static readonly KubeletBehaviour GracefulShutdown = new(21, "KEP-2000: beta and on by default from 1.21");

    /// <summary>Before, kubelet deletes the sandbox image as unused unless --pod-infra-container-image names it.</summary>
    public static readonly KubeletBehaviour SandboxImageFromCri =
        new(29, "kubernetes#118544, as #123144 tells it: from 1.29 the runtime alone says what is pinned");

    /// <summary>Before, a renewed tlsCertFile asks for a restart.</summary>
    public static readonly KubeletBehaviour ReloadsServingCertificate = new(31, "kubernetes#124574");

    /// <summary>
    /// Image pinning came with 1.7.3 and 1.6.22 (containerd#8718, #8720), and by a label that is set later with what followed #9381 and #9382.
    /// </summary>
    public static bool PinsImages(string containerd) =>
        ReleaseNumber.Parse(containerd) is { } version && version >= (version is { Major: 1, Minor: 6 } ? new Version(1, 6, 26) : new Version(1, 7, 11));

    public static KubeletVersion Oldest => All[0];

    public static KubeletVersion Newest => All[^1];

    /// <returns>Null for a version that is not in the table.</returns>
    public static KubeletVersion? Find(KubernetesVersion version) => All.FirstOrDefault(v => v.Version == version);

    /// <summary>What a version of 1.x that is newer than the table is taken for when it is allowed by name: the newest row, under its own number.</summary>
    public static KubeletVersion Nearest(KubernetesVersion version) => Find(version) ?? Newest with { Minor = version.Minor, RanHere = null };
}
