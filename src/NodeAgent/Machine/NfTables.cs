using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace NodeAgent.Machine;

/// <summary>
/// nftables, and with it iptables' newer backend, by netlink (linux/netfilter/nf_tables.h). Names are listed and rules are not: where 20,000 services are,
/// nft(8) and iptables-nft-save(8) print for a second and for a minute what this asks for in a tenth.
/// </summary>
internal static class NfTables
{
    private const int Subsystem = 10;
    private const int GetTable = 1;
    private const int DeleteTable = 2;
    private const int GetChain = 4;
    private const int DeleteChain = 5;
    private const int GetRule = 7;
    private const int DeleteRule = 8;

    private const int BatchEnd = Netlink.BatchBegin + 1;

    private const int TableName = 1;
    private const int ChainOfTable = 1;
    private const int ChainName = 3;
    private const int ChainHook = 4;
    private const int RuleOfTable = 1;
    private const int RuleOfChain = 2;
    private const int RuleHandle = 3;
    private const int RuleExpressions = 4;
    private const int RuleUserData = 7;
    private const int ExpressionName = 1;
    private const int ExpressionData = 2;
    private const int ImmediateData = 2;
    private const int DataVerdict = 2;
    private const int VerdictChain = 2;
    private const int MatchName = 1;
    private const int MatchInfo = 3;
    private const byte UserComment = 0;

    private const string Subject = "nftables";

    /// <summary>As in "ip kube-proxy".</summary>
    public static IReadOnlyList<string> Tables()
    {
        var tables = new List<string>();
        using var netlink = new Netlink(Netlink.Netfilter, Subject);
        var error = netlink.List(NetlinkMessage.OfNetfilter(Subsystem, GetTable, 0), tables.Clear, payload =>
        {
            if (NameOf(payload[0]) is { } family)
            {
                tables.Add($"{family} {Text(NetlinkAttributes.Find(payload[4..], TableName))}");
            }
        });
        return IsNoNfTables(error) ? [] : [.. tables.Order(StringComparer.Ordinal)];
    }

    /// <summary>Of the tables that iptables has, too.</summary>
    public static IReadOnlyList<ChainTable> Chains(string prefix)
    {
        var start = Encoding.ASCII.GetBytes(prefix);
        var tables = new Dictionary<(byte Family, string Table), ChainNames>();
        using var netlink = new Netlink(Netlink.Netfilter, Subject);
        var error = netlink.List(NetlinkMessage.OfNetfilter(Subsystem, GetChain, 0), tables.Clear, payload =>
        {
            var name = NetlinkAttributes.Find(payload[4..], ChainName).TrimEnd((byte)0);
            if (!name.StartsWith(start) || NameOf(payload[0]) is null)
            {
                return;
            }

            var key = (payload[0], Text(NetlinkAttributes.Find(payload[4..], ChainOfTable)));
            if (!tables.TryGetValue(key, out var names))
            {
                tables[key] = names = new ChainNames();
            }

            names.Add(Text(name));
        });
        return IsNoNfTables(error) ? []
            : [.. tables.OrderBy(t => t.Key.Family).ThenBy(t => t.Key.Table, StringComparer.Ordinal)
                .Select(t => t.Value.Report(ChainTable.Nft, NameOf(t.Key.Family)!, t.Key.Table))];
    }

    /// <summary>
    /// In one transaction: the rules that lead to the chains from where a packet begins and from those that are cleaned, then what is in the chains, then the
    /// chains.
    /// </summary>
    public static void Remove(ChainRemoval removal)
    {
        var what = $"remove chains of table {removal.Family} {removal.Table}";
        var family = NumberOf(removal.Family);
        using var netlink = new Netlink(Netlink.Netfilter, Subject);
        var chains = new List<string>();
        var others = new List<string>();
        var error = netlink.List(
            NetlinkMessage.OfNetfilter(Subsystem, GetChain, family),
            () =>
            {
                chains.Clear();
                others.Clear();
            },
            payload =>
            {
                if (payload[0] != family || Text(NetlinkAttributes.Find(payload[4..], ChainOfTable)) != removal.Table)
                {
                    return;
                }

                var name = Text(NetlinkAttributes.Find(payload[4..], ChainName));
                if (removal.Takes(name))
                {
                    chains.Add(name);
                }
                else if (!NetlinkAttributes.Find(payload[4..], ChainHook).IsEmpty || removal.Cleaned.Contains(name))
                {
                    others.Add(name);
                }
            });
        if (error != 0)
        {
            throw new MachineException(what, Libc.Error(error));
        }

        var batch = new Batch(netlink);
        foreach (var chain in others)
        {
            foreach (var handle in RulesInto(netlink, family, removal, chain))
            {
                batch.Add(
                    Message(DeleteRule, family).Text(RuleOfTable, removal.Table).Text(RuleOfChain, chain).Bytes(RuleHandle, handle), $"a rule of {chain}");
            }
        }

        foreach (var chain in chains)
        {
            batch.Add(Message(DeleteRule, family).Text(RuleOfTable, removal.Table).Text(RuleOfChain, chain), $"what is in {chain}");
        }

        foreach (var chain in chains)
        {
            batch.Add(Message(DeleteChain, family).Text(ChainOfTable, removal.Table).Text(ChainName, chain), chain);
        }

        batch.Commit(what);
    }

    public static void RemoveTable(string family, string table)
    {
        using var netlink = new Netlink(Netlink.Netfilter, Subject);
        var batch = new Batch(netlink);
        batch.Add(Message(DeleteTable, NumberOf(family)).Text(TableName, table), $"table {family} {table}");
        batch.Commit($"remove table {family} {table}", passesOver: Libc.NotFound);
    }

    /// <summary>Handles of the rules of a chain that have to go before the others can.</summary>
    private static List<byte[]> RulesInto(Netlink netlink, byte family, ChainRemoval removal, string chain)
    {
        var handles = new List<byte[]>();
        var isCleaned = removal.Cleaned.Contains(chain);
        var error = netlink.List(
            Message(GetRule, family).Text(RuleOfTable, removal.Table).Text(RuleOfChain, chain),
            handles.Clear,
            payload =>
            {
                var attributes = payload[4..];
                // Before Linux 4.13 all rules are told, whatever was asked for.
                if (Text(NetlinkAttributes.Find(attributes, RuleOfTable)) != removal.Table || Text(NetlinkAttributes.Find(attributes, RuleOfChain)) != chain)
                {
                    return;
                }

                // iptables-nft had comments beside the rule for a while (d64ef34a9961, taken back by ccf154d7420c), as nft has.
                if (removal.Comments.Count > 0 && IsSaid(removal, CommentOf(NetlinkAttributes.Find(attributes, RuleUserData))))
                {
                    handles.Add(NetlinkAttributes.Find(attributes, RuleHandle).ToArray());
                    return;
                }

                var expressions = new NetlinkAttributes(NetlinkAttributes.Find(attributes, RuleExpressions));
                while (expressions.Next())
                {
                    var name = Text(NetlinkAttributes.Find(expressions.Value, ExpressionName));
                    var data = NetlinkAttributes.Find(expressions.Value, ExpressionData);
                    var target = name == "immediate"
                        ? Text(NetlinkAttributes.Find(NetlinkAttributes.Find(NetlinkAttributes.Find(data, ImmediateData), DataVerdict), VerdictChain)) : "";
                    if ((target.Length > 0 && removal.Takes(target))
                        || (isCleaned && name == "match" && Text(NetlinkAttributes.Find(data, MatchName)) == "set")
                        || (removal.Comments.Count > 0 && name == "match" && Text(NetlinkAttributes.Find(data, MatchName)) == "comment"
                            && IsSaid(removal, NetlinkAttributes.Find(data, MatchInfo))))
                    {
                        handles.Add(NetlinkAttributes.Find(attributes, RuleHandle).ToArray());
                        return;
                    }
                }
            });
        return error == 0 ? handles : throw new MachineException($"list the rules of {removal.Family} {removal.Table} {chain}", Libc.Error(error));
    }

    // struct xt_comment_info: the text, and zeros up to 256 bytes.
    private static bool IsSaid(ChainRemoval removal, ReadOnlySpan<byte> comment)
    {
        var end = comment.IndexOf((byte)0);
        var text = Encoding.UTF8.GetString(end < 0 ? comment : comment[..end]);
        return removal.Comments.Any(c => text.StartsWith(c, StringComparison.Ordinal));
    }

    /// <summary>Of what a program keeps beside a rule: a byte for what it is, one for how long, and that.</summary>
    private static ReadOnlySpan<byte> CommentOf(ReadOnlySpan<byte> data)
    {
        while (data.Length >= 2 && data.Length >= 2 + data[1])
        {
            if (data[0] == UserComment)
            {
                return data.Slice(2, data[1]);
            }

            data = data[(2 + data[1])..];
        }

        return [];
    }

    private static NetlinkMessage Message(int command, byte family) => NetlinkMessage.OfNetfilter(Subsystem, command, family);

    // Built without it, or without the right to ask for it in a user's namespace.
    private static bool IsNoNfTables(int error) => error switch
    {
        0 => false,
        Libc.Invalid or Libc.NotSupported or Libc.NotFound => true,
        _ => throw new ProbeException(Subject, Libc.Error(error)),
    };

    private static string Text(ReadOnlySpan<byte> value) => Encoding.UTF8.GetString(value.TrimEnd((byte)0));

    private static string? NameOf(byte family) => family switch { 2 => "ip", 10 => "ip6", _ => null };

    private static byte NumberOf(string family) => family switch
    {
        "ip" => 2,
        "ip6" => 10,
        _ => throw new ArgumentException($"{family} is no family that iptables has", nameof(family)),
    };

    /// <summary>A transaction: all of it is carried out, or nothing.</summary>
    private sealed class Batch(Netlink netlink)
    {
        private readonly ArrayBufferWriter<byte> _messages = new();
        // Other questions may be asked between two of them.
        private readonly List<(uint Sequence, string Name)> _commands = [];
        private uint _first;
        private int _last;

        public void Add(NetlinkMessage message, string name)
        {
            if (_commands.Count == 0)
            {
                _first = netlink.NextSequence();
                _messages.Write(NetlinkMessage.OfNetfilter(0, Netlink.BatchBegin, 0, Subsystem).Finish(Netlink.Request, _first));
            }

            _last = _messages.WrittenCount;
            var sequence = netlink.NextSequence();
            _messages.Write(message.Finish(Netlink.Request, sequence));
            _commands.Add((sequence, name));
        }

        public void Commit(string what, int passesOver = 0)
        {
            if (_commands.Count == 0)
            {
                return;
            }

            var last = _commands[^1].Sequence;
            _messages.Write(NetlinkMessage.OfNetfilter(0, BatchEnd, 0, Subsystem).Finish(Netlink.Request, netlink.NextSequence()));
            var messages = _messages.WrittenSpan.ToArray();
            BinaryPrimitives.WriteUInt16LittleEndian(messages.AsSpan(_last + 6), Netlink.Request | Netlink.Acknowledge);
            var (error, of) = netlink.Command(messages, _first, last, passesOver);
            if (error == 0)
            {
                return;
            }

            var name = _commands.Find(c => c.Sequence == of).Name ?? "";
            throw new MachineException(
                what,
                error == Libc.Busy
                    ? $"{name} is still used by a rule that is somebody else's; look for it (nft list ruleset), and remove it by hand if nothing needs it"
                    : $"{Libc.Error(error)}{(name.Length == 0 ? "" : $", at {name}")}");
        }
    }
}

/// <summary>Names, those with a hash counted.</summary>
internal sealed class ChainNames
{
    private readonly SortedSet<string> _names = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, int> _hashed = new(StringComparer.Ordinal);

    public void Add(string name)
    {
        if (ChainTable.PrefixOf(name) is { } prefix)
        {
            _hashed[prefix] = _hashed.GetValueOrDefault(prefix) + 1;
        }
        else
        {
            _names.Add(name);
        }
    }

    public ChainTable Report(string backend, string family, string table) => new(backend, family, table, [.. _names], _hashed);
}
