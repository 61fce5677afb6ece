using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Amazon.Runtime;
using NodeAgent.Aws;
using NodeAgent.Machine;
using NodeAgent.Pki;
using Polly;
using Polly.Retry;

namespace NodeAgent.Issuer;

/// <summary>
/// Asks an issuer: with the certificate that stands, where one does, and with a signature of the instance's role where none does or the issuer does not take
/// it. The server is known by the cluster's CA and the issuer's name, wherever it listens.
/// </summary>
internal sealed class IssuerClient : IDisposable
{
    private const int MostTries = 60;
    private const int LargestAnswer = 256 * 1024;

    private static readonly TimeSpan OneTry = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(30);

    private readonly IssuerClientSettings _settings;
    private readonly Func<CancellationToken, Task<InstanceProof>> _prove;
    private readonly Func<byte[]?> _standing;
    private readonly Action<string> _waiting;
    private readonly TimeProvider _time;
    private readonly IReadOnlyList<byte[]> _authorities;
    private readonly ResiliencePipeline _pipeline;
    private readonly string _what;
    private readonly Lazy<CancellationTokenSource> _patience;
    private readonly Lazy<HttpMessageInvoker> _withoutCertificate;
    private readonly int _first = Random.Shared.Next(1024);
    private IReadOnlyList<Uri> _endpoints = [];
    private int _tried;
    private string? _badServer;

    /// <param name="what">What it is asked for, for messages.</param>
    /// <param name="prove">What this instance shows of itself; asked at each try that needs it, since credentials end.</param>
    /// <param name="standing">The file of the node's client certificate with its key; null where there is none.</param>
    /// <param name="waiting">Told, in a sentence, why it is to be tried again, when that is another kind of trouble than at the last try, or elsewhere.</param>
    public IssuerClient(
        string what,
        IssuerClientSettings settings,
        Func<CancellationToken, Task<InstanceProof>> prove,
        Func<byte[]?> standing,
        Action<string> waiting,
        TimeProvider time)
    {
        _what = what;
        (_settings, _prove, _standing, _waiting, _time) = (settings, prove, standing, waiting, time);
        _authorities = Pem.Certificates(settings.Authorities);
        // From the first question on, for all of them together.
        _patience = new(() => new CancellationTokenSource(settings.Patience, time));
        _withoutCertificate = new(() => new HttpMessageInvoker(Handler(null)));
        _pipeline = new ResiliencePipelineBuilder { TimeProvider = time }
            .AddRetry(new RetryStrategyOptions
            {
                ShouldHandle = static arguments => ValueTask.FromResult(arguments.Outcome.Exception is IssuerFailure { MayPass: true }),
                MaxRetryAttempts = MostTries,
                DelayGenerator = static arguments => ValueTask.FromResult<TimeSpan?>(
                    Pause(arguments.AttemptNumber, (arguments.Outcome.Exception as IssuerFailure)?.RetryAfter, Random.Shared.NextDouble())),
            })
            .Build();
    }

    /// <param name="body">The request, with the signed identity document that it is given.</param>
    /// <param name="flaw">What is wrong with an answer, in a clause; null where nothing is.</param>
    /// <exception cref="MachineException"/>
    public async Task<T> Ask<T>(string path, Func<byte[], byte[]> body, JsonTypeInfo<T> type, Func<T, string?> flaw, CancellationToken cancellation)
        where T : class
    {
        var since = _time.GetTimestamp();
        var patience = _patience.Value.Token;
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellation, patience);
        AwsFailure? last = null;
        var tries = 0;
        try
        {
            return await _pipeline.ExecuteAsync(
                async stop =>
                {
                    tries++;
                    try
                    {
                        return await Once(await Next(stop).ConfigureAwait(false), path, body, type, flaw, stop).ConfigureAwait(false);
                    }
                    catch (IssuerFailure e)
                    {
                        // Not at each try: a cause may tell the time. Whoever looks at a boot that waits sees for what.
                        if (e.MayPass && (last?.Kind, last?.Subject) != (e.Failure.Kind, e.Failure.Subject))
                        {
                            _waiting(e.Failure.ToString());
                        }

                        last = e.Failure;
                        throw;
                    }
                },
                both.Token).ConfigureAwait(false);
        }
        catch (IssuerFailure e)
        {
            throw Sum(e.Failure, e);
        }
        catch (AwsException e)
        {
            throw new MachineException($"proof of this instance for the issuer of {_what}", e.Message, e) { IsOutOfReach = e.IsOutOfReach };
        }
        catch (OperationCanceledException e) when (patience.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            throw Sum(last ?? NoAnswer(_endpoints is [var first, ..] ? first : null).Failure, e);
        }
        // Whatever else it is, it is this alone that cannot be had, and the rest of the node goes on.
        catch (Exception e) when (e is not OperationCanceledException and not MachineException)
        {
            throw new MachineException($"{_what} from an issuer", $"{e.GetType().Name}: {e.Message}", e);
        }

        MachineException Sum(AwsFailure failure, Exception inner)
        {
            var whole = (failure with { Waited = _time.GetElapsedTime(since), Tries = tries }).ToString();
            return new(failure.Subject, whole[(failure.Subject.Length + 2)..], inner) { IsOutOfReach = failure.IsOutOfReach };
        }
    }

    public void Dispose()
    {
        if (_withoutCertificate.IsValueCreated)
        {
            _withoutCertificate.Value.Dispose();
        }

        if (_patience.IsValueCreated)
        {
            _patience.Value.Dispose();
        }
    }

    /// <summary>No earlier than the issuer says, and spread, the wider the more often it was too many at once.</summary>
    internal static TimeSpan Pause(int attempt, TimeSpan? retryAfter, double chance)
    {
        var step = TimeSpan.FromSeconds(Math.Min(Math.Pow(2, Math.Min(attempt, 10)) / 2, LongestPause.TotalSeconds / 2));
        return (retryAfter is { } after ? (after < LongestPause ? after : LongestPause) : step / 2) + (step * chance);
    }

    /// <summary>Each in turn, beginning with any. Who they are is asked anew when all have failed: control planes are replaced.</summary>
    private async Task<Uri> Next(CancellationToken cancellation)
    {
        if (_tried == _endpoints.Count)
        {
            _tried = 0;
            try
            {
                _endpoints = await _settings.Endpoints(cancellation).ConfigureAwait(false);
            }
            catch (AwsException e) when (e.IsOutOfReach)
            {
                throw new IssuerFailure(e.Failure, true, inner: e);
            }

            if (_endpoints.Count == 0)
            {
                throw new IssuerFailure(new(
                    AwsFailureKind.NotThere,
                    $"{_what} from an issuer",
                    $"EC2 knows no running instance in this VPC with {InstanceTag.Cluster}={_settings.Cluster} and {InstanceTag.Role}=control-plane",
                    "Tag the control plane's instances so, or name its issuers in certificates.issuer.endpoints."),
                    true);
            }
        }

        return _endpoints[(_first + _tried++) % _endpoints.Count];
    }

    private async Task<T> Once<T>(
        Uri endpoint, string path, Func<byte[], byte[]> make, JsonTypeInfo<T> type, Func<T, string?> flaw, CancellationToken cancellation)
        where T : class
    {
        var proof = await _prove(cancellation).ConfigureAwait(false);
        var body = make(proof.Document);
        var server = new Uri(endpoint, path);
        if (Standing() is { } certificate)
        {
            using (certificate)
            using (var http = new HttpMessageInvoker(Handler(certificate)))
            {
                try
                {
                    return Checked(await Send(http, server, body, null, type, cancellation).ConfigureAwait(false));
                }
                catch (IssuerFailure e) when (e.Code == "certificate")
                {
                    // Another proof may do: a start counts as a launch, a new CA knows no certificate of the old one.
                }
            }
        }

        return Checked(await Send(_withoutCertificate.Value, server, body, proof.Credentials, type, cancellation).ConfigureAwait(false));

        T Checked(T answer) => flaw(answer) is { } wrong ? throw NotOurs(endpoint, wrong) : answer;
    }

    /// <summary>Null where there is none that could still do.</summary>
    private X509Certificate2? Standing()
    {
        if (_standing() is not { } file)
        {
            return null;
        }

        try
        {
            var pem = Encoding.ASCII.GetString(file);
            var certificate = X509Certificate2.CreateFromPem(pem, pem);
            var now = _time.GetUtcNow();
            if (now > certificate.NotBefore && now < certificate.NotAfter && ParsedCertificate.IsIssuedBy(Pem.Certificates(pem), _authorities))
            {
                return certificate;
            }

            certificate.Dispose();
            return null;
        }
        catch (CryptographicException)
        {
            return null;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(file);
        }
    }

    private async Task<T> Send<T>(
        HttpMessageInvoker http, Uri endpoint, byte[] body, ImmutableCredentials? credentials, JsonTypeInfo<T> type, CancellationToken cancellation)
        where T : class
    {
        using var oneTry = new CancellationTokenSource(OneTry, _time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellation, oneTry.Token);
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, endpoint) { Content = new ByteArrayContent(body) };
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
            request.Headers.Host = RoleTable.IssuerServing.CommonName;
            request.Headers.TryAddWithoutValidation(CallerProof.ClusterHeader, _settings.Cluster);
            if (credentials is not null)
            {
                var nonce = await Nonce(http, endpoint, both.Token).ConfigureAwait(false);
                var hash = Convert.ToHexStringLower(SHA256.HashData(body));
                var proof = CallerProof.Sign(credentials, new(_settings.Cluster, nonce, hash), _settings.Region, _settings.StsEndpoint, _time.GetUtcNow());
                request.Headers.TryAddWithoutValidation(CallerProof.NonceHeader, nonce);
                request.Headers.TryAddWithoutValidation(CallerProof.BodyHashHeader, hash);
                request.Headers.TryAddWithoutValidation(CallerProof.DateHeader, proof.Date);
                request.Headers.TryAddWithoutValidation(CallerProof.TokenHeader, proof.Token);
                request.Headers.TryAddWithoutValidation("Authorization", proof.Authorization);
            }

            return await Answer(http, request, endpoint, type, both.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!cancellation.IsCancellationRequested)
        {
            throw NoAnswer(endpoint, e);
        }
        catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.SecureConnectionError || e.InnerException is AuthenticationException)
        {
            throw Untrusted(endpoint, e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or SocketException)
        {
            throw new IssuerFailure(new(AwsFailureKind.NotReachable, Subject(endpoint), e.GetBaseException().Message, Unreachable), true, inner: e);
        }
    }

    private async Task<string> Nonce(HttpMessageInvoker http, Uri endpoint, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(endpoint, Protocol.NoncePath));
        request.Headers.Host = RoleTable.IssuerServing.CommonName;
        return (await Answer(http, request, endpoint, ProtocolJson.Default.NonceAnswer, cancellation).ConfigureAwait(false)).Nonce;
    }

    private async Task<T> Answer<T>(
        HttpMessageInvoker http, HttpRequestMessage request, Uri endpoint, JsonTypeInfo<T> type, CancellationToken cancellation)
    {
        using var response = await http.SendAsync(request, cancellation).ConfigureAwait(false);
        var stream = await response.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false);
        var buffer = new byte[LargestAnswer + 1];
        var length = await stream.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellation).ConfigureAwait(false);
        if (length > LargestAnswer)
        {
            throw NotOurs(endpoint, "more than any answer of an issuer");
        }

        try
        {
            if (response.StatusCode == HttpStatusCode.OK)
            {
                return JsonSerializer.Deserialize(buffer.AsSpan(0, length), type) ?? throw NotOurs(endpoint, "200 and null");
            }

            var error = JsonSerializer.Deserialize(buffer.AsSpan(0, length), ProtocolJson.Default.ErrorAnswer)
                ?? throw NotOurs(endpoint, "an error that is null");
            throw Failure(endpoint, response, error);
        }
        catch (JsonException e)
        {
            throw NotOurs(endpoint, string.Create(CultureInfo.InvariantCulture, $"{(int)response.StatusCode} with something else than an issuer says"), e);
        }
    }

    private IssuerFailure Failure(Uri endpoint, HttpResponseMessage response, ErrorAnswer error)
    {
        var message = error.Message.ReplaceLineEndings(" ");
        var cause = string.Create(
            CultureInfo.InvariantCulture, $"{(int)response.StatusCode} {error.Code}: {(message.Length <= 600 ? message : message[..600])}");
        var (kind, remedy, mayPass) = ((int)response.StatusCode, error.Code) switch
        {
            (503, "busy") => (AwsFailureKind.Throttled, "The issuer has too many nodes at once; they spread by themselves: try again later.", true),
            (503, _) or (408, _) => (AwsFailureKind.Unavailable, "The issuer cannot decide now: its audit (journalctl -u nodeagent-issuer) says why.", true),
            ( >= 500, _) => (AwsFailureKind.Unavailable, "The issuer has trouble of its own: its journal (journalctl -u nodeagent-issuer) says which.", true),
            // Between the nonce and its use lay more than its life, or another issuer that has another CA.
            (403, "nonce") => (AwsFailureKind.NotAllowed, "Have all issuers behind this endpoint the cluster's CA, and clocks that are set?", true),
            (403, "clock") => (AwsFailureKind.NotAllowed, "Set this node's clock (time.servers) or the issuer's.", true),
            (403, _) => (AwsFailureKind.NotAllowed, "docs/issuer.md says what an instance must have and show; the issuer's audit has this decision.", false),
            _ => (AwsFailureKind.Malformed, "Are node and issuer of versions that know each other, and is it an issuer that listens there?", false),
        };
        return new(new(kind, Subject(endpoint), cause, remedy), mayPass, error.Code, response.Headers.RetryAfter?.Delta);
    }

    private SocketsHttpHandler Handler(X509Certificate2? certificate)
    {
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        };
        policy.ApplicationPolicy.Add(new Oid("1.3.6.1.5.5.7.3.1"));
        foreach (var authority in _authorities)
        {
            policy.CustomTrustStore.Add(X509CertificateLoader.LoadCertificate(authority));
        }

        var handler = new SocketsHttpHandler
        {
            // Within the VPC, as kubelet asks the API server.
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            ActivityHeadersPropagator = null,
            ConnectTimeout = TimeSpan.FromSeconds(10),
        };
        handler.SslOptions.EnabledSslProtocols = SslProtocols.Tls13;
        // A session with the certificate must not come back where the other proof is shown.
        handler.SslOptions.AllowTlsResume = false;
        handler.SslOptions.CertificateChainPolicy = policy;
        handler.SslOptions.RemoteCertificateValidationCallback = (_, shown, chain, errors) =>
        {
            _badServer = errors == SslPolicyErrors.None ? null
                : errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable) ? "it shows no certificate"
                : chain?.ChainStatus.Any(s => s.Status == X509ChainStatusFlags.NotTimeValid) == true && shown is X509Certificate2 late
                    ? string.Create(
                        CultureInfo.InvariantCulture,
                        $"its certificate is valid from {late.NotBefore.ToUniversalTime():u} to {late.NotAfter.ToUniversalTime():u}, "
                        + $"and the clock says {_time.GetUtcNow().UtcDateTime:u}: is the clock set?")
                : errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch) ? $"its certificate is not that of an issuer (of {shown?.Subject})"
                : $"its certificate ({shown?.Subject}) is not of the cluster's CA";
            return errors == SslPolicyErrors.None;
        };
        if (certificate is not null)
        {
            handler.SslOptions.ClientCertificateContext = SslStreamCertificateContext.Create(certificate, null, offline: true);
        }

        return handler;
    }

    private const string Unreachable = "Check certificates.issuer.endpoints, and that a security group lets nodes in to the issuers there.";

    private string Subject(Uri endpoint) => $"{_what} from issuer {endpoint.GetLeftPart(UriPartial.Authority)}";

    private IssuerFailure NoAnswer(Uri? endpoint, Exception? inner = null) =>
        new(
            new(AwsFailureKind.NotReachable, endpoint is null ? $"{_what} from an issuer" : Subject(endpoint), "no answer in time", Unreachable),
            true,
            inner: inner);

    private IssuerFailure NotOurs(Uri endpoint, string cause, Exception? inner = null) => new(
        new(AwsFailureKind.Malformed, Subject(endpoint), cause, "Does something else than a nodeagent issuer listen there?"), false, inner: inner);

    /// <summary>May pass: a clock that is being set, an issuer that is being replaced.</summary>
    private IssuerFailure Untrusted(Uri endpoint, Exception inner) => new(new(
        AwsFailureKind.NotReachable,
        Subject(endpoint),
        _badServer ?? inner.GetBaseException().Message,
        "An issuer shows a certificate of the cluster's CA for the name nodeagent-issuer, and this node's clock has to be set. Where the CA was rotated, "
        + "cluster.certificateAuthority has to "
        + "hold the new one on this node."),
        true,
        inner: inner);

    private sealed class IssuerFailure(AwsFailure failure, bool mayPass, string? code = null, TimeSpan? retryAfter = null, Exception? inner = null)
        : Exception(failure.ToString(), inner)
    {
        public AwsFailure Failure { get; } = failure;

        public bool MayPass { get; } = mayPass;

        public string? Code { get; } = code;

        public TimeSpan? RetryAfter { get; } = retryAfter;
    }
}

/// <param name="Endpoints">Where issuers listen. Asked at first use, and again when none of them would do.</param>
/// <param name="Authorities">The cluster's CA, PEM.</param>
/// <param name="Region">The node's, which is its issuers'.</param>
/// <param name="StsEndpoint">What the proof is signed for; the issuer must ask the same.</param>
/// <param name="Patience">How long in all to try again before giving up.</param>
internal sealed record IssuerClientSettings(
    Func<CancellationToken, Task<IReadOnlyList<Uri>>> Endpoints, string Cluster, string Authorities, string Region, Uri StsEndpoint, TimeSpan Patience)
{
    /// <summary>Those that are written down; an issuer's own port where none is.</summary>
    public static Func<CancellationToken, Task<IReadOnlyList<Uri>>> Given(IReadOnlyList<Uri> endpoints)
    {
        IReadOnlyList<Uri> all = [.. endpoints.Select(WithPort)];
        return _ => Task.FromResult(all);
    }

    /// <summary>Those of the control plane's instances that have an address to be reached at.</summary>
    public static IReadOnlyList<Uri> Found(IEnumerable<string?> addresses) =>
        [.. addresses.Where(a => IPAddress.TryParse(a, out _)).Select(a => new UriBuilder("https", a, Protocol.DefaultPort).Uri)];

    // An Uri does not tell a written :443 from none.
    private static Uri WithPort(Uri endpoint) => !endpoint.IsDefaultPort || endpoint.OriginalString.TrimEnd('/').EndsWith(":443", StringComparison.Ordinal)
        ? endpoint
        : new UriBuilder(endpoint) { Port = Protocol.DefaultPort }.Uri;
}

/// <summary>Not a record: a record would print its secrets.</summary>
/// <param name="credentials">Of the instance's role.</param>
/// <param name="document">The signed instance identity document, PKCS#7.</param>
internal sealed class InstanceProof(ImmutableCredentials credentials, byte[] document)
{
    public ImmutableCredentials Credentials { get; } = credentials;

    public byte[] Document { get; } = document;

    /// <exception cref="AwsException"/>
    public static async Task<InstanceProof> Ask(InstanceMetadata metadata, CancellationToken cancellation)
    {
        var credentials = RoleCredentials.Ask(metadata);
        var document = await metadata.SignedIdentityDocument(cancellation).ConfigureAwait(false);
        return new((await credentials.WaitAsync(cancellation).ConfigureAwait(false)).Credentials, document);
    }
}
