using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Aws;
using NodeAgent.Issuer;
using NodeAgent.Pki;
using NodeAgent.Tests.Machine;
using NodeAgent.Tests.Pki;

namespace NodeAgent.Tests.Issuer;

/// <summary>
/// Against an issuer that runs: each attack is refused, with a reason, and stands in the audit. What is left alone in a <see cref="Node"/> is right.
/// </summary>
public sealed class AttackTests : IAsyncLifetime
{
    private IssuerLab _lab = null!;

    public async Task InitializeAsync() => _lab = await IssuerLab.Start(new IssuerLimits { NotFoundYet = TimeSpan.Zero, BodyTime = TimeSpan.FromSeconds(2) });

    public async Task DisposeAsync() => await _lab.DisposeAsync();

    // The proof: replayed, old, of others, bent.

    [Fact]
    public async Task A_request_that_is_replayed()
    {
        var node = _lab.NewNode();
        (await node.Join()).Status.ShouldBe(200);

        Refused(await node.Join(), 403, "nonce", "used before");
    }

    [Fact]
    public async Task An_old_nonce()
    {
        var node = _lab.NewNode();
        node.Nonce = Nonces(IssuerLab.Cluster, new At(DateTimeOffset.UtcNow.AddMinutes(-3))).New();
        Refused(await node.Join(), 403, "nonce", "s old");

        var early = _lab.NewNode();
        early.Nonce = Nonces(IssuerLab.Cluster, new At(DateTimeOffset.UtcNow.AddMinutes(3))).New();
        Refused(await early.Join(), 403, "nonce", "ahead of this issuer's clock");
    }

    [Fact]
    public async Task An_old_nonce_that_was_made_young()
    {
        // The stamp is what comes first, and the seal is over it.
        var old = System.Buffers.Text.Base64Url.DecodeFromChars(Nonces(IssuerLab.Cluster, new At(DateTimeOffset.UtcNow.AddMinutes(-3))).New());
        System.Buffers.Binary.BinaryPrimitives.WriteInt64BigEndian(old, DateTimeOffset.UtcNow.ToUnixTimeMilliseconds());
        var node = _lab.NewNode();
        node.Nonce = System.Buffers.Text.Base64Url.EncodeToString(old);

        Refused(await node.Join(), 403, "nonce", "none of this cluster's issuers");
    }

    [Theory]
    [InlineData("AAAA")]
    [InlineData("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    public async Task A_nonce_of_nobody(string nonce)
    {
        var node = _lab.NewNode();
        node.Nonce = nonce;

        Refused(await node.Join(), 403, "nonce", "none of this cluster's issuers");
    }

    [Fact]
    public async Task A_nonce_of_another_cluster()
    {
        var node = _lab.NewNode();
        node.Nonce = Nonces("staging", TimeProvider.System).New();

        Refused(await node.Join(), 403, "nonce", "none of this cluster's issuers");
    }

    [Fact]
    public async Task A_nonce_that_was_swapped_after_the_signature()
    {
        var node = _lab.NewNode();
        var fresh = Nonces(IssuerLab.Cluster, TimeProvider.System).New();
        node.But = r => Set(r, CallerProof.NonceHeader, fresh);

        Refused(await node.Join(), 403, "proof", "SignatureDoesNotMatch");
    }

    [Theory]
    [InlineData(-6)]
    [InlineData(6)]
    public async Task A_signature_of_another_time(int minutes)
    {
        var node = _lab.NewNode();
        node.SignedAt = DateTimeOffset.UtcNow.AddMinutes(minutes);

        Refused(await node.Join(), 403, "clock", "is the node's clock set?");
    }

    [Fact]
    public async Task A_date_that_was_made_young()
    {
        var node = _lab.NewNode();
        node.SignedAt = DateTimeOffset.UtcNow.AddMinutes(-4);
        node.But = r => Set(
            r, CallerProof.DateHeader, DateTimeOffset.UtcNow.UtcDateTime.ToString("yyyyMMdd'T'HHmmss'Z'", System.Globalization.CultureInfo.InvariantCulture));

        var answer = await node.Join();

        // Around midnight the day of the scope is another one already.
        Refused(answer, 403, "proof", answer.Error.Message.Contains("scope", StringComparison.Ordinal) ? "scope" : "SignatureDoesNotMatch");
    }

    [Fact]
    public async Task A_request_for_another_cluster()
    {
        var node = _lab.NewNode();
        node.Cluster = "staging";

        Refused(await node.Join(), 403, "cluster", "'staging'");
    }

    [Fact]
    public async Task A_proof_for_another_cluster_under_this_ones_name()
    {
        var node = _lab.NewNode();
        node.Cluster = "staging";
        node.But = r => Set(r, CallerProof.ClusterHeader, IssuerLab.Cluster);

        Refused(await node.Join(), 403, "proof", "SignatureDoesNotMatch");
    }

    [Fact]
    public async Task A_body_that_was_swapped()
    {
        var thief = _lab.NewNode();
        var node = _lab.NewNode();
        using var http = IssuerLab.Http();
        (await thief.Request(http)).Dispose();
        node.SwappedBody = thief.Body;

        Refused(await node.Join(), 403, "body", "not the one that the proof is for");
    }

    [Fact]
    public async Task A_body_that_was_swapped_with_its_hash()
    {
        var thief = _lab.NewNode();
        var node = _lab.NewNode();
        using var http = IssuerLab.Http();
        (await thief.Request(http)).Dispose();
        thief.Document = _lab.Document(node.Instance.Id);
        node.SwappedBody = thief.Body;
        node.But = r => Set(r, CallerProof.BodyHashHeader, Convert.ToHexStringLower(SHA256.HashData(thief.Body!)));

        Refused(await node.Join(), 403, "proof", "SignatureDoesNotMatch");
    }

    [Theory]
    [InlineData(";x-nodeagent-nonce", "")]
    [InlineData(";x-nodeagent-cluster", "")]
    [InlineData("x-nodeagent-body-sha256;", "")]
    [InlineData("content-type;host;", "content-type;x-evil;host;")]
    [InlineData("content-type;host;", "content-type;host;host;")]
    public async Task Headers_that_are_not_signed_or_more_than_are_expected(string names, string instead)
    {
        var node = _lab.NewNode();
        node.Authorization = p => p.Authorization.Replace(names, instead, StringComparison.Ordinal);

        Refused(await node.Join(), 403, "proof", "no more and no less");
    }

    [Theory]
    [InlineData(CallerProof.ClusterHeader)]
    [InlineData(CallerProof.NonceHeader)]
    [InlineData(CallerProof.BodyHashHeader)]
    [InlineData(CallerProof.DateHeader)]
    [InlineData(CallerProof.TokenHeader)]
    [InlineData("Authorization")]
    public async Task A_header_that_is_there_twice_or_not_at_all(string header)
    {
        var node = _lab.NewNode();
        node.But = r => r.Headers.Remove(header);
        Refused(await node.Join(), 400, "malformed", "is missing");

        // HttpClient folds what it is given twice into one line; what is on the wire here are two.
        var again = _lab.NewNode();
        using var http = IssuerLab.Http();
        using var request = await again.Request(http);
        var value = request.Headers.NonValidated[header].ToString();
        Refused(await Raw(Text(request, again.Body!, $"{header}: {value}\r\n")), 400, "malformed", "is there 2 times");
    }

    [Theory]
    [InlineData("?Action=GetSessionToken")]
    [InlineData("?X-Amz-Signature=a&X-Amz-Signature=b")]
    public async Task Parameters_whichever(string query)
    {
        var node = _lab.NewNode();
        node.Path = "/v1/certificates" + query;

        Refused(await node.Join(), 404, "no-such-thing", "there is no");
    }

    [Theory]
    [InlineData("AWS4-HMAC-SHA256 Credential=A", "AWS4-HMAC-SHA256 Credential=A,Credential=A", 400, "malformed")]
    [InlineData(",Signature=", ",Signature=00,Signature=", 400, "malformed")]
    [InlineData("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", 400, "malformed")]
    [InlineData("/sts/", "/iam/", 403, "proof")]
    [InlineData("/eu-central-1/", "/us-east-1/", 403, "proof")]
    [InlineData("/eu-central-1/sts/", "/eu-central-1/sts/../sts/", 403, "proof")]
    [InlineData("Credential=A", "Credential=evil.example/A", 403, "proof")]
    [InlineData("Credential=A", "Credential=%0d%0aHost:evil", 403, "proof")]
    public async Task An_authorization_that_is_bent(string text, string instead, int status, string code)
    {
        var node = _lab.NewNode();
        node.Authorization = p => p.Authorization.Replace(text, instead, StringComparison.Ordinal);

        Refused(await node.Join(), status, code, "");
    }

    [Fact]
    public async Task A_signature_for_another_action_of_STS()
    {
        // The issuer sends GetCallerIdentity whatever was signed, so a signature of anything else is none.
        var node = _lab.NewNode();
        node.But = request =>
        {
            using var other = new HttpRequestMessage(HttpMethod.Post, _lab.Aws.Endpoint)
            {
                Content = new StringContent("Action=GetSessionToken&Version=2011-06-15"),
            };
            other.Content.Headers.ContentType = MediaTypeHeaderValue.Parse("application/x-www-form-urlencoded; charset=utf-8");
            foreach (var header in new[] { CallerProof.ClusterHeader, CallerProof.NonceHeader, CallerProof.BodyHashHeader })
            {
                other.Headers.TryAddWithoutValidation(header, request.Headers.NonValidated[header].ToString());
            }

            SignatureV4.Sign(
                other,
                new(node.Credentials.AccessKey, node.Credentials.Secret, node.Credentials.Token),
                IssuerLab.Region,
                "sts",
                Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes("Action=GetSessionToken&Version=2011-06-15"))),
                DateTimeOffset.UtcNow);
            Set(request, "Authorization", other.Headers.NonValidated["Authorization"].ToString());
            Set(request, CallerProof.DateHeader, other.Headers.NonValidated[CallerProof.DateHeader].ToString());
        };

        Refused(await node.Join(), 403, "proof", "SignatureDoesNotMatch");
        _lab.Aws.Calls.ShouldAllBe(c => c.Action == "GetCallerIdentity");
    }

    [Fact]
    public async Task A_signature_for_another_host()
    {
        var node = _lab.NewNode();
        node.StsEndpoint = new Uri("https://sts.evil.example/");

        Refused(await node.Join(), 403, "proof", "SignatureDoesNotMatch");
    }

    [Fact]
    public async Task A_host_header_of_its_own_changes_nothing()
    {
        var node = _lab.NewNode();
        node.But = r => r.Headers.Host = "sts.evil.example";

        (await node.Join()).Status.ShouldBe(200);
    }

    [Fact]
    public async Task An_STS_that_redirects_is_not_followed()
    {
        await using var evil = new FakeAws();
        await evil.Start();
        _lab.Aws.Instead = async (context, action) =>
        {
            if (action == "GetCallerIdentity")
            {
                context.Response.Headers.Location = evil.Endpoint.AbsoluteUri;
                await FakeAws.Write(context, 307, "");
            }

            return action == "GetCallerIdentity";
        };

        Refused(await _lab.NewNode().Join(), 503, "unavailable", "307");
        evil.Calls.ShouldBeEmpty();
    }

    [Theory]
    [InlineData("""{"GetCallerIdentityResponse": {"GetCallerIdentityResult": {"Account": "123456789012", "Arn": "arn:aws:sts::123456789012:assumed-role/prod-worker/ID", "UserId": "AROA:ID"}}}""")]
    [InlineData("""<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::123456789012:assumed-role/prod-worker/ID</Arn><UserId>AROA:ID</UserId><Account>123456789012</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>""")]
    [InlineData("""<!DOCTYPE x [<!ENTITY e "ID">]><GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:sts::123456789012:assumed-role/prod-worker/&e;</Arn><UserId>AROA:&e;</UserId><Account>123456789012</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>""")]
    [InlineData("""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>a</Arn><Arn>arn:aws:sts::123456789012:assumed-role/prod-worker/ID</Arn><UserId>AROA:ID</UserId><Account>123456789012</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>""")]
    [InlineData("""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:sts::123456789012:assumed-role/prod-worker/ID</Arn><UserId>AROA:ID</UserId><Account>123456789012</Account></GetCallerIdentityResult></AssumeRoleResponse>""")]
    [InlineData("<html>ok</html>")]
    [InlineData("")]
    public async Task An_answer_of_STS_that_is_read_two_ways(string answer)
    {
        var node = _lab.NewNode();
        _lab.Aws.Instead = async (context, action) =>
        {
            if (action == "GetCallerIdentity")
            {
                await FakeAws.Write(context, 200, answer.Replace("ID", node.Instance.Id, StringComparison.Ordinal));
            }

            return action == "GetCallerIdentity";
        };

        Refused(await node.Join(), 503, "unavailable", "malformed answer");
    }

    // Callers that are somebody, and no node.

    [Fact]
    public async Task A_caller_of_another_account() => Refused(await _lab.NewNode(account: "999999999999").Join(), 403, "caller", "account 999999999999");

    [Fact]
    public async Task Another_role() => Refused(await _lab.NewNode(role: "prod-bastion").Join(), 403, "caller", "prod-bastion");

    [Theory]
    [InlineData("arn:aws:iam::123456789012:user/prod-worker/i-00000000000000001")]
    [InlineData("arn:aws:iam::123456789012:root")]
    [InlineData("arn:aws:sts::123456789012:federated-user/i-00000000000000001")]
    [InlineData("arn:aws-cn:sts::123456789012:assumed-role/prod-worker/i-00000000000000001")]
    [InlineData("arn:aws:sts::999999999999:assumed-role/prod-worker/i-00000000000000001")]
    [InlineData("arn:aws:sts::123456789012:assumed-role/prod-worker/x/i-00000000000000001")]
    public async Task A_user_or_anything_but_an_assumed_role(string arn) =>
        Refused(await _lab.NewNode(arn: arn).Join(), 403, "caller", "no role that an instance");

    [Theory]
    [InlineData("alice")]
    [InlineData("i-0000000000000000G")]
    [InlineData("i-00000000000000001x")]
    [InlineData("I-00000000000000001")]
    public async Task A_session_that_is_not_named_as_an_instance(string session) =>
        Refused(
            await _lab.NewNode(arn: $"arn:aws:sts::{IssuerLab.Account}:assumed-role/{IssuerLab.WorkerRole}/{session}").Join(), 403, "caller", "no instance");

    [Theory]
    [InlineData("AROAEXAMPLE:alice")]
    [InlineData("AROAEXAMPLE")]
    [InlineData("AROAEXAMPLE:xID")]
    public async Task A_session_whose_user_ID_is_of_another_session(string user)
    {
        var node = _lab.NewNode();
        var credentials = node.Credentials with { UserId = user.Replace("ID", node.Instance.Id, StringComparison.Ordinal) };
        _lab.Aws.Credentials[credentials.AccessKey] = credentials;

        Refused(await node.Join(), 403, "caller", "no instance");
    }

    [Fact]
    public async Task A_session_named_as_an_instance_that_is_another()
    {
        var other = _lab.NewNode();
        var node = _lab.NewNode(arn: other.Credentials.Arn);

        Refused(await node.Join(), 403, "document", "the caller is " + other.Instance.Id);
    }

    // Instances that EC2 does not agree to.

    [Theory]
    [InlineData("terminated")]
    [InlineData("shutting-down")]
    [InlineData("stopping")]
    [InlineData("stopped")]
    public async Task An_instance_that_does_not_run(string state) =>
        Refused(await _lab.NewNode(i => i with { State = state }).Join(), 403, "instance", "is " + state);

    [Fact]
    public async Task An_instance_that_is_long_gone()
    {
        var node = _lab.NewNode();
        _lab.Aws.Instances.Clear();

        Refused(await node.Join(), 503, "not-yet", "does not know");
    }

    [Fact]
    public async Task An_instance_of_another_VPC() => Refused(await _lab.NewNode(i => i with { Vpc = "vpc-other" }).Join(), 403, "instance", "vpc-other");

    [Theory]
    [InlineData("nodeagent:cluster", null, "has no tag nodeagent:cluster")]
    [InlineData("nodeagent:cluster", "staging", "nodeagent:cluster = 'staging'")]
    [InlineData("nodeagent:role", null, "has no tag nodeagent:role")]
    [InlineData("nodeagent:role", "control-plane", "nodeagent:role = 'control-plane'")]
    [InlineData("nodeagent:role", "edge", "nodeagent:role = 'edge'")]
    public async Task An_instance_without_the_tags(string tag, string? value, string reason)
    {
        var node = _lab.NewNode(i => i with
        {
            Tags = i.Tags.Where(t => t.Key != tag).Concat(value is null ? [] : [KeyValuePair.Create(tag, value)]).ToDictionary(),
        });

        Refused(await node.Join(), 403, "instance", reason);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("arn:aws:iam::123456789012:instance-profile/prod-edge")]
    [InlineData("arn:aws:iam::999999999999:instance-profile/prod-worker")]
    [InlineData("arn:aws:iam::123456789012:instance-profile/prod-worker/other")]
    public async Task An_instance_with_another_profile_than_the_callers_role(string? profile) =>
        Refused(await _lab.NewNode(i => i with { Profile = profile }).Join(), 403, "instance", "instance profile");

    // The identity document.

    [Fact]
    public async Task No_document()
    {
        var node = _lab.NewNode();
        node.Document = [];
        Refused(await node.Join(), 403, "document", "no instance identity document");

        var other = _lab.NewNode();
        other.Body = """{"requests":[{"role":"kubelet-client","request":"AAAA"}]}"""u8.ToArray();
        Refused(await other.Join(), 400, "malformed", "not the JSON");
    }

    [Fact]
    public async Task The_document_of_another_instance()
    {
        var node = _lab.NewNode();
        node.Document = _lab.Document(_lab.NewNode().Instance.Id);

        Refused(await node.Join(), 403, "document", "the caller is " + node.Instance.Id);
    }

    [Fact]
    public async Task A_document_of_another_account_or_region()
    {
        var node = _lab.NewNode();
        node.Document = _lab.Document(node.Instance.Id, account: "999999999999");
        Refused(await node.Join(), 403, "document", "999999999999");

        var other = _lab.NewNode();
        other.Document = _lab.Document(other.Instance.Id, region: "us-east-1");
        Refused(await other.Join(), 403, "document", "us-east-1");
    }

    [Fact]
    public async Task A_forged_document()
    {
        using var forger = IssuerLab.DocumentSigner();
        var signedByAnother = _lab.NewNode();
        signedByAnother.Document = _lab.Document(signedByAnother.Instance.Id, signer: forger);
        Refused(await signedByAnother.Join(), 403, "document", "of none of the certificates trusted");

        // Of another instance, with this one's ID written over it.
        var node = _lab.NewNode();
        var other = _lab.NewNode().Instance.Id;
        node.Document = Replace(_lab.Document(other), other, node.Instance.Id);
        Refused(await node.Join(), 403, "document", "digest");

        // A second signer, whose signature nobody would look at.
        var two = _lab.NewNode();
        two.Document = _lab.Document(two.Instance.Id, second: forger);
        Refused(await two.Join(), 403, "document", "more than one signer");

        var junk = _lab.NewNode();
        junk.Document = RandomNumberGenerator.GetBytes(500);
        Refused(await junk.Join(), 403, "document", "does not hold");
    }

    // Requests for more than is a node's.

    [Fact]
    public async Task A_foreign_subject() =>
        await RefusedRequest("request", "subject is", (key, _) => IssuerLab.Csr(key, "O=system:masters, CN=root"));

    [Fact]
    public async Task The_subject_of_another_node() =>
        await RefusedRequest(
            "request", "subject is", (key, _) => IssuerLab.Csr(key, "O=system:nodes, CN=system:node:ip-10-1-0-99.eu-central-1.compute.internal"));

    [Fact]
    public async Task A_request_for_extra_names_is_refused() => await RefusedRequest("request", "asks for extensions", (key, _) => IssuerLab.Csr(key, but: r =>
    {
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("kubernetes.default.svc");
        r.CertificateExtensions.Add(names.Build());
    }));

    [Fact]
    public async Task A_request_to_be_a_CA_is_refused() => await RefusedRequest(
        "request",
        "asks for extensions",
        (key, _) => IssuerLab.Csr(key, but: r => r.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true))));

    [Fact]
    public async Task A_request_with_other_attributes_is_refused() => await RefusedRequest(
        "request",
        "attributes",
        (key, _) => IssuerLab.Csr(key, but: r => r.OtherRequestAttributes.Add(new AsnEncodedData("1.2.840.113549.1.9.7", [0x13, 0x01, 0x61]))));

    [Fact]
    public async Task A_weak_key_is_refused()
    {
        await RefusedRequest("request", "1024 bits", (_, _) =>
        {
            using var rsa = RSA.Create(1024);
            return new CertificateRequest("", rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).CreateSigningRequest();
        });
        await RefusedRequest("request", "on brainpoolP160r1", (_, _) => IssuerLab.Csr(ECDsa.Create(ECCurve.NamedCurves.brainpoolP160r1)));
    }

    [Fact]
    public async Task A_wrong_signature() => await RefusedRequest("request", "did not verify", (key, _) =>
    {
        var request = IssuerLab.Csr(key);
        request[^1] ^= 1;
        return request;
    });

    [Fact]
    public async Task The_public_key_of_somebody_else()
    {
        // Its own signature over a request that holds the other's key: no proof of possession.
        using var victim = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await RefusedRequest("request", "did not verify", (key, _) => Replace(
            IssuerLab.Csr(key), Convert.ToHexString(key.ExportSubjectPublicKeyInfo()), Convert.ToHexString(victim.ExportSubjectPublicKeyInfo()), hex: true));
    }

    [Fact]
    public async Task ASN1_junk()
    {
        await RefusedRequest("request", "ASN1 corrupted", (_, _) => [0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]);
        await RefusedRequest("request", "ASN1 corrupted", (_, _) => []);
        await RefusedRequest("request", "ASN1 corrupted", (key, _) => [.. IssuerLab.Csr(key), 0x00]);
        await RefusedRequest("request", "ASN1 corrupted", (_, _) => [.. Enumerable.Repeat<byte>(0x30, 4000)]);
    }

    [Theory]
    [InlineData("apiserver")]
    [InlineData("apiserver-kubelet-client")]
    [InlineData("admin")]
    [InlineData("super-admin")]
    [InlineData("etcd-server")]
    [InlineData("ca")]
    [InlineData("issuer-serving")]
    [InlineData("KUBELET-CLIENT")]
    [InlineData("")]
    public async Task A_worker_that_asks_for_certificates_of_the_control_plane(string role)
    {
        var node = _lab.NewNode();
        node.Requests = [("kubelet-client", IssuerLab.Csr(node.Key)), (role, IssuerLab.Csr(ECDsa.Create(ECCurve.NamedCurves.nistP256)))];

        Refused(await node.Join(), 403, "role", "gets no certificate");
        // All or nothing.
        _lab.Audit.Last().Certificates.ShouldBeNull();
    }

    [Fact]
    public async Task A_role_that_is_not_the_instances()
    {
        // An edge node may ask for kubelet's client certificate alone.
        var edge = _lab.NewNode(
            i => i with
            {
                Profile = $"arn:aws:iam::{IssuerLab.Account}:instance-profile/prod-edge",
                Tags = new Dictionary<string, string> { ["nodeagent:cluster"] = IssuerLab.Cluster, ["nodeagent:role"] = "edge" },
            },
            role: "prod-edge");

        Refused(await edge.Join(), 403, "role", "a edge gets no certificate for 'kubelet-serving'");
    }

    [Fact]
    public async Task A_tag_alone_makes_no_other_node()
    {
        // Whoever may set tags says that this worker is an edge; its IAM role says otherwise.
        var node = _lab.NewNode(
            i => i with { Tags = new Dictionary<string, string> { ["nodeagent:cluster"] = IssuerLab.Cluster, ["nodeagent:role"] = "edge" } });

        Refused(await node.Join(), 403, "instance", "its IAM role is for worker");
    }

    [Fact]
    public async Task The_name_of_a_live_node()
    {
        var live = _lab.NewNode();
        (await live.Join()).Status.ShouldBe(200);
        var thief = _lab.NewNode(i => i with { PrivateDnsName = live.Instance.PrivateDnsName });

        Refused(await thief.Join(), 403, "name", live.Instance.Id);

        // It is free once its holder is gone.
        _lab.Aws.Instances[live.Instance.Id] = live.Instance with { State = "terminated" };
        await using var later = await _lab.Another();
        var heir = _lab.NewNodeOf(thief);
        heir.Server = later;
        (await heir.Join()).Status.ShouldBe(200);
    }

    [Theory]
    [InlineData("pending")]
    [InlineData("stopping")]
    [InlineData("stopped")]
    public async Task The_name_of_a_node_that_does_not_run_now(string state)
    {
        var holder = _lab.NewNode(i => i with { State = state });
        var thief = _lab.NewNode(i => i with { PrivateDnsName = holder.Instance.PrivateDnsName });

        Refused(await thief.Join(), 403, "name", $"{holder.Instance.Id}, too, which is {state}");
    }

    [Fact]
    public async Task The_name_of_an_instance_of_another_VPC_is_free()
    {
        var elsewhere = _lab.NewNode(i => i with { Vpc = "vpc-other" });

        (await _lab.NewNode(i => i with { PrivateDnsName = elsewhere.Instance.PrivateDnsName }).Join()).Status.ShouldBe(200);
    }

    [Fact]
    public async Task The_issuers_own_name() =>
        Refused(await _lab.NewNode(i => i with { PrivateDnsName = "Nodeagent-Issuer" }).Join(), 403, "name", "issuer's own name");

    [Fact]
    public async Task One_key_for_two_roles()
    {
        var node = _lab.NewNode();
        node.Requests = [("kubelet-client", IssuerLab.Csr(node.Key)), ("kube-proxy", IssuerLab.Csr(node.Key))];

        Refused(await node.Join(), 403, "request", "same key");
    }

    [Fact]
    public async Task One_role_twice_none_or_too_many()
    {
        var node = _lab.NewNode();
        node.Requests = [("kubelet-client", IssuerLab.Csr(node.Key)), ("kubelet-client", IssuerLab.Csr(node.Key))];
        Refused(await node.Join(), 400, "malformed", "twice");

        var none = _lab.NewNode();
        none.Requests = [];
        Refused(await none.Join(), 400, "malformed", "0 certificates");

        var many = _lab.NewNode();
        many.Requests = [.. Enumerable.Range(0, 9).Select(i => ($"r{i}", Array.Empty<byte>()))];
        Refused(await many.Join(), 400, "malformed", "9 certificates");
    }

    // Renewal.

    [Fact]
    public async Task An_expired_certificate()
    {
        var node = _lab.NewNode();
        node.Certificate = Certificate(node, _lab.Authority, DateTimeOffset.UtcNow.AddDays(-3), TimeSpan.FromDays(1));

        Refused(await node.Join(), 403, "certificate", "expired");
    }

    [Fact]
    public async Task A_certificate_of_another_CA()
    {
        var node = _lab.NewNode();
        node.Certificate = Certificate(node, TestAuthority.Make(from: DateTimeOffset.UtcNow.AddDays(-30)), DateTimeOffset.UtcNow, TimeSpan.FromDays(1));

        Refused(await node.Join(), 403, "certificate", "not of this cluster's CA");
    }

    [Fact]
    public async Task A_renewal_for_another_cluster()
    {
        var node = _lab.NewNode();
        node.Certificate = Certificate(node, _lab.Authority, DateTimeOffset.UtcNow, TimeSpan.FromDays(1));
        node.Cluster = "staging";

        Refused(await node.Join(), 403, "cluster", "'staging'");
    }

    [Fact]
    public async Task A_certificate_that_is_not_valid_yet_or_a_CAs()
    {
        var early = _lab.NewNode();
        early.Certificate = Certificate(early, Subject(early), from: DateTimeOffset.UtcNow.AddDays(1));
        Refused(await early.Join(), 403, "certificate", "not valid before");

        var authority = _lab.NewNode();
        authority.Certificate = Certificate(authority, Subject(authority), isAuthority: true);
        Refused(await authority.Join(), 403, "certificate", "none for clients");

        var right = _lab.NewNode();
        right.Certificate = Certificate(right, Subject(right));
        (await right.Join()).Status.ShouldBe(200);

        static X500DistinguishedName Subject(Node node) => CertificateAuthority.Name(RoleTable.Find("kubelet-client")!.For(IssuerLab.Identity(node.Instance)));
    }

    [Fact]
    public async Task A_certificate_that_signed_itself()
    {
        var node = _lab.NewNode();
        var request = new CertificateRequest(
            CertificateAuthority.Name(RoleTable.Find("kubelet-client")!.For(IssuerLab.Identity(node.Instance))), node.Key, HashAlgorithmName.SHA256);
        node.Certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));

        Refused(await node.Join(), 403, "certificate", "not of this cluster's CA");
    }

    [Fact]
    public async Task The_certificate_of_another_node()
    {
        var node = _lab.NewNode();
        var other = _lab.NewNode();
        node.Certificate = Certificate(other, _lab.Authority, DateTimeOffset.UtcNow, TimeSpan.FromDays(1));

        Refused(await node.Join(), 403, "certificate", other.Instance.PrivateDnsName);
    }

    [Theory]
    [InlineData("which is no node", "O", "system:nodes, CN = NODE")]
    [InlineData("and i-", "O", "system:nodes", "CN", "NODE, O = system:masters")]
    [InlineData("which is no node", "O", "system:nodes", "O", "system:masters", "CN", "NODE")]
    [InlineData("which is no node", "CN", "NODE")]
    [InlineData("which is no node", "O", "system:masters", "CN", "kubernetes-admin")]
    public async Task A_certificate_whose_subject_only_looks_like_the_nodes(string reason, params string[] parts)
    {
        var node = _lab.NewNode();
        var subject = new X500DistinguishedNameBuilder();
        // The builder, too, writes the last first.
        foreach (var part in parts.Chunk(2).Reverse())
        {
            var value = part[1].Replace("NODE", $"system:node:{node.Instance.PrivateDnsName}", StringComparison.Ordinal);
            subject.Add(part[0] == "O" ? "2.5.4.10" : "2.5.4.3", value);
        }

        node.Certificate = Certificate(node, subject.Build());

        Refused(await node.Join(), 403, "certificate", reason);
        // What is no node's at all costs no call of EC2.
        _lab.Aws.Calls.IsEmpty.ShouldBe(reason == "which is no node");
    }

    [Fact]
    public async Task A_certificate_and_the_document_of_an_instance_that_is_gone_hold_no_place()
    {
        // By this issuer's patience, who joins would be waited for an hour.
        await using var server = await _lab.Another(_lab.Settings with
        {
            Limits = _lab.Settings.Limits with { NotFoundYet = TimeSpan.FromHours(1), WorkTime = TimeSpan.FromHours(1) },
        });
        var node = _lab.NewNode();
        using var standing = await node.Joined();
        _lab.Aws.Instances.Clear();
        var again = _lab.NewNodeOf(node);
        (again.Certificate, again.Server) = (standing, server);

        Refused(await again.Join(), 503, "not-yet", "does not know");
    }

    [Theory]
    [InlineData("kubelet-serving", "none for clients")]
    [InlineData("kube-proxy", "which is no node")]
    public async Task A_certificate_of_this_node_that_is_for_something_else(string role, string reason)
    {
        var node = _lab.NewNode();
        node.Certificate = Certificate(node, _lab.Authority, DateTimeOffset.UtcNow, TimeSpan.FromDays(1), role);

        Refused(await node.Join(), 403, "certificate", reason);
    }

    [Fact]
    public async Task A_certificate_from_before_the_instance_was_launched()
    {
        var node = _lab.NewNode();
        node.Certificate = Certificate(node, _lab.Authority, node.Instance.Launched.AddSeconds(-1), TimeSpan.FromDays(1));
        Refused(await node.Join(), 403, "certificate", "before");

        var later = _lab.NewNode();
        later.Certificate = Certificate(later, _lab.Authority, later.Instance.Launched.AddSeconds(1), TimeSpan.FromDays(1));
        (await later.Join()).Status.ShouldBe(200);
    }

    [Fact]
    public async Task A_renewal_is_held_against_EC2_as_well()
    {
        var node = _lab.NewNode();
        var standing = await node.Joined();
        _lab.Aws.Instances[node.Instance.Id] = node.Instance with { State = "terminated" };
        await using var later = await _lab.Another();

        var again = _lab.NewNodeOf(node);
        (again.Certificate, again.Server) = (standing, later);

        Refused(await again.Join(), 403, "instance", "terminated");
    }

    /// <summary>openssl takes a session up again, and says so; the certificate is not shown a second time, and who shows none would have to sign.</summary>
    [Fact]
    public async Task A_session_that_is_resumed_is_held_against_EC2_as_well()
    {
        await using var lab = await IssuerLab.Start(new IssuerLimits { NotFoundYet = TimeSpan.Zero, Remembered = TimeSpan.Zero });
        var node = lab.NewNode();
        using var standing = await node.Joined();
        using var directory = new TemporaryDirectory();
        File.WriteAllText($"{directory.Path}/node.pem", $"{standing.ExportCertificatePem()}\n{node.Key.ExportPkcs8PrivateKeyPem()}\n");

        (await Renew("-cert node.pem -key node.pem -sess_out session.pem")).ShouldContain("HTTP/1.1 200");
        var resumed = await Renew("-sess_in session.pem -sess_out session.pem");
        resumed.ShouldContain("Reused, TLSv1.3");
        resumed.ShouldContain("HTTP/1.1 200");
        lab.Audit.Last().Proof.ShouldBe("certificate");
        lab.Aws.Instances[node.Instance.Id] = node.Instance with { State = "terminated" };

        var later = await Renew("-sess_in session.pem");

        later.ShouldContain("Reused, TLSv1.3");
        later.ShouldContain("HTTP/1.1 403");
        (lab.Audit.Last().Decision, lab.Audit.Last().Code, lab.Audit.Last().Proof).ShouldBe(("refused", "instance", "certificate"));

        async Task<string> Renew(string options)
        {
            var again = lab.NewNodeOf(node);
            again.Certificate = standing;
            using var http = IssuerLab.Http();
            using var request = await again.Request(http);
            var body = await request.Content!.ReadAsByteArrayAsync();
            using var openssl = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo(
                "openssl", $"s_client -connect {lab.Server.Address.Authority} -tls1_3 -ign_eof {options}")
            {
                WorkingDirectory = directory.Path,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            var error = openssl.StandardError.ReadToEndAsync();
            await openssl.StandardInput.BaseStream.WriteAsync(Encoding.ASCII.GetBytes(
                "POST /v1/certificates HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
                + $"{CallerProof.ClusterHeader}: {IssuerLab.Cluster}\r\nContent-Length: {body.Length}\r\n\r\n"));
            await openssl.StandardInput.BaseStream.WriteAsync(body);
            openssl.StandardInput.Close();
            var output = await openssl.StandardOutput.ReadToEndAsync();
            await openssl.WaitForExitAsync();
            return output + await error;
        }
    }

    [Fact]
    public async Task A_renewal_without_the_identity_document_or_with_anothers()
    {
        var node = _lab.NewNode();
        var standing = await node.Joined();
        var again = _lab.NewNodeOf(node);
        (again.Certificate, again.Document) = (standing, []);
        Refused(await again.Join(), 403, "document", "no instance identity document");

        var other = _lab.NewNodeOf(node);
        (other.Certificate, other.Document) = (standing, _lab.Document(_lab.NewNode().Instance.Id));
        Refused(await other.Join(), 403, "certificate", node.Instance.PrivateDnsName);
    }

    [Fact]
    public async Task Two_proofs_at_once()
    {
        var node = _lab.NewNode();
        node.Certificate = Certificate(node, _lab.Authority, DateTimeOffset.UtcNow, TimeSpan.FromDays(1));
        node.But = r => r.Headers.TryAddWithoutValidation("Authorization", "AWS4-HMAC-SHA256 x");

        Refused(await node.Join(), 400, "malformed", "one proof");
    }

    // Too much, too slow, not HTTP.

    [Fact]
    public async Task An_oversized_body()
    {
        const string head = "POST /v1/certificates HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
        Refused(await Raw(Encoding.ASCII.GetBytes(head + "Content-Length: 65537\r\n\r\n{")), 413, "too-large", "");

        // Without saying how long it is: the issuer may hang up while it still comes, so that the audit is all there is to see.
        try
        {
            await Raw(
                Encoding.ASCII.GetBytes(
                    $"{head}Transfer-Encoding: chunked\r\n\r\n{string.Concat(Enumerable.Repeat($"1000\r\n{new string('a', 4096)}\r\n", 20))}"));
        }
        catch (Exception e) when (e is IOException or ShouldAssertException)
        {
            // Hung up.
        }

        await Wait.Until(() => _lab.Audit.Count >= 2);
        _lab.Audit.Last().Code.ShouldBe("too-large");
    }

    [Fact]
    public async Task A_slow_body()
    {
        var text = "POST /v1/certificates HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";

        Refused(await Raw(Encoding.ASCII.GetBytes(text)), 408, "too-slow", "did not come within");
    }

    [Fact]
    public async Task Headers_too_long_or_too_many_and_a_path_too_long_are_refused()
    {
        Refused(
            await Raw(Encoding.ASCII.GetBytes($"POST /v1/certificates HTTP/1.1\r\nHost: a\r\nX-Bomb: {new string('a', 20_000)}\r\n\r\n")),
            431,
            "too-large",
            "");
        Refused(
            await Raw(
                Encoding.ASCII.GetBytes(
                    $"POST /v1/certificates HTTP/1.1\r\nHost: a\r\n{string.Concat(Enumerable.Range(0, 100).Select(i => $"X-{i}: a\r\n"))}\r\n")),
            431,
            "too-large",
            "");
        Refused(await Raw(Encoding.ASCII.GetBytes($"GET /{new string('a', 5000)} HTTP/1.1\r\nHost: a\r\n\r\n")), 414, "too-large", "");
    }

    [Fact]
    public async Task Headers_that_never_end()
    {
        await using var server = await _lab.Another(_lab.Settings with { Limits = _lab.Settings.Limits with { HeaderTime = TimeSpan.FromSeconds(2) } });

        Refused(await Raw("POST /v1/certificates HTTP/1.1\r\nHost: a\r\n"u8.ToArray(), server), 408, "too-slow", "");
    }

    [Fact]
    public async Task What_is_not_HTTP() => Refused(await Raw("SSH-2.0-x\r\n\r\n"u8.ToArray()), 400, "malformed", "");

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("""{"requests": [null], "document": ""}""")]
    [InlineData("""{"requests": [], "document": "", "names": ["kubernetes"]}""")]
    [InlineData("""{"requests": [], "requests": [], "document": ""}""")]
    [InlineData("""{"requests": [], "Requests": [], "document": ""}""")]
    [InlineData("""{"requests": [{"role": "kubelet-client", "request": "!!!"}], "document": ""}""")]
    [InlineData("""{"requests": [{"role": "kubelet-client", "request": "", "subject": "CN=root"}], "document": ""}""")]
    [InlineData("""{"requests": [], "document": "",}""")]
    [InlineData("""{"requests": [], /* */ "document": ""}""")]
    [InlineData("""{"requests": [[[[[[[[[[]]]]]]]]]], "document": ""}""")]
    public async Task Malformed_JSON(string body)
    {
        var node = _lab.NewNode();
        node.Body = Encoding.UTF8.GetBytes(body);

        Refused(await node.Join(), 400, "malformed", "");
        _lab.Aws.Calls.ShouldBeEmpty();
    }

    [Theory]
    [InlineData("GET")]
    [InlineData("PUT")]
    [InlineData("DELETE")]
    public async Task Other_methods(string method)
    {
        var node = _lab.NewNode();
        node.But = r => r.Method = new HttpMethod(method);

        Refused(await node.Join(), 405, "no-such-thing", "POST alone");
    }

    [Theory]
    [InlineData("/")]
    [InlineData("/v1/certificates/")]
    [InlineData("/v1//certificates")]
    [InlineData("/v1/Certificates")]
    [InlineData("/v1/x/..%2fcertificates")]
    [InlineData("/healthz")]
    public async Task Other_paths(string path)
    {
        var node = _lab.NewNode();
        node.Path = path;

        Refused(await node.Join(), 404, "no-such-thing", "");
    }

    [Fact]
    public async Task Another_content_type()
    {
        var node = _lab.NewNode();
        node.But = r => r.Content!.Headers.ContentType = new MediaTypeHeaderValue("application/x-www-form-urlencoded");

        Refused(await node.Join(), 400, "malformed", "content type");
    }

    [Fact]
    public async Task An_older_TLS_gets_no_connection()
    {
        using var http = IssuerLab.Http(protocols: SslProtocols.Tls12);

        await Should.ThrowAsync<HttpRequestException>(() => http.GetStringAsync(new Uri(_lab.Server.Address, "/v1/nonce")));
    }

    [Fact]
    public async Task More_requests_than_are_worked_on_at_once_are_told_when_to_come_again_and_nothing_is_lost()
    {
        await using var lab = await IssuerLab.Start(new IssuerLimits { Concurrency = 2, NotFoundYet = TimeSpan.Zero });
        lab.Aws.Delay = TimeSpan.FromMilliseconds(500);
        var nodes = Enumerable.Range(0, 12).Select(_ => lab.NewNode()).ToList();

        var answers = await Task.WhenAll(nodes.Select(n => n.Join()));

        answers.Count(a => a.Status == 200).ShouldBeGreaterThan(0);
        answers.Count(a => a.Status == 503).ShouldBeGreaterThan(0);
        answers.ShouldAllBe(a => a.Status == 200 || (a.Status == 503 && a.Error.Code == "busy" && a.RetryAfter > TimeSpan.Zero));
        lab.Audit.Count(a => a.Decision == "later" && a.Code == "busy").ShouldBe(answers.Count(a => a.Status == 503));
        lab.Aws.Delay = TimeSpan.Zero;
        foreach (var (node, answer) in nodes.Zip(answers).Where(p => p.Second.Status == 503))
        {
            // The very same request, nonce and all.
            (await node.Join()).Status.ShouldBe(200);
        }
    }

    [Fact]
    public async Task Neither_audit_nor_answers_hold_a_key_a_token_or_a_signature()
    {
        var node = _lab.NewNode();
        string? signature = null;
        node.Authorization = p =>
        {
            signature = p.Authorization[^64..];
            return p.Authorization;
        };
        var answers = new List<Answered> { await node.Join(), await node.Join() };
        var forged = _lab.NewNode();
        forged.Cluster = "staging";
        forged.But = r => Set(r, CallerProof.ClusterHeader, IssuerLab.Cluster);
        answers.Add(await forged.Join());

        var text = string.Join('\n', _lab.Audit.Select(a => a.ToJson()).Concat(answers.Select(a => a.Body)));
        text.ShouldContain("SignatureDoesNotMatch");
        var authority = _lab.Authority.KeyPem.Split('\n')[1];
        foreach (var secret in new[] { node.Credentials.Token, node.Credentials.Secret, forged.Credentials.Token, signature!, authority, "PRIVATE KEY",
            "Canonical" })
        {
            text.ShouldNotContain(secret);
        }
    }

    /// <summary>Those of an issuer of that cluster with this CA, by that clock.</summary>
    private Nonces Nonces(string cluster, TimeProvider clock)
    {
        using var authority = CertificateAuthority.Load(_lab.Authority.CertificatePem, _lab.Authority.KeyPem);
        return new Nonces(authority.DeriveKey("nodeagent issuer: nonces, version 1"), cluster, TimeSpan.FromMinutes(2), clock);
    }

    private sealed class At(DateTimeOffset now) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => now;
    }

    private async Task RefusedRequest(string code, string reason, Func<ECDsa, NodeIdentity, byte[]> csr)
    {
        var node = _lab.NewNode();
        node.Requests = [("kubelet-client", csr(node.Key, IssuerLab.Identity(node.Instance)))];
        Refused(await node.Join(), 403, code, reason);
    }

    private void Refused(Answered answer, int status, string code, string reason)
    {
        answer.Status.ShouldBe(status, answer.Body);
        var entry = _lab.Audit.Last();
        entry.Decision.ShouldBe(status == 503 ? "later" : "refused", entry.ToJson());
        entry.Code.ShouldBe(code, entry.ToJson());
        entry.Reason.ShouldNotBeNullOrEmpty();
        entry.Reason.ShouldContain(reason);
        entry.Certificates.ShouldBeNull();
        entry.Remote.ShouldStartWith("127.0.0.1:");
        // What Kestrel refuses by itself it answers without a body.
        if (answer.Body.Length > 0)
        {
            answer.Error.Code.ShouldBe(code);
            answer.Error.Message.ShouldBe(entry.Reason);
        }
    }

    private static X509Certificate2 Certificate(Node node, TestAuthority authority, DateTimeOffset now, TimeSpan lifetime, string role = "kubelet-client")
    {
        var identity = new NodeIdentity(node.Instance.PrivateDnsName, [node.Instance.PrivateDnsName], [IPAddress.Parse(node.Instance.Address)]);
        using var certificate = X509CertificateLoader.LoadCertificate(authority.Sign(node.Key, RoleTable.Find(role)!.For(identity), lifetime, now));
        return certificate.CopyWithPrivateKey(node.Key);
    }

    /// <summary>For clients, of the cluster's CA, which would sign none of these: of whatever subject.</summary>
    private X509Certificate2 Certificate(Node node, X500DistinguishedName subject, DateTimeOffset? from = null, bool isAuthority = false)
    {
        using var authority = X509Certificate2.CreateFromPem(_lab.Authority.CertificatePem, _lab.Authority.KeyPem);
        var request = new CertificateRequest(subject, node.Key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.2")], critical: false));
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(isAuthority, hasPathLengthConstraint: false, 0, critical: true));
        using var certificate = request.Create(authority, from ?? DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddDays(2), RandomNumberGenerator.GetBytes(16));
        return certificate.CopyWithPrivateKey(node.Key);
    }

    private static void Set(HttpRequestMessage request, string header, string value)
    {
        request.Headers.Remove(header);
        request.Headers.TryAddWithoutValidation(header, value);
    }

    private static byte[] Replace(byte[] bytes, string text, string instead, bool hex = false)
    {
        var (from, to) = hex
            ? (Convert.FromHexString(text), Convert.FromHexString(instead))
            : (Encoding.ASCII.GetBytes(text), Encoding.ASCII.GetBytes(instead));
        var at = bytes.AsSpan().IndexOf(from);
        at.ShouldBeGreaterThan(0);
        return [.. bytes[..at], .. to, .. bytes[(at + from.Length)..]];
    }

    private static byte[] Text(HttpRequestMessage request, byte[] body, string more)
    {
        var head = new StringBuilder(
            $"POST /v1/certificates HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\nConnection: close\r\n");
        foreach (var (name, values) in request.Headers.NonValidated)
        {
            head.Append(name).Append(": ").Append(values.ToString()).Append("\r\n");
        }

        return [.. Encoding.ASCII.GetBytes(head.Append(more).Append("\r\n").ToString()), .. body];
    }

    /// <summary>Bytes as they are, and what comes back until the issuer closes or a whole answer is there.</summary>
    private async Task<Answered> Raw(byte[] bytes, IssuerServer? server = null)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(IPAddress.Loopback, (server ?? _lab.Server).Address.Port);
        await using var tls = new SslStream(socket.GetStream());
#pragma warning disable CA5359 // An attacker does not mind whom it attacks.
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions { TargetHost = "a", RemoteCertificateValidationCallback = (_, _, _, _) => true });
#pragma warning restore CA5359
        await tls.WriteAsync(bytes);
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var answer = new MemoryStream();
        var buffer = new byte[4096];
        try
        {
            while (await tls.ReadAsync(buffer, patience.Token) is > 0 and var read)
            {
                answer.Write(buffer, 0, read);
            }
        }
        catch (IOException)
        {
            // Closed without a farewell.
        }

        var text = Encoding.ASCII.GetString(answer.ToArray());
        text.ShouldStartWith("HTTP/1.1 ");
        return new(
            int.Parse(text.AsSpan(9, 3), System.Globalization.CultureInfo.InvariantCulture),
            text[(text.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..],
            null);
    }
}
