using System.Net;
using System.Net.Http;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Amazon.Runtime;

namespace NodeAgent.Aws;

/// <summary>How calls of AWS get out of this machine. Without a proxy given here, the environment's is taken (HTTPS_PROXY, NO_PROXY).</summary>
/// <param name="trusted">CAs that are trusted beside the machine's own, which may not know them yet. DER.</param>
internal sealed class OutboundHttp(OutboundProxy? proxy, IReadOnlyList<byte[]> trusted) : HttpClientFactory
{
    public override HttpClient CreateHttpClient(IClientConfig clientConfig) => new(Handler()) { Timeout = clientConfig.Timeout ?? TimeSpan.FromSeconds(100) };

    // One client of the SDK holds one of these, and takes it along when it goes.
    public override string? GetConfigUniqueString(IClientConfig clientConfig) => null;

    public SocketsHttpHandler Handler()
    {
        // S3 redirects what asks in the wrong region, where the signature does not hold.
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = false,
            ActivityHeadersPropagator = null,
            ConnectTimeout = TimeSpan.FromSeconds(5),
        };
        if (proxy is not null)
        {
            handler.Proxy = proxy;
        }

        if (trusted.Count > 0)
        {
            handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, chain, errors) => errors == SslPolicyErrors.None
                || (errors == SslPolicyErrors.RemoteCertificateChainErrors && certificate is X509Certificate2 server && chain is not null
                && IsTrusted(server, chain));
        }

        return handler;
    }

    /// <summary>The name was right and the machine knows no way to a root: is there one to a root of ours?</summary>
    private bool IsTrusted(X509Certificate2 server, X509Chain asSent)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid("1.3.6.1.5.5.7.3.1"));
        chain.ChainPolicy.ExtraStore.AddRange(asSent.ChainPolicy.ExtraStore);
        foreach (var der in trusted)
        {
            chain.ChainPolicy.CustomTrustStore.Add(X509CertificateLoader.LoadCertificate(der));
        }

        return chain.Build(server);
    }
}

/// <summary>A proxy by scheme, with exceptions as Go reads NO_PROXY: hosts, domains, addresses, ranges, each with a port or without, or * for all.</summary>
internal sealed class OutboundProxy(string? http, string? https, IReadOnlyList<string> exceptions) : IWebProxy, ICredentials
{
    private readonly Uri? _http = http is null ? null : new Uri(http);
    private readonly Uri? _https = https is null ? null : new Uri(https);

    ICredentials? IWebProxy.Credentials
    {
        get => this;
        set => throw new NotSupportedException();
    }

    public Uri? GetProxy(Uri destination) => IsBypassed(destination) ? null : Without(For(destination)!);

    public bool IsBypassed(Uri host) => For(host) is null || host.IsLoopback || exceptions.Any(e => Matches(e, host));

    NetworkCredential? ICredentials.GetCredential(Uri uri, string authType)
    {
        var full = new[] { _https, _http }.FirstOrDefault(p => p is { UserInfo.Length: > 0 } && Without(p).Equals(Without(uri)));
        if (full is null || authType != "Basic")
        {
            return null;
        }

        var parts = full.UserInfo.Split(':', 2);
        return new NetworkCredential(Uri.UnescapeDataString(parts[0]), parts.Length > 1 ? Uri.UnescapeDataString(parts[1]) : "");
    }

    private Uri? For(Uri destination) => destination.Scheme == Uri.UriSchemeHttps ? _https : _http;

    // So that a failed connection, which names the proxy, does not name its password.
    private static Uri Without(Uri proxy) => new UriBuilder(proxy) { UserName = "", Password = "" }.Uri;

    private static bool Matches(string exception, Uri destination)
    {
        var host = destination.DnsSafeHost;
        if (exception == "*")
        {
            return true;
        }

        if (IPAddress.TryParse(host, out var address))
        {
            return IPNetwork.TryParse(exception, out var range) ? range.Contains(address)
                : IPAddress.TryParse(exception, out var one) ? one.Equals(address)
                : IPEndPoint.TryParse(exception, out var endpoint) && endpoint.Address.Equals(address) && endpoint.Port == destination.Port;
        }

        var name = exception.StartsWith("*.", StringComparison.Ordinal) ? exception[1..] : exception;
        if (name.LastIndexOf(':') is >= 0 and var colon)
        {
            if (name[(colon + 1)..] != destination.Port.ToString(System.Globalization.CultureInfo.InvariantCulture))
            {
                return false;
            }

            name = name[..colon];
        }

        return name.Length > 0 && (name[0] == '.' ? host.EndsWith(name, StringComparison.OrdinalIgnoreCase)
            : host.Equals(name, StringComparison.OrdinalIgnoreCase) || host.EndsWith($".{name}", StringComparison.OrdinalIgnoreCase));
    }
}
