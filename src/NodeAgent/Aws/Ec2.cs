using System.Net.Http;
using Amazon.Runtime;

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
        const string instead = "allow tags in instance metadata (InstanceMetadataTags=enabled), and no call is needed";
        const string remedy =
            $"Tags are asked of EC2 because instance metadata does not show them: {instead}; or allow the instance's role the action {action}.";
        List<Filter> filters = [new() { Name = "resource-id", Values = [instanceId] }];
        var tags = new SortedDictionary<string, string>(StringComparer.Ordinal);
        try
        {
            var found = await Pages(
                ec2,
                action,
                next => ec2.DescribeTagsAsync(new() { Filters = filters, NextToken = next }, cancellation),
                page => (page.Tags, page.NextToken),
                cancellation,
                remedy).ConfigureAwait(false);
            foreach (var tag in found)
            {
                tags[tag.Key] = tag.Value;
            }
        }
        // Of the credentials: EC2's own refusal says it already.
        catch (AwsException e) when (e.Kind == AwsFailureKind.NotAllowed && e.InnerException is not AmazonServiceException)
        {
            throw new AwsException(e.Failure with { Remedy = $"{e.Failure.Remedy} {remedy}" }, e);
        }
        catch (AwsException e) when (e.Kind is AwsFailureKind.NotReachable or AwsFailureKind.Throttled)
        {
            throw new AwsException(e.Failure with { Remedy = $"{e.Failure.Remedy} Or {instead}." }, e);
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

    private static async Task<IReadOnlyList<Instance>> Instances(IAmazonEC2 ec2, List<Filter> filters, CancellationToken cancellation) => await Pages(
        ec2,
        "ec2:DescribeInstances",
        next => ec2.DescribeInstancesAsync(new() { Filters = filters, NextToken = next }, cancellation),
        page => (page.Reservations.SelectMany(r => r.Instances), page.NextToken),
        cancellation).ConfigureAwait(false);

    private static async Task<List<T>> Pages<TPage, T>(
        IAmazonEC2 ec2,
        string action,
        Func<string?, Task<TPage>> call,
        Func<TPage, (IEnumerable<T> Found, string? Next)> read,
        CancellationToken cancellation,
        string? remedy = null)
    {
        var all = new List<T>();
        string? next = null;
        do
        {
            (var found, next) = read(await Ask(ec2, action, () => call(next), cancellation, remedy).ConfigureAwait(false));
            all.AddRange(found);
        }
        while (!string.IsNullOrEmpty(next));
        return all;
    }

    /// <param name="remedy">Where the action is not allowed; null: allow it.</param>
    private static async Task<T> Ask<T>(IAmazonEC2 ec2, string action, Func<Task<T>> call, CancellationToken cancellation, string? remedy = null)
    {
        try
        {
            return await call().ConfigureAwait(false);
        }
        catch (AmazonServiceException e)
        {
            throw Failure(action, ec2.Endpoint, e, remedy ?? $"Allow the role of this instance the action {action}.");
        }
        catch (Exception e) when (e is HttpRequestException or TimeoutException or IOException
            || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            throw NotReachable(action, ec2.Endpoint, e);
        }
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
                    AwsFailureKind.Throttled => "Too many calls in this account and region: they are spread and tried again.",
                    AwsFailureKind.Unavailable => "EC2 has trouble of its own, mostly for a short while: try again later.",
                    _ when !string.IsNullOrEmpty(e.ErrorCode) => "EC2 refuses what it was asked for: its code and message say why.",
                    _ => "Does something else than EC2 answer at this endpoint?",
                }),
            e);
    }

    private static AwsException NotReachable(string action, Uri endpoint, Exception e) => new(
        new(
            AwsFailureKind.NotReachable,
            $"{action} at {endpoint}",
            e.GetBaseException().Message,
            "Check the route to this endpoint (NAT, VPC endpoint, proxy) and DNS."),
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
