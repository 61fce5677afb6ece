using System.Text.Json;
using NodeAgent.Machine;
using NodeAgent.Network;
using NodeAgent.Pki;

namespace NodeAgent.Configuration;

/// <summary>
/// The configuration of one node, merged from all layers. Defaults stand in defaults.yaml, so that every value has an origin; null means that nobody gave one.
/// </summary>
internal sealed record NodeConfig
{
    public required string ApiVersion { get; init; }

    public required string Kind { get; init; }

    /// <summary>Null: there are no shared layers.</summary>
    public LayersConfig? Layers { get; init; }

    public required ClusterConfig Cluster { get; init; }

    public required NodeSettings Node { get; init; }

    public required StorageConfig Storage { get; init; }

    public required KernelConfig Kernel { get; init; }

    public required ContainerRuntimeKind Runtime { get; init; }

    public required ContainerdConfig Containerd { get; init; }

    public required DockerConfig Docker { get; init; }

    /// <summary>What a registry asks for, by its host as in docker.io; for pods' images, whichever runtime pulls them.</summary>
    public required IReadOnlyDictionary<string, RegistryConfig> Registries { get; init; }

    public required KubeletConfig Kubelet { get; init; }

    public required KubeProxyConfig KubeProxy { get; init; }

    public required ControlPlaneConfig ControlPlane { get; init; }

    public required EtcdConfig Etcd { get; init; }

    public required ApiServerConfig ApiServer { get; init; }

    public required ControllerManagerConfig ControllerManager { get; init; }

    public required SchedulerConfig Scheduler { get; init; }

    public required NetworkConfig Network { get; init; }

    public required ImagesConfig Images { get; init; }

    public required CertificatesConfig Certificates { get; init; }

    public required AdoptionConfig Adoption { get; init; }

    public required AutoscalingConfig Autoscaling { get; init; }

    /// <summary>By name of a rule (<see cref="AdviceNames"/>): what is done where it fires, instead of what it does by itself.</summary>
    public IReadOnlyDictionary<string, AdviceLevel> Advice { get; init; } = new Dictionary<string, AdviceLevel>();

    public HttpProxyConfig? Proxy { get; init; }

    public TrustConfig? Trust { get; init; }

    public TimeConfig? Time { get; init; }

    public DnsConfig? Dns { get; init; }

    /// <summary>Where the runtime keeps images and containers.</summary>
    public string RuntimeRoot() => Runtime == ContainerRuntimeKind.Docker ? Docker.DataRoot : ContainerdConfig.Root;
}

/// <summary>Where in S3 the layers are that clusters share; <see cref="SharedLayers"/> says what may stand where.</summary>
internal sealed record LayersConfig
{
    public required string Bucket { get; init; }

    /// <summary>The instance's region when not given.</summary>
    public string? BucketRegion { get; init; }

    /// <summary>The folder within the bucket, as in nodes/v1.</summary>
    public string? Prefix { get; init; }

    /// <summary>Of something that speaks S3 elsewhere.</summary>
    public Uri? Endpoint { get; init; }

    /// <summary>SHA-256 in hex, by kind of layer: common, customer, environment, region, cluster, role.</summary>
    public IReadOnlyDictionary<string, string> Pins { get; init; } = new Dictionary<string, string>();
}

internal sealed record ClusterConfig
{
    public required string Name { get; init; }

    /// <summary>With environment and region what the cluster is one of, and where its shared layers lie.</summary>
    public string? Customer { get; init; }

    public string? Environment { get; init; }

    /// <summary>The instance's region when not given.</summary>
    public string? Region { get; init; }

    /// <summary>URL of the API server, as nodes reach it: https://host[:port].</summary>
    public required Uri Endpoint { get; init; }

    public required EndpointSource EndpointFrom { get; init; }

    /// <summary>PEM, one certificate or more: what nodes trust as the cluster's CA.</summary>
    public required string CertificateAuthority { get; init; }

    public required string Domain { get; init; }

    public required Cidr ServiceRange { get; init; }

    /// <summary>The range all pods are in; what kube-proxy takes as the cluster's own traffic.</summary>
    public Cidr? PodRange { get; init; }

    /// <summary>The cluster's DNS service; the tenth address of the service range when not given.</summary>
    public string? DnsAddress { get; init; }
}

/// <summary>Who knows where the endpoint's name leads.</summary>
internal enum EndpointSource
{
    /// <summary>DNS, or it is an address: whoever owns it looks after it.</summary>
    Name,

    /// <summary>EC2's tags of the control plane's instances; this agent keeps it in /etc/hosts.</summary>
    Tags,
}

internal sealed record NodeSettings
{
    public required NodeRole Role { get; init; }

    public required NodeNaming Name { get; init; }

    public required MaxPods MaxPods { get; init; }

    public required IReadOnlyDictionary<string, string> Labels { get; init; }

    /// <summary>Null: as the role has it.</summary>
    public IReadOnlyList<Taint>? Taints { get; init; }

    public required ReadinessConfig Readiness { get; init; }
}

/// <summary>A number, or where it comes from.</summary>
internal readonly record struct MaxPods(int Number, MaxPodsSource Source = MaxPodsSource.Number);

internal enum MaxPodsSource
{
    Number,

    /// <summary>As many as network.podRange has addresses for.</summary>
    FromPodRange,

    /// <summary>As many as the AWS VPC CNI has addresses for on this type of instance.</summary>
    VpcCni,
}

internal enum NodeRole
{
    Worker,
    ControlPlane,
}

internal enum NodeNaming
{
    PrivateDnsName,
    InstanceId,
}

internal sealed record Taint
{
    public required string Key { get; init; }

    public string? Value { get; init; }

    public required TaintEffect Effect { get; init; }
}

/// <summary>Written as Kubernetes writes them.</summary>
internal enum TaintEffect
{
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

internal sealed record ReadinessConfig
{
    public required ReadinessGate Gate { get; init; }

    public required Duration Timeout { get; init; }
}

internal enum ReadinessGate
{
    /// <summary>kubelet and runtime answer as healthy.</summary>
    Healthy,

    /// <summary>The API server says that the node is Ready.</summary>
    Ready,
}

internal sealed record StorageConfig
{
    public required DiskMatch Match { get; init; }

    public required NoDisksPolicy WhenNoDisks { get; init; }

    public required WipePolicy Wipe { get; init; }

    public required LostMemberPolicy LostMember { get; init; }

    public required string VolumeGroup { get; init; }

    public required VolumeLayout Layout { get; init; }

    /// <summary>By name of the logical volume.</summary>
    public required IReadOnlyDictionary<string, VolumeConfig> Volumes { get; init; }
}

/// <summary>A disk is ephemeral when any of these says so. EBS volumes never are, whatever matches.</summary>
internal sealed record DiskMatch
{
    /// <summary>NVMe models, whole and exact.</summary>
    public required IReadOnlyList<string> Models { get; init; }

    /// <summary>Whether ephemeralN entries of the metadata's block-device-mapping count (Xen instances).</summary>
    public required bool BlockDeviceMapping { get; init; }

    /// <summary>Shell patterns over /dev/disk/by-id links and kernel names.</summary>
    public required IReadOnlyList<string> Paths { get; init; }
}

internal enum NoDisksPolicy
{
    /// <summary>The directories stay where they are, on the root disk.</summary>
    RootDisk,
    Refuse,
}

internal enum WipePolicy
{
    Never,

    /// <summary>Signatures and partitions that are not ours are removed from ephemeral disks that nothing uses.</summary>
    Foreign,
}

internal enum LostMemberPolicy
{
    Refuse,

    /// <summary>The volume group is made anew on the disks that are left; what was on it is gone.</summary>
    Rebuild,
}

internal enum VolumeLayout
{
    /// <summary>Over all disks.</summary>
    Striped,
    Linear,
}

internal sealed record VolumeConfig
{
    /// <summary>The volume that follows the runtime.</summary>
    public const string RuntimeVolume = "runtime";

    /// <summary>Null for <see cref="RuntimeVolume"/> alone: where the runtime keeps images and containers.</summary>
    public string? Mount { get; init; }

    /// <summary>Bytes, or percent of the whole volume group.</summary>
    public required VolumeSize Size { get; init; }

    public required FilesystemType Filesystem { get; init; }

    public IReadOnlyList<string> Options { get; init; } = [];
}

internal enum FilesystemType
{
    Xfs,
    Ext4,
}

internal sealed record KernelConfig
{
    public required IReadOnlyList<string> Modules { get; init; }

    /// <summary>Dotted names; the values as sysctl(8) prints them.</summary>
    public required IReadOnlyDictionary<string, string> Sysctls { get; init; }
}

internal enum ContainerRuntimeKind
{
    Containerd,
    Docker,
}

internal sealed record ContainerdConfig
{
    public const string Root = "/var/lib/containerd";

    public required string Binary { get; init; }

    public required string SandboxImage { get; init; }

    /// <summary>By registry host, as in docker.io.</summary>
    public required IReadOnlyDictionary<string, RegistryMirror> Mirrors { get; init; }
}

internal sealed record RegistryMirror
{
    /// <summary>Tried in this order, the registry itself last.</summary>
    public required IReadOnlyList<Uri> Endpoints { get; init; }

    /// <summary>HTTP headers sent to the mirrors, as in Authorization.</summary>
    public IReadOnlyDictionary<string, Secret> Headers { get; init; } = new Dictionary<string, Secret>();
}

internal sealed record DockerConfig
{
    /// <summary>Path of dockerd.</summary>
    public required string Binary { get; init; }

    /// <summary>Path of cri-dockerd, which kubelet needs from 1.24 on.</summary>
    public required string CriDockerd { get; init; }

    public required string DataRoot { get; init; }

    public required string StorageDriver { get; init; }

    public required DockerLogs Logs { get; init; }

    /// <summary>Containers go on while dockerd restarts.</summary>
    public required bool LiveRestore { get; init; }

    /// <summary>Of docker.io alone: Docker mirrors no other registry.</summary>
    public required IReadOnlyList<Uri> Mirrors { get; init; }

    /// <summary>Merged over the daemon.json that is computed: maps merge, lists replace, null removes.</summary>
    public required JsonElement Configuration { get; init; }
}

internal sealed record DockerLogs
{
    /// <summary>Of one file, as Docker writes sizes: 10m.</summary>
    public required string MaxSize { get; init; }

    public required int MaxFiles { get; init; }
}

internal sealed record RegistryConfig
{
    public string? Username { get; init; }

    public Secret? Password { get; init; }

    /// <summary>PEM, one certificate or more, trusted beside the system's for this registry alone.</summary>
    public string? CertificateAuthority { get; init; }
}

internal sealed record KubeletConfig
{
    public required string Binary { get; init; }

    /// <summary>Merged over the KubeletConfiguration that is computed: maps merge, lists replace, null removes.</summary>
    public required JsonElement Configuration { get; init; }

    /// <summary>Flags without their dashes.</summary>
    public required IReadOnlyDictionary<string, string> ExtraArgs { get; init; }

    /// <summary>kubeReserved; computed from CPU, memory and maxPods where not given.</summary>
    public IReadOnlyDictionary<string, string>? KubeReserved { get; init; }

    public IReadOnlyDictionary<string, string>? SystemReserved { get; init; }

    /// <summary>A minor of Kubernetes, as in 1.37, for which what the table of versions does not list is taken with a warning.</summary>
    public string? AllowUnlisted { get; init; }

    public required CloudProvider CloudProvider { get; init; }

    /// <summary>Image credential providers, by the name of their binary.</summary>
    public IReadOnlyDictionary<string, CredentialProvider> CredentialProviders { get; init; } = new Dictionary<string, CredentialProvider>();

    /// <summary>Directory of those binaries.</summary>
    public required string CredentialProviderBinaries { get; init; }
}

internal enum CloudProvider
{
    None,

    /// <summary>A cloud controller manager of the cluster's initializes the node.</summary>
    External,

    /// <summary>kubelet's own, which is gone from 1.27.</summary>
    Aws,
}

internal sealed record CredentialProvider
{
    /// <summary>Patterns of images that it is asked for; those of ECR for <see cref="Ecr"/> when none are given.</summary>
    public IReadOnlyList<string> MatchImages { get; init; } = [];

    /// <summary>How long an answer holds that does not say so itself; 12 hours when not given.</summary>
    public Duration? CacheDuration { get; init; }

    public IReadOnlyList<string> Args { get; init; } = [];

    public IReadOnlyDictionary<string, string> Env { get; init; } = new Dictionary<string, string>();

    /// <summary>kubernetes/cloud-provider-aws builds it.</summary>
    public const string Ecr = "ecr-credential-provider";
}

internal sealed record KubeProxyConfig
{
    public required ProxyMode Mode { get; init; }

    /// <summary>When the rules of another mode may be taken away.</summary>
    public required ProxyChange Change { get; init; }

    /// <summary>registry.k8s.io/kube-proxy of kubelet's version when not given.</summary>
    public string? Image { get; init; }

    /// <summary>How often all rules are made sure of, and how often at most they follow changes; kube-proxy's own when not given.</summary>
    public Duration? SyncPeriod { get; init; }

    public Duration? MinSyncPeriod { get; init; }

    /// <summary>Whether whatever pods and nodes send to services does so by the node's address.</summary>
    public bool? MasqueradeAll { get; init; }

    /// <summary>Which of the node's addresses answer for node ports; kube-proxy's choice when empty.</summary>
    public IReadOnlyList<Cidr> NodePortAddresses { get; init; } = [];

    public ProxyIpvsConfig? Ipvs { get; init; }

    public ProxyConntrackConfig? Conntrack { get; init; }
}

/// <summary>With <see cref="ProxyMode.Ipvs"/>.</summary>
internal sealed record ProxyIpvsConfig
{
    /// <summary>rr when not given.</summary>
    public string? Scheduler { get; init; }

    /// <summary>Whether only the interface that has an address answers for it: what load balancers by ARP need.</summary>
    public bool? StrictArp { get; init; }

    /// <summary>Ranges whose virtual servers are somebody else's.</summary>
    public IReadOnlyList<Cidr> ExcludeCidrs { get; init; } = [];

    /// <summary>The kernel's when not given, as the other two.</summary>
    public Duration? TcpTimeout { get; init; }

    public Duration? TcpFinTimeout { get; init; }

    public Duration? UdpTimeout { get; init; }
}

/// <summary>How many connections the kernel keeps track of, and for how long; kube-proxy's own when not given.</summary>
internal sealed record ProxyConntrackConfig
{
    /// <summary>0 leaves the kernel's limit as it is.</summary>
    public int? MaxPerCore { get; init; }

    public int? Min { get; init; }

    public Duration? TcpEstablishedTimeout { get; init; }

    public Duration? TcpCloseWaitTimeout { get; init; }
}

internal enum ProxyMode
{
    Iptables,
    Ipvs,
    Nftables,

    /// <summary>No kube-proxy on this node.</summary>
    None,
}

/// <summary>When a node may go from one mode to another.</summary>
internal enum ProxyChange
{
    /// <summary>As it boots, with an empty kernel.</summary>
    Boot,

    /// <summary>And when no pods are left on it but static ones and those of DaemonSets.</summary>
    Drained,
    Always,
}

internal sealed record NetworkConfig
{
    public required NetworkPlugin Plugin { get; init; }

    /// <summary>Where the CNI plugin binaries are.</summary>
    public required string PluginBinaries { get; init; }

    /// <summary>
    /// The range this node's pods get their addresses from. With <see cref="NetworkPlugin.VpcRoutes"/> a wish, which a tag or a route must say, too.
    /// </summary>
    public Cidr? PodRange { get; init; }

    /// <summary>Prefix length of the range that each node gets of the cluster's, with <see cref="NetworkPlugin.VpcRoutes"/>.</summary>
    public required int NodePrefix { get; init; }

    /// <summary>Bytes, of the pods' interfaces; what the plugin takes (1500) when not given.</summary>
    public int? Mtu { get; init; }

    public EgressConfig? Egress { get; init; }

    /// <summary>Whether systemd-networkd, where it runs, is told to leave links and routes of pods alone.</summary>
    public required bool RestrainNetworkd { get; init; }

    /// <summary>Ranges outside of the VPC that nodes and pods speak to, by a name: peered VPCs, on premises.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<Cidr>> Peers { get; init; } = new Dictionary<string, IReadOnlyList<Cidr>>();

    /// <summary>Ranges of pods of other clusters in this VPC, by the cluster's name.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<Cidr>> OtherPods { get; init; } = new Dictionary<string, IReadOnlyList<Cidr>>();

    public CiliumConfig? Cilium { get; init; }
}

/// <summary>What the cluster's Cilium is told, as far as nodes come up by it or do not.</summary>
internal sealed record CiliumConfig
{
    public required CiliumIdentities Identities { get; init; }

    /// <summary>URLs, with <see cref="CiliumIdentities.Etcd"/>.</summary>
    public IReadOnlyList<Uri> Etcd { get; init; } = [];
}

/// <summary>Where Cilium keeps who is who.</summary>
internal enum CiliumIdentities
{
    /// <summary>In Kubernetes' API.</summary>
    Crd,

    /// <summary>In an etcd of its own.</summary>
    Etcd,
}

/// <summary>Pods that call somebody outside of the VPC, with <see cref="NetworkPlugin.VpcRoutes"/>.</summary>
internal sealed record EgressConfig
{
    /// <summary>Whether they do it by their node's address, for which alone NAT gateways and the internet have a way back. True when not given.</summary>
    public bool? Translate { get; init; }

    /// <summary>Ranges that see pods' own addresses, beside those of pods, services and the VPC.</summary>
    public IReadOnlyList<Cidr> Except { get; init; } = [];
}

internal enum NetworkPlugin
{
    Bridge,

    /// <summary>A bridge whose range the issuer's side allocates, and routes of the VPC to it.</summary>
    VpcRoutes,

    /// <summary>Somebody else writes the CNI configuration.</summary>
    None,

    // Pods of the cluster write it, and the host brings what those need.
    Cilium,
    Calico,
    Flannel,
    AwsVpcCni,
}

internal sealed record ImagesConfig
{
    /// <summary>Directory of docker or OCI archives that are imported when the image store is fresh.</summary>
    public required string Archives { get; init; }

    /// <summary>Whether images of the node's own (static pods, pause) without a digest are refused.</summary>
    public required bool RequireDigest { get; init; }
}

internal sealed record CertificatesConfig
{
    public required CertificateSourceKind Source { get; init; }

    /// <summary>The switch without which <see cref="CertificateSourceKind.Directory"/> is refused: a CA key on a worker is for laboratories only.</summary>
    public required bool Laboratory { get; init; }

    /// <summary>Holds ca.crt and ca.key.</summary>
    public string? Directory { get; init; }

    public required Duration Lifetime { get; init; }

    /// <summary>Of the keys that this node makes.</summary>
    public KeyAlgorithm KeyAlgorithm { get; init; }

    public IssuerConfig? Issuer { get; init; }

    /// <summary>s3://BUCKET[/PREFIX], or a directory: where the cluster's CAs are, for <see cref="CertificateSourceKind.Store"/>.</summary>
    public string? Store { get; init; }

    /// <summary>Names and addresses of the API server beside those that it has anyway. Of control plane nodes.</summary>
    public IReadOnlyList<string> ApiNames { get; init; } = [];
}

internal sealed record IssuerConfig
{
    /// <summary>https://host[:port] of issuers, any of which will do; where none is given, EC2 is asked for the control plane's instances.</summary>
    public IReadOnlyList<Uri> Endpoints { get; init; } = [];
}

internal enum CertificateSourceKind
{
    None,

    /// <summary>Signed on this machine from a CA directory. For laboratories.</summary>
    Directory,

    /// <summary>Asked of a `nodeagent issuer`.</summary>
    Issuer,

    /// <summary>Signed on this machine by the CAs in their store. Control plane nodes only.</summary>
    Store,
}

/// <summary>When a node that runs takes configuration that is not the one it was made from; <see cref="AdoptionSchedule"/> decides by it.</summary>
internal sealed record AdoptionConfig
{
    public required AdoptionMoment When { get; init; }

    /// <summary>How often a running node looks.</summary>
    public required Duration Every { get; init; }

    /// <summary>Over which nodes spread their looks.</summary>
    public required Duration Splay { get; init; }

    /// <summary>Over which nodes spread what disturbs them, counted from when each first saw it.</summary>
    public required Duration Window { get; init; }
}

internal enum AdoptionMoment
{
    /// <summary>As it boots, or when somebody runs apply by hand.</summary>
    Boot,
    Running,
}

/// <summary>How an instance of an autoscaling group tells the group of its launch, and how it leaves when it is told to.</summary>
internal sealed record AutoscalingConfig
{
    /// <summary>The group's hook on EC2_INSTANCE_LAUNCHING, which the instance then completes itself.</summary>
    public string? LaunchHook { get; init; }

    /// <summary>Its hook on EC2_INSTANCE_TERMINATING.</summary>
    public string? TerminateHook { get; init; }

    /// <summary>How often an action of a hook that is in progress is told to wait on.</summary>
    public required Duration Heartbeat { get; init; }

    /// <summary>From when on a launch that still has not come to anything is abandoned.</summary>
    public required Duration GiveUpAfter { get; init; }

    /// <summary>Whether a node watches for notices of its end also without <see cref="TerminateHook"/>: spot interruptions.</summary>
    public required bool Watch { get; init; }

    /// <summary>Whether a recommendation to rebalance counts as such a notice.</summary>
    public required bool Rebalance { get; init; }

    /// <summary>At most so long are pods evicted.</summary>
    public required Duration DrainTimeout { get; init; }

    public bool Watches() => Watch || TerminateHook is not null;
}

/// <summary>How agent, runtime and kubelet reach what is not in the exceptions (<see cref="ProxyExceptions"/>).</summary>
internal sealed record HttpProxyConfig
{
    /// <summary>URL of the proxy for http:// addresses; secret, since it may hold a password.</summary>
    public Secret? Http { get; init; }

    /// <summary>For https:// addresses.</summary>
    public Secret? Https { get; init; }

    /// <summary>Beside those that always hold.</summary>
    public IReadOnlyList<string> NoProxy { get; init; } = [];
}

/// <summary>CAs that the whole machine trusts beside the distribution's: a proxy that looks into TLS, registries, endpoints of one's own.</summary>
internal sealed record TrustConfig
{
    /// <summary>PEM of one certificate each, by a name that its file gets.</summary>
    public IReadOnlyDictionary<string, string> Certificates { get; init; } = new Dictionary<string, string>();
}

internal sealed record TimeConfig
{
    /// <summary>NTP servers, names or addresses.</summary>
    public IReadOnlyList<string> Servers { get; init; } = [];
}

internal sealed record DnsConfig
{
    /// <summary>Addresses of resolvers.</summary>
    public IReadOnlyList<string> Servers { get; init; } = [];

    /// <summary>Where names without a dot are looked for.</summary>
    public IReadOnlyList<string> Domains { get; init; } = [];
}
