using System.Text;
using NodeAgent.Machine;

namespace NodeAgent.Configuration;

/// <summary>One source of configuration. Later layers win.</summary>
internal abstract record Layer(string Label)
{
    private ParsedLayer? _parsed;

    /// <summary>What it says. Parsed once, though some are looked into before all of them are there: see <see cref="SharedLayers"/>.</summary>
    public ParsedLayer Parsed => _parsed ??= Parse();

    private ParsedLayer Parse()
    {
        var parsed = new ParsedLayer([], []);
        parsed.Tree = Read(parsed.Errors, parsed.Notes);
        if (parsed.Tree is { } tree)
        {
            ConfigBinding.Check(tree, ConfigSchema.Root, "", parsed.Errors);
        }

        return parsed;
    }

    private protected abstract ConfigMap? Read(List<ConfigError> errors, List<string> notes);

    /// <summary>A file, YAML or JSON, of the image or of the command line.</summary>
    /// <param name="Name">Its path, as it shall stand in messages.</param>
    internal sealed record Document(string Name, byte[] Content) : Layer(Name)
    {
        private protected override ConfigMap? Read(List<ConfigError> errors, List<string> notes) => NodeConfigLoader.ReadDocument(Name, Content, errors);
    }

    /// <summary>A document in S3, which clusters share.</summary>
    /// <param name="Name">As in s3://bucket/common.yaml.</param>
    /// <param name="Content">Null where there is none.</param>
    internal sealed record Shared(string Name, byte[]? Content) : Layer(Name)
    {
        private protected override ConfigMap? Read(List<ConfigError> errors, List<string> notes)
        {
            if (Content is not null)
            {
                return NodeConfigLoader.ReadDocument(Name, Content, errors);
            }

            notes.Add($"{Name}: there is none");
            return null;
        }
    }

    /// <summary>Says nothing of the node, but something of how its layers were come by.</summary>
    internal sealed record Note(string Text) : Layer("note")
    {
        private protected override ConfigMap? Read(List<ConfigError> errors, List<string> notes)
        {
            notes.Add(Text);
            return null;
        }
    }

    /// <summary>The instance's tags, all of them; those that do not begin with "nodeagent:" are not ours.</summary>
    internal sealed record Tags(IReadOnlyDictionary<string, string> Values) : Layer("tags")
    {
        private protected override ConfigMap? Read(List<ConfigError> errors, List<string> notes) => TagLayer.Read(Values, errors);
    }

    /// <summary>User data as metadata has it: plain, gzip, base64, MIME.</summary>
    internal sealed record UserData(byte[] Content) : Layer(Configuration.UserData.Name)
    {
        private protected override ConfigMap? Read(List<ConfigError> errors, List<string> notes) => Configuration.UserData.Read(Content, errors, notes);
    }
}

internal sealed record ParsedLayer(List<ConfigError> Errors, List<string> Notes)
{
    /// <summary>Null when it says nothing, or when its errors say why.</summary>
    public ConfigMap? Tree { get; set; }
}

internal static class Layers
{
    public const string ImageDirectory = "/etc/nodeagent/config.d";

    /// <summary>All layers above the defaults, in their order: image, tags, user data, files of the command line.</summary>
    /// <param name="tags">Null where the machine has no metadata.</param>
    /// <param name="userData">Null where the machine has none.</param>
    /// <param name="files">Absolute paths, as given with --config, in that order.</param>
    /// <param name="withImage">False where the files of this machine's image have nothing to do with the node in question.</param>
    /// <exception cref="ConfigurationException">A file of the command line is not there or cannot be read.</exception>
    public static IReadOnlyList<Layer> Of(
        IMachineReader machine, IReadOnlyDictionary<string, string>? tags, byte[]? userData, IReadOnlyList<string> files, bool withImage = true)
    {
        var layers = new List<Layer>();
        var errors = new List<ConfigError>();
        foreach (var name in withImage ? machine.Directory(ImageDirectory) : [])
        {
            if (name.EndsWith(".yaml", StringComparison.Ordinal) && !name.StartsWith('.'))
            {
                Add($"{ImageDirectory}/{name}");
            }
        }

        if (tags is not null)
        {
            layers.Add(new Layer.Tags(tags));
        }

        if (userData is not null)
        {
            layers.Add(new Layer.UserData(userData));
        }

        foreach (var file in files)
        {
            Add(file);
        }

        ConfigurationException.ThrowIfAny(errors);
        return layers;

        void Add(string path)
        {
            try
            {
                layers.Add(new Layer.Document(path, Read(machine, path)));
            }
            catch (ProbeException e)
            {
                errors.Add(new(new(path, 0, 0), "", e.Why));
            }
        }
    }

    /// <summary>Links are followed, since that is how many tools put configuration in place.</summary>
    private static byte[] Read(IMachineReader machine, string path)
    {
        var at = path;
        for (var links = 0; links < 16; links++)
        {
            var report = machine.File(at);
            switch (report.Kind)
            {
                case FileKind.Regular:
                    return report.Content ?? throw new ProbeException(path, "is larger than 1 MiB");
                case FileKind.Absent:
                    throw new ProbeException(path, at == path ? "there is no such file" : $"is a link to {at}, which is not there");
                case FileKind.Link:
                    at = Path.GetFullPath(report.Target ?? "", Path.GetDirectoryName(at) ?? "/");
                    break;
                default:
                    throw new ProbeException(path, "is not a regular file");
            }
        }

        throw new ProbeException(path, "is a link that leads nowhere");
    }
}

/// <summary>Instance tags as a layer: nodeagent:role, nodeagent:cluster, and nodeagent: with the dotted path of any other field.</summary>
internal static class TagLayer
{
    public const string Prefix = "nodeagent:";

    public static ConfigMap? Read(IReadOnlyDictionary<string, string> tags, List<ConfigError> errors)
    {
        ConfigMap? all = null;
        var keys = new List<string>();
        foreach (var key in tags.Keys)
        {
            if (key.StartsWith(Prefix, StringComparison.Ordinal))
            {
                keys.Add(key);
            }
        }

        keys.Sort(StringComparer.Ordinal);
        foreach (var key in keys)
        {
            if (ReadOne(key, tags[key], errors) is { } tree)
            {
                // Tags have no order among them, so two must not contradict each other.
                all = all is null ? tree : (ConfigMap)ConfigMerge.Unite(all, tree, "", errors);
            }
        }

        return all;
    }

    private static ConfigMap? ReadOne(string key, string text, List<ConfigError> errors)
    {
        var origin = new Origin($"tag {key}", 0, 0);
        var field = key[Prefix.Length..];
        var alias = field switch
        {
            "role" => "node.role",
            "cluster" => "cluster.name",
            _ => null,
        };
        if (text.Trim().Length == 0)
        {
            errors.Add(new(origin, alias ?? field, "is empty; write null to remove the value"));
            return null;
        }

        var value = alias is null ? YamlReader.ReadValue(origin.Layer, text, errors)
            : new ConfigScalar(origin, origin, text, ScalarType.Text);
        if (value is null || Segments(alias ?? field, origin, errors) is not { } segments)
        {
            return null;
        }

        for (var i = segments.Count - 1; i >= 0; i--)
        {
            value = new ConfigMap(origin, origin, new(StringComparer.Ordinal) { [segments[i]] = value });
        }

        if (ConfigBinding.HoldsSecret(value, ConfigSchema.Root))
        {
            errors.Add(new(
                origin, alias ?? field, "secrets do not belong into tags: anybody with ec2:DescribeTags reads them; give it in user data or the image"));
            return null;
        }

        return (ConfigMap)value;
    }

    /// <summary>
    /// Keys of maps may hold dots: in kernel.sysctls.net.ipv4.ip_forward, all that follows the map is the key; in containerd.mirrors.docker.io.endpoints, all
    /// up to the field.
    /// </summary>
    private static List<string>? Segments(string path, Origin origin, List<ConfigError> errors)
    {
        var segments = new List<string>();
        var schema = ConfigSchema.Root;
        var rest = path.Split('.');
        var done = "";
        for (var i = 0; i < rest.Length; i++)
        {
            var segment = rest[i];
            switch (schema.Shape)
            {
                case ConfigShape.Object when schema.Field(segment) is { } field:
                    schema = field.Schema;
                    break;
                case ConfigShape.Object:
                    errors.Add(new(
                        origin,
                        done,
                        i == 0 ? ConfigBinding.UnknownField(segment, done, schema, "role") : ConfigBinding.UnknownField(segment, done, schema)));
                    return null;
                case ConfigShape.Map:
                    var end = i + 1;
                    while (end < rest.Length && schema.Element!.Field(rest[end]) is null)
                    {
                        end++;
                    }

                    segment = string.Join('.', rest, i, end - i);
                    i = end - 1;
                    schema = schema.Element!;
                    break;
                case ConfigShape.Free:
                    break;
                default:
                    errors.Add(new(origin, done, $"has no fields, so '{segment}' cannot be set in it"));
                    return null;
            }

            if (segment.Length == 0)
            {
                errors.Add(new(origin, done, $"'{path}' is not a dotted path; expected one as in node.maxPods"));
                return null;
            }

            segments.Add(segment);
            done = ConfigPath.Child(done, segment);
        }

        return segments;
    }
}
