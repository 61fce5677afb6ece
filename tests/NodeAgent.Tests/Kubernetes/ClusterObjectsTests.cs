using NodeAgent.Kubernetes;

namespace NodeAgent.Tests.Kubernetes;

#pragma warning disable CA1001 // IAsyncLifetime disposes of it
public sealed class ClusterObjectsTests : IAsyncLifetime
{
    private const string Cni = "/apis/apps/v1/namespaces/kube-system/daemonsets/cni";
    private const string Node = "/api/v1/nodes/cp-1";
    private readonly FakeCluster _cluster = new();
    private ApiClient? _api;
    private ClusterObjects? _objects;

    public async Task InitializeAsync()
    {
        await _cluster.Start();
        _api = _cluster.Client();
        _objects = new(_api);
    }

    public async Task DisposeAsync()
    {
        _api?.Dispose();
        await _cluster.DisposeAsync();
    }

    [Fact]
    public async Task What_is_absent_is_created_and_what_holds_is_left_alone()
    {
        (await Ensure(DaemonSet("1.0"))).ShouldBe(ObjectOutcome.Created);
        (await Ensure(DaemonSet("1.0"))).ShouldBe(ObjectOutcome.Unchanged);

        _cluster[Cni]!["spec"]!["image"]!.GetValue<string>().ShouldBe("1.0");
    }

    [Fact]
    public async Task What_differs_is_set_and_what_is_not_written_any_more_goes_and_fields_of_others_stay()
    {
        await Ensure(DaemonSet("1.0", "paused: yes"));
        _cluster.Set(Cni, "kubectl", "{metadata: {labels: {team: net}}, spec: {minReadySeconds: 5}}");

        (await Ensure(DaemonSet("1.1"))).ShouldBe(ObjectOutcome.Updated);

        var spec = _cluster[Cni]!["spec"]!.AsObject();
        spec["image"]!.GetValue<string>().ShouldBe("1.1");
        spec.ContainsKey("paused").ShouldBeFalse();
        spec["minReadySeconds"]!.GetValue<string>().ShouldBe("5");
        _cluster[Cni]!["metadata"]!["labels"]!["team"]!.GetValue<string>().ShouldBe("net");
    }

    [Fact]
    public async Task What_somebody_else_has_set_since_is_left_and_nothing_is_forced()
    {
        await Ensure(DaemonSet("1.0"));
        _cluster.Set(Cni, "flux", "spec: {image: '2.0'}");

        (await Ensure(DaemonSet("1.1"))).ShouldBe(ObjectOutcome.Left);

        _cluster[Cni]!["spec"]!["image"]!.GetValue<string>().ShouldBe("2.0");
        _cluster.Writes.ShouldAllBe(w => w.StartsWith($"PATCH {Cni}?fieldManager=nodeagent ") && !w.Contains("force"));
    }

    [Fact]
    public async Task Of_what_somebody_else_makes_in_between_the_same_is_taken_and_another_is_left()
    {
        _cluster.Between[Cni] = () => _cluster.Set(Cni, "flux", "{metadata: {name: cni}, spec: {image: '2.0'}}");
        (await Ensure(DaemonSet("1.0"))).ShouldBe(ObjectOutcome.Left);

        const string same = "/api/v1/namespaces/kube-system/configmaps/same";
        _cluster.Between[same] = () => _cluster.Set(same, "flux", "{metadata: {name: same}, data: {a: b}}");
        // It was not there when it was looked for.
        (await Ensure("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: same, namespace: kube-system}\ndata: {a: b}\n")).ShouldBe(ObjectOutcome.Created);
        _cluster.Between.ShouldBeEmpty("somebody came in between, both times");
        _cluster[same]!["data"]!["a"]!.GetValue<string>().ShouldBe("b");
    }

    [Fact]
    public async Task A_conflict_that_is_nobodys_fields_is_of_now()
    {
        await Ensure(DaemonSet("1.0"));
        _cluster.Answer($"PATCH {Cni}", 409, FakeCluster.Status(409, "the object has been modified"));

        (await Should.ThrowAsync<ApiException>(() => Ensure(DaemonSet("1.1")))).Passes.ShouldBeTrue();
        (await Ensure(DaemonSet("1.1"))).ShouldBe(ObjectOutcome.Updated);
    }

    [Fact]
    public async Task What_controllers_say_meanwhile_is_no_difference()
    {
        await Ensure(DaemonSet("1.0"));
        _cluster.Between[Cni] = () => _cluster.Set(Cni, "kube-controller-manager", "status: {numberReady: 3}");

        (await Ensure(DaemonSet("1.0"))).ShouldBe(ObjectOutcome.Unchanged);
    }

    [Fact]
    public async Task A_dry_run_tells_and_changes_nothing()
    {
        (await Ensure(DaemonSet("1.0"), dryRun: true)).ShouldBe(ObjectOutcome.Created);
        _cluster[Cni].ShouldBeNull();
        await Ensure(DaemonSet("1.0"));

        (await Ensure(DaemonSet("1.1"), dryRun: true)).ShouldBe(ObjectOutcome.Updated);
        (await Ensure(DaemonSet("1.0"), dryRun: true)).ShouldBe(ObjectOutcome.Unchanged);
        _cluster[Cni]!["spec"]!["image"]!.GetValue<string>().ShouldBe("1.0");
    }

    [Theory]
    [InlineData("apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}", "no such group and version")]
    [InlineData("apiVersion: apps/v1\nkind: Widget\nmetadata: {name: a}", "no such kind in it")]
    public async Task A_kind_that_is_not_known_is_named_and_asked_for_again(string yaml, string why)
    {
        (await Should.ThrowAsync<UnknownKindException>(() => Ensure(yaml))).Message.ShouldContain(why);
        await Should.ThrowAsync<UnknownKindException>(() => Ensure(yaml));

        _cluster.Requests.Count.ShouldBe(2);
        _cluster.Writes.ShouldBeEmpty();
    }

    [Theory]
    [InlineData(400, "{\"kind\": \"Status\", \"message\": \"metadata.managedFields must be nil\"}", false, "400 metadata.managedFields must be nil")]
    [InlineData(403, "{\"message\": \"clusterrolebindings is forbidden: attempting to grant permissions\"}", false, "403 clusterrolebindings is forbidden")]
    [InlineData(404, "{\"message\": \"namespaces \\\"apps\\\" not found\"}", true, "404 namespaces \"apps\" not found")]
    [InlineData(422, "{\"message\": \"roleRef: Invalid value: cannot change roleRef\"}", false, "422 roleRef: Invalid value")]
    [InlineData(429, "Too many requests, please try again later.\n", true, "429 Too many requests, please try again later.")]
    [InlineData(500, "{\"message\": \"failed calling webhook\"}", true, "500 failed calling webhook")]
    [InlineData(500, "{\"message\": \"failed to create typed patch object: .spec.imgae: field not declared in schema\"}", false, ".spec.imgae: field")]
    [InlineData(503, "apiserver is shutting down", true, "503 apiserver is shutting down")]
    [InlineData(503, "{}", true, "503 Service Unavailable")]
    [InlineData(409, "[]", true, "409 Conflict")]
    public async Task An_answer_that_is_no_success_is_told_and_sorted(int status, string body, bool passes, string message)
    {
        _cluster.Answer($"PATCH {Cni}", status, body);

        var e = await Should.ThrowAsync<ApiException>(() => Ensure(DaemonSet("1.0")));

        (e.Passes, e.IsOfFields).ShouldBe((passes, false));
        e.Message.ShouldContain(message);
    }

    [Fact]
    public async Task What_is_no_API_server_is_called_so()
    {
        _cluster.Answer("GET /apis/apps/v1", 200, "<html>welcome</html>");

        (await Should.ThrowAsync<HttpRequestException>(() => Ensure(DaemonSet("1.0")))).Message.ShouldContain("is it an API server?");
    }

    [Fact]
    public async Task A_node_gets_its_label_once_it_is_known_and_keeps_what_it_has()
    {
        (await Label()).ShouldBeNull();
        _cluster.Set(Node, "kubelet", "metadata: {name: cp-1, labels: {zone: a}}");

        (await Label(dryRun: true)).ShouldBe(ObjectOutcome.Updated);
        (await Label()).ShouldBe(ObjectOutcome.Updated);
        (await Label()).ShouldBe(ObjectOutcome.Unchanged);

        _cluster[Node]!["metadata"]!["labels"]!.AsObject().Select(l => l.Key).ShouldBe(["zone", NodeObjects.ControlPlaneLabel]);
    }

    [Fact]
    public async Task A_label_with_a_value_of_somebodys_stays()
    {
        _cluster.Set(Node, "someone", $"metadata: {{name: cp-1, labels: {{{NodeObjects.ControlPlaneLabel}: 'yes'}}}}");

        (await Label()).ShouldBe(ObjectOutcome.Unchanged);

        _cluster.Writes.ShouldBeEmpty();
    }

    private Task<ObjectOutcome?> Label(bool dryRun = false) => _objects!.LabelNode("cp-1", NodeObjects.ControlPlaneLabel, dryRun, CancellationToken.None);

    private Task<ObjectOutcome> Ensure(string yaml, bool dryRun = false) =>
        _objects!.Ensure(Manifest.Read("a.yaml", yaml).Single(), dryRun, CancellationToken.None);

    private static string DaemonSet(string image, string more = "") =>
        $"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: cni, namespace: kube-system}}\nspec:\n  image: '{image}'\n"
        + (more.Length == 0 ? "" : $"  {more}\n");
}
