using System.Text.Json.Serialization;
using NodeAgent.Machine;

namespace NodeAgent.Facts;

/// <summary>What a machine is, as far as its configuration depends on it. Saved and replayed as JSON, so nothing secret is in it.</summary>
internal sealed record NodeFacts
{
    public required InstanceFacts Instance { get; init; }

    public required HardwareFacts Hardware { get; init; }

    public required KernelFacts Kernel { get; init; }

    public required VersionFacts Versions { get; init; }

    public required IReadOnlyList<DiskReport> Disks { get; init; }

    /// <summary>Addresses of the control plane's instances that run, by their tags, in order; null where nobody asked (cluster.endpointFrom).</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<string>? ControlPlane { get; init; }
}

/// <summary>From instance metadata, and EC2 where metadata does not say.</summary>
internal sealed record InstanceFacts
{
    /// <summary>Auto Scaling's own tag: the group's name.</summary>
    public const string GroupTag = "aws:autoscaling:groupName";

    /// <summary>As in i-0123456789abcdef0.</summary>
    public required string Id { get; init; }

    public required string Type { get; init; }

    public required string AvailabilityZone { get; init; }

    public required string Region { get; init; }

    public required string AccountId { get; init; }

    /// <summary>Null while metadata has none (custom DHCP options without a domain, or too early in boot).</summary>
    public string? PrivateDnsName { get; init; }

    public required string PrivateAddress { get; init; }

    public required IReadOnlyList<NetworkInterfaceFacts> Interfaces { get; init; }

    /// <summary>autoscaling/target-lifecycle-state, as in InService or Warmed:Stopped; null outside an autoscaling group.</summary>
    public string? LifecycleState { get; init; }

    public required IReadOnlyDictionary<string, string> Tags { get; init; }

    /// <summary>HttpPutResponseHopLimit: over how many hops metadata's token goes. Null where nobody asked EC2, which alone knows.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? MetadataHopLimit { get; init; }

    /// <summary>block-device-mapping: virtual name to device name, as in ephemeral0 to sdb.</summary>
    public required IReadOnlyDictionary<string, string> BlockDeviceMapping { get; init; }
}

internal sealed record NetworkInterfaceFacts
{
    public required string Mac { get; init; }

    /// <summary>0 is the primary interface.</summary>
    public required int DeviceNumber { get; init; }

    public string? SubnetId { get; init; }

    public string? SubnetRange { get; init; }

    public string? VpcId { get; init; }

    /// <summary>IPv4 ranges of the VPC. Null in facts of older versions.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<string>? VpcRanges { get; init; }

    public required IReadOnlyList<string> Addresses { get; init; }
}

internal sealed record HardwareFacts
{
    public required int Processors { get; init; }

    public required long MemoryBytes { get; init; }

    /// <summary>As uname -m says it: x86_64, aarch64.</summary>
    public required string Architecture { get; init; }
}

internal sealed record KernelFacts
{
    public required string Release { get; init; }

    /// <summary>1 or 2.</summary>
    public required int CgroupVersion { get; init; }

    /// <summary>
    /// Whether systemd-resolved writes /run/systemd/resolve/resolv.conf, which then is what pods must be given (its stub listens on loopback only).
    /// </summary>
    public required bool SystemdResolved { get; init; }

    /// <summary>Whether systemd-networkd has links to manage. Null in facts of older versions.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public bool? SystemdNetworkd { get; init; }

    /// <summary>
    /// What keeps the clock, where it is one that takes a drop-in: the unit's name without .service. Null for others, none, and facts of older versions.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? TimeService { get; init; }
}

/// <summary>As the binaries say them, without a leading v; null where there is no such binary.</summary>
internal sealed record VersionFacts
{
    public string? Kubelet { get; init; }

    public string? Containerd { get; init; }

    /// <summary>dockerd's; looked for where the configuration says that Docker is the runtime, and not written where it is not.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Docker { get; init; }

    /// <summary>As <see cref="Docker"/>.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? CriDockerd { get; init; }
}
