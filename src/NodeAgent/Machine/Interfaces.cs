using System.Buffers.Binary;
using System.Net;

namespace NodeAgent.Machine;

/// <summary>Network interfaces, by netlink (rtnetlink(7)).</summary>
internal static class Interfaces
{
    private const int GetAddress = 22;
    private const int DeleteLink = 17;
    private const int AddressAttribute = 1;
    private const int LocalAddress = 2;

    /// <summary>Null where there is no such interface.</summary>
    public static IReadOnlyList<string>? Addresses(string name)
    {
        var index = Libc.InterfaceIndex(name);
        if (index == 0)
        {
            return null;
        }

        var addresses = new List<string>();
        using var netlink = new Netlink(Netlink.Route, $"interface {name}");
        var error = netlink.List(new NetlinkMessage(GetAddress, new byte[8]), addresses.Clear, payload =>
        {
            // struct ifaddrmsg: family, prefix, flags, scope, index.
            if (BinaryPrimitives.ReadUInt32LittleEndian(payload[4..]) != index)
            {
                return;
            }

            var local = NetlinkAttributes.Find(payload[8..], LocalAddress);
            local = local.IsEmpty ? NetlinkAttributes.Find(payload[8..], AddressAttribute) : local;
            if (local.Length is 4 or 16)
            {
                addresses.Add(new IPAddress(local).ToString());
            }
        });
        return error == 0 ? [.. addresses.Order(StringComparer.Ordinal)] : throw new ProbeException($"interface {name}", Libc.Error(error));
    }

    public static void Remove(string name)
    {
        var index = Libc.InterfaceIndex(name);
        if (index == 0)
        {
            return;
        }

        var header = new byte[16];
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(4), index);
        using var netlink = new Netlink(Netlink.Route, $"interface {name}");
        var sequence = netlink.NextSequence();
        var (error, _) = netlink.Command(
            new NetlinkMessage(DeleteLink, header).Finish(Netlink.Request | Netlink.Acknowledge, sequence), sequence, sequence, Libc.NoDevice);
        if (error != 0)
        {
            throw new MachineException($"remove interface {name}", Libc.Error(error));
        }
    }
}
