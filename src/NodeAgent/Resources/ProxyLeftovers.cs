using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Network;

namespace NodeAgent.Resources;

/// <summary>Whose pods would notice that services do not answer for a while.</summary>
internal interface INodePods
{
    /// <summary>Namespace and name of those on this node that are neither static nor a DaemonSet's.</summary>
    /// <exception cref="ProbeException">Nobody says.</exception>
    IReadOnlyList<string> Others();
}

/// <summary>What kube-proxy makes in a kernel, and which of it the wanted mode makes.</summary>
internal sealed record ProxyTraces
{
    public required IReadOnlyList<ProxyTrace> Chains { get; init; }

    public required IReadOnlyList<string> Sets { get; init; }

    /// <summary>By protocol, the sets of ports of the node that are services'.</summary>
    public required IReadOnlyDictionary<string, IReadOnlyList<string>> NodePortSets { get; init; }

    public required string Interface { get; init; }

    public required string NftTable { get; init; }

    /// <summary>Whether the wanted mode is IPVS, so that virtual servers, sets and interface are its own.</summary>
    public required bool IsIpvs { get; init; }

    public required bool IsNftables { get; init; }
}

/// <param name="IsWanted">The wanted mode makes it.</param>
/// <param name="Stays">Somebody else makes it, too.</param>
internal sealed record ProxyTrace(string Table, string Name, bool IsHashed, bool IsWanted, bool Stays);

/// <summary>Where our kube-proxy is known by, and what its rules are about.</summary>
/// <param name="ServiceRange">Virtual servers of these addresses are services', wherever else they are not found any more.</param>
/// <param name="Excluded">Ranges whose virtual servers kube-proxy itself leaves alone.</param>
/// <param name="Stamp">There from when the node was prepared in this boot, before any container starts.</param>
/// <param name="Enders">Units without which nobody ends a pod whose manifest is gone: kubelet's and the runtime's.</param>
internal sealed record ProxyPlace(
    string Manifest, string Configuration, Cidr ServiceRange, IReadOnlyList<Cidr> Excluded, string Stamp, IReadOnlyList<string> Enders);

/// <summary>
/// What another mode of kube-proxy left in the kernel, and the change from one mode to another. kube-proxy takes away what is another mode's only from and to
/// nftables, and its own --cleanup flushes every virtual server of the machine, so this is done here, by kube-proxy's own names: kube-proxy is stopped, all
/// that it made is removed, in an order in which each step leaves what the next one has to know, and whoever is next in the list starts it anew. A run that is
/// cut off in the middle is gone on with by the next.
/// </summary>
internal sealed class ProxyLeftovers(string mode, ProxyTraces traces, ProxyPlace place, ProxyChange policy, INodePods pods)
    : Resource<ProxyLeftovers.State>(Concern.StaticPods, "service proxy", mode)
{
    private const string Process = "kube-proxy";

    private const string Prefix = "KUBE-";

    // By whom the kernel says that it made a route to an address of its own: RTPROT_KERNEL, and RTPROT_UNSPEC for IPv6 in older ones.
    private static readonly int[] KernelsOwn = [2, 0];

    // kubelet ends a pod's containers within 30 seconds, and looks for files that went every 20 at least.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    /// <param name="Former">The mode that is in kube-proxy's configuration; null where there is none.</param>
    /// <param name="Chains">All with kube-proxy's prefix, kubelet's and others' among them.</param>
    /// <param name="Servers">Virtual servers that are Kubernetes'.</param>
    /// <param name="OtherServers">Virtual servers that nothing of Kubernetes' names.</param>
    /// <param name="Addresses">Of kube-proxy's interface; null where there is none.</param>
    internal sealed record State(
        string? Former,
        bool HasManifest,
        IReadOnlyList<ChainTable> Chains,
        IReadOnlyList<string> Tables,
        IReadOnlyList<string> Sets,
        IReadOnlyList<VirtualServer> Servers,
        IReadOnlyList<VirtualServer> OtherServers,
        IReadOnlyList<string>? Addresses)
    {
        /// <summary>Of our static pod.</summary>
        public bool IsRunning { get; init; }

        /// <summary>One that is not from our static pod.</summary>
        public ProcessReport? Other { get; init; }

        /// <summary>Of this boot, in which no container can have run yet.</summary>
        public bool IsBooting { get; init; }

        /// <summary>The first of the units that end a kube-proxy and does not run, while one does.</summary>
        public string? Down { get; init; }

        /// <summary>Pods that policy protects.</summary>
        public IReadOnlyList<string> Pods { get; init; } = [];
    }

    protected override State Nothing => new(null, false, [], [], [], [], [], null);

    private string Argument => $"--config={place.Configuration}";

    protected override State Observe(IMachineReader reader)
    {
        var addresses = reader.Addresses(traces.Interface);
        var former = Lines(reader.File(place.Configuration));
        var (servers, others) = Servers(reader, addresses, [.. place.Excluded, .. Excluded(former)]);
        var state = new State(
            Mode(former),
            reader.File(place.Manifest).Kind != FileKind.Absent,
            reader.Chains(Prefix),
            [.. reader.PacketFilterTables().Where(t => t == $"ip {traces.NftTable}" || t == $"ip6 {traces.NftTable}")],
            [.. reader.IpSets().Where(traces.Sets.Contains)],
            servers,
            others,
            addresses);
        if (!IsLeaving(state))
        {
            return state;
        }

        var processes = reader.Processes(Process);
        var isRunning = processes.Any(p => p.Arguments.Contains(Argument));
        state = state with
        {
            IsRunning = isRunning,
            IsBooting = reader.File(place.Stamp).Kind == FileKind.Absent,
            Down = isRunning ? place.Enders.FirstOrDefault(u => !reader.Unit(u).IsActive) : null,
            Other = processes.FirstOrDefault(p => !p.Arguments.Contains(Argument)),
        };
        return policy == ProxyChange.Drained && Interrupts(state) ? state with { Pods = pods.Others() } : state;
    }

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending)
    {
        var notes = Notes(state);
        if (!IsLeaving(state))
        {
            return InSync.Saying(notes);
        }

        if (state.Other is { } other)
        {
            var who = string.Create(
                CultureInfo.InvariantCulture, $"a kube-proxy that is not the agent's runs here (process {other.Id}: {string.Join(' ', other.Arguments)})");
            return Name == ProxyModes.None
                ? InSync.Saying([.. notes, $"{who}; what it made in the kernel is left alone"])
                : new Refused(
                    $"{who}, and makes what kube-proxy in mode {Name} does not", "take it away (its DaemonSet, in most clusters), or say kubeProxy.mode: none");
        }

        var found = Found(state, onlyOthers: true).ToList();
        var why = IsChange(state) ? $"kube-proxy goes from {state.Former} to {Name}" : $"there is what kube-proxy in mode {Name} does not make";
        if (Interrupts(state))
        {
            // What kube-proxy removed and not yet made again answers to nobody.
            if (policy == ProxyChange.Boot)
            {
                return new Refused(
                    $"{why}, and kubeProxy.change: boot leaves that to a boot, which begins with an empty kernel",
                    "reboot the node, or say kubeProxy.change: drained or always")
                {
                    Notes = notes,
                };
            }

            if (policy == ProxyChange.Drained && state.Pods.Count > 0)
            {
                return new Refused(
                    $"{why}, and kubeProxy.change: drained waits for a node without pods; there {(state.Pods.Count == 1 ? "is" : "are")} {Some(state.Pods)}",
                    "drain the node (kubectl drain --ignore-daemonsets), reboot it, or say kubeProxy.change: always")
                {
                    Notes = notes,
                };
            }
        }

        if (state.Down is { } down)
        {
            return new Refused(
                $"{why}, and {down} does not run, so nobody ends kube-proxy",
                $"systemctl start {down}, then apply; or reboot the node")
            {
                Notes = notes,
            };
        }

        return new Change(
            found.Count == 0 && !state.IsRunning ? $"{why}; nothing of it is in the kernel" : $"{why}: it is stopped, and what it made is removed",
            found.Count == 0 && !state.IsRunning ? Disruption.None : Disruption.InterruptsServices,
            string.Concat(Found(state, onlyOthers: false).Select(l => $"- {l}\n")))
        {
            Notes = notes,
        };
    }

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation)
    {
        if (state.HasManifest)
        {
            writer.DeleteFile(place.Manifest);
        }

        if (state.IsRunning)
        {
            writer.WaitForEnd(Process, Argument, Patience);
        }

        // Interface and sets say which virtual servers are Kubernetes', so they go later; a set that a rule uses cannot go at all (kubernetes#109286).
        if (state.Servers.Count > 0)
        {
            // A run that is cut off after this leaves none that would say the addresses.
            Forget();
            writer.RemoveVirtualServers(state.Servers);
        }

        if (state.Addresses is not null)
        {
            writer.RemoveInterface(traces.Interface);
        }

        foreach (var table in state.Chains)
        {
            var going = traces.Chains.Where(c => c.Table == table.Table && !c.Stays).ToList();
            var staying = traces.Chains.Where(c => c.Table == table.Table && c.Stays && table.Chains.Contains(c.Name)).Select(c => c.Name)
                .ToHashSet(StringComparer.Ordinal);
            if (going.Any(c => Count(table, c) > 0) || (staying.Count > 0 && state.Sets.Count > 0))
            {
                writer.RemoveChains(new(table.Backend, table.Family, table.Table, Names(going, isHashed: false), Names(going, isHashed: true), staying));
            }
        }

        if (state.Sets.Count > 0)
        {
            writer.RemoveIpSets(state.Sets);
        }

        foreach (var table in state.Tables)
        {
            writer.RemovePacketFilterTable(table.Split(' ')[0], table.Split(' ')[1]);
        }

        // Also where a run that was cut off left nothing else to do. A kernel that boots remembers none.
        if (change.Disruption != Disruption.None || (IsChange(state) && !state.IsBooting))
        {
            Forget();
        }

        // Last: the former mode that it names is what brings a run that was cut off back to this.
        if (state.Former is not null)
        {
            writer.DeleteFile(place.Configuration);
        }

        void Forget() => writer.ForgetConnections(
            [new IPNetwork(place.ServiceRange.Address, place.ServiceRange.Prefix)], [.. state.Servers.Select(s => s.Address).Distinct()]);

        static HashSet<string> Names(List<ProxyTrace> going, bool isHashed) => going.Where(c => c.IsHashed == isHashed).Select(c => c.Name)
            .ToHashSet(StringComparer.Ordinal);
    }

    private bool IsLeaving(State state) => IsChange(state) || Found(state, onlyOthers: true).Any();

    private bool IsChange(State state) => state.Former is not null && state.Former != Name;

    /// <summary>
    /// A node whose kube-proxy is stopped already, by a run that was cut off, is to be gone on with, and one that boots has none, whatever rules somebody
    /// restored (netfilter-persistent).
    /// </summary>
    private bool Interrupts(State state) => state.IsRunning || (!state.IsBooting && state.HasManifest && Found(state, onlyOthers: false).Any());

    /// <summary>In words, in the order in which it goes.</summary>
    private IEnumerable<string> Found(State state, bool onlyOthers)
    {
        if (!(onlyOthers && traces.IsIpvs))
        {
            if (state.Servers.Count > 0)
            {
                yield return string.Create(
                    CultureInfo.InvariantCulture, $"IPVS: {state.Servers.Count} virtual server{(state.Servers.Count == 1 ? "" : "s")} of services");
            }

            if (state.Addresses is { } addresses)
            {
                yield return string.Create(
                    CultureInfo.InvariantCulture, $"interface {traces.Interface} with {addresses.Count} address{(addresses.Count == 1 ? "" : "es")}");
            }
        }

        foreach (var table in state.Chains)
        {
            var names = new StringBuilder();
            foreach (var chain in traces.Chains.Where(c => c.Table == table.Table && !c.Stays && !(onlyOthers && c.IsWanted)))
            {
                if (Count(table, chain) is > 0 and var count)
                {
                    names.Append(names.Length == 0 ? "" : ", ").Append(chain.Name)
                        .Append(chain.IsHashed ? string.Create(CultureInfo.InvariantCulture, $"* ({count})") : "");
                }
            }

            if (names.Length > 0)
            {
                yield return $"chains of {table.Family} {table.Table}{(table.Backend == ChainTable.Legacy ? " (iptables-legacy)" : "")}: {names}";
            }
        }

        if (state.Sets.Count > 0 && !(onlyOthers && traces.IsIpvs))
        {
            yield return $"ipset: {string.Join(", ", state.Sets)}";
        }

        foreach (var table in onlyOthers && traces.IsNftables ? [] : state.Tables)
        {
            yield return $"nftables: table {table}";
        }
    }

    private static int Count(ChainTable table, ProxyTrace chain) => chain.IsHashed
        ? table.Hashed.GetValueOrDefault(chain.Name)
        : table.Chains.Contains(chain.Name) ? 1 : 0;

    private IReadOnlyList<string> Notes(State state)
    {
        var notes = new List<string>();
        if (state.OtherServers.Count > 0 && !traces.IsIpvs)
        {
            notes.Add($"IPVS: {Some([.. state.OtherServers.Select(s => s.ToString())])} {(state.OtherServers.Count == 1 ? "is" : "are")} not kube-proxy's and "
                + $"left alone: not on {traces.Interface}, "
                + $"not in {place.ServiceRange}, no service's node port");
        }

        return notes;
    }

    /// <summary>
    /// kube-proxy in mode ipvs takes every virtual server outside of ipvs.excludeCIDRs for its own (cleanLegacyService in pkg/proxy/ipvs/proxier.go@1.20.2 and
    /// later), and others may have been made since. Its own have an address of its interface, or one of services, or are a node port in its sets on
    /// an address of this machine.
    /// </summary>
    private (IReadOnlyList<VirtualServer> Ours, IReadOnlyList<VirtualServer> Others) Servers(
        IMachineReader reader, IReadOnlyList<string>? addresses, IReadOnlyList<Cidr> excluded)
    {
        var (ours, others) = (new List<VirtualServer>(), new List<VirtualServer>());
        var all = reader.VirtualServers();
        if (all.Count == 0)
        {
            return (ours, others);
        }

        var own = addresses?.ToHashSet(StringComparer.Ordinal) ?? [];
        var ports = traces.NodePortSets.ToDictionary(s => s.Key, s => s.Value.SelectMany(reader.IpSetPorts).ToHashSet(), StringComparer.Ordinal);
        HashSet<string> local = ports.Values.All(p => p.Count == 0) ? []
            : KernelsOwn.SelectMany(reader.Routes).Where(r => r.Type == "local").Select(r => r.Destination).ToHashSet(StringComparer.Ordinal);
        foreach (var server in all)
        {
            var address = IPAddress.Parse(server.Address);
            var isNodePort = ports.GetValueOrDefault(server.Protocol)?.Contains(server.Port) == true
                && local.Contains($"{address}/{(address.AddressFamily == AddressFamily.InterNetworkV6 ? "128" : "32")}");
            var isOurs = !excluded.Any(r => r.Contains(address))
                && (own.Contains(server.Address) || place.ServiceRange.Contains(address) || isNodePort);
            (isOurs ? ours : others).Add(server);
        }

        return (ours, others);
    }

    /// <summary>None of a file that is not ours.</summary>
    private static string[] Lines(FileReport file) => Ownership.IsOurs(file) ? Encoding.UTF8.GetString(file.Content!).Split('\n') : [];

    /// <summary>The one line that is in every kube-proxy's configuration.</summary>
    private static string? Mode(string[] configuration)
    {
        var line = Array.Find(configuration, l => l.StartsWith("mode:", StringComparison.Ordinal));
        return line is null ? null : Scalar(line["mode:".Length..]);
    }

    /// <summary>Ranges that the former kube-proxy left alone; the configuration need not say them any more once it has another mode.</summary>
    private static IEnumerable<Cidr> Excluded(string[] configuration) =>
        configuration.SkipWhile(l => l.Trim() != "excludeCIDRs:").Skip(1).Select(l => l.Trim()).TakeWhile(l => l.StartsWith("- ", StringComparison.Ordinal))
            .Select(l => Range(Scalar(l[2..]))).OfType<Cidr>();

    // No kube-proxy starts with what is none, so that somebody wrote it since.
    private static Cidr? Range(string text)
    {
        try
        {
            return Cidr.Parse(text);
        }
        catch (FormatException)
        {
            return null;
        }
    }

    private static string Scalar(string text) => text.Trim().Trim('"', '\'');

    private static string Some(IReadOnlyList<string> names) => names.Count <= 3 ? string.Join(", ", names)
        : string.Create(CultureInfo.InvariantCulture, $"{string.Join(", ", names.Take(3))} and {names.Count - 3} more");
}

/// <summary>As kube-proxy spells them.</summary>
internal static class ProxyModes
{
    public const string None = "none";

    public static string Of(ProxyMode mode) => mode switch
    {
        ProxyMode.Iptables => "iptables",
        ProxyMode.Ipvs => "ipvs",
        ProxyMode.Nftables => "nftables",
        _ => None,
    };
}
