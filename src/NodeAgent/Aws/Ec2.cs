using System.Globalization;
using System.Net;
using System.Net.Http;
using Amazon.Runtime;
using Amazon.Runtime.Internal;
using Amazon.Runtime.Internal.Transform;

namespace NodeAgent.Aws;

/// <summary>What this agent asks EC2 for. Loading the AWS SDK costs about 100 ms: not touched where instance metadata can answer.</summary>
internal static partial class Ec2
{
    /// <summary>Tags of one instance. Empty is asked again a few times: what EC2 describes lags behind what was done to it.</summary>
    /// <exception cref="AwsException"/>
    public static async Task<IReadOnlyDictionary<string, string>> InstanceTags(
        IAmazonEC2 ec2, string instanceId, TimeProvider time, CancellationToken cancellation)
    {
        for (var again = 3; ; again--)
        {
            var tags = await InstanceTagsNow(ec2, instanceId, cancellation).ConfigureAwait(false);
            if (tags.Count > 0 || again == 0)
            {
                return tags;
            }

            await Task.Delay(TimeSpan.FromSeconds(1), time, cancellation).ConfigureAwait(false);
        }
    }

    private static async Task<SortedDictionary<string, string>> InstanceTagsNow(IAmazonEC2 ec2, string instanceId, CancellationToken cancellation)
    {
        const string action = "ec2:DescribeTags";
        const string remedy = "Tags are asked of EC2 because instance metadata does not show them: allow that (InstanceMetadataTags=enabled), "
            + "or allow the instance's role the action " + action + ".";
        var tags = new SortedDictionary<string, string>(StringComparer.Ordinal);
        string? next = null;
        try
        {
            do
            {
                var request = new DescribeTagsRequest { Filters = [new() { Name = "resource-id", Values = [instanceId] }], NextToken = next };
                var page = await ec2.DescribeTagsAsync(request, cancellation).ConfigureAwait(false);
                foreach (var tag in page.Tags)
                {
                    tags[tag.Key] = tag.Value;
                }

                next = page.NextToken;
            }
            while (!string.IsNullOrEmpty(next));
        }
        catch (AwsException e) when (e.Kind == AwsFailureKind.NotAllowed)
        {
            throw new AwsException(e.Failure with { Remedy = $"{e.Failure.Remedy} {remedy}" }, e);
        }
        catch (AmazonServiceException e)
        {
            throw Failure(action, ec2.Endpoint, e, remedy);
        }
        catch (Exception e) when (e is HttpRequestException or TimeoutException or IOException
            || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            throw NotReachable(action, ec2.Endpoint, e);
        }

        return tags;
    }

    /// <summary>Instances that a filter's values name, all pages; values that name none are merely absent, where a list of IDs would fail as a whole.</summary>
    /// <param name="values">At most 200.</param>
    /// <exception cref="AwsException"/>
    public static Task<IReadOnlyList<Instance>> Instances(IAmazonEC2 ec2, string filter, IReadOnlyList<string> values, CancellationToken cancellation) =>
        Instances(ec2, [new() { Name = filter, Values = [.. values] }], cancellation);

    /// <summary>The control plane of a cluster as its instances' tags name it, as far as it runs.</summary>
    /// <param name="vpc">Where alone it is looked for, if that is known.</param>
    /// <exception cref="AwsException"/>
    public static Task<IReadOnlyList<Instance>> ControlPlane(IAmazonEC2 ec2, string cluster, string? vpc, CancellationToken cancellation) => Instances(
        ec2,
        [
            .. vpc is null ? (Filter[])[] : [new() { Name = "vpc-id", Values = [vpc] }],
            new() { Name = $"tag:{InstanceTag.Cluster}", Values = [cluster] },
            new() { Name = $"tag:{InstanceTag.Role}", Values = ["control-plane"] },
            new() { Name = "instance-state-name", Values = ["running"] },
        ],
        cancellation);

    private static async Task<IReadOnlyList<Instance>> Instances(IAmazonEC2 ec2, List<Filter> filters, CancellationToken cancellation)
    {
        const string action = "ec2:DescribeInstances";
        const string remedy = "Allow the role of this instance the action " + action + ".";
        var instances = new List<Instance>();
        string? next = null;
        try
        {
            do
            {
                var page = await ec2.DescribeInstancesAsync(new() { Filters = filters, NextToken = next }, cancellation).ConfigureAwait(false);
                instances.AddRange(page.Reservations.SelectMany(r => r.Instances));
                next = page.NextToken;
            }
            while (!string.IsNullOrEmpty(next));
        }
        catch (AmazonServiceException e)
        {
            throw Failure(action, ec2.Endpoint, e, remedy);
        }
        catch (Exception e) when (e is HttpRequestException or TimeoutException or IOException
            || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            throw NotReachable(action, ec2.Endpoint, e);
        }

        return instances;
    }

    private static AwsException Failure(string action, Uri endpoint, AmazonServiceException e, string remedy)
    {
        var kind = QueryFailure.KindOf(e);
        if (kind == AwsFailureKind.NotReachable)
        {
            return NotReachable(action, endpoint, e);
        }

        return new(
            new(
                kind,
                $"{action} at {endpoint}",
                QueryFailure.Cause(e),
                kind switch
                {
                    AwsFailureKind.NotAllowed => remedy,
                    AwsFailureKind.Throttled when action != "ec2:DescribeTags" =>
                        "Too many calls in this account and region: they are spread and tried again.",
                    AwsFailureKind.Throttled =>
                        "Too many calls in this account and region: allow tags in instance metadata (InstanceMetadataTags=enabled), and no call is needed.",
                    AwsFailureKind.Unavailable => "EC2 has trouble of its own, mostly for a short while: try again later.",
                    _ => "Does something else than EC2 answer at this endpoint?",
                }),
            e);
    }

    private static AwsException NotReachable(string action, Uri endpoint, Exception e) => new(
        new(
            AwsFailureKind.NotReachable,
            $"{action} at {endpoint}",
            e.GetBaseException().Message,
            "Check the route to this endpoint (NAT, VPC endpoint, proxy) and DNS, or allow tags in instance metadata (InstanceMetadataTags=enabled)."),
        e);
}

/// <summary>Tags by which instances say what they are to a cluster.</summary>
internal static class InstanceTag
{
    public const string Cluster = "nodeagent:cluster";

    public const string Role = "nodeagent:role";

    /// <summary>Which range an instance's pods shall have, as network.podRange: see Configuration/Layers.cs.</summary>
    public const string PodRange = "nodeagent:network.podRange";
}

// From here on: what the package AWSSDK.EC2 would bring, by its names, as far as it is used here. It cannot be restored everywhere yet; when it can,
// this part goes and the usings change.

/// <summary>Retries throttling and trouble of the service by itself, a few times, with backoff.</summary>
internal partial interface IAmazonEC2
{
    /// <summary>Not in the package: for messages.</summary>
    Uri Endpoint { get; }

    Task<DescribeTagsResponse> DescribeTagsAsync(DescribeTagsRequest request, CancellationToken cancellationToken = default);

    Task<DescribeInstancesResponse> DescribeInstancesAsync(DescribeInstancesRequest request, CancellationToken cancellationToken = default);
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

/// <param name="endpoint">As AWS_ENDPOINT_URL_EC2 gives it; null for EC2's own in that region.</param>
internal sealed class AmazonEC2Config(string region, Uri? endpoint = null) : QueryConfig("EC2", "ec2", "2016-11-15", region, endpoint);

internal sealed partial class AmazonEC2Client(AWSCredentials credentials, AmazonEC2Config config) : QueryClient(credentials, config), IAmazonEC2
{
    public Task<DescribeTagsResponse> DescribeTagsAsync(DescribeTagsRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync<DescribeTagsResponse>(
            request,
            new InvokeOptions { RequestMarshaller = DescribeTags.Instance, ResponseUnmarshaller = DescribeTags.Response.Instance },
            cancellationToken);

    public Task<DescribeInstancesResponse> DescribeInstancesAsync(DescribeInstancesRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync<DescribeInstancesResponse>(
            request,
            new InvokeOptions { RequestMarshaller = DescribeInstances.Instance, ResponseUnmarshaller = DescribeInstances.Response.Instance },
            cancellationToken);

    private sealed class DescribeTags : IMarshaller<IRequest, AmazonWebServiceRequest>
    {
        public static readonly DescribeTags Instance = new();

        public IRequest Marshall(AmazonWebServiceRequest input)
        {
            var asked = (DescribeTagsRequest)input;
            return Filtered("DescribeTags", asked, asked.Filters, asked.NextToken);
        }

        public sealed class Response : EC2ResponseUnmarshaller
        {
            public static readonly Response Instance = new();

            public override AmazonWebServiceResponse Unmarshall(XmlUnmarshallerContext input)
            {
                var response = new DescribeTagsResponse();
                while (input.Read())
                {
                    if (!input.IsStartElement)
                    {
                        continue;
                    }

                    if (input.TestExpression("tagSet/item"))
                    {
                        response.Tags.Add(new TagDescription());
                    }
                    else if (input.TestExpression("item/key"))
                    {
                        response.Tags[^1].Key = input.ReadText();
                    }
                    else if (input.TestExpression("item/value"))
                    {
                        response.Tags[^1].Value = input.ReadText();
                    }
                    else if (input.TestExpression("nextToken"))
                    {
                        response.NextToken = input.ReadText();
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
    }

    private sealed class DescribeInstances : IMarshaller<IRequest, AmazonWebServiceRequest>
    {
        public static readonly DescribeInstances Instance = new();

        public IRequest Marshall(AmazonWebServiceRequest input)
        {
            var asked = (DescribeInstancesRequest)input;
            return Filtered("DescribeInstances", asked, asked.Filters, asked.NextToken);
        }

        public sealed class Response : EC2ResponseUnmarshaller
        {
            public static readonly Response Instance = new();

            // Whole paths: interfaces and groups of an instance have names and addresses of the same endings.
            private const string Reservation = "/DescribeInstancesResponse/reservationSet/item";
            private const string One = Reservation + "/instancesSet/item";

            public override AmazonWebServiceResponse Unmarshall(XmlUnmarshallerContext input)
            {
                var response = new DescribeInstancesResponse();
                Instance instance = new();
                while (input.Read())
                {
                    if (!input.IsStartElement)
                    {
                        continue;
                    }

                    switch (input.CurrentPath)
                    {
                        case Reservation:
                            response.Reservations.Add(new Reservation());
                            break;
                        case One:
                            response.Reservations[^1].Instances.Add(instance = new Instance());
                            break;
                        case One + "/instanceId":
                            instance.InstanceId = input.ReadText();
                            break;
                        case One + "/instanceState/name":
                            instance.State.Name = input.ReadText();
                            break;
                        case One + "/vpcId":
                            instance.VpcId = input.ReadText();
                            break;
                        case One + "/privateDnsName":
                            instance.PrivateDnsName = input.ReadText();
                            break;
                        case One + "/privateIpAddress":
                            instance.PrivateIpAddress = input.ReadText();
                            break;
                        case One + "/launchTime":
                            instance.LaunchTime = DateTime.TryParse(
                                input.ReadText(), CultureInfo.InvariantCulture, DateTimeStyles.AdjustToUniversal | DateTimeStyles.AssumeUniversal, out var time) ? time : null;
                            break;
                        case One + "/iamInstanceProfile/arn":
                            instance.IamInstanceProfile.Arn = input.ReadText();
                            break;
                        case One + "/metadataOptions/httpPutResponseHopLimit":
                            instance.MetadataOptions.HttpPutResponseHopLimit = int.TryParse(
                                input.ReadText(), NumberStyles.None, CultureInfo.InvariantCulture, out var hops) ? hops : null;
                            break;
                        case One + "/networkInterfaceSet/item":
                            instance.NetworkInterfaces.Add(new InstanceNetworkInterface());
                            break;
                        case One + "/networkInterfaceSet/item/networkInterfaceId":
                            instance.NetworkInterfaces[^1].NetworkInterfaceId = input.ReadText();
                            break;
                        case One + "/networkInterfaceSet/item/sourceDestCheck":
                            instance.NetworkInterfaces[^1].SourceDestCheck = input.ReadText() == "true";
                            break;
                        case One + "/networkInterfaceSet/item/attachment/deviceIndex":
                            instance.NetworkInterfaces[^1].Attachment.DeviceIndex = int.TryParse(
                                input.ReadText(), NumberStyles.None, CultureInfo.InvariantCulture, out var index) ? index : null;
                            break;
                        case One + "/tagSet/item":
                            instance.Tags.Add(new Tag());
                            break;
                        case One + "/tagSet/item/key":
                            instance.Tags[^1].Key = input.ReadText();
                            break;
                        case One + "/tagSet/item/value":
                            instance.Tags[^1].Value = input.ReadText();
                            break;
                        case "/DescribeInstancesResponse/nextToken":
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

    private static DefaultRequest Filtered(string action, AmazonWebServiceRequest asked, List<Filter> filters, string? next)
    {
        var request = new DefaultRequest(asked, "Amazon.EC2");
        request.Parameters.Add("Action", action);
        request.Parameters.Add("Version", "2016-11-15");
        for (var f = 0; f < filters.Count; f++)
        {
            request.Parameters.Add(FormattableString.Invariant($"Filter.{f + 1}.Name"), filters[f].Name);
            for (var v = 0; v < filters[f].Values.Count; v++)
            {
                request.Parameters.Add(FormattableString.Invariant($"Filter.{f + 1}.Value.{v + 1}"), filters[f].Values[v]);
            }
        }

        if (next is not null)
        {
            request.Parameters.Add("NextToken", next);
        }

        return request;
    }
}
