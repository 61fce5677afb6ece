using Amazon.Runtime;

namespace NodeAgent.Aws;

/// <summary>Routes of a VPC to the pods of its instances.</summary>
internal static partial class Ec2
{
    /// <summary>Route tables of a VPC that carry a cluster's tag, or of these IDs where some are given.</summary>
    /// <exception cref="AwsException"/>
    public static async Task<IReadOnlyList<RouteTable>> RouteTables(
        IAmazonEC2 ec2, string vpc, string cluster, IReadOnlyList<string> ids, CancellationToken cancellation)
    {
        List<Filter> filters =
        [
            new() { Name = "vpc-id", Values = [vpc] },
            ids.Count > 0 ? new() { Name = "route-table-id", Values = [.. ids] } : new() { Name = $"tag:{InstanceTag.Cluster}", Values = [cluster] },
        ];
        return await Pages(
            ec2,
            "ec2:DescribeRouteTables",
            next => ec2.DescribeRouteTablesAsync(new() { Filters = filters, NextToken = next }, cancellation),
            page => (page.RouteTables, page.NextToken),
            cancellation).ConfigureAwait(false);
    }

    /// <exception cref="AwsException"/>
    public static Task<RouteOutcome> CreateRoute(IAmazonEC2 ec2, string table, string range, RouteTarget target, CancellationToken cancellation) => Change(
        ec2,
        "ec2:CreateRoute",
        () => ec2.CreateRouteAsync(
            new() { RouteTableId = table, DestinationCidrBlock = range, InstanceId = target.InstanceId, NetworkInterfaceId = target.NetworkInterfaceId },
            cancellation),
        cancellation);

    /// <summary>Of a route that is there.</summary>
    /// <exception cref="AwsException"/>
    public static Task<RouteOutcome> ReplaceRoute(IAmazonEC2 ec2, string table, string range, RouteTarget target, CancellationToken cancellation) => Change(
        ec2,
        "ec2:ReplaceRoute",
        () => ec2.ReplaceRouteAsync(
            new() { RouteTableId = table, DestinationCidrBlock = range, InstanceId = target.InstanceId, NetworkInterfaceId = target.NetworkInterfaceId },
            cancellation),
        cancellation);

    /// <summary>Whatever it leads to by now.</summary>
    /// <exception cref="AwsException"/>
    public static Task<RouteOutcome> DeleteRoute(IAmazonEC2 ec2, string table, string range, CancellationToken cancellation) => Change(
        ec2, "ec2:DeleteRoute", () => ec2.DeleteRouteAsync(new() { RouteTableId = table, DestinationCidrBlock = range }, cancellation), cancellation);

    /// <summary>
    /// Lets an interface carry packets of addresses that are not its own. Asked of the interface: who may modify instances may give them other user data,
    /// too, which root runs.
    /// </summary>
    /// <exception cref="AwsException"/>
    public static Task LetPass(IAmazonEC2 ec2, string networkInterface, CancellationToken cancellation) => Ask(
        ec2,
        "ec2:ModifyNetworkInterfaceAttribute",
        () => ec2.ModifyNetworkInterfaceAttributeAsync(new() { NetworkInterfaceId = networkInterface, SourceDestCheck = false }, cancellation),
        cancellation);

    private static async Task<RouteOutcome> Change<T>(IAmazonEC2 ec2, string action, Func<Task<T>> call, CancellationToken cancellation)
    {
        try
        {
            await Ask(ec2, action, call, cancellation).ConfigureAwait(false);
            return RouteOutcome.Done;
        }
        // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
        catch (AwsException e) when (Outcome(e.InnerException as AmazonServiceException) is { } outcome)
        {
            return outcome;
        }
    }

    // ReplaceRoute says InvalidParameterValue where there is no such route.
    private static RouteOutcome? Outcome(AmazonServiceException? e) => e?.ErrorCode switch
    {
        "RouteAlreadyExists" => RouteOutcome.AlreadyThere,
        "InvalidRoute.NotFound" => RouteOutcome.NotThere,
        "InvalidParameterValue" when e!.Message.Contains("no route", StringComparison.OrdinalIgnoreCase) => RouteOutcome.NotThere,
        "RouteLimitExceeded" => RouteOutcome.Full,
        _ => null,
    };
}

internal enum RouteOutcome
{
    Done,
    AlreadyThere,
    NotThere,

    /// <summary>The table has as many routes as the account's quota lets it.</summary>
    Full,
}

/// <summary>One of both.</summary>
internal sealed record RouteTarget(string? InstanceId, string? NetworkInterfaceId)
{
    /// <summary>EC2 takes an instance for a target where it has one interface alone (API reference, CreateRoute); of others, the first.</summary>
    public static RouteTarget? Of(Instance instance) => instance.NetworkInterfaces.Count <= 1 ? new(instance.InstanceId, null)
        : instance.Primary?.NetworkInterfaceId is { Length: > 0 } id ? new(null, id)
        : null;
}
