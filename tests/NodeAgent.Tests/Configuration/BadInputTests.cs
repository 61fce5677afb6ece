using NodeAgent.Configuration;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Configuration;

/// <summary>What users see. The document's own text begins in line 3, below apiVersion and kind.</summary>
public class BadInputTests
{
    [Theory]
    [InlineData("node: {maxPod: 3}", "node.yaml:3:8: node: unknown field 'maxPod'; did you mean 'maxPods'?")]
    [InlineData("maxPods: 3", "node.yaml:3:1: unknown field 'maxPods'; it belongs at node.maxPods")]
    [InlineData("node: {colour: red}", "node.yaml:3:8: node: unknown field 'colour'; known here: role, name, maxPods, labels, taints, readiness")]
    [InlineData("node: {maxPods: many}", "node.yaml:3:17: node.maxPods: expected a whole number, fromPodRange or vpcCni, found the text 'many'")]
    [InlineData("node: {maxPods: '3'}", "node.yaml:3:17: node.maxPods: expected a whole number, fromPodRange or vpcCni, found the text '3'")]
    [InlineData("node: {maxPods: 1.5}", "node.yaml:3:17: node.maxPods: expected a whole number, fromPodRange or vpcCni, found the number 1.5")]
    [InlineData("node: {maxPods: 99999999999}", "node.yaml:3:17: node.maxPods: the number 99999999999 is too large")]
    [InlineData("node: [a]", "node.yaml:3:7: node: expected a map, found a list")]
    [InlineData("kernel: {modules: overlay}", "node.yaml:3:19: kernel.modules: expected a list, found the text 'overlay'")]
    [InlineData("kernel: {modules: [a, null]}", "node.yaml:3:23: kernel.modules[1]: a list cannot hold null")]
    [InlineData("storage: {wipe: forign}", "node.yaml:3:17: storage.wipe: expected one of never, foreign, found the text 'forign'; did you mean 'foreign'?")]
    [InlineData("node: {role: master}", "node.yaml:3:14: node.role: expected one of worker, control-plane, found the text 'master'")]
    [InlineData(
        "node: {taints: [{key: a, effect: noSchedule}]}",
        "node.yaml:3:34: node.taints[0].effect: expected one of NoSchedule, PreferNoSchedule, NoExecute, found the text 'noSchedule'; did you mean "
            + "'NoSchedule'?")]
    [InlineData(
        "node: {taints: [{key: a}]}",
        "node.yaml:3:17: node.taints[0].effect: required, but not given here; expected one of NoSchedule, PreferNoSchedule, NoExecute")]
    [InlineData("cluster: {name: 12}", "node.yaml:3:17: cluster.name: expected text, found the number 12; put it in quotes")]
    [InlineData("cluster: {name: null}", "node.yaml:3:17: cluster.name: required, but removed here by null")]
    [InlineData("cluster: {podRange: 10.0.0.1/16}", "node.yaml:3:21: cluster.podRange: '10.0.0.1/16' has host bits set; did you mean 10.0.0.0/16?")]
    [InlineData(
        "cluster: {podRange: ten}", "node.yaml:3:21: cluster.podRange: 'ten' is not a CIDR range; expected an address and a prefix length, as in 10.0.0.0/16")]
    [InlineData(
        "cluster: {endpoint: api.example.com}",
        "node.yaml:3:21: cluster.endpoint: 'api.example.com' is not a URL; expected http or https and a host, as in https://example.com")]
    [InlineData(
        "certificates: {lifetime: 90}",
        "node.yaml:3:26: certificates.lifetime: '90' is not a duration; expected a whole number and a unit, as in 90s, 10m, 2h or 90d")]
    [InlineData("certificates: {laboratory: yes}", "node.yaml:3:28: certificates.laboratory: expected true or false, found the text 'yes'")]
    [InlineData(
        "containerd: {mirrors: {docker.io: {endpoints: [https://m.example.com], headers: {A: [hush]}}}}",
        "node.yaml:3:85: containerd.mirrors[docker.io].headers.A: expected text, found a list")]
    [InlineData(
        "containerd: {mirrors: {docker.io: {endpoints: [https://m.example.com], headers: hush}}}",
        "node.yaml:3:81: containerd.mirrors[docker.io].headers: expected a map, found text")]
    [InlineData(
        "containerd: {mirrors: {docker.io: {endpoints: [https://m.example.com], headers: [hush]}}}",
        "node.yaml:3:81: containerd.mirrors[docker.io].headers: expected a map, found a list")]
    [InlineData("containerd: {mirrors: {docker.io: hush}}", "node.yaml:3:35: containerd.mirrors[docker.io]: expected a map, found text")]
    [InlineData("containerd: {mirrors: hush}", "node.yaml:3:23: containerd.mirrors: expected a map, found text")]
    [InlineData("kubelet: {configuration: 3}", "node.yaml:3:26: kubelet.configuration: expected a map, found the number 3")]
    [InlineData("kubelet: {configuration: {a: .inf}}", "node.yaml:3:30: kubelet.configuration.a: .inf has no form in JSON, which this becomes")]
    [InlineData("node: {maxPods: 1, maxPods: 2}", "node.yaml:3:20: node.maxPods: duplicate key, first given in line 3")]
    [InlineData("node:\n\tmaxPods: 1", "node.yaml:4:1: a tab in the indentation; YAML takes spaces only")]
    [InlineData("node:\n  maxPods: 1\n\tname: instanceId", "node.yaml:5:1: a tab in the indentation; YAML takes spaces only")]
    [InlineData("node:\n  labels:\n  \ta: b", "node.yaml:5:3: a tab in the indentation; YAML takes spaces only")]
    [InlineData("node: &n {maxPods: 1}", "node.yaml:3:7: node: anchors (&n) are not taken; write the value out where it is needed")]
    [InlineData("node: *n", "node.yaml:3:7: node: aliases (*n) are not taken; write the value out")]
    [InlineData("node: {<<: {maxPods: 1}}", "node.yaml:3:8: node: merge keys (<<) are not taken; write the values out")]
    [InlineData("node: {labels: {1: x}}", "node.yaml:3:17: node.labels: keys are text; put '1' in quotes")]
    [InlineData("node: {labels: {[a]: x}}", "node.yaml:3:17: node.labels: expected a key that is plain text")]
    [InlineData("node: !!map {}", "node.yaml:3:7: node: tags (tag:yaml.org,2002:map) are not taken; quote what shall be text")]
    [InlineData("---\nnode: {}", "node.yaml:3:1: a second document begins here; only one is read")]
    [InlineData("node: {maxPods: 1", "node.yaml:4:1: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'")]
    [InlineData("node: {labels: {a: \"\\ud800\"}}", "node.yaml:3:20: not valid YAML: while scanning a quoted scalar, found invalid Unicode surrogates")]
    [InlineData("node: {labels: {a: \"\\0\"}}", "node.yaml:3:20: node.labels.a: holds half a surrogate pair or a control character")]
    [InlineData("node: {labels: {a: \u0001}}", "node.yaml:3:20: the control character U+0001 cannot stand in YAML")]
    public void A_slip_is_named_with_its_place_and_what_was_expected(string text, string expected) => ErrorsOf(text).ShouldBe([expected]);

    [Fact]
    public void All_slips_of_all_layers_are_reported_at_once()
    {
        Errors(() => Load(
            Document("a.yaml", Head + "node:\n  maxPods: many\n  nmae: instanceId\nkernel: 3\n"),
            new Layer.Tags(new Dictionary<string, string> { ["nodeagent:node.maxPod"] = "3", ["nodeagent:storage.wipe"] = "all" }),
            Document("b.yaml", "kind: NodeConfig\nnetwork: {plugin: weave}\n"))).ShouldBe(
        [
            "a.yaml:4:12: node.maxPods: expected a whole number, fromPodRange or vpcCni, found the text 'many'",
            "a.yaml:5:3: node: unknown field 'nmae'; did you mean 'name'?",
            "a.yaml:6:9: kernel: expected a map, found the number 3",
            "tag nodeagent:node.maxPod: node: unknown field 'maxPod'; did you mean 'maxPods'?",
            "tag nodeagent:storage.wipe: storage.wipe: expected one of never, foreign, found the text 'all'",
            "b.yaml:1:1: apiVersion: required in every document; expected 'nodeagent/v1'",
            "b.yaml:2:19: network.plugin: expected one of bridge, vpc-routes, none, cilium, calico, flannel, aws-vpc-cni, found the text 'weave'",
        ]);
    }

    [Fact]
    public void What_every_node_needs_and_no_layer_gives_is_listed()
    {
        Errors(() => NodeConfigLoader.Load([])).ShouldBe(
        [
            "cluster.name: required, but no layer gives it; expected text",
            "cluster.endpoint: required, but no layer gives it; expected a URL as in https://example.com",
            "cluster.certificateAuthority: required, but no layer gives it; expected text",
        ]);
    }

    [Theory]
    [InlineData("apiVersion: nodeagnet/v1\nkind: NodeConfig\n", "x:1:13: apiVersion: found 'nodeagnet/v1'; did you mean 'nodeagent/v1'?")]
    [InlineData("apiVersion: nodeagent/v2\nkind: NodeConfig\n", "x:1:13: apiVersion: found 'nodeagent/v2'; did you mean 'nodeagent/v1'?")]
    [InlineData("apiVersion: v1\nkind: NodeConfig\n", "x:1:13: apiVersion: expected 'nodeagent/v1', found the text 'v1'")]
    [InlineData("apiversion: nodeagent/v1\nkind: NodeConfig\n", "x:1:1: unknown field 'apiversion'; did you mean 'apiVersion'?")]
    [InlineData("apiVersion: nodeagent/v1\nkind: Nodeconfig\n", "x:2:7: kind: found 'Nodeconfig'; did you mean 'NodeConfig'?")]
    [InlineData("apiVersion: nodeagent/v1\n", "x:1:1: kind: required in every document; expected 'NodeConfig'")]
    [InlineData("", "x:1:1: is empty; expected apiVersion, kind and settings")]
    [InlineData("# nothing\n", "x:2:1: is empty; expected apiVersion, kind and settings")]
    [InlineData("hello", "x:1:1: expected a map with apiVersion, kind and settings, found text")]
    public void A_document_that_is_not_headed_as_ours_is_refused(string text, string expected) => Errors(() => Load(Document("x", text))).ShouldBe([expected]);

    [Theory]
    [InlineData("nodeagent:node.maxPods", "", "tag nodeagent:node.maxPods: node.maxPods: is empty; write null to remove the value")]
    [InlineData("nodeagent:rol", "worker", "tag nodeagent:rol: unknown field 'rol'; did you mean 'role'?")]
    [InlineData("nodeagent:node", "[1", "tag nodeagent:node: not valid YAML: while parsing a flow sequence, did not find expected ',' or ']'")]
    [InlineData("nodeagent:node.maxPods.x", "1", "tag nodeagent:node.maxPods.x: node.maxPods: has no fields, so 'x' cannot be set in it")]
    [InlineData("nodeagent:node..x", "1", "tag nodeagent:node..x: node: unknown field ''; known here: role, name, maxPods, labels, taints, readiness")]
    [InlineData("nodeagent:node.labels.", "1", "tag nodeagent:node.labels.: node.labels: 'node.labels.' is not a dotted path; expected one as in node.maxPods")]
    public void A_bad_tag_is_named_by_its_key(string key, string value, string expected) =>
        Errors(() => Load(new Layer.Tags(new Dictionary<string, string> { [key] = value }))).ShouldBe([expected]);

    [Theory]
    [InlineData("nodeagent:containerd.mirrors.docker.io.headers.Authorization", "hush")]
    [InlineData("nodeagent:containerd.mirrors.docker.io.headers", "{Authorization: hush}")]
    [InlineData("nodeagent:containerd.mirrors.docker.io.headers", "hush")]
    [InlineData("nodeagent:containerd.mirrors", "{docker.io: {headers: {Authorization: hush}}}")]
    [InlineData("nodeagent:containerd", "{mirrors: {docker.io: {headers: {Authorization: [hush]}}}}")]
    public void A_secret_in_a_tag_is_refused_and_not_repeated(string key, string value)
    {
        var error = Errors(() => Load(new Layer.Tags(new Dictionary<string, string> { [key] = value }))).ShouldHaveSingleItem();

        error.ShouldStartWith($"tag {key}: ");
        error.ShouldContain("secrets do not belong into tags");
        error.ShouldNotContain("hush");
    }

    [Fact]
    public void A_tag_may_take_secrets_away() => Load(
        Document("node.yaml", Head + "containerd: {mirrors: {docker.io: {endpoints: ['https://m'], headers: {A: hush}}}}"),
        new Layer.Tags(new Dictionary<string, string> { ["nodeagent:containerd.mirrors.docker.io.headers"] = "null" })).Config.Containerd.Mirrors["docker.io"]
            .Headers.ShouldBeEmpty();

    [Fact]
    public void Tags_that_contradict_each_other_are_refused() =>
        Errors(() => Load(new Layer.Tags(new Dictionary<string, string> { ["nodeagent:cluster"] = "a", ["nodeagent:cluster.name"] = "b" }))).ShouldBe(
            ["tag nodeagent:cluster.name: cluster.name: disagrees with tag nodeagent:cluster, and neither comes later; say it once"]);

    [Fact]
    public void Text_that_is_not_utf8_and_documents_without_end_are_refused()
    {
        Errors(() => Load(new Layer.Document("x", [.. "a: b\nc: "u8, 0xff]))).ShouldBe(["x:2:4: is not UTF-8 text"]);
        Errors(() => Load(Document("x", new string(' ', YamlReader.MaximumBytes + 1)))).ShouldBe(["x:1:1: 262145 bytes are too many; at most 262144 are read"]);
        Errors(() => Load(Document("x", Head + "node: " + new string('[', 100_000)))).Single().ShouldEndWith("is nested more than 32 deep");
    }
}
