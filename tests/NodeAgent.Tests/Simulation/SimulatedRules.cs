using NodeAgent.Machine;

namespace NodeAgent.Tests.Simulation;

/// <summary>
/// Chains with the names that they lead to or whose sets they use, sets, virtual servers: with the two rules by which a kernel refuses to take something away
/// (a chain that somebody leads to, a set that somebody uses).
/// </summary>
internal sealed class SimulatedRules
{
    private readonly SortedDictionary<(string Backend, string Family, string Table, string Chain), List<string>> _chains = [];

    /// <summary>As in "ip kube-proxy".</summary>
    public SortedSet<string> Tables { get; } = new(StringComparer.Ordinal);

    public SortedDictionary<string, IReadOnlyList<int>> Sets { get; } = new(StringComparer.Ordinal);

    public List<VirtualServer> Servers { get; } = [];

    public Dictionary<string, IReadOnlyList<string>> Interfaces { get; } = [];

    public List<ProcessReport> Processes { get; } = [];

    public List<InterfaceReport> Links { get; } = [];

    public List<RoutingRule> RoutingRules { get; } = [];

    public List<RouteReport> Routes { get; } = [];

    /// <summary>Addresses that somebody is connected to.</summary>
    public SortedSet<string> Connections { get; } = new(StringComparer.Ordinal);

    /// <summary>Everything there is, in words, in order.</summary>
    public IReadOnlyList<string> All =>
    [
        .. _chains.Select(c => $"chain {c.Key.Backend} {c.Key.Family} {c.Key.Table} {c.Key.Chain}: {string.Join(", ", c.Value)}"),
        .. Tables.Select(t => $"table {t}"), .. Sets.Keys.Select(s => $"set {s}"),
        .. Servers.Select(s => $"server {s}"), .. Interfaces.Keys.Select(i => $"interface {i}"),
        .. Processes.Select(p => $"process {string.Join(' ', p.Arguments)}"),
        .. Links.Select(l => $"link {l.Name}{(l.IsUp ? "" : " down")}"), .. RoutingRules.Select(r => $"rule {r}"), .. Routes.Select(r => $"route {r}"),
        .. Connections.Select(c => $"connection to {c}"),
    ];

    /// <param name="rules">What its rules lead to or use, in order, or "comment " and what they say; a rule of nobody else's may say anything.</param>
    public void Chain(string table, string chain, params string[] rules) => ChainIn(ChainTable.Nft, "ip", table, chain, rules);

    public void ChainIn(string backend, string family, string table, string chain, params string[] rules) =>
        _chains[(backend, family, table, chain)] = [.. rules];

    public IReadOnlyList<ChainTable> Report(string prefix) =>
    [
        .. _chains.Keys.Where(k => k.Chain.StartsWith(prefix, StringComparison.Ordinal)).GroupBy(k => (k.Backend, k.Family, k.Table))
        .Select(g => new ChainTable(
            g.Key.Backend,
            g.Key.Family,
            g.Key.Table,
            [.. g.Where(k => ChainTable.PrefixOf(k.Chain) is null).Select(k => k.Chain)],
            g.Select(k => ChainTable.PrefixOf(k.Chain)).OfType<string>().GroupBy(p => p).ToDictionary(p => p.Key, p => p.Count()))),
    ];

    public void Remove(ChainRemoval removal)
    {
        bool IsOf((string Backend, string Family, string Table, string Chain) key) => key.Backend == removal.Backend && key.Family == removal.Family
            && key.Table == removal.Table;
        var going = _chains.Keys.Where(k => IsOf(k) && removal.Takes(k.Chain)).ToList();
        foreach (var (key, rules) in _chains.Where(c => IsOf(c.Key) && !going.Contains(c.Key)))
        {
            var isCleaned = removal.Cleaned.Contains(key.Chain);
            var isBase = key.Chain is "PREROUTING" or "INPUT" or "FORWARD" or "OUTPUT" or "POSTROUTING";
            if (!isCleaned && !isBase && rules.Find(removal.Takes) is { } used)
            {
                throw new MachineException("remove chains", $"{used} is still used by {key.Chain}");
            }

            rules.RemoveAll(r => ((isCleaned || isBase) && removal.Takes(r)) || (isCleaned && r.StartsWith("set ", StringComparison.Ordinal))
                || (isBase && removal.Comments.Any(c => r.StartsWith($"comment {c}", StringComparison.Ordinal))));
        }

        going.ForEach(k => _chains.Remove(k));
    }

    public void RemoveSets(IReadOnlyList<string> names)
    {
        foreach (var name in names)
        {
            if (_chains.Values.Any(r => r.Contains($"set {name}")))
            {
                throw new MachineException($"remove ipset {name}", "a rule still uses it");
            }

            Sets.Remove(name);
        }
    }

    /// <summary>A kernel that has just booted.</summary>
    public void Clear()
    {
        _chains.Clear();
        Tables.Clear();
        Sets.Clear();
        Servers.Clear();
        Interfaces.Clear();
        Processes.Clear();
        Links.Clear();
        RoutingRules.Clear();
        Routes.Clear();
        Connections.Clear();
    }
}
