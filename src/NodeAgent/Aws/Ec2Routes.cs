using System.Globalization;
using System.Net;
using System.Net.Http;
using Amazon.Runtime;
using Amazon.Runtime.Internal;
using Amazon.Runtime.Internal.Transform;

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
        var tables = new List<RouteTable>();
        string? next = null;
        do
        {
            var page = await Ask(
                ec2,
                "ec2:DescribeRouteTables",
                () => ec2.DescribeRouteTablesAsync(new() { Filters = filters, NextToken = next }, cancellation),
                cancellation).ConfigureAwait(false);
            tables.AddRange(page.RouteTables);
            next = page.NextToken;
        }
        while (!string.IsNullOrEmpty(next));
        return tables;
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
            await call().ConfigureAwait(false);
            return RouteOutcome.Done;
        }
        // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
        catch (AmazonServiceException e) when (Outcome(e) is { } outcome)
        {
            return outcome;
        }
        catch (AmazonServiceException e)
        {
            throw Failure(action, ec2.Endpoint, e, Allow(action));
        }
        catch (Exception e) when (IsNoAnswer(e, cancellation))
        {
            throw NotReachable(action, ec2.Endpoint, e);
        }
    }

    // ReplaceRoute says InvalidParameterValue where there is no such route.
    private static RouteOutcome? Outcome(AmazonServiceException e) => e.ErrorCode switch
    {
        "RouteAlreadyExists" => RouteOutcome.AlreadyThere,
        "InvalidRoute.NotFound" => RouteOutcome.NotThere,
        "InvalidParameterValue" when e.Message.Contains("no route", StringComparison.OrdinalIgnoreCase) => RouteOutcome.NotThere,
        "RouteLimitExceeded" => RouteOutcome.Full,
        _ => null,
    };

    private static async Task<T> Ask<T>(IAmazonEC2 ec2, string action, Func<Task<T>> call, CancellationToken cancellation)
    {
        try
        {
            return await call().ConfigureAwait(false);
        }
        catch (AmazonServiceException e)
        {
            throw Failure(action, ec2.Endpoint, e, Allow(action));
        }
        catch (Exception e) when (IsNoAnswer(e, cancellation))
        {
            throw NotReachable(action, ec2.Endpoint, e);
        }
    }

    private static string Allow(string action) => $"Allow the role of this instance the action {action}.";

    private static bool IsNoAnswer(Exception e, CancellationToken cancellation) => e is HttpRequestException or TimeoutException or IOException
        || (e is OperationCanceledException && !cancellation.IsCancellationRequested);
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

internal partial interface IAmazonEC2
{
    Task<DescribeRouteTablesResponse> DescribeRouteTablesAsync(DescribeRouteTablesRequest request, CancellationToken cancellationToken = default);

    Task<AmazonWebServiceResponse> CreateRouteAsync(CreateRouteRequest request, CancellationToken cancellationToken = default);

    Task<AmazonWebServiceResponse> ReplaceRouteAsync(ReplaceRouteRequest request, CancellationToken cancellationToken = default);

    Task<AmazonWebServiceResponse> DeleteRouteAsync(DeleteRouteRequest request, CancellationToken cancellationToken = default);

    Task<AmazonWebServiceResponse> ModifyNetworkInterfaceAttributeAsync(ModifyNetworkInterfaceAttributeRequest request, CancellationToken cancellationToken = default);
}

internal sealed class InstanceNetworkInterface
{
    public string NetworkInterfaceId { get; set; } = "";

    public bool? SourceDestCheck { get; set; }

    public InstanceNetworkInterfaceAttachment Attachment { get; } = new();
}

internal sealed class InstanceNetworkInterfaceAttachment
{
    public int? DeviceIndex { get; set; }
}

internal sealed class DescribeRouteTablesRequest : AmazonWebServiceRequest
{
    public List<Filter> Filters { get; init; } = [];

    public string? NextToken { get; init; }
}

internal sealed class DescribeRouteTablesResponse : AmazonWebServiceResponse
{
    public List<RouteTable> RouteTables { get; } = [];

    public string? NextToken { get; set; }
}

internal sealed class RouteTable
{
    public string RouteTableId { get; set; } = "";

    public List<Route> Routes { get; } = [];
}

internal sealed class Route
{
    public string DestinationCidrBlock { get; set; } = "";

    public string InstanceId { get; set; } = "";

    public string NetworkInterfaceId { get; set; } = "";

    /// <summary>Of gateways of all kinds, for messages.</summary>
    public string GatewayId { get; set; } = "";

    public string Origin { get; set; } = "";

    /// <summary>active, or blackhole: what it leads to does not run or is gone.</summary>
    public string State { get; set; } = "";
}

internal sealed class CreateRouteRequest : AmazonWebServiceRequest
{
    public required string RouteTableId { get; init; }

    public required string DestinationCidrBlock { get; init; }

    public string? InstanceId { get; init; }

    public string? NetworkInterfaceId { get; init; }
}

internal sealed class ReplaceRouteRequest : AmazonWebServiceRequest
{
    public required string RouteTableId { get; init; }

    public required string DestinationCidrBlock { get; init; }

    public string? InstanceId { get; init; }

    public string? NetworkInterfaceId { get; init; }
}

internal sealed class DeleteRouteRequest : AmazonWebServiceRequest
{
    public required string RouteTableId { get; init; }

    public required string DestinationCidrBlock { get; init; }
}

internal sealed class ModifyNetworkInterfaceAttributeRequest : AmazonWebServiceRequest
{
    public required string NetworkInterfaceId { get; init; }

    public required bool SourceDestCheck { get; init; }
}

internal sealed partial class AmazonEC2Client
{
    public Task<DescribeRouteTablesResponse> DescribeRouteTablesAsync(DescribeRouteTablesRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync<DescribeRouteTablesResponse>(
            request, new InvokeOptions { RequestMarshaller = Routes.Instance, ResponseUnmarshaller = RouteTablesResponse.Instance }, cancellationToken);

    public Task<AmazonWebServiceResponse> CreateRouteAsync(CreateRouteRequest request, CancellationToken cancellationToken = default) => Do(request, cancellationToken);

    public Task<AmazonWebServiceResponse> ReplaceRouteAsync(ReplaceRouteRequest request, CancellationToken cancellationToken = default) => Do(request, cancellationToken);

    public Task<AmazonWebServiceResponse> DeleteRouteAsync(DeleteRouteRequest request, CancellationToken cancellationToken = default) => Do(request, cancellationToken);

    public Task<AmazonWebServiceResponse> ModifyNetworkInterfaceAttributeAsync(
        ModifyNetworkInterfaceAttributeRequest request, CancellationToken cancellationToken = default) => Do(request, cancellationToken);

    private Task<AmazonWebServiceResponse> Do(AmazonWebServiceRequest request, CancellationToken cancellation) => InvokeAsync<AmazonWebServiceResponse>(
        request, new InvokeOptions { RequestMarshaller = Routes.Instance, ResponseUnmarshaller = Nothing.Instance }, cancellation);

    private sealed class Routes : IMarshaller<IRequest, AmazonWebServiceRequest>
    {
        public static readonly Routes Instance = new();

        public IRequest Marshall(AmazonWebServiceRequest input) => input switch
        {
            DescribeRouteTablesRequest r => Filtered("DescribeRouteTables", r, r.Filters, r.NextToken),
            CreateRouteRequest r => Request("CreateRoute", r, r.RouteTableId, r.DestinationCidrBlock, r.InstanceId, r.NetworkInterfaceId),
            ReplaceRouteRequest r => Request("ReplaceRoute", r, r.RouteTableId, r.DestinationCidrBlock, r.InstanceId, r.NetworkInterfaceId),
            DeleteRouteRequest r => Request("DeleteRoute", r, r.RouteTableId, r.DestinationCidrBlock, null, null),
            ModifyNetworkInterfaceAttributeRequest r => With(
                Request("ModifyNetworkInterfaceAttribute", r, null, null, null, r.NetworkInterfaceId), "SourceDestCheck.Value", r.SourceDestCheck ? "true" : "false"),
            _ => throw new ArgumentException(input.GetType().Name, nameof(input)),
        };

        private static DefaultRequest Request(string action, AmazonWebServiceRequest asked, string? table, string? range, string? instance, string? networkInterface)
        {
            var request = Filtered(action, asked, [], null);
            With(request, "RouteTableId", table);
            With(request, "DestinationCidrBlock", range);
            With(request, "InstanceId", instance);
            return With(request, "NetworkInterfaceId", networkInterface);
        }

        private static DefaultRequest With(DefaultRequest request, string name, string? value)
        {
            if (value is not null)
            {
                request.Parameters.Add(name, value);
            }

            return request;
        }
    }

    private sealed class Nothing : EC2ResponseUnmarshaller
    {
        public static readonly Nothing Instance = new();

        public override AmazonWebServiceResponse Unmarshall(XmlUnmarshallerContext input)
        {
            while (input.Read())
            {
                // Whoever answered without an error has done it.
            }

            return new AmazonWebServiceResponse();
        }

        public override AmazonServiceException UnmarshallException(XmlUnmarshallerContext input, Exception innerException, HttpStatusCode statusCode) =>
            DescribeTags.Response.Instance.UnmarshallException(input, innerException, statusCode);
    }

    private sealed class RouteTablesResponse : EC2ResponseUnmarshaller
    {
        public static readonly RouteTablesResponse Instance = new();

        private const string Table = "/DescribeRouteTablesResponse/routeTableSet/item";
        private const string One = Table + "/routeSet/item";

        public override AmazonWebServiceResponse Unmarshall(XmlUnmarshallerContext input)
        {
            var response = new DescribeRouteTablesResponse();
            Route route = new();
            while (input.Read())
            {
                if (!input.IsStartElement)
                {
                    continue;
                }

                switch (input.CurrentPath)
                {
                    case Table:
                        response.RouteTables.Add(new RouteTable());
                        break;
                    case Table + "/routeTableId":
                        response.RouteTables[^1].RouteTableId = input.ReadText();
                        break;
                    case One:
                        response.RouteTables[^1].Routes.Add(route = new Route());
                        break;
                    case One + "/destinationCidrBlock":
                        route.DestinationCidrBlock = input.ReadText();
                        break;
                    case One + "/instanceId":
                        route.InstanceId = input.ReadText();
                        break;
                    case One + "/networkInterfaceId":
                        route.NetworkInterfaceId = input.ReadText();
                        break;
                    case One + "/gatewayId" or One + "/natGatewayId" or One + "/transitGatewayId" or One + "/vpcPeeringConnectionId"
                        or One + "/localGatewayId" or One + "/carrierGatewayId" or One + "/coreNetworkArn":
                        route.GatewayId = input.ReadText();
                        break;
                    case One + "/origin":
                        route.Origin = input.ReadText();
                        break;
                    case One + "/state":
                        route.State = input.ReadText();
                        break;
                    case "/DescribeRouteTablesResponse/nextToken":
                        response.NextToken = input.ReadText();
                        break;
                }
            }

            return response;
        }

        public override AmazonServiceException UnmarshallException(XmlUnmarshallerContext input, Exception innerException, HttpStatusCode statusCode) =>
            DescribeTags.Response.Instance.UnmarshallException(input, innerException, statusCode);
    }
}
