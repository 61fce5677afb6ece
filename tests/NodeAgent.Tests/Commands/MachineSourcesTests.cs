using System.Security.Cryptography;
using System.Text;
using NodeAgent.Aws;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Imds;
using NodeAgent.Machine;
using NodeAgent.Telemetry;
using NodeAgent.Tests.Aws;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Commands;

/// <summary>Metadata, S3 and EC2 as they answer or not, and what a node makes of it.</summary>
public sealed class MachineSourcesTests : IAsyncLifetime
{
    private const string Id = "i-0a5d1a26e00000001";
    private const string Base = "shared/acme/prod/eu-central-1/blue";

    private static readonly DateTimeOffset Now = new(2026, 11, 21, 10, 0, 0, TimeSpan.Zero);

    private readonly FakeS3 _s3 = new();
    private readonly ImdsServer _imds;
    private readonly ImdsState _state = new()
    {
        Paths =
        {
            ["dynamic/instance-identity/document"] = Identity(Id),
            ["tags/instance/nodeagent:cluster"] = "blue",
            ["iam/security-credentials/worker"] =
                """{"Code":"Success","AccessKeyId":"ASIAROLE","SecretAccessKey":"made-up","Token":"of the role","Expiration":"2099-01-01T00:00:00Z"}""",
        },
    };

    private string? _kept;
    private bool _forgotten;
    private IReadOnlyList<string> _standIns = [];

    public MachineSourcesTests() => _imds = new ImdsServer(() => _state);

    public async Task InitializeAsync()
    {
        await _imds.Start();
        await _s3.Start();
        Say($"  endpoint: {_s3.Endpoint}\n");
        _s3.Objects["shared/common.yaml"] = Head + "node: {maxPods: 20, labels: {from: common}}\n";
        _s3.Objects[$"{Base}/worker.yaml"] = Head + "node: {labels: {from: role}}\n";
    }

    public async Task DisposeAsync()
    {
        await _imds.DisposeAsync();
        await _s3.DisposeAsync();
    }

    [Theory]
    [InlineData("10.0.0.1:3128")]
    [InlineData("user:hunter2@proxy.example.com:3128")]
    [InlineData("http://[fe80::1%25eth0]:3128")]
    public async Task A_proxy_that_is_none_is_bad_configuration_before_anybody_is_asked_by_it(string proxy)
    {
        Say($"  endpoint: {_s3.Endpoint}\n");
        _state.UserData = [.. _state.UserData!, .. Encoding.UTF8.GetBytes($"proxy: {{https: '{proxy}'}}\n")];

        var error = (await Should.ThrowAsync<ConfigurationException>(() => Run())).Errors.ShouldHaveSingleItem();

        error.Path.ShouldBe("proxy.https");
        error.Message.ShouldNotContain("hunter2");
        _s3.Requests.ShouldBeEmpty();
    }

    [Fact]
    public async Task Six_layers_are_asked_for_with_the_role_and_those_that_are_there_merge()
    {
        var loaded = await Run();

        (loaded.Config.Node.MaxPods.Number, loaded.Config.Node.Labels["from"]).ShouldBe((20, "role"));
        _s3.Requests.Order().ShouldBe(
        [
            "shared/acme/customer.yaml 404", "shared/acme/prod/environment.yaml 404", $"{Base}/cluster.yaml 404", $"{Base}/worker.yaml 200",
            "shared/acme/prod/eu-central-1/region.yaml 404", "shared/common.yaml 200",
        ], ignoreOrder: true);
        _s3.Headers.ShouldAllBe(h => h.Authorization.ToString().Contains("Credential=ASIAROLE/") && h["x-amz-security-token"] == "of the role");
        loaded.Notes.ShouldContain("s3://shared/acme/customer.yaml: there is none");
    }

    [Fact]
    public async Task All_layers_are_asked_for_side_by_side_so_that_they_cost_one_round_trip()
    {
        _s3.Together = 6;

        (await Run()).Config.Node.MaxPods.Number.ShouldBe(20);
        _s3.Requests.Count.ShouldBe(6);
    }

    [Fact]
    public async Task What_did_not_change_is_not_sent_again_and_what_did_is()
    {
        await Run();
        _s3.Requests.Clear();
        _s3.Objects["shared/common.yaml"] = Head + "node: {maxPods: 30}\n";

        (await Run()).Config.Node.MaxPods.Number.ShouldBe(30);

        _s3.Requests.ShouldContain("shared/common.yaml 200");
        _s3.Requests.ShouldContain($"{Base}/worker.yaml 304");
    }

    [Fact]
    public async Task Without_S3_a_first_boot_fails_and_a_later_one_comes_back_with_what_it_kept_and_says_so()
    {
        Say($"  endpoint: {InstanceMetadataTests.FreePort()}\n");
        (await Should.ThrowAsync<AwsException>(() => Run(patience: 1))).Kind.ShouldBe(AwsFailureKind.NotReachable);

        Say($"  endpoint: {_s3.Endpoint}\n");
        await Run();
        Say($"  endpoint: {InstanceMetadataTests.FreePort()}\n");
        var loaded = await Run(patience: 1);

        loaded.Config.Node.MaxPods.Number.ShouldBe(20);
        var said = _standIns.ShouldHaveSingleItem();
        said.ShouldStartWith("S3 is away, so shared layers are those of the last good run, of 2026-11-21T10:00:00Z. s3:GetObject of s3://shared/");
        said.ShouldContain("not reachable");
        loaded.Notes.ShouldContain(said);
    }

    [Fact]
    public async Task What_S3_does_not_allow_is_an_answer_whatever_was_kept()
    {
        await Run();
        _s3.Answer("shared/common.yaml", 403, FakeS3.Error("AccessDenied"));
        // The others hang on: one answer is enough.
        _s3.Answer($"{Base}/worker.yaml", 503, FakeS3.Error("SlowDown"));

        (await Should.ThrowAsync<AwsException>(() => Run())).Kind.ShouldBe(AwsFailureKind.NotAllowed);
    }

    [Fact]
    public async Task What_is_wrong_in_a_layer_is_wrong_whatever_was_kept()
    {
        await Run();
        _s3.Objects["shared/common.yaml"] = Head + "nodes: 1\n";

        (await Should.ThrowAsync<ConfigurationException>(() => Run())).Errors.Single().ToString()
            .ShouldStartWith("s3://shared/common.yaml:3:1: unknown field 'nodes'");
    }

    [Fact]
    public async Task A_pinned_layer_that_was_altered_is_refused()
    {
        var pin = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(_s3.Objects["shared/common.yaml"])));
        Say($"  endpoint: {_s3.Endpoint}\n  pins: {{common: {pin}}}\n");
        (await Run()).Config.Node.MaxPods.Number.ShouldBe(20);
        _s3.Objects["shared/common.yaml"] += "# altered\n";

        var refused = await Should.ThrowAsync<NotPossibleException>(() => Run());

        refused.Message.ShouldStartWith($"s3://shared/common.yaml is pinned to SHA-256 {pin} (layers.pins.common), and is ");
        ExitCode.Of(refused).ShouldBe(ExitCode.Refused);
    }

    [Fact]
    public async Task What_is_kept_and_not_what_is_pinned_now_does_not_stand_in()
    {
        await Run();
        Say($"  endpoint: {InstanceMetadataTests.FreePort()}\n  pins: {{common: {new string('0', 64)}}}\n");

        (await Should.ThrowAsync<AwsException>(() => Run(patience: 1))).Kind.ShouldBe(AwsFailureKind.NotReachable);
    }

    [Fact]
    public async Task What_another_cluster_was_made_from_does_not_stand_in()
    {
        await Run();
        _state.Paths["tags/instance/nodeagent:cluster"] = "green";
        Say($"  endpoint: {InstanceMetadataTests.FreePort()}\n");

        await Should.ThrowAsync<AwsException>(() => Run(patience: 1));
    }

    [Fact]
    public async Task What_another_instance_kept_is_discarded()
    {
        await Run();
        _state.Paths["dynamic/instance-identity/document"] = Identity("i-0bbbbbbbbbbbbbbbb");
        _s3.Requests.Clear();

        await Run(keep: false);

        _forgotten.ShouldBeTrue();
        _s3.Requests.ShouldNotContain(r => r.EndsWith("304", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Tags_that_EC2_was_asked_for_are_kept_and_those_of_metadata_are_not()
    {
        await Run();
        KeptInputs.Read(_kept)!.Tags.ShouldBeNull();
        _kept = Encoding.UTF8.GetString((KeptInputs.Read(_kept)! with { Tags = new Dictionary<string, string> { ["nodeagent:cluster"] = "blue" } }).Write());
        _state.Paths.Remove("tags/instance/nodeagent:cluster");

        var loaded = await Run(ec2: InstanceMetadataTests.FreePort());

        loaded.Config.Cluster.Name.ShouldBe("blue");
        _standIns.ShouldHaveSingleItem()
            .ShouldStartWith("EC2 is away, so the instance's tags are those of the last good run, of 2026-11-21T10:00:00Z. ec2:DescribeTags at");
    }

    private static string Identity(string id) =>
        $$"""
        { "accountId": "123456789012", "availabilityZone": "eu-central-1a", "instanceId": "{{id}}", "instanceType": "m5d.large", "privateIp": "10.0.5.21", "region": "eu-central-1" }
        """;

    private void Say(string layers) => _state.UserData = Encoding.UTF8.GetBytes(
        Minimal.Replace("  name: blue\n", "  customer: acme\n  environment: prod\n", StringComparison.Ordinal) + "\nlayers:\n  bucket: shared\n" + layers);

    private async Task<LoadedConfig> Run(int patience = 60, bool keep = true, Uri? ec2 = null)
    {
        using var sources = new MachineSources(
            new InstanceMetadata(_imds.Endpoint, TimeSpan.FromMinutes(2)),
            TimeSpan.FromSeconds(patience),
            new(ec2, null),
            () => _kept,
            () => _forgotten = true,
            _ => [],
            default);
        var loaded = NodeConfigLoader.Load(await sources.Layers(new EmptyMachineReader(Now, []), [], new Timeline(), default));
        _standIns = sources.StandIns;
        _kept = keep && sources.ToKeep((await sources.Instance.Identity).InstanceId, Now) is { } kept ? Encoding.UTF8.GetString(kept.Write()) : _kept;
        return loaded;
    }
}
