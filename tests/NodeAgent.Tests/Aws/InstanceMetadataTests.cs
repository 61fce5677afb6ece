using System.Net;
using System.Net.Sockets;
using NodeAgent.Aws;
using NodeAgent.Imds;

namespace NodeAgent.Tests.Aws;

public sealed class InstanceMetadataTests : IAsyncLifetime
{
    private static readonly TimeSpan Patient = TimeSpan.FromMinutes(2);

    private readonly ImdsServer _server;
    private ImdsState _state = new()
    {
        Paths =
        {
            ["instance-id"] = "i-0a5d1a26e00000001",
            ["tags/instance/Name"] = "worker",
            ["tags/instance/nodeagent:role"] = "worker",
            ["tags/instance/a/b c"] = "odd",
        },
    };

    public InstanceMetadataTests() => _server = new ImdsServer(() => _state);

    public Task InitializeAsync() => _server.Start();

    public async Task DisposeAsync() => await _server.DisposeAsync();

    [Fact]
    public async Task A_value_is_read_with_one_token_for_all()
    {
        using var metadata = new InstanceMetadata(_server.Endpoint, Patient);

        var values = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => metadata.Text("instance-id", default)));

        values.ShouldAllBe(v => v == "i-0a5d1a26e00000001");
        _server.Requests.Count(r => r == "PUT /latest/api/token 200").ShouldBe(1);
        _server.Requests.ShouldNotContain(r => r.EndsWith(" 401"));
    }

    [Fact]
    public async Task A_token_that_became_void_is_replaced()
    {
        using var metadata = new InstanceMetadata(_server.Endpoint, Patient);
        await metadata.Text("instance-id", default);

        _server.ForgetTokens();

        (await metadata.Text("instance-id", default)).ShouldBe("i-0a5d1a26e00000001");
        _server.Requests.Count(r => r == "PUT /latest/api/token 200").ShouldBe(2);
    }

    [Fact]
    public async Task Tags_are_read_whatever_their_keys_hold()
    {
        using var metadata = new InstanceMetadata(_server.Endpoint, Patient);

        (await metadata.Tags(default)).ShouldBe(
            new Dictionary<string, string> { ["Name"] = "worker", ["a/b c"] = "odd", ["nodeagent:role"] = "worker" }, ignoreOrder: true);
    }

    [Fact]
    public async Task Tags_that_metadata_may_not_show_are_none_at_all_and_not_an_empty_set()
    {
        _state = new ImdsState { Paths = { ["instance-id"] = "i-0a5d1a26e00000001" } };
        using var metadata = new InstanceMetadata(_server.Endpoint, Patient);

        (await metadata.Tags(default)).ShouldBeNull();
    }

    [Fact]
    public async Task User_data_is_bytes_and_may_be_absent()
    {
        using var metadata = new InstanceMetadata(_server.Endpoint, Patient);
        (await metadata.UserData(default)).ShouldBeNull();

        _state = new ImdsState { UserData = [0x1f, 0x8b, 0x00, 0xff, 0x0a] };
        (await metadata.UserData(default)).ShouldBe([0x1f, 0x8b, 0x00, 0xff, 0x0a]);
    }

    [Theory]
    [InlineData(FaultKind.Refuse, 0)]
    [InlineData(FaultKind.Status, 500)]
    [InlineData(FaultKind.Status, 503)]
    [InlineData(FaultKind.Status, 429)]
    public async Task What_passes_after_a_while_is_waited_for(FaultKind kind, int status)
    {
        _state = _state with { Faults = [new Fault { Kind = kind, Status = status, Requests = 3 }] };
        using var metadata = new InstanceMetadata(_server.Endpoint, Patient);

        (await metadata.Text("instance-id", default)).ShouldBe("i-0a5d1a26e00000001");
        _server.Requests.Count.ShouldBe(5);
    }

    [Fact]
    public async Task Nobody_there_is_not_reachable_and_says_how_long_it_waited_for_what()
    {
        using var metadata = new InstanceMetadata(FreePort(), TimeSpan.FromSeconds(1));

        var failure = (await Should.ThrowAsync<AwsException>(() => metadata.Text("instance-id", default))).Failure;

        failure.Kind.ShouldBe(AwsFailureKind.NotReachable);
        failure.Cause.ShouldBe("connection refused");
        failure.Subject.ShouldEndWith("/latest/api/token");
        failure.Tries.ShouldBeGreaterThan(1);
        failure.ToString().ShouldContain("given up after");
        failure.ToString().ShouldContain("HttpEndpoint");
    }

    [Fact]
    public async Task Many_that_wait_for_one_token_knock_as_often_as_one()
    {
        _state = _state with { Faults = [new Fault { Kind = FaultKind.Status, Status = 503, Requests = 3 }] };
        using var metadata = new InstanceMetadata(_server.Endpoint, Patient);

        await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => metadata.Text("instance-id", default)));

        _server.Requests.Count(r => r.StartsWith("PUT")).ShouldBe(4);
    }

    [Fact]
    public async Task A_token_that_never_comes_points_at_the_hop_limit()
    {
        _state = _state with { Faults = [new Fault { Kind = FaultKind.Hang }] };
        using var metadata = new InstanceMetadata(_server.Endpoint, TimeSpan.FromSeconds(1));

        var failure = (await Should.ThrowAsync<AwsException>(() => metadata.Text("instance-id", default))).Failure;

        failure.Kind.ShouldBe(AwsFailureKind.NotReachable);
        failure.Remedy.ShouldContain("HttpPutResponseHopLimit");
    }

    [Fact]
    public async Task Trouble_of_its_own_that_does_not_end_is_unavailable_at_the_deadline()
    {
        _state = _state with { Faults = [new Fault { Kind = FaultKind.Status, Status = 503, Path = "meta-data/instance-id" }] };
        using var metadata = new InstanceMetadata(_server.Endpoint, TimeSpan.FromSeconds(1));

        var failure = (await Should.ThrowAsync<AwsException>(() => metadata.Text("instance-id", default))).Failure;

        failure.Kind.ShouldBe(AwsFailureKind.Unavailable);
        failure.Subject.ShouldEndWith("/latest/meta-data/instance-id");
        failure.Cause.ShouldBe("503 ServiceUnavailable");
    }

    [Theory]
    [InlineData("api/token", 403, "HttpEndpoint=enabled")]
    [InlineData("meta-data/instance-id", 403, "HttpEndpoint=enabled")]
    [InlineData("meta-data/instance-id", 401, "X-aws-ec2-metadata-token")]
    public async Task What_is_not_allowed_is_not_tried_again(string path, int status, string remedy)
    {
        _state = _state with { Faults = [new Fault { Kind = FaultKind.Status, Status = status, Path = path }] };
        using var metadata = new InstanceMetadata(_server.Endpoint, Patient);

        var failure = (await Should.ThrowAsync<AwsException>(() => metadata.Text("instance-id", default))).Failure;

        failure.Kind.ShouldBe(AwsFailureKind.NotAllowed);
        failure.Subject.ShouldEndWith(path);
        failure.Remedy.ShouldContain(remedy);
        _server.Requests.Count(r => r.EndsWith($" {status}")).ShouldBeLessThanOrEqualTo(2);
    }

    [Theory]
    [InlineData("api/token")]
    [InlineData("meta-data/instance-id")]
    public async Task A_page_for_people_is_malformed(string path)
    {
        _state = _state with { Faults = [new Fault { Kind = FaultKind.Garbage, Path = path }] };
        using var metadata = new InstanceMetadata(_server.Endpoint, Patient);

        (await Should.ThrowAsync<AwsException>(() => metadata.Text("instance-id", default))).Kind.ShouldBe(AwsFailureKind.Malformed);
    }

    [Fact]
    public async Task What_every_instance_has_and_this_one_not_is_a_failure()
    {
        using var metadata = new InstanceMetadata(_server.Endpoint, Patient);

        (await Should.ThrowAsync<AwsException>(() => metadata.Text("instance-type", default))).Kind.ShouldBe(AwsFailureKind.NotThere);
        (await metadata.TextOrNone("instance-type", default)).ShouldBeNull();
    }

    [Fact]
    public async Task Who_stops_the_run_gets_no_failure_of_the_service()
    {
        _state = _state with { Faults = [new Fault { Kind = FaultKind.Hang }] };
        using var metadata = new InstanceMetadata(_server.Endpoint, Patient);
        using var stop = new CancellationTokenSource();

        var waiting = metadata.Text("instance-id", stop.Token);
        await stop.CancelAsync();

        await Should.ThrowAsync<OperationCanceledException>(() => waiting);
    }

    internal static Uri FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return new Uri($"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}");
    }
}
