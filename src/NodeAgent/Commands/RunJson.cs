using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using NodeAgent.Convergence;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>What an apply came to, for programs. Fields are only ever added.</summary>
internal static class RunJson
{
    public static string Write(RunResult result, string node, int exitCode, Timeline timeline)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("node", node);
            json.WriteNumber("exitCode", exitCode);
            json.WriteNumber("changed", result.Count<Changed>());
            json.WriteNumber("inSync", result.Count<Held>());
            json.WriteStartArray("steps");
            foreach (var step in result.Steps.Where(s => s.Outcome is not Held))
            {
                json.WriteStartObject();
                json.WriteString("resource", step.Resource.Id);
                json.WriteString("outcome", RunText.Verb(step.Outcome));
                json.WriteString("why", RunText.Why(step.Outcome));
                json.WriteNumber("seconds", Math.Round(step.Duration.TotalSeconds, 3));
                json.WriteEndObject();
            }

            json.WriteEndArray();
            WriteNotes(json, result.Notes);
            Write("phaseSeconds", timeline.Seconds(p => p.Duration));
            Write("processorSeconds", timeline.Seconds(p => p.Processor.Own));
            Write("programsProcessorSeconds", timeline.Seconds(p => p.Processor.Programs));
            json.WriteEndObject();

            void Write(string name, IReadOnlyDictionary<string, double> byPhase)
            {
                json.WriteStartObject(name);
                foreach (var (phase, seconds) in byPhase)
                {
                    json.WriteNumber(phase, seconds);
                }

                json.WriteEndObject();
            }
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    /// <summary>What is only said; left out where nothing is.</summary>
    public static void WriteNotes(Utf8JsonWriter json, IReadOnlyList<(Resource Resource, string Note)> notes)
    {
        if (notes.Count == 0)
        {
            return;
        }

        json.WriteStartArray("notes");
        foreach (var (resource, note) in notes)
        {
            json.WriteStartObject();
            json.WriteString("resource", resource.Id);
            json.WriteString("note", note);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
