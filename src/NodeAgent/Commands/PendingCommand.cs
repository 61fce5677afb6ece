using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using NodeAgent.Configuration;
using NodeAgent.Machine;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>nodeagent config show --pending: what is new to this node, and when it takes it. A reader's command.</summary>
internal static class PendingCommand
{
    private static readonly TimeSpan Deadline = TimeSpan.FromMinutes(1);

    public static Task<int> Run(TextWriter output, bool json, CancellationToken stop) =>
        Errors.Within(Deadline, cancellation => Look(output, json, cancellation), stop);

    private static async Task<int> Look(TextWriter output, bool json, CancellationToken cancellation)
    {
        using var machine = new LinuxReader(cancellation);
        var inputs = await NodeInputs.FromMachine(machine, [], Deadline, new Timeline(), cancellation).ConfigureAwait(false);
        var look = AdoptionLook.At(inputs, machine, AdoptionLook.ReadRecord(inputs.Facts.Instance.Id));
        var exitCode = look is { Plan: null, Record: not null } ? ExitCode.Ok : ExitCode.ChangesPending;
        await output.WriteLineAsync(json ? PendingJson.Write(look, exitCode) : PendingText.Write(look)).ConfigureAwait(false);
        return exitCode;
    }
}

internal static class PendingText
{
    public static string Write(AdoptionLook look)
    {
        if (look.Record is null || look.Pending is null)
        {
            return look.Sentence();
        }

        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"Configuration {look.Values.Digest} is not the one that this node was made from, ");
        text.Append(CultureInfo.InvariantCulture, $"{look.Record.Adopted.Digest}, adopted at {Rfc3339.Text(look.Record.AdoptedAt)}:\n");
        foreach (var (path, before, after, origin) in look.Differences)
        {
            var other = before is not null && before == after ? " (another)" : "";
            text.Append(CultureInfo.InvariantCulture, $"  {path}: {Short(before)} -> {Short(after)}{other}  # {origin ?? "no layer"}\n");
        }

        text.Append(CultureInfo.InvariantCulture, $"Taking it: {look.WhatItDoes()}; 'nodeagent plan' says which.\n");
        foreach (var obstacle in look.Obstacles)
        {
            text.Append(CultureInfo.InvariantCulture, $"Not before this is settled: {obstacle}\n");
        }

        return text.Append(look.When()).ToString();
    }

    private static string Short(string? value) => value is null ? "not set" : ConfigScalar.Shortened(value);
}

/// <summary>Fields are only ever added.</summary>
internal static class PendingJson
{
    private static readonly JsonWriterOptions Options = new() { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static string Write(AdoptionLook look, int exitCode)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, Options))
        {
            var status = look.ForStatus();
            json.WriteStartObject();
            json.WriteNumber("exitCode", exitCode);
            json.WriteString("says", look.Sentence());
            json.WriteString("when", status.When);
            json.WriteString("adopted", status.Adopted);
            json.WriteString("adoptedAt", status.AdoptedAt);
            json.WriteString("pending", status.Pending);
            json.WriteString("pendingSince", status.PendingSince);
            json.WriteString("slot", status.Slot);
            json.WriteNumber("changes", look.Plan?.Changes ?? 0);
            json.WriteBoolean("disruptive", look.IsDisruptive);
            json.WriteStartArray("obstacles");
            foreach (var obstacle in look.Obstacles)
            {
                json.WriteStringValue(obstacle);
            }

            json.WriteEndArray();
            json.WriteStartArray("differences");
            foreach (var difference in look.Differences)
            {
                json.WriteStartObject();
                json.WriteString("path", difference.Path);
                Value("before", difference.Before);
                Value("after", difference.After);
                json.WriteString("origin", difference.Origin);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();

            // As it is, but for secrets, which show as text.
            void Value(string name, string? value)
            {
                json.WritePropertyName(name);
                if (value is null)
                {
                    json.WriteNullValue();
                }
                else if (value == ConfigPrinter.Mask)
                {
                    json.WriteStringValue(value);
                }
                else
                {
                    json.WriteRawValue(value);
                }
            }
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }
}
