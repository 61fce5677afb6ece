using System.CommandLine;
using System.Globalization;
using System.Text;
using NodeAgent.Advice;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Resources;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>nodeagent render: a node as a tree of files, without the node.</summary>
internal static class RenderCommand
{
    private const string Marker = ".nodeagent-render";

    private const string SecretFile = "(secret: file with values that the configuration keeps secret; it is written on the node alone)\n";

    public static Command Create()
    {
        var config = CommonOptions.Config();
        var facts = new Option<string>("--facts")
        {
            Description = "Facts of the machine, as 'nodeagent facts --save' writes them. Its tags are a layer below --config.",
            HelpName = "FILE",
            Required = true,
        };
        var output = new Option<string>("--out")
        {
            Description = "Where to write. A directory that is absent, empty, or of an earlier render, which is replaced.",
            HelpName = "DIR",
            Required = true,
        };
        var command = new Command("render", """
            Write what a node would be given: its files below tree/, in modes.txt those that are not mode 0644, in plan.json the plan for an empty machine.
            Reads the named files and nothing else of this machine: no root, no network, no layer of its own. The same input gives the same bytes. What is
            secret is not written; its place says what belongs there.

            Example:
              nodeagent render --config common.yaml --config blue.yaml --facts m5d.json --out rendered/m5d
            """)
        {
            config, facts, output,
        };
        command.SetAction((parse, cancellation) =>
        {
            var directory = Path.TrimEndingDirectorySeparator(Path.GetFullPath(parse.GetValue(output)!));
            if (FileTree.Foreign(directory, Marker) is { } why)
            {
                throw new NotPossibleException($"{directory} {why}: it is not of an earlier render, and so is left alone; give an empty or new directory")
                {
                    IsRefusal = true,
                };
            }

            using var machine = new LinuxReader(cancellation);
            var layers = CommonOptions.Absolute(parse.GetValue(config)!);
            var inputs = NodeInputs.FromFacts(machine, Path.GetFullPath(parse.GetValue(facts)!), layers, new Timeline());
            var files = Draw(inputs);
            FileTree.Replace(directory, files);
            parse.InvocationConfiguration.Output.WriteLine(FormattableString.Invariant($"{inputs.NodeName}: {files.Count} files in {directory}"));
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }

    /// <summary>Contents by path below the output's directory.</summary>
    internal static IReadOnlyDictionary<string, byte[]> Draw(NodeInputs inputs)
    {
        var files = new SortedDictionary<string, byte[]>(StringComparer.Ordinal);
        var modes = new StringBuilder();
        foreach (var resource in inputs.Resources.Items)
        {
            if (resource is ConfigFile file)
            {
                Add(file.Name, file.IsSecret ? SecretFile : file.Content);
                Mode(file.Mode, file.Name, file.IsSecret);
            }
            else if (resource is PodNetworkFile network)
            {
                Add(network.Name, network.Placeholder);
            }
            else if (resource is Certificate { OnlyWith: null } certificate)
            {
                Add(certificate.Row.KeyPath, Describe(certificate));
                Mode(ConfigFile.Private, certificate.Row.KeyPath, isSecret: true);
                if (certificate.Row.Layout == FileLayout.Pair)
                {
                    Add(certificate.Name, $"(the certificate of {certificate.Row.KeyPath})\n");
                }
            }
            else if (resource is EncryptionConfiguration { IsWanted: true })
            {
                Add(resource.Name, "(secret: keys for encryption at rest, from the cluster's store)\n");
                Mode(ConfigFile.Private, resource.Name, isSecret: true);
            }
            else if (resource is StaticPodManifest manifest)
            {
                Add(manifest.Name, manifest.OnNothing);
            }
            else if (resource is AuthorityCertificate authority)
            {
                Add(authority.Name, "(the CA's certificate, from the cluster's store)\n");
            }
            else if (resource is ServiceAccountKey)
            {
                Add(RoleTable.ServiceAccount.KeyPath, "(secret: the key of service accounts, from the cluster's store)\n");
                Mode(ConfigFile.Private, RoleTable.ServiceAccount.KeyPath, isSecret: true);
                Add(RoleTable.ServiceAccount.PublicPath, "(its public half)\n");
            }
        }

        var plan = Plan.Make(inputs.Resources, new EmptyMachineReader(Clock(inputs.Config.Config.Cluster.CertificateAuthority), inputs.Facts.Disks));
        Put("plan.json", PlanJson.Write(plan, inputs.NodeName, diffs: false, advice: [.. inputs.Advice.Select(Anywhere)]) + "\n");
        Put("modes.txt", modes.ToString());
        Put(Marker, "Written by 'nodeagent render', which replaces this whole directory when it writes here again.\n");
        return files;

        // Where the layers lie is not the node's: the same bytes, wherever they are rendered.
        Advisory Anywhere(Advisory advisory) =>
            advisory with
            {
                Says = inputs.Config.Layers.Where(Path.IsPathRooted)
                    .Aggregate(advisory.Says, (says, layer) => says.Replace(layer, Path.GetFileName(layer), StringComparison.Ordinal)),
            };

        void Add(string path, string content) => Put("tree" + path, content);

        void Put(string path, string content) => files[path] = Encoding.UTF8.GetBytes(content);

        void Mode(UnixFileMode mode, string path, bool isSecret)
        {
            if (mode != ConfigFile.Readable || isSecret)
            {
                modes.Append(CultureInfo.InvariantCulture, $"{mode.Octal()} {path}{(isSecret ? " (secret)" : "")}\n");
            }
        }
    }

    private static string Describe(Certificate certificate)
    {
        var content = certificate.Content;
        string[] names = [.. content.DnsNames, .. content.Addresses.Select(a => a.ToString())];
        return $"""
            (secret: private key, made on the node, and its certificate)
            role: {certificate.Role}
            subject: {content.Subject}
            usage: {content.Usage}
            names: {(names.Length > 0 ? string.Join(", ", names) : "none")}

            """;
    }

    /// <summary>
    /// A moment at which the cluster's CA is valid, from the CA itself: two renders are the same bytes, whenever they are made. That it has expired is a live
    /// plan's to say.
    /// </summary>
    private static DateTimeOffset Clock(string authorities) =>
        Pem.Certificates(authorities).Select(ParsedCertificate.Parse).OfType<ParsedCertificate>()
            .Select(c => c.NotBefore).DefaultIfEmpty(DateTimeOffset.UnixEpoch).Max();
}
