using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Kubernetes;
using NodeAgent.Machine;
using NodeAgent.Network;
using NodeAgent.Resources;

namespace NodeAgent.Tests.Machine;

/// <summary>
/// kube-proxy in mode nftables, by what its own unit tests expect it to make (Rulesets/*.nft say of which commits), loaded by the real nft(8) into the real
/// kernel beside what others have. Not recorded from a cluster that runs: no such kube-proxy can be built where these tests run.
/// </summary>
public sealed class ProxyRulesetTests : IDisposable
{
    private static readonly string[] Ages = ["early", "middle", "late"];

    private readonly TemporaryDirectory _directory = new();
    private readonly ProcessRunner _runner = new(CancellationToken.None);

    public void Dispose() => _directory.Dispose();

    public static TheoryData<string, string> Changes()
    {
        var data = new TheoryData<string, string>();
        foreach (var age in Ages)
        {
            foreach (var to in (string[])["iptables", "ipvs", "none"])
            {
                data.Add(age, to);
            }
        }

        return data;
    }

    public static TheoryData<string> All() => [.. Ages];

    [Theory]
    [MemberData(nameof(Changes))]
    public void Mode_nftables_is_left_with_both_tables_and_nothing_else_goes(string age, string to) => NetfilterTests.InNamespace(() =>
    {
        Load("others");
        var others = Ruleset();
        Load(age);
        Ruleset().ShouldNotBe(others);
        var (manifest, configuration) = Running("nftables");
        using var reader = new LinuxReader(CancellationToken.None);
        var resource = Leftovers(to);

        var change = resource.Examine(reader, []).ShouldBeOfType<Change>();
        change.Why.ShouldStartWith($"kube-proxy goes from nftables to {to}");
        change.Disruption.ShouldBe(Disruption.InterruptsServices);
        change.Diff.ShouldBe("- nftables: table ip kube-proxy\n- nftables: table ip6 kube-proxy\n");
        resource.Apply(reader, new LinuxWriter(reader, CancellationToken.None), _ => { }, CancellationToken.None);

        Ruleset().ShouldBe(others);
        File.Exists(manifest).ShouldBeFalse();
        File.Exists(configuration).ShouldBeFalse();
        resource.Examine(reader, []).ShouldBeOfType<InSync>();
    });

    [Theory]
    [MemberData(nameof(All))]
    public void A_kube_proxy_that_shall_be_in_mode_nftables_keeps_its_tables(string age) => NetfilterTests.InNamespace(() =>
    {
        Load("others");
        Load(age);
        var before = Ruleset();
        Running("nftables");
        using var reader = new LinuxReader(CancellationToken.None);
        var resource = Leftovers("nftables");

        resource.Examine(reader, []).ShouldBeOfType<InSync>().Notes.ShouldBeEmpty();
        resource.Apply(reader, new LinuxWriter(reader, CancellationToken.None), _ => { }, CancellationToken.None);

        Ruleset().ShouldBe(before);
    });

    [Theory]
    [MemberData(nameof(All))]
    public void Half_of_it_is_gone_on_with(string age) => NetfilterTests.InNamespace(() =>
    {
        Load("others");
        var others = Ruleset();
        Load(age);
        NfTables.RemoveTable("ip", "kube-proxy");
        using var reader = new LinuxReader(CancellationToken.None);
        var resource = Leftovers("iptables");

        resource.Examine(reader, []).ShouldBeOfType<Change>().Diff.ShouldBe("- nftables: table ip6 kube-proxy\n");
        resource.Apply(reader, new LinuxWriter(reader, CancellationToken.None), _ => { }, CancellationToken.None);

        Ruleset().ShouldBe(others);
    });

    /// <summary>As of a node that runs, its paths in a directory of the test's: those of this machine are nobody's to touch.</summary>
    private ProxyLeftovers Leftovers(string mode) => new(
        mode,
        ServiceProxy.Traces(Enum.Parse<ProxyMode>(mode, ignoreCase: true), KubernetesVersion.Parse("1.33.0")),
        new(
            $"{_directory.Path}/kube-proxy.yaml",
            $"{_directory.Path}/config.yaml",
            Cidr.Parse("10.96.0.0/12"),
            [],
            $"{_directory.Path}/prepared",
            []),
        ProxyChange.Always,
        new Nobody());

    private (string Manifest, string Configuration) Running(string mode)
    {
        _directory.Put("prepared", "");
        return (_directory.Put("kube-proxy.yaml", "apiVersion: v1\n"), _directory.Put("config.yaml", $"{Ownership.Header}\nmode: {mode}\n"));
    }

    private void Load(string ruleset) => _runner
        .Run(["nft", "-f", Path.Join(Repository.Folder, "tests", "NodeAgent.Tests", "Machine", "Rulesets", $"{ruleset}.nft")]).Failure.ShouldBeNull();

    private string Ruleset()
    {
        var result = _runner.Run(["nft", "list", "ruleset"]);
        result.Failure.ShouldBeNull();
        return result.Output;
    }

    private sealed class Nobody : INodePods
    {
        public IReadOnlyList<string> Others() => throw new InvalidOperationException("pods are asked for though policy protects none");
    }
}
