using System.Globalization;
using System.Net;
using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Network;

namespace NodeAgent.Resources;

/// <summary>What a network plugin leaves on a node, by the names that it gives.</summary>
/// <param name="Plugin">As it is written in the configuration.</param>
internal sealed record PluginTraces(string Plugin)
{
    /// <summary>In <see cref="CniSurroundings.Directory"/>.</summary>
    public IReadOnlyList<string> Files { get; init; } = [];

    /// <summary>May hold data: said, and never removed.</summary>
    public IReadOnlyList<string> Data { get; init; } = [];

    /// <summary>Of its agent, as ps(1) has it; null where none runs.</summary>
    public string? Process { get; init; }

    public IReadOnlyList<PluginInterface> Interfaces { get; init; } = [];

    /// <summary>One that the kernel has by itself, and that it gives an address of pods.</summary>
    public string? Tunnel { get; init; }

    /// <summary>Whole names of chains of iptables'.</summary>
    public IReadOnlyList<string> Chains { get; init; } = [];

    /// <summary>What the names of all its other chains begin with, and nobody else's.</summary>
    public IReadOnlyList<string> ChainPrefixes { get; init; } = [];

    /// <summary>What the comments of its rules in chains of iptables' own begin with.</summary>
    public IReadOnlyList<string> Comments { get; init; } = [];

    /// <summary>Tables of iptables' in which it has such rules and no chains.</summary>
    public IReadOnlyList<string> CommentTables { get; init; } = [];

    /// <summary>What the names of its ipsets begin with.</summary>
    public IReadOnlyList<string> Sets { get; init; } = [];

    /// <summary>Of nftables, as in "ip calico".</summary>
    public IReadOnlyList<string> Tables { get; init; } = [];

    public IReadOnlyList<Func<RoutingRule, bool>> Rules { get; init; } = [];

    /// <summary>By which its routes to pods are known that do not lead out of an interface of its own.</summary>
    public IReadOnlyList<int> RouteProtocols { get; init; } = [];

    /// <summary>Directories of bpffs, with what the names in them begin with: programs that nothing here can remove.</summary>
    public IReadOnlyList<(string Directory, string Prefix)> Pins { get; init; } = [];

    /// <summary>What takes those away, beside a boot.</summary>
    public string? Cleanup { get; init; }
}

/// <param name="Kinds">As ip-link(8) has them.</param>
/// <param name="Digits">How many hexadecimal digits follow the name; <see cref="Number"/>: as many decimal ones as there are.</param>
/// <param name="IsPods">One end of a pod's.</param>
internal sealed record PluginInterface(string Name, IReadOnlyList<string> Kinds, int Digits = 0, bool IsPods = false)
{
    public const int Number = -1;

    public bool Is(InterfaceReport report) => Kinds.Contains(report.Kind) && IsNamed(report.Name);

    /// <summary>Whether it only begins like it.</summary>
    public bool Resembles(InterfaceReport report) => report.Name.StartsWith(Name, StringComparison.Ordinal);

    private bool IsNamed(string name)
    {
        if (!name.StartsWith(Name, StringComparison.Ordinal))
        {
            return false;
        }

        var rest = name[Name.Length..];
        return Digits == Number ? rest.Length > 0 && rest.All(char.IsAsciiDigit) : rest.Length == Digits && rest.All(char.IsAsciiHexDigitLower);
    }
}

/// <param name="Record">File of ours that says which plugin of the cluster's makes the network.</param>
/// <param name="Configuration">The CNI configuration where the agent writes it.</param>
/// <param name="Writes">Whether it does with the plugin that is wanted.</param>
/// <param name="Stamp">There from when the node was prepared in this boot, before any container starts.</param>
/// <param name="Pods">The cluster's range of pods.</param>
internal sealed record PluginPlace(string Record, string Configuration, bool Writes, string Stamp, Cidr? Pods);

/// <summary>
/// The change from one network plugin to another, and what the one before left: configuration, interfaces with their routes, rules, chains, sets and tables, by
/// its own names. Only of a plugin that this node is known to have had, by what the agent itself wrote; several may be meant to be there at once (a plugin in
/// a chain, another's policies), and of those nothing is touched. What says that there was another outlives this, and goes when this is seen to hold: so a run
/// that is cut off is gone on with, and what is left in spite of all is seen.
/// </summary>
internal sealed class PluginLeftovers(string plugin, IReadOnlyList<PluginTraces> known, PluginPlace place, ProxyChange policy, INodePods pods)
    : Resource<PluginLeftovers.State>(Concern.Network, "network plugin", plugin)
{
    public const string Bridge = "bridge";

    public const string VpcRoutes = "vpc-routes";

    /// <summary>Somebody else sets the network up, who may be the one before: our own configuration goes then, and nothing else of anybody's.</summary>
    public const string Nobody = "none";

    // What the lines begin with that count of the record: one, and a second while one of ours is left that was there beside it.
    private const string RecordKey = "plugin: ";

    // RT_TABLE_LOCAL
    private const long LocalTable = 255;

    private static readonly IReadOnlySet<string> None = new HashSet<string>();

    /// <param name="Formers">Plugins that this node is known to have had, and that are not wanted.</param>
    internal sealed record State(IReadOnlyList<PluginTraces> Formers)
    {
        /// <summary>What the record names, the plugin that is wanted among it.</summary>
        public IReadOnlyList<string> Recorded { get; init; } = [];

        /// <summary>Which of them our own CNI configuration is of; null where it is not there, or of the one that is wanted.</summary>
        public string? Written { get; init; }

        /// <summary>Of this boot, in which no container can have run yet.</summary>
        public bool IsBooting { get; init; }

        public IReadOnlyList<string> Files { get; init; } = [];

        /// <summary>In the order in which they go.</summary>
        public IReadOnlyList<InterfaceReport> Interfaces { get; init; } = [];

        /// <summary>How many of those are pods'.</summary>
        public int OfPods { get; init; }

        public IReadOnlyList<string> Tunnels { get; init; } = [];

        public IReadOnlyList<RoutingRule> Rules { get; init; } = [];

        public IReadOnlyList<RouteReport> Routes { get; init; } = [];

        public IReadOnlyList<PluginChains> Chains { get; init; } = [];

        public IReadOnlyList<string> Sets { get; init; } = [];

        public IReadOnlyList<string> Tables { get; init; } = [];

        public IReadOnlyList<string> Pins { get; init; } = [];

        public IReadOnlyList<string> Data { get; init; } = [];

        /// <summary>Its agent, which would make it all again.</summary>
        public ProcessReport? Process { get; init; }

        /// <summary>Pods that policy protects.</summary>
        public IReadOnlyList<string> Pods { get; init; } = [];

        public IReadOnlyList<string> Notes { get; init; } = [];

        public bool IsInKernel =>
            Interfaces.Count + Tunnels.Count + Rules.Count + Routes.Count + Chains.Count + Sets.Count + Tables.Count > 0;
    }

    /// <param name="Label">A name, or what names begin with and a star.</param>
    internal sealed record PluginChains(string Backend, string Family, string Table, string Label, int Count);

    /// <summary>What the record says of these.</summary>
    public static string Record(IReadOnlyList<string> plugins) =>
        $"{Ownership.Header}\n# What makes the network of pods here. By it another plugin removes what this one leaves.\n"
            + string.Concat(plugins.Select(p => $"{RecordKey}{p}\n"));

    /// <summary>CNI configuration that goes with the change, or waits for it.</summary>
    public IReadOnlyList<string> Configurations(IMachineReader reader)
    {
        var written = Written(reader.File(place.Configuration));
        return
        [
            .. written is null ? [] : (string[])[place.Configuration],
            .. Formers(Recorded(reader.File(place.Record)), written).SelectMany(f => f.Files).Select(n => $"{CniSurroundings.Directory}/{n}"),
        ];
    }

    protected override State Nothing => new([]);

    protected override State Observe(IMachineReader reader)
    {
        var recorded = Recorded(reader.File(place.Record));
        var written = Written(reader.File(place.Configuration));
        var formers = Formers(recorded, written);
        if (formers.Count == 0)
        {
            return Nothing;
        }

        var state = Kernel(reader, formers) with
        {
            Recorded = recorded,
            Written = formers.Any(f => f.Plugin == written) ? written : null,
            IsBooting = reader.File(place.Stamp).Kind == FileKind.Absent,
            Files = [.. formers.SelectMany(f => f.Files).Select(n => $"{CniSurroundings.Directory}/{n}")
                .Where(p => reader.File(p).Kind is FileKind.Regular or FileKind.Link)],
            Process = formers.Select(f => f.Process).OfType<string>().SelectMany(reader.Processes).FirstOrDefault(),
            Pins = [.. formers.SelectMany(f => f.Pins)
                .SelectMany(p => reader.Directory(p.Directory).Where(n => n.StartsWith(p.Prefix, StringComparison.Ordinal)), (p, n) => $"{p.Directory}/{n}")],
            Data = [.. formers.SelectMany(f => f.Data).Where(d => reader.File(d).Kind == FileKind.Directory)],
        };
        return policy == ProxyChange.Drained && state is { IsInKernel: true, IsBooting: false } ? state with { Pods = pods.Others() } : state;
    }

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending)
    {
        if (state is { IsInKernel: false, Files.Count: 0, Process: null } && (state.Written is null || place.Writes))
        {
            // At most what says that there was another is left, which whoever stands behind this writes anew. From one of ours to the other, the file that is
            // written next is all that there is of it.
            return InSync.Saying([.. state.Notes, .. Left(state)]);
        }

        var former = string.Join(" and ", state.Formers.Select(f => f.Plugin));
        var why = $"pods' network goes from {former} to {Name}";
        if (state.Process is { } process)
        {
            return new Refused(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{why}, and {former}'s agent still runs here (process {process.Id}: {string.Join(' ', process.Arguments)}), and would make it all again"),
                $"take it away (its DaemonSet); or, where both are meant to be here, in a chain: rm {place.Record}")
            {
                Notes = state.Notes,
            };
        }

        if (state is { IsInKernel: true, IsBooting: false } && Objection(state, why) is { } refused)
        {
            return refused with { Notes = state.Notes };
        }

        if (Name == Nobody)
        {
            return new Change(
                $"{why}: its configuration goes, and nothing else of it",
                state.IsInKernel ? Disruption.RecreatesPods : Disruption.None,
                $"- {place.Configuration}\n");
        }

        return new Change(
            state.IsInKernel ? $"{why}: what {former} left is removed" : $"{why}; nothing of {former} is in the kernel",
            state.IsInKernel ? Disruption.RecreatesPods : Disruption.None,
            string.Concat(Found(state).Select(l => $"- {l}\n")))
        {
            Notes = [.. state.Notes, .. Left(state)],
        };
    }

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation)
    {
        // First, so that no pod gets this network while it goes; but not before it is kept whose it was.
        if (state.Written is { } own)
        {
            if (!state.Recorded.Contains(own))
            {
                writer.WriteFile(place.Record, Encoding.UTF8.GetBytes(Record([.. state.Recorded, own])), ConfigFile.Readable);
            }

            writer.DeleteFile(place.Configuration);
        }

        if (Name == Nobody)
        {
            return;
        }

        foreach (var file in state.Files)
        {
            writer.DeleteFile(file);
        }

        foreach (var report in state.Interfaces)
        {
            writer.RemoveInterface(report.Name);
        }

        foreach (var tunnel in state.Tunnels)
        {
            writer.TakeInterfaceDown(tunnel);
        }

        if (state.Rules.Count > 0)
        {
            writer.RemoveRoutingRules(state.Rules);
        }

        if (state.Routes.Count > 0)
        {
            writer.RemoveRoutes(state.Routes);
        }

        // A set that a rule uses cannot go (kubernetes#109286).
        foreach (var removal in Removals(state))
        {
            writer.RemoveChains(removal);
        }

        if (state.Sets.Count > 0)
        {
            writer.RemoveIpSets(state.Sets);
        }

        foreach (var table in state.Tables)
        {
            writer.RemovePacketFilterTable(table.Split(' ')[0], table.Split(' ')[1]);
        }
    }

    private IReadOnlyList<PluginTraces> Formers(IReadOnlyList<string> recorded, string? written) =>
        [.. known.Where(k => k.Plugin != Name && (k.Plugin == written || (Name != Nobody && recorded.Contains(k.Plugin))))];

    private State Kernel(IMachineReader reader, IReadOnlyList<PluginTraces> formers)
    {
        var notes = new List<string>();
        var (interfaces, ofPods, others) = Interfaces(reader.NetworkInterfaces(), formers);
        if (others.Count > 0)
        {
            notes.Add(
                $"left alone, since by name, kind or ports it is nothing that {Names(formers)} makes: "
                    + Some([.. others.Select(o => $"{o.Name} ({KindOf(o)})")]));
        }

        var tunnels = new List<string>();
        foreach (var tunnel in formers.Select(f => f.Tunnel).OfType<string>())
        {
            if (!reader.NetworkInterfaces().Any(i => i.Name == tunnel && i.IsUp))
            {
                continue;
            }

            if (reader.Addresses(tunnel) is { Count: > 0 } addresses && addresses.All(IsOfPods))
            {
                tunnels.Add(tunnel);
            }
            else
            {
                notes.Add(
                    $"interface {tunnel} is up and left alone, since its addresses are not all within cluster.podRange; if it was pods': ip link set "
                        + $"{tunnel} down");
            }
        }

        var rules = reader.RoutingRules();
        if (rules.FirstOrDefault(r => r is { Table: LocalTable, From: null, To: null, Interface: null, Mark: 0, Priority: > 0 }) is { } local
            && !rules.Any(r => r.Table == LocalTable && r.Priority == 0 && r.Family == local.Family))
        {
            notes.Add(string.Create(
                CultureInfo.InvariantCulture,
                $"the kernel's own rule for this machine's addresses stands at priority {local.Priority} instead of 0, where it does the same; a boot puts it "
                    + $"back"));
        }

        var theirs = rules.Where(r => formers.Any(f => f.Rules.Any(isOne => isOne(r)))).ToList();
        // What an interface that goes has is no address of this machine's then.
        IReadOnlyList<string> hosts = theirs.Count == 0 ? []
            : [.. reader.NetworkInterfaces().Except(interfaces).SelectMany(i => reader.Addresses(i.Name) ?? [])];
        var own = theirs.Where(r => IsOf(r.From) || IsOf(r.To)).ToList();
        var more = theirs.Except(own).Where(r => r.SaysMore).ToList();
        if (own.Count > 0)
        {
            notes.Add($"routing rules left alone, since their address is this machine's own: {Some([.. own.Select(r => r.ToString())])}");
        }

        if (more.Count > 0)
        {
            notes.Add($"routing rules left alone, since they say more than those of {Names(formers)}: {Some([.. more.Select(r => r.ToString())])}");
        }

        var routes = formers.SelectMany(f => f.RouteProtocols).Distinct().SelectMany(reader.Routes).ToList();
        var going = routes.Where(r => r.Destination != "default" && place.Pods?.Contains(Cidr.Parse(r.Destination)) == true).ToList();
        if (routes.Except(going).Select(r => r.ToString()).ToList() is { Count: > 0 } elsewhere)
        {
            notes.Add($"routes of the same protocols that are left alone, since they are not within cluster.podRange: {Some(elsewhere)}");
        }

        return new(formers)
        {
            Interfaces = interfaces,
            OfPods = ofPods,
            Tunnels = tunnels,
            Rules = [.. theirs.Except(own).Except(more)],
            Routes = going,
            Chains = [.. formers.SelectMany(f => ChainsOf(reader, f))],
            Sets = [.. reader.IpSets().Where(s => formers.Any(f => f.Sets.Any(p => s.StartsWith(p, StringComparison.Ordinal))))],
            Tables = [.. reader.PacketFilterTables().Where(t => formers.Any(f => f.Tables.Contains(t)))],
            Notes = notes,
        };

        bool IsOf(string? range) => range is not null && hosts.Contains(range.Split('/')[0]);
    }

    /// <summary>Pods' first, then those that they were ports of.</summary>
    private static (IReadOnlyList<InterfaceReport> Ours, int OfPods, IReadOnlyList<InterfaceReport> Others) Interfaces(
        IReadOnlyList<InterfaceReport> all, IReadOnlyList<PluginTraces> formers)
    {
        var kinds = formers.SelectMany(f => f.Interfaces).ToList();
        // A bridge that somebody has put something else into is not pods' alone.
        var ours = all.Where(i => kinds.Any(k => k.Is(i)) && !all.Any(p => p.Master == i.Name && p.Kind != "veth")).ToList();
        var ports = all.Where(i => i.Kind == "veth" && ours.Any(o => o.Name == i.Master)).ToList();
        var ofPods = ours.Where(i => kinds.Any(k => k.IsPods && k.Is(i))).Concat(ports).ToList();
        return (
            [.. ofPods, .. ours.Except(ofPods)],
            ofPods.Count,
            [.. all.Except(ours).Except(ofPods).Where(i => kinds.Any(k => k.Resembles(i)))]);
    }

    private static IEnumerable<PluginChains> ChainsOf(IMachineReader reader, PluginTraces former)
    {
        foreach (var name in former.Chains)
        {
            foreach (var table in reader.Chains(name).Where(t => t.Chains.Contains(name)))
            {
                yield return new(table.Backend, table.Family, table.Table, name, 1);
            }
        }

        foreach (var prefix in former.ChainPrefixes)
        {
            foreach (var table in reader.Chains(prefix))
            {
                yield return new(table.Backend, table.Family, table.Table, $"{prefix}*", table.Chains.Count + table.Hashed.Values.Sum());
            }
        }
    }

    private static IEnumerable<ChainRemoval> Removals(State state)
    {
        foreach (var found in state.Chains.GroupBy(c => (c.Backend, c.Family)))
        {
            var tables = found.Select(c => c.Table).Distinct().ToList();
            // Without chains there, nothing would bring the next run back to these.
            var before = state.Formers.SelectMany(f => f.CommentTables).Except(tables);
            foreach (var table in before.Concat(tables))
            {
                var names = state.Formers.SelectMany(f => f.Chains).ToHashSet(StringComparer.Ordinal);
                yield return new(found.Key.Backend, found.Key.Family, table, names, None, None)
                {
                    Prefixes = [.. state.Formers.SelectMany(f => f.ChainPrefixes)],
                    Comments = [.. state.Formers.SelectMany(f => f.Comments)],
                };
            }
        }
    }

    private Refused? Objection(State state, string why)
    {
        var cleanup = state.Formers.Select(f => f.Cleanup).OfType<string>().FirstOrDefault();
        return policy switch
        {
            ProxyChange.Boot => new(
                $"{why}, and network.change: boot leaves that to a boot, which begins with an empty kernel",
                "reboot the node, or say network.change: drained or always"),
            ProxyChange.Drained when state.Pods.Count > 0 => new(
                $"{why}, and network.change: drained waits for a node without pods; there {(state.Pods.Count == 1 ? "is" : "are")} {Some(state.Pods)}",
                "drain the node (kubectl drain --ignore-daemonsets), reboot it, or say network.change: always"),
            ProxyChange.Drained when state.Pins.Count > 0 => new(
                $"{why}, and programs of the one before are in the kernel, which only a boot or its own cleanup takes away: {Some(state.Pins)}",
                $"reboot the node,{(cleanup is null ? "" : $" run {cleanup},")} or say network.change: always"),
            _ => null,
        };
    }

    /// <summary>In words, in the order in which it goes.</summary>
    private IEnumerable<string> Found(State state)
    {
        if (state.Written is not null)
        {
            yield return place.Configuration;
        }

        foreach (var file in state.Files)
        {
            yield return file;
        }

        foreach (var report in state.Interfaces)
        {
            yield return $"interface {report.Name} ({KindOf(report)})";
        }

        foreach (var tunnel in state.Tunnels)
        {
            yield return $"interface {tunnel}: taken down, since it is the kernel's own";
        }

        foreach (var rule in state.Rules)
        {
            yield return $"rule {rule}";
        }

        foreach (var route in state.Routes)
        {
            yield return $"route {route}";
        }

        foreach (var table in state.Chains.GroupBy(c => (c.Backend, c.Family, c.Table)))
        {
            var names = table.Select(c => c.Label.EndsWith('*') ? string.Create(CultureInfo.InvariantCulture, $"{c.Label} ({c.Count})") : c.Label);
            yield return $"chains of {table.Key.Family} {table.Key.Table}{(table.Key.Backend == ChainTable.Legacy ? " (iptables-legacy)" : "")}: "
                + string.Join(", ", names);
        }

        if (state.Sets.Count > 0)
        {
            yield return $"ipset: {string.Join(", ", state.Sets)}";
        }

        foreach (var table in state.Tables)
        {
            yield return $"nftables: table {table}";
        }
    }

    /// <summary>What stays behind of it, and what to do about that.</summary>
    private static IEnumerable<string> Left(State state)
    {
        if (state.OfPods > 0 && !state.IsBooting)
        {
            var count = state.OfPods == 1 ? "an interface of a pod goes" : string.Create(CultureInfo.InvariantCulture, $"{state.OfPods} interfaces of pods go");
            yield return $"{count}: what still runs here with a network of its own, as pods of DaemonSets do, has none until it is deleted and made again";
        }

        if (state.Pins.Count > 0)
        {
            yield return $"programs of {Names(state.Formers)} stay in the kernel until the next boot, or until its own cleanup: {Some(state.Pins)}";
        }

        if (state.Data.Count > 0)
        {
            yield return $"what {Names(state.Formers)} keeps in {string.Join(", ", state.Data)} is left alone; where nothing needs it: rm --recursive";
        }
    }

    private bool IsOfPods(string address) => place.Pods is { } range && IPAddress.TryParse(address, out var parsed) && range.Contains(parsed);

    private static IReadOnlyList<string> Recorded(FileReport file) => !Ownership.IsOurs(file) ? []
        : [.. Encoding.UTF8.GetString(file.Content!).Split('\n').Where(l => l.StartsWith(RecordKey, StringComparison.Ordinal))
            .Select(l => l[RecordKey.Length..].Trim())];

    /// <summary>Which of our two wrote the file: JSON has no room for a mark, and the path is nobody else's. One that somebody edited is repaired.</summary>
    private string? Written(FileReport file)
    {
        if (file.Kind != FileKind.Regular)
        {
            return null;
        }

        var text = Encoding.UTF8.GetString(file.Content ?? []);
        return text.Contains("\"ipMasq\": false", StringComparison.Ordinal) ? VpcRoutes
            : text.Contains("\"ipMasq\": true", StringComparison.Ordinal) || !place.Writes ? Bridge
            : null;
    }

    private static string Names(IReadOnlyList<PluginTraces> formers) => string.Join(" and ", formers.Select(f => f.Plugin));

    private static string KindOf(InterfaceReport report) => report.Kind.Length == 0 ? "hardware" : report.Kind;

    private static string Some(IReadOnlyList<string> names) => names.Count <= 3 ? string.Join(", ", names)
        : string.Create(CultureInfo.InvariantCulture, $"{string.Join(", ", names.Take(3))} and {names.Count - 3} more");
}
