using System.Collections.Immutable;
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

    private const string Cluster = "prod";

    private readonly List<(long At, ImmutableSortedDictionary<string, Table> Tables)> _history = [];
    private readonly Dictionary<string, List<(long At, Instance? Instance)>> _instances = new(StringComparer.Ordinal);
    private ImmutableSortedDictionary<string, Table> _tables = ImmutableSortedDictionary.Create<string, Table>(StringComparer.Ordinal);

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

    public IEnumerable<string> Tables => _tables.Keys;

    public IAmazonEC2 Client() => new View(this);

    /// <summary>Of this VPC, with the cluster's tag.</summary>
    public void AddTable(string id, params (string Range, string Target)[] routes) => AddTable(id, Vpc, Cluster, routes);

    public void AddTable(string id, string vpc, string? cluster, params (string Range, string Target)[] routes)
    {
        var all = routes.Append((Range: "10.0.0.0/16", Target: "local")).ToImmutableSortedDictionary(r => r.Range, r => r.Target, StringComparer.Ordinal);
        _tables = _tables.SetItem(id, new(vpc, cluster, all));
        Remember();
    }

    public Instance Run(string id, string? tag = null, string role = "worker", int interfaces = 1)
    {
        var instance = new Instance { InstanceId = id, VpcId = Vpc };
        instance.State.Name = "running";
        instance.Tags.AddRange([new() { Key = "nodeagent:cluster", Value = Cluster }, new() { Key = "nodeagent:role", Value = role }]);
        if (tag is not null)
        {
            instance.Tags.Add(new() { Key = "nodeagent:network.podRange", Value = tag });
        }

        for (var i = 0; i < interfaces; i++)
        {
            instance.NetworkInterfaces.Add(new() { NetworkInterfaceId = $"eni-{id[2..]}{i}", SourceDestCheck = true });
            instance.NetworkInterfaces[^1].Attachment.DeviceIndex = i;
        }

        Becomes(id, instance);
        return instance;
    }

    public void End(string id)
    {
        var was = _instances[id][^1].Instance!;
        var ended = new Instance { InstanceId = id, VpcId = was.VpcId };
        ended.State.Name = "terminated";
        ended.Tags.AddRange(was.Tags);
        ended.NetworkInterfaces.AddRange(was.NetworkInterfaces);
        Becomes(id, ended);
    }

    public void Forget(string id)
    {
        Becomes(id, null);
    }

    public string? At(string table, string range)
    {
        return _tables[table].Routes.TryGetValue(range, out var target) ? target : null;
    }

    /// <summary>Ranges below 10.32.0.0/16 in any table.</summary>
    public IReadOnlyList<string> Ranges()
    {
        return [.. _tables.Values.SelectMany(t => t.Routes.Keys).Where(r => r.StartsWith("10.32.", StringComparison.Ordinal)).Distinct()];
    }

    private void Remember() => _history.Add((time.GetTimestamp(), _tables));

    private void Becomes(string id, Instance? instance)
    {
        if (!_instances.TryGetValue(id, out var states))
        {
            _instances[id] = states = [];
        }

        states.Add((time.GetTimestamp(), instance));
    }

    private IEnumerable<Instance> Instances(long moment) =>
        _instances.Values.Select(states => states.FindLast(s => s.At <= moment).Instance).OfType<Instance>();

    /// <summary>Of a call, and of its answer.</summary>
    private Task Way(CancellationToken cancellation) => Task.Delay(TimeSpan.FromMilliseconds(time.Chance.Next(50)), time, cancellation);

    private bool Fails() => time.Chance.Next(100) < Failures;

    /// <summary>Of which a call that reads gets to see what was there.</summary>
    private long Moment() => Fails()
        ? throw Error("RequestLimitExceeded", 503)
        : time.GetTimestamp() - (long)(Lag.TotalSeconds * time.Chance.NextDouble() * time.TimestampFrequency);

    /// <param name="effect">From a table's routes to those that it has then; throws what EC2 says instead.</param>
    private Task<AmazonWebServiceResponse> Write(
        string what,
        string table,
        Func<ImmutableSortedDictionary<string, string>, ImmutableSortedDictionary<string, string>> effect,
        CancellationToken cancellation)
    {
        return Change(
            () =>
            {
                Before(what);
                Writes.Add(what);
                _tables = _tables.SetItem(table, _tables[table] with { Routes = effect(_tables[table].Routes) });
                Remember();
            },
            cancellation);
    }

    private async Task<AmazonWebServiceResponse> Change(Action effect, CancellationToken cancellation)
    {
        await Way(cancellation);
        var fails = Fails();
        if (fails && time.Chance.Next(2) == 0)
        {
            throw Error("RequestLimitExceeded", 503);
        }

        effect();
        await Way(cancellation);
        return fails ? throw Error("InternalError", 500) : new AmazonWebServiceResponse();
    }

    private static AmazonServiceException Error(string code, int status) => new($"{code}: no", null, ErrorType.Sender, code, "r", (HttpStatusCode)status);

    /// <param name="Cluster">Its tag; null: none.</param>
    /// <param name="Routes">Range to target.</param>
    private sealed record Table(string Vpc, string? Cluster, ImmutableSortedDictionary<string, string> Routes);

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
            response.Reservations[0].Instances.AddRange(ec2.Instances(ec2.Moment()).Where(i => request.Filters.TrueForAll(f => Holds(f, i))));
            await ec2.Way(cancellationToken);
            return response;
        }

        public async Task<DescribeRouteTablesResponse> DescribeRouteTablesAsync(
            DescribeRouteTablesRequest request, CancellationToken cancellationToken = default)
        {
            await ec2.Way(cancellationToken);
            ec2.Describes++;
            var moment = ec2.Moment();
            var running = ec2.Instances(moment).Where(i => i.State.Name == "running")
                .SelectMany(i => i.NetworkInterfaces.Select(n => n.NetworkInterfaceId).Append(i.InstanceId)).ToHashSet(StringComparer.Ordinal);
            var tables = ec2._history.FindLast(h => h.At <= moment).Tables ?? ec2._history[0].Tables;
            var response = new DescribeRouteTablesResponse();
            foreach (var (id, seen) in tables.Where(t => request.Filters.TrueForAll(f => Holds(f, t.Key, t.Value))))
            {
                var table = new RouteTable { RouteTableId = id };
                table.Routes.AddRange(seen.Routes.Select(r => Shown(r.Key, r.Value, running)));
                response.RouteTables.Add(table);
            }

            await ec2.Way(cancellationToken);
            return response;
        }

        public Task<AmazonWebServiceResponse> CreateRouteAsync(CreateRouteRequest request, CancellationToken cancellationToken = default)
        {
            var target = request.InstanceId ?? request.NetworkInterfaceId!;
            return ec2.Write($"create {request.RouteTableId} {request.DestinationCidrBlock} {target}", request.RouteTableId, routes =>
                routes.ContainsKey(request.DestinationCidrBlock) ? throw Error("RouteAlreadyExists", 400)
                : routes.Count >= ec2.Quota ? throw Error("RouteLimitExceeded", 400)
                : routes.Add(request.DestinationCidrBlock, target),
                cancellationToken);
        }

        public Task<AmazonWebServiceResponse> ReplaceRouteAsync(ReplaceRouteRequest request, CancellationToken cancellationToken = default)
        {
            var target = request.InstanceId ?? request.NetworkInterfaceId!;
            return ec2.Write($"replace {request.RouteTableId} {request.DestinationCidrBlock}", request.RouteTableId, routes =>
                routes.ContainsKey(request.DestinationCidrBlock) ? routes.SetItem(request.DestinationCidrBlock, target)
                : throw Error("InvalidRoute.NotFound", 400),
                cancellationToken);
        }

        public Task<AmazonWebServiceResponse> DeleteRouteAsync(DeleteRouteRequest request, CancellationToken cancellationToken = default)
        {
            return ec2.Write($"delete {request.RouteTableId} {request.DestinationCidrBlock}", request.RouteTableId, routes =>
            {
                if (!routes.TryGetValue(request.DestinationCidrBlock, out var target))
                {
                    throw Error("InvalidRoute.NotFound", 400);
                }

                ec2.Deleted(request.DestinationCidrBlock, target);
                return routes.Remove(request.DestinationCidrBlock);
            }, cancellationToken);
        }

        public Task<AmazonWebServiceResponse> ModifyNetworkInterfaceAttributeAsync(
            ModifyNetworkInterfaceAttributeRequest request, CancellationToken cancellationToken = default)
        {
            request.SourceDestCheck.ShouldBeFalse();
            return ec2.Change(() => ec2.LetPass.Add(request.NetworkInterfaceId), cancellationToken);
        }

        private static bool Holds(Filter filter, Instance instance) => filter.Name switch
        {
            "instance-id" => filter.Values.Contains(instance.InstanceId),
            "vpc-id" => filter.Values.Contains(instance.VpcId),
            "instance-state-name" => filter.Values.Contains(instance.State.Name),
            "network-interface.network-interface-id" => instance.NetworkInterfaces.Exists(n => filter.Values.Contains(n.NetworkInterfaceId)),
            _ => instance.Tags.Exists(t => filter.Name == "tag:" + t.Key && filter.Values.Contains(t.Value)),
        };

        private static bool Holds(Filter filter, string id, Table table) => filter.Name switch
        {
            "route-table-id" => filter.Values.Contains(id),
            "vpc-id" => filter.Values.Contains(table.Vpc),
            "tag:nodeagent:cluster" => table.Cluster is not null && filter.Values.Contains(table.Cluster),
            _ => throw new NotSupportedException(filter.Name),
        };

        private static Route Shown(string range, string target, HashSet<string> running)
        {
            var isInstance = target.StartsWith("i-", StringComparison.Ordinal);
            var isInterface = target.StartsWith("eni-", StringComparison.Ordinal);
            return new()
            {
                DestinationCidrBlock = range,
                InstanceId = isInstance ? target : "",
                NetworkInterfaceId = isInterface ? target : "",
                GatewayId = target.StartsWith("tgw-", StringComparison.Ordinal) ? target : "",
                State = (isInstance || isInterface) && !running.Contains(target) ? "blackhole" : "active",
            };
        }
    }
}
