using System.Buffers;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.Unicode;

namespace NodeAgent.Configuration;

/// <summary>
/// Finds our part of what an instance was started with. User data is shared with cloud-init, so it may be one document or a MIME multipart of many, each
/// plain, gzip or base64, one in the other; what is cloud-init's or anybody else's is left alone. What is cut off or contradicts itself is an error:
/// half a configuration must never become a node.
/// </summary>
internal sealed class UserData
{
    public const string Name = "user data";

    /// <summary>What EC2 takes, before base64.</summary>
    public const int MaximumBytes = 16 * 1024;

    /// <summary>Marks a part as ours whatever it holds, so that even one whose head is wrong is judged and not overlooked.</summary>
    public const string MediaType = "application/vnd.nodeagent+yaml";

    private const int MaximumUnpacked = YamlReader.MaximumBytes;
    private const int MaximumWrappings = 6;
    private const int MaximumParts = 100;

    // First lines by which cloud-init knows its own (doc/rtd/explanation/format), and the shell's.
    private static readonly string[] ForeignHeads =
        ["#!", "#cloud-", "#include", "#part-handler", "#upstart-job", "## template:"];

    private static readonly string[] ForeignTypes =
    [
        "text/cloud-config", "text/cloud-config-archive", "text/cloud-config-jsonp", "text/cloud-boothook", "text/jinja2", "text/part-handler",
        "text/upstart-job",
        "text/x-include-once-url", "text/x-include-url", "text/x-shellscript", "text/x-shellscript-per-boot", "text/x-shellscript-per-instance",
        "text/x-shellscript-per-once",
    ];

    private static readonly SearchValues<char> ValueEnds = SearchValues.Create(" \t\r\n\"',}#");

    private readonly List<ConfigError> _errors;
    private readonly List<string> _notes;
    private readonly List<ConfigMap> _documents = [];
    private int _unpacked;
    private int _parts;

    private UserData(List<ConfigError> errors, List<string> notes) => (_errors, _notes) = (errors, notes);

    /// <returns>Null when nothing in it is ours, or when <paramref name="errors"/> says what is wrong.</returns>
    public static ConfigMap? Read(byte[] content, List<ConfigError> errors, List<string> notes)
    {
        if (content.Length > MaximumBytes)
        {
            errors.Add(
                Error(Name, string.Create(CultureInfo.InvariantCulture, $"{content.Length} bytes are too many; at most {MaximumBytes} can be user data")));
            return null;
        }

        var found = new UserData(errors, notes);
        found.Unwrap(content, Name, isOurs: false, wrappings: 0);
        ConfigMap? all = null;
        foreach (var document in found._documents)
        {
            all = all is null ? document : (ConfigMap)ConfigMerge.Unite(all, document, "", errors);
        }

        return all;
    }

    private void Unwrap(byte[] content, string name, bool isOurs, int wrappings)
    {
        if (wrappings > MaximumWrappings)
        {
            Fail(name, string.Create(CultureInfo.InvariantCulture, $"is wrapped more than {MaximumWrappings} times"));
            return;
        }

        if (content is [0x1f, 0x8b, ..])
        {
            if (Inflate(content, name) is { } plain)
            {
                Unwrap(plain, name, isOurs, wrappings + 1);
            }

            return;
        }

        // Before it is taken for text: a part may be binary.
        if (!isOurs && MimeEntity.IsMime(content))
        {
            if (Parse(content, name) is { } entity)
            {
                Entity(entity, name, wrappings);
            }

            return;
        }

        if (!Utf8.IsValid(content))
        {
            if (isOurs || wrappings == 0)
            {
                Fail(name, "is neither text nor gzip");
            }
            else
            {
                _notes.Add($"{name}: not ours, left alone (binary)");
            }

            return;
        }

        var text = Encoding.UTF8.GetString(content).AsSpan().TrimStart('\ufeff');
        if (text.Trim().IsEmpty)
        {
            if (isOurs)
            {
                Fail(name, "is empty");
            }
        }
        else if (Base64(text, name, out var decoded))
        {
            if (decoded is not null)
            {
                Unwrap(decoded, name, isOurs, wrappings + 1);
            }
        }
        else if (isOurs || IsOurs(text))
        {
            if (NodeConfigLoader.ReadDocument(name, content, _errors) is { } document)
            {
                _documents.Add(document);
            }
        }
        else
        {
            var head = ForeignHead(text);
            _notes.Add(head.Length > 0 ? $"{name}: cloud-init's, left alone ({head})" : $"{name}: not ours, left alone");
        }
    }

    private void Entity(MimeEntity entity, string name, int wrappings)
    {
        if (entity.IsMultipart)
        {
            Multipart(entity, name, wrappings);
            return;
        }

        if (Array.IndexOf(ForeignTypes, entity.MediaType) >= 0)
        {
            _notes.Add($"{name}: cloud-init's, left alone ({entity.MediaType})");
            return;
        }

        try
        {
            Unwrap(entity.DecodeBody(), name, entity.MediaType == MediaType, wrappings + 1);
        }
        catch (FormatException e)
        {
            Fail(name, e.Message);
        }
    }

    private void Multipart(MimeEntity entity, string name, int wrappings)
    {
        if (wrappings > MaximumWrappings)
        {
            Fail(name, string.Create(CultureInfo.InvariantCulture, $"is wrapped more than {MaximumWrappings} times"));
            return;
        }

        try
        {
            var number = 0;
            foreach (var part in entity.Parts())
            {
                number++;
                var partName = string.Create(CultureInfo.InvariantCulture, $"{name}{(name == Name ? " part " : ".")}{number}");
                if (++_parts > MaximumParts)
                {
                    Fail(name, string.Create(CultureInfo.InvariantCulture, $"has more than {MaximumParts} parts"));
                    return;
                }

                Entity(part, partName, wrappings + 1);
            }
        }
        catch (FormatException e)
        {
            Fail(name, e.Message);
        }
    }

    private MimeEntity? Parse(byte[] content, string name)
    {
        try
        {
            return MimeEntity.Parse(content);
        }
        catch (FormatException e)
        {
            Fail(name, e.Message);
            return null;
        }
    }

    /// <returns>Whether this is base64 of something, be it cut off (which is then reported).</returns>
    private bool Base64(ReadOnlySpan<char> text, string name, out byte[]? decoded)
    {
        decoded = null;
        var letters = new char[text.Length];
        var count = 0;
        foreach (var c in text)
        {
            if (char.IsAsciiLetterOrDigit(c) || c is '+' or '/' or '=')
            {
                letters[count++] = c;
            }
            else if (c is not (' ' or '\t' or '\r' or '\n'))
            {
                return false;
            }
        }

        // Some words in a row are base64, too: it must decode to something that a user data can be.
        var whole = count - (count % 4);
        var bytes = new byte[whole];
        var first = letters.AsSpan(0, Math.Min(whole, 64));
        if (whole < 16 || !Convert.TryFromBase64Chars(first, bytes, out var head) || !LooksMeant(bytes.AsSpan(0, head)))
        {
            return false;
        }

        if (whole != count || !Convert.TryFromBase64Chars(letters.AsSpan(0, count), bytes, out var length))
        {
            Fail(name, "its base64 is cut off or damaged");
            return true;
        }

        decoded = bytes[..length];
        return true;
    }

    private static bool LooksMeant(ReadOnlySpan<byte> head)
    {
        if (head is [0x1f, 0x8b, ..])
        {
            return true;
        }

        var foreign = 0;
        foreach (var b in head)
        {
            if (b is (< (byte)' ' and not (byte)'\n' and not (byte)'\r' and not (byte)'\t') or 0x7f)
            {
                return false;
            }

            foreign += b >= 0x80 ? 1 : 0;
        }

        return foreign <= head.Length / 4;
    }

    /// <summary>
    /// By its head: apiVersion nodeagent/..., or one that is a slip away from it, so that a slip is named and not taken for somebody else's document.
    /// kind alone decides nothing where there is an apiVersion: other agents have a NodeConfig, too.
    /// </summary>
    private static bool IsOurs(ReadOnlySpan<char> text)
    {
        if (ForeignHead(text).Length > 0)
        {
            return false;
        }

        var version = HeadField(text, "apiVersion");
        if (version.Length == 0)
        {
            return HeadField(text, "kind") == NodeConfigLoader.Kind;
        }

        var group = version.Split('/')[0];
        return ConfigBinding.Nearest(group, ["nodeagent"]) is not null;
    }

    private static string HeadField(ReadOnlySpan<char> text, string name)
    {
        if (text.TrimStart().StartsWith("{"))
        {
            var at = text.IndexOf($"\"{name}\"", StringComparison.OrdinalIgnoreCase);
            return at < 0 ? "" : Value(text[(at + name.Length + 2)..]);
        }

        foreach (var line in text.EnumerateLines())
        {
            var rest = line.TrimStart("\"'");
            if (rest.StartsWith(name, StringComparison.OrdinalIgnoreCase) && Value(rest[name.Length..].TrimStart("\"'")) is { Length: > 0 } value)
            {
                return value;
            }
        }

        return "";

        static string Value(ReadOnlySpan<char> after)
        {
            after = after.TrimStart();
            if (!after.StartsWith(":"))
            {
                return "";
            }

            after = after[1..].TrimStart().TrimStart("\"'");
            var end = after.IndexOfAny(ValueEnds);
            return (end < 0 ? after : after[..end]).ToString().Replace("\\/", "/", StringComparison.Ordinal);
        }
    }

    private static string ForeignHead(ReadOnlySpan<char> text)
    {
        text = text.TrimStart();
        foreach (var head in ForeignHeads)
        {
            if (text.StartsWith(head, StringComparison.OrdinalIgnoreCase))
            {
                var end = text.IndexOfAny('\r', '\n');
                return ConfigScalar.Shortened((end < 0 ? text : text[..end]).Trim().ToString());
            }
        }

        return "";
    }

    private byte[]? Inflate(byte[] content, string name)
    {
        try
        {
            using var stream = new GZipStream(new MemoryStream(content), CompressionMode.Decompress);
            var plain = new MemoryStream();
            var buffer = new byte[8192];
            int count;
            while ((count = stream.Read(buffer)) > 0)
            {
                _unpacked += count;
                if (_unpacked > MaximumUnpacked)
                {
                    Fail(name, string.Create(CultureInfo.InvariantCulture, $"unpacks to more than {MaximumUnpacked} bytes"));
                    return null;
                }

                plain.Write(buffer.AsSpan(0, count));
            }

            // The stream ends quietly where its input does (dotnet/runtime#47563), so the trailer (RFC 1952, 2.3.1) is held against what came out.
            var unpacked = plain.ToArray();
            if (content.Length >= 18
                && BitConverter.ToUInt32(content, content.Length - 4) == (uint)unpacked.Length
                && BitConverter.ToUInt32(content, content.Length - 8) == Crc32(unpacked))
            {
                return unpacked;
            }
        }
        catch (InvalidDataException)
        {
            // Said below.
        }

        Fail(name, "its gzip is cut off or damaged");
        return null;
    }

    private static uint Crc32(ReadOnlySpan<byte> data)
    {
        var crc = ~0u;
        foreach (var b in data)
        {
            crc ^= b;
            for (var bit = 0; bit < 8; bit++)
            {
                crc = (crc & 1) == 0 ? crc >> 1 : (crc >> 1) ^ 0xedb88320;
            }
        }

        return ~crc;
    }

    private static ConfigError Error(string name, string message) => new(new(name, 0, 0), "", message);

    private void Fail(string name, string message) => _errors.Add(Error(name, message));
}
