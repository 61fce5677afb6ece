using NodeAgent.Desired;
using NodeAgent.Kubernetes;
using NodeAgent.Tests.Simulation;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Desired;

public class PodLimitTests
{
    private const string NoBridge = "network: {plugin: none, podRange: null}\n";

    [Theory]
    [InlineData("node: {maxPods: 58}", 58)]
    [InlineData("node: {maxPods: fromPodRange}", 253)]
    [InlineData("node: {maxPods: fromPodRange}\nnetwork: {podRange: 10.32.7.0/26}", 61)]
    [InlineData("node: {maxPods: fromPodRange}\nnetwork: {podRange: 10.32.0.0/20}", 1024)]
    public void The_number_is_given_or_follows_from_the_range(string text, int expected) =>
        PodLimit.Of(LoadText(text).Config, Worker.ExampleFacts()).ShouldBe(expected);

    // As aws/amazon-vpc-cni-k8s lists them (misc/eni-max-pods.txt at 01d744a): one of each pattern, and those that fall out of theirs.
    [Theory]
    [InlineData("m5.large", 29)]
    [InlineData("m5d.4xlarge", 234)]
    [InlineData("m5.24xlarge", 737)]
    [InlineData("m5.metal", 737)]
    [InlineData("c6gd.large", 29)]
    [InlineData("m6g.medium", 8)]
    [InlineData("i3.large", 29)]
    [InlineData("i4i.24xlarge", 437)]
    [InlineData("m3.xlarge", 58)]
    [InlineData("m3.2xlarge", 118)]
    [InlineData("m4.large", 20)]
    [InlineData("c7i-flex.2xlarge", 58)]
    [InlineData("m7i.metal-24xl", 737)]
    [InlineData("c6in.32xlarge", 394)]
    [InlineData("p5.48xlarge", 100)]
    [InlineData("g5.48xlarge", 345)]
    [InlineData("g6e.12xlarge", 292)]
    [InlineData("inf1.24xlarge", 321)]
    [InlineData("d3en.12xlarge", 89)]
    public void The_VPC_CNI_has_addresses_by_type(string type, int expected)
    {
        var facts = Worker.ExampleFacts();

        PodLimit.Of(LoadText(NoBridge + "node: {maxPods: vpcCni}").Config, facts with { Instance = facts.Instance with { Type = type } }).ShouldBe(expected);
    }

    [Theory]
    [InlineData("z9.large")]
    [InlineData("m5.3xlarge")]
    [InlineData("m")]
    [InlineData("#.of")]
    public void A_type_that_is_not_in_the_table_is_named_with_what_to_do(string type)
    {
        var facts = Worker.ExampleFacts();

        var message = Should.Throw<NotPossibleException>(
            () => PodLimit.Of(LoadText(NoBridge + "node: {maxPods: vpcCni}").Config, facts with { Instance = facts.Instance with { Type = type } })).Message;

        message.ShouldContain($"an instance of type {type} has");
        message.ShouldContain("give the number in node.maxPods");
    }

    [Fact]
    public void Every_line_of_the_table_can_be_read()
    {
        var types = 0;
        foreach (var line in File.ReadAllLines(Path.Join(Repository.Folder, "src", "NodeAgent", "Kubernetes", "vpc-cni-limits.txt")).Where(l => l[0] != '#'))
        {
            var words = line.Split(' ');
            foreach (var size in words[1..].Select(w => w.Split('=')[0]))
            {
                VpcCniLimits.Of($"{words[0]}.{size}").ShouldNotBeNull()
                    .ShouldSatisfyAllConditions(l => l.Interfaces.ShouldBeInRange(1, 16), l => l.Addresses.ShouldBeInRange(2, 64));
                types++;
            }
        }

        types.ShouldBeGreaterThan(800);
    }

    [Theory]
    [InlineData(
        "node: {maxPods: vpcCni}",
        "node.yaml:3:17: node.maxPods: vpcCni counts the addresses that the AWS VPC CNI gives to pods, and here network.plugin bridge gives them; set "
            + "network.plugin: aws-vpc-cni, or use fromPodRange")]
    [InlineData(
        NoBridge + "node: {maxPods: fromPodRange}",
        "node.yaml:4:17: node.maxPods: fromPodRange counts the addresses of network.podRange, and there is none; give the range, or the number")]
    [InlineData(
        "network: {podRange: 10.32.7.0/31}\nnode: {maxPods: fromPodRange}",
        "node.yaml:4:17: node.maxPods: network.podRange 10.32.7.0/31 (node.yaml:3:21) has no address for a pod: network, broadcast and gateway are taken")]
    public void What_cannot_be_counted_is_refused(string text, string error) => ErrorsOf(text).ShouldBe([error]);
}
