using System.Text.Json;
using NodeAgent.Advice;
using NodeAgent.Configuration;

namespace NodeAgent.Commands;

/// <summary>Advice as plan, config check and apply tell it.</summary>
internal static class AdviceText
{
    public static string Line(Advisory advisory) =>
        $"{advisory.Name}: {(advisory.IsRefused ? "REFUSED: " : "")}{advisory.Says}. To do: {advisory.Remedy} [{advisory.Reference}]";

    /// <summary>Fields are only ever added.</summary>
    public static void WriteJson(Utf8JsonWriter json, IReadOnlyList<Advisory> advice)
    {
        if (advice.Count == 0)
        {
            return;
        }

        json.WriteStartArray("advice");
        foreach (var advisory in advice)
        {
            json.WriteStartObject();
            json.WriteString("name", advisory.Name);
            json.WriteString("level", advisory.IsRefused ? "refuse" : "warn");
            json.WriteString("says", advisory.Says);
            json.WriteString("remedy", advisory.Remedy);
            json.WriteString("reference", advisory.Reference);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}

/// <summary>What <c>config check</c> found.</summary>
/// <param name="Unseen">Why nothing was held against a machine; null where it was.</param>
internal sealed record CheckedConfig(LoadedConfig Loaded, IReadOnlyList<Advisory> Advice, string? Unseen);
