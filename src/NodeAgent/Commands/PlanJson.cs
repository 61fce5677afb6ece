using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using NodeAgent.Advice;
using NodeAgent.Convergence;

namespace NodeAgent.Commands;

/// <summary>A plan for programs. Fields are only ever added.</summary>
internal static class PlanJson
{
    private static readonly JsonWriterOptions Options = new() { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <param name="diffs">False where the files themselves stand beside it.</param>
    public static string Write(Plan plan, string? node, IReadOnlyList<string>? standIns = null, bool diffs = true, IReadOnlyList<Advisory>? advice = null)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, Options))
        {
            json.WriteStartObject();
            json.WriteString("node", node);
            if (standIns is { Count: > 0 })
            {
                json.WriteStartArray("standIns");
                foreach (var standIn in standIns)
                {
                    json.WriteStringValue(standIn);
                }

                json.WriteEndArray();
            }

            AdviceText.WriteJson(json, advice ?? []);
            json.WriteNumber("changes", plan.Changes);
            json.WriteNumber("refused", plan.Refusals);
            json.WriteNumber("unknown", plan.Unknowns);
            json.WriteNumber("resources", plan.Steps.Count);
            json.WriteStartArray("steps");
            foreach (var step in plan.Steps.Where(s => s.Finding is not InSync))
            {
                Write(json, step, diffs);
            }

            json.WriteEndArray();
            RunJson.WriteNotes(json, plan.Notes);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private static void Write(Utf8JsonWriter json, PlannedStep step, bool diffs)
    {
        json.WriteStartObject();
        json.WriteString("resource", step.Resource.Id);
        json.WriteString("kind", step.Resource.Kind);
        json.WriteString("name", step.Resource.Name);
        json.WriteString("concern", CamelCase(step.Resource.Concern.ToString()));
        json.WriteString("finding", CamelCase(step.Finding.GetType().Name));
        switch (step.Finding)
        {
            case Change change:
                Write(json, change, diffs);
                break;
            case After after:
                json.WriteString("after", after.Ground.Id);
                Write(json, after.Expected, diffs);
                break;
            case Refused refused:
                json.WriteString("why", refused.Why);
                json.WriteString("remedy", refused.Remedy);
                break;
            case Unknown unknown:
                json.WriteString("why", unknown.Why);
                break;
        }

        if (step.BlockedBy is { } blocker)
        {
            json.WriteString("blockedBy", blocker.Id);
        }

        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, Change change, bool diffs)
    {
        json.WriteString("why", change.Why);
        json.WriteString("disruption", CamelCase(change.Disruption.ToString()));
        if (diffs && change.Diff is { } diff)
        {
            json.WriteString("diff", diff);
        }
    }

    private static string CamelCase(string name) => JsonNamingPolicy.CamelCase.ConvertName(name);
}
