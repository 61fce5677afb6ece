using NodeAgent.Configuration;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;

namespace NodeAgent.Advice;

/// <summary>What hangs on the release of something.</summary>
internal static class VersionRules
{
    // From so many on, that is: the default range, /12, is for a million.
    private const int Thousands = 1024;

    public static readonly IReadOnlyList<Rule> All =
    [
        new(
            AdviceNames.IpvsManyServices,
            "kube-proxy in IPVS mode, 1.23 to 1.36, with a service range that holds a thousand services and more",
            "kubernetes#138927, in 1.37; #101429",
            IpvsManyServices),
        new(
            AdviceNames.IpvsDeprecated,
            "kube-proxy in IPVS mode, 1.35 to 1.39; later ones, which do not start so, are refused in any case",
            "KEP-5495, enhancements#6120",
            IpvsDeprecated),
        new(AdviceNames.CgroupV1, "A machine with cgroup v1 and kubelet from 1.31 on, where it still starts", "KEP-4569, KEP-5573", CgroupV1),
        new(AdviceNames.Containerd1, "containerd 1.x with kubelet from 1.36 on; refused from 1.38", "KEP-4033, enhancements#6087, website#53498", Containerd1),
        new(AdviceNames.Containerd2, "containerd 2.x with kubelet before 1.30", "containerd RELEASES.md at 007244d, Kubernetes Support", Containerd2),
        new(
            AdviceNames.SandboxImageCollected,
            "kubelet from 1.29 on with a containerd that cannot tell it which image to keep",
            "containerd#9381, #9382: 1.6.26, 1.7.11",
            SandboxImageCollected),
        new(
            AdviceNames.EtcdInconsistency,
            "etcd of a release that may lose or mix up data: `etcd.image` before 3.4.8, 3.4.20, 3.4.21, 3.5.0 to 3.5.5; any single member before 3.4.21, by "
                + "itself with kubelet 1.20 and 1.21, and of 3.5.0 to 3.5.4",
            "website#40816, kubernetes#114093, etcd#13766, #11651; etcd#14370, in 3.4.21 and 3.5.5",
            EtcdInconsistency),
        new(
            AdviceNames.EcrCredentials,
            "Images of static pods in a private registry of ECR, kubelet from 1.27 on, and neither a credential provider nor a password for it",
            "KEP-2133, kubernetes#116329",
            EcrCredentials),
        new(
            AdviceNames.Unlisted,
            "What `kubelet.allowUnlisted` or `controlPlane.allowUnlisted` let pass, and images whose version nobody can tell",
            "docs/versions.md",
            s => s.Allowed.Select(a => new Fired(a, "see that it works before many nodes have it"))),
    ];

    /// <summary>Each sync asks the kernel for all addresses, service addresses included, once an interface: 47 to 54 s with 19,500 services.</summary>
    private static IEnumerable<Fired> IpvsManyServices(Subject s)
    {
        if (IsIpvs(s, out var version) && version.IsAtLeast(1, 23) && !version.IsAtLeast(1, 37) && s.Config.Cluster.ServiceRange is var range
            && range.Size >= Thousands)
        {
            yield return new(
                $"{s.Said("kubeProxy.mode", s.ProxyMode)}, kube-proxy is {version}, and {s.Said("cluster.serviceRange", range)} has room for thousands of "
                + "services: "
                + "kube-proxy lists all addresses of the machine, those of services among them, once for each interface at each sync, which took 47 to 54 s "
                + "at 19,500 services; until it is done, services are stale",
                "kube-proxy 1.37 or later (kubeProxy.image), kubeProxy.mode: iptables or nftables, or a small service range");
        }
    }

    /// <summary>From 1.40 on it takes a feature gate that a node's configuration cannot say, so no name lets it pass (ServiceProxy.Check).</summary>
    private static IEnumerable<Fired> IpvsDeprecated(Subject s)
    {
        if (IsIpvs(s, out var version) && version.IsAtLeast(1, 35) && !version.IsAtLeast(1, 40))
        {
            yield return new(
                $"{s.Said("kubeProxy.mode", s.ProxyMode)}, and kube-proxy is {version}: IPVS is deprecated from 1.35 on, off by default from 1.40 (kube-proxy "
                    + "does not start then, and a node with it is refused), gone from 1.43",
                "kubeProxy.mode: nftables, or iptables");
        }
    }

    private static bool IsIpvs(Subject s, out KubernetesVersion version)
    {
        version = s.KubeProxy ?? default;
        return s.ProxyMode == "ipvs" && s.KubeProxy is not null;
    }

    private static IEnumerable<Fired> CgroupV1(Subject s)
    {
        if (s is { Facts.Kernel.CgroupVersion: 1, Kubelet: { } kubelet } && kubelet.IsAtLeast(1, 31))
        {
            yield return new(
                $"this machine runs with cgroup v1, which kubelet {kubelet} only maintains: nothing new works on it, and from 1.35 on kubelet does not start "
                    + "unless failCgroupV1 is false",
                "boot with systemd.unified_cgroup_hierarchy=1, or take an image with cgroup v2");
        }
    }

    private static IEnumerable<Fired> Containerd1(Subject s)
    {
        if (Containerd(s) is { Major: 1 } containerd && s.Kubelet is { } kubelet && kubelet.IsAtLeast(1, 36))
        {
            yield return new(
                $"containerd is {containerd} and kubelet {kubelet}: 1.35 is the last kubelet that supports containerd 1.x, and from 1.38 on it does not start "
                    + "with one, since it asks the runtime for its cgroup driver",
                "containerd 2.0 or later",
                kubelet.IsAtLeast(1, 38));
        }
    }

    private static IEnumerable<Fired> Containerd2(Subject s)
    {
        if (Containerd(s) is { Major: >= 2 } containerd && s.Kubelet is { } kubelet && !kubelet.IsAtLeast(1, 30))
        {
            yield return new(
                $"containerd is {containerd} and kubelet {kubelet}: they speak, and nobody tests them together; containerd recommends its 2.x from "
                    + "Kubernetes 1.30 on",
                "containerd 1.7, or a newer kubelet");
        }
    }

    private static Version? Containerd(Subject s) => s.Config.Runtime == ContainerRuntimeKind.Containerd
        ? ReleaseNumber.Parse(s.Facts?.Versions.Containerd)
        : null;

    private static IEnumerable<Fired> SandboxImageCollected(Subject s)
    {
        if (s.Kubelet is { } kubelet && s.Config.Runtime == ContainerRuntimeKind.Containerd
            && Compatibility.CollectsSandboxImage(KubeletVersions.Nearest(kubelet), s.Facts!.Versions.Containerd) is { } why)
        {
            yield return new(why, "containerd 1.6.26, 1.7.11, 2.0 or later");
        }
    }

    private static IEnumerable<Fired> EtcdInconsistency(Subject s)
    {
        // As it is chosen for the pod where nobody says it.
        var image = s.Config.Etcd.Image;
        var tag = image is not null ? ImageTag.Of(image)
            : s.Kubelet is { } kubelet ? ControlPlaneVersions.Nearest(kubelet).EtcdTag : null;
        if (!RunsControlPlane(s) || ReleaseNumber.Parse(tag) is not { Build: >= 0 } etcd)
        {
            yield break;
        }

        var said = image is not null ? s.Said("etcd.image", image) : $"etcd.image is said by no layer, so it is {tag}, as kubeadm {s.Kubelet} has it";
        if (image is not null
            && (etcd < new Version(3, 4, 8) || etcd is { Major: 3, Minor: 4, Build: 20 or 21 } or { Major: 3, Minor: 5, Build: <= 5 }))
        {
            yield return new(
                $"{said}, and members of etcd {etcd} may come to hold different data, which nothing repairs but a restored backup",
                "etcd 3.4.22, 3.5.6 or later of its minor; see that members agree before (etcdctl endpoint hashkv --cluster)");
        }

        // It answers before its log is on the disk: others would have it, and there are none.
        if (etcd < new Version(3, 4, 21) || etcd is { Major: 3, Minor: 5, Build: <= 4 })
        {
            yield return new(
                $"{said}, and a single member of etcd {etcd}, as runs here, may lose in a crash what it said was written",
                $"an image of etcd {(etcd.Minor == 5 ? "3.5.6" : "3.4.22")} or later by etcd.image");
        }
    }

    private static IEnumerable<Fired> EcrCredentials(Subject s)
    {
        if (s.Kubelet is not { } kubelet || !kubelet.IsAtLeast(1, 27) || s.Config.Kubelet.CredentialProviders.ContainsKey(CredentialProvider.Ecr))
        {
            yield break;
        }

        (string Path, string? Image)[] pods =
        [
            ("kubeProxy.image", s.Config.KubeProxy.Mode == ProxyMode.None ? null : s.Config.KubeProxy.Image),
            .. !RunsControlPlane(s) ? [] : new (string, string?)[]
            {
                ("etcd.image", s.Config.Etcd.Image), ("apiServer.image", s.Config.ApiServer.Image),
                ("controllerManager.image", s.Config.ControllerManager.Image), ("scheduler.image", s.Config.Scheduler.Image),
            },
        ];
        foreach (var (path, image) in pods)
        {
            var host = image?.Split('/')[0] ?? "";
            if (IsEcr(host) && !s.Config.Registries.ContainsKey(host))
            {
                yield return new(
                    $"{s.Said(path, image!)}, and kubelet {kubelet} has no password for {host}: from 1.27 on it knows nothing of ECR by itself, and the pod "
                        + "does not start",
                    $"kubelet.credentialProviders: {{{CredentialProvider.Ecr}: {{}}}}, with its binary in the image, or import the image (nodeagent "
                        + "image import)");
            }
        }
    }

    /// <summary>ACCOUNT.dkr.ecr.REGION.amazonaws.com and its like in other partitions.</summary>
    private static bool IsEcr(string host) =>
        host.Split('.') is [{ Length: 12 } account, "dkr", "ecr" or "ecr-fips", _, "amazonaws", "com", ..] && account.All(char.IsAsciiDigit);

    private static bool RunsControlPlane(Subject s) => s.Config.Node.Role == NodeRole.ControlPlane && s.Config.ControlPlane.StaticPods;
}
