using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Amazon.Runtime;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;
using NodeAgent.Aws;
using NodeAgent.Imds;

namespace NodeAgent.Tests.Aws;

/// <summary>Sets the process's own proxy, so nothing else runs beside it.</summary>
[CollectionDefinition(nameof(OutboundHttpTests), DisableParallelization = true)]
[Collection(nameof(OutboundHttpTests))]
public sealed class OutboundHttpTests : IAsyncLifetime
{
    private readonly ConcurrentQueue<(string Target, string? Authorization)> _proxied = new();
    private WebApplication? _proxy;
    private Uri _endpoint = new("http://127.0.0.1");

    public async Task InitializeAsync()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        _proxy = builder.Build();
        _proxy.Run(async context =>
        {
            var authorization = context.Request.Headers.ProxyAuthorization.ToString();
            _proxied.Enqueue((context.Features.Get<IHttpRequestFeature>()!.RawTarget, authorization));
            if (authorization.Length == 0)
            {
                context.Response.StatusCode = 407;
                context.Response.Headers.ProxyAuthenticate = "Basic realm=\"way out\"";
                return;
            }

            context.Response.ContentType = "text/xml";
            await context.Response.WriteAsync("<DescribeTagsResponse><tagSet><item><key>from</key><value>beyond</value></item></tagSet></DescribeTagsResponse>");
        });
        await _proxy.StartAsync();
        _endpoint = new Uri(_proxy.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
    }

    public async Task DisposeAsync() => await _proxy!.DisposeAsync();

    [Fact]
    public async Task Tags_are_asked_for_by_the_proxy_with_its_password()
    {
        var proxy = new OutboundProxy($"http://worker:hush%40@127.0.0.1:{_endpoint.Port}", null, ["169.254.169.254"]);
        // No such host: only a proxy can answer for it.
        using var ec2 = new AmazonEC2Client(
            new BasicAWSCredentials("AKIDEXAMPLE", "made-up"),
            new AmazonEC2Config("eu-central-1", new Uri("http://ec2.nowhere.invalid/")) { MaxErrorRetry = 0, HttpClientFactory = new OutboundHttp(proxy, []) });

        (await Ec2.InstanceTags(ec2, "i-0a5d1a26e00000001", TimeProvider.System, default)).ShouldBe(new Dictionary<string, string> { ["from"] = "beyond" });

        var (target, authorization) = _proxied.Last();
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
            HttpClient.DefaultProxy = new WebProxy(_endpoint);
            using var metadata = new InstanceMetadata(imds.Endpoint, TimeSpan.FromSeconds(30));
            (await metadata.Text("instance-id", default)).ShouldBe("i-0a5d1a26e00000001");
        }
        finally
        {
            HttpClient.DefaultProxy = before;
        }

        _proxied.ShouldBeEmpty();
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
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(o => o.Listen(IPAddress.Loopback, 0, l => l.UseHttps(certificate)));
        await using var https = builder.Build();
        https.Run(context => context.Response.WriteAsync("<DescribeTagsResponse><tagSet><item><key>from</key><value>within</value></item></tagSet></DescribeTagsResponse>"));
        await https.StartAsync();
        var port = new Uri(https.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First()).Port;
        using var ec2 = new AmazonEC2Client(
            new BasicAWSCredentials("AKIDEXAMPLE", "made-up"),
            new AmazonEC2Config("eu-central-1", new Uri($"https://{host}:{port}/")) { MaxErrorRetry = 0, HttpClientFactory = new OutboundHttp(null, given ? [authority.RawData] : []) });

        if (expected)
        {
            (await Ec2.InstanceTags(ec2, "i-0a5d1a26e00000001", TimeProvider.System, default)).Keys.ShouldBe(["from"]);
        }
        else
        {
            (await Should.ThrowAsync<AwsException>(() => Ec2.InstanceTags(ec2, "i-0a5d1a26e00000001", TimeProvider.System, default))).Kind.ShouldBe(AwsFailureKind.NotReachable);
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
}
