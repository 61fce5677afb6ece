using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using NodeAgent.Network;

namespace NodeAgent.Commands;

/// <summary>An address plan for people, for programs, and for the next plan.</summary>
internal static class AddressPlanText
{
    private static readonly JsonWriterOptions Options = new() { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static string Table(AddressPlan plan)
    {
        var text = new StringBuilder();
        var request = plan.Request;
        text.Append(
            CultureInfo.InvariantCulture, $"{request.Customer} {request.Environment} {request.Region}: {request.Range}, pods {Word(request.PodAddresses)}\n\n");
        text.Append(Columns(
            ["part", "ranges"],
            [
                ["VPC", string.Join(", ", plan.VpcRanges)],
                .. plan.Parts.Select(p => (string[])[p.Name, string.Join(", ", p.Ranges)]),
                .. request.Peers.SelectMany(p => p.Value.Select(r => (string[])[$"not ours: {p.Key}", r.ToString()])),
            ]));
        text.Append('\n');
        text.Append(Columns(["cell", "what", "range", "holds"], [.. plan.Cells.SelectMany(c => Rows(c, request))]));
        text.Append(
            CultureInfo.InvariantCulture,
            $"\nRoom for {plan.More.Cells} more {(plan.More.Cells == 1 ? "cell" : "cells")} like {plan.More.Cell}; addresses for {plan.More.By} end first.\n");
        foreach (var note in plan.Notes)
        {
            text.Append(CultureInfo.InvariantCulture, $"Note: {note}.\n");
        }

        return text.ToString();
    }

    public static string Json(AddressPlan plan) => Write(json =>
    {
        json.WriteStartObject();
        json.WritePropertyName("document");
        WriteDocument(json, plan.Request);
        Ranges(json, "vpcRanges", plan.VpcRanges);
        json.WriteStartObject("parts");
        foreach (var part in plan.Parts)
        {
            Ranges(json, part.Name, part.Ranges);
        }

        json.WriteEndObject();
        json.WriteStartArray("cells");
        foreach (var cell in plan.Cells)
        {
            json.WriteStartObject();
            json.WriteString("name", cell.Name);
            json.WriteString("nodeRange", cell.NodeRange.ToString());
            json.WriteStartObject("subnets");
            foreach (var (zone, range) in cell.Subnets)
            {
                json.WriteString(zone, range.ToString());
            }

            json.WriteEndObject();
            if (cell.PodRange is { } pods)
            {
                json.WriteString("podRange", pods.ToString());
                json.WriteNumber("nodePrefix", cell.NodePrefix!.Value);
            }

            json.WriteString("serviceRange", cell.ServiceRange.ToString());
            json.WriteString("dnsAddress", cell.DnsAddress);
            json.WriteStartObject("holds");
            json.WriteNumber("nodes", cell.Holds.Nodes);
            json.WriteString("nodesEndBy", cell.Holds.NodesBy);
            json.WriteNumber("nodesWithoutZone", cell.HoldsWithoutZone);
            json.WriteNumber("pods", cell.Holds.Pods);
            json.WriteNumber("services", cell.Holds.Services);
            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartObject("more");
        json.WriteString("like", plan.More.Cell);
        json.WriteNumber("cells", plan.More.Cells);
        json.WriteString("endBy", plan.More.By);
        json.WriteEndObject();
        json.WriteStartArray("notes");
        foreach (var note in plan.Notes)
        {
            json.WriteStringValue(note);
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    public static string Document(AddressPlanRequest request) => Write(json => WriteDocument(json, request));

    /// <summary>What of a plan a cell's nodes are told, as a layer of theirs.</summary>
    public static string Layer(AddressPlan plan, PlannedCell cell)
    {
        var request = plan.Request;
        var text = new StringBuilder();
        text.Append(
            CultureInfo.InvariantCulture,
            $"apiVersion: nodeagent/v1\nkind: NodeConfig\ncluster:\n  customer: {Quoted(request.Customer)}\n  environment: {Quoted(request.Environment)}\n");
        text.Append(CultureInfo.InvariantCulture, $"  region: {Quoted(request.Region)}\n  name: {Quoted(cell.Name)}\n");
        if (cell.PodRange is { } pods)
        {
            text.Append(CultureInfo.InvariantCulture, $"  podRange: {pods}\n");
        }

        text.Append(CultureInfo.InvariantCulture, $"  serviceRange: {cell.ServiceRange}\nnetwork:\n  nodePrefix: {cell.NodePrefix ?? 24}\n");
        Lists("peers", request.Peers.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => (p.Key, string.Join(", ", p.Value))));
        Lists("otherPods", plan.Cells.Where(c => c != cell && c.PodRange is not null).Select(c => (c.Name, c.PodRange!.Value.ToString())));
        return text.ToString();

        void Lists(string field, IEnumerable<(string Name, string Ranges)> lists)
        {
            foreach (var (list, i) in lists.Select((l, i) => (l, i)))
            {
                text.Append(CultureInfo.InvariantCulture, $"{(i == 0 ? $"  {field}:\n" : "")}    {Quoted(list.Name)}: [{list.Ranges}]\n");
            }
        }
    }

    // What was read as a name may look like a number, or be any text (peers).
    private static string Quoted(string text) => $"\"{JsonEncodedText.Encode(text, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";

    private static string Write(Action<Utf8JsonWriter> write)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, Options))
        {
            write(json);
        }

        return Encoding.UTF8.GetString(buffer.ToArray()) + "\n";
    }

    private static void WriteDocument(Utf8JsonWriter json, AddressPlanRequest request)
    {
        json.WriteStartObject();
        json.WriteString("apiVersion", request.ApiVersion);
        json.WriteString("kind", request.Kind);
        json.WriteString("customer", request.Customer);
        json.WriteString("environment", request.Environment);
        json.WriteString("region", request.Region);
        json.WriteStartArray("zones");
        foreach (var zone in request.Zones)
        {
            json.WriteStringValue(zone);
        }

        json.WriteEndArray();
        json.WriteString("range", request.Range.ToString());
        json.WriteString("podAddresses", Word(request.PodAddresses));
        if (request.Vpc.Count > 0)
        {
            Ranges(json, "vpc", request.Vpc);
        }

        if (request.Peers.Count > 0)
        {
            json.WriteStartObject("peers");
            foreach (var (name, ranges) in request.Peers.OrderBy(p => p.Key, StringComparer.Ordinal))
            {
                Ranges(json, name, ranges);
            }

            json.WriteEndObject();
        }

        if (request.Reuse.Count > 0)
        {
            json.WriteStartArray("reuse");
            foreach (var part in request.Reuse)
            {
                json.WriteStringValue(part == AddressPart.Pods ? "pods" : "services");
            }

            json.WriteEndArray();
        }

        Number(json, "routeQuota", request.RouteQuota);
        json.WriteStartArray("cells");
        foreach (var cell in request.Cells)
        {
            json.WriteStartObject();
            json.WriteString("name", cell.Name);
            json.WriteNumber("nodes", cell.Nodes);
            json.WriteNumber("podsPerNode", cell.PodsPerNode);
            json.WriteNumber("services", cell.Services);
            Number(json, "interfacesPerNode", cell.InterfacesPerNode);
            Number(json, "nodePrefix", cell.NodePrefix);
            Range(json, "nodeRange", cell.NodeRange);
            Number(json, "zoneSlots", cell.ZoneSlots);
            Range(json, "podRange", cell.PodRange);
            Range(json, "serviceRange", cell.ServiceRange);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static IEnumerable<string[]> Rows(PlannedCell cell, AddressPlanRequest request)
    {
        var first = true;
        foreach (var (zone, range) in cell.Subnets)
        {
            yield return [first ? cell.Name : "", $"subnet {zone}", range.ToString(), string.Create(CultureInfo.InvariantCulture, $"{range.Size} addresses")];
            first = false;
        }

        if (cell.PodRange is { } pods)
        {
            yield return ["", string.Create(CultureInfo.InvariantCulture, $"pods, a /{cell.NodePrefix} a node"), pods.ToString(),
                string.Create(CultureInfo.InvariantCulture, $"{1L << (cell.NodePrefix!.Value - pods.Prefix)} nodes")];
        }

        yield return ["", "services", cell.ServiceRange.ToString(),
            string.Create(CultureInfo.InvariantCulture, $"{cell.Holds.Services} services; DNS {cell.DnsAddress}")];
        var zones = request.Zones.Count > 1 ? string.Create(CultureInfo.InvariantCulture, $"; {cell.HoldsWithoutZone} without a zone") : "";
        yield return
        [
            "", "in all", "",
            string.Create(CultureInfo.InvariantCulture, $"{cell.Holds.Nodes} nodes ({cell.Holds.NodesBy} end first{zones}), {cell.Holds.Pods} pods"),
        ];
    }

    private static string Columns(string[] head, IReadOnlyList<string[]> rows)
    {
        var widths = head.Select((h, i) => rows.Select(r => r[i].Length).Append(h.Length).Max()).ToArray();
        return string.Concat(rows.Prepend(head).Select(row => "  " + string.Join("  ", row.Select((cell, i) => cell.PadRight(widths[i]))).TrimEnd() + "\n"));
    }

    private static string Word(PodAddressing addressing) => JsonNamingPolicy.CamelCase.ConvertName(addressing.ToString());

    private static void Ranges(Utf8JsonWriter json, string name, IReadOnlyList<Cidr> ranges)
    {
        json.WriteStartArray(name);
        foreach (var range in ranges)
        {
            json.WriteStringValue(range.ToString());
        }

        json.WriteEndArray();
    }

    private static void Number(Utf8JsonWriter json, string name, int? number)
    {
        if (number is { } value)
        {
            json.WriteNumber(name, value);
        }
    }

    private static void Range(Utf8JsonWriter json, string name, Cidr? range)
    {
        if (range is { } value)
        {
            json.WriteString(name, value.ToString());
        }
    }
}
