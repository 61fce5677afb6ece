using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Tests.Simulation;
using Shouldly;

namespace NodeAgent.Tests.Desired;

/// <summary>Issuer and cluster unit: on control plane nodes alone, by files that go where the role changes.</summary>
public sealed class ControlPlaneServicesTests
{
    private const string Issuer = """
        apiVersion: nodeagent/v1
        kind: NodeConfig
        node: {role: control-plane}
        certificates: {source: store, store: s3://pki/test, apiNames: [api.example.com, 10.9.9.9]}
        controlPlane:
          manifests: s3://cells/amber/manifests
          issuer:
            workers: [amber-worker, amber-gpu=gpu-profile]
            identityCertificates: |
              -----BEGIN CERTIFICATE-----
              MIIBezCCASGgAwIBAgIUAJ
              -----END CERTIFICATE-----
        """;

    private static ControlPlane WithIssuer()
    {
        var plane = new ControlPlane();
        var authority = plane.Store.Text("ca.crt").Trim().ReplaceLineEndings("\n      ");
        plane.Node.ExtraConfig = Issuer[..Issuer.IndexOf("-----BEGIN", StringComparison.Ordinal)] + authority + "\n";
        return plane;
    }

    [Fact]
    public void A_control_plane_node_runs_an_issuer_for_the_roles_it_is_told()
    {
        var plane = WithIssuer();

        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();

        var options = Encoding.UTF8.GetString(plane.Machine.File("/etc/nodeagent/issuer.env").Content!);
        options.ShouldContain("NODEAGENT_ISSUER=\"--cluster test --store s3://pki/test --worker amber-worker --worker amber-gpu=gpu-profile --lifetime 90d");
        plane.Machine.Unit("nodeagent-issuer.service").IsActive.ShouldBeTrue();
        plane.Machine.File("/etc/systemd/system/multi-user.target.d/50-nodeagent-issuer.service.conf").Content.ShouldNotBeNull();
        Encoding.UTF8.GetString(plane.Machine.File("/etc/systemd/system/nodeagent-cluster.service.d/50-nodeagent.conf").Content!)
            .ShouldContain("--manifests s3://cells/amber/manifests");
        WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void Another_role_of_workers_restarts_the_issuer_and_nothing_else()
    {
        var plane = WithIssuer();
        plane.Node.Apply();

        plane.Node.ExtraConfig = plane.Node.ExtraConfig.Replace("amber-gpu=gpu-profile", "amber-arm", StringComparison.Ordinal);

        WorkerTests.Pending(plane.Node.Plan()).ShouldBe(["file /etc/nodeagent/issuer.env", "restart nodeagent-issuer.service"]);
    }

    [Fact]
    public void A_worker_passes_over_what_its_cluster_says_of_control_planes()
    {
        var plane = WithIssuer();
        plane.Node.ExtraConfig = plane.Node.ExtraConfig
            .Replace("role: control-plane", "role: worker", StringComparison.Ordinal).Replace("source: store", "source: none", StringComparison.Ordinal);

        plane.Node.Plan().Steps.Select(s => s.Resource.Id)
            .ShouldNotContain(id => id.Contains("issuer", StringComparison.Ordinal) || id.Contains("cluster.service", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("workers: [amber-worker, amber-gpu=gpu-profile]", "workers: []", "controlPlane.issuer.workers")]
    [InlineData("amber-gpu=gpu-profile", "'path/role'", "controlPlane.issuer.workers[1]")]
    [InlineData("manifests: s3://cells/amber/manifests", "manifests: https://cells", "controlPlane.manifests")]
    [InlineData("store: s3://pki/test", "store: /var/lib/ca, laboratory: true", "controlPlane.issuer")]
    public void What_cannot_be_is_named(string right, string wrong, string path)
    {
        var plane = WithIssuer();
        plane.Node.ExtraConfig = plane.Node.ExtraConfig.Replace(right, wrong, StringComparison.Ordinal);

        Should.Throw<ConfigurationException>(plane.Node.Plan).Message.ShouldContain(path);
    }
}
