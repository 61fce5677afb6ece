using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Kubernetes;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Resources;

namespace NodeAgent.Commands;

/// <summary>
/// nodeagent cluster: the few objects of the API that nodes need, and the bootstrap manifests, where the application layer takes over.
/// nodeagent-cluster.service runs it on control plane nodes, after the API server came up.
/// </summary>
internal static class ClusterCommand
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(2);

    public static Command Create() => new("cluster", "Objects of the API that the nodes of a cluster need, from a control plane node.")
    {
        Verb("apply", dryRun: false, """
            Make sure of the objects that nodes need, and of the bootstrap manifests: create what is not there, set what is written there, leave all else alone. Waits
            for the API server, and for kinds that one of the objects is yet to define.

            Exit codes: 0 done, 1 the API server refuses an object, 3 bad manifests or command line, 4 not reachable in time.

            Example:
              nodeagent cluster apply --node ip-10-0-0-4.ec2.internal --manifests s3://example-cells/amber/manifests
            """),
        Verb("plan", dryRun: true, """
            Tell what 'cluster apply' would do, by the API server's own dry run.

            Exit codes: 0 nothing to do, 2 something to do, 1 the API server refuses an object, 3 bad manifests or command line, 4 not reachable in time.

            Example:
              nodeagent cluster plan --manifests /etc/nodeagent/manifests
            """),
    };

    private static Command Verb(string name, bool dryRun, string description)
    {
        var node = new Option<string?>("--node") { Description = "This node, which gets the label of the control plane.", HelpName = "NAME" };
        var server = CommonOptions.Server("The API server (https://127.0.0.1:6443 unless given).");
        server.DefaultValueFactory = _ => new Uri("https://127.0.0.1:6443");
        var manifests = new Option<string?>("--manifests")
        {
            Description =
                "Directory, or folder in S3, of YAML files with objects for the cluster: a CNI's, say. In the order of their names, folders below left aside.",
            HelpName = "s3://BUCKET[/PREFIX]|DIR",
        };
        var region = new Option<string?>("--region") { Description = "The bucket's; the instance's unless given.", HelpName = "REGION" };
        var deadline = CommonOptions.Deadline("10m");
        var command = new Command(name, description) { node, server, manifests, region, deadline };
        command.Validators.Add(result =>
        {
            if (result.GetValue(manifests) is { } where
                && (where.Length == 0 || (where.Contains("://", StringComparison.Ordinal) && !S3Address.TryParse(where, out _))))
            {
                result.AddError($"--manifests: '{where}' is neither s3://BUCKET[/PREFIX] nor a directory");
            }
        });
        command.SetAction((parse, stop) => Errors.Within(
            parse.GetValue(deadline).Value,
            timer => Run(
                parse.GetValue(server)!, parse.GetValue(node), parse.GetValue(manifests), parse.GetValue(region), parse.GetValue(deadline).Value, dryRun,
                timer),
            stop));
        return command;
    }

    private static async Task<int> Run(Uri server, string? node, string? where, string? region, TimeSpan deadline, bool dryRun, CancellationToken stop)
    {
        using var api = Client(server);
        return await new ClusterRun(api, server, dryRun, Console.Out, Console.Error, Pause)
            .Go(node, where is null ? null : timer => Texts(where, region, deadline, timer), stop).ConfigureAwait(false);
    }

    /// <summary>By the one certificate that RBAC cannot have shut out: the binding for the others is among what is made here.</summary>
    private static ApiClient Client(Uri server)
    {
        var path = RoleTable.Find("super-admin", Asker.ControlPlaneNode)!.Path;
        string text;
        try
        {
            text = Encoding.UTF8.GetString(SecretFile.Read(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new NotPossibleException($"{path}: {e.Message} It is there on control plane nodes alone, and for root.");
        }

        try
        {
            return new ApiClient(
                server,
                Files.Text(Certificates.AuthorityPath)
                    ?? throw new NotPossibleException($"{Certificates.AuthorityPath} is not there: this is no control plane node (yet)"),
                Kubeconfig.ClientPem(text) ?? throw new NotPossibleException($"{path} embeds no certificate and key"),
                TimeSpan.FromSeconds(30));
        }
        catch (CryptographicException e)
        {
            throw new MachineException(path, $"what it embeds is no certificate and key: {e.Message}", e);
        }
    }

    private static async Task<IReadOnlyList<(string Name, string Text)>> Texts(string where, string? region, TimeSpan deadline, CancellationToken stop)
    {
        var texts = new List<(string, string)>();
        if (!S3Address.TryParse(where, out var address))
        {
            var directory = Path.GetFullPath(where);
            var names = Files.Report(directory).Kind == FileKind.Directory
                ? Files.Names(directory).Where(IsManifest)
                : throw new ConfigurationException(new ConfigError(null, "--manifests", $"there is no directory {directory}"));
            foreach (var name in names.Order(StringComparer.Ordinal))
            {
                var path = $"{directory}/{name}";
                texts.Add((path, Files.Text(path) ?? throw new MachineException(path, "is not a regular file of at most 1 MiB")));
            }
        }
        else
        {
            using var metadata = new InstanceMetadata(AwsEndpoint.Metadata, deadline * 0.5);
            region ??= await metadata.Text("placement/region", stop).ConfigureAwait(false);
            using var role = new RoleCredentials(metadata);
            using var bucket = new S3Objects(address.Bucket, region, AwsEndpoint.S3, role, null, new OutboundHttp(null, []));
            texts.AddRange(await Texts(bucket, address.Prefix, stop).ConfigureAwait(false));
        }

        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"nodeagent: {texts.Count} files of manifests in {where}"));
        return texts;
    }

    /// <summary>Files of a folder in S3, in the order of their names, those of folders below left aside.</summary>
    internal static async Task<IReadOnlyList<(string Name, string Text)>> Texts(S3Objects bucket, string prefix, CancellationToken stop)
    {
        var texts = new List<(string, string)>();
        var folder = prefix.Length == 0 ? "" : prefix + "/";
        var keys = await bucket.List(folder, stop).ConfigureAwait(false);
        foreach (var key in keys.Where(k => IsManifest(k) && !k[folder.Length..].Contains('/', StringComparison.Ordinal)))
        {
            // Gone since it was listed: somebody took it away, as if before.
            if (await bucket.Get(key, stop).ConfigureAwait(false) is { } content)
            {
                texts.Add(($"s3://{bucket.Bucket}/{key}", Encoding.UTF8.GetString(content)));
            }
        }

        return texts;
    }

    private static bool IsManifest(string name) => name.EndsWith(".yaml", StringComparison.Ordinal) || name.EndsWith(".yml", StringComparison.Ordinal);
}
