using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace NodeAgent.Machine;

/// <summary>Network interfaces, by netlink (rtnetlink(7)).</summary>
internal static class Interfaces
{
    private const int GetAddress = 22;
    private const int NewLink = 16;
    private const int DeleteLink = 17;
    private const int GetLink = 18;
    private const int LinkName = 3;
    private const int LinkMaster = 10;
    private const int LinkInfo = 18;
    private const int InfoKind = 1;
    // IFF_UP
    private const uint Up = 1;
    // struct ifinfomsg: family, type, index, flags, which flags are meant.
    private const int LinkBytes = 16;
    private const string Subject = "network interfaces";
    private const int AddressAttribute = 1;
    private const int LocalAddress = 2;

    /// <summary>All there are, by name.</summary>
    public static IReadOnlyList<InterfaceReport> List()
    {
        var found = new List<(uint Index, string Name, string Kind, uint Master, bool IsUp)>();
        using var netlink = new Netlink(Netlink.Route, Subject);
        var error = netlink.List(new NetlinkMessage(GetLink, new byte[LinkBytes]), found.Clear, payload =>
        {
            var attributes = payload[LinkBytes..];
            var master = NetlinkAttributes.Find(attributes, LinkMaster);
            found.Add((
                BinaryPrimitives.ReadUInt32LittleEndian(payload[4..]),
                Text(NetlinkAttributes.Find(attributes, LinkName)),
                Text(NetlinkAttributes.Find(NetlinkAttributes.Find(attributes, LinkInfo), InfoKind)),
                master.Length == 4 ? BinaryPrimitives.ReadUInt32LittleEndian(master) : 0,
                (BinaryPrimitives.ReadUInt32LittleEndian(payload[8..]) & Up) != 0));
        });
        if (error != 0)
        {
            throw new ProbeException(Subject, Libc.Error(error));
        }

        return [.. found.OrderBy(f => f.Name, StringComparer.Ordinal)
            .Select(f => new InterfaceReport(f.Name, f.Kind, f.Master == 0 ? null : found.Find(m => m.Index == f.Master).Name, f.IsUp))];
    }

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

    public static void TakeDown(string name)
    {
        var index = Libc.InterfaceIndex(name);
        if (index == 0)
        {
            return;
        }

        var header = new byte[LinkBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(4), index);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(12), Up);
        using var netlink = new Netlink(Netlink.Route, $"interface {name}");
        var sequence = netlink.NextSequence();
        var (error, _) = netlink.Command(
            new NetlinkMessage(NewLink, header).Finish(Netlink.Request | Netlink.Acknowledge, sequence), sequence, sequence, Libc.NoDevice);
        if (error != 0)
        {
            throw new MachineException($"take interface {name} down", Libc.Error(error));
        }
    }

    private static string Text(ReadOnlySpan<byte> value) => Encoding.UTF8.GetString(value.TrimEnd((byte)0));
}
