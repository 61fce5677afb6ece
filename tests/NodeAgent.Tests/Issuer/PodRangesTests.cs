using System.Globalization;
using NodeAgent.Aws;
using NodeAgent.Issuer;
using NodeAgent.Network;

namespace NodeAgent.Tests.Issuer;

/// <summary>Who gets which range, against EC2's routes in memory.</summary>
public sealed class PodRangesTests
{
    private const string Arbiter = "rtb-0000000000000000a";
    private const string Other = "rtb-0000000000000000b";

    private readonly VirtualTime _time = new();
    private readonly FakeRoutes _ec2;
    private readonly List<string> _said = [];

    public PodRangesTests()
    {
        _ec2 = new FakeRoutes(_time);
        _ec2.AddTable(Other);
        _ec2.AddTable(Arbiter);
    }

    [Fact]
    public void A_node_gets_a_range_that_all_tables_lead_to_and_the_same_again()
    {
        var instance = _ec2.Run("i-1");
        using var ranges = Ranges();

        var range = Claim(ranges, instance);

        (range.Prefix, Cidr.Parse("10.32.0.0/16").Contains(range.Address)).ShouldBe((24, true));
        _ec2.At(Arbiter, range.ToString()).ShouldBe("i-1");
        _ec2.At(Other, range.ToString()).ShouldBe("i-1");
        _ec2.Writes[0].ShouldStartWith($"create {Arbiter}");
        _ec2.LetPass.ShouldBe(["eni-10"]);
        var writes = _ec2.Writes.Count;
        Claim(ranges, instance).ShouldBe(range);
        using var another = Ranges();
        Claim(another, instance).ShouldBe(range);
        _ec2.Writes.Count.ShouldBe(writes);
    }

    [Fact]
    public void Of_an_instance_with_several_interfaces_the_first_is_led_to()
    {
        var instance = _ec2.Run("i-1", interfaces: 2);
        using var ranges = Ranges();

        var range = Claim(ranges, instance);

        _ec2.At(Arbiter, range.ToString()).ShouldBe("eni-10");
        Claim(ranges, instance).ShouldBe(range);
    }

    [Theory]
    [InlineData(Arbiter, "i-1")]
    [InlineData(Other, "i-1")]
    [InlineData(Arbiter, "eni-10")]
    public void A_route_that_somebody_else_made_is_the_nodes_range(string table, string target)
    {
        _ec2.AddTable(table, ("10.32.7.0/24", target));
        using var ranges = Ranges();

        Claim(ranges, _ec2.Run("i-1")).ShouldBe(Cidr.Parse("10.32.7.0/24"));

        _ec2.At(Arbiter, "10.32.7.0/24").ShouldNotBeNull();
        _ec2.At(Other, "10.32.7.0/24").ShouldNotBeNull();
    }

    [Fact]
    public void A_range_asked_for_by_tag_is_that_one()
    {
        using var ranges = Ranges();

        Claim(ranges, _ec2.Run("i-1", "10.32.9.0/24"), "10.32.9.0/24").ShouldBe(Cidr.Parse("10.32.9.0/24"));
    }

    [Fact]
    public void A_tag_for_what_another_has_is_refused_with_the_others_name()
    {
        _ec2.Run("i-2");
        _ec2.AddTable(Arbiter, ("10.32.9.0/24", "i-2"));
        using var ranges = Ranges();

        var e = Refused(ranges, _ec2.Run("i-1", "10.32.9.0/24"));

        (e.Status, e.Message)
            .ShouldBe((403, $"10.32.9.0/24 is asked for by the tag nodeagent:network.podRange of i-1, and by route table {Arbiter} it is i-2's"));
        _ec2.End("i-2");
        Refused(ranges, _ec2.Run("i-1", "10.32.9.0/24")).Status.ShouldBe(503);
        _ec2.Writes.ShouldBeEmpty();
    }

    [Theory]
    [InlineData("10.32.9.0/25", "10.32.9.0/25 is no range of /24 within 10.32.0.0/16")]
    [InlineData("10.33.9.0/24", "10.33.9.0/24 is no range of /24 within 10.32.0.0/16")]
    [InlineData("mine", "says 'mine', which is no CIDR range")]
    public void A_tag_that_cannot_be_is_refused(string tag, string expected)
    {
        using var ranges = Ranges();

        Refused(ranges, _ec2.Run("i-1", tag)).Message.ShouldContain(expected);
    }

    [Fact]
    public void A_node_does_not_choose_its_range()
    {
        _ec2.Run("i-2");
        _ec2.AddTable(Arbiter, ("10.32.9.0/24", "i-2"));
        using var ranges = Ranges();
        var instance = _ec2.Run("i-1");

        Refused(ranges, instance, "10.32.9.0/24").Message.ShouldContain("a node does not choose its range");
        Refused(ranges, instance, "10.32.10.0/24").Message.ShouldContain("a node does not choose its range");
        Refused(ranges, _ec2.Run("i-3", "10.32.8.0/24"), "10.32.10.0/24").Message.ShouldContain("its tag nodeagent:network.podRange says 10.32.8.0/24");

        _ec2.Writes.ShouldBeEmpty();
        _ec2.At(Arbiter, "10.32.9.0/24").ShouldBe("i-2");
    }

    [Fact]
    public void What_the_node_says_and_a_route_says_too_is_granted()
    {
        _ec2.AddTable(Arbiter, ("10.32.9.0/24", "i-1"));
        using var ranges = Ranges();

        Claim(ranges, _ec2.Run("i-1"), "10.32.9.0/24").ShouldBe(Cidr.Parse("10.32.9.0/24"));
    }

    [Fact]
    public void Where_the_other_table_has_it_for_somebody_who_is_there_another_range_is_taken()
    {
        _ec2.Run("i-2");
        var instance = _ec2.Run("i-1");
        using var first = Ranges();
        var would = Claim(first, instance).ToString();
        _ec2.AddTable(Arbiter);
        _ec2.AddTable(Other);
        // Put there after it was looked.
        _ec2.Before = what =>
        {
            if (what.StartsWith($"create {Arbiter} {would}", StringComparison.Ordinal))
            {
                _ec2.Before = _ => { };
                _ec2.AddTable(Other, (would, "i-2"));
            }
        };
        using var ranges = Ranges();

        var range = Claim(ranges, instance).ToString();

        range.ShouldNotBe(would);
        _ec2.At(Arbiter, would).ShouldBeNull();
        _ec2.At(Other, would).ShouldBe("i-2");
        _ec2.At(Other, range).ShouldBe("i-1");
    }

    [Fact]
    public void A_table_that_leads_to_a_vanished_instance_is_led_to_the_new_one()
    {
        _ec2.Run("i-2");
        _ec2.End("i-2");
        _ec2.AddTable(Arbiter, ("10.32.9.0/24", "i-1"));
        _ec2.AddTable(Other, ("10.32.9.0/24", "i-2"));
        using var ranges = Ranges();

        Claim(ranges, _ec2.Run("i-1")).ToString().ShouldBe("10.32.9.0/24");

        _ec2.At(Other, "10.32.9.0/24").ShouldBe("i-1");
    }

    /// <summary>Which of them its pods have, nobody here knows: somebody may have added the lower one to a node that works.</summary>
    [Fact]
    public void Of_two_ranges_of_an_instance_that_is_there_none_is_given_back_and_it_is_said_once()
    {
        using var ranges = Ranges("i-c1");
        _ec2.Run("i-c1", role: "control-plane");
        _ec2.AddTable(Arbiter, ("10.32.10.0/24", "i-1"));
        _ec2.AddTable(Other, ("10.32.10.0/24", "i-1"));
        Claim(ranges, _ec2.Run("i-1")).ToString().ShouldBe("10.32.10.0/24");
        _ec2.AddTable(Arbiter, ("10.32.9.0/24", "i-1"), ("10.32.10.0/24", "i-1"));

        Rounds(ranges, TimeSpan.FromMinutes(60));

        _ec2.Ranges().ShouldBe(["10.32.10.0/24", "10.32.9.0/24"], ignoreOrder: true);
        _said.ShouldHaveSingleItem().ShouldContain("i-1 has routes for 10.32.10.0/24 and 10.32.9.0/24");
        ranges.Doubts.ShouldBe(1);
        // Asked again, the node is told what it kept, where it says so.
        Claim(ranges, _ec2.Run("i-1"), "10.32.10.0/24").ToString().ShouldBe("10.32.10.0/24");
        // A table that comes later gets both.
        _ec2.AddTable("rtb-0000000000000000c");
        Rounds(ranges, TimeSpan.FromMinutes(5));
        _ec2.At("rtb-0000000000000000c", "10.32.10.0/24").ShouldBe("i-1");
        _ec2.End("i-1");
        Rounds(ranges, TimeSpan.FromMinutes(20));
        _ec2.Ranges().ShouldBeEmpty();
        ranges.Doubts.ShouldBe(0);
    }

    [Theory]
    [InlineData(25, "10.32.0.0/24", new[] { "10.32.1.0/25", "10.32.1.128/25" })]
    [InlineData(23, "10.32.0.0/24", new string[0])]
    [InlineData(24, "10.32.0.0/24", new[] { "10.32.1.0/24" })]
    public void What_has_a_route_of_the_size_before_is_not_given_out_again(int prefix, string old, string[] free)
    {
        _ec2.Run("i-old");
        _ec2.AddTable(Other, (old, "i-old"));
        using var ranges = new PodRanges(Settings(null) with { Whole = Cidr.Parse("10.32.0.0/23"), NodePrefix = prefix }, _ec2.Client(), _time);

        var given = new List<string>();
        for (var i = 0; i < free.Length; i++)
        {
            given.Add(Claim(ranges, _ec2.Run($"i-{i}")).ToString());
        }

        given.ShouldBe(free, ignoreOrder: true);
        Refused(ranges, _ec2.Run("i-9")).Code.ShouldBe("no-range");
        Refused(ranges, _ec2.Run("i-8", $"10.32.0.0/{prefix}")).Message.ShouldContain("it is i-old's");
    }

    [Theory]
    [InlineData("10.32.8.0/23")]
    [InlineData("10.32.8.0/25")]
    public void A_route_of_the_size_before_is_given_back_when_its_instance_is_gone(string old)
    {
        _ec2.Run("i-c1", role: "control-plane");
        _ec2.Run("i-1");
        _ec2.AddTable(Arbiter, (old, "i-1"));
        using var ranges = Ranges("i-c1");
        Rounds(ranges, TimeSpan.FromMinutes(30));
        _ec2.At(Arbiter, old).ShouldBe("i-1");

        _ec2.End("i-1");
        Rounds(ranges, TimeSpan.FromMinutes(10));

        _ec2.At(Arbiter, old).ShouldBeNull();
    }

    [Fact]
    public void A_route_to_an_interface_that_was_no_nodes_is_said_once_and_stays()
    {
        _ec2.Run("i-c1", role: "control-plane");
        _ec2.AddTable(Arbiter, ("10.32.9.0/24", "eni-appliance"));
        using var ranges = Ranges("i-c1");

        Rounds(ranges, TimeSpan.FromHours(2));

        _ec2.At(Arbiter, "10.32.9.0/24").ShouldBe("eni-appliance");
        _said.ShouldHaveSingleItem().ShouldContain($"10.32.9.0/24 leads to eni-appliance in route table {Arbiter}, which is gone and was no node's of prod");
        ranges.Doubts.ShouldBe(1);
    }

    [Fact]
    public void What_leads_to_an_interface_is_given_back_when_a_second_look_names_its_instance_no_more()
    {
        _ec2.Run("i-c1", role: "control-plane");
        _ec2.Run("i-1");
        _ec2.Run("i-2");
        _ec2.AddTable(Arbiter, ("10.32.8.0/24", "eni-10"), ("10.32.9.0/24", "eni-20"));
        _ec2.End("i-1");
        _ec2.End("i-2");
        // The first deletion takes so long that it is looked again before the second.
        _ec2.Before = _ =>
        {
            _ec2.Before = _ => { };
            _time.Pass(TimeSpan.FromSeconds(6));
        };
        var deleted = new List<string>();
        _ec2.Deleted = (range, _) =>
        {
            deleted.Add(range);
            // What is said was done before.
            _said.ShouldNotContain(s => s.Contains(range, StringComparison.Ordinal));
        };
        using var ranges = Ranges("i-c1");

        Rounds(ranges, TimeSpan.FromMinutes(10));

        deleted.ShouldBe(["10.32.8.0/24", "10.32.9.0/24"], ignoreOrder: true);
        _said.Count(s => s.EndsWith("is given back", StringComparison.Ordinal)).ShouldBe(2);
    }

    [Fact]
    public void A_full_table_is_named_with_its_routes_and_the_quota()
    {
        _ec2.Quota = 1;
        using var ranges = Ranges(quota: 1);

        var e = Refused(ranges, _ec2.Run("i-1"));

        (e.Status, e.Code).ShouldBe((503, "routes"));
        e.Message.ShouldContain($"route table {Arbiter} has 1 routes");
        e.Message.ShouldContain("'Routes per route table'");
        e.Message.ShouldContain("--route-quota");
        _said.Count(s => s.Contains(Arbiter, StringComparison.Ordinal)).ShouldBe(1);
        ranges.Routes.ShouldBe([(Arbiter, 1), (Other, 1)]);
    }

    [Fact]
    public void A_full_second_table_leaves_nothing_in_the_first()
    {
        _ec2.AddTable(Other, ("192.168.0.0/24", "tgw-1"));
        _ec2.Quota = 2;
        using var ranges = Ranges();

        Refused(ranges, _ec2.Run("i-1")).Message.ShouldContain($"route table {Other} has 2 routes");

        _ec2.Ranges().ShouldBeEmpty();
    }

    [Fact]
    public void When_all_ranges_are_in_use_it_is_said()
    {
        using var ranges = new PodRanges(Settings(null) with { Whole = Cidr.Parse("10.32.0.0/23") }, _ec2.Client(), _time);
        Claim(ranges, _ec2.Run("i-1"));
        Claim(ranges, _ec2.Run("i-2"));

        Refused(ranges, _ec2.Run("i-3")).Message.ShouldBe("all 2 ranges of /24 in 10.32.0.0/23 are in use: take a larger cluster.podRange");
    }

    [Fact]
    public void A_route_to_something_else_takes_its_range_and_one_around_all_takes_none()
    {
        _ec2.AddTable(Arbiter, ("10.32.0.0/25", "tgw-1"), ("10.32.0.0/16", "tgw-1"));
        using var ranges = new PodRanges(Settings(null) with { Whole = Cidr.Parse("10.32.0.0/23") }, _ec2.Client(), _time);

        Claim(ranges, _ec2.Run("i-1")).ToString().ShouldBe("10.32.1.0/24");
    }

    [Fact]
    public void Without_a_table_it_is_said_which_tag_one_needs()
    {
        var ec2 = OthersTables();
        using var ranges = new PodRanges(Settings(null), ec2.Client(), _time);

        var e = Refused(ranges, ec2.Run("i-1"));

        (e.Status, e.Code).ShouldBe((503, "routes"));
        e.Message.ShouldContain($"no route table of {FakeRoutes.Vpc} has the tag nodeagent:cluster = 'prod': tag those of the cluster's subnets so");
        ec2.Writes.ShouldBeEmpty();
    }

    [Theory]
    [InlineData("rtb-missing")]
    [InlineData("rtb-of-another-vpc")]
    public void A_table_that_was_named_and_is_not_there_is_said(string table)
    {
        var ec2 = OthersTables();
        using var ranges = new PodRanges(Settings(null) with { RouteTables = ["rtb-without-tag", table] }, ec2.Client(), _time);

        Refused(ranges, ec2.Run("i-1")).Message.ShouldContain($"there is no route table {table} in {FakeRoutes.Vpc}");
        ec2.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void Tables_go_by_the_clusters_tag_and_where_some_are_named_by_their_names_alone()
    {
        var ec2 = OthersTables();
        ec2.AddTable(Arbiter);
        using var tagged = new PodRanges(Settings(null), ec2.Client(), _time);
        using var named = new PodRanges(Settings(null) with { RouteTables = ["rtb-without-tag"] }, ec2.Client(), _time);

        var (first, second) = (Claim(tagged, ec2.Run("i-1")), Claim(named, ec2.Run("i-2")));

        ec2.Writes.ShouldBe([$"create {Arbiter} {first} i-1", $"create rtb-without-tag {second} i-2"]);
    }

    [Fact]
    public void Many_who_come_at_once_share_their_looks()
    {
        using var ranges = Ranges();
        var instances = Enumerable.Range(0, 100).Select(i => _ec2.Run($"i-{i:d4}")).ToList();

        var got = _time.Run(() => Task.WhenAll(instances.Select(i => ranges.Claim(i, null, CancellationToken.None))));

        got.Distinct().Count().ShouldBe(100);
        _ec2.Describes.ShouldBeLessThan(40);
    }

    [Theory]
    [InlineData("terminated", 10, true)]
    [InlineData("unknown", 10, false)]
    [InlineData("unknown", 30, true)]
    [InlineData("stopped", 60, false)]
    [InlineData("gateway", 60, false)]
    public void What_a_vanished_instance_had_is_given_back_after_a_while(string what, int minutes, bool expected)
    {
        _ec2.Run("i-c1", role: "control-plane");
        using var ranges = Ranges("i-c1");
        var instance = _ec2.Run("i-1");
        var range = Claim(ranges, instance).ToString();
        switch (what)
        {
            case "terminated":
                _ec2.End("i-1");
                break;
            case "unknown":
                _ec2.Forget("i-1");
                break;
            case "stopped":
                instance.State.Name = "stopped";
                break;
            default:
                _ec2.AddTable(Arbiter, (range, "tgw-1"));
                _ec2.AddTable(Other, (range, "tgw-1"));
                break;
        }

        Rounds(ranges, TimeSpan.FromMinutes(minutes));

        _ec2.Ranges().Contains(range).ShouldBe(!expected);
        if (expected)
        {
            _ec2.Writes.TakeLast(2).ShouldBe([$"delete {Other} {range}", $"delete {Arbiter} {range}"]);
        }
    }

    [Fact]
    public void Who_is_not_of_the_control_plane_gives_nothing_back()
    {
        _ec2.Run("i-1");
        _ec2.End("i-1");
        _ec2.AddTable(Arbiter, ("10.32.9.0/24", "i-1"));
        _ec2.Run("i-c1", role: "control-plane");
        using var stranger = Ranges("i-c2");
        using var nobody = Ranges();

        Rounds(stranger, TimeSpan.FromMinutes(30));
        Rounds(nobody, TimeSpan.FromMinutes(30));

        _ec2.Ranges().ShouldBe(["10.32.9.0/24"]);
    }

    [Fact]
    public void While_the_control_plane_changes_nothing_is_given_back()
    {
        _ec2.Run("i-1");
        _ec2.End("i-1");
        _ec2.AddTable(Arbiter, ("10.32.9.0/24", "i-1"));
        _ec2.Run("i-c1", role: "control-plane");
        using var ranges = Ranges("i-c1");

        for (var i = 0; i < 20; i++)
        {
            _ec2.Run($"i-d{i}", role: "control-plane");
            Rounds(ranges, TimeSpan.FromMinutes(1));
        }

        _ec2.Ranges().ShouldBe(["10.32.9.0/24"]);
    }

    [Fact]
    public void A_table_that_is_added_gets_the_routes_of_the_others()
    {
        _ec2.Run("i-c1", role: "control-plane");
        using var ranges = Ranges("i-c1");
        var range = Claim(ranges, _ec2.Run("i-1")).ToString();
        _ec2.AddTable("rtb-0000000000000000c");

        Rounds(ranges, TimeSpan.FromMinutes(10));

        _ec2.At("rtb-0000000000000000c", range).ShouldBe("i-1");
    }

    /// <summary>EC2 that shows things late and fails, three issuers, nodes that ask one and then another; half of the nodes leave while others come.</summary>
    /// <param name="seed">Of who comes first, wherever several may, and of what fails.</param>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Two_hundred_nodes_come_and_go_through_three_issuers(int seed)
    {
        _time.Chance = new Random(seed);
        (_ec2.Lag, _ec2.Failures) = (TimeSpan.FromSeconds(4), 4);
        var given = new Dictionary<string, string>();
        var lost = new List<string>();
        var forgotten = new List<Task<Cidr>>();
        _ec2.Deleted = (range, target) =>
        {
            if (given.TryGetValue(range, out var holder) && holder == target)
            {
                lost.Add($"{range} of {target}");
            }
        };
        string[] control = ["i-c1", "i-c2", "i-c3"];
        foreach (var id in control)
        {
            _ec2.Run(id, role: "control-plane");
        }

        var issuers = control.Select(c => Ranges(c)).ToList();
        _time.Run(Life);
        issuers.ForEach(i => i.Dispose());

        async Task Life()
        {
            issuers.ForEach(i => i.Start());

            await Task.WhenAll(Enumerable.Range(0, 200).Select(i => Join(Id(i), i)));
            given.Count.ShouldBe(200);
            await Task.WhenAll(Enumerable.Range(0, 100).Select(async i =>
            {
                Leave(Id(i));
                await Task.Delay(TimeSpan.FromSeconds(i * 7 % 300), _time);
                await Join(Id(200 + i), i);
            }));

            given.Count.ShouldBe(200);
            var alive = Enumerable.Range(100, 200).Select(Id).ToHashSet();
            given.Values.Distinct().ShouldBe(alive, ignoreOrder: true);
            foreach (var (range, id) in given)
            {
                foreach (var table in _ec2.Tables)
                {
                    _ec2.At(table, range).ShouldBe(id, $"{range} in {table}");
                }
            }

            foreach (var id in alive)
            {
                Leave(id);
            }

            var end = _time.GetUtcNow() + TimeSpan.FromHours(2);
            while (_ec2.Ranges().Count > 0 && _time.GetUtcNow() < end)
            {
                await Task.Delay(TimeSpan.FromMinutes(1), _time);
            }

            _ec2.Ranges().ShouldBeEmpty();
            lost.ShouldBeEmpty();
            forgotten.ShouldAllBe(f => f.IsCompleted);
        }

        static string Id(int number) => string.Create(CultureInfo.InvariantCulture, $"i-{number:d5}");

        void Leave(string id)
        {
            foreach (var (range, _) in given.Where(g => g.Value == id).ToList())
            {
                given.Remove(range);
            }

            _ec2.End(id);
        }

        async Task Join(string id, int number)
        {
            var instance = _ec2.Run(id);
            var since = _time.GetUtcNow();
            for (var tries = 0; ; tries++)
            {
                // Of the 256 ranges some are still those of nodes that left, and a turn of giving back ends with the first call that fails.
                (_time.GetUtcNow() - since).ShouldBeLessThan(TimeSpan.FromMinutes(30));
                try
                {
                    var asked = issuers[(number + tries) % 3].Claim(instance, null, CancellationToken.None);
                    if (tries == 0 && number % 10 == 0)
                    {
                        // Of some, the connection breaks: they ask the next one, while the first goes on for nobody.
                        forgotten.Add(asked);
                        await Task.Delay(TimeSpan.FromMilliseconds(300), _time);
                        continue;
                    }

                    var range = (await asked).ToString();
                    given.TryAdd(range, id).ShouldBeTrue($"{range} is given to {id} and is {given.GetValueOrDefault(range)}'s");
                    return;
                }
                catch (Exception e) when (e is OperationCanceledException or AwsException or IssuerRefusal { RetryAfter: not null })
                {
                    await Task.Delay(TimeSpan.FromSeconds(1 + (number % 3)), _time);
                }
            }
        }
    }

    /// <summary>None of which is this cluster's.</summary>
    private FakeRoutes OthersTables()
    {
        var ec2 = new FakeRoutes(_time);
        ec2.AddTable("rtb-without-tag", FakeRoutes.Vpc, null);
        ec2.AddTable("rtb-of-another-cluster", FakeRoutes.Vpc, "staging");
        ec2.AddTable("rtb-of-another-vpc", "vpc-0fedcba9876543210", "prod");
        return ec2;
    }

    private PodRanges Ranges(string? issuer = null, int quota = 500) => new(Settings(issuer) with { RouteQuota = quota }, _ec2.Client(), _time);

    private PodRangeSettings Settings(string? issuer) => new()
    {
        Cluster = "prod",
        VpcId = FakeRoutes.Vpc,
        Whole = Cidr.Parse("10.32.0.0/16"),
        NodePrefix = 24,
        Issuer = issuer,
        Say = _said.Add,
    };

    private Cidr Claim(PodRanges ranges, Instance instance, string? wish = null) =>
        _time.Run(() => ranges.Claim(instance, wish is null ? null : Cidr.Parse(wish), CancellationToken.None));

    private IssuerRefusal Refused(PodRanges ranges, Instance instance, string? wish = null) =>
        Should.Throw<IssuerRefusal>(() => Claim(ranges, instance, wish));

    private void Rounds(PodRanges ranges, TimeSpan how) => _time.Run(async () =>
    {
        var end = _time.GetUtcNow() + how;
        while (_time.GetUtcNow() < end)
        {
            await ranges.Round(CancellationToken.None);
            await Task.Delay(TimeSpan.FromSeconds(5), _time);
        }
    });
}
