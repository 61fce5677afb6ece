using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace NodeAgent.Kubernetes;

/// <summary>
/// The little that the agent asks of the API server, as the node itself: TLS with the cluster's CA and no other, the node's certificate, no proxy.
/// </summary>
internal sealed class ApiClient : IDisposable
{
    private readonly X509Certificate2 _client;
    private readonly HttpClient _http;
    private string _evictionVersion = "policy/v1";

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

    /// <summary>
    /// The node's Ready condition: its status ("True", "False", "Unknown") and message; a status of "" when the API server knows no such node or condition.
    /// </summary>
    /// <exception cref="HttpRequestException">No answer, or one that is neither 200 nor 404.</exception>
    public async Task<(string Status, string Message)> NodeReady(string node, CancellationToken cancellation)
    {
        using var response = await _http.GetAsync(NodePath(node), cancellation).ConfigureAwait(false);
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
                    return (condition.GetProperty("status").GetString() ?? "", condition.TryGetProperty("message", out var message) ? message.GetString()
                        ?? "" : "");
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
        try
        {
            var answer = JsonDocument.Parse(body).RootElement;
            return response.IsSuccessStatusCode ? answer : throw ApiException.Of(response, answer);
        }
        // What has too much to do says so in plain text, and so does a path that no group has (kubernetes staging/src/k8s.io/apiserver/pkg/server,
        // filters/maxinflight.go and handler.go: http.NotFound).
        catch (JsonException) when (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.TooManyRequests or >= HttpStatusCode.InternalServerError)
        {
            throw ApiException.Of(response, Encoding.UTF8.GetString(body));
        }
        catch (JsonException e)
        {
            throw new HttpRequestException(
                $"{request.Method} {request.RequestUri}: {(int)response.StatusCode}, and what follows is not JSON: is it an API server?", e);
        }
    }

    /// <summary>
    /// Whether the node takes new pods, and an annotation that says who said so; in one step. NodeRestriction lets a kubelet change both of its own Node, which
    /// are neither taints nor labels (plugin/pkg/admission/noderestriction/admission.go, admitNode, kubernetes@01467da).
    /// </summary>
    /// <param name="value">Null takes the annotation away.</param>
    /// <param name="version">Of the Node that this follows from: where it has changed since, nothing is done (409).</param>
    /// <returns>False when the API server knows no such node.</returns>
    /// <exception cref="HttpRequestException">No answer, or one that is neither 200 nor 404.</exception>
    public async Task<bool> Cordon(string node, bool unschedulable, string annotation, string? value, string version, CancellationToken cancellation)
    {
        var patch = new JsonObject
        {
            ["metadata"] = new JsonObject { ["resourceVersion"] = version, ["annotations"] = new JsonObject { [annotation] = value } },
            ["spec"] = new JsonObject { ["unschedulable"] = unschedulable ? true : null },
        };
        using var content = new StringContent(patch.ToJsonString(), Encoding.UTF8, "application/merge-patch+json");
        using var response = await _http.PatchAsync(NodePath(node), content, cancellation).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.NotFound)
        {
            return false;
        }

        response.EnsureSuccessStatusCode();
        return true;
    }

    /// <summary>Whether the node takes no new pods, and an annotation of it; null when the API server knows no such node.</summary>
    /// <exception cref="HttpRequestException">No answer, or one that is neither 200 nor 404.</exception>
    public async Task<(string Version, bool IsUnschedulable, string? Annotation)?> Cordoned(string node, string annotation, CancellationToken cancellation)
    {
        // All of the Node: its metadata alone does not say it.
        using var response = await _http.GetAsync(NodePath(node), cancellation).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.NotFound)
        {
            return null;
        }

        response.EnsureSuccessStatusCode();
        await using var body = await response.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false);
        using var document = await JsonDocument.ParseAsync(body, cancellationToken: cancellation).ConfigureAwait(false);
        var metadata = document.RootElement.GetProperty("metadata");
        return (
            metadata.GetProperty("resourceVersion").GetString() ?? "",
            document.RootElement.TryGetProperty("spec", out var spec) && spec.TryGetProperty("unschedulable", out var unschedulable)
                && unschedulable.ValueKind == JsonValueKind.True,
            metadata.TryGetProperty("annotations", out var annotations) && annotations.TryGetProperty(annotation, out var value) ? value.GetString() : null);
    }

    /// <summary>Pods bound to the node. Their metadata alone is asked for, since whole pods of a full node are many megabytes.</summary>
    /// <exception cref="HttpRequestException">No answer, or one that is not 200.</exception>
    public async Task<IReadOnlyList<NodePod>> PodsOf(string node, CancellationToken cancellation)
    {
        // The selector is what the node authorizer wants of a kubelet (KEP-4601), and what all versions take.
        using var document = await Metadata(
            new Uri($"/api/v1/pods?fieldSelector={Uri.EscapeDataString($"spec.nodeName={node}")}", UriKind.Relative),
            "PartialObjectMetadataList",
            cancellation).ConfigureAwait(false)
            ?? throw new HttpRequestException("the API server knows no pods", null, HttpStatusCode.NotFound);
        var pods = new List<NodePod>();
        foreach (var item in document.RootElement.GetProperty("items").EnumerateArray())
        {
            var metadata = item.GetProperty("metadata");
            pods.Add(new(
                metadata.GetProperty("namespace").GetString() ?? "",
                metadata.GetProperty("name").GetString() ?? "",
                metadata.TryGetProperty("uid", out var uid) ? uid.GetString() : null,
                metadata.TryGetProperty("annotations", out var annotations) && annotations.TryGetProperty("kubernetes.io/config.mirror", out _),
                metadata.TryGetProperty("ownerReferences", out var owners) && owners.EnumerateArray().Any(o =>
                    o.GetProperty("kind").GetString() == "DaemonSet" && o.TryGetProperty("controller", out var controller)
                        && controller.ValueKind == JsonValueKind.True),
                metadata.TryGetProperty("deletionTimestamp", out _)));
        }

        return pods;
    }

    /// <summary>Asks for a pod to be evicted, which disruption budgets may not allow now.</summary>
    /// <exception cref="HttpRequestException">No answer.</exception>
    public async Task<(Eviction Result, string Message)> Evict(NodePod pod, CancellationToken cancellation)
    {
        var (status, message) = await Send(_evictionVersion).ConfigureAwait(false);
        if (status == HttpStatusCode.BadRequest && _evictionVersion == "policy/v1")
        {
            // Before 1.22 there is v1beta1 alone, and such a server says 400 to what it cannot read.
            (status, message) = await Send("policy/v1beta1").ConfigureAwait(false);
            if (status != HttpStatusCode.BadRequest)
            {
                _evictionVersion = "policy/v1beta1";
            }
        }

        return (status switch
        {
            HttpStatusCode.OK or HttpStatusCode.Created or HttpStatusCode.Accepted => Eviction.Done,
            // Conflict: another pod of that name by now.
            HttpStatusCode.NotFound or HttpStatusCode.Conflict => Eviction.Gone,
            HttpStatusCode.TooManyRequests => Eviction.NotNow,
            _ => Eviction.Failed,
        }, message);

        async Task<(HttpStatusCode Status, string Message)> Send(string version)
        {
            var eviction = new JsonObject
            {
                ["apiVersion"] = version,
                ["kind"] = "Eviction",
                ["metadata"] = new JsonObject { ["namespace"] = pod.Namespace, ["name"] = pod.Name },
            };
            if (pod.Uid is not null)
            {
                eviction["deleteOptions"] = new JsonObject { ["preconditions"] = new JsonObject { ["uid"] = pod.Uid } };
            }

            using var content = new StringContent(eviction.ToJsonString(), Encoding.UTF8, "application/json");
            var path = $"/api/v1/namespaces/{Uri.EscapeDataString(pod.Namespace)}/pods/{Uri.EscapeDataString(pod.Name)}/eviction";
            using var response = await _http.PostAsync(new Uri(path, UriKind.Relative), content, cancellation).ConfigureAwait(false);
            return (response.StatusCode, response.IsSuccessStatusCode ? "" : await Said(response, cancellation).ConfigureAwait(false));
        }
    }

    public void Dispose()
    {
        _http.Dispose();
        _client.Dispose();
    }

    /// <returns>Null for 404.</returns>
    private async Task<JsonDocument?> Metadata(Uri path, string kind, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.TryAddWithoutValidation("Accept", $"application/json;as={kind};g=meta.k8s.io;v=v1");
        using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.NotFound)
        {
            return null;
        }

        response.EnsureSuccessStatusCode();
        await using var body = await response.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false);
        return await JsonDocument.ParseAsync(body, cancellationToken: cancellation).ConfigureAwait(false);
    }

    /// <summary>The message of a Status, as far as the answer is one.</summary>
    private static async Task<string> Said(HttpResponseMessage response, CancellationToken cancellation)
    {
        var status = FormattableString.Invariant($"{(int)response.StatusCode} {response.ReasonPhrase}");
        try
        {
            await using var body = await response.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false);
            using var document = await JsonDocument.ParseAsync(body, cancellationToken: cancellation).ConfigureAwait(false);
            return document.RootElement.TryGetProperty("message", out var message) ? $"{status}: {message.GetString()}" : status;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return status;
        }
    }

    private static Uri NodePath(string node) => new($"/api/v1/nodes/{Uri.EscapeDataString(node)}", UriKind.Relative);

    private static X509ChainPolicy Policy(X509Certificate2Collection trusted)
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.AddRange(trusted);
        return policy;
    }
}

/// <param name="IsMirror">Of a static pod: evicting it evicts nothing.</param>
/// <param name="IsDaemon">Of a DaemonSet, which would start it again on this very node.</param>
/// <param name="IsLeaving">Deleted, and not gone yet.</param>
internal sealed record NodePod(string Namespace, string Name, string? Uid, bool IsMirror, bool IsDaemon, bool IsLeaving)
{
    public override string ToString() => $"{Namespace}/{Name}";
}

internal enum Eviction
{
    Done,

    /// <summary>There is no such pod any more.</summary>
    Gone,

    /// <summary>A disruption budget does not allow it now.</summary>
    NotNow,
    Failed,
}
