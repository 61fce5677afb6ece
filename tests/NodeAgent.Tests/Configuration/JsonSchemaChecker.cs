using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace NodeAgent.Tests.Configuration;

/// <summary>
/// The keywords of JSON Schema 2020-12 that we write, as the specification has them. One that it does not know fails, since it would not be held against
/// anything.
/// </summary>
internal static class JsonSchemaChecker
{
    public static IReadOnlyList<string> Errors(JsonElement schema, JsonElement value)
    {
        var errors = new List<string>();
        Check(schema, value, "", errors);
        return errors;
    }

    private static void Check(JsonElement schema, JsonElement value, string path, List<string> errors)
    {
        foreach (var keyword in schema.EnumerateObject())
        {
            switch (keyword.Name)
            {
                case "$schema" or "title" or "description" or "default":
                    break;
                case "type":
                    var types = keyword.Value.ValueKind == JsonValueKind.Array
                        ? keyword.Value.EnumerateArray().Select(t => t.GetString()!)
                        : [keyword.Value.GetString()!];
                    Require(types.Any(t => Is(value, t)), $"is {value.ValueKind}, should be {keyword.Value}");
                    break;
                case "enum":
                    Require(keyword.Value.EnumerateArray().Any(e => JsonElement.DeepEquals(e, value)), $"{value} is not in {keyword.Value}");
                    break;
                case "const":
                    Require(JsonElement.DeepEquals(keyword.Value, value), $"{value} is not {keyword.Value}");
                    break;
                case "pattern":
                    Require(
                        value.ValueKind != JsonValueKind.String || Regex.IsMatch(value.GetString()!, keyword.Value.GetString()!, RegexOptions.ECMAScript),
                        $"{value} does not match {keyword.Value}");
                    break;
                case "required":
                    foreach (var name in keyword.Value.EnumerateArray().Select(n => n.GetString()!))
                    {
                        Require(value.ValueKind != JsonValueKind.Object || value.TryGetProperty(name, out _), $"lacks {name}");
                    }

                    break;
                case "properties":
                    break;
                case "additionalProperties" when value.ValueKind == JsonValueKind.Object:
                    Properties(schema, keyword.Value, value, path, errors);
                    break;
                case "additionalProperties":
                    break;
                case "items":
                    var items = value.ValueKind == JsonValueKind.Array ? value.EnumerateArray().ToList() : [];
                    for (var i = 0; i < items.Count; i++)
                    {
                        Check(keyword.Value, items[i], string.Create(CultureInfo.InvariantCulture, $"{path}[{i}]"), errors);
                    }

                    break;
                default:
                    throw new NotSupportedException($"the keyword {keyword.Name} is not known to this checker");
            }
        }

        void Require(bool holds, string otherwise)
        {
            if (!holds)
            {
                errors.Add($"{path}: {otherwise}");
            }
        }
    }

    private static void Properties(JsonElement schema, JsonElement others, JsonElement value, string path, List<string> errors)
    {
        foreach (var property in value.EnumerateObject())
        {
            var child = $"{path}.{property.Name}";
            if (schema.TryGetProperty("properties", out var known) && known.TryGetProperty(property.Name, out var own))
            {
                Check(own, property.Value, child, errors);
            }
            else if (others.ValueKind == JsonValueKind.False)
            {
                errors.Add($"{child}: is not known");
            }
            else
            {
                Check(others, property.Value, child, errors);
            }
        }
    }

    private static bool Is(JsonElement value, string type) => type switch
    {
        "null" => value.ValueKind == JsonValueKind.Null,
        "object" => value.ValueKind == JsonValueKind.Object,
        "array" => value.ValueKind == JsonValueKind.Array,
        "string" => value.ValueKind == JsonValueKind.String,
        "boolean" => value.ValueKind is JsonValueKind.True or JsonValueKind.False,
        "number" => value.ValueKind == JsonValueKind.Number,
        "integer" => value.ValueKind == JsonValueKind.Number && value.GetDecimal() % 1 == 0,
        _ => throw new NotSupportedException($"there is no type {type}"),
    };
}
