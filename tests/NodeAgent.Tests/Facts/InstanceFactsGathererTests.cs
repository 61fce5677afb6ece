using NodeAgent.Aws;
using NodeAgent.Facts;
using NodeAgent.Imds;
using NodeAgent.Tests.Aws;

namespace NodeAgent.Tests.Facts;

public sealed class InstanceFactsGathererTests : IAsyncLifetime
{
    private const string Identity = """
        { "accountId": "123456789012", "architecture": "x86_64", "availabilityZone": "eu-central-1a", "billingProducts": null,
          "instanceId": "i-0a5d1a26e00000001", "instanceType": "m5d.large", "privateIp": "10.0.5.21", "region": "eu-central-1", "version": "2017-09-30" }
        """;

    private readonly ImdsServer _server;
    private ImdsState _state = new()
    {
        Paths =
        {
            ["dynamic/instance-identity/document"] = Identity,
            ["local-hostname"] = "ip-10-0-5-21.eu-central-1.compute.internal ip-10-0-5-21.example.com",
            ["autoscaling/target-lifecycle-state"] = "Warmed:Stopped",
            ["block-device-mapping/ami"] = "sda1",
            ["block-device-mapping/ephemeral0"] = "sdb",
            ["tags/instance/nodeagent:role"] = "worker",
            ["network/interfaces/macs/06:00:00:00:00:02/device-number"] = "1",
            ["network/interfaces/macs/06:00:00:00:00:02/local-ipv4s"] = "10.0.5.22\n10.0.5.23",
            ["network/interfaces/macs/06:00:00:00:00:03/device-number"] = "0",
            ["network/interfaces/macs/06:00:00:00:00:03/subnet-id"] = "subnet-0a1b2c3d4e5f60718",
            ["network/interfaces/macs/06:00:00:00:00:03/subnet-ipv4-cidr-block"] = "10.0.0.0/20",
            ["network/interfaces/macs/06:00:00:00:00:03/vpc-id"] = "vpc-0d4e5f60718293a4b",
            ["network/interfaces/macs/06:00:00:00:00:03/local-ipv4s"] = "10.0.5.21",
            ["network/interfaces/macs/06:00:00:00:00:03/ipv6s"] = "2a05:d014:abc::1",
        },
        UserData = "apiVersion: nodeagent/v1\n"u8.ToArray(),
    };

    public InstanceFactsGathererTests() => _server = new ImdsServer(() => _state);

    public Task InitializeAsync() => _server.Start();

    public async Task DisposeAsync() => await _server.DisposeAsync();

    [Fact]
    public async Task Everything_comes_from_metadata_where_it_has_tags()
    {
        using var metadata = new InstanceMetadata(_server.Endpoint, TimeSpan.FromMinutes(2));
        var gatherer = InstanceFactsGatherer.Start(metadata, (_, _, _) => throw new InvalidOperationException("EC2 was asked"), default);

        var facts = await gatherer.Instance;

        (facts.Id, facts.Type, facts.AvailabilityZone, facts.Region, facts.AccountId, facts.PrivateAddress)
            .ShouldBe(("i-0a5d1a26e00000001", "m5d.large", "eu-central-1a", "eu-central-1", "123456789012", "10.0.5.21"));
        facts.PrivateDnsName.ShouldBe("ip-10-0-5-21.eu-central-1.compute.internal");
        facts.LifecycleState.ShouldBe("Warmed:Stopped");
        facts.Tags.ShouldBe(new Dictionary<string, string> { ["nodeagent:role"] = "worker" });
        facts.BlockDeviceMapping.ShouldBe(new Dictionary<string, string> { ["ami"] = "sda1", ["ephemeral0"] = "sdb" });
        facts.Interfaces.Select(i => i.Mac).ShouldBe(["06:00:00:00:00:03", "06:00:00:00:00:02"]);
        facts.Interfaces[0].Addresses.ShouldBe(["10.0.5.21", "2a05:d014:abc::1"]);
        facts.Interfaces[0].SubnetRange.ShouldBe("10.0.0.0/20");
        facts.Interfaces[1].Addresses.ShouldBe(["10.0.5.22", "10.0.5.23"]);
        (await gatherer.UserData).ShouldBe("apiVersion: nodeagent/v1\n"u8.ToArray());
    }

    [Fact]
    public async Task Tags_that_metadata_may_not_show_come_from_EC2()
    {
        _state.Paths.Remove("tags/instance/nodeagent:role");
        using var metadata = new InstanceMetadata(_server.Endpoint, TimeSpan.FromMinutes(2));

        var gatherer = InstanceFactsGatherer.Start(
            metadata,
            (region, id, _) => Task.FromResult<IReadOnlyDictionary<string, string>>(new Dictionary<string, string> { ["asked for"] = $"{id} in {region}" }),
            default);

        (await gatherer.Instance).Tags.ShouldBe(new Dictionary<string, string> { ["asked for"] = "i-0a5d1a26e00000001 in eu-central-1" });
    }

    [Fact]
    public async Task What_an_instance_need_not_have_is_null_or_empty()
    {
        foreach (var path in new[] { "local-hostname", "autoscaling/target-lifecycle-state", "block-device-mapping/ami", "block-device-mapping/ephemeral0" })
        {
            _state.Paths.Remove(path).ShouldBeTrue();
        }

        _state = _state with { UserData = null };
        using var metadata = new InstanceMetadata(_server.Endpoint, TimeSpan.FromMinutes(2));
        var gatherer = InstanceFactsGatherer.Start(metadata, (_, _, _) => throw new InvalidOperationException("EC2 was asked"), default);

        var facts = await gatherer.Instance;

        facts.PrivateDnsName.ShouldBeNull();
        facts.LifecycleState.ShouldBeNull();
        facts.BlockDeviceMapping.ShouldBeEmpty();
        (await gatherer.UserData).ShouldBeNull();
    }

    [Fact]
    public async Task User_data_does_not_wait_for_what_hangs()
    {
        _state = _state with { Faults = [new Fault { Kind = FaultKind.Hang, Path = "meta-data/" }, new Fault { Kind = FaultKind.Hang, Path = "dynamic/" }] };
        using var metadata = new InstanceMetadata(_server.Endpoint, TimeSpan.FromMinutes(2));
        using var stop = new CancellationTokenSource();
        var gatherer = InstanceFactsGatherer.Start(metadata, (_, _, _) => throw new InvalidOperationException("EC2 was asked"), stop.Token);

        (await gatherer.UserData).ShouldNotBeNull();

        await stop.CancelAsync();
        await Should.ThrowAsync<OperationCanceledException>(() => gatherer.Instance);
    }

    [Theory]
    [InlineData("{ \"instanceId\": \"i-0a5d1a26e00000001\" }")]
    [InlineData("null")]
    [InlineData("not JSON")]
    public async Task An_identity_document_that_makes_no_sense_is_malformed(string document)
    {
        _state.Paths["dynamic/instance-identity/document"] = document;
        using var metadata = new InstanceMetadata(_server.Endpoint, TimeSpan.FromMinutes(2));
        var gatherer = InstanceFactsGatherer.Start(metadata, (_, _, _) => throw new InvalidOperationException("EC2 was asked"), default);

        var failure = (await Should.ThrowAsync<AwsException>(() => gatherer.Instance)).Failure;

        failure.Kind.ShouldBe(AwsFailureKind.Malformed);
        failure.Subject.ShouldEndWith("/latest/dynamic/instance-identity/document");
    }

    [Fact]
    public async Task Metadata_that_is_not_there_fails_everything_with_one_cause()
    {
        using var metadata = new InstanceMetadata(InstanceMetadataTests.FreePort(), TimeSpan.FromSeconds(1));
        var gatherer = InstanceFactsGatherer.Start(metadata, (_, _, _) => throw new InvalidOperationException("EC2 was asked"), default);

        foreach (var task in new Task[] { gatherer.UserData, gatherer.Tags, gatherer.Instance })
        {
            (await Should.ThrowAsync<AwsException>(() => task)).Failure.Subject.ShouldEndWith("/latest/api/token");
        }
    }
}
