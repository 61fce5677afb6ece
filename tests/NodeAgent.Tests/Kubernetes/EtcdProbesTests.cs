using NodeAgent.Kubernetes;

namespace NodeAgent.Tests.Kubernetes;

public class EtcdProbesTests
{
    [Theory]
    [InlineData("3.4.13-0", "/metrics", "/health")]
    [InlineData("3.4.28", "/metrics", "/health")]
    [InlineData("3.4.29-0", "/livez", "/readyz")]
    [InlineData("3.5", "/metrics", "/health")]
    [InlineData("3.5.1-0", "/metrics", "/health")]
    [InlineData("v3.5.9", "/health?exclude=NOSPACE&serializable=true", "/health?serializable=false")]
    [InlineData("3.5.10-0", "/health?exclude=NOSPACE&serializable=true", "/health?serializable=false")]
    [InlineData("3.5.11-0", "/livez", "/readyz")]
    [InlineData("3.6.8-0", "/livez", "/readyz")]
    public void An_etcd_is_asked_what_its_release_answers(string tag, string alive, string ready)
    {
        var probes = EtcdProbes.Of(tag);

        (probes.Alive, probes.Ready).ShouldBe((alive, ready));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("stable")]
    [InlineData("20240101.3")]
    [InlineData("3.3.25")]
    public void One_whose_tag_does_not_say_is_asked_what_all_answer(string? tag) => EtcdProbes.Of(tag).ShouldBe(EtcdProbes.All[0]);

    [Fact]
    public void No_liveness_hangs_on_a_leader_or_on_alarms() => EtcdProbes.All.Select(p => p.Alive)
        .ShouldAllBe(a => a == "/metrics" || a == "/livez" || (a.Contains("serializable=true") && a.Contains("exclude=NOSPACE")));

    [Fact]
    public void The_rows_are_in_order() => EtcdProbes.All.Select(p => p.Since).ShouldBe(EtcdProbes.All.Select(p => p.Since).Order());

    [Fact]
    public void The_documentation_shows_the_rows_of_the_table()
    {
        var shown = System.IO.File.ReadAllLines(Path.Join(Repository.Folder, "docs", "versions.md"))
            .Where(l => l.StartsWith("| etcd ", StringComparison.Ordinal));

        shown.ShouldBe(EtcdProbes.All.Select(p => $"| etcd {p.Since} | `{p.Alive}` | `{p.Ready}` | {p.Source} |"));
    }
}
