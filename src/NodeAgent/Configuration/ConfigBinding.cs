using System.Buffers;
using System.Globalization;
using System.Text.Json;

namespace NodeAgent.Configuration;

/// <summary>Holds a tree against the schema, and turns one that fits into the records.</summary>
internal static class ConfigBinding
{
    /// <summary>Unknown fields, wrong types, values that do not parse. What is missing is not seen here, since no layer need be whole.</summary>
    public static void Check(ConfigValue value, ConfigSchema schema, string path, List<ConfigError> errors, bool inMap = false)
    {
        if (value is ConfigNull)
        {
            return;
        }

        switch (schema.Shape)
        {
            case ConfigShape.Object when value is ConfigMap map:
                foreach (var (name, child) in map.Entries)
                {
                    if (schema.Field(name) is { } field)
                    {
                        Check(child, field.Schema, ConfigPath.Child(path, name), errors);
                    }
                    else
                    {
                        errors.Add(new(child.Key, path, UnknownField(name, path, schema)));
                    }
                }

                return;
            case ConfigShape.Map when value is ConfigMap map:
                foreach (var (name, child) in map.Entries)
                {
                    Check(child, schema.Element!, ConfigPath.Child(path, name), errors, inMap: true);
                }

                return;
            case ConfigShape.List when value is ConfigList list:
                for (var i = 0; i < list.Items.Count; i++)
                {
                    if (list.Items[i] is ConfigNull item)
                    {
                        errors.Add(new(item.Origin, ConfigPath.Item(path, i), "a list cannot hold null"));
                    }

                    Check(list.Items[i], schema.Element!, ConfigPath.Item(path, i), errors);
                }

                return;
            case ConfigShape.Scalar when value is ConfigScalar scalar:
                CheckScalar(scalar, schema.Leaf!, path, inMap, errors);
                return;
            case ConfigShape.Free when value is ConfigMap:
                CheckFree(value, path, errors);
                return;
            default:
                errors.Add(new(value.Origin, path, $"expected {Expected(schema)}, found {(BearsSecret(schema) ? value.Kind : value.Description)}"));
                return;
        }
    }

    /// <summary>What every node needs and no layer gives.</summary>
    public static void CheckRequired(ConfigValue value, ConfigSchema schema, string path, List<ConfigError> errors, bool inCollection = false)
    {
        switch (value)
        {
            case ConfigMap map when schema.Shape == ConfigShape.Object:
                foreach (var field in schema.Fields)
                {
                    var child = map.Entries.GetValueOrDefault(field.Name);
                    var name = ConfigPath.Child(path, field.Name);
                    if (child is not null and not ConfigNull)
                    {
                        CheckRequired(child, field.Schema, name, errors, inCollection);
                    }
                    else if (field.IsRequired && field.Schema.Shape is not (ConfigShape.Map or ConfigShape.List or ConfigShape.Free))
                    {
                        // An item of a list or map was written somewhere, and is pointed at; a setting of the node may be missing everywhere.
                        errors.Add(child is not null ? new(child.Origin, name, "required, but removed here by null")
                            : inCollection ? new(map.Origin, name, $"required, but not given here; expected {Expected(field.Schema)}")
                            : new(null, name, $"required, but no layer gives it; expected {Expected(field.Schema)}"));
                    }
                }

                break;
            case ConfigMap map when schema.Shape == ConfigShape.Map:
                foreach (var (key, child) in map.Entries)
                {
                    CheckRequired(child, schema.Element!, ConfigPath.Child(path, key), errors, inCollection: true);
                }

                break;
            case ConfigList list when schema.Shape == ConfigShape.List:
                for (var i = 0; i < list.Items.Count; i++)
                {
                    CheckRequired(list.Items[i], schema.Element!, ConfigPath.Item(path, i), errors, inCollection: true);
                }

                break;
        }
    }

    /// <summary>Whether a value stands where a secret belongs; the tree need not fit otherwise. Removing one (null) holds none.</summary>
    public static bool HoldsSecret(ConfigValue value, ConfigSchema schema) => (value, schema.Shape) switch
    {
        (ConfigNull, _) => false,
        (ConfigMap map, ConfigShape.Object) => map.Entries.Any(e => schema.Field(e.Key) is { } field && HoldsSecret(e.Value, field.Schema)),
        (ConfigMap map, ConfigShape.Map) => map.Entries.Any(e => HoldsSecret(e.Value, schema.Element!)),
        (ConfigList list, ConfigShape.List) => list.Items.Any(i => HoldsSecret(i, schema.Element!)),
        _ => BearsSecret(schema),
    };

    // What is in the wrong form may hold the secret all the same.
    private static bool BearsSecret(ConfigSchema schema) =>
        schema.Leaf?.IsSecret == true || (schema.Element is { } element && BearsSecret(element)) || schema.Fields.Any(f => BearsSecret(f.Schema));

    /// <param name="tree">Has passed <see cref="Check"/> and <see cref="CheckRequired"/>.</param>
    public static NodeConfig Bind(ConfigMap tree)
    {
        var buffer = new ArrayBufferWriter<byte>(8192);
        using (var writer = new Utf8JsonWriter(buffer))
        {
            Write(writer, tree, ConfigSchema.Root);
        }

        return JsonSerializer.Deserialize(buffer.WrittenSpan, ConfigJson.Default.NodeConfig)!;
    }

    /// <summary>Keys of maps in ordinal order: the same configuration gives the same bytes, however its layers are cut.</summary>
    public static IEnumerable<KeyValuePair<string, ConfigValue>> Sorted(ConfigMap map)
    {
        var entries = new KeyValuePair<string, ConfigValue>[map.Entries.Count];
        ((ICollection<KeyValuePair<string, ConfigValue>>)map.Entries).CopyTo(entries, 0);
        Array.Sort(entries, static (a, b) => string.CompareOrdinal(a.Key, b.Key));
        return entries;
    }

    /// <summary>As JSON has it: "0x10" is 16.</summary>
    public static string IntegerText(string text)
    {
        // Nearly all numbers are plain digits, and 128-bit arithmetic is slow to start.
        if (text.Length <= 18 && text[0] != '0' && !text.AsSpan().ContainsAnyExceptInRange('0', '9'))
        {
            return text;
        }

        return WideIntegerText(text);
    }

    private static string WideIntegerText(string text)
    {
        var sign = text.StartsWith('-') ? "-" : "";
        var digits = text.TrimStart('+', '-');
        var value = digits.StartsWith("0x", StringComparison.Ordinal)
            ? Int128.Parse(digits.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)
            : digits.StartsWith("0o", StringComparison.Ordinal) ? Octal(digits.AsSpan(2))
            : Int128.Parse(digits, NumberStyles.None, CultureInfo.InvariantCulture);
        return value == 0 ? "0" : sign + value.ToString(CultureInfo.InvariantCulture);

        static Int128 Octal(ReadOnlySpan<char> digits)
        {
            Int128 value = 0;
            foreach (var digit in digits)
            {
                value = checked((value * 8) + (digit - '0'));
            }

            return value;
        }
    }

    private static void CheckScalar(ConfigScalar scalar, ConfigLeaf leaf, string path, bool inMap, List<ConfigError> errors)
    {
        if (leaf.IsText)
        {
            // A number where a name belongs is more often a slip than meant. Values of maps (sysctls, labels, flags) are taken as they are written: 1 means 1.
            if (scalar.Type != ScalarType.Text && !scalar.Origin.IsTag && !inMap)
            {
                errors.Add(new(
                    scalar.Origin,
                    path,
                    leaf.IsSecret
                        ? $"expected text, found {scalar.Kind}; put it in quotes"
                        : $"expected text, found {scalar.Description}; put it in quotes"));
            }

            return;
        }

        if (leaf.IsInteger && scalar.Type == ScalarType.Text && leaf.Words.Contains(scalar.Text))
        {
            return;
        }

        if (leaf.IsInteger)
        {
            if (scalar.Type != ScalarType.Integer || !IsInteger(scalar.Text))
            {
                errors.Add(new(scalar.Origin, path, $"expected {leaf.Expected}, found {scalar.Description}"));
            }
            else if (!int.TryParse(IntegerText(scalar.Text), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _))
            {
                errors.Add(new(scalar.Origin, path, $"the number {scalar.Text} is too large"));
            }

            return;
        }

        if (leaf.IsBoolean)
        {
            if (scalar.Type != ScalarType.Boolean)
            {
                errors.Add(new(scalar.Origin, path, $"expected true or false, found {scalar.Description}"));
            }

            return;
        }

        if (leaf.Choices.Count > 0)
        {
            if (!leaf.Choices.Contains(scalar.Text))
            {
                var near = Nearest(scalar.Text, leaf.Choices);
                errors.Add(new(
                    scalar.Origin, path, $"expected {Expected(leaf)}, found {scalar.Description}{(near is null ? "" : $"; did you mean '{near}'?")}"));
            }

            return;
        }

        try
        {
            leaf.Parse!(scalar.Text);
        }
        catch (FormatException e)
        {
            errors.Add(new(scalar.Origin, path, e.Message));
        }
    }

    private static void CheckFree(ConfigValue value, string path, List<ConfigError> errors)
    {
        switch (value)
        {
            case ConfigMap map:
                foreach (var (key, child) in map.Entries)
                {
                    CheckFree(child, ConfigPath.Child(path, key), errors);
                }

                break;
            case ConfigList list:
                for (var i = 0; i < list.Items.Count; i++)
                {
                    CheckFree(list.Items[i], ConfigPath.Item(path, i), errors);
                }

                break;
            case ConfigScalar { Type: ScalarType.Integer } scalar when !IsInteger(scalar.Text):
                errors.Add(new(scalar.Origin, path, $"the number {ConfigScalar.Shortened(scalar.Text)} is too large"));
                break;
            case ConfigScalar { Type: ScalarType.Float } scalar when !TryFloat(scalar.Text, out _):
                errors.Add(new(scalar.Origin, path, $"{ConfigScalar.Shortened(scalar.Text)} has no form in JSON, which this becomes"));
                break;
        }
    }

    private static bool IsInteger(string text) => text.Length <= 24
        && decimal.TryParse(IntegerText(text), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value)
        && value is >= long.MinValue and <= ulong.MaxValue;

    private static bool TryFloat(string text, out double value) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value) && double.IsFinite(value);

    /// <param name="mask">Stands for every secret; null writes them, for binding.</param>
    public static void Write(Utf8JsonWriter writer, ConfigValue value, ConfigSchema schema, string? mask = null)
    {
        switch (schema.Shape)
        {
            case ConfigShape.Object:
                var entries = ((ConfigMap)value).Entries;
                writer.WriteStartObject();
                foreach (var field in schema.Fields)
                {
                    var child = entries.GetValueOrDefault(field.Name);
                    if (child is not null and not ConfigNull)
                    {
                        writer.WritePropertyName(field.Name);
                        Write(writer, child, field.Schema, mask);
                    }
                    else if (!field.MayBeAbsent && field.Schema.Shape is ConfigShape.List)
                    {
                        writer.WriteStartArray(field.Name);
                        writer.WriteEndArray();
                    }
                    else if (!field.MayBeAbsent && field.Schema.Shape is ConfigShape.Map or ConfigShape.Free)
                    {
                        writer.WriteStartObject(field.Name);
                        writer.WriteEndObject();
                    }
                }

                writer.WriteEndObject();
                break;
            case ConfigShape.Map:
                writer.WriteStartObject();
                foreach (var (key, child) in Sorted((ConfigMap)value))
                {
                    if (child is not ConfigNull)
                    {
                        writer.WritePropertyName(key);
                        Write(writer, child, schema.Element!, mask);
                    }
                }

                writer.WriteEndObject();
                break;
            case ConfigShape.List:
                writer.WriteStartArray();
                foreach (var item in ((ConfigList)value).Items)
                {
                    Write(writer, item, schema.Element!, mask);
                }

                writer.WriteEndArray();
                break;
            case ConfigShape.Scalar:
                var scalar = (ConfigScalar)value;
                if (schema.Leaf!.IsInteger && scalar.Type == ScalarType.Integer)
                {
                    writer.WriteRawValue(IntegerText(scalar.Text));
                }
                else if (schema.Leaf.IsBoolean)
                {
                    writer.WriteBooleanValue(scalar.Text[0] is 't' or 'T');
                }
                else
                {
                    writer.WriteStringValue(mask is not null && schema.Leaf.IsSecret ? mask : scalar.Text);
                }

                break;
            case ConfigShape.Free:
                WriteFree(writer, value);
                break;
        }
    }

    // Null stays: it removes from what is computed, one layer below all of these.
    public static void WriteFree(Utf8JsonWriter writer, ConfigValue value)
    {
        switch (value)
        {
            case ConfigMap map:
                writer.WriteStartObject();
                foreach (var (key, child) in Sorted(map))
                {
                    writer.WritePropertyName(key);
                    WriteFree(writer, child);
                }

                writer.WriteEndObject();
                break;
            case ConfigList list:
                writer.WriteStartArray();
                foreach (var item in list.Items)
                {
                    WriteFree(writer, item);
                }

                writer.WriteEndArray();
                break;
            case ConfigScalar { Type: ScalarType.Integer } scalar:
                writer.WriteRawValue(IntegerText(scalar.Text));
                break;
            case ConfigScalar { Type: ScalarType.Float } scalar:
                writer.WriteNumberValue(double.Parse(scalar.Text, NumberStyles.Float, CultureInfo.InvariantCulture));
                break;
            case ConfigScalar { Type: ScalarType.Boolean } scalar:
                writer.WriteBooleanValue(scalar.Text[0] is 't' or 'T');
                break;
            case ConfigScalar scalar:
                writer.WriteStringValue(scalar.Text);
                break;
            default:
                writer.WriteNullValue();
                break;
        }
    }

    private static string Expected(ConfigSchema schema) => schema.Shape switch
    {
        ConfigShape.List => "a list",
        ConfigShape.Scalar => Expected(schema.Leaf!),
        _ => "a map",
    };

    private static string Expected(ConfigLeaf leaf) => leaf.Choices.Count == 0 ? leaf.Expected
        : leaf.Choices.Count == 1 ? $"'{leaf.Choices[0]}'"
        : $"one of {string.Join(", ", leaf.Choices)}";

    /// <summary>The nearest real name here; failing that, where in the schema there is a field of that name.</summary>
    public static string UnknownField(string name, string path, ConfigSchema schema, params ReadOnlySpan<string> alsoHere)
    {
        var here = new List<string>(alsoHere.Length + schema.Fields.Count);
        here.AddRange(alsoHere);
        foreach (var field in schema.Fields)
        {
            here.Add(field.Name);
        }

        if (Nearest(name, here) is { } near)
        {
            return $"unknown field '{name}'; did you mean '{near}'?";
        }

        var elsewhere = new List<string>();
        foreach (var (other, field) in ConfigSchema.Root.AllFields())
        {
            if (string.Equals(field.Name, name, StringComparison.OrdinalIgnoreCase) && other != path)
            {
                elsewhere.Add(other);
            }
        }

        return elsewhere.Count is > 0 and <= 3
            ? $"unknown field '{name}'; it belongs at {string.Join(" or ", elsewhere)}"
            : $"unknown field '{name}'; known here: {string.Join(", ", here)}";
    }

    /// <summary>The choice that a slip of the fingers makes of <paramref name="text"/>; null when none is near.</summary>
    public static string? Nearest(string text, IReadOnlyList<string> choices)
    {
        string? best = null;
        var least = Math.Max(1, Math.Min(text.Length, 24) / 3) + 1;
        foreach (var choice in choices)
        {
            var distance = Distance(text.ToLowerInvariant(), choice.ToLowerInvariant());
            if (distance < least)
            {
                (best, least) = (choice, distance);
            }
        }

        return best;
    }

    /// <summary>Edits between two words; two letters swapped count as one (optimal string alignment).</summary>
    private static int Distance(string a, string b)
    {
        if (a.Length > 64 || b.Length > 64)
        {
            return int.MaxValue;
        }

        var before = new int[b.Length + 1];
        var last = new int[b.Length + 1];
        var row = new int[b.Length + 1];
        for (var j = 0; j <= b.Length; j++)
        {
            last[j] = j;
        }

        for (var i = 1; i <= a.Length; i++)
        {
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                row[j] = Math.Min(Math.Min(row[j - 1], last[j]) + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    row[j] = Math.Min(row[j], before[j - 2] + 1);
                }
            }

            (before, last, row) = (last, row, before);
        }

        return last[b.Length];
    }
}
