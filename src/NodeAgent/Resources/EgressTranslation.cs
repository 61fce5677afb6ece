using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// Pods that call somebody outside of the VPC do it by their node's address. A table of nftables of our own, by whose name it is known for ours: neither
/// kube-proxy nor anybody else's iptables looks into it, nor flushes it. A reboot forgets it, and the run at boot makes it anew, before any container starts.
/// </summary>
/// <param name="rules">Of the chain, in nft's words and as nft prints them; null: there shall be no such table.</param>
internal sealed class EgressTranslation(IReadOnlyList<string>? rules) : Resource<string?>(Concern.Network, "egress translation", "ip nodeagent")
{
    private const string Table = "nodeagent";

    // After iptables' chains at 100: what kube-proxy marked for translation is its own to translate.
    private const string Hook = "type nat hook postrouting priority 110; policy accept;";

    protected override string? Nothing => null;

    protected override string? Observe(IMachineReader reader) => reader.PacketFilter(Table);

    protected override Finding Diff(string? state, IReadOnlyList<Resource> pending)
    {
        if (rules is null)
        {
            return state is null ? InSync.Instance : new Change("is there, and nobody wants it any more");
        }

        var wanted = Content();
        return state is null ? new Change("not there", Diff: UnifiedDiff.Of("", wanted))
            : Lines(state).SequenceEqual(Lines($"table ip {Table} {{\n{wanted}}}\n")) ? InSync.Instance
            : new Change("rules differ", Diff: UnifiedDiff.Of(string.Concat(Lines(state).Skip(1).SkipLast(1).Select(l => l + "\n")), wanted));
    }

    protected override void Apply(IMachineWriter writer, string? state, Change change, CancellationToken cancellation) =>
        writer.SetPacketFilter(Table, rules is null ? null : Content());

    private string Content()
    {
        var text = new StringBuilder($"\tchain postrouting {{\n\t\t{Hook}\n");
        foreach (var rule in rules!)
        {
            text.Append("\t\t").Append(rule).Append('\n');
        }

        return text.Append("\t}\n").ToString();
    }

    // nft's versions print the same priority in different words: 110, srcnat + 10.
    private static IEnumerable<string> Lines(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
        .Select(l => l.StartsWith("type nat hook postrouting priority ", StringComparison.Ordinal) ? Hook : l);
}
