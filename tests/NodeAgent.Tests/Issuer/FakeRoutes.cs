using System.Net;
using Amazon.Runtime;
using NodeAgent.Aws;

namespace NodeAgent.Tests.Issuer;

/// <summary>
/// EC2's routes and instances in memory: calls take a while to come and to be answered, writes happen in one order; what is read may be of a moment ago, for
/// each reader another one, and calls fail as they do, some after they did their work.
/// </summary>
internal sealed class FakeRoutes(VirtualTime time)
{
    public const string Vpc = "vpc-0123456789abcdef0";

    private readonly List<(long At, SortedDictionary<string, SortedDictionary<string, string>> Tables)> _history = [];
    private readonly SortedDictionary<string, SortedDictionary<string, string>> _tables = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Instance> _instances = new(StringComparer.Ordinal);

    /// <summary>How far behind a read may be.</summary>
    public TimeSpan Lag { get; set; }

    /// <summary>Of a hundred calls.</summary>
    public int Failures { get; set; }

    public int Quota { get; set; } = 500;

    /// <summary>Action and what it was about.</summary>
    public List<string> Writes { get; } = [];

    public int Describes { get; private set; }

    public HashSet<string> LetPass { get; } = [];

    /// <summary>Told of each route that is deleted, and to whom it led.</summary>
    public Action<string, string> Deleted { get; set; } = (_, _) => { };

    /// <summary>Before a write's effect, given its words: may throw, or change what is there.</summary>
    public Action<string> Before { get; set; } = _ => { };

    public IReadOnlyDictionary<string, SortedDictionary<string, string>> Tables => _tables;

    public IAmazonEC2 Client() => new View(this);

    public void AddTable(string id, params (string Range, string Target)[] routes)
    {
        _tables[id] = new(routes.ToDictionary(r => r.Range, r => r.Target), StringComparer.Ordinal) { ["10.0.0.0/16"] = "local" };
        Remember();
    }

    public Instance Run(string id, string? tag = null, string role = "worker", int interfaces = 1)
    {
        var instance = new Instance { InstanceId = id, VpcId = Vpc };
        instance.State.Name = "running";
        instance.Tags.AddRange([new() { Key = "nodeagent:cluster", Value = "prod" }, new() { Key = "nodeagent:role", Value = role }]);
        if (tag is not null)
        {
            instance.Tags.Add(new() { Key = "nodeagent:network.podRange", Value = tag });
        }

        for (var i = 0; i < interfaces; i++)
        {
            instance.NetworkInterfaces.Add(new() { NetworkInterfaceId = $"eni-{id[2..]}{i}", SourceDestCheck = true });
            instance.NetworkInterfaces[^1].Attachment.DeviceIndex = i;
        }

        _instances[id] = instance;

        return instance;
    }

    public void End(string id)
    {
        _instances[id].State.Name = "terminated";
    }

    public void Forget(string id)
    {
        _instances.Remove(id);
    }

    public string? At(string table, string range)
    {
        return _tables[table].GetValueOrDefault(range);
    }

    /// <summary>Ranges below 10.32.0.0/16 in any table.</summary>
    public IReadOnlyList<string> Ranges()
    {
        return [.. _tables.Values.SelectMany(t => t.Keys).Where(r => r.StartsWith("10.32.", StringComparison.Ordinal)).Distinct()];
    }

    private void Remember()
    {
        _history.Add(
            (time.GetTimestamp(),
                new(_tables.ToDictionary(t => t.Key, t => new SortedDictionary<string, string>(t.Value, StringComparer.Ordinal)), StringComparer.Ordinal)));
        if (_history.Count > 2000)
        {
            _history.RemoveRange(0, 1000);
        }
    }

    /// <summary>Of a call, and of its answer.</summary>
    private Task Way(CancellationToken cancellation) => Task.Delay(TimeSpan.FromMilliseconds(time.Chance.Next(50)), time, cancellation);

    private async Task<AmazonWebServiceResponse> Write(
        string what, string table, Func<SortedDictionary<string, string>, string?> effect, CancellationToken cancellation)
    {
        await Way(cancellation);
        Before(what);
        Writes.Add(what);
        var fails = time.Chance.Next(100) < Failures;
        if (fails && time.Chance.Next(2) == 0)
        {
            throw Error("RequestLimitExceeded", 503);
        }

        if (effect(_tables[table]) is { } code)
        {
            throw Error(code, 400);
        }

        Remember();
        await Way(cancellation);
        return fails ? throw Error("InternalError", 500) : new AmazonWebServiceResponse();
    }

    private static AmazonServiceException Error(string code, int status) => new($"{code}: no", null, ErrorType.Sender, code, "r", (HttpStatusCode)status);

    private sealed class View(FakeRoutes ec2) : IAmazonEC2
    {
        public Uri Endpoint { get; } = new("https://ec2.example/");

        public Task<DescribeTagsResponse> DescribeTagsAsync(DescribeTagsRequest request, CancellationToken cancellationToken = default) =>
            throw new NotSupportedException();

        public async Task<DescribeInstancesResponse> DescribeInstancesAsync(DescribeInstancesRequest request, CancellationToken cancellationToken = default)
        {
            await ec2.Way(cancellationToken);
            var response = new DescribeInstancesResponse();
            response.Reservations.Add(new Reservation());
            response.Reservations[0].Instances.AddRange(ec2._instances.Values.Where(i => request.Filters.All(f => f.Values.Any(v => f.Name switch
            {
                "instance-id" => i.InstanceId == v,
                "vpc-id" => i.VpcId == v,
                "instance-state-name" => i.State.Name == v,
                "network-interface.network-interface-id" => i.NetworkInterfaces.Any(n => n.NetworkInterfaceId == v),
                _ => i.Tags.Any(t => "tag:" + t.Key == f.Name && t.Value == v),
            }))));
            await ec2.Way(cancellationToken);
            return response;
        }

        public async Task<DescribeRouteTablesResponse> DescribeRouteTablesAsync(
            DescribeRouteTablesRequest request, CancellationToken cancellationToken = default)
        {
            await ec2.Way(cancellationToken);
            ec2.Describes++;
            if (ec2.Time.Chance.Next(100) < ec2.Failures)
            {
                throw Error("RequestLimitExceeded", 503);
            }

            var since = ec2.Time.GetTimestamp() - (long)(ec2.Lag.TotalSeconds * ec2.Time.Chance.NextDouble() * ec2.Time.TimestampFrequency);
            var tables = ec2._history.FindLast(h => h.At <= since).Tables ?? ec2._history[0].Tables;
            var response = new DescribeRouteTablesResponse();
            foreach (var (id, routes) in tables.Where(t => request.Filters.All(f => f.Name != "route-table-id" || f.Values.Contains(t.Key))))
            {
                var table = new RouteTable { RouteTableId = id };
                table.Routes.AddRange(routes.Select(r => new Route
                {
                    DestinationCidrBlock = r.Key,
                    InstanceId = r.Value.StartsWith("i-", StringComparison.Ordinal) ? r.Value : "",
                    NetworkInterfaceId = r.Value.StartsWith("eni-", StringComparison.Ordinal) ? r.Value : "",
                    GatewayId = r.Value.StartsWith("tgw-", StringComparison.Ordinal) ? r.Value : "",
                    State = IsThere(r.Value) ? "active" : "blackhole",
                }));
                response.RouteTables.Add(table);
            }

            await ec2.Way(cancellationToken);
            return response;
        }

        public Task<AmazonWebServiceResponse> CreateRouteAsync(CreateRouteRequest request, CancellationToken cancellationToken = default)
        {
            var target = request.InstanceId ?? request.NetworkInterfaceId!;
            return ec2.Write($"create {request.RouteTableId} {request.DestinationCidrBlock} {target}", request.RouteTableId, t =>
                t.ContainsKey(request.DestinationCidrBlock) ? "RouteAlreadyExists"
                : t.Count >= ec2.Quota ? "RouteLimitExceeded"
                : t.TryAdd(request.DestinationCidrBlock, target) ? null : "",
                cancellationToken);
        }

        public Task<AmazonWebServiceResponse> ReplaceRouteAsync(ReplaceRouteRequest request, CancellationToken cancellationToken = default)
        {
            return ec2.Write($"replace {request.RouteTableId} {request.DestinationCidrBlock}", request.RouteTableId, t =>
            {
                if (!t.ContainsKey(request.DestinationCidrBlock))
                {
                    return "InvalidRoute.NotFound";
                }

                t[request.DestinationCidrBlock] = request.InstanceId ?? request.NetworkInterfaceId!;
                return null;
            }, cancellationToken);
        }

        public Task<AmazonWebServiceResponse> DeleteRouteAsync(DeleteRouteRequest request, CancellationToken cancellationToken = default)
        {
            return ec2.Write($"delete {request.RouteTableId} {request.DestinationCidrBlock}", request.RouteTableId, t =>
            {
                if (!t.Remove(request.DestinationCidrBlock, out var target))
                {
                    return "InvalidRoute.NotFound";
                }

                ec2.Deleted(request.DestinationCidrBlock, target);
                return null;
            }, cancellationToken);
        }

        public Task<AmazonWebServiceResponse> ModifyNetworkInterfaceAttributeAsync(
            ModifyNetworkInterfaceAttributeRequest request, CancellationToken cancellationToken = default)
        {
            request.SourceDestCheck.ShouldBeFalse();
            ec2.LetPass.Add(request.NetworkInterfaceId);
            return Task.FromResult(new AmazonWebServiceResponse());
        }

        private bool IsThere(string target) => !target.StartsWith("i-", StringComparison.Ordinal) && !target.StartsWith("eni-", StringComparison.Ordinal)
            ? true
            : ec2._instances.Values.Any(
                i => i.State.Name == "running" && (i.InstanceId == target || i.NetworkInterfaces.Any(n => n.NetworkInterfaceId == target)));
    }

    private VirtualTime Time => time;
}
