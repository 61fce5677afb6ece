using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;
using NodeAgent.Kubernetes;
using NodeAgent.Tests.Pki;
using YamlDotNet.RepresentationModel;

namespace NodeAgent.Tests.Kubernetes;

/// <summary>
/// As much of an API server as objects are made sure of with: discovery, GET, server-side apply with owners of fields, dry runs, namespaces, definitions that
/// take a while to count, and what it is told to answer instead. Maps merge, all else is one field.
/// </summary>
internal sealed class FakeCluster : FakeServer
{
    private readonly Dictionary<string, List<(string Kind, string Name, bool IsNamespaced)>> _kinds = new()
    {
        ["/api/v1"] = [("Namespace", "namespaces", false), ("ConfigMap", "configmaps", true), ("Node", "nodes", false)],
        ["/apis/apps/v1"] = [("DaemonSet", "daemonsets", true)],
        ["/apis/rbac.authorization.k8s.io/v1"] = [("ClusterRoleBinding", "clusterrolebindings", false)],
        ["/apis/apiextensions.k8s.io/v1"] = [("CustomResourceDefinition", "customresourcedefinitions", false)],
    };

    private readonly Dictionary<string, JsonObject> _objects = [];
    private readonly Dictionary<string, Dictionary<string, string>> _owners = [];
    private readonly string _client = TestAuthority.ClientPem("CN=kubernetes-super-admin");
    private int _revision;

    public FakeCluster()
    {
        foreach (var name in (string[])["default", "kube-system"])
        {
            _objects[$"/api/v1/namespaces/{name}"] = [];
        }
    }

    /// <summary>"GET /path?query 200", in the order in which they were answered.</summary>
    public ConcurrentQueue<string> Requests { get; } = new();

    public IEnumerable<string> Writes => Requests.Where(r => !r.StartsWith("GET ", StringComparison.Ordinal));

    /// <summary>By "METHOD /path": what comes first, an answer a time. Status 0: none, and the connection is gone.</summary>
    public ConcurrentDictionary<string, ConcurrentQueue<(int Status, string Body)>> Instead { get; } = new();

    /// <summary>Before an apply is looked at, by path: somebody comes in between.</summary>
    public ConcurrentDictionary<string, Action> Between { get; } = new();

    /// <summary>How often a new definition's group is asked for before discovery shows it, and an object of it is then not found all the same.</summary>
    public int Lag { get; set; }

    public JsonObject? this[string path] => _objects.GetValueOrDefault(path);

    public ApiClient Client() => new(Endpoint, _client, _client, TimeSpan.FromSeconds(30));

    public void Answer(string request, int status, string body) => Instead.GetOrAdd(request, _ => new()).Enqueue((status, body));

    /// <summary>As somebody would by kubectl apply --server-side --force-conflicts.</summary>
    public void Set(string path, string manager, string yaml) => Merge(path, manager, Json(yaml));

    public static string Status(int code, string message) => new JsonObject { ["kind"] = "Status", ["code"] = code, ["message"] = message }.ToJsonString();

    protected override async Task Answer(HttpContext context)
    {
        var (method, path) = (context.Request.Method, context.Request.Path.Value!);
        var text = await Body(context);
        var (status, body) = Instead.TryGetValue($"{method} {path}", out var queue) && queue.TryDequeue(out var instead) ? instead : method switch
        {
            "GET" => Get(path),
            "PATCH" when Is("application/apply-patch+yaml") => Apply(path, context.Request.Query, text),
            "PATCH" when Is("application/merge-patch+json") => Label(path, context.Request.Query, text),
            _ => (405, Status(405, "nobody asked for that")),
        };
        Requests.Enqueue($"{method} {path}{context.Request.QueryString} {status}");
        if (status == 0)
        {
            context.Abort();
            return;
        }

        context.Response.StatusCode = status;
        await context.Response.WriteAsync(body);

        bool Is(string type) => context.Request.ContentType!.StartsWith(type, StringComparison.Ordinal);
    }

    private (int Status, string Body) Get(string path)
    {
        if (path == "/readyz")
        {
            return (200, "ok");
        }

        if (_kinds.TryGetValue(path, out var kinds))
        {
            return (200, new JsonObject
            {
                ["resources"] = new JsonArray([.. kinds.SelectMany(k => (JsonNode[])[
                    new JsonObject { ["name"] = k.Name + "/status", ["kind"] = k.Kind, ["namespaced"] = k.IsNamespaced },
                    new JsonObject { ["name"] = k.Name, ["kind"] = k.Kind, ["namespaced"] = k.IsNamespaced }])]),
            }.ToJsonString());
        }

        return _objects.TryGetValue(path, out var found) ? (200, found.ToJsonString())
            // Of a group that it has nothing of, the real one says so in plain text.
            : path.Split('/') is ["", "apis", _, _] ? (404, "404 page not found\n")
            : (404, Status(404, $"{path} not found"));
    }

    private (int Status, string Body) Apply(string path, IQueryCollection query, string yaml)
    {
        if (Between.TryRemove(path, out var somebody))
        {
            somebody();
        }

        var wanted = Json(yaml);
        var parts = path.Split("/namespaces/");
        if (parts.Length == 2 && parts[1].Split('/') is [var space, _, ..] && !_objects.ContainsKey($"/api/v1/namespaces/{space}"))
        {
            return (404, Status(404, $"namespaces \"{space}\" not found"));
        }

        var owners = _owners.GetValueOrDefault(path, []);
        var theirs = Fields(wanted)
            .Where(f => owners.TryGetValue(f.Path, out var owner) && owner != query["fieldManager"])
            .Where(f => !JsonNode.DeepEquals(At(_objects[path], f.Path), f.Value))
            .Select(f => (JsonNode)new JsonObject { ["reason"] = "FieldManagerConflict", ["field"] = f.Path })
            .ToList();
        if (theirs.Count > 0 && query["force"] != "true")
        {
            return (409, new JsonObject
            {
                ["kind"] = "Status",
                ["reason"] = "Conflict",
                ["message"] = $"Apply failed with {theirs.Count} conflicts",
                ["details"] = new JsonObject { ["causes"] = new JsonArray([.. theirs]) },
            }.ToJsonString());
        }

        var isNew = !_objects.TryGetValue(path, out var before);
        if (query["dryRun"] == "All")
        {
            var (was, owned) = (before?.DeepClone().AsObject(), new Dictionary<string, string>(owners));
            var would = Merge(path, query["fieldManager"]!, wanted).ToJsonString();
            _owners[path] = owned;
            if (was is null)
            {
                _objects.Remove(path);
            }
            else
            {
                _objects[path] = was;
            }

            return (isNew ? 201 : 200, would);
        }

        if (wanted["kind"]?.GetValue<string>() == "CustomResourceDefinition")
        {
            Define(wanted["spec"]!);
        }

        return (isNew ? 201 : 200, Merge(path, query["fieldManager"]!, wanted).ToJsonString());
    }

    private (int Status, string Body) Label(string path, IQueryCollection query, string text)
    {
        var labels = JsonNode.Parse(text)!["metadata"]!["labels"]!.AsObject();
        if (!_objects.TryGetValue(path, out var node))
        {
            return (404, Status(404, "no such node"));
        }

        var target = query["dryRun"] == "All" ? node.DeepClone() : node;
        foreach (var (name, value) in labels)
        {
            target["metadata"]!["labels"]![name] = value!.DeepClone();
        }

        return (200, target.ToJsonString());
    }

    private JsonObject Merge(string path, string manager, JsonObject wanted)
    {
        if (!_objects.TryGetValue(path, out var target))
        {
            _objects[path] = target = [];
        }

        if (!_owners.TryGetValue(path, out var owners))
        {
            _owners[path] = owners = [];
        }

        var fields = Fields(wanted).ToList();
        foreach (var gone in owners.Where(o => o.Value == manager && fields.All(f => f.Path != o.Key)).Select(o => o.Key).ToList())
        {
            owners.Remove(gone);
            (At(target, gone)?.Parent as JsonObject)?.Remove(gone.Split('|')[^1]);
        }

        foreach (var (at, value) in fields)
        {
            owners[at] = manager;
            var map = target;
            foreach (var part in at.Split('|')[..^1])
            {
                map = (JsonObject)(map[part] ??= new JsonObject());
            }

            map[at.Split('|')[^1]] = value?.DeepClone();
        }

        target["metadata"]!["resourceVersion"] = $"{++_revision}";
        target["metadata"]!["managedFields"] = new JsonArray([.. owners.Values.Distinct().Select(o => (JsonNode)o)]);
        return target;
    }

    private void Define(JsonNode spec)
    {
        var group = spec["group"]!.GetValue<string>();
        var (kind, plural) = (spec["names"]!["kind"]!.GetValue<string>(), spec["names"]!["plural"]!.GetValue<string>());
        for (var i = 0; i < Lag; i++)
        {
            Answer($"GET /apis/{group}/v1", 404, Status(404, "the server could not find the requested resource"));
            Answer($"PATCH /apis/{group}/v1/namespaces/default/{plural}/one", 404, Status(404, "the server could not find the requested resource"));
        }

        _kinds[$"/apis/{group}/v1"] = [(kind, plural, true)];
    }

    private static JsonNode? At(JsonNode? node, string path) => path.Split('|').Aggregate(node, (at, part) => (at as JsonObject)?[part]);

    private static IEnumerable<(string Path, JsonNode? Value)> Fields(JsonObject map, string prefix = "") => map.SelectMany(
        m => m.Value is JsonObject { Count: > 0 } below ? Fields(below, $"{prefix}{m.Key}|") : [(prefix + m.Key, m.Value)]);

    private static JsonObject Json(string yaml)
    {
        var stream = new YamlStream();
        stream.Load(new StringReader(yaml));
        return (JsonObject)Of(stream.Documents.Single().RootNode)!;

        static JsonNode? Of(YamlNode node) => node switch
        {
            YamlMappingNode map => new JsonObject(map.Children.Select(c => KeyValuePair.Create(((YamlScalarNode)c.Key).Value!, Of(c.Value)))),
            YamlSequenceNode list => new JsonArray([.. list.Children.Select(Of)]),
            YamlScalarNode scalar => scalar.Value,
            _ => throw new NotSupportedException(),
        };
    }
}
