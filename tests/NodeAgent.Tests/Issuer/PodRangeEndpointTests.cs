using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using Amazon.Runtime;
using NodeAgent.Aws;
using NodeAgent.Issuer;
using NodeAgent.Machine;
using NodeAgent.Network;

namespace NodeAgent.Tests.Issuer;

/// <summary>POST /v1/pod-range of an issuer that runs, and EC2's calls as they go over the wire.</summary>
public sealed class PodRangeEndpointTests : IAsyncLifetime
{
    private const string Table = "rtb-0123456789abcdef0";

    private readonly ConcurrentDictionary<string, string> _routes = new();
    private IssuerLab _lab = null!;
    private IssuerServer _server = null!;

    public async Task InitializeAsync()
    {
        _lab = await IssuerLab.Start();
        _lab.Aws.Instead = async (context, action) =>
        {
            if (!action.EndsWith("Route", StringComparison.Ordinal) && !action.EndsWith("RouteTables", StringComparison.Ordinal))
            {
                return false;
            }

            await FakeAws.Write(context, 200, action == "DescribeRouteTables" ? Describe() : $"<{action}Response><return>true</return></{action}Response>");
            return true;
        };
        _server = await _lab.Another(_lab.Settings with
        {
            Kinds = [.. _lab.Settings.Kinds.Select(k => k with { HasPods = k.NodeRole != "edge" })],
            PodRanges = new() { Cluster = IssuerLab.Cluster, VpcId = IssuerLab.Vpc, Whole = Cidr.Parse("10.32.0.0/16"), NodePrefix = 24 },
        });
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        await _lab.DisposeAsync();
    }

    [Fact]
    public async Task The_range_that_a_route_says_is_answered_and_audited()
    {
        var node = Asking(_lab.NewNode());
        _routes["10.32.9.0/24"] = node.Instance.Id;

        var answer = await node.Join();

        (answer.Status, answer.Body).ShouldBe((200, """{"range":"10.32.9.0/24"}"""), _lab.Audit.Last().ToJson());
        var audit = _lab.Audit.ShouldHaveSingleItem();
        (audit.Decision, audit.Proof, audit.Instance, audit.PodRange).ShouldBe(("granted", "sts", node.Instance.Id, "10.32.9.0/24"));
    }

    [Fact]
    public async Task A_node_that_has_a_certificate_shows_that()
    {
        var joined = _lab.NewNode();
        using var certificate = await joined.Joined();
        var node = Asking(_lab.NewNodeOf(joined));
        node.Certificate = certificate;
        _routes["10.32.9.0/24"] = node.Instance.Id;

        (await node.Join()).Body.ShouldBe("""{"range":"10.32.9.0/24"}""");

        _lab.Audit.Last().Proof.ShouldBe("certificate");
    }

    [Fact]
    public async Task Anothers_range_is_not_to_be_had_by_asking_for_it()
    {
        var victim = _lab.NewNode();
        var node = Asking(_lab.NewNode(), "10.32.9.0/24");
        _routes["10.32.9.0/24"] = victim.Instance.Id;

        Refused(await node.Join(), 403, "range", "a node does not choose its range");

        _lab.Aws.Calls.ShouldNotContain(c => c.Action == "CreateRoute" || c.Action == "ReplaceRoute");
    }

    [Fact]
    public async Task Another_instances_document_gets_no_range()
    {
        var victim = _lab.NewNode();
        var node = _lab.NewNode();
        node.Document = _lab.Document(victim.Instance.Id);
        Asking(node);

        Refused(await node.Join(), 403, "document", "and the caller is");

        _lab.Aws.Calls.ShouldNotContain(c => c.Action == "DescribeRouteTables");
    }

    [Fact]
    public async Task A_kind_of_node_without_pods_gets_none()
    {
        var node = Asking(_lab.NewNode(
            i => i with
            {
                Profile = $"arn:aws:iam::{IssuerLab.Account}:instance-profile/prod-edge",
                Tags = new Dictionary<string, string> { ["nodeagent:cluster"] = IssuerLab.Cluster, ["nodeagent:role"] = "edge" },
            },
            role: "prod-edge"));

        Refused(await node.Join(), 403, "pod-range", "a edge gets no range for pods");
    }

    [Fact]
    public async Task An_issuer_without_ranges_says_so()
    {
        var node = Asking(_lab.NewNode());
        node.Server = _lab.Server;

        Refused(await node.Join(), 403, "pod-range", "it was started without --pod-range");
    }

    [Theory]
    [InlineData("""{"document":"AA=="}""")]
    [InlineData("""{"document":"AA==","range":null,"instance":"i-0123456789abcdef0"}""")]
    public async Task A_request_that_is_not_one_is_refused(string body)
    {
        var node = Asking(_lab.NewNode());
        node.Body = System.Text.Encoding.UTF8.GetBytes(body);

        Refused(await node.Join(), 400, "malformed", "the body is not the JSON of a request for a pod range");
    }

    [Fact]
    public async Task Routes_are_in_the_metrics()
    {
        var node = Asking(_lab.NewNode());
        _routes["10.32.9.0/24"] = node.Instance.Id;
        await node.Join();

        using var http = new HttpClient();
        var text = await http.GetStringAsync(new Uri(_server.MetricsAddress, "/metrics"));

        text.ShouldContain($"nodeagent_issuer_routes{{table=\"{Table}\"}} 3\n");
        text.ShouldContain("nodeagent_issuer_route_quota 500\n");
    }

    [Fact]
    public void The_nodes_side_asks_for_its_range()
    {
        var node = _lab.NewNode();
        _routes["10.32.9.0/24"] = node.Instance.Id;
        using var client = new IssuerClient(
            "pod range",
            new(
                IssuerClientSettings.Given([_server.Address]),
                IssuerLab.Cluster,
                _lab.Authority.CertificatePem,
                IssuerLab.Region,
                _lab.Aws.Endpoint,
                TimeSpan.FromMinutes(1)),
            _ => Task.FromResult(new InstanceProof(
                new ImmutableCredentials(node.Credentials.AccessKey, node.Credentials.Secret, node.Credentials.Token), _lab.Document(node.Instance.Id))),
            () => null,
            _ => { },
            TimeProvider.System);
        var source = new IssuerPodRangeSource(client);

        source.Obtain(null, CancellationToken.None).ShouldBe(Cidr.Parse("10.32.9.0/24"));
        Should.Throw<MachineException>(() => source.Obtain(Cidr.Parse("10.32.8.0/24"), CancellationToken.None)).Message
            .ShouldContain("pod range from issuer https://127.0.0.1:");
    }

    [Theory]
    [InlineData("RouteAlreadyExists", 400, RouteOutcome.AlreadyThere)]
    [InlineData("RouteLimitExceeded", 400, RouteOutcome.Full)]
    [InlineData("InvalidRoute.NotFound", 400, RouteOutcome.NotThere)]
    [InlineData(null, 200, RouteOutcome.Done)]
    internal async Task What_EC2_answers_to_a_route_is_sorted(string? code, int status, RouteOutcome expected)
    {
        _lab.Aws.Instead = async (context, action) =>
        {
            await FakeAws.Write(context, status, code is null ? $"<{action}Response><return>true</return></{action}Response>"
                : $"<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors><RequestID>r</RequestID></Response>");
            return true;
        };
        using var ec2 = Client();

        (await Ec2.CreateRoute(ec2, Table, "10.32.9.0/24", new("i-1", null), default)).ShouldBe(expected);
        (await Ec2.DeleteRoute(ec2, Table, "10.32.9.0/24", default)).ShouldBe(expected);
        (await Ec2.ReplaceRoute(ec2, Table, "10.32.9.0/24", new(null, "eni-1"), default)).ShouldBe(expected);
        _lab.Aws.Calls.Select(c => c.Action).ShouldBe(["CreateRoute", "DeleteRoute", "ReplaceRoute"]);
    }

    [Fact]
    public async Task A_right_that_is_missing_is_named()
    {
        _lab.Aws.Instead = async (context, _) =>
        {
            await FakeAws.Write(
                context,
                403,
                "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors><RequestID>r</RequestID></Response>");
            return true;
        };
        using var ec2 = Client();

        (await Should.ThrowAsync<AwsException>(() => Ec2.LetPass(ec2, "eni-1", default))).Message
            .ShouldContain("Allow the role of this instance the action ec2:ModifyNetworkInterfaceAttribute.");
    }

    private AmazonEC2Client Client() => new(
        new SessionAWSCredentials("AKIAISSUER", "secret", "token"), new AmazonEC2Config(IssuerLab.Region, _lab.Aws.Endpoint) { MaxErrorRetry = 0 });

    private Node Asking(Node node, string? range = null)
    {
        node.Server = _server;
        node.Path = "/v1/pod-range";
        node.Document ??= _lab.Document(node.Instance.Id);
        node.Body = JsonSerializer.SerializeToUtf8Bytes(new PodRangeRequest(node.Document, range), ProtocolJson.Default.PodRangeRequest);
        return node;
    }

    private static void Refused(Answered answer, int status, string code, string reason)
    {
        (answer.Status, answer.Error.Code).ShouldBe((status, code), answer.Body);
        answer.Error.Message.ShouldContain(reason);
    }

    /// <summary>As EC2's API reference writes it.</summary>
    private string Describe() => $"""
        <?xml version="1.0" encoding="UTF-8"?>
        <DescribeRouteTablesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId><routeTableSet><item>
        <routeTableId>{Table}</routeTableId><vpcId>{IssuerLab.Vpc}</vpcId><routeSet>
        <item><destinationCidrBlock>10.1.0.0/16</destinationCidrBlock><gatewayId>local</gatewayId><state>active</state><origin>CreateRouteTable</origin></item>
        <item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock><natGatewayId>nat-1</natGatewayId><state>active</state><origin>CreateRoute</origin></item>
        <item><destinationCidrBlock>172.16.0.0/12</destinationCidrBlock><gatewayId>vgw-1</gatewayId><state>active</state><origin>EnableVgwRoutePropagation</origin></item>
        {string.Concat(_routes.Select(r => string.Create(CultureInfo.InvariantCulture, $"""
            <item><destinationCidrBlock>{r.Key}</destinationCidrBlock><instanceId>{r.Value}</instanceId><instanceOwnerId>{IssuerLab.Account}</instanceOwnerId>
            <networkInterfaceId>eni-1</networkInterfaceId><state>active</state><origin>CreateRoute</origin></item>
            """)))}
        </routeSet><associationSet><item><routeTableId>rtb-of-an-association</routeTableId></item></associationSet><tagSet/></item></routeTableSet></DescribeRouteTablesResponse>
        """.TrimStart();
}
