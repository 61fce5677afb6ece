using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using NodeAgent.Configuration;
using NodeAgent.Issuer;
using NodeAgent.Pki;
using NodeAgent.Tests.Pki;

namespace NodeAgent.Tests.Issuer;

/// <summary>Who is granted certificates, and which.</summary>
public sealed class AdmissionTests : IAsyncLifetime
{
    private IssuerLab _lab = null!;

    public async Task InitializeAsync() => _lab = await IssuerLab.Start();

    public async Task DisposeAsync() => await _lab.DisposeAsync();

    [Fact]
    public async Task A_worker_gets_the_certificates_of_its_role_with_names_from_EC2()
    {
        var node = _lab.NewNode();

        var answer = await node.Join();

        answer.Status.ShouldBe(200, answer.Body);
        answer.Granted.Select(g => g.Role).ShouldBe(["kubelet-client", "kubelet-serving", "kube-proxy"]);
        foreach (var granted in answer.Granted)
        {
            var expected = RoleTable.Find(granted.Role)!.For(IssuerLab.Identity(node.Instance));
            var certificate = ParsedCertificate.Parse(granted.Chain[0])!;
            certificate.Subject.ShouldBe(expected.Subject);
            certificate.DnsNames.ShouldBe(expected.DnsNames);
            certificate.Addresses.ShouldBe(expected.Addresses);
            certificate.IsAuthority.ShouldBeFalse();
            (certificate.NotAfter - DateTimeOffset.UtcNow).TotalDays.ShouldBe(90, 0.1);
            ParsedCertificate.IsIssuedBy(granted.Chain, Pem.Certificates(_lab.Authority.CertificatePem)).ShouldBeTrue();
        }

        var entry = _lab.Audit.ShouldHaveSingleItem();
        entry.Decision.ShouldBe("granted");
        entry.Proof.ShouldBe("sts");
        entry.Instance.ShouldBe(node.Instance.Id);
        entry.Node.ShouldBe(node.Instance.PrivateDnsName);
        entry.Caller.ShouldBe(node.Credentials.Arn);
        entry.Remote.ShouldStartWith("127.0.0.1:");
        entry.Certificates!.Select(c => c.Role).ShouldBe(answer.Granted.Select(g => g.Role));
        entry.Certificates![0].Serial.ShouldBe(X509CertificateLoader.LoadCertificate(answer.Granted[0].Chain[0]).SerialNumber);
    }

    [Fact]
    public async Task Openssl_takes_what_was_granted()
    {
        var answer = await _lab.NewNode().Join();
        var leaf = PemEncoding.WriteString("CERTIFICATE", answer.Granted.Single(g => g.Role == "kubelet-serving").Chain[0]);

        var (exit, output) = OpenSsl.Run(
            "verify -x509_strict -purpose sslserver -CAfile ca.pem leaf.pem", ("ca.pem", _lab.Authority.CertificatePem), ("leaf.pem", leaf + "\n"));

        exit.ShouldBe(0, output);
    }

    [Fact]
    public async Task A_node_renews_with_the_certificate_it_has()
    {
        var node = _lab.NewNode();
        using var standing = await node.Joined();
        var calls = _lab.Aws.Calls.Count(c => c.Action == "GetCallerIdentity");

        var again = _lab.NewNodeOf(node);
        again.Certificate = standing;
        var answer = await again.Join();

        answer.Status.ShouldBe(200, answer.Body);
        answer.Granted.Count.ShouldBe(3);
        _lab.Aws.Calls.Count(c => c.Action == "GetCallerIdentity").ShouldBe(calls);
        var entry = _lab.Audit.Last();
        entry.Proof.ShouldBe("certificate");
        entry.Caller.ShouldBe($"O = system:nodes, CN = system:node:{node.Instance.PrivateDnsName}");
    }

    [Theory]
    [InlineData("prod-a", "prod-a")]
    [InlineData("prod-b", "prod-b")]
    [InlineData("prod-b", "prod-b-gpu")]
    public async Task Nodes_of_each_of_several_kinds_of_workers_join_and_renew(string role, string profile)
    {
        await using var several = await _lab.Another(_lab.Settings with
        {
            Kinds =
            [
                new("worker", "prod-a", "prod-a", RoleTable.Worker),
                new("worker", "prod-b", "prod-b", RoleTable.Worker),
                new("worker", "prod-b", "prod-b-gpu", RoleTable.Worker),
            ],
        });
        var node = _lab.NewNode(i => i with { Profile = $"arn:aws:iam::{IssuerLab.Account}:instance-profile/{profile}" }, role);
        node.Server = several;
        using var standing = await node.Joined();
        var again = _lab.NewNodeOf(node);
        (again.Certificate, again.Server) = (standing, several);

        var answer = await again.Join();

        answer.Status.ShouldBe(200, answer.Body);
        _lab.Audit.Last().Proof.ShouldBe("certificate");
    }

    [Fact]
    public async Task Of_several_kinds_of_workers_a_role_gets_the_profiles_of_its_own_alone()
    {
        await using var several = await _lab.Another(_lab.Settings with
        {
            Kinds = [new("worker", "prod-a", "prod-a", RoleTable.Worker), new("worker", "prod-b", "prod-b", RoleTable.Worker)],
        });
        var node = _lab.NewNode(i => i with { Profile = $"arn:aws:iam::{IssuerLab.Account}:instance-profile/prod-a" }, "prod-b");
        node.Server = several;

        var answer = await node.Join();

        answer.Status.ShouldBe(403, answer.Body);
        answer.Error.Message.ShouldEndWith("a worker has arn:aws:iam::123456789012:instance-profile/prod-b");
    }

    [Fact]
    public async Task Any_issuer_takes_the_nonce_of_any_other()
    {
        await using var other = await _lab.Another();
        var node = _lab.NewNode();
        using var http = IssuerLab.Http();
        node.Nonce = System.Text.Json.JsonSerializer.Deserialize(
            await http.GetStringAsync(new Uri(other.Address, "/v1/nonce")), ProtocolJson.Default.NonceAnswer)!.Nonce;

        (await node.Join()).Status.ShouldBe(200);
    }

    [Fact]
    public async Task Nodes_named_by_their_instance_get_that_name()
    {
        await using var lab = await IssuerLab.Start(naming: NodeNaming.InstanceId);
        var node = lab.NewNode();
        node.Requests = [("kubelet-client", IssuerLab.Csr(node.Key))];

        var answer = await node.Join();

        answer.Status.ShouldBe(200, answer.Body);
        ParsedCertificate.Parse(answer.Granted[0].Chain[0])!.Subject.ShouldBe($"O = system:nodes, CN = system:node:{node.Instance.Id}");
    }

    /// <summary>Where DHCP options give the VPC a domain of its own, metadata says that one and EC2 its own (docs/issuer.md).</summary>
    [Fact]
    public async Task A_node_named_by_its_instance_expects_what_it_is_granted_whatever_domain_its_metadata_says()
    {
        await using var lab = await IssuerLab.Start(naming: NodeNaming.InstanceId);
        var node = lab.NewNode();
        var facts = Simulation.Worker.ExampleFacts();
        facts = facts with
        {
            Instance = facts.Instance with { Id = node.Instance.Id, PrivateDnsName = "ip-10-1-0-2.corp.example", PrivateAddress = node.Instance.Address },
        };
        var expected = RoleTable.Find("kubelet-serving")!.For(
            NodeAgent.Desired.Certificates.Identity(Configuration.ConfigText.LoadText("node: {name: instanceId}").Config, facts));
        node.Requests = [("kubelet-serving", SigningRequest.Create(node.Key, expected))];

        var answer = await node.Join();

        answer.Status.ShouldBe(200, answer.Body);
        var granted = ParsedCertificate.Parse(answer.Granted[0].Chain[0])!;
        granted.Subject.ShouldBe(expected.Subject);
        granted.DnsNames.ShouldBe(expected.DnsNames);
        granted.DnsNames.ShouldBe([node.Instance.Id]);
        granted.Addresses.ShouldBe(expected.Addresses);
        granted.Addresses.ShouldBe([IPAddress.Parse(node.Instance.Address)]);
    }

    [Fact]
    public async Task An_instance_that_EC2_does_not_know_yet_is_asked_for_again()
    {
        var node = _lab.NewNode();
        _lab.Aws.Instances.TryRemove(node.Instance.Id, out var instance);
        var answer = await node.Join();
        answer.Status.ShouldBe(503, answer.Body);
        answer.RetryAfter.ShouldNotBeNull();
        answer.Error.Code.ShouldBe("not-yet");
        _lab.Audit.Last().Decision.ShouldBe("later");

        _lab.Aws.Instances[instance!.Id] = instance;
        (await _lab.NewNodeOf(node).Join()).Status.ShouldBe(200);
    }

    [Fact]
    public async Task Of_an_instance_that_EC2_lists_twice_the_last_counts()
    {
        var node = _lab.NewNode();
        _lab.Aws.PageBefore.Enqueue(node.Instance with { State = "stopped" });

        var answer = await node.Join();

        answer.Status.ShouldBe(200, answer.Body);
    }

    [Fact]
    public async Task A_node_has_few_requests_in_work_at_once_whatever_it_shows()
    {
        await using var lab = await IssuerLab.Start(new IssuerLimits { NotFoundYet = TimeSpan.Zero });
        var node = lab.NewNode();
        using var standing = await node.Joined();
        foreach (var certificate in new[] { null, standing })
        {
            await using var another = await lab.Another();
            var crowd = Enumerable.Range(0, 4).Select(_ => lab.NewNodeOf(node)).ToList();
            crowd.ForEach(n => (n.Server, n.Certificate) = (another, certificate));
            // EC2 answers once all four came.
            var let = new TaskCompletionSource();
            lab.Aws.Instead = async (_, action) =>
            {
                if (action == "DescribeInstances")
                {
                    await let.Task;
                }

                return false;
            };
            var answers = crowd.Select(n => n.Join()).ToList();

            var turnedAway = await await Task.WhenAny(answers);

            (turnedAway.Status, turnedAway.Error.Code, turnedAway.RetryAfter).ShouldBe((503, "busy", TimeSpan.FromSeconds(3)));
            lab.Audit.Last().Reason.ShouldBe("3 requests of this node are in work already");
            // Others have their places, and this one has its own again.
            var other = lab.NewNode();
            other.Server = another;
            var others = other.Join();
            let.SetResult();
            (await others).Status.ShouldBe(200);
            (await Task.WhenAll(answers)).Count(a => a.Status == 200).ShouldBe(3);
            var again = lab.NewNodeOf(node);
            (again.Server, again.Certificate) = (another, certificate);
            (await again.Join()).Status.ShouldBe(200);
        }
    }

    [Fact]
    public async Task Many_nodes_are_looked_up_in_few_calls_and_one_that_is_unknown_fails_alone()
    {
        var nodes = Enumerable.Range(0, 100).Select(_ => _lab.NewNode()).ToList();
        _lab.Aws.Instances.TryRemove(nodes[7].Instance.Id, out _);

        var answers = await Task.WhenAll(nodes.Select(n => n.Join()));

        answers[7].Status.ShouldBe(503);
        answers.Count(a => a.Status == 200).ShouldBe(99);
        _lab.Server.LookUpCalls.ShouldBeLessThan(60);
        _lab.Aws.Calls.Count(c => c.Action == "DescribeInstances").ShouldBe((int)_lab.Server.LookUpCalls);
    }

    [Theory]
    [InlineData("DescribeInstances", 403, "UnauthorizedOperation", "EC2 does not answer this issuer", "assumed-role/prod-issuer", 30)]
    [InlineData("DescribeInstances", 503, "RequestLimitExceeded", "EC2 does not answer this issuer", "throttled", 3)]
    [InlineData("GetCallerIdentity", 429, "Throttling", "throttled", null, 3)]
    [InlineData("GetCallerIdentity", 500, "InternalFailure", "unavailable", null, 3)]
    public async Task Where_AWS_fails_a_node_is_told_to_come_later_and_nothing_is_held_against_it(
        string action, int status, string code, string reason, string? detail, int seconds)
    {
        var node = _lab.NewNode();
        _lab.Aws.Instead = async (context, called) =>
        {
            if (called == action)
            {
                await FakeAws.Write(
                    context,
                    status,
                    $"<Response><Errors><Error><Code>{code}</Code><Message>User: arn:aws:sts::123456789012:assumed-role/prod-issuer/i-1 may "
                        + "not</Message></Error></Errors><RequestID>r</RequestID></Response>");
            }

            return called == action;
        };

        var answer = await node.Join();

        answer.Status.ShouldBe(503, answer.Body);
        answer.Error.Code.ShouldBe("unavailable");
        answer.Error.Message.ShouldContain(reason);
        answer.RetryAfter.ShouldBe(TimeSpan.FromSeconds(seconds));
        var entry = _lab.Audit.Last();
        entry.Decision.ShouldBe("later");
        // Whose rights are lacking is nothing for callers.
        answer.Body.ShouldNotContain("prod-issuer");
        (entry.Detail ?? "").ShouldContain(detail ?? "");

        _lab.Aws.Instead = null;
        (await _lab.NewNodeOf(node).Join()).Status.ShouldBe(200);
    }

    [Fact]
    public async Task What_the_issuer_shows_is_of_the_clusters_CA_for_its_own_name_and_TLS_1_3()
    {
        using var socket = new System.Net.Sockets.TcpClient();
        await socket.ConnectAsync(IPAddress.Loopback, _lab.Server.Address.Port);
        await using var tls = new System.Net.Security.SslStream(socket.GetStream());
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.Add(X509Certificate2.CreateFromPem(_lab.Authority.CertificatePem));

        await tls.AuthenticateAsClientAsync(
            new System.Net.Security.SslClientAuthenticationOptions { TargetHost = "nodeagent-issuer", CertificateChainPolicy = policy });

        tls.SslProtocol.ShouldBe(System.Security.Authentication.SslProtocols.Tls13);
    }

    [Fact]
    public async Task Health_and_metrics_are_on_loopback_alone()
    {
        await _lab.NewNode().Join();
        using var http = IssuerLab.Http();

        _lab.Server.MetricsAddress.Host.ShouldBe("127.0.0.1");
        (await http.GetStringAsync(new Uri(_lab.Server.MetricsAddress, "/healthz"))).ShouldBe("ok\n");
        var metrics = await http.GetStringAsync(new Uri(_lab.Server.MetricsAddress, "/metrics"));
        metrics.ShouldContain("nodeagent_issuer_requests_total{outcome=\"granted\"} 1\n");
        metrics.ShouldContain("nodeagent_issuer_certificates_total 3\n");
        (await http.GetAsync(new Uri(_lab.Server.Address, "/metrics"))).StatusCode.ShouldBe(HttpStatusCode.NotFound);
    }
}
