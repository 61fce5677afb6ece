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
        catch (ApiException e) when (e.Status == HttpStatusCode.Conflict && before is not null)
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

        if (known.Value.GetProperty("metadata").TryGetProperty("labels", out var labels) && labels.TryGetProperty(label, out var value)
            && value.GetString() == "")
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

    /// <summary>Without what every write changes.</summary>
    private static JsonObject Bare(JsonElement element)
    {
        var bare = JsonObject.Create(element)!;
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
    public HttpStatusCode Status { get; } = status;

    /// <summary>Conflicts, too many requests, and trouble of its own pass.</summary>
    public bool Passes => Status is HttpStatusCode.Conflict or HttpStatusCode.TooManyRequests or HttpStatusCode.RequestTimeout
        || Status >= HttpStatusCode.InternalServerError;
}
