using System.Globalization;

namespace NodeAgent.Network;

/// <summary>
/// What an address plan is made from: one customer's environment in one region, its cells, and what is taken already. Read strictly from a document of kind
/// AddressPlan.
/// </summary>
internal sealed record AddressPlanRequest
{
    public required string ApiVersion { get; init; }

    public required string Kind { get; init; }

    public required string Customer { get; init; }

    public required string Environment { get; init; }

    public required string Region { get; init; }

    /// <summary>Availability zones, each of which gets a subnet a cell.</summary>
    public required IReadOnlyList<string> Zones { get; init; }

    /// <summary>All that this customer's environment has in this region: a quarter for nodes, a quarter for services, half of it for pods.</summary>
    public required Cidr Range { get; init; }

    public required PodAddressing PodAddresses { get; init; }

    /// <summary>
    /// Ranges of a VPC that is there already: subnets are laid out in them, and nothing else is. Where there are none, nodes get a part of <see cref="Range"/>.
    /// </summary>
    public IReadOnlyList<Cidr> Vpc { get; init; } = [];

    /// <summary>What somebody else has that nodes or pods speak to, by a name: peered VPCs, on premises, subnets that are there already.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<Cidr>> Peers { get; init; } = new Dictionary<string, IReadOnlyList<Cidr>>();

    /// <summary>What all cells have in common instead of each its own.</summary>
    public IReadOnlyList<AddressPart> Reuse { get; init; } = [];

    /// <summary>Routes that a route table takes, by quota.</summary>
    public int? RouteQuota { get; init; }

    public required IReadOnlyList<AddressPlanCell> Cells { get; init; }
}

internal sealed record AddressPlanCell
{
    public required string Name { get; init; }

    /// <summary>Control plane nodes included.</summary>
    public required int Nodes { get; init; }

    public required int PodsPerNode { get; init; }

    public required int Services { get; init; }

    /// <summary>Of an instance, where pods have addresses of subnets: each interface has one of its own.</summary>
    public int? InterfacesPerNode { get; init; }

    /// <summary>Of each node's range; the smallest that holds its pods when not given.</summary>
    public int? NodePrefix { get; init; }

    /// <summary>What this cell has already, and keeps.</summary>
    public Cidr? NodeRange { get; init; }

    /// <summary>Parts of it, of which each zone gets one: 4 or 8; by the zones that there are where it is not given.</summary>
    public int? ZoneSlots { get; init; }

    public Cidr? PodRange { get; init; }

    public Cidr? ServiceRange { get; init; }
}

/// <summary>Whose addresses pods have.</summary>
internal enum PodAddressing
{
    /// <summary>Of the cell's own range, which the VPC has routes to.</summary>
    Routed,

    /// <summary>Of the cell's own range, in tunnels: nobody but the cell knows it.</summary>
    Overlay,

    /// <summary>Of the nodes' subnets.</summary>
    Vpc,
}

internal enum AddressPart
{
    Pods,
    Services,
}

/// <param name="Request">With all that was laid out said in it: planned again, it gives the same.</param>
/// <param name="VpcRanges">What the VPC has to have.</param>
/// <param name="More">How many more cells like the last one there is room for, and what ends first.</param>
/// <param name="Notes">What is not wrong and wants to be known.</param>
internal sealed record AddressPlan(
    AddressPlanRequest Request,
    IReadOnlyList<Cidr> VpcRanges,
    IReadOnlyList<PlannedCell> Cells,
    IReadOnlyList<PlannedPart> Parts,
    RoomFor More,
    IReadOnlyList<string> Notes)
{
    /// <summary>EC2 keeps the first four and the last address of each subnet (CreateSubnet).</summary>
    public const int SubnetReserve = 5;

    /// <summary>Addresses of a subnet that are left for what is no node: load balancers want eight free ones in each, endpoints one each.</summary>
    public const int SubnetSpare = 16;

    /// <summary>A node's range serves pods, less its network address, its broadcast address and the bridge, which is the pods' gateway.</summary>
    public const int NotForPods = 3;

    /// <summary>
    /// Of a service range nobody gets the first and the last address (pkg/registry/core/service/ipallocator); kubernetes and the DNS have one each.
    /// </summary>
    public const int NotForServices = 4;

    /// <summary>https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html</summary>
    public const int DefaultRouteQuota = 500;

    /// <exception cref="AddressPlanException">With everything that is wrong.</exception>
    public static AddressPlan Make(AddressPlanRequest request) => new AddressLayout(request).Plan();
}

/// <param name="Subnets">By zone, in the order of zones.</param>
/// <param name="NodePrefix">Null where pods have addresses of subnets.</param>
/// <param name="Holds">With all zones.</param>
/// <param name="HoldsWithoutZone">Nodes, when the zone with the most is lost.</param>
internal sealed record PlannedCell(
    string Name,
    Cidr NodeRange,
    IReadOnlyList<(string Zone, Cidr Range)> Subnets,
    Cidr? PodRange,
    int? NodePrefix,
    Cidr ServiceRange,
    Capacity Holds,
    long HoldsWithoutZone)
{
    /// <summary>Where kubeadm and nodeagent put it: the tenth address.</summary>
    public string DnsAddress => ServiceRange[10].ToString();

    public IEnumerable<Claim> Claims() =>
    [
        new($"nodes of {Name}", NodeRange),
        .. PodRange is { } pods ? (Claim[])[new($"pods of {Name}", pods)] : [],
        new($"services of {Name}", ServiceRange),
    ];
}

/// <param name="NodesBy">What ends first: subnets, pod ranges, routes.</param>
internal sealed record Capacity(long Nodes, string NodesBy, long Pods, long PodsPerNode, long Services);

/// <summary>One of the parts that the layout cuts the range into.</summary>
internal sealed record PlannedPart(string Name, IReadOnlyList<Cidr> Ranges);

internal sealed record RoomFor(string Cell, long Cells, string By);

/// <param name="Path">Dotted, in the document: cells[0].nodes.</param>
internal sealed record AddressPlanError(string Path, string Message);

internal sealed class AddressPlanException(IReadOnlyList<AddressPlanError> errors)
    : Exception(string.Join('\n', errors.Select(e => $"{e.Path}: {e.Message}")))
{
    public IReadOnlyList<AddressPlanError> Errors { get; } = errors;
}
