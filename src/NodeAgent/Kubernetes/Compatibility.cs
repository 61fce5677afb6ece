namespace NodeAgent.Kubernetes;

/// <summary>A kubelet and what it would run on.</summary>
/// <param name="ServerVersion">Of containerd or cri-dockerd, as in 1.7.24; null where nobody asked.</param>
/// <param name="CgroupVersion">1 or 2.</param>
/// <param name="CgroupV1Allowed">Whether kubelet's configuration says failCgroupV1: false.</param>
internal sealed record KubeletSurroundings(KubeletVersion Kubelet, CriServer Server, string? ServerVersion, int CgroupVersion, bool CgroupV1Allowed);

/// <summary>Pairs that cannot work, known beforehand.</summary>
internal static class Compatibility
{
    /// <returns>Why it cannot work, and what to do; null when nothing is known against it.</returns>
    public static string? Refusal(KubeletSurroundings pair) => Interface(pair) ?? Cgroup(pair);

    /// <summary>
    /// Works until the disk is nearly full: then kubelet deletes an image without which no pod starts, and a private machine cannot have it again.
    /// </summary>
    public static string? CollectsSandboxImage(KubeletVersion kubelet, string? containerd) =>
        KubeletVersions.SandboxImageFromCri.In(kubelet) && containerd is not null && !KubeletVersions.PinsImages(containerd)
            ? $"kubelet {kubelet.Version} leaves it to the runtime which images are not collected ({KubeletVersions.SandboxImageFromCri.Source}), and "
                + $"containerd {containerd} "
                + "cannot tell it (containerd#9381, #9382: 1.6.26, 1.7.11): the sandbox image may be deleted when the disk is nearly full"
            : null;

    /// <summary>Whether nodes of one minor go with a control plane of another, as the version skew policy has it (KEP-3935; website#42218).</summary>
    /// <returns>Why they do not go together, and what to do; null when they do.</returns>
    public static string? Skew(KubernetesVersion controlPlane, KubernetesVersion kubelet)
    {
        const string Policy = "version skew policy, KEP-3935, kubernetes/website#42218";
        if (kubelet.CompareTo(controlPlane) > 0)
        {
            return $"kubelet {kubelet} is newer than kube-apiserver {controlPlane}, which it must not be ({Policy}); "
                + $"upgrade the control plane first, or install kubelet {controlPlane}";
        }

        // It is the kubelet's minor that counts: 1.28 was the first control plane that takes three behind, and 1.25 the first kubelet.
        var behind = kubelet.IsAtLeast(1, 25) ? 3 : 2;
        return kubelet.Major != controlPlane.Major || controlPlane.Minor - kubelet.Minor > behind
            ? $"kubelet {kubelet} is too old for kube-apiserver {controlPlane}: it may be {behind} minors behind ({Policy}); "
                + $"upgrade the node, or take a control plane up to {new KubernetesVersion(kubelet.Major, kubelet.Minor + behind)}"
            : null;
    }

    /// <summary>
    /// As <see cref="Skew"/>, of what talks to kube-apiserver from beside it: of its minor or the one before (kubernetes/website version-skew-policy.md).
    /// </summary>
    public static string? ClientSkew(KubernetesVersion apiServer, string program, KubernetesVersion version) =>
        version.CompareTo(apiServer) > 0
            ? $"{program} {version} is newer than kube-apiserver {apiServer}, which it must not be (version skew policy); take the same image tag for both"
        : version.Major != apiServer.Major || apiServer.Minor - version.Minor > 1
            ? $"{program} {version} is too old for kube-apiserver {apiServer}: it may be one minor behind (version skew policy); take the same image tag "
                + "for both"
        : null;

    private static string? Interface(KubeletSurroundings pair)
    {
        if (Release(pair.Server, pair.ServerVersion) is not { } release || (release.Cri & pair.Kubelet.Cri) != 0)
        {
            return null;
        }

        var name = Name(pair.Server);
        return $"kubelet {pair.Kubelet.Version} and {name} {pair.ServerVersion} have no version of the container runtime interface in common: "
            + $"kubelet speaks {Names(pair.Kubelet.Cri)} ({pair.Kubelet.Source}), {name} {Names(release.Cri)} ({release.Source}); "
            + $"install {name} {Suitable(pair)}";
    }

    private static string? Cgroup(KubeletSurroundings pair) =>
        pair is { CgroupVersion: 1, CgroupV1Allowed: false, Kubelet.CgroupV1: CgroupV1.RefusedByDefault }
            ? $"this machine runs with cgroup v1, on which kubelet {pair.Kubelet.Version} does not start (from 1.35, KEP-5573); "
                + "boot with systemd.unified_cgroup_hierarchy=1, or say kubelet.configuration: {failCgroupV1: false}"
            : null;

    private static CriServerRelease? Release(CriServer server, string? version)
    {
        // A further minor of a major that is known keeps its interface; a further major may not.
        return ReleaseNumber.Parse(version) is { } number
            ? KubeletVersions.CriServers.LastOrDefault(r => r.Server == server && r.Major == number.Major && r.Minor <= number.Minor)
            : null;
    }

    private static string Suitable(KubeletSurroundings pair)
    {
        var releases = KubeletVersions.CriServers.Where(r => r.Server == pair.Server).ToList();
        var first = releases.FindIndex(r => (r.Cri & pair.Kubelet.Cri) != 0);
        var after = releases.FindIndex(first, r => (r.Cri & pair.Kubelet.Cri) == 0);
        return after < 0 ? $"{releases[first].Major}.{releases[first].Minor} or later" : $"before {releases[after].Major}.{releases[after].Minor}";
    }

    private static string Name(CriServer server) => server == CriServer.CriDockerd ? "cri-dockerd" : "containerd";

    private static string Names(CriVersions versions) => versions switch { CriVersions.V1 => "v1", CriVersions.V1Alpha2 => "v1alpha2", _ => "v1 and v1alpha2" };
}
