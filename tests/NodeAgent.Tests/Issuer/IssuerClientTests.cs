using System.Net;
using System.Security.Cryptography;
using System.Text;
using Amazon.Runtime;
using NodeAgent.Aws;
using NodeAgent.Commands;
using NodeAgent.Issuer;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Pki;

namespace NodeAgent.Tests.Issuer;

/// <summary>The node's side against an issuer that runs.</summary>
public sealed class IssuerClientTests : IAsyncLifetime
{
    private IssuerLab _lab = null!;
    private readonly List<string> _waits = [];
    private byte[]? _standing;
    private Func<CancellationToken, Task<IReadOnlyList<Uri>>>? _find;
    private TimeProvider _time = TimeProvider.System;
    private int _proofs;

    public async Task InitializeAsync() => _lab = await IssuerLab.Start();

    public async Task DisposeAsync() => await _lab.DisposeAsync();

    [Fact]
    public void All_that_is_due_comes_in_one_request()
    {
        var node = _lab.NewNode();
        using var source = Source(node);

        var chains = source.ObtainAll(Requests(node), CancellationToken.None);

        chains.Select(c => ParsedCertificate.Parse(c[0])!.Subject).ShouldBe(RoleTable.Worker.Select(r => r.For(IssuerLab.Identity(node.Instance)).Subject));
        _lab.Audit.ShouldHaveSingleItem().Proof.ShouldBe("sts");
    }

    [Fact]
    public void A_node_that_has_a_certificate_shows_that()
    {
        var node = _lab.NewNode();
        _standing = Standing(node, _lab.Authority, DateTimeOffset.UtcNow, TimeSpan.FromDays(1));
        using var source = Source(node);

        source.ObtainAll(Requests(node), CancellationToken.None).Count.ShouldBe(3);

        _lab.Audit.ShouldHaveSingleItem().Proof.ShouldBe("certificate");
        _lab.Aws.Calls.ShouldNotContain(c => c.Action == "GetCallerIdentity");
    }

    [Fact]
    public void A_certificate_that_the_issuer_does_not_take_is_no_dead_end()
    {
        // From before this start of the instance: good for kubelet, and for the issuer no proof.
        var node = _lab.NewNode();
        _standing = Standing(node, _lab.Authority, DateTimeOffset.UtcNow.AddHours(-20), TimeSpan.FromDays(1));
        using var source = Source(node);

        source.ObtainAll(Requests(node), CancellationToken.None).Count.ShouldBe(3);

        _lab.Audit.Select(a => (a.Proof, a.Decision)).ShouldBe([("certificate", "refused"), ("sts", "granted")]);
    }

    [Theory]
    [InlineData(-10)]
    [InlineData(0)]
    public void A_certificate_that_is_over_or_of_another_CA_is_not_shown(int days)
    {
        var node = _lab.NewNode();
        _standing = Standing(
            node,
            days == 0 ? TestAuthority.Make(from: DateTimeOffset.UtcNow.AddDays(-30)) : _lab.Authority,
            DateTimeOffset.UtcNow.AddDays(days),
            TimeSpan.FromDays(1));
        using var source = Source(node);

        source.ObtainAll(Requests(node), CancellationToken.None).Count.ShouldBe(3);

        _lab.Audit.ShouldHaveSingleItem().Proof.ShouldBe("sts");
    }

    [Fact]
    public void What_is_not_allowed_is_said_at_once_with_the_reason_and_not_tried_again()
    {
        var node = _lab.NewNode(i => i with { Vpc = "vpc-other" });
        using var source = Source(node);

        var e = Should.Throw<MachineException>(() => source.ObtainAll(Requests(node), CancellationToken.None));

        e.Message.ShouldContain(
            $"certificates from issuer https://127.0.0.1:{_lab.Server.Address.Port}: not allowed: 403 instance: {node.Instance.Id} is in vpc-other");
        e.Message.ShouldContain("docs/issuer.md");
        ExitCode.Of(e).ShouldBe(ExitCode.Failed);
        _lab.Audit.Count.ShouldBe(1);
    }

    [Fact]
    public async Task An_issuer_that_comes_back_is_found_again()
    {
        var node = _lab.NewNode();
        var port = _lab.Server.Address.Port;
        await _lab.Server.DisposeAsync();
        using var source = Source(node, new Uri($"https://127.0.0.1:{port}"));
        var asked = source.ObtainAllAsync(Requests(node), CancellationToken.None);
        await Wait.Until(() => _proofs >= 2);
        asked.IsCompleted.ShouldBeFalse();
        await using var back = await _lab.Another(_lab.Settings with { Listen = new IPEndPoint(IPAddress.Loopback, port) });

        (await asked).Count.ShouldBe(3);
    }

    [Fact]
    public void Where_one_of_the_issuers_is_away_another_is_asked()
    {
        var node = _lab.NewNode();
        using var source = Source(node, new Uri("https://127.0.0.1:1"), _lab.Server.Address);

        source.ObtainAll(Requests(node), CancellationToken.None).Count.ShouldBe(3);
    }

    [Fact]
    public void An_issuer_that_stays_away_is_given_up_with_its_address_and_the_cause()
    {
        var node = _lab.NewNode();
        using var source = Source(node, TimeSpan.FromSeconds(2), new Uri("https://127.0.0.1:1"));

        var e = Should.Throw<MachineException>(() => source.ObtainAll(Requests(node), CancellationToken.None));

        e.Message.ShouldStartWith("certificates from issuer https://127.0.0.1:1: not reachable: Connection refused");
        e.Message.ShouldContain("given up after");
        ExitCode.Of(e).ShouldBe(ExitCode.NotReachableInTime);
        e.Message.ShouldContain("security group");
    }

    [Fact]
    public void An_issuer_that_says_when_to_come_again_is_obeyed()
    {
        var node = _lab.NewNode();
        _lab.Aws.Instances.TryRemove(node.Instance.Id, out var instance);
        var pauses = new List<TimeSpan>();
        _time = new Hurried
        {
            Paused = pause =>
            {
                pauses.Add(pause);
                _lab.Aws.Instances[instance!.Id] = instance;
            },
        };
        using var source = Source(node);

        source.ObtainAll(Requests(node), CancellationToken.None).Count.ShouldBe(3);

        pauses.ShouldHaveSingleItem().ShouldBeInRange(TimeSpan.FromSeconds(3), TimeSpan.FromSeconds(3.5));
    }

    [Fact]
    public void Pauses_keep_to_what_the_issuer_says_and_spread_the_wider_the_longer_it_takes()
    {
        IssuerClient.Pause(0, TimeSpan.FromSeconds(3), 0).ShouldBe(TimeSpan.FromSeconds(3));
        IssuerClient.Pause(4, TimeSpan.FromSeconds(3), 1).ShouldBe(TimeSpan.FromSeconds(11));
        IssuerClient.Pause(50, TimeSpan.FromHours(3), 1).ShouldBe(TimeSpan.FromSeconds(45));
        IssuerClient.Pause(0, null, 0).ShouldBe(TimeSpan.FromSeconds(0.25));
    }

    [Fact]
    public void A_server_with_a_nodes_certificate_is_no_issuer()
    {
        // Of the very same CA, for the very same address.
        var impostor = _lab.NewNode(i => i with { Address = "127.0.0.1" });
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var content = RoleTable.Find("kubelet-serving")!.For(IssuerLab.Identity(impostor.Instance));
        using var server = new TlsServer(_lab.Authority.Sign(key, content, TimeSpan.FromDays(1), DateTimeOffset.UtcNow), key);
        var node = _lab.NewNode();
        using var source = Source(node, TimeSpan.FromSeconds(2), server.Address);

        var e = Should.Throw<MachineException>(() => source.ObtainAll(Requests(node), CancellationToken.None));

        e.Message.ShouldContain("its certificate is not that of an issuer");
    }

    [Fact]
    public void An_issuer_of_another_CA_is_not_believed()
    {
        var other = TestAuthority.Make(from: DateTimeOffset.UtcNow.AddDays(-30));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var server = new TlsServer(other.Sign(key, RoleTable.IssuerServing, TimeSpan.FromDays(1), DateTimeOffset.UtcNow), key);
        var node = _lab.NewNode();
        using var source = Source(node, TimeSpan.FromSeconds(2), server.Address);

        Should.Throw<MachineException>(() => source.ObtainAll(Requests(node), CancellationToken.None)).Message.ShouldContain("is not of the cluster's CA");
    }

    [Fact]
    public void A_clock_that_is_not_set_is_called_that()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var server = new TlsServer(_lab.Authority.Sign(key, RoleTable.IssuerServing, TimeSpan.FromMinutes(1), DateTimeOffset.UtcNow.AddDays(-1)), key);
        var node = _lab.NewNode();
        using var source = Source(node, TimeSpan.FromSeconds(2), server.Address);

        Should.Throw<MachineException>(() => source.ObtainAll(Requests(node), CancellationToken.None)).Message.ShouldContain("is the clock set?");
    }

    [Fact]
    public void Nothing_secret_is_in_what_it_says()
    {
        var node = _lab.NewNode(i => i with { State = "stopped" });
        using var source = Source(node);

        var e = Should.Throw<MachineException>(() => source.ObtainAll(Requests(node), CancellationToken.None));

        foreach (var secret in new[] { node.Credentials.Secret, node.Credentials.Token, node.Credentials.AccessKey, "PRIVATE KEY" })
        {
            e.ToString().ShouldNotContain(secret);
        }
    }

    [Fact]
    public void Who_the_issuers_are_is_asked_again_when_none_of_them_would_do()
    {
        var node = _lab.NewNode();
        var asked = 0;
        _find = _ => Task.FromResult<IReadOnlyList<Uri>>(++asked switch
        {
            1 => throw new AwsException(new(AwsFailureKind.Unavailable, "ec2:DescribeInstances", "503", "Later.")),
            2 => [],
            3 => [new("https://127.0.0.1:1")],
            _ => [_lab.Server.Address],
        });
        using var source = Source(node);

        source.ObtainAll(Requests(node), CancellationToken.None).Count.ShouldBe(3);

        asked.ShouldBe(4);
        _waits.Count.ShouldBe(3);
        _waits[2].ShouldStartWith("certificates from issuer https://127.0.0.1:1: not reachable: ");
    }

    [Fact]
    public void Without_an_issuer_it_is_said_which_tags_one_is_looked_for_by()
    {
        _find = _ => Task.FromResult<IReadOnlyList<Uri>>([]);
        using var source = Source(_lab.NewNode(), TimeSpan.FromSeconds(1));

        var said = Should.Throw<MachineException>(() => source.ObtainAll(Requests(_lab.NewNode()), CancellationToken.None)).Message;

        said.ShouldContain("nodeagent:cluster=prod and nodeagent:role=control-plane");
        said.ShouldContain("certificates.issuer.endpoints");
    }

    [Fact]
    public void A_role_that_may_not_look_for_issuers_is_told_at_once()
    {
        var asked = 0;
        _find = _ =>
        {
            asked++;
            throw new AwsException(new(AwsFailureKind.NotAllowed, "ec2:DescribeInstances", "403 UnauthorizedOperation", "Allow it."));
        };
        using var source = Source(_lab.NewNode());

        Should.Throw<MachineException>(() => source.ObtainAll(Requests(_lab.NewNode()), CancellationToken.None)).Message.ShouldContain("Allow it.");

        asked.ShouldBe(1);
    }

    [Fact]
    public void An_instance_without_a_private_address_is_no_issuer() =>
        IssuerClientSettings.Found(["10.0.0.4", "", null, "no address", "10.0.0.5"]).Select(u => u.AbsoluteUri)
            .ShouldBe(["https://10.0.0.4:10261/", "https://10.0.0.5:10261/"]);

    [Theory]
    [InlineData("https://issuer.example", "https://issuer.example:10261/")]
    [InlineData("https://issuer.example/", "https://issuer.example:10261/")]
    [InlineData("https://[fd00::443]", "https://[fd00::443]:10261/")]
    [InlineData("https://issuer.example:443", "https://issuer.example/")]
    [InlineData("https://issuer.example:8443", "https://issuer.example:8443/")]
    public async Task An_issuers_port_is_its_own_where_none_is_written(string given, string expected) =>
        (await IssuerClientSettings.Given([new(given)])(CancellationToken.None)).ShouldHaveSingleItem().AbsoluteUri.ShouldBe(expected);

    [Fact]
    public void What_nobody_thought_of_costs_the_certificate_and_not_the_run()
    {
        _find = _ => throw new UriFormatException("made up");
        using var source = Source(_lab.NewNode());

        var e = Should.Throw<MachineException>(() => source.ObtainAll(Requests(_lab.NewNode()), CancellationToken.None));

        e.Message.ShouldBe("certificates from an issuer: UriFormatException: made up");
        e.IsOutOfReach.ShouldBeFalse();
    }

    private IssuerCertificateSource Source(Node node, params Uri[] endpoints) => Source(node, TimeSpan.FromSeconds(60), endpoints);

    private IssuerCertificateSource Source(Node node, TimeSpan patience, params Uri[] endpoints) => new(new(
        _find ?? IssuerClientSettings.Given(endpoints.Length > 0 ? endpoints : [_lab.Server.Address]),
        IssuerLab.Cluster,
        _lab.Authority.CertificatePem,
        IssuerLab.Region,
        _lab.Aws.Endpoint,
        patience),
        _ =>
        {
            Interlocked.Increment(ref _proofs);
            return Task.FromResult(new InstanceProof(
                new ImmutableCredentials(node.Credentials.AccessKey, node.Credentials.Secret, node.Credentials.Token), _lab.Document(node.Instance.Id)));
        },
        () => (byte[]?)_standing?.Clone(),
        _waits.Add,
        _time);

    private static List<(string Role, byte[] Request)> Requests(Node node) =>
        [.. RoleTable.Worker.Select(
            r => (r.Role, SigningRequest.Create(ECDsa.Create(ECCurve.NamedCurves.nistP256), r.For(IssuerLab.Identity(node.Instance)))))];

    private static byte[] Standing(Node node, TestAuthority authority, DateTimeOffset now, TimeSpan lifetime) => Encoding.ASCII.GetBytes(
        Pem.Combine([authority.Sign(node.Key, RoleTable.Find("kubelet-client")!.For(IssuerLab.Identity(node.Instance)), lifetime, now)], node.Key));
}
