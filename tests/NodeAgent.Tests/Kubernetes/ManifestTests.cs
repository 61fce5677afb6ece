using NodeAgent.Kubernetes;
using Shouldly;

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
    public void What_is_built_in_binds_the_names_of_our_certificates()
    {
        var manifests = Manifest.Read("built in", NodeObjects.Manifests);

        manifests.Select(m => m.Id).ShouldBe(
            ["clusterrolebinding.rbac.authorization.k8s.io/kubeadm:cluster-admins", "clusterrolebinding.rbac.authorization.k8s.io/nodeagent:kube-proxy"]);
        manifests[0].Text.ShouldContain(NodeAgent.Pki.RoleTable.Find("admin", NodeAgent.Pki.Asker.ControlPlaneNode)!.Organization!);
        manifests[1].Text.ShouldContain(NodeAgent.Pki.RoleTable.Find("kube-proxy")!.CommonName);
    }
}
