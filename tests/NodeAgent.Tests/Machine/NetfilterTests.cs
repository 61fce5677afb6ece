using System.Buffers.Binary;
using System.Net;
using System.Runtime.InteropServices;
using NodeAgent.Machine;

namespace NodeAgent.Tests.Machine;

/// <summary>
/// Against the real kernel, each in a network namespace of its own. Without the right to make one there is nothing to be tried, and that is a failure, unless
/// NODEAGENT_TESTS_WITHOUT_NAMESPACES is set.
/// </summary>
public partial class NetfilterTests
{
    private const int Subsystem = 10;
    private const int Create = 0x400;
    private const int Append = 0x800;

    [Fact]
    public void Chains_are_named_and_those_with_a_hash_counted() => InNamespace(() =>
    {
        Iptables();

        var tables = NfTables.Chains("KUBE-");

        tables.Select(t => $"{t.Backend} {t.Family} {t.Table}: {string.Join(' ', t.Chains)} {string.Join(' ', t.Hashed.Select(h => $"{h.Key}={h.Value}"))}")
            .ShouldBe(
        [
            "nft ip filter: KUBE-FIREWALL ",
            "nft ip nat: KUBE-MARK-MASQ KUBE-SERVICES KUBE-SVC-short KUBE-POD-FW-=1 KUBE-SEP-=2 KUBE-SVC-=1",
            "nft ip6 nat: KUBE-SERVICES ",
        ]);
        NfTables.Tables().ShouldBe(["ip filter", "ip kube-proxy", "ip nat", "ip6 nat"]);
        NfTables.Chains("CALI").ShouldBeEmpty();
    });

    [Fact]
    public void Chains_go_with_what_leads_to_them_and_nothing_else_does() => InNamespace(() =>
    {
        Iptables();

        NfTables.Remove(Removal("ip", ["KUBE-SERVICES"], ["KUBE-SVC-", "KUBE-SEP-"]));

        NfTables.Chains("").Single(t => t is { Family: "ip", Table: "nat" })
            .Chains.ShouldBe(["DOCKER", "KUBE-MARK-MASQ", "KUBE-SVC-short", "OUTPUT", "PREROUTING"]);
        Rules("ip", "nat", "PREROUTING").ShouldBe(1);
        Rules("ip", "nat", "OUTPUT").ShouldBe(0);
        Rules("ip", "nat", "KUBE-MARK-MASQ").ShouldBe(1);
        // The other family's, and another table's.
        NfTables.Chains("KUBE-").Count.ShouldBe(3);
        // Once more: there is nothing to do.
        NfTables.Remove(Removal("ip", ["KUBE-SERVICES"], ["KUBE-SVC-", "KUBE-SEP-"]));
    });

    [Fact]
    public void Where_somebody_else_uses_a_chain_it_is_named_and_all_stay() => InNamespace(() =>
    {
        Iptables();
        Batch(b => b.Add(6, Create | Append, Jump("nat", "DOCKER", "KUBE-SEP-BBBBBBBBBBBBBBBB")));
        var before = Names();

        var failure = Should.Throw<MachineException>(() => NfTables.Remove(Removal("ip", ["KUBE-SERVICES"], ["KUBE-SVC-", "KUBE-SEP-"])));

        failure.Message.ShouldContain("KUBE-SEP-BBBBBBBBBBBBBBBB is still used by a rule that is somebody else's");
        Names().ShouldBe(before);
        Rules("ip", "nat", "PREROUTING").ShouldBe(2);
    });

    [Fact]
    public void A_table_goes_with_what_is_in_it() => InNamespace(() =>
    {
        Iptables();

        NfTables.RemoveTable("ip", "kube-proxy");
        NfTables.RemoveTable("ip", "kube-proxy");

        NfTables.Tables().ShouldBe(["ip filter", "ip nat", "ip6 nat"]);
    });

    [Fact]
    public void Thousands_of_chains_go_in_one_transaction() => InNamespace(() =>
    {
        const int Count = 3000;
        Batch(b =>
        {
            b.Add(0, Create, Message("ip").Text(1, "nat"));
            b.Add(3, Create, Message("ip").Text(1, "nat").Text(3, "KUBE-SERVICES"));
            for (var i = 0; i < Count; i++)
            {
                b.Add(3, Create, Message("ip").Text(1, "nat").Text(3, Hashed(i)));
                b.Add(6, Create | Append, Jump("nat", "KUBE-SERVICES", Hashed(i)));
            }
        });
        NfTables.Chains("KUBE-").ShouldHaveSingleItem().Hashed["KUBE-SVC-"].ShouldBe(Count);

        NfTables.Remove(Removal("ip", ["KUBE-SERVICES"], ["KUBE-SVC-"]));

        NfTables.Chains("KUBE-").ShouldBeEmpty();
    });

    [Fact]
    public void Sets_are_named_their_ports_read_and_they_go() => InNamespace(() =>
    {
        Set(2, "KUBE-NODE-PORT-TCP", m => m.Text(3, "bitmap:port").Byte(4, 1).Byte(5, 0).Nested(7, d => Port(Port(d, 4, 0), 5, 65535)));
        Set(9, "KUBE-NODE-PORT-TCP", m => m.Nested(7, d => Port(d, 4, 30080)));
        Set(9, "KUBE-NODE-PORT-TCP", m => m.Nested(7, d => Port(d, 4, 443)));
        Set(2, "mine", m => m.Text(3, "hash:ip").Byte(4, 1).Byte(5, 2).Nested(7, _ => { }));

        IpSets.Names().ShouldBe(["KUBE-NODE-PORT-TCP", "mine"]);
        IpSets.Ports("KUBE-NODE-PORT-TCP").ShouldBe([443, 30080]);
        IpSets.Ports("not-there").ShouldBeEmpty();
        IpSets.Remove(["KUBE-NODE-PORT-TCP", "not-there"], CancellationToken.None);

        IpSets.Names().ShouldBe(["mine"]);
    });

    [Fact]
    public void A_set_goes_right_after_the_rule_that_used_it() => InNamespace(() =>
    {
        // The first one of a namespace has the index 0.
        Set(2, "KUBE-CLUSTER-IP", m => m.Text(3, "hash:ip").Byte(4, 1).Byte(5, 2).Nested(7, _ => { }));
        var error = 0;
        Batch(
            b =>
            {
                b.Add(0, Create, Message("ip").Text(1, "nat"));
                b.Add(3, Create, Message("ip").Text(1, "nat").Text(3, "KUBE-SERVICES"));
                for (var i = 0; i < 50; i++)
                {
                    b.Add(3, Create, Message("ip").Text(1, "nat").Text(3, Hashed(i)));
                    b.Add(6, Create | Append, MatchOfSet("nat", Hashed(i)));
                }
            },
            e => error = e);
        if (error == Libc.NotFound)
        {
            // A kernel without xt_set.
            return;
        }

        error.ShouldBe(0);
        NfTables.Remove(Removal("ip", ["KUBE-SERVICES"], ["KUBE-SVC-"]));
        IpSets.Remove(["KUBE-CLUSTER-IP"], CancellationToken.None);

        IpSets.Names().ShouldBeEmpty();
    });

    [Fact]
    public void An_interface_has_addresses_or_is_not_there() => InNamespace(() =>
    {
        Interfaces.Addresses("lo").ShouldNotBeNull().ShouldBeEmpty();
        Interfaces.Addresses("kube-ipvs0").ShouldBeNull();
        using (var netlink = new Netlink(Netlink.Route, "test"))
        {
            var sequence = netlink.NextSequence();
            var link = new NetlinkMessage(16, new byte[16]).Text(3, "kube-ipvs0").Nested(18, i => i.Text(1, "bridge"));
            netlink.Command(link.Finish(Netlink.Request | Netlink.Acknowledge | Create, sequence), sequence, sequence).Error.ShouldBe(0);
            var address = new byte[8];
            (address[0], address[1]) = (2, 32);
            BinaryPrimitives.WriteUInt32LittleEndian(address.AsSpan(4), Libc.InterfaceIndex("kube-ipvs0"));
            sequence = netlink.NextSequence();
            netlink.Command(
                new NetlinkMessage(20, address).Bytes(2, [10, 96, 0, 1]).Finish(Netlink.Request | Netlink.Acknowledge | Create, sequence),
                sequence,
                sequence).Error.ShouldBe(0);
        }

        Interfaces.Addresses("kube-ipvs0").ShouldBe(["10.96.0.1"]);
        // By this, addresses of this machine are known.
        Routing.Routes(2).ShouldContain(new RouteReport("ip", 2, 255, "local", "10.96.0.1/32", null));
        Interfaces.Remove("kube-ipvs0");
        Interfaces.Remove("kube-ipvs0");

        Interfaces.Addresses("kube-ipvs0").ShouldBeNull();
    });

    [Fact]
    public void Chains_go_by_what_they_begin_with_and_rules_by_their_comment() => InNamespace(() =>
    {
        Batch(b =>
        {
            b.Add(0, Create, Message("ip").Text(1, "nat"));
            var hook = Message("ip").Text(1, "nat").Text(3, "PREROUTING");
            b.Add(3, Create, hook.Nested(4, h => h.NetworkInteger(1, 0).NetworkInteger(2, unchecked((uint)-100))).Text(7, "nat"));
            foreach (var chain in (string[])["cali-PREROUTING", "cali-pri-ABCDEFGHIJKLMNOP", "calico-mine", "theirs"])
            {
                b.Add(3, Create, Message("ip").Text(1, "nat").Text(3, chain));
            }

            b.Add(6, Create | Append, Jump("nat", "PREROUTING", "cali-PREROUTING"));
            b.Add(6, Create | Append, Jump("nat", "cali-PREROUTING", "cali-pri-ABCDEFGHIJKLMNOP"));
            // As iptables-nft has a comment: beside the rule, a byte for what it is and one for its length before it.
            b.Add(6, Create | Append, Jump("nat", "PREROUTING", "theirs").Bytes(7, [0, 8, .. "cali:ab\0"u8]));
            b.Add(6, Create | Append, Jump("nat", "PREROUTING", "theirs").Bytes(7, [0, 5, .. "mine\0"u8]));
        });

        var removal = new ChainRemoval(ChainTable.Nft, "ip", "nat", new HashSet<string>(), new HashSet<string>(), new HashSet<string>())
        {
            Prefixes = ["cali-"],
            Comments = ["cali:"],
        };
        NfTables.Remove(removal);
        NfTables.Remove(removal);

        NfTables.Chains("").ShouldHaveSingleItem().Chains.ShouldBe(["PREROUTING", "calico-mine", "theirs"]);
        Rules("ip", "nat", "PREROUTING").ShouldBe(1);
    });

    [Fact]
    public void Interfaces_are_told_with_kind_and_bridge_and_taken_down() => InNamespace(() =>
    {
        Ask(16, new byte[16], m => m.Text(3, "cni0").Nested(18, i => i.Text(1, "bridge")));
        // IFF_UP, and that it is what is meant.
        var up = new byte[16];
        BinaryPrimitives.WriteUInt32LittleEndian(up.AsSpan(4), Libc.InterfaceIndex("cni0"));
        (up[8], up[12]) = (1, 1);
        Ask(16, up, m => m);

        Interfaces.List().Where(i => i.Name is "lo" or "cni0").ShouldBe(
            [new InterfaceReport("cni0", "bridge", null, true), new InterfaceReport("lo", "", null, false)]);
        Interfaces.TakeDown("cni0");
        Interfaces.TakeDown("not-there");

        Interfaces.List().Single(i => i.Name == "cni0").IsUp.ShouldBeFalse();
    });

    [Fact]
    public void Rules_of_routing_are_told_and_go_one_by_one() => InNamespace(() =>
    {
        // FR_ACT_TO_TBL, table main.
        byte[] header = [2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        Ask(32, header, m => Number(Number(Number(m, 6, 1024), 10, 0x80), 16, 0x80));
        Ask(32, [2, 32, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0], m => Number(m.Bytes(1, [10, 0, 1, 77]), 6, 512));

        var rules = Routing.Rules();
        rules.ShouldContain(new RoutingRule("ip", 0, null, null, null, 0, 0, 255));
        var ours = rules.Where(r => r.Priority is 512 or 1024).ToList();
        ours[0].ShouldBe(new RoutingRule("ip", 512, null, "10.0.1.77/32", null, 0, 0, 254));
        ours[1].ShouldBe(new RoutingRule("ip", 1024, null, null, null, 0x80, 0x80, 254));
        ours.Count.ShouldBe(2);
        Routing.RemoveRules([ours[1]]);
        Routing.RemoveRules([ours[1]]);

        Routing.Rules().Count.ShouldBe(rules.Count - 1);
        Routing.Rules().ShouldContain(ours[0]);
    });

    [Fact]
    public void Rules_of_routing_that_say_more_than_is_read_of_them_are_told_apart() => InNamespace(() =>
    {
        Ask(32, [2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0], m => Number(m, 6, 100));
        // FIB_RULE_INVERT; FR_ACT_UNREACHABLE; a suppressed length of prefixes; one user, root.
        Ask(32, [2, 32, 0, 0, 254, 0, 0, 1, 2, 0, 0, 0], m => Number(m.Bytes(1, [10, 0, 1, 77]), 6, 101));
        Ask(32, [2, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0], m => Number(m, 6, 102));
        Ask(32, [2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0], m => Number(Number(m, 6, 103), 14, 0));
        Ask(32, [2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0], m => Number(m.Bytes(20, new byte[8]), 6, 104));

        Routing.Rules().Where(r => r.Priority is >= 100 and <= 104).Select(r => (r.Priority, r.SaysMore))
            .ShouldBe([(100L, false), (101L, true), (102L, true), (103L, true), (104L, true)]);
        Routing.Rules().Single(r => r is { Priority: 0, Family: "ip" }).SaysMore.ShouldBeFalse();
    });

    [Fact]
    public void Routes_are_told_by_who_made_them_and_go_one_by_one() => InNamespace(() =>
    {
        // RT_TABLE_MAIN, RTN_BLACKHOLE.
        Ask(24, [2, 26, 0, 0, 254, 80, 0, 6, 0, 0, 0, 0], m => m.Bytes(1, [10, 244, 3, 64]));
        Ask(24, [2, 24, 0, 0, 254, 80, 0, 6, 0, 0, 0, 0], m => m.Bytes(1, [192, 0, 2, 0]));
        Ask(24, [2, 26, 0, 0, 254, 12, 0, 6, 0, 0, 0, 0], m => m.Bytes(1, [10, 244, 5, 0]));

        var routes = Routing.Routes(80);
        routes[0].ShouldBe(new RouteReport("ip", 80, 254, "blackhole", "10.244.3.64/26", null));
        routes[1].ShouldBe(new RouteReport("ip", 80, 254, "blackhole", "192.0.2.0/24", null));
        routes.Count.ShouldBe(2);
        Routing.RemoveRoutes([routes[0]]);
        Routing.RemoveRoutes([routes[0]]);

        Routing.Routes(80).ShouldHaveSingleItem().ShouldBe(routes[1]);
        Routing.Routes(12).Count.ShouldBe(1);
    });

    [Fact]
    public void Connections_to_services_are_forgotten_and_others_are_not() => InNamespace(() =>
    {
        // UDP to a service and to somewhere else; TCP that nobody translated, as IPVS has it, to a service and to an address that was one.
        Connection(17, "10.96.0.10", 53);
        Connection(17, "192.0.2.1", 53);
        Connection(6, "10.96.0.1", 443);
        Connection(6, "198.51.100.7", 443);

        Connections.Forget([IPNetwork.Parse("10.96.0.0/12")], new HashSet<IPAddress> { IPAddress.Parse("198.51.100.7") }).ShouldBe(3);
        Connections.Forget([IPNetwork.Parse("10.96.0.0/12")], new HashSet<IPAddress>()).ShouldBe(0);
        Connections.Forget([IPNetwork.Parse("0.0.0.0/0")], new HashSet<IPAddress>()).ShouldBe(1);
    });

    [Fact]
    public void A_table_of_the_older_iptables_that_is_not_there_is_not_asked_for() => InNamespace(() =>
        new LegacyIptables(new ProcessRunner(CancellationToken.None)).Remove(
            new ChainRemoval(ChainTable.Legacy, "ip", "not-there", new HashSet<string>(), new HashSet<string>(), new HashSet<string>())));

    [Fact]
    public void Chains_of_the_older_iptables_are_named_and_go_where_it_is_installed() => InNamespace(() =>
    {
        var runner = new ProcessRunner(CancellationToken.None);
        var iptables = new LegacyIptables(runner);
        // To look makes no table.
        iptables.Chains("KUBE-").ShouldBeEmpty();
        if (ProcessRunner.Find("iptables-legacy-restore") is null)
        {
            return;
        }

        string[][] commands =
        [
            ["-N", "KUBE-SERVICES"], ["-N", "KUBE-SVC-AAAAAAAAAAAAAAAA"], ["-N", "KUBE-POSTROUTING"], ["-N", "theirs"],
            ["-A", "PREROUTING", "-m", "comment", "--comment", "kubernetes service portals", "-j", "KUBE-SERVICES"],
            ["-A", "PREROUTING", "-d", "192.0.2.98", "-j", "theirs"],
            ["-A", "KUBE-SERVICES", "-d", "10.96.0.1", "-j", "KUBE-SVC-AAAAAAAAAAAAAAAA"], ["-A", "KUBE-POSTROUTING", "-j", "KUBE-SVC-AAAAAAAAAAAAAAAA"],
            ["-A", "KUBE-POSTROUTING", "-j", "RETURN"],
        ];
        foreach (var command in commands)
        {
            runner.Run(["iptables-legacy", "-t", "nat", .. command]).Failure.ShouldBeNull();
        }

        iptables.Chains("KUBE-").ShouldHaveSingleItem().Chains.ShouldBe(["KUBE-POSTROUTING", "KUBE-SERVICES"]);

        var removal = new ChainRemoval(
            ChainTable.Legacy,
            "ip",
            "nat",
            new HashSet<string> { "KUBE-SERVICES" },
            new HashSet<string> { "KUBE-SVC-" },
            new HashSet<string> { "KUBE-POSTROUTING" });
        iptables.Remove(removal);
        iptables.Remove(removal);

        var rules = runner.Run(["iptables-legacy", "-t", "nat", "-S"]).Output;
        rules.ShouldContain("-A PREROUTING -d 192.0.2.98/32 -j theirs\n-A KUBE-POSTROUTING -j RETURN\n");
        rules.ShouldNotContain("KUBE-S");
    });

    [Theory]
    [InlineData("-A KUBE-SVC-AAAAAAAAAAAAAAAA -j KUBE-SEP-AAAAAAAAAAAAAAAA", null)]
    [InlineData("-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES", null)]
    [InlineData("-A KUBE-POSTROUTING -g KUBE-SERVICES", null)]
    [InlineData("-A theirs -m comment --comment KUBE-SERVICES -j RETURN", null)]
    [InlineData("-A theirs -d 192.0.2.1/32 -j KUBE-SVC-AAAAAAAAAAAAAAAA", "KUBE-SVC-AAAAAAAAAAAAAAAA is still used by theirs")]
    public void A_rule_of_the_older_iptables_that_stays_and_leads_to_what_goes_is_named(string rule, string? user)
    {
        var exchange = new LegacyExchange(new ChainRemoval(
            ChainTable.Legacy,
            "ip",
            "nat",
            new HashSet<string> { "KUBE-SERVICES" },
            new HashSet<string> { "KUBE-SVC-", "KUBE-SEP-" },
            new HashSet<string> { "KUBE-POSTROUTING" }));
        string[] chains = ["KUBE-SERVICES", "KUBE-SVC-AAAAAAAAAAAAAAAA", "KUBE-SEP-AAAAAAAAAAAAAAAA", "KUBE-POSTROUTING", "theirs"];
        string[] lines = ["*nat", ":PREROUTING ACCEPT [0:0]", .. chains.Select(c => $":{c} - [0:0]"), rule, "COMMIT"];
        foreach (var line in lines)
        {
            exchange.Read(line);
        }

        exchange.User.ShouldBe(user);
        exchange.Input().ShouldNotBeNull().ShouldContain("-X KUBE-SERVICES\n");
    }

    [Fact]
    public void A_protocol_of_netlink_that_the_kernel_has_not_is_no_failure()
    {
        Netlink.IsThere(Netlink.Route).ShouldBeTrue();
        // Below MAX_LINKS, and nobody's.
        Netlink.IsThere(31).ShouldBeFalse();
    }

    [Fact]
    public void A_process_is_found_by_its_name()
    {
        var name = File.ReadAllText("/proc/self/comm").TrimEnd('\n');

        Processes.Named(name).ShouldContain(p => p.Id == Environment.ProcessId && p.Arguments.Count > 0);
        Processes.Named("no-such-process").ShouldBeEmpty();
    }

    [Theory]
    [InlineData("KUBE-SVC-ABCDEFGHIJKLMNOP", "KUBE-SVC-")]
    [InlineData("KUBE-SEP-234567ABCDEFGHIJ", "KUBE-SEP-")]
    [InlineData("KUBE-SVC-ABCDEFGHIJKLMN01", null)]
    [InlineData("KUBE-EXTERNAL-SERVICES", null)]
    [InlineData("KUBE-PORTALS-CONTAINER", null)]
    [InlineData("ABCDEFGHIJKLMNOP", null)]
    public void A_hash_is_sixteen_characters_of_base_32(string name, string? prefix) => ChainTable.PrefixOf(name).ShouldBe(prefix);

    [LibraryImport("libc", EntryPoint = "unshare", SetLastError = true)]
    private static partial int Unshare(int flags);

    internal static void InNamespace(Action test)
    {
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                // CLONE_NEWNET
                if (Unshare(0x40000000) == 0)
                {
                    test();
                }
                else if (Environment.GetEnvironmentVariable("NODEAGENT_TESTS_WITHOUT_NAMESPACES") is not { Length: > 0 })
                {
                    throw new InvalidOperationException(
                        $"unshare of a network namespace: {Libc.LastError()}; nothing was tried. Run the tests as root (CAP_SYS_ADMIN), or set "
                            + "NODEAGENT_TESTS_WITHOUT_NAMESPACES=1 to go without these");
                }
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        thread.Start();
        thread.Join();
        if (failure is not null)
        {
            throw new InvalidOperationException(failure.Message, failure);
        }
    }

    /// <summary>A service of one port with two endpoints, as iptables-nft has it, with what is somebody else's beside it.</summary>
    private static void Iptables() => Batch(b =>
    {
        foreach (var (family, table) in new[] { ("ip", "nat"), ("ip", "filter"), ("ip", "kube-proxy"), ("ip6", "nat") })
        {
            b.Add(0, Create, Message(family).Text(1, table));
        }

        b.Add(
            3,
            Create,
            Message("ip").Text(1, "nat").Text(3, "PREROUTING").Nested(4, h => h.NetworkInteger(1, 0).NetworkInteger(2, unchecked((uint)-100))).Text(7, "nat"));
        b.Add(
            3,
            Create,
            Message("ip").Text(1, "nat").Text(3, "OUTPUT").Nested(4, h => h.NetworkInteger(1, 3).NetworkInteger(2, unchecked((uint)-100))).Text(7, "nat"));
        string[] chains =
            ["DOCKER", "KUBE-SERVICES", "KUBE-MARK-MASQ", "KUBE-SVC-AAAAAAAAAAAAAAAA", "KUBE-SEP-AAAAAAAAAAAAAAAA", "KUBE-SEP-BBBBBBBBBBBBBBBB",
                "KUBE-POD-FW-AAAAAAAAAAAAAAAA", "KUBE-SVC-short"];
        foreach (var chain in chains)
        {
            b.Add(3, Create, Message("ip").Text(1, "nat").Text(3, chain));
        }

        b.Add(3, Create, Message("ip").Text(1, "filter").Text(3, "KUBE-FIREWALL"));
        b.Add(3, Create, Message("ip").Text(1, "kube-proxy").Text(3, "services"));
        b.Add(3, Create, Message("ip6").Text(1, "nat").Text(3, "KUBE-SERVICES"));
        foreach (var (chain, target) in new[]
        {
            ("PREROUTING", "KUBE-SERVICES"), ("PREROUTING", "DOCKER"), ("OUTPUT", "KUBE-SERVICES"), ("KUBE-SERVICES", "KUBE-SVC-AAAAAAAAAAAAAAAA"),
            ("KUBE-SVC-AAAAAAAAAAAAAAAA", "KUBE-SEP-AAAAAAAAAAAAAAAA"),
            ("KUBE-SVC-AAAAAAAAAAAAAAAA", "KUBE-SEP-BBBBBBBBBBBBBBBB"), ("KUBE-SEP-AAAAAAAAAAAAAAAA", "KUBE-MARK-MASQ"), ("KUBE-MARK-MASQ", "DOCKER"),
        })
        {
            b.Add(6, Create | Append, Jump("nat", chain, target));
        }
    });

    private static string Hashed(int number) =>
        "KUBE-SVC-" + string.Create(16, number, (span, n) =>
        {
            for (var i = 0; i < span.Length; i++, n /= 26)
            {
                span[i] = (char)('A' + (n % 26));
            }
        });

    private static ChainRemoval Removal(string family, HashSet<string> chains, HashSet<string> hashed) =>
        new(ChainTable.Nft, family, "nat", chains, hashed, new HashSet<string>());

    private static IReadOnlyList<string> Names() =>
        [.. NfTables.Chains("").SelectMany(t => t.Chains.Concat(t.Hashed.Select(h => $"{h.Key}{h.Value}")).Select(c => $"{t.Family} {t.Table} {c}"))];

    private static NetlinkMessage Message(string family) => new(0, [family == "ip" ? (byte)2 : (byte)10, 0, 0, 0]);

    private static NetlinkMessage Jump(string table, string chain, string target) => Message("ip").Text(1, table).Text(2, chain)
        .Nested(4, list => list.Nested(1, expression => expression
        .Text(1, "immediate")
        .Nested(
            2,
            data => data.NetworkInteger(1, 0).Nested(2, value => value.Nested(2, verdict => verdict.NetworkInteger(1, unchecked((uint)-3)).Text(2, target))))));

    /// <summary>As iptables-nft has "-m set": struct xt_set_info_match_v1 with index 0 and one dimension, as long as the kernel aligns it.</summary>
    private static NetlinkMessage MatchOfSet(string table, string chain) => Message("ip").Text(1, table).Text(2, chain)
        .Nested(4, list => list.Nested(1, expression => expression
        .Text(1, "match")
        .Nested(2, data => data.Text(1, "set").NetworkInteger(2, 1).Bytes(3, [0, 0, 1, 0, 0, 0, 0, 0]))));

    private static int Rules(string family, string table, string chain)
    {
        var count = 0;
        using var netlink = new Netlink(Netlink.Netfilter, "test");
        netlink.List(NetlinkMessage.OfNetfilter(Subsystem, 7, family == "ip" ? (byte)2 : (byte)10).Text(1, table).Text(2, chain), () => count = 0, _ => count++)
            .ShouldBe(0);
        return count;
    }

    private static void Batch(Action<Commands> fill) => Batch(fill, error => error.ShouldBe(0));

    private static void Batch(Action<Commands> fill, Action<int> answered)
    {
        using var netlink = new Netlink(Netlink.Netfilter, "test");
        var commands = new Commands(netlink);
        fill(commands);
        answered(commands.Commit());
    }

    private static NetlinkMessage Number(NetlinkMessage message, int attribute, uint value) => message.Bytes(attribute, BitConverter.GetBytes(value));

    private static void Ask(int command, byte[] header, Func<NetlinkMessage, NetlinkMessage> more)
    {
        using var netlink = new Netlink(Netlink.Route, "test");
        var sequence = netlink.NextSequence();
        var message = more(new NetlinkMessage(command, header));
        netlink.Command(message.Finish(Netlink.Request | Netlink.Acknowledge | Create, sequence), sequence, sequence).Error.ShouldBe(0);
    }

    private static NetlinkMessage Port(NetlinkMessage message, int attribute, ushort port) => message.NetworkShort(attribute | 0x4000, port);

    private static void Set(int command, string name, Action<NetlinkMessage> more)
    {
        using var netlink = new Netlink(Netlink.Netfilter, "test");
        var message = NetlinkMessage.OfNetfilter(6, command, 2).Byte(1, 6).Text(2, name);
        more(message);
        var sequence = netlink.NextSequence();
        netlink.Command(message.Finish(Netlink.Request | Netlink.Acknowledge | (command == 2 ? Create : 0), sequence), sequence, sequence).Error.ShouldBe(0);
    }

    /// <summary>Made as conntrack(8) makes one.</summary>
    private static void Connection(byte protocol, string to, ushort port)
    {
        using var netlink = new Netlink(Netlink.Netfilter, "test");
        byte[] us = [10, 0, 0, 1];
        var them = IPAddress.Parse(to).GetAddressBytes();
        NetlinkMessage Tuple(NetlinkMessage m, int attribute, byte[] from, byte[] dest, ushort source, ushort destination) => m.Nested(attribute, t => t
            .Nested(1, a => a.Bytes(1, from).Bytes(2, dest))
            .Nested(2, p => p.Byte(1, protocol).NetworkShort(2, source).NetworkShort(3, destination)));
        var message = NetlinkMessage.OfNetfilter(1, 0, 2);
        Tuple(Tuple(message, 1, us, them, 4000, port), 2, them, us, port, 4000).NetworkInteger(7, 100).NetworkInteger(3, 0x2 | 0x8);
        if (protocol == 6)
        {
            message.Nested(4, p => p.Nested(1, t => t.Byte(1, 3)));
        }

        var sequence = netlink.NextSequence();
        netlink.Command(message.Finish(Netlink.Request | Netlink.Acknowledge | Create | 0x200, sequence), sequence, sequence).Error.ShouldBe(0);
    }

    private sealed class Commands(Netlink netlink)
    {
        private readonly List<byte> _messages = [];
        private uint _first;
        private uint _last;
        private int _at;

        public void Add(int command, int flags, NetlinkMessage message)
        {
            if (_first == 0)
            {
                _first = netlink.NextSequence();
                _messages.AddRange(NetlinkMessage.OfNetfilter(0, Netlink.BatchBegin, 0, Subsystem).Finish(Netlink.Request, _first));
            }

            _last = netlink.NextSequence();
            _at = _messages.Count;
            _messages.AddRange(message.Finish(Netlink.Request | flags, _last));
            BinaryPrimitives.WriteUInt16LittleEndian(CollectionsMarshal.AsSpan(_messages)[(_at + 4)..], (ushort)((Subsystem << 8) | command));
        }

        public int Commit()
        {
            _messages.AddRange(NetlinkMessage.OfNetfilter(0, Netlink.BatchBegin + 1, 0, Subsystem).Finish(Netlink.Request, netlink.NextSequence()));
            var bytes = CollectionsMarshal.AsSpan(_messages);
            bytes[_at + 6] |= (byte)Netlink.Acknowledge;
            return netlink.Command(bytes, _first, _last).Error;
        }
    }
}
