using NodeAgent.Configuration;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;

namespace NodeAgent.Advice;

/// <summary>What rules look at.</summary>
/// <param name="Facts">Null where the configuration is looked at alone: rules that need them then say nothing.</param>
/// <param name="Allowed">What the configuration allowed by name, and what could not be checked, as it was seen while resources were made.</param>
internal sealed record Subject(LoadedConfig Loaded, NodeFacts? Facts, IReadOnlyList<string> Allowed)
{
    public NodeConfig Config => Loaded.Config;

    public KubernetesVersion? Kubelet => KubernetesVersion.Parse(Facts?.Versions.Kubelet);

    /// <summary>As it is written; an image of one's own may be of another release than kubelet.</summary>
    public string ProxyMode { get; init; } = Loaded.Config.KubeProxy.Mode.ToString().ToLowerInvariant();

    public KubernetesVersion? KubeProxy => KubernetesVersion.Of(Config.KubeProxy.Image, Facts?.Versions.Kubelet);

    /// <summary>"network.plugin is cilium (user data:12:9)".</summary>
    public string Said(string path, object value) => $"{path} is {value} ({At(path)})";

    /// <summary>Where it was said; of a default no line, which is of no use to anybody.</summary>
    public string At(string path) => Loaded.OriginOf(path) is not { } origin ? "said by no layer" : origin.Layer == NodeConfigLoader.DefaultsName
        ? "the default"
        : origin.ToString();
}

/// <summary>A known trap, and when a node walks into it.</summary>
/// <param name="Name">One of <see cref="AdviceNames"/>.</param>
/// <param name="About">For the documentation: what fires it.</param>
/// <param name="Reference">Where that is written: issues, KEPs, pages, with versions.</param>
internal sealed record Rule(string Name, string About, string Reference, Func<Subject, IEnumerable<Fired>> Look);

/// <param name="Says">What is, with values and where they come from, and what follows.</param>
/// <param name="ToDo">What the reader may do about it.</param>
/// <param name="IsFatal">Whether the node cannot work so: it is refused then, unless the configuration says otherwise by the rule's name.</param>
internal sealed record Fired(string Says, string ToDo, bool IsFatal = false);

/// <summary>What a rule says of one node.</summary>
internal sealed record Advisory(string Name, bool IsRefused, string Says, string ToDo, string Reference)
{
    public string Remedy => IsRefused ? $"{ToDo}; or take it as it is, by name: advice: {{{Name}: warn}}" : ToDo;
}

/// <summary>
/// Known traps over configuration and facts. What cannot be configured at all is refused elsewhere (ConfigValidation, Compatibility); here is what works, until
/// it does not.
/// </summary>
internal static class Advisor
{
    public static readonly IReadOnlyList<Rule> Rules =
        [.. new[] { VersionRules.All, NetworkRules.All, AddressRules.All }.SelectMany(r => r).OrderBy(r => r.Name, StringComparer.Ordinal)];

    /// <summary>In the order of rules' names; refused ones among them.</summary>
    public static IReadOnlyList<Advisory> Of(Subject subject)
    {
        var advice = new List<Advisory>();
        foreach (var rule in Rules)
        {
            AdviceLevel? level = subject.Config.Advice.TryGetValue(rule.Name, out var said) ? said : null;
            if (level != AdviceLevel.Ignore)
            {
                advice.AddRange(
                    rule.Look(subject).Select(
                        f => new Advisory(
                            rule.Name, (level ?? (f.IsFatal ? AdviceLevel.Refuse : AdviceLevel.Warn)) == AdviceLevel.Refuse, f.Says, f.ToDo, rule.Reference)));
            }
        }

        return advice;
    }
}
