using NodeAgent.Kubernetes;

namespace NodeAgent.Tests.Kubernetes;

public class ControlPlaneVersionsTests
{
    [Fact]
    public void There_is_a_row_for_each_minor_of_the_table_of_kubelets() =>
        ControlPlaneVersions.All.Select(v => v.Version).ShouldBe(KubeletVersions.All.Select(v => v.Version));

    [Fact]
    public void An_etcd_never_goes_back_from_one_minor_to_the_next()
    {
        var tags = ControlPlaneVersions.All.Select(v => Version.Parse(v.EtcdTag.Split('-')[0])).ToList();

        tags.ShouldBe(tags.Order());
        ControlPlaneVersions.All.ShouldAllBe(v => v.EtcdTag.EndsWith("-0"));
        ControlPlaneVersions.All.ShouldAllBe(v => v.Source.Length > 0);
    }

    [Fact]
    public void No_minor_gets_an_etcd_3_5_whose_data_can_become_inconsistent() =>
        ControlPlaneVersions.All.Select(v => Version.Parse(v.EtcdTag.Split('-')[0]))
            .ShouldAllBe(v => v < new Version(3, 5, 0) || v >= new Version(3, 5, 3));

    [Theory]
    [InlineData(20, "3.4.13-0", "3.2")]
    [InlineData(28, "3.5.15-0", "3.9")]
    [InlineData(32, "3.5.24-0", "3.10")]
    [InlineData(36, "3.6.8-0", "3.10.2")]
    [InlineData(37, "3.6.8-0", "3.10.2")]
    [InlineData(19, "3.4.13-0", "3.2")]
    public void A_minor_has_its_images_and_one_beyond_the_table_the_nearest(int minor, string etcd, string pause)
    {
        var row = ControlPlaneVersions.Nearest(new(1, minor));

        row.EtcdTag.ShouldBe(etcd);
        row.PauseTag.ShouldBe(pause);
    }

    [Fact]
    public void The_documentation_shows_the_rows_of_the_table()
    {
        var shown = System.IO.File.ReadAllLines(Path.Join(Repository.Folder, "docs", "versions.md"))
            .Where(l => l.StartsWith("| v1.", StringComparison.Ordinal));

        shown.ShouldBe(ControlPlaneVersions.All.Select(v => $"| v{v.Version} | {v.EtcdTag} | {v.PauseTag} | {v.Source} |"));
    }

    [Theory]
    [InlineData(36, 36, null)]
    [InlineData(36, 33, null)]
    [InlineData(36, 32, "kubelet 1.32 is too old for kube-apiserver 1.36: it may be 3 minors behind")]
    [InlineData(35, 36, "kubelet 1.36 is newer than kube-apiserver 1.35, which it must not be")]
    [InlineData(28, 25, null)]
    [InlineData(27, 24, "kubelet 1.24 is too old for kube-apiserver 1.27: it may be 2 minors behind")]
    [InlineData(26, 24, null)]
    [InlineData(22, 20, null)]
    [InlineData(23, 20, "take a control plane up to 1.22")]
    public void A_node_goes_with_a_control_plane_that_the_skew_policy_names(int controlPlane, int kubelet, string? said) =>
        KubeletNamesTests.Said(Compatibility.Skew(new(1, controlPlane), new(1, kubelet)), said);
}
