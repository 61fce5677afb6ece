using NodeAgent.Kubernetes;
using Shouldly;

namespace NodeAgent.Tests.Kubernetes;

public class CompatibilityTests
{
    [Theory]
    [InlineData(20, "Containerd", "1.7.24", 2)]
    [InlineData(22, "Containerd", "1.7.24", 1)]
    [InlineData(23, "Containerd", "2.0.0", 2)]
    [InlineData(25, "Containerd", "1.5.9", 2)]
    [InlineData(26, "Containerd", "1.6.0", 2)]
    [InlineData(34, "Containerd", "1.7.24", 1)]
    [InlineData(36, "Containerd", "1.7.24", 2)]
    [InlineData(36, "Containerd", "2.2.1", 2)]
    [InlineData(20, "Dockershim", null, 1)]
    [InlineData(23, "Dockershim", null, 2)]
    [InlineData(24, "CriDockerd", "0.2.6", 2)]
    [InlineData(36, "CriDockerd", "0.3.4", 2)]
    [InlineData(36, "Containerd", null, 2)]
    public void Pairs_that_work_are_let_be(int minor, string server, string? version, int cgroup) =>
        Refusal(minor, server, version, cgroup).ShouldBeNull();

    [Theory]
    [InlineData(
        26, "Containerd", "1.5.18", 2, "kubelet speaks v1 (kubernetes#110618", "containerd v1alpha2 (containerd#7863", "install containerd 1.6 or later")]
    [InlineData(36, "Containerd", "1.4.13", 2, "no version of the container runtime interface in common", "install containerd 1.6 or later")]
    [InlineData(20, "Containerd", "2.0.0", 2, "kubelet speaks v1alpha2 (kubernetes#106501", "containerd v1 (containerd#8276", "install containerd before 2.0")]
    [InlineData(22, "Containerd", "2.1.4", 2, "install containerd before 2.0")]
    [InlineData(26, "CriDockerd", "0.2.6", 2, "cri-dockerd v1alpha2", "install cri-dockerd 0.3 or later")]
    [InlineData(35, "Containerd", "2.1.4", 1, "cgroup v1, on which kubelet 1.35 does not start", "failCgroupV1: false")]
    [InlineData(36, "CriDockerd", "0.3.4", 1, "cgroup v1")]
    public void Pairs_that_cannot_work_are_refused_with_the_reason(int minor, string server, string? version, int cgroup, params string[] said)
    {
        var refusal = Refusal(minor, server, version, cgroup).ShouldNotBeNull();
        foreach (var part in said)
        {
            refusal.ShouldContain(part);
        }
    }

    [Theory]
    [InlineData(28, "1.6.20", false)]
    [InlineData(29, "1.6.20", true)]
    [InlineData(29, "1.6.26", false)]
    [InlineData(36, "1.6.36", false)]
    [InlineData(30, "1.7.10", true)]
    [InlineData(30, "1.7.11", false)]
    [InlineData(30, "1.7.24", false)]
    [InlineData(36, "2.1.0-rc.1", false)]
    [InlineData(36, null, false)]
    public void A_runtime_that_cannot_keep_the_sandbox_image_from_being_collected_is_told_of(int minor, string? containerd, bool told) =>
        (Compatibility.CollectsSandboxImage(KubeletVersions.Find(new(1, minor))!, containerd) is not null).ShouldBe(told);

    [Fact]
    public void Cgroup_v1_can_be_insisted_upon() => Refusal(35, "Containerd", "2.1.4", 1, allowed: true).ShouldBeNull();

    [Fact]
    public void Every_minor_has_one_row_and_every_row_says_where_it_is_from()
    {
        KubeletVersions.All.Select(v => v.Minor).ShouldBe(Enumerable.Range(20, 17));
        KubeletVersions.All.ShouldAllBe(v => v.Source.Contains('#'));
        KubeletVersions.CriServers.ShouldAllBe(r => r.Source.Contains('#'));
    }

    [Fact]
    public void A_row_that_ran_names_a_release_of_its_own_minor()
    {
        KubeletVersions.All.Single(v => v.RanHere is not null).RanHere.ShouldBe("1.20.2");
        KubeletVersions.All.ShouldAllBe(v => v.RanHere == null || KubernetesVersion.Parse(v.RanHere) == v.Version);
    }

    private static string? Refusal(int minor, string server, string? version, int cgroup, bool allowed = false) =>
        Compatibility.Refusal(new(KubeletVersions.Find(new(1, minor))!, Enum.Parse<CriServer>(server), version, cgroup, allowed));
}
