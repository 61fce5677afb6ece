using NodeAgent.Configuration;
using NodeAgent.Facts;
using NodeAgent.Network;

namespace NodeAgent.Advice;

/// <summary>
/// Ranges of this node's cluster against those of others. Among themselves ConfigValidation keeps them apart, and between cells the address plan.
/// </summary>
internal static class AddressRules
{
    private const string VpcRouting = "docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables, route priority";

    public static readonly IReadOnlyList<Rule> All =
    [
        new(
            AdviceNames.PodRangeInVpc,
            "`cluster.podRange` and a range of the VPC have addresses in common; refused with `vpc-routes`",
            VpcRouting,
            PodRangeInVpc),
        new(
            AdviceNames.PodRangeReused,
            "`cluster.podRange` and pods of another cluster in the same VPC (`network.otherPods`) have addresses in common, where the VPC routes them: "
                + "refused with `vpc-routes`; overlays may",
            VpcRouting,
            PodRangeReused),
        new(
            AdviceNames.RangesOverlap,
            "Ranges of pods, services or the VPC and what somebody else has (`network.peers`), or of services and the VPC",
            "docs/address-plan.md; docs.aws.amazon.com/vpc/latest/peering, unsupported configurations",
            RangesOverlap),
    ];

    private static IEnumerable<Fired> PodRangeInVpc(Subject s)
    {
        foreach (var (mine, theirs) in Claim.Overlaps(Pods(s), Vpc(s)))
        {
            var routed = s.Config.Network.Plugin == NetworkPlugin.VpcRoutes;
            yield return new(
                $"{mine} ({s.At(mine.Whose)}) overlaps {theirs}: "
                + (routed
                    ? "EC2 takes no routes to instances within a range of the VPC itself, so no node gets one"
                    : "pods take the VPC's hosts there for pods, and never reach them"),
                "a range for pods that is not the VPC's ('nodeagent network plan' finds one)",
                routed);
        }
    }

    private static IEnumerable<Fired> PodRangeReused(Subject s)
    {
        if (s.Config.Network.Plugin is not (NetworkPlugin.VpcRoutes or NetworkPlugin.Bridge))
        {
            yield break;
        }

        foreach (var (mine, theirs) in Claim.Overlaps(Pods(s), Claims("network.otherPods", s.Config.Network.OtherPods)))
        {
            yield return new(
                $"{mine} ({s.At(mine.Whose)}) overlaps {theirs} ({s.At(theirs.Whose)}), and "
                + $"{s.Said("network.plugin", ConfigValidation.Word(s.Config.Network.Plugin))}: "
                + "a route table leads an address to one instance, so pods of one of the clusters are not reached. With an overlay both could have it",
                "ranges of their own for each cluster of a VPC ('nodeagent network plan' lays them out)",
                s.Config.Network.Plugin == NetworkPlugin.VpcRoutes);
        }
    }

    private static IEnumerable<Fired> RangesOverlap(Subject s)
    {
        var services = new Claim("cluster.serviceRange", s.Config.Cluster.ServiceRange);
        var peers = Claims("network.peers", s.Config.Network.Peers);
        foreach (var (mine, theirs) in Claim.Overlaps([.. Pods(s), services, .. Vpc(s)], peers)
            .Concat(Claim.Overlaps([services], [.. Vpc(s), .. Claims("network.otherPods", s.Config.Network.OtherPods)])))
        {
            yield return new(
                $"{mine}{Where(mine)} overlaps {theirs}{Where(theirs)}: what both have is reached in one of them only, from pods, nodes or both",
                "ranges that nobody else has ('nodeagent network plan' finds them)");
        }

        string Where(Claim claim) => claim.Whose.Contains('.', StringComparison.Ordinal) ? $" ({s.At(claim.Whose)})" : "";
    }

    /// <summary>Where pods have a range that is not the subnets'.</summary>
    private static IReadOnlyList<Claim> Pods(Subject s) =>
        s.Config.Network.Plugin == NetworkPlugin.AwsVpcCni ? []
        : s.Config.Cluster.PodRange is { } all ? [new("cluster.podRange", all)]
        : s.Config.Network.PodRange is { } own ? [new("network.podRange", own)]
        : [];

    private static IReadOnlyList<Claim> Vpc(Subject s) =>
        [.. (s.Facts?.Instance.Interfaces.FirstOrDefault(i => i.DeviceNumber == 0)?.VpcRanges ?? []).Select(r => new Claim("the VPC's range", Cidr.Parse(r)))];

    private static IReadOnlyList<Claim> Claims(string path, IReadOnlyDictionary<string, IReadOnlyList<Cidr>> ranges) =>
        [.. ranges.OrderBy(r => r.Key, StringComparer.Ordinal).SelectMany(r => r.Value.Select(v => new Claim(ConfigPath.Child(path, r.Key), v)))];
}
