using System.Globalization;
using System.Net;
using Amazon.Runtime;
using Amazon.Runtime.Internal;
using Amazon.Runtime.Internal.Transform;

namespace NodeAgent.Aws;

// What the package AWSSDK.EC2 would bring, by its names, as far as it is used here. It cannot be restored everywhere yet; when it can, this file goes, but for
// the two members that say "not in the package".

/// <summary>Retries throttling and trouble of the service by itself, a few times, with backoff.</summary>
internal interface IAmazonEC2
{
    /// <summary>Not in the package: for messages.</summary>
    Uri Endpoint { get; }

    Task<DescribeTagsResponse> DescribeTagsAsync(DescribeTagsRequest request, CancellationToken cancellationToken = default);

    Task<DescribeInstancesResponse> DescribeInstancesAsync(DescribeInstancesRequest request, CancellationToken cancellationToken = default);

    Task<DescribeRouteTablesResponse> DescribeRouteTablesAsync(DescribeRouteTablesRequest request, CancellationToken cancellationToken = default);

    Task<AmazonWebServiceResponse> CreateRouteAsync(CreateRouteRequest request, CancellationToken cancellationToken = default);

    Task<AmazonWebServiceResponse> ReplaceRouteAsync(ReplaceRouteRequest request, CancellationToken cancellationToken = default);

    Task<AmazonWebServiceResponse> DeleteRouteAsync(DeleteRouteRequest request, CancellationToken cancellationToken = default);

    Task<AmazonWebServiceResponse> ModifyNetworkInterfaceAttributeAsync(
        ModifyNetworkInterfaceAttributeRequest request, CancellationToken cancellationToken = default);
}

internal sealed class Filter
{
    public required string Name { get; init; }

    public required List<string> Values { get; init; }
}

internal sealed class DescribeTagsRequest : AmazonWebServiceRequest
{
    public List<Filter> Filters { get; init; } = [];

    public string? NextToken { get; init; }
}

internal sealed class DescribeTagsResponse : AmazonWebServiceResponse
{
    public List<TagDescription> Tags { get; } = [];

    public string? NextToken { get; set; }
}

internal sealed class TagDescription
{
    public string Key { get; set; } = "";

    public string Value { get; set; } = "";
}

internal sealed class DescribeInstancesRequest : AmazonWebServiceRequest
{
    public List<Filter> Filters { get; init; } = [];

    public string? NextToken { get; init; }
}

internal sealed class DescribeInstancesResponse : AmazonWebServiceResponse
{
    public List<Reservation> Reservations { get; } = [];

    public string? NextToken { get; set; }
}

internal sealed class Reservation
{
    public List<Instance> Instances { get; } = [];
}

internal sealed class Instance
{
    public string InstanceId { get; set; } = "";

    public InstanceState State { get; } = new();

    public string VpcId { get; set; } = "";

    public string PrivateDnsName { get; set; } = "";

    public string PrivateIpAddress { get; set; } = "";

    public DateTime? LaunchTime { get; set; }

    public IamInstanceProfile IamInstanceProfile { get; } = new();

    public InstanceMetadataOptionsResponse MetadataOptions { get; } = new();

    public List<Tag> Tags { get; } = [];

    public List<InstanceNetworkInterface> NetworkInterfaces { get; } = [];

    /// <summary>Not in the package: the interface that it was launched with.</summary>
    public InstanceNetworkInterface? Primary => NetworkInterfaces.FirstOrDefault(i => i.Attachment.DeviceIndex == 0);
}

internal sealed class InstanceState
{
    public string Name { get; set; } = "";
}

internal sealed class InstanceMetadataOptionsResponse
{
    public int? HttpPutResponseHopLimit { get; set; }
}

internal sealed class IamInstanceProfile
{
    public string Arn { get; set; } = "";
}

internal sealed class Tag
{
    public string Key { get; set; } = "";

    public string Value { get; set; } = "";
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

/// <param name="endpoint">As AWS_ENDPOINT_URL_EC2 gives it; null for EC2's own in that region.</param>
internal sealed class AmazonEC2Config(string region, Uri? endpoint = null) : QueryConfig("EC2", "ec2", Version, region, endpoint)
{
    public const string Version = "2016-11-15";
}

internal sealed class AmazonEC2Client(AWSCredentials credentials, AmazonEC2Config config) : QueryClient(credentials, config), IAmazonEC2
{
    public Task<DescribeTagsResponse> DescribeTagsAsync(DescribeTagsRequest request, CancellationToken cancellationToken = default) =>
        Invoke(request, Tags, cancellationToken);

    public Task<DescribeInstancesResponse> DescribeInstancesAsync(DescribeInstancesRequest request, CancellationToken cancellationToken = default) =>
        Invoke(request, Instances, cancellationToken);

    public Task<DescribeRouteTablesResponse> DescribeRouteTablesAsync(DescribeRouteTablesRequest request, CancellationToken cancellationToken = default) =>
        Invoke(request, RouteTables, cancellationToken);

    public Task<AmazonWebServiceResponse> CreateRouteAsync(CreateRouteRequest request, CancellationToken cancellationToken = default) =>
        Invoke(request, Nothing, cancellationToken);

    public Task<AmazonWebServiceResponse> ReplaceRouteAsync(ReplaceRouteRequest request, CancellationToken cancellationToken = default) =>
        Invoke(request, Nothing, cancellationToken);

    public Task<AmazonWebServiceResponse> DeleteRouteAsync(DeleteRouteRequest request, CancellationToken cancellationToken = default) =>
        Invoke(request, Nothing, cancellationToken);

    public Task<AmazonWebServiceResponse> ModifyNetworkInterfaceAttributeAsync(
        ModifyNetworkInterfaceAttributeRequest request, CancellationToken cancellationToken = default) => Invoke(request, Nothing, cancellationToken);

    private Task<T> Invoke<T>(AmazonWebServiceRequest request, Answer<T> answer, CancellationToken cancellation)
        where T : AmazonWebServiceResponse, new() =>
        InvokeAsync<T>(request, new InvokeOptions { RequestMarshaller = Question.Instance, ResponseUnmarshaller = answer }, cancellation);

    private sealed class Question : IMarshaller<IRequest, AmazonWebServiceRequest>
    {
        public static readonly Question Instance = new();

        public IRequest Marshall(AmazonWebServiceRequest input) => input switch
        {
            DescribeTagsRequest r => Filtered("DescribeTags", r, r.Filters, r.NextToken),
            DescribeInstancesRequest r => Filtered("DescribeInstances", r, r.Filters, r.NextToken),
            DescribeRouteTablesRequest r => Filtered("DescribeRouteTables", r, r.Filters, r.NextToken),
            CreateRouteRequest r => OfRoute("CreateRoute", r, r.RouteTableId, r.DestinationCidrBlock, r.InstanceId, r.NetworkInterfaceId),
            ReplaceRouteRequest r => OfRoute("ReplaceRoute", r, r.RouteTableId, r.DestinationCidrBlock, r.InstanceId, r.NetworkInterfaceId),
            DeleteRouteRequest r => OfRoute("DeleteRoute", r, r.RouteTableId, r.DestinationCidrBlock, null, null),
            ModifyNetworkInterfaceAttributeRequest r => Request(
                "ModifyNetworkInterfaceAttribute",
                r,
                ("NetworkInterfaceId", r.NetworkInterfaceId),
                ("SourceDestCheck.Value", r.SourceDestCheck ? "true" : "false")),
            _ => throw new ArgumentException(input.GetType().Name, nameof(input)),
        };

        private static DefaultRequest Filtered(string action, AmazonWebServiceRequest asked, List<Filter> filters, string? next) => Request(
            action,
            asked,
            [
                .. filters.SelectMany((filter, f) => filter.Values
                    .Select((value, v) => (FormattableString.Invariant($"Filter.{f + 1}.Value.{v + 1}"), (string?)value))
                    .Prepend((FormattableString.Invariant($"Filter.{f + 1}.Name"), filter.Name))),
                ("NextToken", next),
            ]);

        private static DefaultRequest OfRoute(
            string action, AmazonWebServiceRequest asked, string table, string range, string? instance, string? networkInterface) => Request(
            action,
            asked,
            ("RouteTableId", table),
            ("DestinationCidrBlock", range),
            ("InstanceId", instance),
            ("NetworkInterfaceId", networkInterface));

        private static DefaultRequest Request(string action, AmazonWebServiceRequest asked, params (string Name, string? Value)[] parameters)
        {
            var request = new DefaultRequest(asked, "Amazon.EC2");
            request.Parameters.Add("Action", action);
            request.Parameters.Add("Version", AmazonEC2Config.Version);
            foreach (var (name, value) in parameters.Where(p => p.Value is not null))
            {
                request.Parameters.Add(name, value);
            }

            return request;
        }
    }

    /// <summary>Read to its end: what is left unread counts as an answer that was cut off.</summary>
    /// <param name="element">
    /// Told of each element's begin. By whole paths: interfaces and groups of an instance have names and addresses of the same endings.
    /// </param>
    private sealed class Answer<T>(Action<T, string, XmlUnmarshallerContext> element) : EC2ResponseUnmarshaller
        where T : AmazonWebServiceResponse, new()
    {
        public override AmazonWebServiceResponse Unmarshall(XmlUnmarshallerContext input)
        {
            var response = new T();
            while (input.Read())
            {
                if (input.IsStartElement)
                {
                    element(response, input.CurrentPath, input);
                }
            }

            return response;
        }

        public override AmazonServiceException UnmarshallException(XmlUnmarshallerContext input, Exception innerException, HttpStatusCode statusCode)
        {
            var error = XmlErrorResponseUnmarshaller.GetInstance().Unmarshall(input);
            return new(error.Message, innerException, error.Type, error.Code, error.RequestId, statusCode);
        }
    }

    /// <summary>Whoever answered without an error has done it.</summary>
    private static readonly Answer<AmazonWebServiceResponse> Nothing = new((_, _, _) => { });

    private static readonly Answer<DescribeTagsResponse> Tags = new((response, path, input) =>
    {
        const string one = "/DescribeTagsResponse/tagSet/item";
        switch (path)
        {
            case one:
                response.Tags.Add(new TagDescription());
                break;
            case one + "/key":
                response.Tags[^1].Key = input.ReadText();
                break;
            case one + "/value":
                response.Tags[^1].Value = input.ReadText();
                break;
            case "/DescribeTagsResponse/nextToken":
                response.NextToken = input.ReadText();
                break;
        }
    });

    private static readonly Answer<DescribeInstancesResponse> Instances = new((response, path, input) =>
    {
        const string reservation = "/DescribeInstancesResponse/reservationSet/item";
        const string one = reservation + "/instancesSet/item";
        switch (path)
        {
            case reservation:
                response.Reservations.Add(new Reservation());
                return;
            case one:
                response.Reservations[^1].Instances.Add(new Instance());
                return;
            case "/DescribeInstancesResponse/nextToken":
                response.NextToken = input.ReadText();
                return;
        }

        if (!path.StartsWith(one + "/", StringComparison.Ordinal))
        {
            return;
        }

        var instance = response.Reservations[^1].Instances[^1];
        switch (path[one.Length..])
        {
            case "/instanceId":
                instance.InstanceId = input.ReadText();
                break;
            case "/instanceState/name":
                instance.State.Name = input.ReadText();
                break;
            case "/vpcId":
                instance.VpcId = input.ReadText();
                break;
            case "/privateDnsName":
                instance.PrivateDnsName = input.ReadText();
                break;
            case "/privateIpAddress":
                instance.PrivateIpAddress = input.ReadText();
                break;
            case "/launchTime":
                instance.LaunchTime = DateTime.TryParse(
                    input.ReadText(),
                    CultureInfo.InvariantCulture,
                    DateTimeStyles.AdjustToUniversal | DateTimeStyles.AssumeUniversal,
                    out var time) ? time : null;
                break;
            case "/iamInstanceProfile/arn":
                instance.IamInstanceProfile.Arn = input.ReadText();
                break;
            case "/metadataOptions/httpPutResponseHopLimit":
                instance.MetadataOptions.HttpPutResponseHopLimit = int.TryParse(
                    input.ReadText(), NumberStyles.None, CultureInfo.InvariantCulture, out var hops) ? hops : null;
                break;
            case "/networkInterfaceSet/item":
                instance.NetworkInterfaces.Add(new InstanceNetworkInterface());
                break;
            case "/networkInterfaceSet/item/networkInterfaceId":
                instance.NetworkInterfaces[^1].NetworkInterfaceId = input.ReadText();
                break;
            case "/networkInterfaceSet/item/sourceDestCheck":
                instance.NetworkInterfaces[^1].SourceDestCheck = input.ReadText() == "true";
                break;
            case "/networkInterfaceSet/item/attachment/deviceIndex":
                instance.NetworkInterfaces[^1].Attachment.DeviceIndex = int.TryParse(
                    input.ReadText(), NumberStyles.None, CultureInfo.InvariantCulture, out var index) ? index : null;
                break;
            case "/tagSet/item":
                instance.Tags.Add(new Tag());
                break;
            case "/tagSet/item/key":
                instance.Tags[^1].Key = input.ReadText();
                break;
            case "/tagSet/item/value":
                instance.Tags[^1].Value = input.ReadText();
                break;
        }
    });

    private static readonly Answer<DescribeRouteTablesResponse> RouteTables = new((response, path, input) =>
    {
        const string table = "/DescribeRouteTablesResponse/routeTableSet/item";
        const string one = table + "/routeSet/item";
        switch (path)
        {
            case table:
                response.RouteTables.Add(new RouteTable());
                break;
            case table + "/routeTableId":
                response.RouteTables[^1].RouteTableId = input.ReadText();
                break;
            case one:
                response.RouteTables[^1].Routes.Add(new Route());
                break;
            case one + "/destinationCidrBlock":
                response.RouteTables[^1].Routes[^1].DestinationCidrBlock = input.ReadText();
                break;
            case one + "/instanceId":
                response.RouteTables[^1].Routes[^1].InstanceId = input.ReadText();
                break;
            case one + "/networkInterfaceId":
                response.RouteTables[^1].Routes[^1].NetworkInterfaceId = input.ReadText();
                break;
            case one + "/gatewayId" or one + "/natGatewayId" or one + "/transitGatewayId" or one + "/vpcPeeringConnectionId"
                or one + "/localGatewayId" or one + "/carrierGatewayId" or one + "/coreNetworkArn":
                response.RouteTables[^1].Routes[^1].GatewayId = input.ReadText();
                break;
            case one + "/origin":
                response.RouteTables[^1].Routes[^1].Origin = input.ReadText();
                break;
            case one + "/state":
                response.RouteTables[^1].Routes[^1].State = input.ReadText();
                break;
            case "/DescribeRouteTablesResponse/nextToken":
                response.NextToken = input.ReadText();
                break;
        }
    });
}
