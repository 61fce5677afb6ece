using System.Buffers.Binary;
using System.Net;

namespace NodeAgent.Machine;

/// <summary>What the kernel remembers of connections, by netlink (linux/netfilter/nfnetlink_conntrack.h).</summary>
internal static class Connections
{
    private const int Subsystem = 1;
    private const int GetEntry = 1;
    private const int DeleteEntry = 2;

    private const int OriginalTuple = 1;
    private const int Status = 3;
    private const int Zone = 18;
    private const int TupleAddresses = 1;
    private const int TupleProtocol = 2;
    private const int DestinationV4 = 2;
    private const int DestinationV6 = 4;
    private const int ProtocolNumber = 1;

    // IPS_DST_NAT
    private const uint Translated = 1 << 5;
    private const byte Tcp = 6;
    private const int AtOnce = 256;
    private const string Subject = "conntrack";

    /// <summary>
    /// Forgets what goes to some addresses and would go astray: all that is not TCP, since it never ends by itself, and TCP that nobody translated, which IPVS
    /// did and does no more. A translated TCP connection finds its way to its end without any rule.
    /// </summary>
    /// <returns>How many.</returns>
    public static int Forget(IReadOnlyList<IPNetwork> ranges, IReadOnlySet<IPAddress> addresses)
    {
        var entries = new List<(byte Family, byte[] Tuple, byte[] Zone)>();
        using var netlink = new Netlink(Netlink.Netfilter, Subject);
        var error = netlink.List(NetlinkMessage.OfNetfilter(Subsystem, GetEntry, 0), entries.Clear, payload =>
        {
            var tuple = NetlinkAttributes.Find(payload[4..], OriginalTuple);
            var places = NetlinkAttributes.Find(tuple, TupleAddresses);
            var to = NetlinkAttributes.Find(places, DestinationV4);
            to = to.IsEmpty ? NetlinkAttributes.Find(places, DestinationV6) : to;
            var protocol = NetlinkAttributes.Find(NetlinkAttributes.Find(tuple, TupleProtocol), ProtocolNumber);
            var status = NetlinkAttributes.Find(payload[4..], Status);
            if (to.Length is not (4 or 16)
                || (protocol is [Tcp] && status.Length == 4 && (BinaryPrimitives.ReadUInt32BigEndian(status) & Translated) != 0))
            {
                return;
            }

            var address = new IPAddress(to);
            if (addresses.Contains(address) || ranges.Any(r => r.Contains(address)))
            {
                entries.Add((payload[0], tuple.ToArray(), NetlinkAttributes.Find(payload[4..], Zone).ToArray()));
            }
        });
        if (error is Libc.Invalid or Libc.NotSupported or Libc.NotFound)
        {
            // A kernel that tells nobody.
            return 0;
        }

        if (error != 0)
        {
            throw new MachineException("list connections", Libc.Error(error));
        }

        foreach (var some in entries.Chunk(AtOnce))
        {
            using var messages = new MemoryStream();
            var (first, last) = (0u, 0u);
            foreach (var (family, tuple, zone) in some)
            {
                last = netlink.NextSequence();
                first = first == 0 ? last : first;
                var message = NetlinkMessage.OfNetfilter(Subsystem, DeleteEntry, family).Bytes(OriginalTuple | 0x8000, tuple);
                messages.Write((zone.Length == 0 ? message : message.Bytes(Zone, zone)).Finish(Netlink.Request | Netlink.Acknowledge, last));
            }

            var (failed, _) = netlink.Command(messages.GetBuffer().AsSpan(0, (int)messages.Length), first, last, Libc.NotFound);
            if (failed != 0)
            {
                throw new MachineException("forget connections to services", Libc.Error(failed));
            }
        }

        return entries.Count;
    }
}
