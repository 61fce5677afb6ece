using System.Text;

namespace NodeAgent.Configuration;

/// <summary>As much of MIME (RFC 2045, RFC 2046) as user data needs, strictly: what is cut off or malformed throws <see cref="FormatException"/>.</summary>
internal sealed class MimeEntity
{
    private static readonly string[] MimeHeads =
        ["content-type", "mime-version", "content-transfer-encoding", "content-disposition", "from", "to", "subject", "date"];

    // Latin-1 maps bytes to characters one to one, so that text and bytes share their offsets.
    private readonly string _body;
    private readonly Dictionary<string, string> _headers;
    private readonly string? _boundary;

    private MimeEntity(Dictionary<string, string> headers, string body)
    {
        (_headers, _body) = (headers, body);
        var type = headers.GetValueOrDefault("content-type", "text/plain");
        var end = type.IndexOf(';', StringComparison.Ordinal);
        MediaType = (end < 0 ? type : type[..end]).Trim().ToLowerInvariant();
        _boundary = end < 0 ? null : Parameter(type.AsSpan(end + 1), "boundary");
    }

    public string MediaType { get; }

    public bool IsMultipart => MediaType.StartsWith("multipart/", StringComparison.Ordinal);

    /// <summary>Whether the first line is a header that MIME messages begin with, and one of the headers is Content-Type.</summary>
    public static bool IsMime(byte[] content)
    {
        var text = Text(content);
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        return colon is > 0 and < 32 && Array.IndexOf(MimeHeads, text[..colon].ToLowerInvariant()) >= 0
            && text.Contains("content-type:", StringComparison.OrdinalIgnoreCase);
    }

    public static MimeEntity Parse(byte[] content) => Parse(Text(content));

    /// <exception cref="FormatException">Without a closing boundary the last part may be half of what was sent.</exception>
    public IEnumerable<MimeEntity> Parts()
    {
        if (string.IsNullOrEmpty(_boundary))
        {
            throw new FormatException($"is {MediaType} without a boundary");
        }

        var delimiter = $"--{_boundary}";
        var parts = new List<MimeEntity>();
        var start = -1;
        var closed = false;
        for (var at = 0; at < _body.Length && !closed;)
        {
            var end = _body.IndexOf('\n', at);
            var next = end < 0 ? _body.Length : end + 1;
            var line = _body.AsSpan(at, next - at).TrimEnd();
            if (line.StartsWith(delimiter) && line[delimiter.Length..] is "" or "--")
            {
                closed = line.Length > delimiter.Length;
                if (start >= 0)
                {
                    // The line break before a delimiter belongs to it.
                    var stop = at > start && _body[at - 1] == '\n' ? at - 1 : at;
                    stop = stop > start && _body[stop - 1] == '\r' ? stop - 1 : stop;
                    parts.Add(Parse(_body[start..stop]));
                }

                start = next;
            }

            at = next;
        }

        return closed ? parts : throw new FormatException($"is cut off: the closing boundary --{_boundary}-- is missing");
    }

    /// <exception cref="FormatException">The transfer encoding is unknown, or the body does not follow it.</exception>
    public byte[] DecodeBody()
    {
        var encoding = _headers.GetValueOrDefault("content-transfer-encoding", "7bit").Trim().ToLowerInvariant();
        switch (encoding)
        {
            case "7bit" or "8bit" or "binary":
                return Encoding.Latin1.GetBytes(_body);
            case "base64":
                var bytes = new byte[_body.Length];
                return Convert.TryFromBase64String(_body, bytes, out var length)
                    ? bytes[..length]
                    : throw new FormatException("its base64 is cut off or damaged");
            case "quoted-printable":
                return QuotedPrintable(_body);
            default:
                throw new FormatException(
                    $"has the unknown transfer encoding '{ConfigScalar.Shortened(encoding)}'; expected 7bit, 8bit, binary, base64 or quoted-printable");
        }
    }

    private static string Text(byte[] content) => Encoding.Latin1.GetString(content.AsSpan().StartsWith(Encoding.UTF8.Preamble) ? content.AsSpan(3) : content);

    private static MimeEntity Parse(string text)
    {
        var headers = new Dictionary<string, string>(StringComparer.Ordinal);
        string? last = null;
        var at = 0;
        while (at < text.Length)
        {
            var end = text.IndexOf('\n', at);
            var next = end < 0 ? text.Length : end + 1;
            var line = text[at..next].TrimEnd('\r', '\n');
            at = next;
            if (line.Length == 0)
            {
                return new(headers, text[at..]);
            }

            if (line[0] is ' ' or '\t' && last is not null)
            {
                headers[last] += line;
                continue;
            }

            var colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon <= 0 || line.AsSpan(0, colon).ContainsAny(" \t"))
            {
                throw new FormatException("has a malformed MIME header; expected 'Name: value' and an empty line before the content");
            }

            last = line[..colon].ToLowerInvariant();
            headers[last] = line[(colon + 1)..].Trim();
        }

        throw new FormatException("is cut off within its MIME headers; expected an empty line before the content");
    }

    private static string? Parameter(ReadOnlySpan<char> parameters, string name)
    {
        while (!parameters.IsEmpty)
        {
            var equals = parameters.IndexOf('=');
            if (equals < 0)
            {
                return null;
            }

            var key = parameters[..equals].Trim(" \t;");
            var rest = parameters[(equals + 1)..].TrimStart();
            string value;
            if (rest.StartsWith("\""))
            {
                var close = rest[1..].IndexOf('"');
                if (close < 0)
                {
                    return null;
                }

                value = rest.Slice(1, close).ToString();
                rest = rest[(close + 2)..];
            }
            else
            {
                var end = rest.IndexOf(';');
                value = (end < 0 ? rest : rest[..end]).Trim().ToString();
                rest = end < 0 ? [] : rest[end..];
            }

            if (key.Equals(name, StringComparison.OrdinalIgnoreCase))
            {
                return value;
            }

            parameters = rest;
        }

        return null;
    }

    private static byte[] QuotedPrintable(string text)
    {
        var bytes = new List<byte>(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] != '=')
            {
                bytes.Add((byte)text[i]);
                continue;
            }

            // "=" and a line break (transport may have put blanks between them) joins two lines.
            var after = i + 1;
            while (after < text.Length && text[after] is ' ' or '\t' or '\r')
            {
                after++;
            }

            if (after < text.Length && text[after] == '\n')
            {
                i = after;
            }
            else if (i + 2 < text.Length && char.IsAsciiHexDigit(text[i + 1]) && char.IsAsciiHexDigit(text[i + 2]))
            {
                bytes.Add(Convert.FromHexString(text.AsSpan(i + 1, 2))[0]);
                i += 2;
            }
            else
            {
                throw new FormatException("its quoted-printable text is cut off or damaged");
            }
        }

        return [.. bytes];
    }
}
