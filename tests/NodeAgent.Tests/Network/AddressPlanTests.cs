using System.Text;
using FsCheck;
using FsCheck.Fluent;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using NodeAgent.Network;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Network;

public class AddressPlanTests
{
    private const string Start = """
        apiVersion: nodeagent/v1
        kind: AddressPlan
        customer: acme
        environment: prod
        region: eu-central-1
        zones: [eu-central-1a, eu-central-1b, eu-central-1c]
        range: 10.64.0.0/12

        """;

    private const string Routed = Start + "podAddresses: routed\n";

    private const string Blue = "- {name: blue, nodes: 300, podsPerNode: 110, services: 5000}\n";

    [Fact]
    public void A_cell_gets_subnets_pods_and_services()
    {
        var cell = Plan(Routed + "cells:\n" + Blue).Cells.ShouldHaveSingleItem();

        // 100 nodes a zone, 5 addresses for EC2 and 16 spare: a /25; four of them, one for a zone to come.
        cell.NodeRange.ToString().ShouldBe("10.64.0.0/23");
        cell.Subnets.Select(s => $"{s.Zone} {s.Range}").ShouldBe(["eu-central-1a 10.64.0.0/25", "eu-central-1b 10.64.0.128/25", "eu-central-1c 10.64.1.0/25"]);
        // 110 pods and three that are none: a /25 a node, of which there are 512.
        cell.NodePrefix.ShouldBe(25);
        cell.PodRange.ToString().ShouldBe("10.72.0.0/16");
        cell.ServiceRange.ToString().ShouldBe("10.68.0.0/19");
        cell.DnsAddress.ShouldBe("10.68.0.10");
        cell.Holds.ShouldBe(new Capacity(321, "subnets", 321 * 110, 110, 8188));
        cell.HoldsWithoutZone.ShouldBe(214);
    }

    [Fact]
    public void One_more_cell_at_the_end_moves_none()
    {
        var one = Plan(Routed + "cells:\n" + Blue);
        var two = Plan(Routed + "cells:\n" + Blue + "- {name: green, nodes: 500, podsPerNode: 250, services: 20000}\n");

        Shown(two.Cells[0]).ShouldBe(Shown(one.Cells[0]));
        two.VpcRanges.ShouldBe([Cidr.Parse("10.64.0.0/16")]);
    }

    [Fact]
    public void A_zone_more_moves_no_subnet()
    {
        var three = Plan(Routed + "cells:\n" + Blue);
        var four = Plan(
            (Routed + "cells:\n" + Blue).Replace("eu-central-1c]", "eu-central-1c, eu-central-1d]", StringComparison.Ordinal)
                .Replace("nodes: 300", "nodes: 400", StringComparison.Ordinal));

        four.Cells[0].Subnets.Take(3).ShouldBe(three.Cells[0].Subnets);
        four.Cells[0].Subnets[3].Range.ToString().ShouldBe("10.64.1.128/25");
    }

    [Fact]
    public void A_fifth_zone_moves_no_cell_that_is_kept()
    {
        const string Zones = "eu-central-1c]", Five = "eu-central-1c, eu-central-1d, eu-central-1e]";
        var kept = AddressPlanText.Document(Plan(Routed + "cells:\n" + Blue).Request);
        kept.ShouldContain("\"zoneSlots\": 4");
        var spacious = Plan(Routed + "cells:\n" + Blue.Replace("services: 5000", "services: 5000, zoneSlots: 8", StringComparison.Ordinal));
        var more = AddressPlanText.Document(spacious.Request with { Zones = [.. spacious.Request.Zones, "eu-central-1d", "eu-central-1e"] });

        // Laid out now, it would be cut into eight.
        Plan((Routed + "cells:\n" + Blue).Replace(Zones, Five, StringComparison.Ordinal)).Request.Cells[0].ZoneSlots.ShouldBe(8);
        Errors(() => Plan(kept.Replace("\"eu-central-1c\"", "\"eu-central-1c\", \"eu-central-1d\", \"eu-central-1e\"", StringComparison.Ordinal)))
            .ShouldHaveSingleItem().ShouldContain("cells[0].zoneSlots: its range of nodes has 4 subnets, and there are 5 zones");
        Plan(more).Cells[0].Subnets.Take(3).ShouldBe(spacious.Cells[0].Subnets);
        Errors(() => Plan(Routed + "cells:\n" + Blue.Replace("services: 5000", "services: 5000, zoneSlots: 6", StringComparison.Ordinal)))
            .ShouldHaveSingleItem().ShouldContain("cells[0].zoneSlots: 6 is out of range; expected 4 or 8");
    }

    [Fact]
    public void What_others_have_is_stepped_over_and_said()
    {
        var plan = Plan(Routed + "peers: {office: [10.64.0.0/24, 10.72.0.0/16], lab: [192.168.0.0/16]}\ncells:\n" + Blue);

        plan.Cells[0].NodeRange.ToString().ShouldBe("10.64.2.0/23");
        plan.Cells[0].PodRange.ToString().ShouldBe("10.73.0.0/16");
        plan.Notes.ShouldBe(
            [
                "peers.office 10.64.0.0/24 has a part of range 10.64.0.0/12; nothing is laid out there",
                "peers.office 10.72.0.0/16 has a part of range 10.64.0.0/12; nothing is laid out there",
            ]);
    }

    [Fact]
    public void Subnets_are_laid_out_in_a_VPC_that_is_there_and_pods_are_not()
    {
        var plan = Plan(Routed + "vpc: [10.72.0.0/16]\ncells:\n" + Blue);

        plan.Cells[0].NodeRange.ToString().ShouldBe("10.72.0.0/23");
        plan.Cells[0].PodRange.ToString().ShouldBe("10.73.0.0/16");
        plan.VpcRanges.ShouldBe([Cidr.Parse("10.72.0.0/16")]);
    }

    [Fact]
    public void Overlays_may_share_the_range_of_pods_and_it_is_that_of_the_largest()
    {
        var plan = Plan(
            Start + "podAddresses: overlay\nreuse: [pods, services]\ncells:\n" + Blue + "- {name: green, nodes: 1000, podsPerNode: 110, services: 9000}\n");

        plan.Cells.Select(c => c.PodRange.ToString()).Distinct().ShouldBe(["10.72.0.0/15"]);
        plan.Cells.Select(c => c.ServiceRange.ToString()).Distinct().ShouldBe(["10.68.0.0/18"]);
        plan.Cells[0].NodeRange.Overlaps(plan.Cells[1].NodeRange).ShouldBeFalse();
    }

    [Fact]
    public void With_addresses_of_the_VPC_subnets_hold_pods_as_well()
    {
        var plan = Plan(Start + "podAddresses: vpc\ncells:\n- {name: blue, nodes: 60, podsPerNode: 29, services: 500, interfacesPerNode: 3}\n");

        // 20 nodes a zone, each with 29 pods and 3 interfaces: 640 and 21.
        plan.Cells[0].Subnets[0].Range.ToString().ShouldBe("10.72.0.0/22");
        plan.Cells[0].PodRange.ShouldBeNull();
        plan.Cells[0].Holds.Nodes.ShouldBe(3 * ((1024 - 21) / 32));
    }

    [Theory]
    [InlineData("cells: []", "plan.yaml:9:8: cells: there are none; expected one or more")]
    [InlineData("cells:\n" + Blue + Blue, "plan.yaml:11:10: cells[1].name: 'blue' is a cell already")]
    [InlineData(
        "cells:\n- {name: blue, nodes: 501, podsPerNode: 110, services: 5000}",
        "plan.yaml:10:23: cells[0].nodes: 501 nodes need as many routes in each route table, which takes 500 by quota")]
    [InlineData(
        "cells:\n- {name: blue, nodes: 3, podsPerNode: 110, services: 5000, nodePrefix: 26}",
        "cells[0].nodePrefix: a range of /26 has addresses for 61 pods, and podsPerNode is 110")]
    [InlineData("cells:\n- {name: blue, nodes: 3, podsPerNode: 110, services: 2000000}", "cells[0].services: 2000000 is out of range; expected 1 to 1048572")]
    [InlineData(
        "cells:\n- {name: blue, nodes: 3, podsPerNode: 110, services: 5, nodeRange: 10.72.0.0/24}",
        "cells[0].nodeRange: 10.72.0.0/24 is not within the part of range that is for nodes, 10.64.0.0/14")]
    [InlineData(
        "cells:\n- {name: blue, nodes: 300, podsPerNode: 110, services: 5, podRange: 10.72.0.0/24}",
        "cells[0].podRange: 10.72.0.0/24 is too small: 300 nodes, each with a /25, need a /16")]
    [InlineData(
        "reuse: [pods]\ncells:\n" + Blue, "plan.yaml:9:8: reuse: pods of several cells have the same addresses in overlays alone, and podAddresses is routed")]
    [InlineData(
        "peers: {office: [10.68.0.0/14]}\ncells:\n" + Blue,
        "cells[0]: 'blue' needs a /19 for its serviceRange, and 10.68.0.0/14 has none free; take a larger range, reuse: [services], or fewer services")]
    [InlineData(
        "cells:\n- {name: blue, nodes: 3, podsPerNode: 110, services: 5, serviceRange: 10.65.0.0/24, podRange: 10.65.0.0/23}",
        "cells[0].serviceRange: 10.65.0.0/24 overlaps cells[0].podRange 10.65.0.0/23")]
    [InlineData("vpc: [10.0.0.0/8]\ncells:\n" + Blue, "plan.yaml:9:7: vpc[0]: 10.0.0.0/8 is no range of a VPC; expected one of IPv4 from /16 to /28")]
    [InlineData("cell: []\ncells:\n" + Blue, "plan.yaml:9:1: unknown field 'cell'; did you mean 'cells'?")]
    public void What_cannot_be_laid_out_is_told_with_its_place_and_what_to_do(string text, string error) =>
        Errors(() => Plan(Routed + text))
            .ShouldContain(e => e.StartsWith(error, StringComparison.Ordinal) || e.Contains(": " + error, StringComparison.Ordinal));

    /// <summary>Cells, peers and pins by chance: whatever is asked for, it is refused or keeps apart what must be apart, and holds what it says.</summary>
    [Fact]
    public void Nothing_overlaps_and_everything_holds_what_it_says() =>
        Prop.ForAll(Requests().ToArbitrary(), request =>
        {
            if (Try(request) is not { } plan)
            {
                return;
            }

            Judge(plan);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(500));

    [Fact]
    public void Most_of_what_is_tried_can_be_laid_out() =>
        Gen.Sample(Requests(), 300, 30).Count(r => Try(r) is not null).ShouldBeGreaterThan(100);

    [Fact]
    public void A_plan_that_is_given_back_is_the_same_plan() =>
        Prop.ForAll(Requests().ToArbitrary(), request =>
        {
            if (Try(request) is { } plan)
            {
                var again = AddressPlanDocument.Plan(Encoding.UTF8.GetBytes(AddressPlanText.Document(plan.Request)), "again", []);

                AddressPlanText.Json(again).ShouldBe(AddressPlanText.Json(plan));
                AddressPlanText.Table(again).ShouldBe(AddressPlanText.Table(plan));
            }
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(200));

    [Fact]
    public void Cells_before_are_not_moved_by_one_more() =>
        Prop.ForAll(Requests().ToArbitrary(), request =>
        {
            if (request.Reuse.Count == 0 && Try(request) is { Cells: { Count: > 1 } } plan)
            {
                var fewer = AddressPlan.Make(request with { Cells = [.. request.Cells.Take(request.Cells.Count - 1)] });

                fewer.Cells.Select(Shown).ShouldBe(plan.Cells.SkipLast(1).Select(Shown));
            }
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(200));

    [Fact]
    public void There_is_room_for_as_many_more_cells_as_it_says_and_no_more()
    {
        var plan = Plan(Routed + "cells:\n" + Blue.Replace("300", "500", StringComparison.Ordinal));
        var cells = plan.Request.Cells;

        var full = AddressPlan.Make(plan.Request with { Cells = [.. cells, .. More(plan.More.Cells)] });
        full.More.Cells.ShouldBe(0);
        Should.Throw<AddressPlanException>(() => AddressPlan.Make(plan.Request with { Cells = [.. cells, .. More(plan.More.Cells + 1)] }))
            .Errors.ShouldHaveSingleItem().Message.ShouldContain("has none free");

        IEnumerable<AddressPlanCell> More(long count) =>
            Enumerable.Range(0, (int)count).Select(i => cells[0] with { Name = $"more-{i}", NodeRange = null, PodRange = null, ServiceRange = null });
    }

    [Fact]
    public void Options_say_what_a_document_says()
    {
        var (code, output) = Run(
            "--customer",
            "acme",
            "--environment",
            "prod",
            "--region",
            "eu-central-1",
            "--zones",
            "eu-central-1a,eu-central-1b,eu-central-1c",
            "--range",
            "10.64.0.0/12",
            "--pod-addresses", "routed", "--cell", "name=blue,nodes=300,podsPerNode=110,services=5000", "--peer", "office=192.168.0.0/16", "--format",
            "document");

        code.ShouldBe(0);
        output.ShouldBe(AddressPlanText.Document(Plan(Routed + "peers: {office: [192.168.0.0/16]}\ncells:\n" + Blue).Request));
    }

    [Fact]
    public void The_layer_of_a_cell_has_its_ranges_and_is_in_peace_with_the_others()
    {
        var text = Run(
            "--customer",
            "acme",
            "--environment",
            "prod",
            "--region",
            "eu-central-1",
            "--zones",
            "eu-central-1a",
            "--range",
            "10.64.0.0/12",
            "--pod-addresses",
            "routed",
            "--cell", "name=blue,nodes=300,podsPerNode=110,services=5000", "--cell", "name=green,nodes=3,podsPerNode=50,services=100", "--peer",
            "the office=192.168.0.0/16", "--layer", "green").Output;

        var loaded = Load(
            Document("green.yaml", text), Document("node.yaml", Head + "network: {plugin: vpc-routes, podRange: null}\nnode: {maxPods: fromPodRange}\n"));
        loaded.Config.Cluster.PodRange.ToString().ShouldBe("10.73.0.0/24");
        loaded.Config.Network.NodePrefix.ShouldBe(26);
        loaded.Config.Network.OtherPods["blue"].ShouldBe([Cidr.Parse("10.72.0.0/16")]);
        loaded.Config.Network.Peers.Keys.ShouldBe(["the office"]);
        NodeAgent.Advice.Advisor.Of(new(loaded, null, [])).ShouldBeEmpty();
        Errors(
            () => Run(
                "--customer", "acme", "--environment", "prod", "--region", "x", "--zones", "a", "--range", "10.64.0.0/12", "--pod-addresses", "routed",
                "--cell", "name=blue,nodes=3,podsPerNode=11,services=5", "--layer", "red"))
            .ShouldBe(["--layer: there is no cell 'red'; there are blue"]);
    }

    [Fact]
    public void An_option_that_is_wrong_is_named() => Errors(() => Run("--cell", "blue")).ShouldBe(
        ["--cell: 'blue' is not what this option takes; expected FIELD=VALUE with commas between, as in name=blue,nodes=300,podsPerNode=110,services=5000"]);

    [Fact]
    public void The_example_of_the_documentation_gives_what_stands_there()
    {
        var page = File.ReadAllText(Path.Join(Repository.Folder, "docs", "address-plan.md"));
        var document = Block(page, "```yaml\n");
        var expected = Block(page[page.IndexOf("```yaml\n", StringComparison.Ordinal)..], "```text\n");
        var actual = AddressPlanText.Table(AddressPlanDocument.Plan(Encoding.UTF8.GetBytes(document), "acme-prod.yaml", []));
        if (Repository.IsRewriting)
        {
            File.WriteAllText(
                Path.Join(Repository.Folder, "docs", "address-plan.md"), page.Replace("```text\n" + expected, "```text\n" + actual, StringComparison.Ordinal));
            return;
        }

        actual.ShouldBe(expected, "NODEAGENT_GOLDEN=write rewrites it");

        static string Block(string text, string fence)
        {
            var begin = text.IndexOf(fence, StringComparison.Ordinal) + fence.Length;
            return text[begin..text.IndexOf("```", begin, StringComparison.Ordinal)];
        }
    }

    private static void Judge(AddressPlan plan)
    {
        var request = plan.Request;
        List<Claim> claims = [.. plan.VpcRanges.Select(v => new Claim("VPC", v))];
        claims.AddRange(plan.Cells.SelectMany(c => c.Claims()).Where(c => !c.Whose.StartsWith("nodes", StringComparison.Ordinal))
            .Where(c => !(c.Whose.StartsWith("pods", StringComparison.Ordinal) && request.Reuse.Contains(AddressPart.Pods)))
            .Where(c => !(c.Whose.StartsWith("services", StringComparison.Ordinal) && request.Reuse.Contains(AddressPart.Services))));
        for (var i = 0; i < claims.Count; i++)
        {
            Claim.Overlaps([claims[i]], claims[(i + 1)..]).ShouldBeEmpty();
        }

        var peers = request.Peers.SelectMany(p => p.Value).ToList();
        var subnets = plan.Cells.SelectMany(c => c.Subnets).Select(s => s.Range).ToList();
        plan.Cells.SelectMany(c => c.Claims()).Where(c => peers.Any(c.Range.Overlaps)).ShouldBeEmpty();
        for (var i = 0; i < subnets.Count; i++)
        {
            subnets[i].Prefix.ShouldBeInRange(16, 28);
            plan.VpcRanges.Count(v => v.Contains(subnets[i])).ShouldBe(1);
            subnets.Skip(i + 1).Where(subnets[i].Overlaps).ShouldBeEmpty();
        }

        foreach (var (cell, asked) in plan.Cells.Zip(request.Cells))
        {
            cell.Holds.Nodes.ShouldBeGreaterThanOrEqualTo(asked.Nodes);
            cell.Holds.Services.ShouldBeGreaterThanOrEqualTo(asked.Services);
            cell.ServiceRange.Contains(System.Net.IPAddress.Parse(cell.DnsAddress)).ShouldBeTrue();
            var perNode = request.PodAddresses == PodAddressing.Vpc ? asked.PodsPerNode + asked.InterfacesPerNode!.Value : 1;
            cell.Subnets.Sum(s => ((long)s.Range.Size - AddressPlan.SubnetReserve - AddressPlan.SubnetSpare) / perNode)
                .ShouldBeGreaterThanOrEqualTo(cell.Holds.Nodes);
            if (cell.PodRange is { } pods)
            {
                (1L << (cell.NodePrefix!.Value - pods.Prefix)).ShouldBeGreaterThanOrEqualTo(cell.Holds.Nodes);
                ConfigValidation.AddressesForPods(Cidr.IPv4(0, cell.NodePrefix.Value)).ShouldBeGreaterThanOrEqualTo(asked.PodsPerNode);
            }
        }
    }

    private static AddressPlan? Try(AddressPlanRequest request)
    {
        try
        {
            return AddressPlan.Make(request);
        }
        catch (AddressPlanException e)
        {
            e.Errors.ShouldNotBeEmpty();
            e.Errors.ShouldAllBe(x => x.Path.Length > 0 && x.Message.Length > 0);
            return null;
        }
    }

    private static Gen<AddressPlanRequest> Requests() =>
        from addressing in Gen.Elements(PodAddressing.Routed, PodAddressing.Overlay, PodAddressing.Vpc)
        from prefix in Gen.Frequency((4, Gen.Choose(8, 11)), (1, Gen.Choose(12, 16)))
        from zones in Gen.Choose(1, 6)
        from cells in Gen.Choose(1, 5).SelectMany(n => Cells(addressing).ArrayOf(n))
        from peers in Gen.Choose(0, 3).SelectMany(n => Peer().ArrayOf(n))
        from vpc in Gen.Elements<string[]>([], [], [], [], [], ["10.0.0.0/16"], ["10.0.0.0/16", "10.1.0.0/17"])
        from reuse in Gen.Elements<AddressPart[]>([], [], [AddressPart.Services], [AddressPart.Pods, AddressPart.Services])
        select new AddressPlanRequest
        {
            ApiVersion = NodeConfigLoader.ApiVersion,
            Kind = AddressPlanDocument.Kind,
            Customer = "acme",
            Environment = "prod",
            Region = "eu-central-1",
            Zones = [.. Enumerable.Range(0, zones).Select(z => $"zone-{(char)('a' + z)}")],
            Range = Cidr.IPv4(10u << 24, 8).Part(0, prefix),
            PodAddresses = addressing,
            Vpc = [.. vpc.Select(Cidr.Parse)],
            Peers = peers.Select((p, i) => (p, i)).ToDictionary(p => $"peer-{p.i}", p => (IReadOnlyList<Cidr>)[p.p]),
            Reuse = addressing == PodAddressing.Overlay ? reuse : [.. reuse.Where(r => r == AddressPart.Services)],
            Cells = [.. cells.Select((c, i) => c with { Name = $"cell-{i}" })],
        };

    private static Gen<AddressPlanCell> Cells(PodAddressing addressing) =>
        from nodes in Gen.Choose(1, 300)
        from pods in Gen.Choose(1, 250)
        from services in Gen.Choose(1, 20000)
        from wide in Gen.Choose(0, 2)
        select new AddressPlanCell
        {
            Name = "",
            Nodes = nodes,
            PodsPerNode = pods,
            Services = services,
            InterfacesPerNode = addressing == PodAddressing.Vpc ? 1 + (pods % 15) : null,
            NodePrefix = addressing == PodAddressing.Vpc || wide > 0 ? null : 24,
        };

    private static Gen<Cidr> Peer() =>
        from prefix in Gen.Choose(14, 26)
        from index in Gen.Choose(0, (1 << (prefix - 9)) - 1)
        select Cidr.IPv4(10u << 24, 8).Part(index, prefix);

    private static string Shown(PlannedCell cell) => $"{string.Join(", ", cell.Claims())}, {string.Join(", ", cell.Subnets)}, {cell.Holds}";

    private static AddressPlan Plan(string text) => AddressPlanDocument.Plan(Encoding.UTF8.GetBytes(text), "plan.yaml", []);

    private static (int Code, string Output) Run(params string[] arguments)
    {
        using var output = new StringWriter { NewLine = "\n" };
        var code = new System.CommandLine.RootCommand { NetworkCommand.Create() }.Parse(["network", "plan", .. arguments])
            .Invoke(new() { Output = output, EnableDefaultExceptionHandler = false });
        return (code, output.ToString());
    }
}
