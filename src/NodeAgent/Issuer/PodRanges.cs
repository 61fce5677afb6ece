using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using NodeAgent.Aws;
using NodeAgent.Network;

namespace NodeAgent.Issuer;

/// <summary>What <see cref="PodRanges"/> gives out, and where it keeps account of it.</summary>
internal sealed record PodRangeSettings
{
    public required string Cluster { get; init; }

    public required string VpcId { get; init; }

    /// <summary>cluster.podRange, IPv4.</summary>
    public required Cidr Whole { get; init; }

    /// <summary>network.nodePrefix: of each node's range.</summary>
    public required int NodePrefix { get; init; }

    /// <summary>Route tables by ID; where none are given, those of the VPC with the cluster's tag.</summary>
    public IReadOnlyList<string> RouteTables { get; init; } = [];

    /// <summary>Routes that the account lets a table have.</summary>
    public int RouteQuota { get; init; } = DefaultRouteQuota;

    /// <summary>The instance on which this issuer runs: it gives ranges back when its turn comes. Null: never.</summary>
    public string? Issuer { get; init; }

    public Action<string> Say { get; init; } = static _ => { };

    /// <summary>How long a range stays unused after a route to it was last seen, as far as there are others.</summary>
    public TimeSpan Rest { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>How long an instance has to be terminated, as this issuer sees it, before its range is given back.</summary>
    public TimeSpan TerminatedGrace { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>The same where EC2 does not know the instance at all, and says that the route leads nowhere.</summary>
    public TimeSpan UnknownGrace { get; init; } = TimeSpan.FromMinutes(15);

    /// <summary>How long an instance may have two ranges before it is reported.</summary>
    public TimeSpan TwiceGrace { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>How long the control plane must have been the same for turns to count.</summary>
    public TimeSpan Steady { get; init; } = TimeSpan.FromMinutes(3);

    /// <summary>How long EC2 may take to show what was done.</summary>
    public TimeSpan Settle { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How old the view may be from which a claim begins.</summary>
    public TimeSpan Recent { get; init; } = TimeSpan.FromSeconds(5);

    // https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
    public const int DefaultRouteQuota = 500;

    public const int LargestRouteQuota = 1000;
}

/// <summary>
/// Gives each node the range of its pods, and the VPC's routes to it. The route tables are all the state there is, and any number of these may race: a range is
/// whose route to it stands in the table with the lowest ID, since EC2 creates a route once and then says that it is there. docs/network.md has the argument.
/// </summary>
internal sealed class PodRanges : IDisposable
{
    private const string Tables = "tables";
    private const int MostTries = 64;
    private const int LargestFilter = 200;
    private const int MostBegun = 10_000;
    private const int MostRemembered = 100_000;
    private const string KeptPath = "/var/lib/nodeagent/pod-range.json";

    // Of a turn: its minute's first part, so that clocks and calls under way may differ from what is thought of them.
    private static readonly TimeSpan Turn = TimeSpan.FromSeconds(40);
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Again = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Freed = TimeSpan.FromSeconds(30);

    private readonly PodRangeSettings _settings;
    private readonly IAmazonEC2 _ec2;
    private readonly TimeProvider _time;
    private readonly LookUps<RouteView> _views;
    private readonly ConcurrentDictionary<int, long> _taken = new();
    private readonly ConcurrentDictionary<string, int> _begun = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, bool> _warned = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long> _goneSince = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, bool> _nodes = new(StringComparer.Ordinal);
    private readonly HashSet<string> _reported = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stop = new();
    private readonly int _count;
    private (RouteView View, long At)? _last;
    private IReadOnlyList<string> _members = [];
    private long _membersSince;
    private long _minute = -1;
    private bool _turnTaken;
    private string? _lastTrouble;
    private Task? _loop;

    public PodRanges(PodRangeSettings settings, IAmazonEC2 ec2, TimeProvider time)
    {
        (_settings, _ec2, _time) = (settings, ec2, time);
        _count = 1 << (settings.NodePrefix - settings.Whole.Prefix);
        _views = new(Look, 2, TimeSpan.Zero, time);
    }

    /// <summary>Routes of each table as they were last seen.</summary>
    public IReadOnlyList<(string Table, int Routes)> Routes => _last is { } last ? [.. last.View.Tables.Select(t => (t.Id, t.Count))] : [];

    public int RouteQuota => _settings.RouteQuota;

    /// <summary>What this issuer reported in its last turn and leaves to somebody who knows more.</summary>
    public int Doubts { get; private set; }

    /// <summary>Gives ranges of vanished instances back, from now on.</summary>
    public void Start() => _loop = Loop(_stop.Token);

    public void Dispose()
    {
        _stop.Cancel();
        try
        {
            _loop?.Wait(TimeSpan.FromSeconds(5));
        }
        catch (AggregateException)
        {
            // Told to stop.
        }

        _stop.Dispose();
    }

    /// <summary>The range of an instance, with the routes to it in all tables; asked again, the same.</summary>
    /// <param name="instance">As EC2 describes it now.</param>
    /// <param name="wish">What the node would have: no more than a check of what its tag or a route says.</param>
    /// <exception cref="IssuerRefusal"/>
    public async Task<Cidr> Claim(Instance instance, Cidr? wish, CancellationToken cancellation)
    {
        var target = RouteTarget.Of(instance)
            ?? throw IssuerRefusal.Later("not-yet", $"EC2 does not say which interface of {instance.InstanceId} is its first", Soon);
        var tag = OfTag(instance);
        if (tag is not null && wish is not null && tag != wish)
        {
            throw IssuerRefusal.Forbidden("range", $"the node asks for {wish}, and its tag {InstanceTag.PodRange} says {tag}");
        }

        Remember(instance);
        var view = await Recently(cancellation).ConfigureAwait(false);
        if (tag is null && Own(view, instance).Count == 0)
        {
            view = await View(cancellation).ConfigureAwait(false);
        }

        for (var tries = 0; tries < MostTries; tries++)
        {
            var arbiter = Arbiter(view);
            var own = Own(view, instance);
            int index;
            if ((tag ?? wish) is { } asked)
            {
                index = IndexOf(asked) ?? throw IssuerRefusal.Forbidden(
                    "range",
                    $"{asked} is no range of /{_settings.NodePrefix} within "
                        + $"{_settings.Whole}{(tag is null ? "" : $" (tag {InstanceTag.PodRange} of {instance.InstanceId})")}");
                if (tag is null && !own.Contains(index))
                {
                    // It may be there by now.
                    view = await View(cancellation).ConfigureAwait(false);
                    if (!Own(view, instance).Contains(index))
                    {
                        throw IssuerRefusal.Forbidden(
                            "range",
                            $"the node asks for {asked}, and neither the tag {InstanceTag.PodRange} of {instance.InstanceId} nor a route says so: a node does "
                                + "not choose its range");
                    }

                    continue;
                }

                if (view.At(index).FirstOrDefault(r => !LeadsTo(r.Route, instance)) is { } other)
                {
                    await Conflict(other, asked, instance, cancellation).ConfigureAwait(false);
                }
            }
            else
            {
                index = own.Count > 0 ? own[0]
                    // Of a claim that was broken off, and that EC2 does not show yet.
                    : _begun.TryGetValue(instance.InstanceId, out var begun) && view.At(begun).Count == 0 ? begun
                    : Free(view, instance)
                    ?? throw IssuerRefusal.Later(
                        "no-range", $"all {_count} ranges of /{_settings.NodePrefix} in {_settings.Whole} are in use: take a larger cluster.podRange", Freed);
            }

            List<string> made = [];
            if (arbiter.At(index) is null)
            {
                Begin(instance, index);
                var outcome = await Ec2.CreateRoute(_ec2, arbiter.Id, Text(index), target, cancellation).ConfigureAwait(false);
                Seen(index);
                if (outcome == RouteOutcome.Full)
                {
                    throw Full(arbiter);
                }

                if (outcome == RouteOutcome.AlreadyThere)
                {
                    // Somebody's, this instance's own for all that is known: not before it is seen is anything else taken.
                    view = await Until(v => v.Tables.FirstOrDefault(t => t.Id == arbiter.Id)?.At(index) is not null, index, cancellation).ConfigureAwait(false);
                    continue;
                }

                made.Add(arbiter.Id);
            }

            var standing = made.Count == 0;
            try
            {
                if (!await Follow(view, index, target, instance, made, cancellation).ConfigureAwait(false))
                {
                    await TakeBack(instance, made, index, cancellation).ConfigureAwait(false);
                    if (standing)
                    {
                        // For what EC2 shows; a moment ago, it may have been.
                        throw IssuerRefusal.Later(
                            "range",
                            $"{Text(index)} is {instance.InstanceId}'s by route table {arbiter.Id}, and another's by another one: where that stays so, mend "
                                + "the routes",
                            Soon);
                    }

                    view = await View(cancellation).ConfigureAwait(false);
                    continue;
                }
            }
            catch (IssuerRefusal e) when (e.Code == "routes")
            {
                await TakeBack(instance, made, index, cancellation).ConfigureAwait(false);
                throw;
            }

            if (made.Count > 0)
            {
                view = await Until(v => v.Tables.All(t => t.At(index) is { } r && LeadsTo(r, instance)), index, cancellation).ConfigureAwait(false);
                if (!standing && view.At(index).Any(r => !LeadsTo(r.Route, instance)))
                {
                    // An allocator with another size of ranges came at the same time.
                    await TakeBack(instance, made, index, cancellation).ConfigureAwait(false);
                    continue;
                }

                if (tag is null && !standing && Own(view, instance) is [var lower, ..] && lower < index)
                {
                    // Another one, asked at the same time, was faster: nobody has heard of this range yet.
                    await TakeBack(instance, made, index, cancellation).ConfigureAwait(false);
                    continue;
                }
            }

            if (instance.Primary is { NetworkInterfaceId.Length: > 0, SourceDestCheck: not false } first)
            {
                await Ec2.LetPass(_ec2, first.NetworkInterfaceId, cancellation).ConfigureAwait(false);
            }

            return Cidr.Parse(Text(index));
        }

        throw IssuerRefusal.Later("busy", $"{MostTries} ranges were taken by others before this node had one", Soon);
    }

    /// <summary>One look at what is to be given back; does something in this issuer's turn alone.</summary>
    /// <exception cref="AwsException"/>
    internal async Task Round(CancellationToken cancellation)
    {
        var minute = _time.GetUtcNow().ToUnixTimeSeconds() / 60;
        if (minute != _minute)
        {
            var members = (await Ec2.ControlPlane(_ec2, _settings.Cluster, _settings.VpcId, cancellation).ConfigureAwait(false))
                .Select(i => i.InstanceId).Order(StringComparer.Ordinal).ToList();
            if (!members.SequenceEqual(_members))
            {
                (_members, _membersSince) = (members, _time.GetTimestamp());
            }

            (_minute, _turnTaken) = (minute, false);
        }

        if (_turnTaken || !IsMyTurn())
        {
            return;
        }

        _turnTaken = true;
        await GiveBack(cancellation).ConfigureAwait(false);
    }

    /// <summary>
    /// Routes cannot be deleted on a condition, so who deletes must be alone: the n issuers of the control plane in turn, a minute each. Not while who they are
    /// has changed of late, or two might count differently.
    /// </summary>
    private bool IsMyTurn()
    {
        var rank = _settings.Issuer is null ? -1 : _members.ToList().IndexOf(_settings.Issuer);
        var now = _time.GetUtcNow();
        return rank >= 0
            && _time.GetElapsedTime(_membersSince) >= _settings.Steady
            && now.ToUnixTimeSeconds() / 60 % _members.Count == rank
            && now.ToUnixTimeSeconds() / 60 == _minute
            && now.ToUnixTimeMilliseconds() % 60_000 < Turn.TotalMilliseconds;
    }

    private async Task Loop(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await Task.Delay(Tick, _time, stop).ConfigureAwait(false);
                await Round(stop).ConfigureAwait(false);
                _lastTrouble = null;
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
#pragma warning disable CA1031 // Whatever it is, the next turn comes.
            catch (Exception e)
#pragma warning restore CA1031
            {
                if (_lastTrouble != e.Message)
                {
                    _settings.Say($"nodeagent: ranges of vanished instances are not given back: {e.Message}");
                    _lastTrouble = e.Message;
                }
            }
        }
    }

    private async Task GiveBack(CancellationToken cancellation)
    {
        var view = await View(cancellation).ConfigureAwait(false);
        var looked = _time.GetTimestamp();
        var instances = await Described(view, cancellation).ConfigureAwait(false);
        var still = new HashSet<string>(StringComparer.Ordinal);
        var doubts = new SortedDictionary<string, string>(StringComparer.Ordinal);
        List<RangeRoute> due = [];
        foreach (var route in view.All)
        {
            if (Gone(route.Route, instances) is { } grace && Waited($"{route.Destination} {Holder(route.Route)}", still) >= grace)
            {
                if (WasNodes(route.Route, instances))
                {
                    due.Add(route);
                }
                else
                {
                    doubts[$"{route.Destination} {Holder(route.Route)}"] =
                        $"{route.Destination} leads to {Holder(route.Route)} in route table {route.Table}, which is gone and was no node's of "
                        + $"{_settings.Cluster} as far as this issuer has seen: "
                        + "it is not given back; delete the route if nobody needs it";
                }
            }
        }

        var settled = new HashSet<string>(StringComparer.Ordinal);
        foreach (var instance in instances.Values.Where(i => IsOurs(i) && i.State.Name != "terminated"))
        {
            var own = view.All.Where(r => LeadsTo(r.Route, instance)).Select(r => r.Destination).Distinct().Order(StringComparer.Ordinal).ToList();
            var what = string.Join(" and ", own);
            if (own.Count > 1 && Waited($"{instance.InstanceId} {what}", still) >= _settings.TwiceGrace)
            {
                settled.Add(instance.InstanceId);
                // Which of them its pods have, no call of EC2's says.
                doubts[instance.InstanceId] =
                    $"{instance.InstanceId} has routes for {what}, and a node uses one range: none is given back while it is there; {KeptPath} on the node "
                        + "says which it uses, delete the routes for what it does not";
            }
        }

        foreach (var key in _goneSince.Keys.Except(still).ToList())
        {
            _goneSince.Remove(key);
        }

        Report(doubts);
        foreach (var (destination, routes) in due.GroupBy(r => r.Destination).Select(g => (g.Key, g.ToList())))
        {
            if (_time.GetElapsedTime(looked) > LookAgain)
            {
                view = await View(cancellation).ConfigureAwait(false);
                looked = _time.GetTimestamp();
            }

            // The arbiter's last: while it stands, nobody else can have this range.
            var deleted = false;
            foreach (var table in view.Tables.Reverse().Where(t => t.To(destination) is { } r && routes.Any(d => IsSame(d.Route, r))).ToList())
            {
                using var turn = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
                turn.CancelAfter(TimeSpan.FromSeconds(10));
                if (!IsMyTurn())
                {
                    return;
                }

                deleted |= await Ec2.DeleteRoute(_ec2, table.Id, destination, turn.Token).ConfigureAwait(false) == RouteOutcome.Done;
                Seen(routes[0]);
            }

            if (deleted)
            {
                _settings.Say($"nodeagent: {destination} was {Holder(routes[0].Route)}'s and is given back");
            }
        }

        await Complete(view, instances, settled, cancellation).ConfigureAwait(false);
    }

    /// <summary>Each once, for as long as it is so.</summary>
    private void Report(SortedDictionary<string, string> doubts)
    {
        foreach (var text in doubts.Values.Where(d => !_reported.Contains(d)))
        {
            _settings.Say($"nodeagent: {text}");
        }

        _reported.Clear();
        _reported.UnionWith(doubts.Values);
        Doubts = doubts.Count;
    }

    /// <summary>Routes that a table lacks: it was added later, or whoever made them did not get that far.</summary>
    /// <param name="settled">Instances that have had all their ranges for long: none of those is a claim's that will take it back.</param>
    private async Task Complete(RouteView view, Dictionary<string, Instance> instances, HashSet<string> settled, CancellationToken cancellation)
    {
        if (view.Tables.Count < 2)
        {
            return;
        }

        foreach (var index in view.All.Where(r => r.IsExact).Select(r => r.First).Distinct().Order().ToList())
        {
            var routes = view.At(index);
            if (view.Tables.All(t => t.At(index) is not null)
                || instances.GetValueOrDefault(routes.First(r => r.IsExact).Route.InstanceId) is not { State.Name: "running" } instance || !IsOurs(instance)
                || !routes.All(r => LeadsTo(r.Route, instance))
                || RouteTarget.Of(instance) is not { } target
                || !(settled.Contains(instance.InstanceId) ? Own(view, instance).Contains(index) : Chosen(view, instance) == index))
            {
                continue;
            }

            foreach (var table in view.Tables.Where(t => t.At(index) is null))
            {
                if (!IsMyTurn())
                {
                    return;
                }

                await Ec2.CreateRoute(_ec2, table.Id, Text(index), target, cancellation).ConfigureAwait(false);
            }
        }
    }

    private bool IsOurs(Instance instance) => instance.Tags.Any(t => t.Key == InstanceTag.Cluster && t.Value == _settings.Cluster);

    /// <summary>Whether a route led to a node of this cluster while this allocator looked, or its instance still says so.</summary>
    private bool WasNodes(Route route, Dictionary<string, Instance> instances) =>
        (instances.GetValueOrDefault(route.InstanceId) is { } instance && IsOurs(instance))
        || (route.InstanceId.Length > 0 && _nodes.ContainsKey(route.InstanceId))
        || (route.NetworkInterfaceId.Length > 0 && _nodes.ContainsKey(route.NetworkInterfaceId));

    /// <summary>EC2 forgets instances within the hour, their tags and interfaces earlier.</summary>
    private void Remember(Instance instance)
    {
        if (_nodes.Count > MostRemembered)
        {
            _nodes.Clear();
        }

        _nodes[instance.InstanceId] = true;
        foreach (var one in instance.NetworkInterfaces.Where(i => i.NetworkInterfaceId.Length > 0))
        {
            _nodes[one.NetworkInterfaceId] = true;
        }
    }

    /// <summary>Which of an instance's ranges is its own: the tag's, or the lowest.</summary>
    private int? Chosen(RouteView view, Instance instance)
    {
        var own = Own(view, instance);
        var tagged = instance.Tags.FirstOrDefault(t => t.Key == InstanceTag.PodRange)?.Value is { } text && TryParse(text) is { } range ? IndexOf(range) : null;
        return tagged is { } index && own.Contains(index) ? index : own.Count > 0 ? own[0] : null;
    }

    private TimeSpan Waited(string what, HashSet<string> still)
    {
        still.Add(what);
        if (!_goneSince.TryGetValue(what, out var since))
        {
            _goneSince[what] = since = _time.GetTimestamp();
        }

        return _time.GetElapsedTime(since);
    }

    /// <returns>How long it has to have been so; null while its instance is there, or for what is no instance's.</returns>
    private TimeSpan? Gone(Route route, Dictionary<string, Instance> instances) =>
        route.InstanceId.Length > 0 && instances.TryGetValue(route.InstanceId, out var instance)
            ? (instance.State.Name == "terminated" ? _settings.TerminatedGrace : null)
            // Stopped instances have routes that lead nowhere, too, but EC2 knows them; a gateway's route is somebody's who knows why.
            : route.State == "blackhole" && (route.InstanceId.Length > 0 || route.NetworkInterfaceId.Length > 0) ? _settings.UnknownGrace
            : null;

    private async Task<Dictionary<string, Instance>> Described(RouteView view, CancellationToken cancellation)
    {
        var found = new Dictionary<string, Instance>(StringComparer.Ordinal);
        var routes = view.All.Select(r => r.Route).ToList();
        foreach (var ids in routes.Select(r => r.InstanceId).Where(i => i.Length > 0).Distinct().Chunk(LargestFilter))
        {
            foreach (var instance in await Ec2.Instances(_ec2, "instance-id", ids, cancellation).ConfigureAwait(false))
            {
                found[instance.InstanceId] = instance;
            }
        }

        // A route whose instance went may name its interface alone, and one that was made to an interface may do so while it is there.
        foreach (var ids in routes.Where(r => r.InstanceId.Length == 0).Select(r => r.NetworkInterfaceId).Where(i => i.Length > 0).Distinct()
            .Chunk(LargestFilter))
        {
            foreach (var instance in await Ec2.Instances(_ec2, "network-interface.network-interface-id", ids, cancellation).ConfigureAwait(false))
            {
                found[instance.InstanceId] = instance;
                foreach (var route in routes.Where(r => r.InstanceId.Length == 0 && LeadsTo(r, instance)))
                {
                    route.InstanceId = instance.InstanceId;
                }
            }
        }

        foreach (var instance in found.Values.Where(IsOurs))
        {
            Remember(instance);
        }

        return found;
    }

    /// <summary>The other tables, once the arbiter has it.</summary>
    /// <param name="made">Those in which a route was created.</param>
    /// <returns>False where one of them leads elsewhere, to somebody who is there.</returns>
    private async Task<bool> Follow(RouteView view, int index, RouteTarget target, Instance instance, List<string> made, CancellationToken cancellation)
    {
        foreach (var table in view.Tables.Skip(1))
        {
            var there = view.At(index).Where(r => r.Table == table.Id).ToList();
            if (!there.Any(r => r.IsExact) && there.All(r => LeadsTo(r.Route, instance)))
            {
                switch (await Ec2.CreateRoute(_ec2, table.Id, Text(index), target, cancellation).ConfigureAwait(false))
                {
                    case RouteOutcome.Done:
                        made.Add(table.Id);
                        continue;
                    case RouteOutcome.Full:
                        throw Full(table);
                }

                view = await Until(v => v.Tables.FirstOrDefault(t => t.Id == table.Id)?.At(index) is not null, index, cancellation).ConfigureAwait(false);
                there = [.. view.At(index).Where(r => r.Table == table.Id)];
            }

            foreach (var other in there.Where(r => !LeadsTo(r.Route, instance)))
            {
                if (!other.IsExact || !await HasVanished(other.Route, cancellation).ConfigureAwait(false))
                {
                    return false;
                }

                if (await Ec2.ReplaceRoute(_ec2, table.Id, Text(index), target, cancellation).ConfigureAwait(false) == RouteOutcome.NotThere)
                {
                    await Ec2.CreateRoute(_ec2, table.Id, Text(index), target, cancellation).ConfigureAwait(false);
                }

                made.Add(table.Id);
            }
        }

        return true;
    }

    /// <summary>Whether a route is a node's of this cluster that is gone.</summary>
    private async Task<bool> HasVanished(Route route, CancellationToken cancellation)
    {
        var found = route.InstanceId.Length > 0 ? await Ec2.Instances(_ec2, "instance-id", [route.InstanceId], cancellation).ConfigureAwait(false)
            : route.NetworkInterfaceId.Length > 0
                ? await Ec2.Instances(_ec2, "network-interface.network-interface-id", [route.NetworkInterfaceId], cancellation).ConfigureAwait(false)
            : [];
        var instances = found.ToDictionary(i => i.InstanceId, StringComparer.Ordinal);
        return (found.Count > 0 ? found[0].State.Name == "terminated" : route.State == "blackhole") && WasNodes(route, instances);
    }

    /// <summary>Of routes that this claim made and nobody has been told of; the arbiter's last.</summary>
    private async Task TakeBack(Instance instance, List<string> made, int index, CancellationToken cancellation)
    {
        _begun.TryRemove(instance.InstanceId, out _);
        foreach (var table in made.AsEnumerable().Reverse())
        {
            await Ec2.DeleteRoute(_ec2, table, Text(index), cancellation).ConfigureAwait(false);
        }
    }

    private async Task Conflict(RangeRoute other, Cidr asked, Instance instance, CancellationToken cancellation)
    {
        var holder = Holder(other.Route);
        var what =
            $"{asked} is asked for by "
            + $"{(instance.Tags.Any(t => t.Key == InstanceTag.PodRange) ? $"the tag {InstanceTag.PodRange} of {instance.InstanceId}" : instance.InstanceId)}, "
            + $"and by route table {other.Table} it is {holder}'s";
        throw await HasVanished(other.Route, cancellation).ConfigureAwait(false)
            ? IssuerRefusal.Later("range", $"{what}, which is gone: an issuer gives it back within minutes", Freed)
            : IssuerRefusal.Forbidden("range", what);
    }

    private IssuerRefusal Full(TableRoutes table) => IssuerRefusal.Later(
        "routes",
        string.Create(
            CultureInfo.InvariantCulture,
            $"route table {table.Id} has {table.Count} routes, and EC2 takes no more: ask AWS to raise the quota 'Routes per route table' (L-93826ACB), "
                + $"{_settings.RouteQuota} as far as is known here (--route-quota), or use fewer nodes"),
        Freed);

    /// <summary>Spread by the instance, so that those who join at once seldom meet, and the same instance begins at the same range everywhere.</summary>
    private int? Free(RouteView view, Instance instance)
    {
        var start = (int)(BinaryPrimitives.ReadUInt32BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes(instance.InstanceId))) % (uint)_count);
        (int Index, long Seen)? rested = null;
        for (var k = 0; k < _count; k++)
        {
            var index = (start + k) % _count;
            if (view.At(index).Count > 0)
            {
                continue;
            }

            if (!_taken.TryGetValue(index, out var seen) || _time.GetElapsedTime(seen) >= _settings.Rest)
            {
                return index;
            }

            if (rested is null || seen < rested.Value.Seen)
            {
                rested = (index, seen);
            }
        }

        return rested?.Index;
    }

    /// <summary>Lowest first. Not those that are another's by the arbiter.</summary>
    private static List<int> Own(RouteView view, Instance instance) =>
    [
        .. view.All.Where(r => r.IsExact && LeadsTo(r.Route, instance)).Select(r => r.First).Distinct()
            .Where(i => view.Tables[0].At(i) is not { } first || LeadsTo(first, instance)).Order(),
    ];

    private static bool LeadsTo(Route route, Instance instance) => route.InstanceId == instance.InstanceId
        || (route.NetworkInterfaceId.Length > 0 && instance.NetworkInterfaces.Any(i => i.NetworkInterfaceId == route.NetworkInterfaceId));

    // One route may be shown with its instance's ID now and without it then.
    private static bool IsSame(Route one, Route other) => one.NetworkInterfaceId.Length > 0 && other.NetworkInterfaceId.Length > 0
        ? one.NetworkInterfaceId == other.NetworkInterfaceId
        : one.InstanceId.Length > 0 && one.InstanceId == other.InstanceId;

    private static string Holder(Route route) => route.InstanceId.Length > 0 ? route.InstanceId
        : route.NetworkInterfaceId.Length > 0 ? route.NetworkInterfaceId
        : route.GatewayId.Length > 0 ? route.GatewayId
        : "somebody";

    private static Cidr? OfTag(Instance instance) => instance.Tags.FirstOrDefault(t => t.Key == InstanceTag.PodRange)?.Value is not { } text ? null
        : TryParse(text)
            ?? throw IssuerRefusal.Forbidden(
                "range", $"the tag {InstanceTag.PodRange} of {instance.InstanceId} says '{IssuerRefusal.Short(text)}', which is no CIDR range");

    private static Cidr? TryParse(string text)
    {
        try
        {
            return Cidr.Parse(text);
        }
        catch (FormatException)
        {
            return null;
        }
    }

    private int? IndexOf(Cidr range) => range.Prefix == _settings.NodePrefix && _settings.Whole.Contains(range.Address) ? Index(range) : null;

    private int Index(Cidr range) => (int)((Number(range.Address) - Number(_settings.Whole.Address)) >> (32 - _settings.NodePrefix));

    private string Text(int index)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, Number(_settings.Whole.Address) + ((uint)index << (32 - _settings.NodePrefix)));
        return string.Create(CultureInfo.InvariantCulture, $"{new IPAddress(bytes)}/{_settings.NodePrefix}");
    }

    private static uint Number(IPAddress address) => BinaryPrimitives.ReadUInt32BigEndian(address.GetAddressBytes());

    private TableRoutes Arbiter(RouteView view)
    {
        var missing = _settings.RouteTables.Except(view.Tables.Select(t => t.Id), StringComparer.Ordinal).ToList();
        return missing.Count > 0 ? throw IssuerRefusal.Later(
                "routes", $"there is no route table {string.Join(", ", missing)} in {_settings.VpcId} (--route-table)", Freed)
            : view.Tables.Count > 0 ? view.Tables[0]
            : throw IssuerRefusal.Later(
                "routes",
                $"no route table of {_settings.VpcId} has the tag {InstanceTag.Cluster} = '{_settings.Cluster}': tag those of the cluster's subnets so, or "
                    + "name them (--route-table)",
                Freed);
    }

    /// <summary>A view in which something is to be seen that is known to be.</summary>
    private async Task<RouteView> Until(Predicate<RouteView> shows, int index, CancellationToken cancellation)
    {
        var since = _time.GetTimestamp();
        while (true)
        {
            var view = await View(cancellation).ConfigureAwait(false);
            if (shows(view))
            {
                return view;
            }

            if (_time.GetElapsedTime(since) >= _settings.Settle)
            {
                throw IssuerRefusal.Later("unavailable", $"EC2 does not show yet whose {Text(index)} is", Soon);
            }

            await Task.Delay(Again, _time, cancellation).ConfigureAwait(false);
        }
    }

    private async Task<RouteView> Recently(CancellationToken cancellation) =>
        _last is { } last && _time.GetElapsedTime(last.At) < _settings.Recent ? last.View : await View(cancellation).ConfigureAwait(false);

    /// <summary>Asked for after now, by one call for all who want it.</summary>
    private async Task<RouteView> View(CancellationToken cancellation) => (await _views.Get(Tables).WaitAsync(cancellation).ConfigureAwait(false))!;

    private async Task<IReadOnlyDictionary<string, RouteView>> Look(IReadOnlyList<string> keys, CancellationToken cancellation)
    {
        var tables = await Ec2.RouteTables(_ec2, _settings.VpcId, _settings.Cluster, _settings.RouteTables, cancellation).ConfigureAwait(false);
        var view = new RouteView(tables, Covers, _settings.NodePrefix);
        foreach (var route in view.All)
        {
            Seen(route);
        }

        foreach (var table in view.Tables)
        {
            var isMuch = table.Count >= _settings.RouteQuota * 0.9;
            if (isMuch && _warned.TryAdd(table.Id, true))
            {
                _settings.Say(string.Create(
                    CultureInfo.InvariantCulture,
                    $"nodeagent: route table {table.Id} has {table.Count} routes of {_settings.RouteQuota} (--route-quota): ask AWS to raise the quota "
                        + $"'Routes per route table' (L-93826ACB) before nodes are refused"));
            }
            else if (!isMuch)
            {
                _warned.TryRemove(table.Id, out _);
            }
        }

        _last = (view, _time.GetTimestamp());
        return new Dictionary<string, RouteView>(StringComparer.Ordinal) { [Tables] = view };
    }

    private void Begin(Instance instance, int index)
    {
        if (_begun.Count > MostBegun)
        {
            _begun.Clear();
        }

        _begun[instance.InstanceId] = index;
    }

    private void Seen(int index) => _taken[index] = _time.GetTimestamp();

    private void Seen(RangeRoute route)
    {
        for (var i = 0; i < route.Count; i++)
        {
            Seen(route.First + i);
        }
    }

    /// <summary>
    /// The ranges of which a route takes a part or all. One wider than a node's that leads to an instance was a node's while network.nodePrefix was smaller,
    /// and the longest prefix wins: whatever is given out of it is taken away from that node's pods. What leads to gateways for the whole gives way, and takes
    /// nothing.
    /// </summary>
    private (int First, int Count)? Covers(Cidr range, Route route) =>
        range.IsIPv6 || !_settings.Whole.Contains(range.Address) ? null
        : range.Prefix >= _settings.NodePrefix ? (Index(range), 1)
        : range.Prefix > _settings.Whole.Prefix && (route.InstanceId.Length > 0 || route.NetworkInterfaceId.Length > 0)
            ? (Index(range), 1 << (_settings.NodePrefix - range.Prefix))
        : null;

    /// <param name="First">Of the ranges that it touches, and of those <paramref name="Count"/>.</param>
    private sealed record RangeRoute(string Table, string Destination, int First, int Count, bool IsExact, Route Route);

    private sealed class TableRoutes(string id, int count, IReadOnlyDictionary<int, Route> exact, IReadOnlyDictionary<string, Route> all)
    {
        public string Id { get; } = id;

        /// <summary>What counts against the quota.</summary>
        public int Count { get; } = count;

        public Route? At(int index) => exact.GetValueOrDefault(index);

        public Route? To(string destination) => all.GetValueOrDefault(destination);
    }

    /// <summary>The cluster's route tables at one moment, lowest ID first.</summary>
    private sealed class RouteView
    {
        private readonly Dictionary<int, List<RangeRoute>> _byIndex = [];
        private readonly List<RangeRoute> _all = [];

        public RouteView(IReadOnlyList<RouteTable> tables, Func<Cidr, Route, (int First, int Count)?> covers, int prefix)
        {
            var list = new List<TableRoutes>();
            // A table may be on two pages that were read while it changed.
            foreach (var table in tables.DistinctBy(t => t.RouteTableId).OrderBy(t => t.RouteTableId, StringComparer.Ordinal))
            {
                var exact = new Dictionary<int, Route>();
                var all = new Dictionary<string, Route>(StringComparer.Ordinal);
                foreach (var route in table.Routes)
                {
                    if (TryParse(route.DestinationCidrBlock) is not { } range || covers(range, route) is not (var first, var count))
                    {
                        continue;
                    }

                    var known = new RangeRoute(table.RouteTableId, route.DestinationCidrBlock, first, count, range.Prefix == prefix, route);
                    _all.Add(known);
                    all[known.Destination] = route;
                    if (known.IsExact)
                    {
                        exact[first] = route;
                    }

                    for (var index = first; index < first + count; index++)
                    {
                        if (!_byIndex.TryGetValue(index, out var routes))
                        {
                            _byIndex[index] = routes = [];
                        }

                        routes.Add(known);
                    }
                }

                // Propagated ones have a quota of their own.
                list.Add(new(table.RouteTableId, table.Routes.Count(r => r.Origin != "EnableVgwRoutePropagation"), exact, all));
            }

            Tables = list;
        }

        public IReadOnlyList<TableRoutes> Tables { get; }

        public IReadOnlyList<RangeRoute> All => _all;

        public IReadOnlyList<RangeRoute> At(int index) => _byIndex.TryGetValue(index, out var routes) ? routes : [];
    }
}
