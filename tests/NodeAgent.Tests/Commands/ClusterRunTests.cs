using System.Globalization;
using Amazon.Runtime;
using NodeAgent.Aws;
using NodeAgent.Commands;
using NodeAgent.Kubernetes;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Kubernetes;

namespace NodeAgent.Tests.Commands;

#pragma warning disable CA1001 // IAsyncLifetime disposes of it
public sealed class ClusterRunTests : IAsyncLifetime
{
    private const string Node = "/api/v1/nodes/cp-1";
    private const string Widget = "/apis/example.com/v1/namespaces/default/widgets/one";
    private const string Definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\n"
        + "spec: {group: example.com, names: {kind: Widget, plural: widgets}}\n";

    private const string One = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: one}\n";
    private readonly FakeCluster _cluster = new();
    private readonly FakeS3 _s3 = new();
    private readonly StringWriter _output = new(CultureInfo.InvariantCulture) { NewLine = "\n" };
    private readonly Told _error = new() { NewLine = "\n" };

    public async Task InitializeAsync()
    {
        await _cluster.Start();
        await _s3.Start();
        _cluster.Set(Node, "kubelet", "metadata: {name: cp-1, labels: {}, uid: a}");
    }

    public async Task DisposeAsync()
    {
        await _cluster.DisposeAsync();
        await _s3.DisposeAsync();
    }

    [Fact]
    public async Task A_new_cluster_gets_RBAC_the_manifests_in_their_order_and_the_label_and_another_run_has_nothing_to_do()
    {
        string[] files = [ConfigMap("b"), ConfigMap("a") + "---\n# nothing\n---\n" + ConfigMap("c")];

        (await Run(files)).ShouldBe(ExitCode.Ok);

        _output.ToString().ShouldBe($"""
            created clusterrolebinding.rbac.authorization.k8s.io/kubeadm:cluster-admins
            created clusterrolebinding.rbac.authorization.k8s.io/nodeagent:kube-proxy
            updated node/cp-1: label {NodeObjects.ControlPlaneLabel}
            created configmap/b
            created configmap/a
            created configmap/c

            """);
        _cluster.Writes.Select(w => w.Split(' ')[0]).Distinct().ShouldBe(["PATCH"]);
        _cluster.Writes.ShouldAllBe(w => !w.Contains("force"));
        _output.GetStringBuilder().Clear();
        (await Run(files, dryRun: true)).ShouldBe(ExitCode.Ok);
        _output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries).ShouldAllBe(l => l.StartsWith("unchanged "));
        _error.ToString().ShouldBeEmpty();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_definition_before_its_object_or_after_it_and_slow_to_count_is_waited_for(bool isBefore)
    {
        _cluster.Lag = 2;
        string[] files = isBefore ? [Definition, One] : [One, Definition];

        (await Run(files)).ShouldBe(ExitCode.Ok);

        _cluster[Widget].ShouldNotBeNull();
        var waiting = $"waiting: widget.example.com/one ({(isBefore ? "file1.yaml" : "file0.yaml")}): ";
        _error.ToString().ShouldContain(waiting + "this API server does not know Widget of example.com/v1");
        _error.ToString().ShouldContain(waiting + "404 the server could not find the requested resource");
    }

    [Fact]
    public async Task A_namespace_after_what_lies_in_it_is_waited_for_and_a_dry_run_sees_beyond_it()
    {
        string[] files =
        [
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps}\n",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: apps}\n",
            Definition,
            One,
        ];
        (await Run(files, dryRun: true)).ShouldBe(ExitCode.ChangesPending);
        _cluster["/api/v1/namespaces/apps"].ShouldBeNull();
        _output.ToString().ShouldContain("would create configmap/apps/a (404 namespaces \"apps\" not found)");
        _output.ToString().ShouldContain("would create widget.example.com/one (");

        (await Run(files)).ShouldBe(ExitCode.Ok);

        _cluster["/api/v1/namespaces/apps/configmaps/a"].ShouldNotBeNull();
    }

    [Fact]
    public async Task What_is_refused_keeps_nothing_but_itself_and_is_told_with_its_file()
    {
        const string binding = "PATCH /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/nodeagent:kube-proxy";
        _cluster.Answer(binding, 403, FakeCluster.Status(403, "attempting to grant"));
        _cluster.Answer("PATCH /api/v1/namespaces/default/configmaps/a", 500, FakeCluster.Status(500, ".daat: field not declared in schema"));

        (await Run(ConfigMap("a"), ConfigMap("b"))).ShouldBe(ExitCode.Failed);

        _error.ToString().ShouldBe("""
            nodeagent: clusterrolebinding.rbac.authorization.k8s.io/nodeagent:kube-proxy (built in): the API server refuses it: 403 attempting to grant
            nodeagent: configmap/a (file0.yaml): the API server refuses it: 500 .daat: field not declared in schema

            """);
        _cluster["/api/v1/namespaces/default/configmaps/b"].ShouldNotBeNull();
        HasLabel.ShouldBeTrue();
    }

    [Fact]
    public async Task What_nodes_need_and_has_to_wait_keeps_neither_the_label_nor_the_manifests()
    {
        const string binding = "PATCH /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/nodeagent:kube-proxy";
        _cluster.Answer(binding, 500, FakeCluster.Status(500, "failed calling webhook"));
        _cluster.Answer(binding, 500, FakeCluster.Status(500, "failed calling webhook"));

        (await Run(ConfigMap("a"))).ShouldBe(ExitCode.Ok);

        _cluster.Writes.Select(w => w[..w.IndexOf('?')]).ShouldBe(
        [
            "PATCH /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kubeadm:cluster-admins", binding, $"PATCH {Node}",
            binding, "PATCH /api/v1/namespaces/default/configmaps/a", binding,
        ]);
    }

    [Fact]
    public async Task What_passes_is_tried_again()
    {
        const string a = "PATCH /api/v1/namespaces/default/configmaps/a";
        _cluster.Answer(a, 429, "Too many requests, please try again later.");
        _cluster.Answer(a, 503, "");
        _cluster.Answer(a, 0, "");
        _cluster.Answer($"PATCH {Node}", 409, FakeCluster.Status(409, "the object has been modified"));

        (await Run(ConfigMap("a"))).ShouldBe(ExitCode.Ok);

        _cluster.Writes.Count(w => w.StartsWith(a)).ShouldBeGreaterThanOrEqualTo(4);
        HasLabel.ShouldBeTrue();
    }

    [Fact]
    public async Task Somebodys_mistake_in_a_manifest_is_named_with_its_file_and_keeps_the_manifests_alone()
    {
        (await Run(ConfigMap("a"), "metadata: [1\n")).ShouldBe(ExitCode.BadConfiguration);

        _error.ToString().ShouldStartWith("nodeagent: bad configuration: --manifests: file1.yaml: line ");
        _cluster["/api/v1/namespaces/default/configmaps/a"].ShouldBeNull("half of a folder is nobody's wish");
        _cluster["/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/nodeagent:kube-proxy"].ShouldNotBeNull();
        HasLabel.ShouldBeTrue();
    }

    [Fact]
    public async Task A_kind_that_nobody_defines_is_waited_for_no_longer_than_the_deadline_while_all_else_is_done()
    {
        using var deadline = new CancellationTokenSource();
        var run = Run([One, ConfigMap("b")], stop: deadline.Token);
        await Wait.Until(() => run.IsCompleted || _cluster.Writes.Any(w => w.StartsWith("PATCH /api/v1/namespaces/default/configmaps/b")));

        await deadline.CancelAsync();

        // Shouldly's own has no message for a task that is cancelled.
        (await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run)).Message
            .ShouldContain("widget.example.com/one (file0.yaml): this API server does not know Widget");
        _cluster["/api/v1/namespaces/default/configmaps/b"].ShouldNotBeNull();
    }

    [Fact]
    public async Task An_API_server_that_is_away_is_named_and_waited_for_no_longer_than_the_deadline()
    {
        await _cluster.DisposeAsync();
        using var deadline = new CancellationTokenSource();
        _error.Line = line =>
        {
            if (line.Contains("waiting: "))
            {
                deadline.Cancel();
            }
        };

        (await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Run([ConfigMap("a")], stop: deadline.Token))).Message
            .ShouldStartWith($"the API server at {_cluster.Endpoint.GetLeftPart(UriPartial.Authority)} is not ready: ");
    }

    [Fact]
    public async Task A_folder_of_S3_is_read_in_the_order_of_its_names_and_a_mistake_is_named_with_its_key()
    {
        Folder("m/20-b.yaml", "m/10-a.yml", "m/README.md", "m/below/c.yaml");
        _s3.Objects["cells/m/10-a.yml"] = "\uFEFF" + ConfigMap("a");
        _s3.Objects["cells/m/20-b.yaml"] = "apiVersion: v1\nkind: List\nitems: []\n";

        (await Go(stop => ClusterCommand.Texts(Bucket(), "m", stop))).ShouldBe(ExitCode.BadConfiguration);
        _error.ToString().ShouldContain("s3://cells/m/20-b.yaml: line 1: metadata.name is missing; lists are not taken");

        Folder("m/20-b.yaml", "m/10-a.yml", "m/README.md", "m/below/c.yaml", "m/30-gone.yaml");
        _s3.Objects["cells/m/20-b.yaml"] = ConfigMap("b").ReplaceLineEndings("\r\n");
        (await Go(stop => ClusterCommand.Texts(Bucket(), "m", stop))).ShouldBe(ExitCode.Ok);
        _output.ToString().ShouldContain("created configmap/a\ncreated configmap/b\n");
        _s3.Requests.ShouldNotContain(r => r.Contains("below") || r.Contains("README"));
    }

    [Fact]
    public async Task S3_that_says_no_keeps_the_manifests_alone()
    {
        List(403, FakeS3.Error("AccessDenied"));

        (await Go(stop => ClusterCommand.Texts(Bucket(), "m", stop))).ShouldBe(ExitCode.Failed);

        _error.ToString().ShouldContain("s3:ListBucket");
        HasLabel.ShouldBeTrue();
    }

    private bool HasLabel => _cluster[Node]!["metadata"]!["labels"]!.AsObject().ContainsKey(NodeObjects.ControlPlaneLabel);

    private Task<int> Run(params string[] files) => Run(files, dryRun: false);

    private Task<int> Run(string[] files, bool dryRun = false, CancellationToken stop = default) =>
        Go(_ => Task.FromResult<IReadOnlyList<(string, string)>>([.. files.Select((f, i) => ($"file{i}.yaml", f))]), dryRun, stop);

    private async Task<int> Go(
        Func<CancellationToken, Task<IReadOnlyList<(string Name, string Text)>>> texts, bool dryRun = false, CancellationToken stop = default)
    {
        using var api = _cluster.Client();
        return await new ClusterRun(api, _cluster.Endpoint, dryRun, _output, _error, TimeSpan.FromMilliseconds(1)).Go("cp-1", texts, stop);
    }

    private void Folder(params string[] keys) => List(200, $"""
        <?xml version="1.0" encoding="UTF-8"?>
        <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
        <Name>cells</Name><Prefix>m/</Prefix><KeyCount>{keys.Length}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>
        {string.Concat(keys.Select(k => $"<Contents><Key>{k}</Key><Size>1</Size></Contents>"))}</ListBucketResult>
        """);

    // With a slash at its end or without, as the package has it.
    private void List(int status, string body)
    {
        _s3.Answer("cells", status, body);
        _s3.Answer("cells/", status, body);
    }

    private S3Objects Bucket() =>
        new("cells", "eu-central-1", _s3.Endpoint, new SessionAWSCredentials("AKIDEXAMPLE", "secret", "session"), null, new OutboundHttp(null, []));

    /// <summary>Somebody hears each line as it is written.</summary>
    private sealed class Told() : StringWriter(CultureInfo.InvariantCulture)
    {
        public Action<string> Line { get; set; } = _ => { };

        public override void WriteLine(string? value)
        {
            base.WriteLine(value);
            Line(value ?? "");
        }
    }

    private static string ConfigMap(string name) => $"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{key: value}}\n";
}
