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
        var waiting = new Waiting();
        while (await api.Ailment(stop).ConfigureAwait(false) is { } ailment)
        {
            await waiting.For($"the API server at {server.GetLeftPart(UriPartial.Authority)} is not ready: {ailment}", stop).ConfigureAwait(false);
        }

        // First what nodes need, which shall not wait for S3 or for somebody's mistake in a manifest.
        var run = new Ensuring(new ClusterObjects(api), waiting, dryRun);
        await run.All(Manifest.Read("built in", NodeObjects.Manifests), stop).ConfigureAwait(false);
        if (where is not null)
        {
            var manifests = new List<Manifest>();
            foreach (var (name, text) in await Texts(where, region, deadline, stop).ConfigureAwait(false))
            {
                manifests.AddRange(Read(name, text));
            }

            await run.All(manifests, stop).ConfigureAwait(false);
        }

        // Last: a kubelet registers late, perhaps only once a CNI from there has come.
        if (node is not null)
        {
            await run.Label(node, stop).ConfigureAwait(false);
        }

        return run.ExitCode();
    }

    private sealed class Ensuring(ClusterObjects objects, Waiting waiting, bool dryRun)
    {
        private readonly List<string> _refused = [];
        private int _changes;

        public int ExitCode()
        {
            foreach (var line in _refused)
            {
                Console.Error.WriteLine($"nodeagent: {line}");
            }

            return _refused.Count > 0 ? Commands.ExitCode.Failed : dryRun && _changes > 0 ? Commands.ExitCode.ChangesPending : Commands.ExitCode.Ok;
        }

        /// <summary>In their order, and those that wait for one of the others again.</summary>
        public async Task All(IReadOnlyList<Manifest> open, CancellationToken stop)
        {
            while (open.Count > 0)
            {
                var left = new List<Manifest>();
                var waitsFor = "";
                foreach (var manifest in open)
                {
                    try
                    {
                        Say(manifest.Id, await objects.Ensure(manifest, dryRun, stop).ConfigureAwait(false));
                    }
                    // A kind that a dry run does not get to see is one that an object before it would define.
                    catch (UnknownKindException e) when (dryRun)
                    {
                        Say($"{manifest.Id} ({e.Message})", ObjectOutcome.Created);
                    }
                    catch (ApiException e) when (!e.Passes)
                    {
                        _refused.Add($"{manifest.Id} ({manifest.Source}): the API server refuses it: {e.Message}");
                    }
                    catch (Exception e) when (IsOfNow(e, stop))
                    {
                        left.Add(manifest);
                        waitsFor = e.Message;
                    }
                }

                open = left;
                if (open.Count > 0)
                {
                    await waiting.For(waitsFor, stop).ConfigureAwait(false);
                }
            }
        }

        public async Task Label(string node, CancellationToken stop)
        {
            while (true)
            {
                var waitsFor = $"the API server knows no node {node} yet";
                try
                {
                    if (await objects.LabelNode(node, NodeObjects.ControlPlaneLabel, dryRun, stop).ConfigureAwait(false) is { } outcome)
                    {
                        Say($"node/{node}: label {NodeObjects.ControlPlaneLabel}", outcome);
                        return;
                    }
                }
                catch (ApiException e) when (!e.Passes)
                {
                    _refused.Add($"node/{node}: the API server refuses the label {NodeObjects.ControlPlaneLabel}: {e.Message}");
                    return;
                }
                catch (Exception e) when (IsOfNow(e, stop))
                {
                    waitsFor = e.Message;
                }

                if (dryRun)
                {
                    return;
                }

                await waiting.For(waitsFor, stop).ConfigureAwait(false);
            }
        }

        private static bool IsOfNow(Exception e, CancellationToken stop) =>
            e is UnknownKindException or ApiException { Passes: true } or HttpRequestException || (e is TaskCanceledException && !stop.IsCancellationRequested);

        private void Say(string what, ObjectOutcome outcome)
        {
            _changes += outcome is ObjectOutcome.Created or ObjectOutcome.Updated ? 1 : 0;
            var did = outcome switch
            {
                ObjectOutcome.Left => "left as somebody else set it:",
                ObjectOutcome.Unchanged => "unchanged",
                _ when !dryRun => outcome.ToString().ToLowerInvariant(),
                ObjectOutcome.Created => "would create",
                _ => "would update",
            };
            Console.Out.WriteLine($"{did} {what}");
        }
    }

    /// <summary>Says once for what.</summary>
    private sealed class Waiting
    {
        private string _said = "";

        public async Task For(string what, CancellationToken stop)
        {
            if (what != _said)
            {
                _said = what;
                ServiceNotify.Status($"waiting: {what}");
                Console.Error.WriteLine($"nodeagent: waiting: {what}");
            }

            try
            {
                await Task.Delay(Pause, stop).ConfigureAwait(false);
            }
            catch (OperationCanceledException e)
            {
                throw new OperationCanceledException(what, e);
            }
        }
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

    private static IReadOnlyList<Manifest> Read(string source, string text)
    {
        try
        {
            return Manifest.Read(source, text);
        }
        catch (ManifestException e)
        {
            throw new ConfigurationException(new ConfigError(null, "--manifests", e.Message));
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
            var folder = address.Prefix.Length == 0 ? "" : address.Prefix + "/";
            var keys = await bucket.List(folder, stop).ConfigureAwait(false);
            foreach (var key in keys.Where(k => IsManifest(k) && !k[folder.Length..].Contains('/', StringComparison.Ordinal)))
            {
                // Gone since it was listed: somebody took it away, as if before.
                if (await bucket.Get(key, stop).ConfigureAwait(false) is { } content)
                {
                    texts.Add(($"s3://{address.Bucket}/{key}", Encoding.UTF8.GetString(content)));
                }
            }
        }

        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"nodeagent: {texts.Count} files of manifests in {where}"));
        return texts;
    }

    private static bool IsManifest(string name) => name.EndsWith(".yaml", StringComparison.Ordinal) || name.EndsWith(".yml", StringComparison.Ordinal);
}
