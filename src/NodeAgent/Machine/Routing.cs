using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Text;

namespace NodeAgent.Machine;

/// <summary>Rules by which the kernel chooses a table of routes, and routes, by netlink (rtnetlink(7), linux/fib_rules.h), of IPv4 and IPv6.</summary>
internal static class Routing
{
    private const int DeleteRoute = 25;
    private const int GetRoute = 26;
    private const int DeleteRule = 33;
    private const int GetRule = 34;

    // struct rtmsg and struct fib_rule_hdr have the same length, and the same in their first five bytes: family, lengths of destination and source, tos, table.
    private const int HeaderBytes = 12;
    private const int Protocol = 5;
    private const int Kind = 7;
    private const int Flags = 8;

    private const int Destination = 1;
    private const int RuleSource = 2;
    private const int RuleInterface = 3;
    private const int RulePriority = 6;
    private const int RuleMark = 10;
    private const int RuleMask = 16;
    private const int RouteGateway = 5;
    private const int Table = 15;

    // FR_ACT_TO_TBL; FIB_RULE_PERMANENT, of the kernel's own, and FIB_RULE_IIF_DETACHED, whose interface is gone.
    private const byte ToTable = 1;
    private const uint Harmless = 0x1 | 0x8;

    // What the kernel says of every rule: how short prefixes are suppressed (none by itself, -1), and who made it. And users, where it is not for all.
    private const int RuleSuppressed = 14;
    private const int RulePadding = 18;
    private const int RuleUsers = 20;
    private const int RuleProtocol = 21;

    // RTM_F_CLONED: what IPv6 remembers of a route, and no route.
    private const uint Cloned = 0x200;

    private const string Subject = "routing";

    private delegate bool Chooser(ReadOnlySpan<byte> payload);

    /// <summary>In the kernel's order: by priority, IPv4 first.</summary>
    public static IReadOnlyList<RoutingRule> Rules()
    {
        var rules = new List<RoutingRule>();
        using var netlink = new Netlink(Netlink.Route, Subject);
        var error = netlink.List(new NetlinkMessage(GetRule, new byte[HeaderBytes]), rules.Clear, payload =>
        {
            if (ReadRule(payload) is { } rule)
            {
                rules.Add(rule);
            }
        });
        return error switch
        {
            0 => rules,
            // A kernel without them.
            Libc.NotSupported => [],
            _ => throw new ProbeException(Subject, Libc.Error(error)),
        };
    }

    /// <param name="protocol">Who made them, as rtnetlink(7) numbers it.</param>
    public static IReadOnlyList<RouteReport> Routes(int protocol)
    {
        var routes = new List<RouteReport>();
        using var netlink = new Netlink(Netlink.Route, Subject);
        var error = netlink.List(new NetlinkMessage(GetRoute, new byte[HeaderBytes]), routes.Clear, payload =>
        {
            if (ReadRoute(payload) is { } route && route.Protocol == protocol)
            {
                routes.Add(route);
            }
        });
        return error == 0
            ? [.. routes.OrderBy(r => r.Family, StringComparer.Ordinal).ThenBy(r => r.Destination, StringComparer.Ordinal)]
            : throw new ProbeException(Subject, Libc.Error(error));
    }

    public static void RemoveRules(IReadOnlyList<RoutingRule> rules) =>
        Remove(GetRule, DeleteRule, "remove routing rules", payload => ReadRule(payload) is { } rule && rules.Contains(rule));

    public static void RemoveRoutes(IReadOnlyList<RouteReport> routes) =>
        Remove(GetRoute, DeleteRoute, "remove routes", payload => ReadRoute(payload) is { } route && routes.Contains(route));

    /// <summary>As ip-rule(8) and ip-route(8) flush: what the kernel tells is told back to it, with another verb.</summary>
    private static void Remove(int list, int delete, string what, Chooser isMeant)
    {
        using var netlink = new Netlink(Netlink.Route, Subject);
        var meant = new List<byte[]>();
        var failure = netlink.List(new NetlinkMessage(list, new byte[HeaderBytes]), meant.Clear, payload =>
        {
            if (isMeant(payload))
            {
                meant.Add(payload.ToArray());
            }
        });
        if (failure != 0)
        {
            throw new MachineException(what, Libc.Error(failure));
        }

        foreach (var message in meant)
        {
            var sequence = netlink.NextSequence();
            // One that is gone already: ENOENT of a rule, ESRCH of a route.
            var (error, _) = netlink.Command(
                new NetlinkMessage(delete, message).Finish(Netlink.Request | Netlink.Acknowledge, sequence), sequence, sequence, Libc.NotFound, Libc.NoProcess);
            if (error != 0)
            {
                throw new MachineException(what, Libc.Error(error));
            }
        }
    }

    private static RoutingRule? ReadRule(ReadOnlySpan<byte> payload)
    {
        if (FamilyOf(payload[0]) is not { } family)
        {
            return null;
        }

        var attributes = payload[HeaderBytes..];
        return new(
            family,
            Number(attributes, RulePriority) ?? 0,
            Range(NetlinkAttributes.Find(attributes, RuleSource), payload[2]),
            Range(NetlinkAttributes.Find(attributes, Destination), payload[1]),
            Text(NetlinkAttributes.Find(attributes, RuleInterface)),
            Number(attributes, RuleMark) ?? 0,
            Number(attributes, RuleMask) ?? 0,
            Number(attributes, Table) ?? payload[4])
        {
            SaysMore = payload[3] != 0 || payload[Kind] != ToTable || (BinaryPrimitives.ReadUInt32LittleEndian(payload[Flags..]) & ~Harmless) != 0
                || HasMore(attributes),
        };
    }

    // What a later kernel may say is not known here, and may be what matters.
    private static bool HasMore(ReadOnlySpan<byte> bytes)
    {
        var attributes = new NetlinkAttributes(bytes);
        while (attributes.Next())
        {
            var isKnown = attributes.Type switch
            {
                Destination or RuleSource or RuleInterface or RulePriority or RuleMark or RuleMask or Table or RulePadding or RuleProtocol => true,
                RuleSuppressed => attributes.Value.SequenceEqual<byte>([0xFF, 0xFF, 0xFF, 0xFF]),
                RuleUsers => attributes.Value.SequenceEqual<byte>([0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
                _ => false,
            };
            if (!isKnown)
            {
                return true;
            }
        }

        return false;
    }

    private static RouteReport? ReadRoute(ReadOnlySpan<byte> payload)
    {
        if (FamilyOf(payload[0]) is not { } family || (BinaryPrimitives.ReadUInt32LittleEndian(payload[Flags..]) & Cloned) != 0)
        {
            return null;
        }

        var attributes = payload[HeaderBytes..];
        var gateway = NetlinkAttributes.Find(attributes, RouteGateway);
        return new(
            family,
            payload[Protocol],
            Number(attributes, Table) ?? payload[4],
            payload[Kind] switch { 1 => "unicast", 2 => "local", 6 => "blackhole", 7 => "unreachable", 8 => "prohibit", _ => "other" },
            Range(NetlinkAttributes.Find(attributes, Destination), payload[1]) ?? "default",
            gateway.Length is 4 or 16 ? new IPAddress(gateway).ToString() : null);
    }

    private static long? Number(ReadOnlySpan<byte> attributes, int type)
    {
        var value = NetlinkAttributes.Find(attributes, type);
        return value.Length == 4 ? BinaryPrimitives.ReadUInt32LittleEndian(value) : null;
    }

    // Of rules, the kernel keeps bits beyond the prefix as they were said.
    private static string? Range(ReadOnlySpan<byte> address, byte prefix) =>
        address.Length is 4 or 16 ? string.Create(CultureInfo.InvariantCulture, $"{new IPAddress(address)}/{prefix}") : null;

    private static string? Text(ReadOnlySpan<byte> value) => value.IsEmpty ? null : Encoding.UTF8.GetString(value.TrimEnd((byte)0));

    private static string? FamilyOf(byte family) => family switch { 2 => "ip", 10 => "ip6", _ => null };
}
