using System.Globalization;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.RepresentationModel;

namespace NodeAgent.Kubernetes;

/// <summary>One object of Kubernetes as somebody wrote it.</summary>
/// <param name="Source">The file it stands in, for messages.</param>
/// <param name="Namespace">Null where it does not say: "default", or none for kinds that have no namespaces.</param>
/// <param name="Text">The YAML document, as the API server gets it: what its scalars are, it decides. Ports have their protocol.</param>
internal sealed record Manifest(string Source, string ApiVersion, string Kind, string? Namespace, string Name, string Text)
{
    /// <summary>As kubectl names it: deployment.apps/coredns.</summary>
    public string Id =>
        $"{Kind.ToLowerInvariant()}{(ApiVersion.Split('/') is [var group, _] ? $".{group}" : "")}/{(Namespace is null ? "" : Namespace + "/")}{Name}";

    /// <exception cref="ManifestException">What is wrong, and where.</exception>
    public static IReadOnlyList<Manifest> Read(string source, string text)
    {
        // Of editors that begin a file with a mark of its encoding; S3 gives it as it is.
        text = text.TrimStart('\uFEFF');
        var stream = new YamlStream();
        List<int> ends;
        try
        {
            stream.Load(new StringReader(text));
            ends = Ends(text);
        }
        catch (YamlException e)
        {
            throw new ManifestException($"{source}: line {e.Start.Line}: {e.Message}", e);
        }

        var found = new List<Manifest>();
        foreach (var (root, end) in stream.Documents.Select(d => d.RootNode).Zip(ends))
        {
            if (root is YamlScalarNode { Value: null or "" })
            {
                // Between two --- there may be nothing but a comment.
                continue;
            }

            if (root is not YamlMappingNode map)
            {
                throw new ManifestException($"{source}: line {root.Start.Line}: expected an object with apiVersion, kind and metadata.name");
            }

            var (version, kind) = (Scalar(map, "apiVersion"), Scalar(map, "kind"));
            var metadata = map.Children.TryGetValue(new YamlScalarNode("metadata"), out var node) ? node as YamlMappingNode : null;
            var name = metadata is null ? null : Scalar(metadata, "name");
            if (version is null || kind is null || name is null)
            {
                throw new ManifestException(
                    $"{source}: line {root.Start.Line}: {(version is null ? "apiVersion" : kind is null ? "kind" : "metadata.name")} is missing"
                    + (kind?.EndsWith("List", StringComparison.Ordinal) == true ? "; lists are not taken: write each object as a document of its own" : ""));
            }

            var said = text[(int)root.Start.Index..end];
            var isAdded = AddProtocols(map, version, kind);
            found.Add(new(source, version, kind, Scalar(metadata!, "namespace"), name, isAdded ? Written(map) : said));
        }

        return found;
    }

    /// <summary>
    /// A port's protocol is TCP unless it says so, but not for server-side apply, where it is a part of the key: API servers before 1.21 answer 500
    /// (structured-merge-diff#130, kubernetes#98576). Only in kinds of which it is known what their ports are.
    /// </summary>
    /// <returns>Whether one lacked it, and has it now.</returns>
    private static bool AddProtocols(YamlMappingNode map, string version, string kind) =>
        version is "v1" or "apps/v1" or "batch/v1" or "batch/v1beta1" && AddProtocols(map, kind == "Service" ? "port" : "containerPort");

    private static bool AddProtocols(YamlNode node, string key)
    {
        var lacked = false;
        if (node is YamlMappingNode map)
        {
            if (map.Children.TryGetValue("ports", out var ports) && ports is YamlSequenceNode list)
            {
                foreach (var port in list.OfType<YamlMappingNode>().Where(p => p.Children.ContainsKey(key) && !p.Children.ContainsKey("protocol")))
                {
                    port.Add("protocol", "TCP");
                    lacked = true;
                }
            }

            return map.Children.Values.Aggregate(lacked, (so, child) => AddProtocols(child, key) | so);
        }

        return node is YamlSequenceNode all && all.Aggregate(lacked, (so, child) => AddProtocols(child, key) | so);
    }

    // As it was: plain scalars stay plain, quoted ones quoted.
    private static string Written(YamlMappingNode map)
    {
        using var text = new StringWriter(CultureInfo.InvariantCulture);
        new YamlStream(new YamlDocument(map)).Save(text, assignAnchors: false);
        // Save ends a document by its mark.
        return text.ToString().ReplaceLineEndings("\n") is var written && written.EndsWith("\n...\n", StringComparison.Ordinal) ? written[..^4] : written;
    }

    /// <summary>Where each document is over: the nodes of block style do not know.</summary>
    private static List<int> Ends(string text)
    {
        var ends = new List<int>();
        var parser = new Parser(new StringReader(text));
        while (parser.MoveNext())
        {
            if (parser.Current is DocumentEnd end)
            {
                ends.Add((int)end.Start.Index);
            }
        }

        return ends;
    }

    private static string? Scalar(YamlMappingNode map, string key) =>
        map.Children.TryGetValue(new YamlScalarNode(key), out var node) && node is YamlScalarNode { Value: { Length: > 0 } value } ? value : null;
}

internal sealed class ManifestException(string message, Exception? inner = null) : Exception(message, inner);
