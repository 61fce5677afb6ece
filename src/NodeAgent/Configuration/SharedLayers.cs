using System.Security.Cryptography;

namespace NodeAgent.Configuration;

/// <summary>
/// The layers that clusters share, in a bucket: common, customer, environment, region, cluster, role, each in the folder of what it is for, each optional.
/// Where they are and whose they are (bucket, customer, environment, region, cluster, role) is said by the layers that are read before them: defaults, image,
/// tags, user data, files.
/// </summary>
/// <param name="Kind">common, customer, environment, region, cluster or role.</param>
/// <param name="Key">Within the bucket.</param>
/// <param name="Name">As it stands in messages and origins: s3://bucket/key.</param>
/// <param name="Pin">SHA-256 in hex, lower case; null when it is not pinned.</param>
internal sealed record SharedLayer(string Kind, string Key, string Name, string? Pin)
{
    /// <returns>What is wrong with a content (null: there is none) that shall be used as this layer; null when nothing is.</returns>
    public string? Refusal(byte[]? content)
    {
        if (Pin is null)
        {
            return null;
        }

        if (content is null)
        {
            return $"{Name} is pinned (layers.pins.{Kind}), and there is none";
        }

        var hash = Convert.ToHexStringLower(SHA256.HashData(content));
        return hash == Pin ? null : $"{Name} is pinned to SHA-256 {Pin} (layers.pins.{Kind}), and is {hash}";
    }
}

/// <param name="BucketRegion">Where the bucket is.</param>
/// <param name="FoundBy">By dotted path: the values that the keys are made of.</param>
/// <param name="Layers">Six, in the order in which they are merged.</param>
internal sealed record SharedLayersAddress(
    string Bucket, string BucketRegion, Uri? Endpoint, IReadOnlyDictionary<string, string> FoundBy, IReadOnlyList<SharedLayer> Layers);

internal static class SharedLayers
{
    public const string Common = "common", Customer = "customer", Environment = "environment", Region = "region", Cluster = "cluster", Role = "role";

    public static readonly IReadOnlyList<string> Kinds = [Common, Customer, Environment, Region, Cluster, Role];

    /// <summary>Whose layers are to be read, as all layers but the shared ones say it; null when none names a bucket.</summary>
    /// <param name="layers">Those that are there without S3, in their order.</param>
    /// <param name="instanceRegion">What region and bucketRegion are when nobody gives them.</param>
    /// <exception cref="ConfigurationException">One of them is wrong in itself, or they do not say enough to find the shared ones.</exception>
    public static SharedLayersAddress? AddressOf(IReadOnlyList<Layer> layers, string instanceRegion)
    {
        var errors = layers.SelectMany(l => l.Parsed.Errors).ToList();
        ConfigurationException.ThrowIfAny(errors);
        var all = NodeConfigLoader.Merged(layers);
        if (Section(all, "layers") is not { } section)
        {
            return null;
        }

        Check(all, errors);
        ConfigurationException.ThrowIfAny(errors);
        var bucket = Text(all, "layers", "bucket")!;
        var prefix = Text(all, "layers", "prefix") is { } text ? text + "/" : "";
        var (customer, environment) = (Text(all, "cluster", "customer")!, Text(all, "cluster", "environment")!);
        var (region, cluster, role) = (Text(all, "cluster", "region") ?? instanceRegion, Text(all, "cluster", "name")!, Text(all, "node", "role")!);
        var pins = section.Entries.GetValueOrDefault("pins") as ConfigMap;
        SharedLayer Of(string kind, string key) =>
            new(kind, prefix + key, $"s3://{bucket}/{prefix}{key}", pins?.Entries.GetValueOrDefault(kind) is ConfigScalar pin ? pin.Text : null);
        return new(
            bucket,
            Text(all, "layers", "bucketRegion") ?? instanceRegion,
            Text(all, "layers", "endpoint") is { } endpoint ? new Uri(endpoint) : null,
            new Dictionary<string, string>(StringComparer.Ordinal)
            {
                ["cluster.customer"] = customer,
                ["cluster.environment"] = environment,
                ["cluster.region"] = region,
                ["cluster.name"] = cluster,
                ["node.role"] = role,
            },
            [
                Of(Common, "common.yaml"),
                Of(Customer, $"{customer}/customer.yaml"),
                Of(Environment, $"{customer}/{environment}/environment.yaml"),
                Of(Region, $"{customer}/{environment}/{region}/region.yaml"),
                Of(Cluster, $"{customer}/{environment}/{region}/{cluster}/cluster.yaml"),
                Of(Role, $"{customer}/{environment}/{region}/{cluster}/{role}.yaml"),
            ]);
    }

    /// <summary>Puts the shared layers where they belong: above the image, below tags.</summary>
    /// <param name="layers">Those that are there without S3, in their order, tags among them.</param>
    /// <exception cref="ConfigurationException">A shared layer says where shared layers are, or that it is somebody else's.</exception>
    public static IReadOnlyList<Layer> Insert(IReadOnlyList<Layer> layers, SharedLayersAddress address, IReadOnlyList<Layer> shared)
    {
        const string elsewhere = "shared layers are found by it, so it is said where they are not: in the image, tags, user data or a file";
        var errors = new List<ConfigError>();
        foreach (var tree in shared.Select(l => l.Parsed.Tree).OfType<ConfigMap>())
        {
            if (tree.Entries.GetValueOrDefault("layers") is { } section)
            {
                errors.Add(new(section.Key, "layers", elsewhere));
            }

            foreach (var (path, value) in address.FoundBy)
            {
                // It may be repeated, for whoever reads the file.
                if (path.Split('.') is [var part, var field] && Section(tree, part)?.Entries.GetValueOrDefault(field) is { } here
                    && (here as ConfigScalar)?.Text != value)
                {
                    errors.Add(new(here.Origin, path, $"{elsewhere}, where it is '{value}'"));
                }
            }
        }

        ConfigurationException.ThrowIfAny(errors);
        var below = layers.TakeWhile(l => l is not Layer.Tags).Count();
        return [.. layers.Take(below), .. shared, .. layers.Skip(below)];
    }

    /// <summary>What may stand in an address: each part is a name in a folder's path.</summary>
    public static void Check(ConfigMap tree, List<ConfigError> errors)
    {
        foreach (var field in (string[])["customer", "environment", "region"])
        {
            CheckName("cluster", field);
        }

        if (Section(tree, "layers") is not { } section)
        {
            return;
        }

        CheckRequired("layers", "bucket");
        CheckRequired("cluster", "customer");
        CheckRequired("cluster", "environment");
        CheckRequired("cluster", "name");
        CheckName("cluster", "name");
        CheckName("layers", "bucketRegion");
        if (Text(tree, "layers", "bucket") is { } bucket && (bucket.Length is < 3 or > 63 || !IsName(bucket) || bucket.Any(char.IsAsciiLetterUpper)))
        {
            // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
            Bad("layers", "bucket", $"'{ConfigScalar.Shortened(bucket)}' is not a bucket's name; expected 3 to 63 lower-case letters, digits, dots and dashes");
        }

        if (Text(tree, "layers", "prefix") is { } prefix && (prefix.Length > 256 || !prefix.Split('/').All(IsName)))
        {
            Bad(
                "layers",
                "prefix",
                $"'{ConfigScalar.Shortened(prefix)}' is not a prefix; expected names of letters, digits, '-', '_' and '.', slashes between them only, as in "
                    + "nodes/v1");
        }

        if (Text(tree, "layers", "endpoint") is { } endpoint && Uri.TryCreate(endpoint, UriKind.Absolute, out var uri)
            && (uri.UserInfo.Length > 0 || uri.Query.Length > 0 || uri.Fragment.Length > 0))
        {
            Bad("layers", "endpoint", "holds more than scheme, host, port and path; nodes prove who they are with their role");
        }

        if (section.Entries.GetValueOrDefault("pins") is ConfigMap pins)
        {
            foreach (var (kind, value) in pins.Entries)
            {
                if (!Kinds.Contains(kind))
                {
                    errors.Add(new(value.Key, $"layers.pins.{kind}", $"there is no such layer; expected one of {string.Join(", ", Kinds)}"));
                }
                else if (value is ConfigScalar pin && (pin.Text.Length != 64 || !pin.Text.All(char.IsAsciiHexDigitLower)))
                {
                    errors.Add(new(value.Origin, $"layers.pins.{kind}", "expected a SHA-256 in 64 lower-case hex digits, as sha256sum prints it"));
                }
            }
        }

        void CheckRequired(string part, string field)
        {
            if (Text(tree, part, field) is null)
            {
                errors.Add(new(
                    section.Origin, $"{part}.{field}", "required for shared layers (layers), which are found by it; give it in the image, tags or user data"));
            }
        }

        void CheckName(string part, string field)
        {
            if (Text(tree, part, field) is { } name && (name.Length > 100 || !IsName(name)))
            {
                Bad(
                    part,
                    field,
                    $"'{ConfigScalar.Shortened(name)}' is not a name; expected up to 100 letters, digits, '-', '_' and '.', a letter or digit first");
            }
        }

        void Bad(string part, string field, string message) => errors.Add(new(Section(tree, part)!.Entries[field].Origin, $"{part}.{field}", message));
    }

    private static ConfigMap? Section(ConfigMap tree, string name) => tree.Entries.GetValueOrDefault(name) as ConfigMap;

    private static string? Text(ConfigMap tree, string section, string field) =>
        (Section(tree, section)?.Entries.GetValueOrDefault(field) as ConfigScalar)?.Text;

    // Neither '.' nor '..' are names, and nothing in one needs escaping in a URL.
    private static bool IsName(string text) =>
        text.Length > 0 && char.IsAsciiLetterOrDigit(text[0]) && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.');
}
