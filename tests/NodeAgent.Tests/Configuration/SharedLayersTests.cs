using System.Security.Cryptography;
using System.Text;
using NodeAgent.Configuration;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Configuration;

public class SharedLayersTests
{
    private const string Whose = "cluster: {customer: acme, environment: prod}\nlayers: {bucket: shared, prefix: nodes/v1}\n";

    [Fact]
    public void Six_layers_lie_in_the_folders_of_what_they_are_for()
    {
        var address = Address(UserData(Whose)).ShouldNotBeNull();

        address.Layers.Select(l => $"{l.Kind}: {l.Name}").ShouldBe(
        [
            "common: s3://shared/nodes/v1/common.yaml",
            "customer: s3://shared/nodes/v1/acme/customer.yaml",
            "environment: s3://shared/nodes/v1/acme/prod/environment.yaml",
            "region: s3://shared/nodes/v1/acme/prod/eu-central-1/region.yaml",
            "cluster: s3://shared/nodes/v1/acme/prod/eu-central-1/blue/cluster.yaml",
            "role: s3://shared/nodes/v1/acme/prod/eu-central-1/blue/worker.yaml",
        ]);
        (address.Bucket, address.BucketRegion, address.Endpoint).ShouldBe(("shared", "eu-central-1", null));
        address.Layers[0].Key.ShouldBe("nodes/v1/common.yaml");
    }

    [Fact]
    public void The_address_is_put_together_from_all_layers_that_are_there_before()
    {
        var address = Address(
            Document("image", Head + "layers: {bucket: shared, prefix: image}\ncluster: {customer: acme, environment: dev}\n"),
            new Layer.Tags(
                new Dictionary<string, string>
                {
                    ["nodeagent:cluster.environment"] = "prod",
                    ["nodeagent:cluster"] = "green",
                    ["nodeagent:layers.bucketRegion"] = "us-east-1",
                }),
            UserData("layers: {prefix: null, endpoint: 'http://10.0.0.9:9000'}\ncluster: {region: moon}\n")).ShouldNotBeNull();

        address.Layers[^1].Name.ShouldBe("s3://shared/acme/prod/moon/green/worker.yaml");
        (address.BucketRegion, address.Endpoint).ShouldBe(("us-east-1", new Uri("http://10.0.0.9:9000")));
    }

    [Fact]
    public void Without_a_bucket_there_are_none()
    {
        Address().ShouldBeNull();
        Address(Document("image", Head + Whose), UserData("layers: null\n")).ShouldBeNull();
    }

    [Fact]
    public void They_are_merged_above_the_image_and_below_tags()
    {
        Layer[] local =
        [
            Base,
            Document("image", Head + Whose + "node: {maxPods: 1, labels: {image: a, b: image}}\n"),
            new Layer.Tags(new Dictionary<string, string> { ["nodeagent:node.maxPods"] = "3" }),
            UserData("node: {labels: {c: user}}\n"),
        ];
        Layer[] shared =
        [
            Shared("common.yaml", "node: {maxPods: 2, labels: {b: common, c: common, d: common}}\n"),
            new Layer.Shared("s3://shared/acme/customer.yaml", null),
            Shared("role.yaml", "cluster: {name: blue, region: eu-central-1}\nnode: {role: worker, labels: {d: role}}\n"),
        ];

        var loaded = NodeConfigLoader.Load(SharedLayers.Insert(local, SharedLayers.AddressOf(local, "eu-central-1")!, shared));

        loaded.Config.Node.MaxPods.Number.ShouldBe(3);
        loaded.Config.Node.Labels.ShouldBe(
            new Dictionary<string, string> { ["image"] = "a", ["b"] = "common", ["c"] = "user", ["d"] = "role" }, ignoreOrder: true);
        loaded.OriginOf("node.labels.d").ToString().ShouldBe("s3://shared/role.yaml:4:34");
        loaded.Layers.ShouldBe(
            ["defaults", "/etc/nodeagent/config.d/10-base.yaml", "image", "s3://shared/common.yaml", "s3://shared/role.yaml", "tags", "user data"]);
        loaded.Notes.ShouldBe(["s3://shared/acme/customer.yaml: there is none"]);
    }

    [Theory]
    [InlineData(
        "layers: {prefix: other}\n",
        "s3://shared/common.yaml:3:1: layers: shared layers are found by it, so it is said where they are not: in the image, tags, user data or a file")]
    [InlineData(
        "cluster: {name: green}\n",
        "s3://shared/common.yaml:3:17: cluster.name: shared layers are found by it, so it is said where they are not: in the image, tags, user data or a "
            + "file, where it is 'blue'")]
    [InlineData(
        "cluster: {environment: null}\n",
        "s3://shared/common.yaml:3:24: cluster.environment: shared layers are found by it, so it is said where they are not: in the image, tags, user data or "
            + "a file, where it is 'prod'")]
    public void A_shared_layer_does_not_say_where_shared_layers_are(string text, string expected)
    {
        Layer[] local = [Base, UserData(Whose)];

        Should.Throw<ConfigurationException>(() => SharedLayers.Insert(local, SharedLayers.AddressOf(local, "eu-central-1")!, [Shared("common.yaml", text)]))
            .Errors.Select(e => e.ToString()).ShouldBe([expected]);
    }

    [Theory]
    [InlineData("layers: {bucket: shared}\n", "cluster.customer: required for shared layers", "cluster.environment: required for shared layers")]
    [InlineData("layers: {prefix: x}\ncluster: {customer: a, environment: b}\n", "layers.bucket: required for shared layers")]
    [InlineData("layers: {bucket: shared}\ncluster: {customer: .., environment: a/b}\n", "'..' is not a name", "'a/b' is not a name")]
    [InlineData("layers: {bucket: Shared}\ncluster: {customer: a, environment: b}\n", "'Shared' is not a bucket's name")]
    [InlineData("layers: {bucket: shared, prefix: /a}\ncluster: {customer: a, environment: b}\n", "'/a' is not a prefix")]
    [InlineData("layers: {bucket: shared, prefix: a/../b}\ncluster: {customer: a, environment: b}\n", "'a/../b' is not a prefix")]
    [InlineData(
        "layers: {bucket: shared, endpoint: 'https://me:hush@h'}\ncluster: {customer: a, environment: b}\n", "nodes prove who they are with their role")]
    [InlineData(
        "layers: {bucket: shared, pins: {comon: a, role: abc}}\ncluster: {customer: a, environment: b}\n",
        "there is no such layer",
        "64 lower-case hex digits")]
    public void An_address_that_cannot_be_is_an_error_before_S3_is_asked(string text, params string[] expected)
    {
        var errors = Should.Throw<ConfigurationException>(() => Address(UserData(text))).Errors;

        errors.Count.ShouldBe(expected.Length);
        foreach (var (error, part) in errors.Zip(expected))
        {
            error.ToString().ShouldContain(part);
            error.ToString().ShouldNotContain("hush");
        }

        Should.Throw<ConfigurationException>(() => Load(UserData(text))).Errors.Select(e => e.Path).ShouldBe(errors.Select(e => e.Path));
    }

    [Fact]
    public void A_layer_that_is_wrong_in_itself_is_named_before_S3_is_asked() =>
        Should.Throw<ConfigurationException>(() => Address(UserData("nodes: 1\n" + Whose))).Errors.Single().ToString().ShouldContain("unknown field 'nodes'");

    [Fact]
    public void A_pinned_layer_is_the_one_that_was_pinned_or_none_at_all()
    {
        var content = "a"u8.ToArray();
        var pin = Convert.ToHexStringLower(SHA256.HashData(content));
        var layers = Address(UserData($"cluster: {{customer: acme, environment: prod}}\nlayers: {{bucket: shared, pins: {{common: {pin}}}}}\n"))!.Layers;

        layers[0].Refusal(content).ShouldBeNull();
        layers[0].Refusal("b"u8.ToArray()).ShouldNotBeNull()
            .ShouldContain(
                $"s3://shared/common.yaml is pinned to SHA-256 {pin} (layers.pins.common), and is "
                    + "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d");
        layers[0].Refusal(null).ShouldNotBeNull().ShouldContain("there is none");
        layers[1].Refusal(null).ShouldBeNull();
    }

    [Fact]
    public void What_is_kept_reads_back_and_what_makes_no_sense_is_nothing()
    {
        var kept = new KeptInputs(
            "i-1",
            "2026-11-21T10:00:00Z",
            new Dictionary<string, string> { ["a"] = "b" },
            [new("s3://shared/common.yaml", "\"e\"", [1, 2]), new("s3://shared/x.yaml", null, null)]);

        var again = KeptInputs.Read(Encoding.UTF8.GetString(kept.Write())).ShouldNotBeNull();

        again.Write().ShouldBe(kept.Write());
        again.Layer("s3://shared/common.yaml")!.Content.ShouldBe([1, 2]);
        again.Layer("s3://shared/x.yaml")!.Content.ShouldBeNull();
        again.Layer("s3://shared/other.yaml").ShouldBeNull();
        foreach (var nonsense in (string?[])[null, "", "{", "null", "{}", """{"instanceId":"i-1"}"""])
        {
            KeptInputs.Read(nonsense).ShouldBeNull();
        }
    }

    private static SharedLayersAddress? Address(params Layer[] above) => SharedLayers.AddressOf([Base, .. above], "eu-central-1");

    private static Layer.UserData UserData(string text) => new(Encoding.UTF8.GetBytes(Head + text));

    private static Layer.Shared Shared(string key, string text) => new($"s3://shared/{key}", Encoding.UTF8.GetBytes(Head + text));
}
