using System.Net;
using Amazon.Runtime;
using NodeAgent.Aws;

namespace NodeAgent.Tests.Issuer;

/// <summary>
/// EC2's routes and instances in memory: writes happen at once and in one order; what is read may be of a moment ago, for each reader another one, and calls fail
/// as they do, some after they did their work.
/// </summary>
internal sealed class FakeRoutes(TimeProvider time)
{
    public const string Vpc = "vpc-0123456789abcdef0";

    private readonly Lock _gate = new();
    private readonly Random _random = new(20261121);
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
        lock (_gate)
        {
            _tables[id] = new(routes.ToDictionary(r => r.Range, r => r.Target), StringComparer.Ordinal) { ["10.0.0.0/16"] = "local" };
            Remember();
        }
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

        lock (_gate)
        {
            _instances[id] = instance;
        }

        return instance;
    }

    public void End(string id)
    {
        lock (_gate)
        {
            _instances[id].State.Name = "terminated";
        }
    }

    public void Forget(string id)
    {
        lock (_gate)
        {
            _instances.Remove(id);
        }
    }

    public string? At(string table, string range)
    {
        lock (_gate)
        {
            return _tables[table].GetValueOrDefault(range);
        }
    }

    /// <summary>Ranges below 10.32.0.0/16 in any table.</summary>
    public IReadOnlyList<string> Ranges()
    {
        lock (_gate)
        {
            return [.. _tables.Values.SelectMany(t => t.Keys).Where(r => r.StartsWith("10.32.", StringComparison.Ordinal)).Distinct()];
        }
    }

    private void Remember()
    {
        _history.Add((time.GetTimestamp(), new(_tables.ToDictionary(t => t.Key, t => new SortedDictionary<string, string>(t.Value, StringComparer.Ordinal)), StringComparer.Ordinal)));
        if (_history.Count > 2000)
        {
            _history.RemoveRange(0, 1000);
        }
    }

    private AmazonWebServiceResponse Write(string what, string table, Func<SortedDictionary<string, string>, string?> effect)
    {
        Before(what);
        lock (_gate)
        {
            Writes.Add(what);
            var fails = _random.Next(100) < Failures;
            if (fails && _random.Next(2) == 0)
            {
                throw Error("RequestLimitExceeded", 503);
            }

            if (effect(_tables[table]) is { } code)
            {
                throw Error(code, 400);
            }

            Remember();
            return fails ? throw Error("InternalError", 500) : new AmazonWebServiceResponse();
        }
    }

    private static AmazonServiceException Error(string code, int status) => new($"{code}: no", null, ErrorType.Sender, code, "r", (HttpStatusCode)status);

    private sealed class View(FakeRoutes ec2) : IAmazonEC2
    {
        public Uri Endpoint { get; } = new("https://ec2.example/");

        public Task<DescribeTagsResponse> DescribeTagsAsync(DescribeTagsRequest request, CancellationToken cancellationToken = default) => throw new NotSupportedException();

        public async Task<DescribeInstancesResponse> DescribeInstancesAsync(DescribeInstancesRequest request, CancellationToken cancellationToken = default)
        {
            await Task.Yield();
            lock (ec2._gate)
            {
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
                return response;
            }
        }

        public async Task<DescribeRouteTablesResponse> DescribeRouteTablesAsync(DescribeRouteTablesRequest request, CancellationToken cancellationToken = default)
        {
            await Task.Yield();
            lock (ec2._gate)
            {
                ec2.Describes++;
                if (ec2._random.Next(100) < ec2.Failures)
                {
                    throw Error("RequestLimitExceeded", 503);
                }

                var since = ec2.Time.GetTimestamp() - (long)(ec2.Lag.TotalSeconds * ec2._random.NextDouble() * ec2.Time.TimestampFrequency);
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

                return response;
            }
        }

        public async Task<AmazonWebServiceResponse> CreateRouteAsync(CreateRouteRequest request, CancellationToken cancellationToken = default)
        {
            await Task.Yield();
            var target = request.InstanceId ?? request.NetworkInterfaceId!;
            return ec2.Write($"create {request.RouteTableId} {request.DestinationCidrBlock} {target}", request.RouteTableId, t =>
                t.ContainsKey(request.DestinationCidrBlock) ? "RouteAlreadyExists"
                : t.Count >= ec2.Quota ? "RouteLimitExceeded"
                : t.TryAdd(request.DestinationCidrBlock, target) ? null : "");
        }

        public async Task<AmazonWebServiceResponse> ReplaceRouteAsync(ReplaceRouteRequest request, CancellationToken cancellationToken = default)
        {
            await Task.Yield();
            return ec2.Write($"replace {request.RouteTableId} {request.DestinationCidrBlock}", request.RouteTableId, t =>
            {
                if (!t.ContainsKey(request.DestinationCidrBlock))
                {
                    return "InvalidRoute.NotFound";
                }

                t[request.DestinationCidrBlock] = request.InstanceId ?? request.NetworkInterfaceId!;
                return null;
            });
        }

        public async Task<AmazonWebServiceResponse> DeleteRouteAsync(DeleteRouteRequest request, CancellationToken cancellationToken = default)
        {
            await Task.Yield();
            return ec2.Write($"delete {request.RouteTableId} {request.DestinationCidrBlock}", request.RouteTableId, t =>
            {
                if (!t.Remove(request.DestinationCidrBlock, out var target))
                {
                    return "InvalidRoute.NotFound";
                }

                ec2.Deleted(request.DestinationCidrBlock, target);
                return null;
            });
        }

        public Task<AmazonWebServiceResponse> ModifyNetworkInterfaceAttributeAsync(ModifyNetworkInterfaceAttributeRequest request, CancellationToken cancellationToken = default)
        {
            lock (ec2._gate)
            {
                request.SourceDestCheck.ShouldBeFalse();
                ec2.LetPass.Add(request.NetworkInterfaceId);
                return Task.FromResult(new AmazonWebServiceResponse());
            }
        }

        private bool IsThere(string target) => !target.StartsWith("i-", StringComparison.Ordinal) && !target.StartsWith("eni-", StringComparison.Ordinal)
            ? true
            : ec2._instances.Values.Any(i => i.State.Name == "running" && (i.InstanceId == target || i.NetworkInterfaces.Any(n => n.NetworkInterfaceId == target)));
    }

    private TimeProvider Time => time;
}

/// <summary>Time that nobody waits for: as soon as all that is to be done is done, it is as late as the next one wants it to be.</summary>
internal sealed class SkippingTime : TimeProvider, IDisposable
{
    private readonly Lock _gate = new();
    private readonly PriorityQueue<Timer, (long, long)> _timers = new();
    private readonly DateTimeOffset _start = new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);
    private readonly Thread _pump;
    private volatile bool _ended;
    private long _now;
    private long _number;

    public SkippingTime()
    {
        _pump = new Thread(Pump) { IsBackground = true };
        _pump.Start();
    }

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => Interlocked.Read(ref _now);

    public override DateTimeOffset GetUtcNow() => _start.AddTicks(GetTimestamp());

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new Timer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    public void Dispose() => _ended = true;

    private void Pump()
    {
        while (!_ended)
        {
            for (var quiet = 0; quiet < 3; quiet = ThreadPool.PendingWorkItemCount == 0 ? quiet + 1 : 0)
            {
                Thread.Sleep(0);
            }

            Timer? timer;
            (long Due, long) at;
            lock (_gate)
            {
                if (!_timers.TryDequeue(out timer, out at))
                {
                    timer = null;
                }
                else if (timer.Due == at.Due)
                {
                    Interlocked.Exchange(ref _now, Math.Max(_now, at.Due));
                    timer.Due = -1;
                }
                else
                {
                    continue;
                }
            }

            if (timer is null)
            {
                Thread.Sleep(1);
            }
            else
            {
                ThreadPool.UnsafeQueueUserWorkItem(t => t.Fire(), timer, preferLocal: false);
            }
        }
    }

    private sealed class Timer(SkippingTime time, TimerCallback callback, object? state) : ITimer
    {
        public long Due { get; set; } = -1;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (time._gate)
            {
                Due = dueTime == Timeout.InfiniteTimeSpan ? -1 : time.GetTimestamp() + dueTime.Ticks;
                if (Due >= 0)
                {
                    time._timers.Enqueue(this, (Due, time._number++));
                }
            }

            return true;
        }

        public void Fire() => callback(state);

        public void Dispose()
        {
            lock (time._gate)
            {
                Due = -1;
            }
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
