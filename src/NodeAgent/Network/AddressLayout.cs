using System.Numerics;

namespace NodeAgent.Network;

/// <summary>
/// From a request to its plan. Where the parts of a range begin does not depend on its cells, and those are laid out in the order in which they stand, so that
/// one more at the end moves nothing. What is laid out, pinned or somebody else's goes into one list, past which every search steps: nothing overlaps, whatever
/// was asked for.
/// </summary>
internal sealed class AddressLayout(AddressPlanRequest request)
{
    // EC2's, of a range of a VPC and of a subnet (CreateVpc, CreateSubnet).
    private const int Largest = 16, Smallest = 28;

    // kube-apiserver takes no larger range of services (cmd/kube-apiserver/app/options/validation.go); a smaller one has no tenth address.
    private const int LargestServices = 12;

    private readonly List<AddressPlanError> _errors = [];

    private readonly List<Cidr> _taken = [];

    private bool IsVpc => request.PodAddresses == PodAddressing.Vpc;

    /// <summary>A quarter of the range; where pods have addresses of subnets as well, the half that they have not.</summary>
    private IReadOnlyList<Cidr> NodePart => request.Vpc.Count > 0 ? request.Vpc
        : [IsVpc ? request.Range.Part(1, request.Range.Prefix + 1) : request.Range.Part(0, request.Range.Prefix + 2)];

    private int RouteQuota => request.RouteQuota ?? AddressPlan.DefaultRouteQuota;

    public AddressPlan Plan()
    {
        CheckDocument();
        Fail();
        IReadOnlyList<Size> sizes = [.. request.Cells.Select(SizeOf)];
        Fail();
        Claim[] peers = [.. request.Peers.OrderBy(p => p.Key, StringComparer.Ordinal).SelectMany(p => p.Value.Select(r => new Claim($"peers.{p.Key}", r)))];
        CheckPins(sizes, peers);
        Fail();
        _taken.AddRange([.. peers.Select(p => p.Range), .. request.Cells.SelectMany(c => (Cidr?[])[c.NodeRange, c.PodRange, c.ServiceRange]).OfType<Cidr>()]);
        var nodes = new AddressPool(NodePart, _taken);
        var services = new AddressPool([request.Range.Part(1, request.Range.Prefix + 2)], _taken);
        var pods = new AddressPool([request.Range.Part(1, request.Range.Prefix + 1)], _taken);
        var nodeRanges = LayOut("nodeRange", nodes, sizes.Select(s => s.Nodes), c => c.NodeRange, isShared: false);
        Fail();
        var roomForNodes = nodes.Room(sizes[^1].Nodes);
        var vpc = VpcRanges(nodes, nodeRanges);
        _taken.AddRange(vpc);
        var serviceRanges = LayOut("serviceRange", services, sizes.Select(s => s.Services), c => c.ServiceRange, request.Reuse.Contains(AddressPart.Services));
        var podRanges = IsVpc ? [] : LayOut("podRange", pods, sizes.Select(s => s.Pods!.Value), c => c.PodRange, request.Reuse.Contains(AddressPart.Pods));
        Fail();
        for (var i = 0; i < request.Cells.Count; i++)
        {
            foreach (var (mine, theirs) in Claim.Overlaps(
                [new($"cells[{i}].serviceRange", serviceRanges[i]), .. IsVpc ? (Claim[])[] : [new($"cells[{i}].podRange", podRanges[i])]],
                [.. vpc.Select(v => new Claim("the VPC's", v))]))
            {
                _errors.Add(new(mine.Whose, $"{mine.Range} overlaps {theirs}"));
            }
        }

        Fail();
        IReadOnlyList<PlannedCell> cells = [.. request.Cells.Select((c, i) => Cell(c, sizes[i], nodeRanges[i], IsVpc ? null : podRanges[i], serviceRanges[i]))];
        return new(
            request with
            {
                Cells =
                    [.. request.Cells.Select(
                        (c, i) => c with
                        {
                            NodePrefix = sizes[i].NodePrefix,
                            NodeRange = nodeRanges[i],
                            ZoneSlots = 1 << SlotBits(c),
                            PodRange = IsVpc ? null : podRanges[i],
                            ServiceRange = serviceRanges[i],
                        })],
            },
            vpc,
            cells,
            [
                new("nodes", nodes.Ranges), new("services", services.Ranges), .. IsVpc ? (PlannedPart[])[] : [new("pods", pods.Ranges)],
            ],
            More(sizes[^1], roomForNodes, services, pods),
            [.. Notes(peers, vpc, cells)]);
    }

    private void CheckDocument()
    {
        Name("customer", request.Customer);
        Name("environment", request.Environment);
        Name("region", request.Region);
        Require(
            request.Zones.Count is >= 1 and <= 8,
            "zones",
            $"{request.Zones.Count} zones; expected 1 to 8, as in [eu-central-1a, eu-central-1b, eu-central-1c]");
        Require(request.Zones.Distinct(StringComparer.Ordinal).Count() == request.Zones.Count, "zones", "names a zone twice");
        for (var i = 0; i < request.Zones.Count; i++)
        {
            Name($"zones[{i}]", request.Zones[i]);
        }

        Require(
            !request.Range.IsIPv6 && request.Range.Prefix is >= 8 and <= 24,
            "range",
            $"{request.Range} cannot be laid out; expected a range of IPv4 from /8 to /24, as in 10.64.0.0/12");
        for (var i = 0; i < request.Vpc.Count; i++)
        {
            Require(
                !request.Vpc[i].IsIPv6 && request.Vpc[i].Prefix is >= Largest and <= Smallest,
                $"vpc[{i}]",
                $"{request.Vpc[i]} is no range of a VPC; expected one of IPv4 from /16 to /28");
            Require(!request.Vpc.Take(i).Any(v => v.Overlaps(request.Vpc[i])), $"vpc[{i}]", $"{request.Vpc[i]} is said twice, or in part");
        }

        foreach (var (name, ranges) in request.Peers)
        {
            for (var i = 0; i < ranges.Count; i++)
            {
                Require(!ranges[i].IsIPv6, $"peers.{name}[{i}]", $"{ranges[i]} is of IPv6; addresses are planned for IPv4 alone");
            }
        }

        Require(
            !request.Reuse.Contains(AddressPart.Pods) || request.PodAddresses == PodAddressing.Overlay,
            "reuse",
            $"pods of several cells have the same addresses in overlays alone, and podAddresses is {Word(request.PodAddresses)}: a VPC routes an address to "
                + "one node");
        Require(
            request.RouteQuota is null || (request.PodAddresses == PodAddressing.Routed && RouteQuota is >= 50 and <= 1000),
            "routeQuota",
            request.PodAddresses == PodAddressing.Routed
                ? $"{request.RouteQuota} is out of range; expected 50 to 1000, EC2's bounds"
                : "is for podAddresses: routed, since nothing else makes routes of the VPC");
        Require(request.Cells.Count > 0, "cells", "there are none; expected one or more");
        for (var i = 0; i < request.Cells.Count; i++)
        {
            CheckCell(request.Cells[i], $"cells[{i}]");
            Require(!request.Cells.Take(i).Any(c => c.Name == request.Cells[i].Name), $"cells[{i}].name", $"'{request.Cells[i].Name}' is a cell already");
        }
    }

    private void CheckCell(AddressPlanCell cell, string path)
    {
        Name($"{path}.name", cell.Name);
        Require(cell.Nodes is >= 1 and <= 65536, $"{path}.nodes", $"{cell.Nodes} is out of range; expected 1 to 65536");
        Require(cell.PodsPerNode is >= 1 and <= 1024, $"{path}.podsPerNode", $"{cell.PodsPerNode} is out of range; expected 1 to 1024");
        const int MostServices = (1 << (32 - LargestServices)) - AddressPlan.NotForServices;
        Require(
            cell.Services is >= 1 and <= MostServices,
            $"{path}.services",
            $"{cell.Services} is out of range; expected 1 to {MostServices}, which is what the largest range (/12) holds");
        Require(
            request.PodAddresses != PodAddressing.Routed || cell.Nodes <= RouteQuota,
            $"{path}.nodes",
            $"{cell.Nodes} nodes need as many routes in each route table, which takes {RouteQuota} by quota (routeQuota; EC2 gives up to 1000); "
            + "take more cells, each with route tables of its own, or podAddresses: overlay");
        Require(
            IsVpc == (cell.InterfacesPerNode is not null) && cell.InterfacesPerNode is null or (>= 1 and <= 16),
            $"{path}.interfacesPerNode",
            IsVpc
                ? "with podAddresses: vpc each interface has an address of its own; expected 1 to 16, as 'aws ec2 describe-instance-types' says "
                    + "MaximumNetworkInterfaces"
                : $"is for podAddresses: vpc, and it is {Word(request.PodAddresses)}");
        Require(
            !IsVpc || (cell.NodePrefix is null && cell.PodRange is null),
            path,
            "with podAddresses: vpc pods have addresses of subnets; leave out nodePrefix and podRange");
        Require(cell.ZoneSlots is null or 4 or 8, $"{path}.zoneSlots", $"{cell.ZoneSlots} is out of range; expected 4 or 8");
        Require(
            cell.ZoneSlots is not (4 or 8) || cell.ZoneSlots >= request.Zones.Count,
            $"{path}.zoneSlots",
            $"its range of nodes has {cell.ZoneSlots} subnets, and there are {request.Zones.Count} zones; leave a zone out, or lay a cell out beside it that "
                + "has more (zoneSlots: 8); without zoneSlots and nodeRange this one is laid out anew, which moves it");
        Require(cell.NodePrefix is null or (>= 16 and <= 28), $"{path}.nodePrefix", $"{cell.NodePrefix} is out of range; expected 16 to 28");
        Require(
            cell.NodePrefix is null or (< 16 or > 28) || PodsIn(cell.NodePrefix.Value) >= cell.PodsPerNode,
            $"{path}.nodePrefix",
            $"a range of /{cell.NodePrefix} has addresses for {PodsIn(cell.NodePrefix ?? 28)} pods, and podsPerNode is {cell.PodsPerNode}: network, broadcast "
                + "and gateway are taken");
        foreach (var (name, range) in new[] { ("nodeRange", cell.NodeRange), ("podRange", cell.PodRange), ("serviceRange", cell.ServiceRange) })
        {
            Require(range is not { IsIPv6: true }, $"{path}.{name}", $"{range} is of IPv6; addresses are planned for IPv4 alone");
        }
    }

    /// <summary>Prefixes that hold what a cell wants.</summary>
    private Size SizeOf(AddressPlanCell cell, int index)
    {
        var perZone = (cell.Nodes + request.Zones.Count - 1) / request.Zones.Count;
        var wanted = ((long)perZone * PerNode(cell)) + AddressPlan.SubnetReserve + AddressPlan.SubnetSpare;
        var subnet = Math.Min(32 - Bits(wanted), Smallest);
        Require(
            subnet >= Largest,
            $"cells[{index}].nodes",
            $"{perZone} nodes in a zone{(IsVpc ? $", each with {cell.PodsPerNode} pods and {cell.InterfacesPerNode} interfaces," : "")} need {wanted} "
            + "addresses of its subnet, and EC2's largest is a /16; "
            + "take more cells or more zones");
        int? node = IsVpc ? null : cell.NodePrefix ?? Math.Min(32 - Bits(cell.PodsPerNode + AddressPlan.NotForPods), Smallest);
        return new(subnet - SlotBits(cell), node, node - Bits(cell.Nodes), Math.Min(32 - Bits(cell.Services + AddressPlan.NotForServices), Smallest));
    }

    private void CheckPins(IReadOnlyList<Size> sizes, IReadOnlyCollection<Claim> peers)
    {
        var earlier = new List<Claim>();
        for (var i = 0; i < sizes.Count; i++)
        {
            var (cell, size) = (request.Cells[i], sizes[i]);
            if (cell.NodeRange is { } nodes)
            {
                var (homes, slots) = (NodePart, SlotBits(cell));
                Require(
                    homes.Any(h => h.Contains(nodes)) || (request.Vpc.Count > 0 && Subnets(cell, nodes).All(s => homes.Any(h => h.Contains(s.Range)))),
                    $"cells[{i}].nodeRange",
                    $"{nodes} is not within {(request.Vpc.Count > 0 ? "the VPC (vpc)" : "the part of range that is for nodes")}, {string.Join(", ", homes)}; "
                        + "if it is there already, name its VPC's ranges in vpc");
                Require(
                    nodes.Prefix + slots is >= Largest and <= Smallest,
                    $"cells[{i}].nodeRange",
                    $"{nodes} cannot be cut into {1 << slots} subnets of /16 to /28");
            }

            Pinned("nodeRange", cell.NodeRange, size.Nodes, $"{cell.Nodes} nodes in {request.Zones.Count} zones", isShared: false);
            Pinned("podRange", cell.PodRange, size.Pods ?? 0, $"{cell.Nodes} nodes, each with a /{size.NodePrefix},", request.Reuse.Contains(AddressPart.Pods));
            Pinned("serviceRange", cell.ServiceRange, size.Services, $"{cell.Services} services", request.Reuse.Contains(AddressPart.Services));
            Require(
                cell.ServiceRange is not { Prefix: < LargestServices },
                $"cells[{i}].serviceRange",
                $"{cell.ServiceRange} is larger than kube-apiserver takes; expected /12 at most");

            void Pinned(string name, Cidr? pin, int wanted, string what, bool isShared)
            {
                if (pin is not { } range)
                {
                    return;
                }

                var path = $"cells[{i}].{name}";
                Require(
                    range.Prefix <= wanted,
                    path,
                    $"{range} is too small: {what} need a /{wanted}; leave it out to have the cell laid out anew, which moves it");
                var claim = new Claim(path, range);
                // With one range for all, all of them say the same.
                foreach (var (_, theirs) in Claim.Overlaps([claim], [.. peers, .. earlier])
                    .Where(o => !isShared || o.Theirs.Range != range || !o.Theirs.Whose.EndsWith($".{name}", StringComparison.Ordinal)))
                {
                    _errors.Add(new(path, $"{range} overlaps {theirs}"));
                }

                earlier.Add(claim);
            }
        }
    }

    private List<Cidr> LayOut(string name, AddressPool pool, IEnumerable<int> prefixes, Func<AddressPlanCell, Cidr?> pin, bool isShared)
    {
        var wanted = prefixes.ToList();
        Cidr? shared = null;
        if (isShared)
        {
            wanted = [.. Enumerable.Repeat(wanted.Min(), wanted.Count)];
            shared = request.Cells.Select(pin).FirstOrDefault(p => p is not null);
            Require(
                request.Cells.Select(pin).OfType<Cidr>().Distinct().Count() <= 1,
                "cells",
                $"cells share one {name} (reuse), and say several; say it of one of them, or of none");
            Require(
                shared is null || shared.Value.Prefix <= wanted[0],
                $"cells[0].{name}",
                $"{shared}, which all cells share (reuse), is too small: the largest of them needs a /{wanted[0]}");
        }

        var ranges = new List<Cidr>();
        for (var i = 0; i < wanted.Count; i++)
        {
            var range = (isShared ? shared : pin(request.Cells[i])) ?? pool.Take(wanted[i]);
            if (range is null)
            {
                _errors.Add(new(
                    $"cells[{i}]",
                    $"'{request.Cells[i].Name}' needs a /{wanted[i]} for its {name}, and {string.Join(", ", pool.Ranges)} has none free; take a larger range, "
                    + $"{(name == "serviceRange" ? "reuse: [services], " : "")}or fewer "
                    + $"{(name == "nodeRange" ? "nodes" : name == "podRange" ? "nodes and pods" : "services")}"));
                return ranges;
            }

            shared ??= range;
            ranges.Add(range.Value);
        }

        return ranges;
    }

    /// <summary>Subnets lie in one range each, and a VPC's are /16 at most.</summary>
    private IReadOnlyList<Cidr> VpcRanges(AddressPool nodes, IReadOnlyList<Cidr> ranges)
    {
        if (request.Vpc.Count > 0)
        {
            return request.Vpc;
        }

        var part = nodes.Ranges[0];
        return part.Prefix >= Largest ? [part]
            : [.. Enumerable.Range(0, 1 << (Largest - part.Prefix)).Select(i => part.Part(i, Largest)).Where(v => ranges.Any(v.Overlaps))];
    }

    private PlannedCell Cell(AddressPlanCell cell, Size size, Cidr nodes, Cidr? pods, Cidr services)
    {
        IReadOnlyList<(string Zone, Cidr Range)> subnets = [.. Subnets(cell, nodes)];
        var perZone = ((1L << (32 - subnets[0].Range.Prefix)) - AddressPlan.SubnetReserve - AddressPlan.SubnetSpare) / PerNode(cell);
        List<(long Nodes, string By)> limits = [(perZone * subnets.Count, "subnets")];
        if (pods is { } range)
        {
            limits.Add((1L << (size.NodePrefix!.Value - range.Prefix), "pod ranges"));
        }

        if (request.PodAddresses == PodAddressing.Routed)
        {
            limits.Add((RouteQuota, "routes"));
        }

        var (held, by) = limits.MinBy(l => l.Nodes);
        return new(
            cell.Name,
            nodes,
            subnets,
            pods,
            size.NodePrefix,
            services,
            new(held, by, held * cell.PodsPerNode, cell.PodsPerNode, (1L << (32 - services.Prefix)) - AddressPlan.NotForServices),
            Math.Min(held, perZone * (subnets.Count - 1)));
    }

    /// <summary>Of the parts of a cell's range of nodes, of which each zone gets one: as long as there are some left, a zone more moves nothing.</summary>
    private int SlotBits(AddressPlanCell cell) => BitOperations.Log2((uint)(cell.ZoneSlots ?? (request.Zones.Count <= 4 ? 4 : 8)));

    private IEnumerable<(string Zone, Cidr Range)> Subnets(AddressPlanCell cell, Cidr nodes) =>
        request.Zones.Select((z, i) => (z, nodes.Part(i, nodes.Prefix + SlotBits(cell))));

    private RoomFor More(Size size, long nodes, AddressPool services, AddressPool pods)
    {
        List<(long Cells, string By)> room = [(nodes, "nodes")];
        if (!request.Reuse.Contains(AddressPart.Services))
        {
            room.Add((services.Room(size.Services), "services"));
        }

        if (size.Pods is { } prefix && !request.Reuse.Contains(AddressPart.Pods))
        {
            room.Add((pods.Room(prefix), "pods"));
        }

        var (cells, by) = room.MinBy(r => r.Cells);
        return new(request.Cells[^1].Name, cells, by);
    }

    private IEnumerable<string> Notes(IReadOnlyCollection<Claim> peers, IReadOnlyList<Cidr> vpc, IReadOnlyList<PlannedCell> cells)
    {
        foreach (var (_, peer) in Claim.Overlaps([new("range", request.Range)], peers))
        {
            yield return $"{peer} has a part of range {request.Range}; nothing is laid out there";
        }

        foreach (var (mine, peer) in Claim.Overlaps(request.Vpc.Select(v => new Claim("vpc", v)), peers))
        {
            yield return $"{mine} overlaps {peer}: they cannot be peered, and what both have is reached in one of them only";
        }

        if (vpc.Count > 5)
        {
            yield return $"the VPC needs {vpc.Count} ranges; EC2 takes 5, and up to 50 by quota (IPv4 CIDR blocks per VPC)";
        }

        if (request.PodAddresses == PodAddressing.Routed && RouteQuota > AddressPlan.DefaultRouteQuota)
        {
            yield return $"route tables take 500 routes, and {RouteQuota} by quota alone (Routes per route table); tell issuers, too: --route-quota "
                + $"{RouteQuota}";
        }

        foreach (var cell in request.Cells.Where(c => c.Nodes > 5000 || (long)c.Nodes * c.PodsPerNode > 150_000))
        {
            yield return $"{cell.Name}: {cell.Nodes} nodes and {(long)cell.Nodes * cell.PodsPerNode} pods are beyond what Kubernetes is tested with, 5000 and "
                + "150000 a cluster "
                + "(kubernetes.io/docs/setup/best-practices/cluster-large); more cells hold as many";
        }
    }

    /// <summary>Addresses of the subnet.</summary>
    private int PerNode(AddressPlanCell cell) => IsVpc ? cell.PodsPerNode + cell.InterfacesPerNode!.Value : 1;

    private static long PodsIn(int prefix) => (1L << (32 - prefix)) - AddressPlan.NotForPods;

    /// <summary>Of the smallest power of two that is not less.</summary>
    private static int Bits(long count) => BitOperations.Log2((ulong)count - 1) + (count > 1 ? 1 : 0);

    private static string Word(PodAddressing addressing) =>
        addressing switch { PodAddressing.Routed => "routed", PodAddressing.Overlay => "overlay", _ => "vpc" };

    private void Name(string path, string name) => Require(
        name.Length is > 0 and <= 100 && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.') && char.IsAsciiLetterOrDigit(name[0]),
        path,
        $"'{name}' is not a name; expected up to 100 letters, digits, '-', '_' and '.', a letter or digit first");

    private void Require(bool holds, string path, string message)
    {
        if (!holds)
        {
            _errors.Add(new(path, message));
        }
    }

    private void Fail()
    {
        if (_errors.Count > 0)
        {
            throw new AddressPlanException(_errors);
        }
    }

    /// <param name="Nodes">Prefix of the range that subnets are parts of.</param>
    private readonly record struct Size(int Nodes, int? NodePrefix, int? Pods, int Services);
}
