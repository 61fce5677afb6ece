using Amazon;
using NodeAgent.Aws;

namespace NodeAgent.Tests.Aws;

public sealed class PartitionTests
{
    [Fact]
    public void The_rows_agree_with_the_SDK_for_every_region_it_knows_and_for_those_to_come()
    {
        string[] regions = [.. RegionEndpoint.EnumerableAllRegions.Select(r => r.SystemName), "us-isof-east-7", "eu-central-9", "cn-north-9", "us-gov-south-1"];
        regions.ShouldContain("cn-north-1");

        foreach (var region in regions)
        {
            var known = RegionEndpoint.GetBySystemName(region);
            (region, Partition.Name(region), Partition.DnsSuffix(region)).ShouldBe((region, known.PartitionName, known.PartitionDnsSuffix));
        }
    }
}
