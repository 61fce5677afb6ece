using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using NodeAgent.Issuer;

namespace NodeAgent.Tests.Issuer;

/// <summary>What one caller may have of the issuer before it is known.</summary>
public sealed class BoundsTests : IAsyncLifetime
{
    private IssuerLab _lab = null!;

    public async Task InitializeAsync() =>
        _lab = await IssuerLab.Start(new IssuerLimits { ConnectionsPerAddress = 3, HandshakesAtOnce = 1, NotFoundYet = TimeSpan.Zero });

    public async Task DisposeAsync() => await _lab.DisposeAsync();

    [Fact]
    public async Task One_address_has_no_more_connections_than_that_and_another_finds_its_place()
    {
        var silent = new List<TcpClient>();
        for (var i = 0; i < 3; i++)
        {
            silent.Add(new TcpClient());
            await silent[i].ConnectAsync(IPAddress.Loopback, _lab.Server.Address.Port);
        }

        await Shown("connections", count => count == 3);
        (await Nonce("127.0.0.1")).ShouldBeFalse();
        var refused = _lab.Audit.First();
        (refused.Code, refused.Decision).ShouldBe(("connections", "refused"));
        refused.Remote.ShouldStartWith("127.0.0.1:");

        // The silent ones hold no place among the handshakes, of which there is one.
        (await Nonce("127.0.0.2")).ShouldBeTrue();

        silent.ForEach(s => s.Dispose());
        await Wait.Until(() => Nonce("127.0.0.1"));
    }

    [Theory]
    [InlineData(3000, true)]
    [InlineData(8000, false)]
    public async Task Who_sends_more_certificates_than_a_node_has_is_hung_up_on(int bytes, bool heard)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=somebody", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509Extension("1.3.6.1.4.1.55555.1", RandomNumberGenerator.GetBytes(bytes), critical: false));
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));

        (await Nonce("127.0.0.1", certificate)).ShouldBe(heard);

        if (!heard)
        {
            await Shown("handshakes_failed_total", count => count > 0);
        }

        // And the one place is free again.
        (await Nonce("127.0.0.1")).ShouldBeTrue();
    }

    [Fact]
    public async Task It_is_healthy()
    {
        var (status, text) = await Loopback("/healthz");
        (status, text).ShouldBe((200, "ok\n"));
        (await Loopback("/metrics")).Text.ShouldContain("nodeagent_issuer_requests_in_work 0\n");
        (await Loopback("/x")).Status.ShouldBe(404);
    }

    [Fact]
    public async Task An_issuer_whose_last_signature_failed_is_not_healthy()
    {
        using var signer = new Failing(new FileSigner(_lab.Authority.CertificatePem, _lab.Authority.KeyPem, TimeProvider.System));
        await using var server = await _lab.Another(signer: signer);
        signer.Fails = true;
        var node = _lab.NewNode();
        node.Server = server;
        (await node.Join()).Status.ShouldBe(503);

        var (status, text) = await Loopback("/healthz", server);

        status.ShouldBe(503);
        text.ShouldContain("the last signature failed: KMS is away");
    }

    [Fact]
    public async Task Metrics_take_no_body()
    {
        using var http = new HttpClient();
        using var answer = await http.PostAsync(new Uri(_lab.Server.MetricsAddress, "/healthz"), new StringContent("x"));

        answer.StatusCode.ShouldBe(HttpStatusCode.MethodNotAllowed);
    }

    /// <summary>Waits until a metric says so.</summary>
    private async Task Shown(string metric, Predicate<int> holds)
    {
        var name = $"nodeagent_issuer_{metric} ";
        await Wait.Until(async () =>
        {
            var line = (await Loopback("/metrics")).Text.Split('\n').Single(l => l.StartsWith(name, StringComparison.Ordinal));
            return holds(int.Parse(line[name.Length..], CultureInfo.InvariantCulture));
        });
    }

    private async Task<(int Status, string Text)> Loopback(string path, IssuerServer? server = null)
    {
        using var http = new HttpClient();
        using var answer = await http.GetAsync(new Uri((server ?? _lab.Server).MetricsAddress, path));
        return ((int)answer.StatusCode, await answer.Content.ReadAsStringAsync());
    }

    /// <returns>False when the issuer hung up.</returns>
    private async Task<bool> Nonce(string from, X509Certificate2? certificate = null)
    {
        using var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (context, stop) =>
            {
                var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
                socket.Bind(new IPEndPoint(IPAddress.Parse(from), 0));
                await socket.ConnectAsync(IPAddress.Loopback, _lab.Server.Address.Port, stop);
                return new NetworkStream(socket, ownsSocket: true);
            },
        };
#pragma warning disable CA5359 // Whose certificate the issuer has is not the question here.
        handler.SslOptions.RemoteCertificateValidationCallback = (_, _, _, _) => true;
#pragma warning restore CA5359
        if (certificate is not null)
        {
            handler.SslOptions.ClientCertificateContext = System.Net.Security.SslStreamCertificateContext.Create(certificate, null, offline: true);
        }

        using var http = new HttpClient(handler);
        try
        {
            return (await http.GetStringAsync(new Uri(_lab.Server.Address, "/v1/nonce"))).Contains("nonce", StringComparison.Ordinal);
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    private sealed class Failing(ICertificateSigner inner) : ICertificateSigner
    {
        public bool Fails { get; set; }

        public byte[] Authority => inner.Authority;

        public ValueTask<byte[]> Sign(PublicKey key, NodeAgent.Pki.CertificateContent content, TimeSpan lifetime, CancellationToken cancellation) =>
            Fails ? throw new CryptographicException("KMS is away") : inner.Sign(key, content, lifetime, cancellation);

        public ValueTask<byte[]> SharedKey(string purpose, CancellationToken cancellation) => inner.SharedKey(purpose, cancellation);

        public void Dispose() => inner.Dispose();
    }
}
