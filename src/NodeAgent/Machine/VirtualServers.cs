using System.Buffers.Binary;
using System.Net;

namespace NodeAgent.Machine;

/// <summary>IPVS' virtual servers, by netlink (linux/ip_vs.h): services alone, none of their destinations.</summary>
internal static class VirtualServers
{
    private const int Controller = 0x10;
    private const byte GetFamily = 3;
    private const int FamilyId = 1;
    private const int FamilyName = 2;

    private const byte DeleteService = 3;
    private const byte GetService = 4;
    private const int Service = 1;
    private const int AddressFamily = 1;
    private const int Protocol = 2;
    private const int Address = 3;
    private const int Port = 4;
    private const int Mark = 5;

    private const int AtOnce = 128;
    private const string Subject = "IPVS";

    private static readonly (int Number, string Name)[] Protocols = [(6, "tcp"), (17, "udp"), (132, "sctp")];

    public static IReadOnlyList<VirtualServer> List()
    {
        // To ask for the family by its name loads the module.
        if (!File.Exists("/proc/thread-self/net/ip_vs"))
        {
            return [];
        }

        using var netlink = new Netlink(Netlink.Generic, Subject);
        if (Family(netlink) is not { } family)
        {
            return [];
        }

        var servers = new List<VirtualServer>();
        var error = netlink.List(Message(family, GetService), servers.Clear, payload =>
        {
            if (Read(NetlinkAttributes.Find(payload[4..], Service)) is { } server)
            {
                servers.Add(server);
            }
        });
        return error == 0 ? servers : throw new ProbeException(Subject, Libc.Error(error));
    }

    public static void Remove(IReadOnlyList<VirtualServer> servers)
    {
        using var netlink = new Netlink(Netlink.Generic, Subject);
        if (Family(netlink) is not { } family)
        {
            return;
        }

        foreach (var some in servers.Chunk(AtOnce))
        {
            using var messages = new MemoryStream();
            var (first, last) = (0u, 0u);
            foreach (var server in some)
            {
                last = netlink.NextSequence();
                first = first == 0 ? last : first;
                var address = IPAddress.Parse(server.Address);
                var isIPv6 = address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6;
                var bytes = new byte[16];
                address.TryWriteBytes(bytes, out _);
                messages.Write(Message(family, DeleteService)
                    .Nested(Service, m => m.Short(AddressFamily, (ushort)(isIPv6 ? 10 : 2))
                        .Short(Protocol, (ushort)Protocols.First(p => p.Name == server.Protocol).Number)
                        .Bytes(Address, bytes)
                        .NetworkShort(Port, (ushort)server.Port))
                    .Finish(Netlink.Request | Netlink.Acknowledge, last));
            }

            // One that is gone already: ESRCH.
            var (error, of) = netlink.Command(messages.GetBuffer().AsSpan(0, (int)messages.Length), first, last, Libc.NoProcess, Libc.NotFound);
            if (error != 0)
            {
                throw new MachineException($"remove virtual server {some[(int)(of - first)]}", Libc.Error(error));
            }
        }
    }

    /// <summary>Null for one by a firewall mark, which has neither address nor port.</summary>
    private static VirtualServer? Read(ReadOnlySpan<byte> service)
    {
        var family = NetlinkAttributes.Find(service, AddressFamily);
        var protocol = NetlinkAttributes.Find(service, Protocol);
        var address = NetlinkAttributes.Find(service, Address);
        var port = NetlinkAttributes.Find(service, Port);
        if (!NetlinkAttributes.Find(service, Mark).IsEmpty || family.Length < 2 || protocol.Length < 2 || address.Length < 16 || port.Length < 2)
        {
            return null;
        }

        var number = BinaryPrimitives.ReadUInt16LittleEndian(protocol);
        var name = Array.Find(Protocols, p => p.Number == number).Name;
        var bytes = BinaryPrimitives.ReadUInt16LittleEndian(family) == 10 ? address[..16] : address[..4];
        return name is null ? null : new VirtualServer(name, new IPAddress(bytes).ToString(), BinaryPrimitives.ReadUInt16BigEndian(port));
    }

    private static ushort? Family(Netlink netlink)
    {
        ushort family = 0;
        var error = netlink.Get(
            new NetlinkMessage(Controller, [GetFamily, 1, 0, 0]).Text(FamilyName, "IPVS"),
            payload =>
            {
                var id = NetlinkAttributes.Find(payload[4..], FamilyId);
                family = id.Length < 2 ? (ushort)0 : BinaryPrimitives.ReadUInt16LittleEndian(id);
            });
        return error switch
        {
            0 when family != 0 => family,
            0 or Libc.NotFound => null,
            _ => throw new ProbeException(Subject, Libc.Error(error)),
        };
    }

    private static NetlinkMessage Message(ushort family, byte command) => new(family, [command, 1, 0, 0]);
}
