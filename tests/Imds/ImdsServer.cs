using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;

namespace NodeAgent.Imds;

/// <summary>
/// An instance metadata service that speaks IMDSv2 as EC2 documents it: PUT /latest/api/token with a lifetime of 1 to 21600 s (else 400; 403 with
/// X-Forwarded-For), the token on every GET (else 401), directories as lists. What it says is given from outside at each request.
/// </summary>
public sealed class ImdsServer : IAsyncDisposable
{
    private const string TokenHeader = "X-aws-ec2-metadata-token";
    private const string LifetimeHeader = "X-aws-ec2-metadata-token-ttl-seconds";

    private readonly Func<ImdsState> _state;
    private readonly TimeProvider _time;
    private readonly string _url;
    private readonly ConcurrentDictionary<string, DateTimeOffset> _tokens = new();
    private readonly Lock _gate = new();
    private WebApplication? _application;
    private string _boot = "";
    private List<Fault> _faults = [];
    private int[] _hits = [];
    private long _faultsSince;

    /// <param name="url">As in http://127.0.0.1:0, whose port is then chosen.</param>
    public ImdsServer(Func<ImdsState> state, string url = "http://127.0.0.1:0", TimeProvider? time = null)
    {
        _state = state;
        _url = url;
        _time = time ?? TimeProvider.System;
        _faultsSince = _time.GetTimestamp();
    }

    /// <summary>Where it listens, once started.</summary>
    public Uri Endpoint { get; private set; } = new("http://127.0.0.1");

    /// <summary>Every request so far, as in "GET /latest/meta-data/instance-id 200"; a dash for those that got no answer.</summary>
    public ConcurrentQueue<string> Requests { get; } = new();

    public event Action<string>? Answered;

    public bool Listening => _application is not null;

    /// <summary>Whether a fault says that nobody listens now.</summary>
    public bool ShallRefuse
    {
        get
        {
            var state = Current();
            return state.Faults.Select((f, i) => f is { Kind: FaultKind.Refuse, Path: "", Requests: null } && IsActive(i)).Any(x => x);
        }
    }

    public async Task Start()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls(_url);
        var application = builder.Build();
        application.Run(Answer);
        await application.StartAsync();
        Endpoint = new Uri(application.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        _application = application;
    }

    public async Task Stop()
    {
        if (_application is { } application)
        {
            _application = null;
            // Not StopAsync: it waits for connections that clients keep open.
            await application.DisposeAsync();
        }
    }

    /// <summary>All tokens are void from now on.</summary>
    public void ForgetTokens() => _tokens.Clear();

    public async ValueTask DisposeAsync() => await Stop();

    private async Task Answer(HttpContext context)
    {
        // RawTarget: Kestrel's own Path leaves %2F and so would not show what the client really asked for.
        var raw = context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget;
        var path = Uri.UnescapeDataString(raw.Split('?')[0]);
        try
        {
            await Answer(context, path);
            Note(context.Request.Method, path, context.Response.StatusCode.ToString(CultureInfo.InvariantCulture));
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // Without this, Kestrel would say 500 and nobody why.
            Note(context.Request.Method, path, e.ToString());
            context.Response.StatusCode = 599;
        }
        catch (OperationCanceledException)
        {
            Note(context.Request.Method, path, "-");
            context.Abort();
        }
    }

    private async Task Answer(HttpContext context, string path)
    {
        var state = Current();
        var below = path.StartsWith("/latest/", StringComparison.Ordinal) ? path["/latest/".Length..] : null;
        if (below is null)
        {
            context.Response.StatusCode = 404;
            return;
        }

        if (TakeFault(state, below) is { } fault)
        {
            switch (fault.Kind)
            {
                case FaultKind.Refuse:
                    throw new OperationCanceledException();
                case FaultKind.Hang:
                    await Task.Delay(Timeout.Infinite, context.RequestAborted);
                    return;
                case FaultKind.Status:
                    await Say(context, fault.Status, Encoding.UTF8.GetBytes($"fault on demand: {fault.Status}\n"));
                    return;
                case FaultKind.Slow:
                    await Task.Delay(fault.Milliseconds, context.RequestAborted);
                    break;
                case FaultKind.Garbage:
                    await Say(context, 200, "<!DOCTYPE html><html><body>Please log in</body></html>\n"u8.ToArray());
                    return;
            }
        }

        if (below == "api/token")
        {
            await HandOutToken(context);
        }
        else if (context.Request.Method is not ("GET" or "HEAD"))
        {
            context.Response.StatusCode = 405;
        }
        else if (!IsAllowed(context, state))
        {
            await Say(context, 401, "Unauthorized\n"u8.ToArray());
        }
        else if (Find(state, below) is { } content)
        {
            await Say(context, 200, content);
        }
        else
        {
            await Say(context, 404, "Not Found\n"u8.ToArray());
        }
    }

    private async Task HandOutToken(HttpContext context)
    {
        if (context.Request.Method != "PUT")
        {
            context.Response.StatusCode = 405;
        }
        else if (context.Request.Headers.ContainsKey("X-Forwarded-For"))
        {
            context.Response.StatusCode = 403;
        }
        else if (!int.TryParse(context.Request.Headers[LifetimeHeader], NumberStyles.None, CultureInfo.InvariantCulture, out var lifetime)
            || lifetime is < 1 or > 21600)
        {
            context.Response.StatusCode = 400;
        }
        else
        {
            var token = Convert.ToBase64String(RandomNumberGenerator.GetBytes(42)).Replace('+', '-').Replace('/', '_');
            _tokens[token] = _time.GetUtcNow() + TimeSpan.FromSeconds(lifetime);
            context.Response.Headers[LifetimeHeader] = lifetime.ToString(CultureInfo.InvariantCulture);
            await Say(context, 200, Encoding.ASCII.GetBytes(token));
        }
    }

    private bool IsAllowed(HttpContext context, ImdsState state)
    {
        string? token = context.Request.Headers[TokenHeader];
        return token is null ? state.Version1 : _tokens.TryGetValue(token, out var end) && _time.GetUtcNow() < end;
    }

    private static byte[]? Find(ImdsState state, string below)
    {
        if (below == "user-data")
        {
            return state.UserData;
        }

        var path = below.StartsWith("meta-data/", StringComparison.Ordinal) ? below["meta-data/".Length..]
            : below == "meta-data" ? ""
            : below.StartsWith("dynamic", StringComparison.Ordinal) ? below
            : null;
        if (path is null)
        {
            return null;
        }

        if (state.Paths.TryGetValue(path, out var text))
        {
            return Encoding.UTF8.GetBytes(text);
        }

        var directory = path.Length == 0 || path.EndsWith('/') ? path : path + "/";
        var names = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var known in state.Paths.Keys)
        {
            if (known.StartsWith(directory, StringComparison.Ordinal) && (directory.Length > 0 || !known.StartsWith("dynamic/", StringComparison.Ordinal)))
            {
                var rest = known[directory.Length..];
                // A tag's key is one name, slashes and all.
                var slash = directory == "tags/instance/" ? -1 : rest.IndexOf('/', StringComparison.Ordinal);
                names.Add(slash < 0 ? rest : rest[..(slash + 1)]);
            }
        }

        return names.Count == 0 ? null : Encoding.UTF8.GetBytes(string.Join('\n', names));
    }

    private static async Task Say(HttpContext context, int status, byte[] content)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = status == 200 ? "text/plain" : "text/html";
        context.Response.ContentLength = content.Length;
        context.Response.Headers.Server = "EC2ws";
        if (context.Request.Method != "HEAD")
        {
            await context.Response.Body.WriteAsync(content);
        }
    }

    private ImdsState Current()
    {
        var state = _state();
        lock (_gate)
        {
            if (_boot != state.Boot)
            {
                _boot = state.Boot;
                _tokens.Clear();
            }

            if (!_faults.SequenceEqual(state.Faults))
            {
                _faults = [.. state.Faults];
                _hits = new int[_faults.Count];
                _faultsSince = _time.GetTimestamp();
            }
        }

        return state;
    }

    private Fault? TakeFault(ImdsState state, string below)
    {
        lock (_gate)
        {
            for (var i = 0; i < state.Faults.Count && i < _hits.Length; i++)
            {
                if (IsActive(i) && below.StartsWith(_faults[i].Path, StringComparison.Ordinal))
                {
                    _hits[i]++;
                    return _faults[i];
                }
            }
        }

        return null;
    }

    private bool IsActive(int i) =>
        (_faults[i].Requests is not { } requests || _hits[i] < requests)
        && (_faults[i].Seconds is not { } seconds || _time.GetElapsedTime(_faultsSince).TotalSeconds < seconds);

    private void Note(string method, string path, string outcome)
    {
        var line = $"{method} {path} {outcome}";
        Requests.Enqueue(line);
        Answered?.Invoke(line);
    }
}
