using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;

namespace NodeAgent.Kubernetes;

/// <summary>The little that the agent asks of the API server, as the node itself: TLS with the cluster's CA and no other, the node's certificate, no proxy.</summary>
internal sealed class ApiClient : IDisposable
{
    private readonly X509Certificate2 _client;
    private readonly HttpClient _http;

    /// <param name="authorities">PEM, what the cluster's certificates are checked against.</param>
    /// <param name="clientPem">PEM, certificate and key of the client.</param>
    public ApiClient(Uri server, string authorities, string clientPem, TimeSpan timeout)
    {
        var trusted = new X509Certificate2Collection();
        trusted.ImportFromPem(authorities);
        _client = X509Certificate2.CreateFromPem(clientPem, clientPem);
        _http = new HttpClient(new SocketsHttpHandler
        {
            UseProxy = false,
            AllowAutoRedirect = false,
            SslOptions = new SslClientAuthenticationOptions
            {
                ClientCertificates = [_client],
                // The PEM's key is in memory alone, which OpenSSL is content with.
                LocalCertificateSelectionCallback = (_, _, _, _, _) => _client,
                CertificateChainPolicy = Policy(trusted),
            },
        })
        {
            BaseAddress = server,
            Timeout = timeout,
        };
    }

    /// <summary>The node's Ready condition: its status ("True", "False", "Unknown") and message; a status of "" when the API server knows no such node or condition.</summary>
    /// <exception cref="HttpRequestException">No answer, or one that is neither 200 nor 404.</exception>
    public async Task<(string Status, string Message)> NodeReady(string node, CancellationToken cancellation)
    {
        using var response = await _http.GetAsync(new Uri($"/api/v1/nodes/{Uri.EscapeDataString(node)}", UriKind.Relative), cancellation).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.NotFound)
        {
            return ("", $"the API server knows no node {node}");
        }

        response.EnsureSuccessStatusCode();
        await using var body = await response.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false);
        using var document = await JsonDocument.ParseAsync(body, cancellationToken: cancellation).ConfigureAwait(false);
        if (document.RootElement.TryGetProperty("status", out var status) && status.TryGetProperty("conditions", out var conditions))
        {
            foreach (var condition in conditions.EnumerateArray())
            {
                if (condition.GetProperty("type").GetString() == "Ready")
                {
                    return (condition.GetProperty("status").GetString() ?? "", condition.TryGetProperty("message", out var message) ? message.GetString() ?? "" : "");
                }
            }
        }

        return ("", "the node has no Ready condition yet");
    }

    /// <summary>Whether the API server serves: its own checks, without those that would let it hold itself up.</summary>
    /// <returns>Null when it does, else why not.</returns>
    public async Task<string?> Ailment(CancellationToken cancellation)
    {
        try
        {
            using var response = await _http.GetAsync(new Uri("/readyz", UriKind.Relative), cancellation).ConfigureAwait(false);
            return response.IsSuccessStatusCode ? null : $"/readyz says {(int)response.StatusCode}";
        }
        catch (Exception e) when (e is HttpRequestException || (e is TaskCanceledException && !cancellation.IsCancellationRequested))
        {
            return (e.InnerException ?? e).Message;
        }
    }

    /// <returns>Null when it is not there.</returns>
    /// <exception cref="ApiException"/>
    /// <exception cref="HttpRequestException">No answer.</exception>
    public async Task<JsonElement?> Get(string path, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        try
        {
            return await Send(request, cancellation).ConfigureAwait(false);
        }
        catch (ApiException e) when (e.Status == HttpStatusCode.NotFound)
        {
            return null;
        }
    }

    /// <exception cref="ApiException"/>
    /// <exception cref="HttpRequestException">No answer.</exception>
    public async Task<JsonElement> Patch(string path, string type, string body, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Patch, path) { Content = new StringContent(body, Encoding.UTF8, new MediaTypeHeaderValue(type)) };
        return await Send(request, cancellation).ConfigureAwait(false);
    }

    private async Task<JsonElement> Send(HttpRequestMessage request, CancellationToken cancellation)
    {
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        using var response = await _http.SendAsync(request, cancellation).ConfigureAwait(false);
        var body = await response.Content.ReadAsByteArrayAsync(cancellation).ConfigureAwait(false);
        JsonElement answer;
        try
        {
            answer = JsonDocument.Parse(body).RootElement;
        }
        catch (JsonException e)
        {
            throw new HttpRequestException($"{request.Method} {request.RequestUri}: {(int)response.StatusCode}, and what follows is not JSON: is it an API server?", e);
        }

        return response.IsSuccessStatusCode
            ? answer
            : throw new ApiException(
                response.StatusCode,
                $"{(int)response.StatusCode} {(answer.ValueKind == JsonValueKind.Object && answer.TryGetProperty("message", out var message) ? message.GetString() : response.ReasonPhrase)}");
    }

    public void Dispose()
    {
        _http.Dispose();
        _client.Dispose();
    }

    private static X509ChainPolicy Policy(X509Certificate2Collection trusted)
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.AddRange(trusted);
        return policy;
    }
}
