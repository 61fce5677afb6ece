using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// Labels and taints, which kubelet gives its Node when it makes it. Of a Node that exists it sets the labels of <see cref="KeptUp"/> alone, removes none, and
/// leaves taints as they are (tryRegisterWithAPIServer and updateDefaultLabels in pkg/kubelet/kubelet_node_status.go, kubernetes@c579a32; kubernetes#122035).
/// What the Node was made with stands in the files that kubelet was last started with.
/// </summary>
internal static class Registration
{
    // updateDefaultLabels, the same from 1.20 on but for beta.kubernetes.io/os and arch, which came and went and which nobody is allowed to give here.
    private static readonly HashSet<string> KeptUp =
    [
        "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region", "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
    ];

    /// <param name="node">The Node's name.</param>
    /// <param name="dropIn">With kubelet's command line.</param>
    /// <param name="configuration">KubeletConfiguration.</param>
    public static Resource Remains(string node, ConfigFile dropIn, ConfigFile configuration) => new Remains(
        Concern.Kubelet,
        "of the Node",
        [dropIn.Name, configuration.Name],
        texts => texts.TryGetValue(dropIn.Name, out var before)
            ? Say(node, Read(before, texts.GetValueOrDefault(configuration.Name)), Read(dropIn.Content, configuration.Content))
            : []);

    /// <param name="Provider">Names the instance.</param>
    /// <param name="Taints">Value by "key:effect".</param>
    private sealed record Given(string? Node, string? Provider, IReadOnlyDictionary<string, string> Labels, IReadOnlyDictionary<string, string> Taints);

    private static IEnumerable<string> Say(string node, Given before, Given after)
    {
        // The files of another machine, whose disk or image this is, say nothing of this one's Node; nor does a command line that nobody of ours wrote.
        if (before.Node is null || before.Provider != after.Provider)
        {
            yield break;
        }

        if (before.Node != node)
        {
            yield return $"the Node {before.Node}, as this machine was called, stays in the cluster: kubectl delete node {before.Node}";
            yield break;
        }

        foreach (var key in before.Labels.Keys.Except(after.Labels.Keys))
        {
            yield return $"label {key} stays on the Node, since kubelet removes none: kubectl label node {node} {key}-";
        }

        foreach (var (key, value) in after.Labels.Where(l => !KeptUp.Contains(l.Key) && before.Labels.GetValueOrDefault(l.Key) != l.Value))
        {
            yield return $"label {key}={value} comes with a new registration only: kubectl label node {node} --overwrite {key}={value}";
        }

        foreach (var taint in before.Taints.Keys.Except(after.Taints.Keys))
        {
            yield return $"taint {taint} stays on the Node, since kubelet removes none: kubectl taint node {node} {taint}-";
        }

        foreach (var (taint, value) in after.Taints.Where(t => !before.Taints.TryGetValue(t.Key, out var old) || old != t.Value))
        {
            var colon = taint.LastIndexOf(':');
            var given = $"{taint[..colon]}{(value.Length > 0 ? $"={value}" : "")}{taint[colon..]}";
            yield return $"taint {given} comes with a new registration only: kubectl taint node {node} --overwrite {given}";
        }
    }

    private static Given Read(string dropIn, string? configuration)
    {
        var flags = Flags(dropIn);
        var labels = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var label in List(flags.GetValueOrDefault("node-labels")))
        {
            var parts = label.Split('=', 2);
            labels[parts[0]] = parts.Length > 1 ? parts[1] : "";
        }

        var taints = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var taint in List(flags.GetValueOrDefault("register-with-taints")))
        {
            // key=value:effect; the value may be left out.
            var colon = taint.LastIndexOf(':');
            var parts = (colon < 0 ? taint : taint[..colon]).Split('=', 2);
            taints[$"{parts[0]}{(colon < 0 ? "" : taint[colon..])}"] = parts.Length > 1 ? parts[1] : "";
        }

        var document = configuration is null ? null : YamlReader.ReadDocument("kubelet.yaml", Encoding.UTF8.GetBytes(configuration), []);
        if (document?.Entries.GetValueOrDefault("registerWithTaints") is ConfigList list)
        {
            foreach (var taint in list.Items.OfType<ConfigMap>())
            {
                taints[$"{Text(taint, "key")}:{Text(taint, "effect")}"] = Text(taint, "value");
            }
        }

        return new(flags.GetValueOrDefault("hostname-override"), document is null ? null : Text(document, "providerID"), labels, taints);
    }

    private static string Text(ConfigMap map, string key) => map.Entries.GetValueOrDefault(key) is ConfigScalar scalar ? scalar.Text : "";

    private static string[] List(string? text) => (text ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    /// <summary>The flags of a command line as <see cref="Kubelet"/> writes it: one a line.</summary>
    private static Dictionary<string, string> Flags(string dropIn)
    {
        var flags = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in dropIn.Split('\n'))
        {
            var argument = line.Trim();
            argument = argument.EndsWith(" \\", StringComparison.Ordinal) ? argument[..^2] : argument;
            argument = Kubelet.Unquote(argument);
            if (argument.StartsWith("--", StringComparison.Ordinal) && argument.IndexOf('=', StringComparison.Ordinal) is > 0 and var at)
            {
                flags[argument[2..at]] = argument[(at + 1)..];
            }
        }

        return flags;
    }
}
