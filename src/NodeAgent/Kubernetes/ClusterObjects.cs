using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace NodeAgent.Kubernetes;

/// <summary>
/// Makes sure of objects by server-side apply (KEP-555; on by default from 1.16): creates what is not there and sets what is written, and leaves all else of an
/// object, all other objects, and what somebody else has set since, alone. Nothing is ever deleted.
/// </summary>
internal sealed class ClusterObjects(ApiClient api)
{
    private const string Manager = "nodeagent";

    private readonly Dictionary<string, JsonElement> _groups = new(StringComparer.Ordinal);

    /// <param name="dryRun">Asks what would become of it.</param>
    /// <exception cref="ApiException">The API server refuses it.</exception>
    /// <exception cref="UnknownKindException">It knows no such kind (yet).</exception>
    /// <exception cref="HttpRequestException">No answer.</exception>
    public async Task<ObjectOutcome> Ensure(Manifest manifest, bool dryRun, CancellationToken cancellation)
    {
        var path = await Path(manifest, cancellation).ConfigureAwait(false);
        var before = await api.Get(path, cancellation).ConfigureAwait(false);
        JsonElement after;
        try
        {
            after = await api.Patch(
                $"{path}?fieldManager={Manager}{(dryRun ? "&dryRun=All" : "")}",
                "application/apply-patch+yaml",
                manifest.Text,
                cancellation).ConfigureAwait(false);
        }
        // Not forced: who changed it since knows why, be it an administrator or what deploys applications.
        catch (ApiException e) when (e.IsOfFields)
        {
            return ObjectOutcome.Left;
        }

        return before is null ? ObjectOutcome.Created : Same(before.Value, after) ? ObjectOutcome.Unchanged : ObjectOutcome.Updated;
    }

    /// <summary>Labels that a kubelet may not give to itself (NodeRestriction).</summary>
    /// <returns>Null while the node is not registered.</returns>
    /// <exception cref="ApiException"/>
    /// <exception cref="HttpRequestException">No answer.</exception>
    public async Task<ObjectOutcome?> LabelNode(string node, string label, bool dryRun, CancellationToken cancellation)
    {
        var path = $"/api/v1/nodes/{Uri.EscapeDataString(node)}";
        var known = await api.Get(path, cancellation).ConfigureAwait(false);
        if (known is null)
        {
            return null;
        }

        // That it is there is what it says.
        if (known.Value.GetProperty("metadata").TryGetProperty("labels", out var labels) && labels.TryGetProperty(label, out _))
        {
            return ObjectOutcome.Unchanged;
        }

        var patch = new JsonObject { ["metadata"] = new JsonObject { ["labels"] = new JsonObject { [label] = "" } } };
        await api.Patch($"{path}?fieldManager={Manager}{(dryRun ? "&dryRun=All" : "")}", "application/merge-patch+json", patch.ToJsonString(), cancellation)
            .ConfigureAwait(false);
        return ObjectOutcome.Updated;
    }

    private async Task<string> Path(Manifest manifest, CancellationToken cancellation)
    {
        var root = manifest.ApiVersion.Contains('/', StringComparison.Ordinal) ? $"/apis/{manifest.ApiVersion}" : $"/api/{manifest.ApiVersion}";
        if (!_groups.TryGetValue(root, out var group))
        {
            group = await api.Get(root, cancellation).ConfigureAwait(false) ?? throw new UnknownKindException(manifest, "no such group and version");
            _groups[root] = group;
        }

        foreach (var resource in group.GetProperty("resources").EnumerateArray())
        {
            var name = resource.GetProperty("name").GetString()!;
            if (resource.GetProperty("kind").GetString() == manifest.Kind && !name.Contains('/', StringComparison.Ordinal))
            {
                var space = resource.GetProperty("namespaced").GetBoolean() ? $"/namespaces/{Uri.EscapeDataString(manifest.Namespace ?? "default")}" : "";
                return $"{root}{space}/{name}/{Uri.EscapeDataString(manifest.Name)}";
            }
        }

        // A definition that was only just made: asked again next time.
        _groups.Remove(root);
        throw new UnknownKindException(manifest, "no such kind in it");
    }

    private static bool Same(JsonElement before, JsonElement after) => JsonNode.DeepEquals(Bare(before), Bare(after));

    /// <summary>Without what every write changes, and what controllers say meanwhile.</summary>
    private static JsonObject Bare(JsonElement element)
    {
        var bare = JsonObject.Create(element)!;
        bare.Remove("status");
        if (bare["metadata"] is JsonObject metadata)
        {
            metadata.Remove("managedFields");
            metadata.Remove("resourceVersion");
            metadata.Remove("generation");
        }

        return bare;
    }
}

internal enum ObjectOutcome
{
    Created,
    Updated,
    Unchanged,

    /// <summary>Somebody else has set what is written differently.</summary>
    Left,
}

internal sealed class UnknownKindException(Manifest manifest, string why)
    : Exception($"{manifest.Id} ({manifest.Source}): this API server does not know {manifest.Kind} of {manifest.ApiVersion}: {why}");

/// <summary>An answer of the API server that is no success.</summary>
internal sealed class ApiException(HttpStatusCode status, string message) : Exception(message)
{
    private const int Longest = 300;

    public HttpStatusCode Status { get; } = status;

    /// <summary>Somebody else has set fields differently, and owns them.</summary>
    public bool IsOfFields { get; private init; }

    /// <summary>
    /// Whether it may be answered otherwise later: conflicts, too many requests, trouble of its own, and what an object lies in is not there yet (its
    /// namespace; a definition's resources, for a moment). But for objects that are no such object's, which are 500 as well (kubernetes#122480).
    /// </summary>
    public bool Passes => Status is HttpStatusCode.NotFound or HttpStatusCode.Conflict or HttpStatusCode.TooManyRequests or HttpStatusCode.RequestTimeout
        || (Status >= HttpStatusCode.InternalServerError && !Message.Contains("failed to create typed patch object", StringComparison.Ordinal)
                && !Message.Contains("field not declared in schema", StringComparison.Ordinal));

    /// <param name="answer">A Status, as far as it is one.</param>
    public static ApiException Of(HttpResponseMessage response, JsonElement answer) =>
        new(response.StatusCode, Text(response, Member(answer, "message", JsonValueKind.String)?.GetString()))
        {
            // staging/src/k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go
            IsOfFields = response.StatusCode == HttpStatusCode.Conflict
                && Member(answer, "details", JsonValueKind.Object) is { } details
                && Member(details, "causes", JsonValueKind.Array) is { } causes
                && causes.EnumerateArray().Any(c => Member(c, "reason", JsonValueKind.String)?.GetString() == "FieldManagerConflict"),
        };

    public static ApiException Of(HttpResponseMessage response, string text) => new(response.StatusCode, Text(response, text.Trim()));

    private static string Text(HttpResponseMessage response, string? said) =>
        $"{(int)response.StatusCode} {(string.IsNullOrEmpty(said) ? response.ReasonPhrase : said.Length > Longest ? said[..Longest] + "..." : said)}";

    private static JsonElement? Member(JsonElement element, string name, JsonValueKind kind) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out var member) && member.ValueKind == kind ? member : null;
}
