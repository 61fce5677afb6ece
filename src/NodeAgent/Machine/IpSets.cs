using System.Text;

namespace NodeAgent.Machine;

/// <summary>ipset(8)'s sets, by netlink (linux/netfilter/ipset/ip_set.h).</summary>
internal static class IpSets
{
    private const int Subsystem = 6;
    private const int Destroy = 3;
    private const int ListSets = 7;

    private const int Protocol = 1;
    private const int SetName = 2;
    private const int Flags = 6;
    private const int Members = 8;
    private const int Member = 7;
    private const int Port = 4;
    private const int OnlyNames = 1 << 1;

    // Spoken by kernels since 2.6.39; newer ones speak 7, too.
    private const byte Version = 6;

    // linux/netfilter/ipset/ip_set.h: IPSET_ERR_PROTOCOL and what follows are beyond errno.
    private const int InUse = 4100;

    // A rule of nftables that went lets go of its set in a work item after the commit (nf_tables_commit_release), weaveworks/weave#3847.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);

    private const string Subject = "ipset";

    public static IReadOnlyList<string> Names()
    {
        var names = new List<string>();
        using var netlink = new Netlink(Netlink.Netfilter, Subject);
        var error = netlink.List(
            Message(ListSets).NetworkInteger(Flags, OnlyNames, says: true),
            names.Clear,
            payload => names.Add(Encoding.UTF8.GetString(NetlinkAttributes.Find(payload[4..], SetName).TrimEnd((byte)0))));
        return error switch
        {
            0 => [.. names.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)],
            // A kernel without them.
            Libc.Invalid or Libc.NotSupported or Libc.NotFound => [],
            _ => throw new ProbeException(Subject, Libc.Error(error)),
        };
    }

    /// <summary>Members of a set of ports; none where there is no such set.</summary>
    public static IReadOnlyList<int> Ports(string set)
    {
        var ports = new SortedSet<int>();
        using var netlink = new Netlink(Netlink.Netfilter, Subject);
        var error = netlink.List(Message(ListSets).Text(SetName, set), ports.Clear, payload =>
        {
            var members = new NetlinkAttributes(NetlinkAttributes.Find(payload[4..], Members));
            while (members.Next())
            {
                var port = NetlinkAttributes.Find(members.Value, Port);
                if (members.Type == Member && port.Length == 2)
                {
                    ports.Add((port[0] << 8) | port[1]);
                }
            }
        });
        return error is 0 or Libc.NotFound or Libc.Invalid ? [.. ports] : throw new ProbeException($"{Subject} {set}", Libc.Error(error));
    }

    /// <summary>One that a rule uses is waited for, since that rule may just have been removed.</summary>
    public static void Remove(IReadOnlyList<string> names, CancellationToken cancellation)
    {
        using var netlink = new Netlink(Netlink.Netfilter, Subject);
        foreach (var name in names)
        {
            var error = 0;
            _ = BlockDevices.WaitUntil(
                () =>
                {
                    var sequence = netlink.NextSequence();
                    (error, _) = netlink.Command(
                        Message(Destroy).Text(SetName, name).Finish(Netlink.Request | Netlink.Acknowledge, sequence), sequence, sequence, Libc.NotFound);
                    return error is not (InUse or Libc.Busy);
                },
                Patience,
                cancellation,
                Pause);
            if (error != 0)
            {
                throw new MachineException(
                    $"remove ipset {name}",
                    error is InUse or Libc.Busy
                        ? "a rule still uses it; look for it (iptables-save, nft list ruleset), and remove it by hand if nothing needs it"
                        : error < 4096 ? Libc.Error(error) : $"ipset's error {error}");
            }
        }
    }

    private static NetlinkMessage Message(int command) => NetlinkMessage.OfNetfilter(Subsystem, command, 2).Byte(Protocol, Version);
}
