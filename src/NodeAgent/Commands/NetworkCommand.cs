using System.CommandLine;
using System.Globalization;
using NodeAgent.Configuration;
using NodeAgent.Machine;
using NodeAgent.Network;

namespace NodeAgent.Commands;

/// <summary>nodeagent network plan: where addresses go, before anything has one.</summary>
internal static class NetworkCommand
{
    public static Command Create()
    {
        var command = new Command("network", "Addresses of a customer's environment in a region.");
        command.Subcommands.Add(Plan());
        return command;
    }

    private static Command Plan()
    {
        var file = new Option<string?>("--file")
        {
            Description = "A document of kind AddressPlan, YAML or JSON; other options are said over it.",
            HelpName = "FILE",
        };
        var customer = new Option<string?>("--customer") { Description = "Whose addresses they are.", HelpName = "NAME" };
        var environment = new Option<string?>("--environment") { Description = "What for.", HelpName = "NAME" };
        var region = new Option<string?>("--region") { Description = "Where.", HelpName = "NAME" };
        var zones = new Option<string?>("--zones") { Description = "Availability zones, each with a subnet a cell.", HelpName = "ZONE,..." };
        var range = new Option<string?>("--range") { Description = "All addresses that there are for it.", HelpName = "RANGE" };
        var pods = new Option<string?>("--pod-addresses") { Description = "routed, overlay or vpc.", HelpName = "KIND" };
        var vpc = new Option<string[]>("--vpc")
        {
            Description = "A range of a VPC that is there already; repeatable.",
            HelpName = "RANGE",
            DefaultValueFactory = _ => [],
        };
        var peer = new Option<string[]>("--peer")
        {
            Description = "What a peered VPC has, or somebody on premises; repeatable.",
            HelpName = "NAME=RANGE",
            DefaultValueFactory = _ => [],
        };
        var cell = new Option<string[]>("--cell")
        {
            Description = "A cell, after those of the file; repeatable.",
            HelpName = "name=NAME,nodes=N,podsPerNode=N,services=N",
            DefaultValueFactory = _ => [],
        };
        var format = new Option<string>("--format")
        {
            Description = "text, json, or document: what was asked for with all that was laid out said in it, to be kept and given back with --file.",
            HelpName = "text|json|document",
            DefaultValueFactory = _ => "text",
        };
        format.AcceptOnlyFromAmong("text", "json", "document");
        var layer = new Option<string?>("--layer")
        {
            Description = "Instead: the layer of this cell's nodes, with its ranges and those of others.",
            HelpName = "CELL",
        };
        var command = new Command("plan", """
            Lay out addresses of cells (clusters): subnets by zone, ranges of pods and services, and what they hold. Overlaps nothing that is said to be somebody's.
            Reads the named file and nothing else. The same input gives the same plan, and one more cell at the end moves none of those before it.

            Exit codes: 0 laid out, 3 it cannot be, with every reason.

            Example:
              nodeagent network plan --customer acme --environment prod --region eu-central-1 --zones eu-central-1a,eu-central-1b,eu-central-1c \
                --range 10.64.0.0/12 --pod-addresses routed --peer office=192.168.0.0/16 --cell name=blue,nodes=300,podsPerNode=110,services=5000
              nodeagent network plan --file acme-prod.yaml --format document > acme-prod.json      # and next time: --file acme-prod.json --cell name=green,...
            """)
        {
            file, customer, environment, region, zones, range, pods, vpc, peer, cell, format, layer,
        };
        command.SetAction((parse, cancellation) =>
        {
            var options = new List<(string Path, ConfigValue Value)>();
            Add(customer, "customer", AddressPlanDocument.Text);
            Add(environment, "environment", AddressPlanDocument.Text);
            Add(region, "region", AddressPlanDocument.Text);
            Add(zones, "zones", (origin, text) => List(origin, text.Split(',')));
            Add(range, "range", AddressPlanDocument.Text);
            Add(pods, "podAddresses", AddressPlanDocument.Text);
            AddEach(vpc, (origin, texts) => ("vpc", List(origin, texts)));
            AddEach(peer, Peers);
            AddEach(cell, (origin, texts) => ("cells", new ConfigList(origin, origin, [.. texts.Select(t => Cell(origin, t))])));
            var name = parse.GetValue(file);
            var plan = AddressPlanDocument.Plan(name is null ? null : Read(Path.GetFullPath(name), cancellation), name ?? "", options);
            parse.InvocationConfiguration.Output.Write(parse.GetValue(layer) is { } of ? Layer(plan, of) : parse.GetValue(format) switch
            {
                "json" => AddressPlanText.Json(plan),
                "document" => AddressPlanText.Document(plan.Request),
                _ => AddressPlanText.Table(plan),
            });
            return Task.FromResult(ExitCode.Ok);

            void Add(Option<string?> option, string path, Func<Origin, string, ConfigValue> value)
            {
                if (parse.GetValue(option) is { } text)
                {
                    options.Add((path, value(new(option.Name, 0, 0), text)));
                }
            }

            void AddEach(Option<string[]> option, Func<Origin, string[], (string Path, ConfigValue Value)> value)
            {
                if (parse.GetValue(option) is { Length: > 0 } texts)
                {
                    options.Add(value(new(option.Name, 0, 0), texts));
                }
            }
        });
        return command;
    }

    private static string Layer(AddressPlan plan, string name) => plan.Cells.FirstOrDefault(c => c.Name == name) is { } cell
        ? AddressPlanText.Layer(plan, cell)
        : throw new ConfigurationException(
            new ConfigError(new("--layer", 0, 0), "", $"there is no cell '{name}'; there are {string.Join(", ", plan.Cells.Select(c => c.Name))}"));

    private static ConfigList List(Origin origin, IEnumerable<string> texts) =>
        new(origin, origin, [.. texts.Select(t => AddressPlanDocument.Text(origin, t))]);

    private static (string Path, ConfigValue Value) Peers(Origin origin, string[] texts)
    {
        var ranges = new OrderedDictionary<string, ConfigValue>(StringComparer.Ordinal);
        foreach (var text in texts)
        {
            var (name, range) = Pair(origin, text, "NAME=RANGE, as in office=192.168.0.0/16");
            var sofar = (ranges.GetValueOrDefault(name) as ConfigList)?.Items ?? [];
            ranges[name] = new ConfigList(origin, origin, [.. sofar, AddressPlanDocument.Text(origin, range)]);
        }

        return ("peers", new ConfigMap(origin, origin, ranges));
    }

    private static ConfigMap Cell(Origin origin, string text)
    {
        var fields = new OrderedDictionary<string, ConfigValue>(StringComparer.Ordinal);
        foreach (var part in text.Split(','))
        {
            var (field, value) = Pair(origin, part, "FIELD=VALUE with commas between, as in name=blue,nodes=300,podsPerNode=110,services=5000");
            fields[field] = AddressPlanDocument.Text(origin, value);
        }

        return new(origin, origin, fields);
    }

    private static (string Name, string Value) Pair(Origin origin, string text, string expected) =>
        text.Split('=', 2) is [{ Length: > 0 } name, { Length: > 0 } value]
            ? (name, value)
            : throw new ConfigurationException(new ConfigError(origin, "", $"'{text}' is not what this option takes; expected {expected}"));

    private static byte[] Read(string path, CancellationToken cancellation)
    {
        using var machine = new LinuxReader(cancellation);
        return machine.File(path) is { Kind: FileKind.Regular, Content: { } content }
            ? content
            : throw new ConfigurationException(new ConfigError(new(path, 0, 0), "", "there is no such file"));
    }
}
