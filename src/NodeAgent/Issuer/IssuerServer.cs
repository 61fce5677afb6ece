using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Threading.Channels;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using NodeAgent.Aws;
using NodeAgent.Pki;
using BadHttpRequestException = Microsoft.AspNetCore.Http.BadHttpRequestException;

namespace NodeAgent.Issuer;

/// <summary>
/// The certificate service: nodes' requests on one port, TLS 1.3; health and metrics on another, on loopback. Keeps nothing that another issuer would miss.
/// Everything it decides goes to the audit as one line.
/// </summary>
internal sealed class IssuerServer : IAsyncDisposable
{
    // A status that nobody is told: the connection is gone.
    private const int Unanswered = 499;

    private readonly IssuerSettings _settings;
    private readonly WatchedSigner _signer;
    private readonly Nonces _nonces;
    private readonly Admission _admission;
    private readonly PodRanges? _podRanges;
    private readonly ChannelWriter<AuditEntry> _audit;
    private readonly Strangers _strangers;
    private readonly TimeProvider _time;
    private readonly ServerIdentity _identity;
    private readonly WebApplication _server;
    private readonly WebApplication _loopback;
    private readonly ConcurrentDictionary<string, long> _decisions = new(StringComparer.Ordinal);
    private readonly Crowd _crowd;
    private readonly ConcurrentDictionary<string, Remote> _remotes = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _grace = new();
    private int _ended;
    private int _handled;
    private readonly Doors _open = new();
    private readonly SemaphoreSlim _handshakes;
    private long _failedHandshakes;
    private int _inWork;
    private long _unheard;
    private long _granted;

    private IssuerServer(
        IssuerSettings settings,
        WatchedSigner signer,
        Nonces nonces,
        ServerIdentity identity,
        Sts sts,
        IAmazonEC2 ec2,
        ChannelWriter<AuditEntry> audit,
        TimeProvider time)
    {
        (_settings, _signer, _nonces, _audit, _time, _identity) = (settings, signer, nonces, audit, time, identity);
        _podRanges = settings.PodRanges is { } ranges ? new PodRanges(ranges, ec2, time) : null;
        _admission = new Admission(settings, signer, nonces, sts, ec2, _podRanges, time);
        _handshakes = new SemaphoreSlim(settings.Limits.HandshakesAtOnce);
        _crowd = new Crowd(time);
        _strangers = new Strangers(settings.Limits, time, audit.TryWrite);
        _server = Server();
        _loopback = Loopback();
    }

    /// <summary>Where it listens; the port is known where the settings say 0.</summary>
    public Uri Address => Addresses(_server);

    public Uri MetricsAddress => Addresses(_loopback);

    public long LookUpCalls => _admission.LookUpCalls;

    /// <exception cref="IOException">A port is taken.</exception>
    /// <exception cref="CryptographicException">The CA does not sign.</exception>
    public static async Task<IssuerServer> Start(
        IssuerSettings settings,
        ICertificateSigner signer,
        Sts sts,
        IAmazonEC2 ec2,
        ChannelWriter<AuditEntry> audit,
        TimeProvider time,
        CancellationToken cancellation)
    {
        const string purpose = "nodeagent issuer: nonces, version 1";
        var key = await signer.SharedKey(purpose, cancellation).ConfigureAwait(false);
        var nonces = new Nonces(key, settings.Cluster, settings.Limits.NonceLifetime, time);
        var watched = new WatchedSigner(signer);
        var identity = await ServerIdentity.Issue(
            watched,
            time,
            settings.Say,
            cancellation,
            async () => nonces.Follow(await signer.SharedKey(purpose, CancellationToken.None).ConfigureAwait(false))).ConfigureAwait(false);
        var server = new IssuerServer(settings, watched, nonces, identity, sts, ec2, audit, time);
        await server._server.StartAsync(cancellation).ConfigureAwait(false);
        await server._loopback.StartAsync(cancellation).ConfigureAwait(false);
        server._podRanges?.Start();
        return server;
    }

    /// <summary>
    /// Takes nothing new; what is in work is answered first, for <see cref="IssuerLimits.Grace"/> at most. When this returns, the audit has it all.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _ended, 1) == 1)
        {
            return;
        }

        _grace.CancelAfter(_settings.Limits.Grace);
        try
        {
            await _server.StopAsync(_grace.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // What is not done by now is cut.
        }

        // Those that were cut have yet to say so.
        for (var tries = 0; Volatile.Read(ref _handled) > 0 && tries < 100; tries++)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20)).ConfigureAwait(false);
        }

        await _server.DisposeAsync().ConfigureAwait(false);
        await _loopback.DisposeAsync().ConfigureAwait(false);
        _podRanges?.Dispose();
        _strangers.Dispose();
        _identity.Dispose();
        _grace.Dispose();
        _handshakes.Dispose();
    }

    private WebApplication Server()
    {
        var limits = _settings.Limits;
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Logging.SetMinimumLevel(LogLevel.Debug).AddProvider(new KestrelRefusals(this));
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = limits.BodyBytes;
            kestrel.Limits.MaxRequestLineSize = 1024;
            kestrel.Limits.MaxRequestHeadersTotalSize = limits.HeaderBytes;
            kestrel.Limits.MaxRequestHeaderCount = limits.HeaderCount;
            kestrel.Limits.RequestHeadersTimeout = limits.HeaderTime;
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(30);
            kestrel.Limits.MaxConcurrentConnections = limits.Connections;
            kestrel.Limits.MinRequestBodyDataRate = null; // BodyTime bounds the whole.
            kestrel.Listen(_settings.Listen, listen =>
            {
                listen.Protocols = HttpProtocols.Http1;
                listen.Use(next => connection => Meet(connection, next));
                listen.UseHttps(new TlsHandshakeCallbackOptions { HandshakeTimeout = limits.HandshakeTime, OnConnection = _ => new(Tls()) });
                listen.Use(next => connection =>
                {
                    connection.Features.Get<HandshakeGate>()!.Done();
                    return next(connection);
                });
            });
        });
        var app = builder.Build();
        app.Run(Handle);
        return app;
    }

    /// <summary>Before the handshake.</summary>
    private async Task Meet(ConnectionContext connection, ConnectionDelegate next)
    {
        var limits = _settings.Limits;
        var remote = Remote.Of(connection.RemoteEndPoint);
        if (!_open.Enter(remote.Source, limits.ConnectionsPerAddress))
        {
            RecordStranger(
                new AuditEntry
                {
                    At = _time.GetUtcNow(),
                    Decision = "refused",
                    Code = "connections",
                    Reason = $"{limits.ConnectionsPerAddress} connections of this address are open already (--connections-per-address)",
                    Remote = remote.Text,
                },
                remote);
            connection.Abort(new ConnectionAbortedException("too many connections of one address"));
            return;
        }

        var bare = connection.Transport;
        var gate = new HandshakeGate(connection, limits.HandshakeBytes, _handshakes);
        connection.Features.Set(gate);
        connection.Transport = gate;
        _remotes[connection.ConnectionId] = remote;
        try
        {
            await next(connection).ConfigureAwait(false);
        }
        finally
        {
            gate.Leave();
            if (!gate.IsDone)
            {
                Interlocked.Increment(ref _failedHandshakes);
            }

            connection.Transport = bare;
            _remotes.TryRemove(connection.ConnectionId, out _);
            _open.Leave(remote.Source);
        }
    }

    private WebApplication Loopback()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            // Everybody on the node may call here.
            kestrel.Limits.MaxConcurrentConnections = 16;
            kestrel.Limits.MaxRequestBodySize = 0;
            kestrel.Limits.MaxRequestLineSize = 1024;
            kestrel.Limits.MaxRequestHeadersTotalSize = 4096;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(5);
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(30);
            kestrel.Limits.MinResponseDataRate = new MinDataRate(1024, TimeSpan.FromSeconds(5));
            kestrel.Listen(IPAddress.Loopback, _settings.MetricsPort, static listen => listen.Protocols = HttpProtocols.Http1);
        });
        var app = builder.Build();
        app.Run(async context =>
        {
            var path = context.Request.Path.Value;
            var (status, text) = path switch
            {
                _ when !HttpMethods.IsGet(context.Request.Method) => (405, ""),
                "/healthz" => Ailment() is { } ailment ? (503, ailment + "\n") : (200, "ok\n"),
                "/metrics" => (200, Metrics()),
                _ => (404, ""),
            };
            context.Response.StatusCode = status;
            context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
            await context.Response.WriteAsync(text, context.RequestAborted).ConfigureAwait(false);
        });
        return app;
    }

    /// <summary>Why it is of no use to nodes; null when it may be.</summary>
    private string? Ailment() =>
        !_identity.IsInTime
            ? $"the issuer's own certificate is good from {_identity.NotBefore.UtcDateTime:u} to {_identity.NotAfter.UtcDateTime:u}, "
                + $"and it is {_time.GetUtcNow().UtcDateTime:u}"
        : _signer.Flaw is { } flaw ? "the last signature failed: " + flaw
        : null;

    private SslServerAuthenticationOptions Tls() => new()
    {
        EnabledSslProtocols = SslProtocols.Tls13,
        ServerCertificateContext = _identity.Current(),
        // Asked of everybody, wanted of nobody: whether one will do is decided, and audited, where requests are. The handshake proves that its key is there.
        ClientCertificateRequired = true,
#pragma warning disable CA5359
        RemoteCertificateValidationCallback = static (_, _, _, _) => true,
#pragma warning restore CA5359
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        // A stranger's certificate may name any address to fetch its issuer from.
        CertificateChainPolicy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        },
        AllowRenegotiation = false,
        // Without it, each connection has a whole SSL_CTX of its own, 100 KiB. A session that is resumed has the certificate of its first handshake, and is
        // held against EC2 like any; nodes do not resume.
        AllowTlsResume = true,
    };

    private async Task Handle(HttpContext context)
    {
        Interlocked.Increment(ref _handled);
        try
        {
            await Serve(context).ConfigureAwait(false);
        }
        finally
        {
            Interlocked.Decrement(ref _handled);
        }
    }

    private async Task Serve(HttpContext context)
    {
        var request = context.Request;
        if (request.Path.Value == Protocol.NoncePath && HttpMethods.IsGet(request.Method) && !request.QueryString.HasValue)
        {
            await Answer(context, 200, new NonceAnswer(_nonces.New()), ProtocolJson.Default.NonceAnswer).ConfigureAwait(false);
            return;
        }

        var began = _time.GetTimestamp();
        var remote = _remotes.GetValueOrDefault(context.Connection.Id, Remote.Unknown);
        var audit = new AuditEntry { At = _time.GetUtcNow(), Decision = "refused", Remote = remote.Text };
        byte[]? answer = null;
        IssuerRefusal? refusal = null;
        try
        {
            answer = await Decide(context, audit).ConfigureAwait(false);
            audit.Decision = "granted";
        }
        catch (IssuerRefusal e)
        {
            refusal = e;
        }
        catch (BadHttpRequestException e)
        {
            refusal = new(e.StatusCode, e.StatusCode == 413 ? "too-large" : "malformed", e.Message, null, e);
        }
        catch (Exception e) when (e is IOException || (e is OperationCanceledException && context.RequestAborted.IsCancellationRequested))
        {
            refusal = _grace.IsCancellationRequested
                ? new(Unanswered, "cut", $"the issuer was told to stop, and this was not done {_settings.Limits.Grace.TotalSeconds:0} s later", null, e)
                : new(Unanswered, "gone", "the caller closed the connection before it was answered", null, e);
        }
#pragma warning disable CA1031 // A mistake of ours is an answer and a line in the audit, too.
        catch (Exception e)
#pragma warning restore CA1031
        {
            refusal = new(500, "internal", $"a mistake of the issuer's: {e.GetType().Name}: {e.Message}", null, e);
        }

        audit.Milliseconds = (long)_time.GetElapsedTime(began).TotalMilliseconds;
        if (refusal is not null)
        {
            audit.Decision = refusal.RetryAfter is null ? "refused" : "later";
            (audit.Code, audit.Reason) = (refusal.Code, refusal.Message);
        }

        await Record(audit, remote).ConfigureAwait(false);
        if (answer is not null)
        {
            _crowd.Served();
            Interlocked.Add(ref _granted, audit.Certificates?.Count ?? 0);
            await Answer(context, 200, answer).ConfigureAwait(false);
        }
        else if (refusal!.Status != Unanswered)
        {
            if (refusal.RetryAfter is { } after)
            {
                context.Response.Headers.RetryAfter = ((int)after.TotalSeconds).ToString(CultureInfo.InvariantCulture);
            }

            // Each refusal costs whoever wants it a handshake, so that they come no faster than those; and what was not read to its end is not waited for.
            context.Response.Headers.Connection = "close";
            // Of our own mistakes, what happened is for the audit alone.
            var told = refusal.Status == 500 ? "a mistake of the issuer's: its audit says more" : refusal.Message;
            await Answer(context, refusal.Status, new ErrorAnswer(refusal.Code, told), ProtocolJson.Default.ErrorAnswer).ConfigureAwait(false);
        }
    }

    private async Task<byte[]> Decide(HttpContext context, AuditEntry audit)
    {
        var request = context.Request;
        if (request.Path.Value is not (Protocol.CertificatesPath or Protocol.PodRangePath) || request.QueryString.HasValue)
        {
            throw new IssuerRefusal(404, "no-such-thing", $"there is no {IssuerRefusal.Short(request.Path.Value + request.QueryString.Value)} here");
        }

        if (!HttpMethods.IsPost(request.Method))
        {
            throw new IssuerRefusal(405, "no-such-thing", $"{request.Path.Value} takes POST alone");
        }

        if (request.ContentType != "application/json")
        {
            throw IssuerRefusal.Malformed("the content type is not application/json");
        }

        if (Interlocked.Increment(ref _inWork) is var inWork && inWork > _settings.Limits.Concurrency)
        {
            Interlocked.Decrement(ref _inWork);
            throw IssuerRefusal.Later("busy", $"{_settings.Limits.Concurrency} requests are in work already", _crowd.TurnedAway());
        }

        try
        {
            var body = await Body(context).ConfigureAwait(false);
            using var work = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
            work.CancelAfter(_settings.Limits.WorkTime);
            try
            {
                return request.Path.Value == Protocol.PodRangePath
                    ? await Admit(_admission.PodRange, ProtocolJson.Default.PodRangeAnswer, body, work.Token).ConfigureAwait(false)
                    : await Admit(_admission.Certificates, ProtocolJson.Default.CertificatesAnswer, body, work.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException e) when (!context.RequestAborted.IsCancellationRequested)
            {
                throw IssuerRefusal.Later("unavailable", $"no decision within {_settings.Limits.WorkTime.TotalSeconds:0} s", TimeSpan.FromSeconds(5), e);
            }
        }
        finally
        {
            Interlocked.Decrement(ref _inWork);
        }

        async Task<byte[]> Admit<TAsked, TAnswer>(
            Admission.Errand<TAsked, TAnswer> errand, JsonTypeInfo<TAnswer> type, byte[] body, CancellationToken cancellation)
        {
            var answer = context.Connection.ClientCertificate is not { } certificate
                    ? await _admission.ByProof(errand, request.Headers, body, audit, cancellation).ConfigureAwait(false)
                : request.Headers.Authorization.Count == 0
                    ? await _admission.ByCertificate(errand, certificate, request.Headers, body, audit, cancellation).ConfigureAwait(false)
                : throw IssuerRefusal.Malformed("a certificate and a signature at once: one proof is wanted");
            return JsonSerializer.SerializeToUtf8Bytes(answer, type);
        }
    }

    private async Task<byte[]> Body(HttpContext context)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        patience.CancelAfter(_settings.Limits.BodyTime);
        try
        {
            using var body = new MemoryStream((int)Math.Min(context.Request.ContentLength ?? 0, _settings.Limits.BodyBytes));
            await context.Request.Body.CopyToAsync(body, patience.Token).ConfigureAwait(false);
            return body.Length == body.Capacity ? body.GetBuffer() : body.ToArray();
        }
        catch (OperationCanceledException e) when (!context.RequestAborted.IsCancellationRequested)
        {
            throw new IssuerRefusal(408, "too-slow", $"the body did not come within {_settings.Limits.BodyTime.TotalSeconds:0.#} s", null, e);
        }
    }

    private static Task Answer<T>(HttpContext context, int status, T answer, JsonTypeInfo<T> type) =>
        Answer(context, status, JsonSerializer.SerializeToUtf8Bytes(answer, type));

    private static async Task Answer(HttpContext context, int status, byte[] bytes)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = bytes.Length;
        context.Response.Headers.CacheControl = "no-store";
        try
        {
            await context.Response.Body.WriteAsync(bytes, context.RequestAborted).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ConnectionAbortedException)
        {
            // Gone; the decision was audited.
        }
    }

    /// <summary>
    /// What was granted, or refused to somebody who had shown who he is, waits until the audit takes it; others' lines do not, and are counted where
    /// there is no room.
    /// </summary>
    private async ValueTask Record(AuditEntry entry, Remote remote)
    {
        if (entry.Decision != "granted" && entry.Caller is null)
        {
            RecordStranger(entry, remote);
            return;
        }

        Count(entry);
        await _audit.WriteAsync(entry, CancellationToken.None).ConfigureAwait(false);
    }

    private void RecordStranger(AuditEntry entry, Remote remote)
    {
        Count(entry);
        _strangers.Write(remote.Source, entry);
    }

    private void Count(AuditEntry entry) => _decisions.AddOrUpdate(entry.Code ?? entry.Decision, 1, static (_, n) => n + 1);

    /// <summary>https://prometheus.io/docs/instrumenting/exposition_formats/</summary>
    private string Metrics()
    {
        var text = new StringBuilder();
        text.Append(
            "# HELP nodeagent_issuer_requests_total Requests for certificates, by what became of them.\n# TYPE nodeagent_issuer_requests_total counter\n");
        foreach (var (what, count) in _decisions.OrderBy(d => d.Key, StringComparer.Ordinal))
        {
            text.Append(CultureInfo.InvariantCulture, $"nodeagent_issuer_requests_total{{outcome=\"{what}\"}} {count}\n");
        }

        Metric("certificates_total", "counter", "Certificates that were signed.", Interlocked.Read(ref _granted));
        Metric("requests_in_work", "gauge", "Requests for certificates in work.", Volatile.Read(ref _inWork));
        Metric("connections", "gauge", "Connections that are open.", _open.Count);
        Metric("connections_rejected_total", "counter", "Connections beyond the limit, which were closed unheard.", Interlocked.Read(ref _unheard));
        Metric("handshakes_failed_total", "counter", "Connections that ended before their handshake.", Interlocked.Read(ref _failedHandshakes));
        Metric("audit_lines_left_out_total", "counter", "Refusals before any proof without a line of their own in the audit.", _strangers.Lost);
        Metric("ec2_calls_total", "counter", "Calls of ec2:DescribeInstances.", _admission.LookUpCalls);
        Metric("heap_bytes", "gauge", "What the garbage collector has of the system's memory.", GC.GetGCMemoryInfo().TotalCommittedBytes);
        Metric("serving_certificate_expiry_seconds", "gauge", "End of the issuer's own certificate, Unix time.", _identity.NotAfter.ToUnixTimeSeconds());
        if (_podRanges is { Routes: { Count: > 0 } routes })
        {
            text.Append("# HELP nodeagent_issuer_routes Routes of each table, as last seen.\n# TYPE nodeagent_issuer_routes gauge\n");
            foreach (var (table, count) in routes)
            {
                text.Append(CultureInfo.InvariantCulture, $"nodeagent_issuer_routes{{table=\"{table}\"}} {count}\n");
            }

            Metric("route_quota", "gauge", "Routes that a table may have (--route-quota).", _podRanges.RouteQuota);
            Metric("route_doubts", "gauge", "Routes to pods that this issuer reported in its last turn and leaves alone.", _podRanges.Doubts);
        }

        return text.ToString();

        void Metric(string name, string type, string help, long value) =>
            text.Append(
                CultureInfo.InvariantCulture,
                $"# HELP nodeagent_issuer_{name} {help}\n# TYPE nodeagent_issuer_{name} {type}\nnodeagent_issuer_{name} {value}\n");
    }

    private static Uri Addresses(WebApplication app) =>
        new(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());

    /// <summary>What Kestrel refuses before any of our code runs (header bombs, junk) it tells to its log alone.</summary>
    private sealed class KestrelRefusals(IssuerServer server) : ILoggerProvider, ILogger
    {
        private const string Kestrel = "Microsoft.AspNetCore.Server.Kestrel.";

        public ILogger CreateLogger(string categoryName) => categoryName is Kestrel + "BadRequests" or Kestrel + "Connections" ? this : NullLogger.Instance;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (eventId.Name == "ConnectionRejected")
            {
                Interlocked.Increment(ref server._unheard);
            }
            else if (exception is BadHttpRequestException refused && eventId.Name == "ConnectionBadRequest")
            {
                var remote = state is IReadOnlyList<KeyValuePair<string, object?>> values
                    && values.FirstOrDefault(v => v.Key == "ConnectionId").Value is string id
                    ? server._remotes.GetValueOrDefault(id, Remote.Unknown)
                    : Remote.Unknown;
                server.RecordStranger(
                    new AuditEntry
                    {
                        At = server._time.GetUtcNow(),
                        Decision = "refused",
                        Code = refused.StatusCode switch { 431 => "too-large", 414 => "too-large", 413 => "too-large", 408 => "too-slow", _ => "malformed" },
                        Reason = refused.Message,
                        Remote = remote.Text,
                    },
                    remote);
            }
        }

        public void Dispose()
        {
        }
    }

    /// <param name="Source">
    /// By which callers are told apart: an IPv4 address, or the first 80 bits of one of IPv6, since an instance may have all of such a prefix
    /// (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-prefix-eni.html).
    /// </param>
    private sealed record Remote(string Text, IPAddress Source)
    {
        public static readonly Remote Unknown = new("unknown", IPAddress.None);

        public static Remote Of(EndPoint? endpoint)
        {
            if (endpoint is not IPEndPoint ip)
            {
                return Unknown;
            }

            var address = ip.Address.IsIPv4MappedToIPv6 ? ip.Address.MapToIPv4() : ip.Address;
            var bytes = address.GetAddressBytes();
            if (bytes.Length == 16)
            {
                bytes.AsSpan(10).Clear();
            }

            return new(new IPEndPoint(address, ip.Port).ToString(), new IPAddress(bytes));
        }
    }

    /// <summary>Connections by where they come from.</summary>
    private sealed class Doors
    {
        private readonly Lock _gate = new();
        private readonly Dictionary<IPAddress, int> _open = [];

        public int Count
        {
            get
            {
                lock (_gate)
                {
                    return _open.Values.Sum();
                }
            }
        }

        public bool Enter(IPAddress source, int most)
        {
            lock (_gate)
            {
                var open = _open.GetValueOrDefault(source);
                if (open >= most)
                {
                    return false;
                }

                _open[source] = open + 1;
                return true;
            }
        }

        public void Leave(IPAddress source)
        {
            lock (_gate)
            {
                if (_open[source] == 1)
                {
                    _open.Remove(source);
                }
                else
                {
                    _open[source]--;
                }
            }
        }
    }

    /// <summary>How long those shall stay away who were turned away: the more of them there are for those that are served, the longer.</summary>
    private sealed class Crowd(TimeProvider time)
    {
        private static readonly TimeSpan Window = TimeSpan.FromSeconds(5);

        private readonly Lock _gate = new();
        private long _since = time.GetTimestamp();
        private (int Away, int Served) _now;
        private (int Away, int Served) _before;

        public void Served()
        {
            lock (_gate)
            {
                Turn();
                _now.Served++;
            }
        }

        public TimeSpan TurnedAway()
        {
            lock (_gate)
            {
                Turn();
                _now.Away++;
                var seconds = (Window + time.GetElapsedTime(_since)).TotalSeconds;
                var rate = Math.Max(1, (_now.Served + _before.Served) / seconds);
                return TimeSpan.FromSeconds(Math.Clamp(1 + ((_now.Away + _before.Away) / rate), 2, 30));
            }
        }

        private void Turn()
        {
            if (time.GetElapsedTime(_since) is var passed && passed > Window)
            {
                _before = passed > 2 * Window ? default : _now;
                _now = default;
                _since = time.GetTimestamp();
            }
        }
    }
}
