namespace NodeAgent.Configuration;

/// <summary>What is done where a rule of advice fires.</summary>
internal enum AdviceLevel
{
    /// <summary>It is said.</summary>
    Warn,

    /// <summary>The node is refused.</summary>
    Refuse,

    /// <summary>It is not even said.</summary>
    Ignore,
}

/// <summary>By these names the configuration speaks of rules; the rules themselves are in the room Advice.</summary>
internal static class AdviceNames
{
    public const string CgroupV1 = "cgroup-v1";
    public const string CiliumEtcdInCluster = "cilium-etcd-in-cluster";
    public const string Containerd1 = "containerd-1";
    public const string Containerd2 = "containerd-2-old-kubelet";
    public const string EcrCredentials = "ecr-credentials";
    public const string EtcdInconsistency = "etcd-inconsistency";
    public const string HookWithoutGroup = "hook-without-group";
    public const string IpvsDeprecated = "ipvs-deprecated";
    public const string IpvsManyServices = "ipvs-many-services";
    public const string MaxPodsHigh = "max-pods-high";
    public const string MaxPodsVpcCni = "max-pods-vpc-cni";
    public const string MetadataHopLimit = "metadata-hop-limit";
    public const string NetworkdManagesPods = "networkd-manages-pods";
    public const string PluginKernel = "plugin-kernel";
    public const string PodRangeInVpc = "pod-range-in-vpc";
    public const string PodRangeReused = "pod-range-reused";
    public const string RangesOverlap = "ranges-overlap";
    public const string ReadyBeforeCni = "ready-before-cni";
    public const string SandboxImageCollected = "sandbox-image-collected";
    public const string ServicesWithoutProxy = "services-without-proxy";
    public const string Unlisted = "unlisted";

    public static readonly IReadOnlyList<string> All =
    [
        CgroupV1, CiliumEtcdInCluster, Containerd1, Containerd2, EcrCredentials, EtcdInconsistency, HookWithoutGroup, IpvsDeprecated, IpvsManyServices,
        MaxPodsHigh, MaxPodsVpcCni,
        MetadataHopLimit, NetworkdManagesPods, PluginKernel, PodRangeInVpc, PodRangeReused, RangesOverlap, ReadyBeforeCni, SandboxImageCollected,
        ServicesWithoutProxy, Unlisted,
    ];
}
