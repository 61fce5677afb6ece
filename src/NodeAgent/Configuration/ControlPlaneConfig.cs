using System.Text.Json;

namespace NodeAgent.Configuration;

/// <summary>What all static pods of a control plane share. On workers none of it does anything.</summary>
internal sealed record ControlPlaneConfig
{
    /// <summary>False: somebody else brings etcd and the control plane; the agent looks after certificates alone.</summary>
    public required bool StaticPods { get; init; }

    /// <summary>How long each may take to answer for the first time before kubelet starts it again.</summary>
    public required Duration StartupTimeout { get; init; }

    public required TlsVersion TlsMinVersion { get; init; }

    /// <summary>A minor whose flags and plugins are passed on whatever the table says, and which may be newer than the table: as in 1.37.</summary>
    public string? AllowUnlisted { get; init; }

    /// <summary>s3://BUCKET[/PREFIX], or a directory: objects for the cluster's API, made sure of once it answers.</summary>
    public string? Manifests { get; init; }

    /// <summary>Null: no issuer of certificates runs here.</summary>
    public IssuerServiceConfig? Issuer { get; init; }
}

/// <summary>What nodeagent-issuer.service is told; docs/issuer.md says what each means.</summary>
internal sealed record IssuerServiceConfig
{
    /// <summary>IAM roles that workers have: ROLE, or ROLE=PROFILE.</summary>
    public required IReadOnlyList<string> Workers { get; init; }

    /// <summary>PEM: who signs instance identity documents of this region (RSA-2048), as AWS publishes it.</summary>
    public required string IdentityCertificates { get; init; }

    public int? ConnectionsPerAddress { get; init; }

    /// <summary>Routes that a route table of this VPC may have; EC2's own 500 when not given.</summary>
    public int? RouteQuota { get; init; }
}

/// <summary>Written as Kubernetes writes them.</summary>
internal enum TlsVersion
{
    VersionTLS12,
    VersionTLS13,
}

/// <summary>What every static pod of the control plane takes.</summary>
internal interface IStaticPodConfig
{
    /// <summary>NAME:TAG, with @sha256:DIGEST or without.</summary>
    string? Image { get; }

    /// <summary>Flags without their dashes.</summary>
    IReadOnlyDictionary<string, string> ExtraArgs { get; }

    /// <summary>cpu and memory.</summary>
    IReadOnlyDictionary<string, string> Requests { get; }
}

internal sealed record EtcdConfig : IStaticPodConfig
{
    /// <summary>On <see cref="Volume"/>.</summary>
    public const string VolumeGroup = "nodeagent-etcd";

    /// <summary>The one that goes with kubelet's Kubernetes when not given.</summary>
    public string? Image { get; init; }

    public required IReadOnlyDictionary<string, string> ExtraArgs { get; init; }

    public required IReadOnlyDictionary<string, string> Requests { get; init; }

    public required string DataDirectory { get; init; }

    /// <summary>ID of an EBS volume that has the data, mounted at <see cref="DataDirectory"/>; null: the data is where the directory is.</summary>
    public string? Volume { get; init; }

    /// <summary>Milliseconds.</summary>
    public required int HeartbeatInterval { get; init; }

    /// <summary>Milliseconds.</summary>
    public required int ElectionTimeout { get; init; }

    /// <summary>How large the database may become; bytes.</summary>
    public required VolumeSize Quota { get; init; }

    /// <summary>Beside kube-apiserver's own, every five minutes.</summary>
    public AutoCompaction? AutoCompaction { get; init; }
}

internal sealed record AutoCompaction
{
    public required AutoCompactionMode Mode { get; init; }

    /// <summary>How much history is left: a time as in 8h for periodic, a number for revision.</summary>
    public required string Retention { get; init; }
}

internal enum AutoCompactionMode
{
    Periodic,
    Revision,
}

internal sealed record ApiServerConfig : IStaticPodConfig
{
    /// <summary>registry.k8s.io/kube-apiserver of kubelet's version when not given.</summary>
    public string? Image { get; init; }

    public required IReadOnlyDictionary<string, string> ExtraArgs { get; init; }

    public required IReadOnlyDictionary<string, string> Requests { get; init; }

    public required IReadOnlyDictionary<string, bool> FeatureGates { get; init; }

    public required int Port { get; init; }

    public required AdmissionConfig Admission { get; init; }

    public required EncryptionConfig Encryption { get; init; }

    /// <summary>Null: nothing is audited.</summary>
    public AuditConfig? Audit { get; init; }

    public OidcConfig? Oidc { get; init; }
}

internal sealed record AdmissionConfig
{
    /// <summary>Beside those that are on by default and NodeRestriction.</summary>
    public required IReadOnlyList<string> Enable { get; init; }

    public required IReadOnlyList<string> Disable { get; init; }
}

/// <summary>At rest, in etcd, by the keys that the cluster's store has.</summary>
internal sealed record EncryptionConfig
{
    /// <summary>As in secrets or widgets.example.com; none when empty.</summary>
    public required IReadOnlyList<string> Resources { get; init; }

    /// <summary>
    /// False: what is encrypted can be read, and what is written is not encrypted any more; without resources, that nothing in etcd is encrypted any more, and
    /// the keys on this node are deleted.
    /// </summary>
    public required bool Write { get; init; }
}

internal sealed record AuditConfig
{
    /// <summary>An audit.k8s.io/v1 Policy.</summary>
    public JsonElement Policy { get; init; }

    /// <summary>Its directory is the log's alone.</summary>
    public string? Path { get; init; }

    /// <summary>Days.</summary>
    public int? MaxAge { get; init; }

    public int? MaxBackups { get; init; }

    /// <summary>MB.</summary>
    public int? MaxSize { get; init; }
}

internal sealed record OidcConfig
{
    public required Uri Issuer { get; init; }

    public required string ClientId { get; init; }

    public string? UsernameClaim { get; init; }

    public string? UsernamePrefix { get; init; }

    public string? GroupsClaim { get; init; }

    public string? GroupsPrefix { get; init; }

    public IReadOnlyDictionary<string, string> RequiredClaims { get; init; } = new Dictionary<string, string>();

    public IReadOnlyList<string> SigningAlgorithms { get; init; } = [];

    /// <summary>PEM; what this machine trusts when not given.</summary>
    public string? CertificateAuthority { get; init; }
}

internal sealed record ControllerManagerConfig : IStaticPodConfig
{
    /// <summary>registry.k8s.io/kube-controller-manager of kubelet's version when not given.</summary>
    public string? Image { get; init; }

    public required IReadOnlyDictionary<string, string> ExtraArgs { get; init; }

    public required IReadOnlyDictionary<string, string> Requests { get; init; }

    public required IReadOnlyDictionary<string, bool> FeatureGates { get; init; }

    public required LeaderElection LeaderElection { get; init; }
}

internal sealed record SchedulerConfig : IStaticPodConfig
{
    /// <summary>registry.k8s.io/kube-scheduler of kubelet's version when not given.</summary>
    public string? Image { get; init; }

    public required IReadOnlyDictionary<string, string> ExtraArgs { get; init; }

    public required IReadOnlyDictionary<string, string> Requests { get; init; }

    public required IReadOnlyDictionary<string, bool> FeatureGates { get; init; }

    public required LeaderElection LeaderElection { get; init; }
}

/// <summary>Which of many is at work. Where answers take seconds, a leader that is well loses its lease unless these are longer.</summary>
internal sealed record LeaderElection
{
    public required Duration LeaseDuration { get; init; }

    public required Duration RenewDeadline { get; init; }

    public required Duration RetryPeriod { get; init; }
}
