using System.Globalization;
using System.Text;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace NodeAgent.Configuration;

/// <summary>
/// One YAML 1.2 document (JSON is one, too) to a tree with places, from the parser's events. Stricter than YAML: no anchors and aliases (which is what
/// bombs are made of), no tags, no merge keys, no duplicate keys, keys are text, one document, bounded size and depth.
/// </summary>
internal sealed class YamlReader
{
    public const int MaximumBytes = 256 * 1024;

    private const int MaximumDepth = 32;

    // Enough to mend a file in one go; a file with more is something else altogether.
    private const int MaximumErrors = 50;

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly string _layer;
    private readonly bool _hasLines;
    private readonly string _text;
    private readonly List<ConfigError> _errors;
    private readonly Parser _parser;

    private YamlReader(string layer, string text, bool hasLines, List<ConfigError> errors)
    {
        (_layer, _text, _hasLines, _errors) = (layer, text, hasLines, errors);
        _parser = new Parser(new StringReader(text));
    }

    /// <returns>Null when it could not be read; <paramref name="errors"/> then says why.</returns>
    public static ConfigMap? ReadDocument(string layer, ReadOnlySpan<byte> content, List<ConfigError> errors)
    {
        if (content.Length > MaximumBytes)
        {
            errors.Add(new(
                new(layer, 1, 1),
                "",
                string.Create(CultureInfo.InvariantCulture, $"{content.Length} bytes are too many; at most {MaximumBytes} are read")));
            return null;
        }

        if (Decode(layer, content, errors) is not { } text)
        {
            return null;
        }

        var value = new YamlReader(layer, text, hasLines: true, errors).Read();
        switch (value)
        {
            case null:
                return null;
            case ConfigMap map:
                return map;
            default:
                errors.Add(new(
                    value.Origin,
                    "",
                    value is ConfigNull
                        ? "is empty; expected apiVersion, kind and settings"
                        : $"expected a map with apiVersion, kind and settings, found {value.Kind}"));
                return null;
        }
    }

    /// <summary>A scalar or flow value without lines of its own, as a tag holds it.</summary>
    public static ConfigValue? ReadValue(string layer, string text, List<ConfigError> errors) =>
        IsPrintable(layer, text, hasLines: false, errors) ? new YamlReader(layer, text, hasLines: false, errors).Read() : null;

    /// <summary>Whether a plain scalar of this text is text, and not null, a number or a boolean.</summary>
    public static bool IsText(string text) => !IsNull(text) && TypeOf(text) == ScalarType.Text;

    private static string? Decode(string layer, ReadOnlySpan<byte> content, List<ConfigError> errors)
    {
        if (content.StartsWith(Encoding.UTF8.Preamble))
        {
            content = content[Encoding.UTF8.Preamble.Length..];
        }

        string text;
        try
        {
            text = Utf8.GetString(content);
        }
        catch (DecoderFallbackException e)
        {
            var before = content[..Math.Clamp(e.Index, 0, content.Length)];
            var line = before.Count((byte)'\n') + 1;
            errors.Add(new(new(layer, line, before.Length - before.LastIndexOf((byte)'\n')), "", "is not UTF-8 text"));
            return null;
        }

        return IsPrintable(layer, text, hasLines: true, errors) ? text : null;
    }

    private static bool IsPrintable(string layer, string text, bool hasLines, List<ConfigError> errors)
    {
        var (line, start) = (1, 0);
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (c == '\n')
            {
                (line, start) = (line + 1, i + 1);
            }
            else if (c is (< ' ' and not '\t' and not '\r') or '\x7f' or '\ufffe' or '\uffff')
            {
                var origin = hasLines ? new Origin(layer, line, i - start + 1) : new(layer, 0, 0);
                errors.Add(new(origin, "", string.Create(CultureInfo.InvariantCulture, $"the control character U+{(int)c:X4} cannot stand in YAML")));
                return false;
            }
        }

        return true;
    }

    private ConfigValue? Read()
    {
        try
        {
            Expect<StreamStart>();
            if (_parser.Current is StreamEnd)
            {
                var origin = Place(_parser.Current.Start);
                return new ConfigNull(origin, origin);
            }

            Expect<DocumentStart>();
            var value = Value(null, "", 0);
            Expect<DocumentEnd>();
            if (_parser.Current is not StreamEnd)
            {
                throw Abandon(_parser.Current!.Start, "", "a second document begins here; only one is read");
            }

            return value;
        }
        catch (Abandoned)
        {
            return null;
        }
        catch (YamlException e)
        {
            AddSyntaxError(e);
            return null;
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or OverflowException or FormatException or IndexOutOfRangeException)
        {
            // The parser fails so on a few malformed escapes, "\UFFFFFFFF" among them.
            _errors.Add(new(Place(_parser.Current?.End ?? Mark.Empty), "", "is not valid YAML"));
            return null;
        }
    }

    private ConfigValue Value(Origin? key, string path, int depth)
    {
        var current = _parser.Current!;
        if (current is AnchorAlias alias)
        {
            throw Abandon(current.Start, path, $"aliases (*{alias.Value}) are not taken; write the value out");
        }

        if (current is not NodeEvent node)
        {
            throw Abandon(current.Start, path, "expected a value");
        }

        if (!node.Anchor.IsEmpty)
        {
            throw Abandon(current.Start, path, $"anchors (&{node.Anchor.Value}) are not taken; write the value out where it is needed");
        }

        if (!node.Tag.IsEmpty && !node.Tag.IsNonSpecific)
        {
            throw Abandon(current.Start, path, $"tags ({node.Tag.Value}) are not taken; quote what shall be text");
        }

        if (depth > MaximumDepth)
        {
            throw Abandon(current.Start, path, string.Create(CultureInfo.InvariantCulture, $"is nested more than {MaximumDepth} deep"));
        }

        var origin = Place(current.Start);
        switch (current)
        {
            case Scalar scalar:
                _parser.MoveNext();
                return ToValue(scalar, origin, key ?? origin, path);
            case SequenceStart:
                _parser.MoveNext();
                var items = new List<ConfigValue>();
                while (_parser.Current is not SequenceEnd)
                {
                    items.Add(Value(null, ConfigPath.Item(path, items.Count), depth + 1));
                }

                _parser.MoveNext();
                return new ConfigList(origin, key ?? origin, items);
            case MappingStart:
                _parser.MoveNext();
                var entries = new OrderedDictionary<string, ConfigValue>(StringComparer.Ordinal);
                while (_parser.Current is not MappingEnd)
                {
                    Entry(entries, path, depth);
                }

                _parser.MoveNext();
                return new ConfigMap(origin, key ?? origin, entries);
            default:
                throw Abandon(current.Start, path, "expected a value");
        }
    }

    private void Entry(OrderedDictionary<string, ConfigValue> entries, string path, int depth)
    {
        var current = _parser.Current!;
        if (current is not Scalar { Anchor.IsEmpty: true } scalar || (!scalar.Tag.IsEmpty && !scalar.Tag.IsNonSpecific))
        {
            throw Abandon(current.Start, path, "expected a key that is plain text");
        }

        var key = Place(current.Start);
        _parser.MoveNext();
        var child = ConfigPath.Child(path, scalar.Value);
        if (scalar is { Style: ScalarStyle.Plain, Value: "<<" })
        {
            throw Abandon(scalar.Start, path, "merge keys (<<) are not taken; write the values out");
        }

        if (!HasOnlyWholeCharacters(scalar.Value))
        {
            throw Abandon(scalar.Start, path, "the key holds half a surrogate pair or a control character");
        }

        if (scalar.Style == ScalarStyle.Plain && (IsNull(scalar.Value) || TypeOf(scalar.Value) != ScalarType.Text))
        {
            Add(scalar.Start, path, scalar.Value.Length == 0 ? "expected a key, found nothing" : $"keys are text; put '{scalar.Value}' in quotes");
        }

        var value = Value(key, child, depth + 1);
        if (entries.TryGetValue(scalar.Value, out var first))
        {
            Add(
                scalar.Start,
                child,
                _hasLines ? string.Create(CultureInfo.InvariantCulture, $"duplicate key, first given in line {first.Key.Line}") : "duplicate key");
            return;
        }

        entries.Add(scalar.Value, value);
    }

    private ConfigValue ToValue(Scalar scalar, Origin origin, Origin key, string path)
    {
        var text = scalar.Value;
        if (!HasOnlyWholeCharacters(text))
        {
            throw Abandon(scalar.Start, path, "holds half a surrogate pair or a control character");
        }

        return scalar.Style != ScalarStyle.Plain ? new ConfigScalar(origin, key, text, ScalarType.Text)
            : IsNull(text) ? new ConfigNull(origin, key)
            : new ConfigScalar(origin, key, text, TypeOf(text));
    }

    private static bool IsNull(string text) => text is "" or "~" or "null" or "Null" or "NULL";

    private static ScalarType TypeOf(string text)
    {
        if (text is "true" or "True" or "TRUE" or "false" or "False" or "FALSE")
        {
            return ScalarType.Boolean;
        }

        var span = text.AsSpan();
        if (span.StartsWith("0o") && span.Length > 2)
        {
            return span[2..].ContainsAnyExceptInRange('0', '7') ? ScalarType.Text : ScalarType.Integer;
        }

        if (span.StartsWith("0x") && span.Length > 2)
        {
            foreach (var c in span[2..])
            {
                if (!char.IsAsciiHexDigit(c))
                {
                    return ScalarType.Text;
                }
            }

            return ScalarType.Integer;
        }

        if (span.Length > 0 && span[0] is '+' or '-')
        {
            span = span[1..];
        }

        return span.Length == 0 ? ScalarType.Text
            : !span.ContainsAnyExceptInRange('0', '9') ? ScalarType.Integer
            : IsFloat(span) ? ScalarType.Float
            : text is ".nan" or ".NaN" or ".NAN" || span is ".inf" or ".Inf" or ".INF" ? ScalarType.Float
            : ScalarType.Text;
    }

    // ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
    private static bool IsFloat(ReadOnlySpan<char> span)
    {
        var whole = Digits(ref span);
        var fraction = 0;
        if (span.Length > 0 && span[0] == '.')
        {
            span = span[1..];
            fraction = Digits(ref span);
        }

        if (whole + fraction == 0)
        {
            return false;
        }

        if (span.Length > 0 && span[0] is 'e' or 'E')
        {
            span = span[1..];
            if (span.Length > 0 && span[0] is '+' or '-')
            {
                span = span[1..];
            }

            if (Digits(ref span) == 0)
            {
                return false;
            }
        }

        return span.Length == 0;
    }

    private static int Digits(ref ReadOnlySpan<char> span)
    {
        var count = span.IndexOfAnyExceptInRange('0', '9');
        count = count < 0 ? span.Length : count;
        span = span[count..];
        return count;
    }

    /// <summary>Escapes in double quotes can write what the text itself may not hold.</summary>
    private static bool HasOnlyWholeCharacters(string text)
    {
        for (var i = 0; i < text.Length; i++)
        {
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
            {
                i++;
            }
            else if (char.IsSurrogate(text[i]) || text[i] is (< ' ' and not '\t' and not '\n' and not '\r') or '\x7f')
            {
                return false;
            }
        }

        return true;
    }

    private void Expect<T>()
        where T : ParsingEvent
    {
        if (_parser.Current is null)
        {
            _parser.MoveNext();
        }

        if (_parser.Current is not T)
        {
            throw Abandon(_parser.Current?.Start ?? Mark.Empty, "", "is not valid YAML");
        }

        _parser.MoveNext();
    }

    private void AddSyntaxError(YamlException e)
    {
        if (e.Message.Contains("tab", StringComparison.Ordinal) && FirstTab(e.Start) is { } tab)
        {
            _errors.Add(new(tab, "", "a tab in the indentation; YAML takes spaces only"));
            return;
        }

        // "While parsing a flow sequence, did not find expected ',' or ']'." reads better in the place of a sentence's second half.
        var message = e.Message.TrimEnd('.', ' ');
        _errors.Add(new(Place(e.Start), "", message.Length == 0 ? "is not valid YAML" : $"not valid YAML: {char.ToLowerInvariant(message[0])}{message[1..]}"));
    }

    /// <summary>The parser points at where the surrounding construct began; the reader wants the tab itself.</summary>
    private Origin? FirstTab(in Mark from)
    {
        var line = 0;
        foreach (var text in _text.AsSpan().EnumerateLines())
        {
            line++;
            var tab = text.IndexOf('\t');
            if (line >= from.Line && tab >= 0 && text[..tab].Trim(' ').IsEmpty)
            {
                return _hasLines ? new(_layer, line, tab + 1) : Place(from);
            }
        }

        return null;
    }

    private Origin Place(in Mark mark) => _hasLines ? new(_layer, (int)Math.Max(1, mark.Line), (int)Math.Max(1, mark.Column)) : new(_layer, 0, 0);

    private void Add(in Mark mark, string path, string message)
    {
        _errors.Add(new(Place(mark), path, message));
        if (_errors.Count >= MaximumErrors)
        {
            throw new Abandoned();
        }
    }

    private Abandoned Abandon(in Mark mark, string path, string message)
    {
        _errors.Add(new(Place(mark), path, message));
        return new Abandoned();
    }

    private sealed class Abandoned : Exception;
}
