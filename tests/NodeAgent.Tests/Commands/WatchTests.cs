using System.Collections.Concurrent;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using NodeAgent.Aws;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Imds;
using NodeAgent.Kubernetes;
using NodeAgent.Machine;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Machine;
using NodeAgent.Tests.Pki;

namespace NodeAgent.Tests.Commands;

public sealed class WatchTests : IAsyncLifetime, IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly FakeGroup _group = new();
    private readonly FakeApiServer _api = new();
    private readonly ConcurrentQueue<string> _said = new();
    private readonly ImdsState _state = new() { Paths = { ["autoscaling/target-lifecycle-state"] = "InService" } };
    private readonly ImdsServer _imds;
    private readonly string _client = TestAuthority.ClientPem("CN=system:node:worker");
    private InstanceMetadata? _metadata;
    private readonly Jumping _time = new();
    private int _joins;
    private MachineException? _joinFails;

    public WatchTests() => _imds = new ImdsServer(() => _state);

    public async Task InitializeAsync()
    {
        await _imds.Start();
        await _api.Start();
        _metadata = new InstanceMetadata(_imds.Endpoint, Timeout.InfiniteTimeSpan);
    }

    public async Task DisposeAsync()
    {
        await _imds.DisposeAsync();
        await _api.DisposeAsync();
    }

    public void Dispose()
    {
        _metadata?.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public async Task A_node_in_service_is_left_alone()
    {
        var watch = Make();
        for (var i = 0; i < 20; i++)
        {
            await watch.Step(default);
        }

        (_api.Writes.Count, _group.Calls.Count, _joins).ShouldBe((0, 0, 0));
    }

    [Fact]
    public async Task On_its_end_the_node_is_cordoned_and_drained_and_then_the_group_is_told()
    {
        _api.Pods = ["app", "daemon", "mirror", "budgeted"];
        _api.Budgeted = true;
        Target("Terminated");
        var watch = Make();

        await Until(watch, () => _api.Writes.Count(w => w == "evict budgeted 429") > 1 && _group.Calls.Contains("heartbeat"));
        (_api.IsCordoned, _group.InProgress).ShouldBe((true, true));
        _api.Pods.ShouldBe(["daemon", "mirror", "budgeted"], ignoreOrder: true);
        _said.ShouldContain(
            s => s.Contains("kube-system/budgeted is not evicted: 429", StringComparison.Ordinal) && s.Contains("disruption budget", StringComparison.Ordinal));

        _api.Budgeted = false;
        await Until(watch, () => !_group.InProgress);
        _api.Pods.ShouldBe(["daemon", "mirror"], ignoreOrder: true);
        _group.Calls.Last().ShouldBe("CONTINUE");

        // Told once, and nothing more is done.
        var (calls, writes) = (_group.Calls.Count, _api.Writes.Count);
        for (var i = 0; i < 10; i++)
        {
            await watch.Step(default);
        }

        (_group.Calls.Count, _api.Writes.Count).ShouldBe((calls, writes));
    }

    [Fact]
    public async Task A_server_before_1_22_is_asked_in_its_own_words()
    {
        _api.Pods = ["app"];
        _api.IsOld = true;
        Target("Terminated");

        await Until(Make(), () => !_group.InProgress);

        _api.Writes.ShouldContain("evict app 201");
    }

    [Fact]
    public async Task An_API_server_that_is_away_is_waited_for_while_the_group_is_kept_waiting()
    {
        _api.Pods = ["app"];
        _api.IsAway = true;
        Target("Terminated");
        var watch = Make();
        await Until(watch, () => _group.Calls.Contains("heartbeat") && _said.Any(s => s.StartsWith("the API server does not do it", StringComparison.Ordinal)));
        _group.InProgress.ShouldBeTrue();

        _api.IsAway = false;

        await Until(watch, () => !_group.InProgress);
        _api.Pods.ShouldBeEmpty();
    }

    [Fact]
    public async Task The_time_being_over_is_said_and_the_group_is_told_all_the_same()
    {
        _api.Pods = ["budgeted"];
        _api.Budgeted = true;
        _state.Paths["spot/instance-action"] = """{"action": "terminate", "time": "2020-01-01T00:00:00Z"}""";
        Target("Terminated");

        await Until(Make(), () => !_group.InProgress);

        _api.Pods.ShouldBe(["budgeted"]);
        _said.ShouldContain(s => s.Contains("is not empty, and the time for it is over", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_spot_interruption_alone_drains_and_tells_nobody()
    {
        _api.Pods = ["app"];
        _state.Paths["spot/instance-action"] = $$"""{"action": "terminate", "time": "{{DateTimeOffset.UtcNow.AddMinutes(2):yyyy-MM-dd'T'HH:mm:ss'Z'}}"}""";
        var watch = Make();

        await Until(watch, () => _said.Any(s => s.EndsWith("is drained", StringComparison.Ordinal)));

        (_api.IsCordoned, _group.Calls.Count).ShouldBe((true, 0));
        // The group follows, and then waits.
        Target("Terminated");
        await Until(watch, () => !_group.InProgress);
    }

    [Fact]
    public async Task A_notice_that_is_taken_back_leaves_no_cordon_and_no_answer()
    {
        _api.Pods = ["budgeted"];
        _api.Budgeted = true;
        Target("Terminated");
        var watch = Make();
        await Until(watch, () => _api.IsCordoned);

        Target("InService");

        await Until(watch, () => !_api.IsCordoned);
        (_group.InProgress, _api.Annotations.Count).ShouldBe((true, 0));
        File.Exists(Record).ShouldBeFalse();
    }

    [Fact]
    public async Task A_cordon_of_somebody_else_stays()
    {
        _api.IsCordoned = true;
        var watch = Make();
        await Until(watch, () => _api.Reads.Contains("node"));
        await watch.Step(default);

        _api.IsCordoned.ShouldBeTrue();
    }

    [Fact]
    public async Task A_cordon_that_somebody_made_before_the_drain_stays_theirs()
    {
        (_api.IsCordoned, _api.Pods) = (true, ["app"]);
        Target("Terminated");
        var watch = Make();
        await Until(watch, () => !_group.InProgress);
        (_api.Pods.Count, _api.Annotations.Count).ShouldBe((0, 0));

        Target("InService");
        var reads = _api.Reads.Count;
        await Until(watch, () => _api.Reads.Count > reads);
        await watch.Step(default);

        (_api.IsCordoned, _api.Writes.Any(w => w.StartsWith("cordon", StringComparison.Ordinal))).ShouldBe((true, false));
    }

    [Fact]
    public async Task A_node_that_changes_between_the_look_and_the_cordon_is_looked_at_again()
    {
        _api.Pods = ["app"];
        // Somebody cordons it in between.
        _api.AfterRead = () =>
        {
            _api.AfterRead = () => { };
            (_api.IsCordoned, _api.Version) = (true, _api.Version + 1);
        };
        Target("Terminated");

        await Until(Make(), () => !_group.InProgress);

        (_api.IsCordoned, _api.Annotations.Count, _api.Pods.Count).ShouldBe((true, 0, 0));
    }

    [Fact]
    public async Task Back_into_the_warm_pool_the_machine_is_made_anew_once_it_is_drained_and_the_hook_answered()
    {
        _api.Pods = ["budgeted"];
        _api.Budgeted = true;
        Target("Warmed:Running");
        var watch = Make();
        await Until(watch, () => _api.Writes.Contains("evict budgeted 429"));
        _joins.ShouldBe(0);

        _api.Budgeted = false;
        await Until(watch, () => !_group.InProgress && _joins > 0);
        for (var i = 0; i < 5; i++)
        {
            await watch.Step(default);
        }

        (_joins, _group.Calls.Last()).ShouldBe((1, "CONTINUE"));
        // Woken before that came to anything: this watch is still that of a node in service, and the launch hook waits.
        Target("InService");
        await Until(watch, () => !_api.IsCordoned);
        await watch.Step(default);
        _joins.ShouldBe(2);

        // And the way round once more.
        _group.InProgress = true;
        Target("Warmed:Running");
        await Until(watch, () => !_group.InProgress && _joins > 2);
        await watch.Step(default);
        _joins.ShouldBe(3);
    }

    [Fact]
    public async Task Ended_for_good_nothing_is_made_anew()
    {
        Target("Terminated");
        var watch = Make();
        await Until(watch, () => !_group.InProgress);
        await watch.Step(default);

        _joins.ShouldBe(0);
    }

    [Fact]
    public async Task Advice_that_nobody_follows_is_passed_over_and_another_one_is_not()
    {
        _api.Pods = ["app"];
        _state.Paths["events/recommendations/rebalance"] = """{"noticeTime": "2026-11-21T08:22:00Z"}""";
        var watch = Make(rebalance: true);
        await Until(watch, () => _said.Any(s => s.EndsWith("is drained", StringComparison.Ordinal)));
        _api.IsCordoned.ShouldBeTrue();
        _time.Offset = TimeSpan.FromMinutes(60);
        await watch.Step(default);
        _api.IsCordoned.ShouldBeTrue();

        _time.Offset = TimeSpan.FromMinutes(71);
        await Until(watch, () => !_api.IsCordoned);
        _said.ShouldContain(s => s.StartsWith("WARNING", StringComparison.Ordinal) && s.Contains("Capacity Rebalancing", StringComparison.Ordinal));

        // Nor does one that is started anew drain it once more.
        var second = Make(rebalance: true);
        for (var i = 0; i < 5; i++)
        {
            await second.Step(default);
        }

        _api.IsCordoned.ShouldBeFalse();
        _state.Paths["events/recommendations/rebalance"] = """{"noticeTime": "2026-11-22T08:22:00Z"}""";
        await Until(second, () => _api.IsCordoned);
    }

    [Fact]
    public async Task Started_anew_after_a_false_alarm_that_it_did_not_see_it_takes_its_cordon_back()
    {
        (_api.IsCordoned, _api.Annotations[Drain.Annotation]) = (true, "its autoscaling group ends it (Terminated)");

        await Until(Make(), () => !_api.IsCordoned);
    }

    [Fact]
    public async Task Started_anew_in_the_middle_it_goes_on_and_does_not_answer_twice()
    {
        _api.Pods = ["app"];
        _api.IsAway = true;
        Target("Terminated");
        await Until(Make(), () => _group.Calls.Contains("heartbeat"));
        var since = LifecycleRecord.Read(Record).ShouldNotBeNull().Since;
        _api.IsAway = false;

        var second = Make();
        await Until(second, () => !_group.InProgress);
        LifecycleRecord.Read(Record).ShouldNotBeNull().ShouldSatisfyAllConditions(r => r.Since.ShouldBe(since), r => r.Answer.ShouldBe("CONTINUE"));

        var third = Make();
        var calls = _group.Calls.Count;
        await third.Step(default);
        await third.Step(default);
        _group.Calls.Count.ShouldBe(calls);
    }

    [Fact]
    public async Task Metadata_that_is_away_changes_nothing()
    {
        _state.Faults.Add(new Fault { Kind = FaultKind.Status, Status = 403 });
        var watch = Make();
        await watch.Step(default);

        (_api.Writes.Count, _group.Calls.Count).ShouldBe((0, 0));
        _said.ShouldContain(s => s.Contains("HttpEndpoint=enabled", StringComparison.Ordinal));
    }

    [Fact]
    public async Task In_a_warm_pool_it_waits_for_going_into_service_and_has_the_node_made_once()
    {
        Target("Warmed:Running");
        var watch = Make(warm: true);
        await watch.Step(default);
        _joins.ShouldBe(0);

        _joinFails = new MachineException("restart nodeagent.service", "no bus");
        Target("InService");
        await watch.Step(default);
        _joinFails = null;
        await watch.Step(default);
        await watch.Step(default);

        (_joins, _api.Writes.Count, _api.Reads.Count).ShouldBe((2, 0, 0));
    }

    [Fact]
    public async Task A_warm_instance_that_ends_has_nothing_to_drain()
    {
        Target("Warmed:Terminated");

        await Until(Make(warm: true), () => !_group.InProgress);

        _api.Writes.ShouldBeEmpty();
    }

    private string Record => $"{_directory.Path}/leaving.json";

    private void Target(string state) => _state.Paths["autoscaling/target-lifecycle-state"] = state;

    private Watch Make(bool warm = false, bool rebalance = false) => new(new(
        warm ? null : "worker",
        new("hook", "workers", "i-0123456789abcdef0", "eu-central-1", "Terminated", Duration.Parse("1m")),
        Duration.Parse("10m"),
        rebalance),
        _metadata!,
        () => new ApiClient(_api.Endpoint, "", _client, TimeSpan.FromSeconds(10)),
        () => _group.Hook,
        () =>
        {
            _joins++;
            if (_joinFails is { } failure)
            {
                throw failure;
            }
        },
        Record,
        _time,
        _said.Enqueue);

    /// <summary>Looks, as often as it takes; each is some requests to metadata.</summary>
    private static async Task Until(Watch watch, Func<bool> isSo)
    {
        for (var i = 0; i < 20000; i++)
        {
            await watch.Step(default);
            if (isSo())
            {
                return;
            }
        }

        throw new ShouldAssertException("it never came to that");
    }

    /// <summary>Short waits are none, and what o'clock it is can be said.</summary>
    private sealed class Jumping : TimeProvider
    {
        private readonly Hurried _hurried = new();

        public TimeSpan Offset { get; set; }

        public override long GetTimestamp() => base.GetTimestamp() + (long)(Offset.TotalSeconds * TimestampFrequency);

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            _hurried.CreateTimer(callback, state, dueTime, period);
    }
}

/// <summary>One node and its pods, by name: daemon is a DaemonSet's, mirror a static pod's, budgeted has a budget.</summary>
internal sealed class FakeApiServer : FakeServer
{
    private readonly Lock _gate = new();
    private List<string> _pods = [];

    public bool IsCordoned { get; set; }

    public ConcurrentDictionary<string, string> Annotations { get; } = new();

    /// <summary>The Node's resourceVersion.</summary>
    public int Version { get; set; } = 1;

    /// <summary>When the Node was read.</summary>
    public Action AfterRead { get; set; } = () => { };

    public IReadOnlyList<string> Pods
    {
        get
        {
            lock (_gate)
            {
                return [.. _pods];
            }
        }

        set => _pods = [.. value];
    }

    public bool Budgeted { get; set; }

    public bool IsAway { get; set; }

    /// <summary>Knows no policy/v1 Eviction.</summary>
    public bool IsOld { get; set; }

    public ConcurrentQueue<string> Writes { get; } = new();

    public ConcurrentQueue<string> Reads { get; } = new();

    protected override async Task Answer(HttpContext context)
    {
        if (IsAway)
        {
            context.Abort();
            return;
        }

        var body = await Body(context);
        var (status, answer) = (context.Request.Method, context.Request.Path.Value) switch
        {
            ("PATCH", "/api/v1/nodes/worker") => Patch(body),
            ("GET", "/api/v1/nodes/worker") => Node(),
            ("GET", "/api/v1/pods") => List(context.Request.Query["fieldSelector"].ToString()),
            ("POST", var path) when path!.EndsWith("/eviction", StringComparison.Ordinal) => Evict(path.Split('/')[^2], body),
            _ => (404, "{}"),
        };
        context.Response.StatusCode = status;
        await context.Response.WriteAsync(answer);
    }

    private (int Status, string Body) Node()
    {
        Reads.Enqueue("node");
        var node = JsonSerializer.Serialize(new
        {
            metadata = new { name = "worker", resourceVersion = $"{Version}", annotations = Annotations.ToDictionary() },
            spec = new { unschedulable = IsCordoned },
        });
        AfterRead();
        return (200, node);
    }

    private (int Status, string Body) Patch(string body)
    {
        using var patch = JsonDocument.Parse(body);
        if (patch.RootElement.GetProperty("metadata").GetProperty("resourceVersion").GetString() != $"{Version}")
        {
            return (409, """{"message": "the object has been modified"}""");
        }

        Version++;
        IsCordoned = patch.RootElement.GetProperty("spec").GetProperty("unschedulable").ValueKind == JsonValueKind.True;
        foreach (var annotation in patch.RootElement.GetProperty("metadata").GetProperty("annotations").EnumerateObject())
        {
            if (annotation.Value.GetString() is { } value)
            {
                Annotations[annotation.Name] = value;
            }
            else
            {
                Annotations.TryRemove(annotation.Name, out _);
            }
        }

        Writes.Enqueue($"cordon {IsCordoned}");
        return (200, "{}");
    }

    private (int Status, string Body) List(string selector)
    {
        selector.ShouldBe("spec.nodeName=worker");
        var items = Pods.Select(name => new
        {
            metadata = new
            {
                @namespace = "kube-system",
                name,
                uid = "uid-" + name,
                annotations = name == "mirror" ? new Dictionary<string, string> { ["kubernetes.io/config.mirror"] = "1" } : [],
                ownerReferences = name == "daemon" ? new[] { new { kind = "DaemonSet", name, controller = true } } : [],
            },
        });
        return (200, JsonSerializer.Serialize(new { items }));
    }

    private (int Status, string Body) Evict(string name, string body)
    {
        using var eviction = JsonDocument.Parse(body);
        var version = eviction.RootElement.GetProperty("apiVersion").GetString();
        if (IsOld && version == "policy/v1")
        {
            return (400, """{"message": "no kind \"Eviction\" is registered for version \"policy/v1\""}""");
        }

        eviction.RootElement.GetProperty("deleteOptions").GetProperty("preconditions").GetProperty("uid").GetString().ShouldBe("uid-" + name);
        if (name == "budgeted" && Budgeted)
        {
            Writes.Enqueue($"evict {name} 429");
            return (429, """{"message": "Cannot evict pod as it would violate the pod's disruption budget."}""");
        }

        lock (_gate)
        {
            _pods.Remove(name);
        }

        Writes.Enqueue($"evict {name} 201");
        return (201, "{}");
    }
}
