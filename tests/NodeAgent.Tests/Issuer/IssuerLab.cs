using System.Collections.Concurrent;
using System.Formats.Asn1;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using Amazon.Runtime;
using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Issuer;
using NodeAgent.Pki;
using NodeAgent.Tests.Pki;

namespace NodeAgent.Tests.Issuer;

/// <summary>An issuer that runs, on loopback, with a cluster's CA, AWS that is faked at its protocol, and instances that join or attack.</summary>
internal sealed class IssuerLab : IAsyncDisposable
{
    public const string Cluster = "prod";
    public const string Account = "123456789012";
    public const string Region = "eu-central-1";
    public const string Vpc = "vpc-0123456789abcdef0";
    public const string WorkerRole = "prod-worker";

    private readonly ICertificateSigner _signer;
    private readonly Sts _sts;
    private readonly AmazonEC2Client _ec2;
    private int _instances;

    private IssuerLab(FakeAws aws, TestAuthority authority, X509Certificate2 documents, IssuerLimits? limits, NodeNaming naming, ICertificateSigner? signer)
    {
        (Aws, Authority, Documents) = (aws, authority, documents);
        _signer = signer ?? new FileSigner(authority.CertificatePem, authority.KeyPem, TimeProvider.System);
        var outbound = new OutboundHttp(null, []);
        _sts = new Sts(Region, aws.Endpoint, TimeProvider.System, outbound);
        _ec2 = new AmazonEC2Client(
            new SessionAWSCredentials("AKIAISSUER", "secret", "token"),
            new AmazonEC2Config(Region, aws.Endpoint) { HttpClientFactory = outbound, MaxErrorRetry = 0 });
        Settings = new IssuerSettings
        {
            Cluster = Cluster,
            Region = Region,
            Account = Account,
            VpcId = Vpc,
            Naming = naming,
            Lifetime = TimeSpan.FromDays(90),
            Kinds =
            [
                new("worker", WorkerRole, WorkerRole, RoleTable.Worker),
                new("edge", "prod-edge", "prod-edge", [RoleTable.Find("kubelet-client")!]),
            ],
            DocumentSigners = [documents],
            Listen = new IPEndPoint(IPAddress.Loopback, 0),
            MetricsPort = 0,
            Say = _ => { },
            Limits = limits ?? new IssuerLimits { NotFoundYet = TimeSpan.FromMilliseconds(200), ConnectionsPerAddress = 1024 },
        };
    }

    public FakeAws Aws { get; }

    public TestAuthority Authority { get; }

    /// <summary>Signs identity documents, as AWS in a region.</summary>
    public X509Certificate2 Documents { get; }

    public IssuerSettings Settings { get; }

    public IssuerServer Server { get; private set; } = null!;

    public ConcurrentQueue<AuditEntry> Audit { get; } = new();

    /// <param name="signer">Instead of one with <see cref="Authority"/>; disposed of with the laboratory.</param>
    public static async Task<IssuerLab> Start(IssuerLimits? limits = null, NodeNaming naming = NodeNaming.PrivateDnsName, ICertificateSigner? signer = null)
    {
        var aws = new FakeAws();
        await aws.Start();
        var lab = new IssuerLab(aws, TestAuthority.Make(from: DateTimeOffset.UtcNow.AddDays(-30)), DocumentSigner(), limits, naming, signer);
        lab.Server = await lab.Another();
        return lab;
    }

    /// <summary>One more issuer of the same cluster, which knows nothing of the other.</summary>
    public Task<IssuerServer> Another(
        IssuerSettings? settings = null, ICertificateSigner? signer = null, ChannelWriter<AuditEntry>? audit = null, TimeProvider? time = null) =>
        IssuerServer.Start(
            settings ?? Settings, signer ?? _signer, _sts, _ec2, audit ?? new AuditQueue(Audit), time ?? TimeProvider.System, CancellationToken.None);

    public async ValueTask DisposeAsync()
    {
        await Server.DisposeAsync();
        await Aws.DisposeAsync();
        _sts.Dispose();
        _ec2.Dispose();
        _signer.Dispose();
        Documents.Dispose();
    }

    public static X509Certificate2 DocumentSigner()
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest(
            "C=US, S=Washington State, L=Seattle, O=Amazon Web Services LLC", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddYears(-1), DateTimeOffset.UtcNow.AddYears(100));
    }

    /// <summary>A running worker with its credentials; EC2 and STS know it.</summary>
    public Node NewNode(Func<FakeInstance, FakeInstance>? but = null, string role = WorkerRole, string? arn = null, string account = Account)
    {
        var number = Interlocked.Increment(ref _instances);
        var id = string.Create(CultureInfo.InvariantCulture, $"i-{number:x17}");
        var address = string.Create(CultureInfo.InvariantCulture, $"10.1.{number / 250}.{(number % 250) + 1}");
        var instance = new FakeInstance(id) { Address = address, PrivateDnsName = $"ip-{address.Replace('.', '-')}.eu-central-1.compute.internal" };
        instance = but?.Invoke(instance) ?? instance;
        Aws.Instances[instance.Id] = instance;
        arn ??= $"arn:aws:sts::{account}:assumed-role/{role}/{id}";
        var credentials = new FakeCredentials(
            string.Create(CultureInfo.InvariantCulture, $"ASIA{number:D16}"),
            $"secret/{number}+x",
            $"token//{number}=={new string('t', 400)}",
            account,
            arn,
            $"AROAEXAMPLE:{arn[(arn.LastIndexOf('/') + 1)..]}");
        Aws.Credentials[credentials.AccessKey] = credentials;
        return new Node(this, instance, credentials);
    }

    /// <summary>The same instance once more, with all that it sends made anew.</summary>
    public Node NewNodeOf(Node node) => new(this, node.Instance, node.Credentials);

    public byte[] Document(
        string id, string account = Account, string region = Region, X509Certificate2? signer = null, X509Certificate2? second = null) => Sign(
        Encoding.UTF8.GetBytes($$"""
            {
              "accountId" : "{{account}}",
              "architecture" : "x86_64",
              "availabilityZone" : "{{region}}a",
              "billingProducts" : null,
              "devpayProductCodes" : null,
              "imageId" : "ami-0123",
              "instanceId" : "{{id}}",
              "instanceType" : "m5d.large",
              "pendingTime" : "2026-03-01T12:00:00Z",
              "privateIp" : "10.1.0.1",
              "region" : "{{region}}",
              "version" : "2017-09-30"
            }
            """),
        second is null ? [signer ?? Documents] : [signer ?? Documents, second]);

    /// <summary>RFC 5652, as EC2 does it: content inside, signed attributes, no certificates.</summary>
    public static byte[] Sign(byte[] content, X509Certificate2[] signers)
    {
        const string sha256 = "2.16.840.1.101.3.4.2.1";
        var attributes = new AsnWriter(AsnEncodingRules.DER);
        using (attributes.PushSetOf())
        {
            Attribute("1.2.840.113549.1.9.3", w => w.WriteObjectIdentifier("1.2.840.113549.1.7.1"));
            Attribute("1.2.840.113549.1.9.5", w => w.WriteUtcTime(DateTimeOffset.UtcNow));
            Attribute("1.2.840.113549.1.9.4", w => w.WriteOctetString(SHA256.HashData(content)));
        }

        var toSign = attributes.Encode();
        var asSigned = toSign.ToArray();
        toSign[0] = 0xA0;

        var writer = new AsnWriter(AsnEncodingRules.BER);
        var explicitly = new Asn1Tag(TagClass.ContextSpecific, 0, isConstructed: true);
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier("1.2.840.113549.1.7.2");
            using (writer.PushSequence(explicitly))
            using (writer.PushSequence())
            {
                writer.WriteInteger(1);
                using (writer.PushSetOf())
                {
                    Algorithm(sha256);
                }

                using (writer.PushSequence())
                {
                    writer.WriteObjectIdentifier("1.2.840.113549.1.7.1");
                    using (writer.PushSequence(explicitly))
                    {
                        writer.WriteOctetString(content);
                    }
                }

                using (writer.PushSetOf())
                {
                    foreach (var signer in signers)
                    {
                        Signed(signer);
                    }
                }
            }
        }

        return writer.Encode();

        void Signed(X509Certificate2 signer)
        {
            using var key = signer.GetRSAPrivateKey()!;
            using (writer.PushSequence())
            {
                writer.WriteInteger(1);
                using (writer.PushSequence())
                {
                    writer.WriteEncodedValue(signer.IssuerName.RawData);
                    writer.WriteInteger(signer.SerialNumberBytes.Span);
                }

                Algorithm(sha256);
                writer.WriteEncodedValue(toSign);
                Algorithm("1.2.840.113549.1.1.1");
                writer.WriteOctetString(key.SignData(asSigned, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1));
            }
        }

        void Attribute(string kind, Action<AsnWriter> value)
        {
            using (attributes.PushSequence())
            {
                attributes.WriteObjectIdentifier(kind);
                using (attributes.PushSetOf())
                {
                    value(attributes);
                }
            }
        }

        void Algorithm(string kind)
        {
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(kind);
                writer.WriteNull();
            }
        }
    }

    public static NodeIdentity Identity(FakeInstance instance) => new(instance.PrivateDnsName, [instance.PrivateDnsName], [IPAddress.Parse(instance.Address)]);

    /// <summary>A connection of its own, so that a certificate is shown once and no other is kept.</summary>
    public static HttpClient Http(X509Certificate2? certificate = null, SslProtocols protocols = SslProtocols.None)
    {
        var handler = new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false };
#pragma warning disable CA5359 // An attacker does not mind whom it attacks.
        handler.SslOptions.RemoteCertificateValidationCallback = (_, _, _, _) => true;
#pragma warning restore CA5359
        handler.SslOptions.EnabledSslProtocols = protocols;
        if (certificate is not null)
        {
            handler.SslOptions.ClientCertificateContext = SslStreamCertificateContext.Create(certificate, null, offline: true);
        }

        return new HttpClient(handler);
    }

    public static byte[] Csr(ECDsa key, string subject = "", Action<CertificateRequest>? but = null)
    {
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        but?.Invoke(request);
        return request.CreateSigningRequest();
    }
}

/// <summary>What one instance sends. Everything in it can be bent; what is left alone is right.</summary>
internal sealed class Node(IssuerLab lab, FakeInstance instance, FakeCredentials credentials)
{
    public FakeInstance Instance => instance;

    public FakeCredentials Credentials => credentials;

    public ECDsa Key { get; } = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    public string Cluster { get; set; } = IssuerLab.Cluster;

    public string Region { get; set; } = IssuerLab.Region;

    public Uri? StsEndpoint { get; set; }

    public string? Nonce { get; set; }

    public DateTimeOffset? SignedAt { get; set; }

    public byte[]? Document { get; set; }

    public List<(string Role, byte[] Request)>? Requests { get; set; }

    public byte[]? Body { get; set; }

    /// <summary>Sent instead of what was signed.</summary>
    public byte[]? SwappedBody { get; set; }

    public X509Certificate2? Certificate { get; set; }

    public string Path { get; set; } = "/v1/certificates";

    public Func<SignedProof, string>? Authorization { get; set; }

    public Action<HttpRequestMessage>? But { get; set; }

    public IssuerServer? Server { get; set; }

    public async Task<HttpRequestMessage> Request(HttpClient http)
    {
        var address = (Server ?? lab.Server).Address;
        Document ??= lab.Document(instance.Id);
        Requests ??=
            [.. RoleTable.Worker.Select(
                r =>
                    (r.Role,
                        SigningRequest.Create(
                            r.Role == "kubelet-client" ? Key : ECDsa.Create(ECCurve.NamedCurves.nistP256), r.For(IssuerLab.Identity(instance)))))];
        Body ??= JsonSerializer.SerializeToUtf8Bytes(
            new CertificatesRequest([.. Requests.Select(r => new RequestedCertificate(r.Role, r.Request))], Document),
            ProtocolJson.Default.CertificatesRequest);
        var request = new HttpRequestMessage(HttpMethod.Post, new Uri(address, Path)) { Content = new ByteArrayContent(SwappedBody ?? Body) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        request.Headers.TryAddWithoutValidation(CallerProof.ClusterHeader, Cluster);
        if (Certificate is null)
        {
            Nonce ??= JsonSerializer.Deserialize(await http.GetStringAsync(new Uri(address, "/v1/nonce")), ProtocolJson.Default.NonceAnswer)!.Nonce;
            var hash = Convert.ToHexStringLower(SHA256.HashData(Body));
            var proof = CallerProof.Sign(
                new ImmutableCredentials(credentials.AccessKey, credentials.Secret, credentials.Token),
                new(Cluster, Nonce, hash),
                Region,
                StsEndpoint ?? lab.Aws.Endpoint,
                SignedAt ?? DateTimeOffset.UtcNow);
            request.Headers.TryAddWithoutValidation(CallerProof.NonceHeader, Nonce);
            request.Headers.TryAddWithoutValidation(CallerProof.BodyHashHeader, hash);
            request.Headers.TryAddWithoutValidation(CallerProof.DateHeader, proof.Date);
            request.Headers.TryAddWithoutValidation(CallerProof.TokenHeader, proof.Token);
            request.Headers.TryAddWithoutValidation("Authorization", Authorization?.Invoke(proof) ?? proof.Authorization);
        }

        But?.Invoke(request);
        return request;
    }

    public async Task<Answered> Join()
    {
        using var http = IssuerLab.Http(Certificate);
        using var request = await Request(http);
        using var response = await http.SendAsync(request);
        return new((int)response.StatusCode, await response.Content.ReadAsStringAsync(), response.Headers.RetryAfter?.Delta);
    }

    /// <summary>Joins, and takes its certificate for renewals.</summary>
    public async Task<X509Certificate2> Joined()
    {
        var answer = await Join();
        answer.Status.ShouldBe(200, answer.Body);
        using var certificate = X509CertificateLoader.LoadCertificate(answer.Granted.Single(g => g.Role == "kubelet-client").Chain[0]);
        return certificate.CopyWithPrivateKey(Key);
    }

}

internal sealed record Answered(int Status, string Body, TimeSpan? RetryAfter)
{
    public IReadOnlyList<GrantedCertificate> Granted => JsonSerializer.Deserialize(Body, ProtocolJson.Default.CertificatesAnswer)!.Certificates;

    public ErrorAnswer Error => JsonSerializer.Deserialize(Body, ProtocolJson.Default.ErrorAnswer)!;
}
