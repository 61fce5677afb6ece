using System.Net;
using System.Security.Cryptography.X509Certificates;
using NodeAgent.Configuration;
using NodeAgent.Pki;

namespace NodeAgent.Issuer;

/// <summary>Whose issuer this is and for whom: what it holds EC2's and STS's answers against.</summary>
internal sealed record IssuerSettings
{
    public required string Cluster { get; init; }

    public required string Region { get; init; }

    public required string Account { get; init; }

    public required string VpcId { get; init; }

    public required NodeNaming Naming { get; init; }

    /// <summary>Of certificates for nodes.</summary>
    public required TimeSpan Lifetime { get; init; }

    public required IReadOnlyList<NodeKind> Kinds { get; init; }

    /// <summary>Who may have signed instance identity documents of this region.</summary>
    public required IReadOnlyList<X509Certificate2> DocumentSigners { get; init; }

    public required IPEndPoint Listen { get; init; }

    /// <summary>Health and metrics, on loopback.</summary>
    public required int MetricsPort { get; init; }

    /// <summary>Hears what is no decision and somebody has to know.</summary>
    public required Action<string> Say { get; init; }

    public IssuerLimits Limits { get; init; } = new();

    /// <summary>Null: this issuer gives out no ranges for pods.</summary>
    public PodRangeSettings? PodRanges { get; init; }
}

/// <summary>Nodes of one role, and which instances may be one: all of it must hold. Who may set tags alone makes no node.</summary>
/// <param name="NodeRole">As the tag nodeagent:role says it.</param>
/// <param name="IamRole">The role that such an instance has assumed, without its path.</param>
/// <param name="Profile">The instance profile it was launched with.</param>
/// <param name="Certificates">What such a node may ask for.</param>
internal sealed record NodeKind(string NodeRole, string IamRole, string Profile, IReadOnlyList<RoleCertificate> Certificates)
{
    /// <summary>Whether such a node has pods, and a range for them.</summary>
    public bool HasPods { get; init; } = true;
}

/// <summary>What is taken from strangers before anything is done for them.</summary>
internal sealed record IssuerLimits
{
    /// <summary>Eight requests of RSA-4096 and an identity document have 20 KiB.</summary>
    public int BodyBytes { get; init; } = 64 * 1024;

    /// <summary>Session tokens have 1 to 4 KiB.</summary>
    public int HeaderBytes { get; init; } = 16 * 1024;

    public int HeaderCount { get; init; } = 24;

    /// <summary>In a storm of nodes, handshakes wait for processors.</summary>
    public TimeSpan HandshakeTime { get; init; } = TimeSpan.FromSeconds(15);

    public TimeSpan HeaderTime { get; init; } = TimeSpan.FromSeconds(5);

    public TimeSpan BodyTime { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>From the whole body to the answer.</summary>
    public TimeSpan WorkTime { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>For what is in work when the issuer is told to stop. The unit's TimeoutStopSec is longer, and so is the time Program gives a command.</summary>
    public TimeSpan Grace { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>Each costs about 150 KiB. Who finds no place is hung up on before the handshake, and tries again.</summary>
    public int Connections { get; init; } = 1024;

    /// <summary>Of the former, those of one address: a node needs one or two. More where many nodes come from one address, by NAT or a load balancer.</summary>
    public int ConnectionsPerAddress { get; init; } = 64;

    /// <summary>
    /// From the caller, until the handshake is done. A node's hello and its leaf with RSA-4096 have 4 KiB; each certificate of a chain costs time.
    /// </summary>
    public int HandshakeBytes { get; init; } = 6 * 1024;

    /// <summary>Handshakes that are computed at one time. No more than half of the processors: the rest are for those whose handshake is done.</summary>
    public int HandshakesAtOnce { get; init; } = 1;

    /// <summary>Requests for certificates in work at one time; what comes beyond is told when to come again.</summary>
    public int Concurrency { get; init; } = 512;

    /// <summary>Of these, of one node: one is at work and another, whose connection broke, is not done yet.</summary>
    public int PerNode { get; init; } = 3;

    /// <summary>In the audit, of one address within <see cref="StrangersTime"/>, of refusals before any proof.</summary>
    public int StrangersLines { get; init; } = 10;

    public TimeSpan StrangersTime { get; init; } = TimeSpan.FromSeconds(10);

    public int Certificates { get; init; } = 8;

    public TimeSpan NonceLifetime { get; init; } = TimeSpan.FromMinutes(2);

    public TimeSpan ClockDifference { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long an instance that EC2 does not know is asked for again before its node is told to come later.</summary>
    public TimeSpan NotFoundYet { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long EC2's answer of one instance is good for.</summary>
    public TimeSpan Remembered { get; init; } = TimeSpan.FromSeconds(5);
}
