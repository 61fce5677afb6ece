using System.Text;
using NodeAgent.Configuration;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Configuration;

public class ConfigValuesTests
{
    private const string Mirrors = "containerd: {mirrors: {docker.io: {endpoints: ['https://m.example'], headers: {Authorization: SECRET}}}}\n";

    [Fact]
    public void How_layers_are_cut_does_not_show()
    {
        var one = Of("node: {maxPods: 20, labels: {b: y, a: x}}\nkernel: {sysctls: {vm.max_map_count: null}}\n");
        var other = ConfigValues.Of(Load(
            Document("a", Head + "kernel: {sysctls: {vm.max_map_count: 1}}\nnode: {labels: {a: old}}\n"),
            Document(
                "b",
                Head
                    + "kernel: {sysctls: {vm.max_map_count: null}}\n# said\nnode: {maxPods: 0x14, labels: {a: 'x', b: y}}\nregistries: {}\nnetwork: "
                    + "{podRange: 10.32.7.0/24}\n")).Tree);

        other.All.ShouldBe(one.All);
        (other.Identity, other.Digest).ShouldBe((one.Identity, one.Digest));
    }

    [Fact]
    public void What_differs_is_said_with_where_it_is_written_now()
    {
        var before = Of(
            "node: {labels: {pool: a, gone: x}, taints: [{key: a, effect: NoExecute}]}\nkernel: {sysctls: {kernel.panic: 5}}\nkubelet: {configuration: "
                + "{evictionHard: {memory.available: 5%}}}\n");
        var after = LoadText(
            "node: {labels: {pool: b}, maxPods: 20}\nkernel: {sysctls: {kernel.panic: null}}\nkubelet: {configuration: {evictionHard: {memory.available: "
                + "null}}}\ntime: {}\n");

        ConfigValues.Of(after.Tree).Since(before, after.OriginOf).Select(d => (d.Path, d.Before, d.After, d.Origin)).ShouldBe(
        [
            ("kernel.sysctls[kernel.panic]", "\"5\"", null, "node.yaml:4:34"),
            ("kubelet.configuration.evictionHard[memory.available]", "\"5%\"", "null", "node.yaml:5:60"),
            ("node.labels.gone", "\"x\"", null, "node.yaml:3:16"),
            ("node.labels.pool", "\"a\"", "\"b\"", "node.yaml:3:23"),
            ("node.maxPods", "110", "20", "node.yaml:3:36"),
            ("node.taints", "[{\"key\":\"a\",\"effect\":\"NoExecute\"}]", null, "node.yaml:3:7"),
            ("time", null, "{}", "node.yaml:6:7"),
        ], new IgnoringDefaults());
    }

    [Fact]
    public void A_secret_is_kept_nowhere_and_another_one_is_noticed()
    {
        var (one, other) = (Of(Mirrors.Replace("SECRET", "hush", StringComparison.Ordinal)), Of(Mirrors.Replace("SECRET", "tush", StringComparison.Ordinal)));

        string.Join('\n', one.All.Values).ShouldNotContain("hush");
        other.Identity.ShouldNotBe(one.Identity);
        // What everybody may read is no touchstone for guesses.
        other.Digest.ShouldBe(one.Digest);
        other.Since(one, _ => null).ShouldBe([new("containerd.mirrors[docker.io].headers.Authorization", "(secret)", "(secret)", null)]);
    }

    [Fact]
    public void Whoever_kept_values_reads_them_back_as_the_same_configuration()
    {
        var one = Of(Mirrors);
        var record = new AdoptionRecord(
            "i-1", DateTimeOffset.UnixEpoch, one.All, new("p", DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddHours(1), null));

        var read = AdoptionRecord.Read(Encoding.UTF8.GetString(record.Write()), "i-1").ShouldNotBeNull();

        read.Adopted.Identity.ShouldBe(one.Identity);
        (read.AdoptedAt, read.Pending).ShouldBe((record.AdoptedAt, record.Pending));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("null")]
    [InlineData("{\"instanceId\": \"i-1\"}")]
    [InlineData("{\"instanceId\": \"i-2\", \"adoptedAt\": \"2026-11-21T10:00:00+00:00\", \"values\": {}}")]
    public void A_record_that_is_not_there_not_whole_or_of_another_instance_counts_for_nothing(string? json) => AdoptionRecord.Read(json, "i-1").ShouldBeNull();

    private static ConfigValues Of(string text) => ConfigValues.Of(LoadText(text).Tree);

    /// <summary>Lines of defaults.yaml move.</summary>
    private sealed class IgnoringDefaults : IEqualityComparer<(string Path, string? Before, string? After, string? Origin)>
    {
        public bool Equals((string Path, string? Before, string? After, string? Origin) x, (string Path, string? Before, string? After, string? Origin) y) =>
            (x.Path, x.Before, x.After) == (y.Path, y.Before, y.After)
            && (x.Origin == y.Origin
            || (x.Origin?.StartsWith("defaults:", StringComparison.Ordinal) == true && y.Origin?.StartsWith("defaults:", StringComparison.Ordinal) == true));

        public int GetHashCode((string Path, string? Before, string? After, string? Origin) obj) => 0;
    }
}
