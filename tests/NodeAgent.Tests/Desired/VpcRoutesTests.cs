using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Network;
using NodeAgent.Resources;
using NodeAgent.Tests.Simulation;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Desired;

/// <summary>network.plugin: vpc-routes, from the node's side.</summary>
public class VpcRoutesTests
{
    private const string Conflist = "/etc/cni/net.d/10-nodeagent.conflist";

    private const string Config = """
        apiVersion: nodeagent/v1
        kind: NodeConfig
        cluster: {podRange: 10.244.0.0/16}
        network: {plugin: vpc-routes, podRange: null}
        """;

    private readonly Worker _worker;
    private readonly Source _source = new();

    public VpcRoutesTests() => _worker = new Worker { ExtraConfig = Config, PodRanges = _source };

    [Fact]
    public void A_plan_knows_that_a_range_is_to_be_allocated_and_asks_nobody()
    {
        var plan = _worker.Plan();

        plan.Steps.Single(s => s.Resource is PodRange).Finding.ShouldBeOfType<Change>().Why.ShouldBe("not there, range to be allocated");
        plan.Steps.Single(s => s.Resource.Name == Conflist).Finding.ShouldBeOfType<After>().Expected.Diff!.ShouldContain("range to be allocated");
        _source.Asked.ShouldBeEmpty();
    }

    [Fact]
    public void The_range_is_asked_for_once_and_kept()
    {
        _worker.Apply().Succeeded.ShouldBeTrue();
        _worker.Apply().Count<Changed>().ShouldBe(0);

        _source.Asked.ShouldBe([null]);
        Text(PodRange.File).ShouldBe("""{"instance":"i-0123456789abcdef0","range":"10.244.7.0/24"}""");
        var conflist = Text(Conflist);
        conflist.ShouldContain("\"subnet\": \"10.244.7.0/24\"");
        conflist.ShouldContain("\"ipMasq\": false");
        conflist.ShouldNotContain("mtu");
    }

    [Fact]
    public void Another_instances_range_in_an_image_does_not_count()
    {
        _worker.Apply();
        _worker.Machine.Put(PodRange.File, File("""{"instance":"i-of-the-image","range":"10.244.9.0/24"}"""));

        _worker.Plan().Steps.Single(s => s.Resource is PodRange).Finding.ShouldBeOfType<Change>().Why.ShouldBe("is of i-of-the-image, range to be allocated");
        _worker.Apply().Succeeded.ShouldBeTrue();

        Text(PodRange.File).ShouldContain("10.244.7.0/24");
    }

    [Theory]
    [InlineData("""{"instance":"i-0123456789abcdef0","range":"10.245.9.0/24"}""", "says 10.245.9.0/24, which is not within cluster.podRange 10.244.0.0/16")]
    [InlineData("""{"instance":"i-0123456789abcdef0","range":"10.244.9.0/25"}""", "says 10.244.9.0/25, which is no /24 (network.nodePrefix)")]
    [InlineData("""{"instance":"i-0123456789abcdef0","range":"what"}""", "cannot be read")]
    [InlineData("torn", "cannot be read")]
    public void What_is_kept_and_does_not_fit_is_asked_for_anew(string kept, string why)
    {
        _worker.Apply();
        _worker.Machine.Put(PodRange.File, File(kept));

        _worker.Plan().Steps.Single(s => s.Resource is PodRange).Finding.ShouldBeOfType<Change>().Why.ShouldBe(why + ", range to be allocated");
    }

    [Fact]
    public void A_range_that_is_given_is_asked_for_as_that_one()
    {
        _worker.ExtraConfig = Config.Replace("podRange: null", "podRange: 10.244.7.0/24", StringComparison.Ordinal);

        _worker.Apply().Succeeded.ShouldBeTrue();

        _source.Asked.ShouldBe([Cidr.Parse("10.244.7.0/24")]);
    }

    [Fact]
    public void A_range_of_another_cluster_is_not_taken()
    {
        _source.Answer = "10.99.0.0/24";

        var failed = _worker.Apply().Steps.Single(s => s.Resource is PodRange).Outcome.ShouldBeOfType<Failed>();

        failed.Why.ShouldContain("was given 10.99.0.0/24, which is not within cluster.podRange 10.244.0.0/16");
        _worker.Machine.File(PodRange.File).Kind.ShouldBe(FileKind.Absent);
    }

    [Fact]
    public void Egress_is_translated_but_for_pods_services_and_the_VPC()
    {
        _worker.ExtraConfig = Config.Replace("podRange: null", "podRange: null, egress: {except: [192.168.0.0/16, 172.31.1.1/32]}", StringComparison.Ordinal);
        var facts = _worker.Facts;
        _worker.Facts = facts with
        {
            Instance = facts.Instance with { Interfaces = [facts.Instance.Interfaces[0] with { VpcRanges = ["10.0.0.0/16", "100.64.0.0/20"] }] },
        };

        _worker.Apply().Succeeded.ShouldBeTrue();

        _worker.Machine.PacketFilter("nodeagent").ShouldBe("""
            table ip nodeagent {
            	chain postrouting {
            		type nat hook postrouting priority 110; policy accept;
            		ip saddr != 10.244.0.0/16 return
            		ip daddr 10.0.0.2 masquerade
            		ip daddr 100.64.0.2 masquerade
            		ip daddr 10.244.0.0/16 return
            		ip daddr 10.96.0.0/12 return
            		ip daddr 10.0.0.0/16 return
            		ip daddr 100.64.0.0/20 return
            		ip daddr 192.168.0.0/16 return
            		ip daddr 172.31.1.1 return
            		masquerade
            	}
            }

            """);
        _worker.Machine.Reboot();
        _worker.Plan().Steps.Single(s => s.Resource is EgressTranslation).Finding.ShouldBeOfType<Change>().Why.ShouldBe("not there");
    }

    [Fact]
    public void A_table_as_nft_prints_it_holds_and_one_with_another_rule_does_not()
    {
        _worker.Apply();
        var table = _worker.Machine.PacketFilter("nodeagent")!;
        _worker.Machine.SetPacketFilter("nodeagent", Inner(table).Replace("priority 110;", "priority srcnat + 10;", StringComparison.Ordinal));
        _worker.Plan().Steps.Single(s => s.Resource is EgressTranslation).Finding.ShouldBeOfType<InSync>();

        _worker.Machine.SetPacketFilter("nodeagent", Inner(table).Replace("\t\tmasquerade\n", "", StringComparison.Ordinal));

        _worker.Plan().Steps.Single(s => s.Resource is EgressTranslation).Finding.ShouldBeOfType<Change>().Diff!.ShouldContain("+\t\tmasquerade");

        static string Inner(string table) => table[(table.IndexOf('\n', StringComparison.Ordinal) + 1)..table.LastIndexOf('}')];
    }

    [Fact]
    public void A_table_that_nobody_wants_any_more_goes()
    {
        _worker.Apply();
        _worker.ExtraConfig = Config.Replace("podRange: null", "podRange: null, egress: {translate: false}", StringComparison.Ordinal);

        _worker.Apply().Succeeded.ShouldBeTrue();

        _worker.Machine.PacketFilter("nodeagent").ShouldBeNull();
    }

    [Theory]
    [InlineData("network: {plugin: vpc-routes, podRange: null}\ncluster: {podRange: null}", "cluster.podRange: required with network.plugin vpc-routes")]
    [InlineData(
        "network: {plugin: vpc-routes, podRange: null, nodePrefix: 29}\ncluster: {podRange: 10.32.0.0/16}",
        "network.nodePrefix: 29 is out of range; expected 16 to 28")]
    [InlineData("network: {plugin: vpc-routes, podRange: null, nodePrefix: 20}\ncluster: {podRange: 10.32.0.0/22}", "expected 22 to 28")]
    [InlineData("network: {plugin: vpc-routes, podRange: 10.32.7.0/25}\ncluster: {podRange: 10.32.0.0/16}", "has another size than network.nodePrefix 24")]
    [InlineData(
        "network: {plugin: vpc-routes, podRange: null, nodePrefix: 26}\ncluster: {podRange: 10.32.0.0/16}",
        "110 pods do not fit into a range of network.nodePrefix 26")]
    [InlineData("network: {plugin: vpc-routes, podRange: null, mtu: 9500}\ncluster: {podRange: 10.32.0.0/16}", "network.mtu: 9500 is out of range")]
    [InlineData("network: {egress: {translate: true}}", "network.egress: is for network.plugin vpc-routes")]
    public void What_does_not_go_together_is_refused(string text, string expected) => Should.Throw<ConfigurationException>(() => LoadText(text))
        .Message.ShouldContain(expected);

    [Theory]
    [InlineData(24, 253)]
    [InlineData(26, 61)]
    [InlineData(20, 1024)]
    public void As_many_pods_as_a_range_has_addresses(int prefix, int expected) => PodLimit.Of(
        LoadText($$"""
            network: {plugin: vpc-routes, podRange: null, nodePrefix: {{prefix}}}
            cluster: {podRange: 10.32.0.0/16}
            node: {maxPods: fromPodRange}
            """).Config,
        Worker.ExampleFacts()).ShouldBe(expected);

    private string Text(string path) => Encoding.UTF8.GetString(_worker.Machine.File(path).Content!);

    private static FileReport File(string text) => new(FileKind.Regular, Encoding.UTF8.GetBytes(text), (UnixFileMode)0x1A4);

    private sealed class Source : IPodRangeSource
    {
        public List<Cidr?> Asked { get; } = [];

        public string Answer { get; set; } = "10.244.7.0/24";

        public Cidr Obtain(Cidr? wish, CancellationToken cancellation)
        {
            Asked.Add(wish);
            return Cidr.Parse(Answer);
        }
    }
}
