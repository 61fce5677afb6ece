using System.Text.RegularExpressions;
using NodeAgent.Kubernetes;
using Shouldly;
using YamlDotNet.RepresentationModel;

namespace NodeAgent.Tests.Kubernetes;

public sealed class ManifestTests
{
    [Fact]
    public void Each_document_is_an_object_and_its_text_is_its_own()
    {
        var manifests = Manifest.Read("a.yaml", """
            # first
            apiVersion: v1
            kind: ConfigMap
            metadata:
              name: one
              namespace: kube-system
            data:
              text: |
                not the end:
                --- nor this
            ---
            ---
            # nothing but this
            ---
            apiVersion: apps/v1
            kind: DaemonSet
            metadata: {name: two}
            """);

        manifests.Select(m => m.Id).ShouldBe(["configmap/kube-system/one", "daemonset.apps/two"]);
        manifests[0].Text.ShouldContain("--- nor this");
        manifests[0].Text.ShouldNotContain("DaemonSet");
        manifests[1].Text.Trim().ShouldBe("apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: two}");
    }

    [Fact]
    public void JSON_is_a_document_too() =>
        Manifest.Read("a.yaml", """{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apps"}}""").ShouldHaveSingleItem()
            .Id.ShouldBe("namespace/apps");

    [Theory]
    [InlineData("kind: Pod\nmetadata: {name: a}", "a.yaml: line 1: apiVersion is missing")]
    [InlineData("apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}", "metadata.name is missing")]
    [InlineData("apiVersion: v1\nkind: List\nitems: []", "lists are not taken")]
    [InlineData("---\n- a\n- b", "line 2: expected an object")]
    [InlineData("a: [1", "a.yaml: line ")]
    public void What_is_no_object_is_named_with_its_place(string text, string expected) =>
        Should.Throw<ManifestException>(() => Manifest.Read("a.yaml", text)).Message.ShouldContain(expected);

    [Fact]
    public void A_port_without_protocol_is_TCP_s_since_old_API_servers_refuse_it_otherwise()
    {
        const string text = """
            # A comment.
            apiVersion: v1
            kind: Service
            metadata: {name: web, annotations: {number: "8080", on: 'yes'}}
            spec: {ports: [{port: 8080}, {port: 53, protocol: UDP}]}
            ---
            apiVersion: apps/v1
            kind: DaemonSet
            metadata:
              name: web
            spec:
              template:
                spec:
                  initContainers: [{name: a, ports: [{containerPort: 1}]}]
                  containers:
                  - name: b
                    ports:
                    - containerPort: 2
                    - containerPort: 3
                      protocol: SCTP
            """;

        var found = Manifest.Read("a", text);

        Protocols(found[0].Text).ShouldBe(["TCP", "UDP"]);
        Protocols(found[1].Text).ShouldBe(["TCP", "TCP", "SCTP"]);
        // What was text stays text.
        found[0].Text.ShouldContain("\"8080\"");
        found[0].Text.ShouldContain("'yes'");
        Manifest.Read("again", found[1].Text).ShouldHaveSingleItem().Id.ShouldBe(found[1].Id);

        static IEnumerable<string> Protocols(string yaml) => Regex.Matches(yaml, "protocol: (\\w+)").Select(m => m.Groups[1].Value);
    }

    [Theory]
    [InlineData("note: To be continued...", "To be continued...")]
    [InlineData("note: |+\n      To be continued...\n", "To be continued...\n\n")]
    [InlineData("note: '...'", "...")]
    public void What_stands_last_stays_as_it_is_where_a_protocol_is_added(string last, string expected)
    {
        var text = $"apiVersion: v1\nkind: Service\nspec: {{ports: [{{port: 8080}}]}}\nmetadata:\n  name: a\n  annotations:\n    {last}\n";

        var stream = new YamlStream();
        stream.Load(new StringReader(Manifest.Read("a", text).ShouldHaveSingleItem().Text));

        ((YamlScalarNode)stream.Documents.ShouldHaveSingleItem().RootNode["metadata"]["annotations"]["note"]).Value.ShouldBe(expected);
    }

    [Theory]
    [InlineData("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1, protocol: TCP}]} # as it is\n")]
    [InlineData("apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\nspec: {ports: [{port: 1}, {containerPort: 2}]}\n")]
    public void What_needs_no_protocol_is_sent_as_it_was_written(string text) => Manifest.Read("a", text).ShouldHaveSingleItem().Text.ShouldBe(text);

    [Fact]
    public void What_is_built_in_binds_the_names_of_our_certificates()
    {
        var manifests = Manifest.Read("built in", NodeObjects.Manifests);

        manifests.Select(m => m.Id).ShouldBe(
            ["clusterrolebinding.rbac.authorization.k8s.io/kubeadm:cluster-admins", "clusterrolebinding.rbac.authorization.k8s.io/nodeagent:kube-proxy"]);
        manifests[0].Text.ShouldContain(NodeAgent.Pki.RoleTable.Find("admin", NodeAgent.Pki.Asker.ControlPlaneNode)!.Organization!);
        manifests[1].Text.ShouldContain(NodeAgent.Pki.RoleTable.Find("kube-proxy")!.CommonName);
    }
}
