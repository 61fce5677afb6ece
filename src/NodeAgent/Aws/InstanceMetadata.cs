using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace NodeAgent.Aws;

/// <summary>
/// The instance metadata service, version 2 only: a token first, the token on every request; never through a proxy, never a redirect. Early in boot
/// it may refuse, hang or fail for a while, so what may pass is tried again until <c>patience</c> is used up. All calls may run side by side.
/// </summary>
/// <remarks>https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html</remarks>
internal sealed class InstanceMetadata : IDisposable
{
    public static readonly Uri DefaultEndpoint = new("http://169.254.169.254/");

    private const string TokenPath = "api/token";
    private const int TokenLifetime = 21600;

    // A healthy service answers in milliseconds. Much longer than that is a packet lost on the way (the hop limit drops the answer silently).
    private static readonly TimeSpan OneTry = TimeSpan.FromSeconds(3);

    private readonly Uri _endpoint;
    private readonly TimeProvider _time;
    private readonly HttpMessageInvoker _http;
    private readonly Retries _retries;
    private readonly Lock _gate = new();
    private Task<Token>? _token;

    /// <param name="endpoint">http://169.254.169.254/ when null; AWS_EC2_METADATA_SERVICE_ENDPOINT, where somebody set it.</param>
    /// <param name="patience">How long in all, from now on, to try again before giving up.</param>
    public InstanceMetadata(Uri? endpoint, TimeSpan patience, TimeProvider? time = null)
    {
        _endpoint = endpoint ?? DefaultEndpoint;
        _time = time ?? TimeProvider.System;
        _retries = new Retries(_time, TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(2), patience);
        _http = new HttpMessageInvoker(new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            ActivityHeadersPropagator = null,
            // The service limits packets per second and interface; side by side, not in a flood.
            MaxConnectionsPerServer = 8,
            ConnectTimeout = OneTry,
        });
    }

    /// <summary>Text of a path below meta-data/ that every instance has.</summary>
    /// <exception cref="AwsException">Not there is a failure, too.</exception>
    public async Task<string> Text(string path, CancellationToken cancellation) =>
        await TextOrNone(path, cancellation).ConfigureAwait(false)
        ?? throw NotThere("meta-data/" + path);

    /// <summary>Text of a path below meta-data/; null when there is no such path.</summary>
    public Task<string?> TextOrNone(string path, CancellationToken cancellation) => TextBelowLatest("meta-data/" + path, cancellation);

    /// <summary>Names in a directory below meta-data/, without their closing slashes; empty when there is no such directory.</summary>
    public async Task<IReadOnlyList<string>> List(string directory, CancellationToken cancellation) =>
        await ListOrNone(directory, cancellation).ConfigureAwait(false) ?? [];

    /// <summary>All tags of the instance, or null where the launch template does not allow tags in metadata.</summary>
    public async Task<IReadOnlyDictionary<string, string>?> Tags(CancellationToken cancellation)
    {
        if (await ListOrNone("tags/instance", cancellation).ConfigureAwait(false) is not { } keys)
        {
            return null;
        }

        var values = await Task.WhenAll(keys.Select(key => TextOrNone("tags/instance/" + Uri.EscapeDataString(key), cancellation))).ConfigureAwait(false);
        var tags = new SortedDictionary<string, string>(StringComparer.Ordinal);
        for (var i = 0; i < keys.Count; i++)
        {
            // Null: the tag was taken away between the two requests.
            if (values[i] is { } value)
            {
                tags[keys[i]] = value;
            }
        }

        return tags;
    }

    /// <summary>User data as it was given, or null where none was.</summary>
    public async Task<byte[]?> UserData(CancellationToken cancellation) => (await Get("user-data", cancellation).ConfigureAwait(false)).Content;

    /// <summary>The instance identity document, JSON.</summary>
    public async Task<string> IdentityDocument(CancellationToken cancellation) =>
        await TextBelowLatest("dynamic/instance-identity/document", cancellation).ConfigureAwait(false)
        ?? throw NotThere("dynamic/instance-identity/document");

    /// <summary>The instance identity document with its RSA-2048 signature: PKCS#7.</summary>
    public async Task<byte[]> SignedIdentityDocument(CancellationToken cancellation)
    {
        const string path = "dynamic/instance-identity/rsa2048";
        var base64 = await TextBelowLatest(path, cancellation).ConfigureAwait(false) ?? throw NotThere(path);
        try
        {
            return Convert.FromBase64String(base64);
        }
        catch (FormatException e)
        {
            throw Malformed(path, "not base64", e);
        }
    }

    /// <summary>A failure of this service at a path below /latest/, for answers that turn out to make no sense.</summary>
    public AwsException Malformed(string path, string cause, Exception? inner = null) => new(
        new(AwsFailureKind.Malformed, Subject(path), cause, "Something else than EC2's instance metadata answers there, or it is not of this format any more."),
        inner);

    public void Dispose()
    {
        _http.Dispose();
        _retries.Dispose();
    }

    private async Task<IReadOnlyList<string>?> ListOrNone(string directory, CancellationToken cancellation)
    {
        var text = await TextOrNone(directory.TrimEnd('/') + "/", cancellation).ConfigureAwait(false);
        return text?.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(name => name.TrimEnd('/')).ToList();
    }

    private async Task<string?> TextBelowLatest(string path, CancellationToken cancellation)
    {
        if ((await Get(path, cancellation).ConfigureAwait(false)).Content is not { } content)
        {
            return null;
        }

        string text;
        try
        {
            text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(content).TrimEnd('\n');
        }
        catch (DecoderFallbackException e)
        {
            throw Malformed(path, "the answer is not UTF-8", e);
        }

        // A captive portal or a proxy in between says 200, too.
        return text.StartsWith("<!DOCTYPE", StringComparison.OrdinalIgnoreCase) || text.StartsWith("<html", StringComparison.OrdinalIgnoreCase)
            ? throw Malformed(path, "the answer is an HTML page")
            : text;
    }

    private Task<Answer> Get(string path, CancellationToken cancellation) => _retries.Run(
        async attempt =>
        {
            // Waited for with the caller's cancellation alone: it ends at the deadline by itself, and then says why.
            var token = await HeldToken(null).WaitAsync(cancellation).ConfigureAwait(false);
            var answer = await Send(HttpMethod.Get, path, token.Text, attempt).ConfigureAwait(false);
            if (answer.Status == HttpStatusCode.Unauthorized)
            {
                // Once more with a new token: the one we hold may have been void since a stop and a start, or a snapshot.
                token = await HeldToken(token).WaitAsync(cancellation).ConfigureAwait(false);
                answer = await Send(HttpMethod.Get, path, token.Text, attempt).ConfigureAwait(false);
            }

            return answer.Status switch
            {
                HttpStatusCode.OK => answer,
                HttpStatusCode.NotFound => answer with { Content = null },
                _ => throw Failure(path, answer.Status),
            };
        },
        () => NoAnswer(path),
        cancellation);

    /// <summary>One token for all, and one request for it however many wait.</summary>
    /// <param name="rejected">The token that was answered with 401.</param>
    private Task<Token> HeldToken(Token? rejected)
    {
        lock (_gate)
        {
            if (_token is null || _token.IsFaulted || _token.IsCanceled
                || (_token.IsCompletedSuccessfully && (ReferenceEquals(_token.Result, rejected) || _time.GetUtcNow() >= _token.Result.RenewAt)))
            {
                _token = NewToken();
            }

            return _token;
        }
    }

    // Not with the cancellation of whoever comes first: others wait for the same token.
    private async Task<Token> NewToken()
    {
        var answer = await _retries.Run(
            async attempt =>
            {
                var answer = await Send(HttpMethod.Put, TokenPath, null, attempt).ConfigureAwait(false);
                return answer.Status == HttpStatusCode.OK ? answer : throw Failure(TokenPath, answer.Status);
            },
            () => NoAnswer(TokenPath),
            CancellationToken.None).ConfigureAwait(false);
        var text = Encoding.ASCII.GetString(answer.Content ?? []);
        return text.Length is > 0 and < 1024 && text.All(c => c is > ' ' and < (char)127 and not '?' and not '<')
            ? new Token(text, _time.GetUtcNow() + TimeSpan.FromSeconds(TokenLifetime - 300))
            : throw Malformed(TokenPath, "the answer is not a token");
    }

    private async Task<Answer> Send(HttpMethod method, string path, string? token, CancellationToken cancellation)
    {
        using var oneTry = new CancellationTokenSource(OneTry, _time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellation, oneTry.Token);
        using var request = new HttpRequestMessage(method, new Uri(_endpoint, "latest/" + path));
        if (token is null)
        {
            request.Headers.TryAddWithoutValidation("X-aws-ec2-metadata-token-ttl-seconds", TokenLifetime.ToString(CultureInfo.InvariantCulture));
        }
        else
        {
            request.Headers.TryAddWithoutValidation("X-aws-ec2-metadata-token", token);
        }

        try
        {
            using var response = await _http.SendAsync(request, both.Token).ConfigureAwait(false);
            var content = await response.Content.ReadAsByteArrayAsync(both.Token).ConfigureAwait(false);
            return new(response.StatusCode, content);
        }
        catch (OperationCanceledException e) when (!cancellation.IsCancellationRequested)
        {
            throw new AwsException(NoAnswer(path), e);
        }
        catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.InvalidResponse)
        {
            throw Malformed(path, "the answer is not HTTP", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or SocketException)
        {
            throw new AwsException(new(AwsFailureKind.NotReachable, Subject(path), Cause(e), Unreachable), e);
        }
    }

    private AwsFailure NoAnswer(string path) => new(
        AwsFailureKind.NotReachable,
        Subject(path),
        "no answer",
        path == TokenPath
            ? Unreachable + " A token that never comes, as inside a container, means that the hop limit (HttpPutResponseHopLimit) is too low."
            : Unreachable);

    private AwsException Failure(string path, HttpStatusCode status)
    {
        var cause = FormattableString.Invariant($"{(int)status} {status}");
        return new(status switch
        {
            HttpStatusCode.Forbidden => new(
                AwsFailureKind.NotAllowed,
                Subject(path),
                cause,
                "Enable the metadata endpoint in the instance's metadata options (HttpEndpoint=enabled), and let nothing between add X-Forwarded-For."),
            HttpStatusCode.Unauthorized => new(
                AwsFailureKind.NotAllowed,
                Subject(path),
                cause,
                "A token that the service had just handed out was not taken: does something between take away the header X-aws-ec2-metadata-token?"),
            HttpStatusCode.TooManyRequests => new(
                AwsFailureKind.Throttled, Subject(path), cause, "Something on this instance asks instance metadata too often."),
            >= HttpStatusCode.InternalServerError => new(
                AwsFailureKind.Unavailable, Subject(path), cause, "Instance metadata has trouble of its own, mostly for a short while: try again later."),
            _ => new(AwsFailureKind.Malformed, Subject(path), cause, "Instance metadata does not answer so: something else does at this address."),
        });
    }

    private string Subject(string path) => "instance metadata " + new Uri(_endpoint, "latest/" + path);

    private AwsException NotThere(string path) => new(
        new(AwsFailureKind.NotThere, Subject(path), "404", "Every EC2 instance has this: is it instance metadata of EC2 that answers there?"));

    private const string Unreachable =
        "Check that the instance's metadata endpoint is enabled (HttpEndpoint) and that neither a route nor a firewall keeps this host from it.";

    private static string Cause(Exception e) => e.GetBaseException() switch
    {
        SocketException { SocketErrorCode: SocketError.ConnectionRefused } => "connection refused",
        SocketException { SocketErrorCode: SocketError.ConnectionReset } => "connection reset",
        SocketException { SocketErrorCode: SocketError.NetworkUnreachable } => "network is unreachable (no route yet)",
        SocketException { SocketErrorCode: SocketError.HostUnreachable } => "no route to host",
        HttpIOException { HttpRequestError: HttpRequestError.ResponseEnded } => "the connection ended before the answer",
        var other => other.Message,
    };

    /// <param name="Content">Null for 404.</param>
    private sealed record Answer(HttpStatusCode Status, byte[]? Content);

    private sealed record Token(string Text, DateTimeOffset RenewAt);
}
