using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Amazon.Runtime;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using NodeAgent.Aws;
using NodeAgent.Imds;

namespace NodeAgent.Tests.Aws;

/// <summary>Sets the process's own proxy, so nothing else runs beside it.</summary>
[CollectionDefinition(nameof(OutboundHttpTests), DisableParallelization = true)]
[Collection(nameof(OutboundHttpTests))]
public sealed class OutboundHttpTests : IAsyncLifetime
{
    private readonly FakeProxy _proxy = new();

    public Task InitializeAsync() => _proxy.Start();

    public async Task DisposeAsync() => await _proxy.DisposeAsync();

    [Fact]
    public async Task Tags_are_asked_for_by_the_proxy_with_its_password()
    {
        var proxy = new OutboundProxy($"http://worker:hush%40@127.0.0.1:{_proxy.Endpoint.Port}", null, ["169.254.169.254"]);
        // No such host: only a proxy can answer for it.
        using var ec2 = new AmazonEC2Client(
            new BasicAWSCredentials("AKIDEXAMPLE", "made-up"),
            new AmazonEC2Config("eu-central-1", new Uri("http://ec2.nowhere.invalid/")) { MaxErrorRetry = 0, HttpClientFactory = new OutboundHttp(proxy, []) });

        (await Ec2.InstanceTags(ec2, "i-0a5d1a26e00000001", TimeProvider.System, default)).ShouldBe(new Dictionary<string, string> { ["from"] = "beyond" });

        var (target, authorization) = _proxy.Proxied.Last();
        target.ShouldBe("http://ec2.nowhere.invalid/");
        authorization.ShouldBe("Basic " + Convert.ToBase64String(Encoding.ASCII.GetBytes("worker:hush@")));
    }

    [Fact]
    public async Task A_proxy_that_is_not_there_is_named_without_its_password()
    {
        var proxy = new OutboundProxy("http://worker:hush@127.0.0.1:9", null, []);
        using var ec2 = new AmazonEC2Client(
            new BasicAWSCredentials("AKIDEXAMPLE", "made-up"),
            new AmazonEC2Config("eu-central-1", new Uri("http://ec2.nowhere.invalid/")) { MaxErrorRetry = 0, HttpClientFactory = new OutboundHttp(proxy, []) });

        var failure = await Should.ThrowAsync<AwsException>(() => Ec2.InstanceTags(ec2, "i-0a5d1a26e00000001", TimeProvider.System, default));

        failure.Kind.ShouldBe(AwsFailureKind.NotReachable);
        failure.ToString().ShouldNotContain("hush");
    }

    [Fact]
    public async Task Metadata_never_goes_through_a_proxy_whatever_the_environment_says()
    {
        await using var imds = new ImdsServer(() => new ImdsState { Paths = { ["instance-id"] = "i-0a5d1a26e00000001" } });
        await imds.Start();
        var before = HttpClient.DefaultProxy;
        try
        {
            HttpClient.DefaultProxy = new WebProxy(_proxy.Endpoint);
            using var metadata = new InstanceMetadata(imds.Endpoint, TimeSpan.FromSeconds(30));
            (await metadata.Text("instance-id", default)).ShouldBe("i-0a5d1a26e00000001");
        }
        finally
        {
            HttpClient.DefaultProxy = before;
        }

        _proxy.Proxied.ShouldBeEmpty();
    }

    [Theory]
    [InlineData(true, "localhost", true)]
    [InlineData(true, "127.0.0.1", false)] // another name than the certificate's
    [InlineData(false, "localhost", false)]
    public async Task An_endpoint_of_ones_own_CA_is_trusted_in_the_same_run_and_no_other(bool given, string host, bool expected)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=corporate", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var authority = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        using var serverKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var server = new CertificateRequest("CN=localhost", serverKey, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        server.CertificateExtensions.Add(names.Build());
        using var issued = server.Create(authority, DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(1), [1]);
        using var certificate = issued.CopyWithPrivateKey(serverKey);
        await using var https = new FakeTags(certificate, "within");
        await https.Start();
        using var ec2 = new AmazonEC2Client(
            new BasicAWSCredentials("AKIDEXAMPLE", "made-up"),
            new AmazonEC2Config("eu-central-1", new Uri($"https://{host}:{https.Endpoint.Port}/"))
            {
                MaxErrorRetry = 0,
                HttpClientFactory = new OutboundHttp(null, given ? [authority.RawData] : []),
            });

        if (expected)
        {
            (await Ec2.InstanceTags(ec2, "i-0a5d1a26e00000001", TimeProvider.System, default)).Keys.ShouldBe(["from"]);
        }
        else
        {
            (await Should.ThrowAsync<AwsException>(() => Ec2.InstanceTags(ec2, "i-0a5d1a26e00000001", TimeProvider.System, default)))
                .Kind.ShouldBe(AwsFailureKind.NotReachable);
        }
    }

    [Theory]
    [InlineData("http://169.254.169.254/latest", true)]
    [InlineData("http://[fd00:ec2::254]/latest", true)]
    [InlineData("http://localhost:8080/", true)]
    [InlineData("http://127.0.0.5/", true)]
    [InlineData("http://10.3.4.5/", true)]
    [InlineData("http://11.3.4.5/", false)]
    [InlineData("http://example.com/", true)]
    [InlineData("http://a.example.com/", true)]
    [InlineData("http://notexample.com/", false)]
    [InlineData("http://dotted.example/", false)]
    [InlineData("http://a.dotted.example/", true)]
    [InlineData("http://a.star.example/", true)]
    [InlineData("http://port.example:8080/", true)]
    [InlineData("http://port.example:8081/", false)]
    [InlineData("http://s3.eu-central-1.amazonaws.com/", false)]
    [InlineData("https://s3.eu-central-1.amazonaws.com/", true)] // no proxy for https here
    public void Exceptions_are_read_as_Go_reads_them(string destination, bool bypassed)
    {
        var proxy = new OutboundProxy(
            "http://proxy.example:3128",
            null,
            ["169.254.169.254", "fd00:ec2::254", "10.0.0.0/8", "example.com", ".dotted.example", "*.star.example", "port.example:8080"]);

        proxy.IsBypassed(new Uri(destination)).ShouldBe(bypassed);
        (proxy.GetProxy(new Uri(destination)) is null).ShouldBe(bypassed);
    }

    [Fact]
    public void A_star_excepts_everything() => new OutboundProxy("http://proxy.example", null, ["*"]).IsBypassed(new Uri("http://example.com/")).ShouldBeTrue();

    /// <summary>Whatever is asked of it.</summary>
    private class FakeTags(X509Certificate2? certificate, string from) : FakeServer(certificate)
    {
        protected override Task Answer(HttpContext context) =>
            Write(context, 200, $"<DescribeTagsResponse><tagSet><item><key>from</key><value>{from}</value></item></tagSet></DescribeTagsResponse>");
    }

    /// <summary>Answers in place of the destination to whoever has a password.</summary>
    private sealed class FakeProxy() : FakeTags(null, "beyond")
    {
        public ConcurrentQueue<(string Target, string? Authorization)> Proxied { get; } = new();

        protected override async Task Answer(HttpContext context)
        {
            var authorization = context.Request.Headers.ProxyAuthorization.ToString();
            Proxied.Enqueue((context.Features.Get<IHttpRequestFeature>()!.RawTarget, authorization));
            if (authorization.Length == 0)
            {
                context.Response.StatusCode = 407;
                context.Response.Headers.ProxyAuthenticate = "Basic realm=\"way out\"";
                return;
            }

            await base.Answer(context);
        }
    }
}
