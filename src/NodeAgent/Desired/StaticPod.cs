using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// A pod of one container that kubelet starts from a file, before there is an API server to ask: on the host's network, from images that the machine has where
/// it can, never preempted or evicted by others.
/// </summary>
internal sealed record StaticPod(string Name, string Image, IReadOnlyList<string> Command)
{
    public required IReadOnlyDictionary<string, string> Labels { get; init; }

    public required IReadOnlyDictionary<string, string> Requests { get; init; }

    public IReadOnlyList<HostPath> Paths { get; init; } = [];

    /// <summary>startupProbe, readinessProbe, livenessProbe.</summary>
    public IReadOnlyDictionary<string, JsonObject> Probes { get; init; } = new Dictionary<string, JsonObject>();

    /// <summary>
    /// The container's. Root, since keys are root's alone, but without any of its capabilities: a file of its own a user may read without one.
    /// </summary>
    public JsonObject SecurityContext { get; init; } = new()
    {
        ["allowPrivilegeEscalation"] = false,
        ["capabilities"] = new JsonObject { ["drop"] = new JsonArray("ALL") },
        ["readOnlyRootFilesystem"] = true,
    };

    /// <summary>The pod's seccomp profile; none where the container is privileged.</summary>
    public string? Seccomp { get; init; } = "RuntimeDefault";

    public string Path => PathOf(Name);

    public static string PathOf(string name) => $"{Kubelet.ManifestDirectory}/{name}.yaml";

    /// <param name="digest">Of what it reads: kubelet makes a static pod anew when its manifest changes, and this changes with what the pod reads.</param>
    public JsonObject Manifest(string digest)
    {
        var container = new JsonObject
        {
            ["name"] = Name,
            ["image"] = Image,
            ["imagePullPolicy"] = "IfNotPresent",
            ["command"] = new JsonArray([.. Command.Select(c => (JsonNode)c)]),
            ["resources"] = new JsonObject { ["requests"] = Map(Requests) },
        };
        foreach (var (kind, probe) in Probes)
        {
            container[kind] = probe.DeepClone();
        }

        container["securityContext"] = SecurityContext.DeepClone();
        container["volumeMounts"] = new JsonArray([.. Paths.Select(p => p.Mount())]);
        var spec = new JsonObject
        {
            ["hostNetwork"] = true,
            ["priorityClassName"] = "system-node-critical",
            ["tolerations"] = new JsonArray(new JsonObject { ["operator"] = "Exists" }),
        };
        if (Seccomp is not null)
        {
            spec["securityContext"] = new JsonObject { ["seccompProfile"] = new JsonObject { ["type"] = Seccomp } };
        }

        spec["containers"] = new JsonArray(container);
        spec["volumes"] = new JsonArray([.. Paths.Select(p => p.Volume())]);
        return new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Pod",
            ["metadata"] = new JsonObject
            {
                ["name"] = Name,
                ["namespace"] = "kube-system",
                ["labels"] = Map(Labels),
                ["annotations"] = new JsonObject { [StaticPodManifest.DigestName] = digest },
            },
            ["spec"] = spec,
        };
    }

    private static JsonObject Map(IReadOnlyDictionary<string, string> map) =>
        new(map.OrderBy(e => e.Key, StringComparer.Ordinal).Select(e => KeyValuePair.Create<string, JsonNode?>(e.Key, e.Value)));
}

/// <summary>
/// Something of the host that a container sees under the same path. A file that is mounted alone is the inode that it was as the container started: only for
/// what is read at the start. What renewal replaces and the reader reads again is mounted by its directory.
/// </summary>
/// <param name="Type">As hostPath has it: the pod waits for what is not there.</param>
internal sealed record HostPath(string Name, string Path, string Type, bool IsReadOnly = true)
{
    public JsonNode Mount()
    {
        var mount = new JsonObject { ["name"] = Name, ["mountPath"] = Path };
        if (IsReadOnly)
        {
            mount["readOnly"] = true;
        }

        return mount;
    }

    public JsonNode Volume() => new JsonObject { ["name"] = Name, ["hostPath"] = new JsonObject { ["path"] = Path, ["type"] = Type } };
}

/// <summary>HTTP probes with kubeadm's patience (cmd/kubeadm/app/util/staticpod/utils.go), at the address that only this machine reaches.</summary>
internal sealed record Probes(string Scheme, int Port)
{
    /// <param name="path">What answers 200 once it works at all.</param>
    public JsonObject Startup(string path, Duration patience) => Probe(path, 10, 10, (int)Math.Max(1, Math.Ceiling(patience.Value.TotalSeconds / 10)));

    public JsonObject Liveness(string path) => Probe(path, 10, 10, 8);

    // kubeadm asks every second; each time is a TLS handshake, and nobody but the API's view of the pod waits for the answer.
    public JsonObject Readiness(string path) => Probe(path, null, 5, 3);

    private JsonObject Probe(string path, int? initialDelay, int period, int failures)
    {
        var probe = new JsonObject
        {
            ["httpGet"] = new JsonObject { ["host"] = "127.0.0.1", ["path"] = path, ["port"] = Port, ["scheme"] = Scheme },
        };
        if (initialDelay is { } delay)
        {
            probe["initialDelaySeconds"] = delay;
        }

        probe["periodSeconds"] = period;
        probe["timeoutSeconds"] = 15;
        probe["failureThreshold"] = failures;
        return probe;
    }
}

/// <summary>A command line: what is computed, and over it what extraArgs say.</summary>
internal sealed class ComponentFlags
{
    private readonly SortedDictionary<string, string> _flags = new(StringComparer.Ordinal);

    public string this[string flag]
    {
        set => _flags[flag] = value;
    }

    public void Set(string flag, string? value)
    {
        if (!string.IsNullOrEmpty(value))
        {
            _flags[flag] = value;
        }
    }

    public void Set(string flag, IEnumerable<string> values) => Set(flag, string.Join(',', values));

    public void SetGates(IReadOnlyDictionary<string, bool> gates) =>
        Set("feature-gates", gates.OrderBy(g => g.Key, StringComparer.Ordinal).Select(g => $"{g.Key}={(g.Value ? "true" : "false")}"));

    public IReadOnlyList<string> For(string binary, IReadOnlyDictionary<string, string> extraArgs)
    {
        foreach (var (flag, value) in extraArgs)
        {
            _flags[flag] = value;
        }

        return [binary, .. _flags.Select(f => $"--{f.Key}={f.Value}")];
    }
}
