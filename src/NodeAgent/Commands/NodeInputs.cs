using System.Net.Http;
using System.Security.Cryptography;
using System.Text.Json;
using NodeAgent.Advice;
using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Facts;
using NodeAgent.Issuer;
using NodeAgent.Machine;
using NodeAgent.Network;
using NodeAgent.Pki;
using NodeAgent.Resources;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>What a node is computed from, read from this machine or from files, and the list that follows from it.</summary>
internal sealed record NodeInputs(LoadedConfig Config, NodeFacts Facts, ResourceList Resources)
{
    private static readonly TimeSpan LongestForStore = TimeSpan.FromSeconds(30);

    public string NodeName => NodeNames.Of(Config.Config, Facts);

    /// <summary>Known traps that this node walks into.</summary>
    public IReadOnlyList<Advisory> Advice => Advisor.Of(new(Config, Facts, Resources.Warnings));

    /// <summary>A sentence for each source that was away, and that what was kept of the last good run stands in for.</summary>
    public IReadOnlyList<string> StandIns { get; init; } = [];

    private KeptInputs? ToKeep { get; init; }

    /// <summary>Reads this machine: metadata answers while the disks are listed and the configuration is parsed.</summary>
    /// <param name="forgets">Whether what another instance kept is removed; a plan changes nothing.</param>
    /// <param name="known">Told of configuration and facts before it is seen whether they make a node.</param>
    public static async Task<NodeInputs> FromMachine(
        IMachineReader machine, IReadOnlyList<string> files, TimeSpan deadline, Timeline timeline, CancellationToken cancellation, bool forgets = false,
        Action<NodeConfig, NodeFacts>? known = null)
    {
        using var sources = Sources(machine, files, deadline, forgets, cancellation);
        var host = timeline.Measure("machine", () => (HostFacts.Hardware(machine), HostFacts.Kernel(machine), machine.Disks()));
        var loaded = await LoadConfig(machine, sources, files, timeline, cancellation).ConfigureAwait(false);
        var facts = await GatherFacts(sources.Instance, host, Binaries(loaded.Config), timeline, cancellation).ConfigureAwait(false);
        known?.Invoke(loaded.Config, facts);
        string? away = null;
        if (loaded.Config.Cluster.EndpointFrom == EndpointSource.Tags && loaded.Config.Node.Role == NodeRole.Worker)
        {
            (facts, away) = await WithControlPlane(loaded.Config, facts, machine, deadline, cancellation).ConfigureAwait(false);
        }
        else if (Etcd.MayBegin(loaded.Config) && machine.File(Etcd.MemberDirectory(loaded.Config)).Kind == FileKind.Absent)
        {
            (facts, away) = await WithOthers(loaded.Config, facts, deadline, cancellation).ConfigureAwait(false);
        }

        var source = Source(loaded.Config, facts, deadline, cancellation);
        return Build(loaded, facts, timeline, source, PodRangeSource(loaded.Config, facts, deadline), new KubeletsPods(loaded.Config, facts, cancellation)) with
        {
            StandIns = [.. sources.StandIns, .. away is null ? (string[])[] : [away]],
            ToKeep = sources.ToKeep(facts.Instance.Id, machine.Now),
        };
    }

    /// <summary>
    /// A control plane node that has no data yet has to know whether it is the first. Where EC2 does not say, that is told and no more: it is so for every
    /// first boot.
    /// </summary>
    private static async Task<(NodeFacts Facts, string? Away)> WithOthers(NodeConfig config, NodeFacts facts, TimeSpan deadline, CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(deadline * 0.5 < LongestForStore ? deadline * 0.5 : LongestForStore);
        try
        {
            var found = await ControlPlane(config, facts, "see to it yourself that no other control plane instance runs", patience.Token).ConfigureAwait(false);
            return (facts with { ControlPlane = [.. found.Select(i => i.PrivateIpAddress).Where(a => a.Length > 0).Order(StringComparer.Ordinal)] }, null);
        }
        catch (Exception e) when (e is AwsException || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            return (facts,
                "EC2 does not say whether another control plane instance runs, beside which this one would begin a cluster of its own: "
                    + $"{(e is AwsException ? e.Message : "no answer in time")}");
        }
    }

    /// <summary>Where EC2 is away, what this node knew before stands in.</summary>
    private static async Task<(NodeFacts Facts, string? Away)> WithControlPlane(
        NodeConfig config, NodeFacts facts, IMachineReader machine, TimeSpan deadline, CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(deadline * 0.5 < LongestForStore ? deadline * 0.5 : LongestForStore);
        try
        {
            var found = await ControlPlane(config, facts, "cluster.endpointFrom: name, and EC2 is not asked", patience.Token).ConfigureAwait(false);
            // EC2 keeps no order.
            return (facts with { ControlPlane = [.. found.Select(i => i.PrivateIpAddress).Where(a => a.Length > 0).Order(StringComparer.Ordinal)] }, null);
        }
        catch (Exception e) when (e is AwsException { IsOutOfReach: true } || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            var hosts = machine.File(HostsEntry.Path).Content is { } content ? System.Text.Encoding.UTF8.GetString(content) : "";
            IReadOnlyList<string> known = [.. HostsEntry.Endpoints(hosts).Select(h => h.Address.ToString())];
            return (
                facts with { ControlPlane = known },
                $"EC2 does not say where the control plane is ({(e is AwsException ? e.Message : "no answer in time")}); "
                    + $"{(known.Count == 0 ? "it is looked for again" : $"it stays {string.Join(", ", known)}")}");
        }
    }

    /// <summary>After a good run: keeps what it was made from, for a boot while S3 or EC2 is away. Not what stood in itself.</summary>
    /// <exception cref="MachineException"/>
    public void Keep()
    {
        if (StandIns.Count > 0)
        {
            return;
        }

        if (ToKeep is { } kept)
        {
            Files.Write(KeptInputs.File, kept.Write(), Files.OwnerOnly);
        }
        else
        {
            Files.Delete(KeptInputs.File);
        }
    }

    /// <summary>Facts alone, which are worth having where the configuration is not sound: then the binaries are looked for in their usual places.</summary>
    public static async Task<NodeFacts> FactsOfMachine(IMachineReader machine, TimeSpan deadline, CancellationToken cancellation)
    {
        using var sources = Sources(machine, [], deadline, false, cancellation);
        var timeline = new Timeline();
        var host = (HostFacts.Hardware(machine), HostFacts.Kernel(machine), machine.Disks());
        (string Kubelet, string Containerd, string? Docker, string? CriDockerd) binaries =
            ("/usr/bin/kubelet", "/usr/bin/containerd", "/usr/bin/dockerd", "/usr/bin/cri-dockerd");
        try
        {
            binaries = Binaries((await LoadConfig(machine, sources, [], timeline, cancellation).ConfigureAwait(false)).Config);
        }
        catch (Exception e) when (e is ConfigurationException or AwsException or NotPossibleException)
        {
            // 'config check' says what is wrong with it. What is wrong with tags is said below.
        }

        return await GatherFacts(sources.Instance, host, binaries, timeline, cancellation).ConfigureAwait(false);
    }

    /// <summary>Another machine's, from what <c>facts --save</c> wrote there: image files of this machine do not count, tags are those of the facts.</summary>
    public static NodeInputs FromFacts(IMachineReader files, string factsFile, IReadOnlyList<string> configFiles, Timeline timeline)
    {
        var content = files.File(factsFile) is { Kind: FileKind.Regular, Content: { } bytes }
            ? bytes
            : throw new FactsException($"{factsFile}: there is no such file");
        var facts = FactsJson.Read(content, factsFile);
        var loaded = NodeConfigLoader.Load(Configuration.Layers.Of(files, facts.Instance.Tags, null, configFiles, withImage: false));
        // That machine's store is not this one's to read.
        var source = loaded.Config.Certificates.Source == CertificateSourceKind.Store
            ? new ElsewhereCertificateSource() : Source(loaded.Config, facts, default, CancellationToken.None);
        return Build(loaded, facts, timeline, source, ElsewherePodRangeSource.Instance, ElsewherePods.Instance);
    }

    /// <summary>
    /// The configuration, and as far as there is a machine to hold it against, what comes of it there. Nobody is asked for a certificate or a range.
    /// </summary>
    /// <param name="factsFile">Of another machine, as for <see cref="FromFacts"/>; null: this one, if it is an instance.</param>
    public static async Task<CheckedConfig> Check(
        IMachineReader machine, IReadOnlyList<string> files, string? factsFile, TimeSpan deadline, CancellationToken cancellation)
    {
        var timeline = new Timeline();
        if (factsFile is not null)
        {
            var inputs = FromFacts(machine, factsFile, files, timeline);
            return new(inputs.Config, inputs.Advice, null);
        }

        if (!IsInstance())
        {
            var alone = NodeConfigLoader.Load(await Layers(machine, files, deadline, cancellation).ConfigureAwait(false));
            return new(
                alone, Advisor.Of(new(alone, null, [])), "this is no instance, so the configuration was checked by itself; --facts FILE holds it against one");
        }

        using var sources = Sources(machine, files, deadline, false, cancellation);
        var loaded = await LoadConfig(machine, sources, files, timeline, cancellation).ConfigureAwait(false);
        try
        {
            var host = (HostFacts.Hardware(machine), HostFacts.Kernel(machine), machine.Disks());
            var facts = await GatherFacts(sources.Instance, host, Binaries(loaded.Config), timeline, cancellation).ConfigureAwait(false);
            facts = facts with
            {
                Instance = facts.Instance with { MetadataHopLimit = await HopLimit(loaded.Config, facts, cancellation).ConfigureAwait(false) },
            };
            return new(
                loaded,
                Build(loaded, facts, timeline, new ElsewhereCertificateSource(), ElsewherePodRangeSource.Instance, ElsewherePods.Instance).Advice,
                null);
        }
        catch (Exception e) when (e is NotPossibleException { IsRefusal: false } or AwsException or ProbeException)
        {
            // An image that is not finished has no kubelet yet, and its configuration may be sound. What is refused stays refused, as for --facts.
            return new(loaded, Advisor.Of(new(loaded, null, [])), $"not held against this machine: {e.Message}");
        }
    }

    /// <summary>EC2 alone knows, and it is worth one question where somebody checks by hand; a boot does without.</summary>
    private static async Task<int?> HopLimit(NodeConfig config, NodeFacts facts, CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(TimeSpan.FromSeconds(10));
        using var metadata = new InstanceMetadata(AwsEndpoint.Metadata, TimeSpan.FromSeconds(5));
        using var role = new RoleCredentials(metadata);
        using var ec2 = new AmazonEC2Client(
            role, new AmazonEC2Config(facts.Instance.Region, AwsEndpoint.Ec2) { HttpClientFactory = MachineSources.Outbound(config.Proxy, config.Trust) });
        try
        {
            return await Ec2.Instances(ec2, "instance-id", [facts.Instance.Id], patience.Token).ConfigureAwait(false) is [var self, ..]
                ? self.MetadataOptions.HttpPutResponseHopLimit
                : null;
        }
        catch (Exception e) when (e is AwsException || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            // Few roles of workers may ask (ec2:DescribeInstances): then the rule about it has nothing to say.
            return null;
        }
    }

    /// <param name="deadline">
    /// The run's. Metadata and S3 are given up a little earlier, so that what is said is what they answered and not that time was up.
    /// </param>
    private static MachineSources Sources(IMachineReader machine, IReadOnlyList<string> files, TimeSpan deadline, bool forgets, CancellationToken cancellation)
    {
        // Read now, while nobody else reads.
        var image = LayersSoFar(machine, []);
        var given = LayersSoFar(machine, files, withImage: false);
        return new(
            new InstanceMetadata(AwsEndpoint.Metadata, deadline * 0.9),
            deadline * 0.9,
            new(AwsEndpoint.Ec2, AwsEndpoint.S3),
            ReadKept,
            forgets ? static () => Files.Delete(KeptInputs.File) : static () => { },
            userData => [.. image, .. userData is null ? [] : new[] { new Layer.UserData(userData) }, .. given],
            cancellation);
    }

    // A file that is not there is told of when the configuration is loaded.
    private static IReadOnlyList<Layer> LayersSoFar(IMachineReader machine, IReadOnlyList<string> files, bool withImage = true)
    {
        try
        {
            return Configuration.Layers.Of(machine, null, null, files, withImage);
        }
        catch (ConfigurationException)
        {
            return [];
        }
    }

    private static string? ReadKept()
    {
        try
        {
            return Files.Text(KeptInputs.File);
        }
        catch (ProbeException)
        {
            // Not root: such a run does without.
            return null;
        }
    }

    /// <summary>Binaries are run where nobody remembers what they said.</summary>
    private static VersionMemory Versions(CancellationToken cancellation) => new(
        () => Files.Report(VersionMemory.File).Content,
        content => Files.Write(VersionMemory.File, content, Files.WorldReadable),
        path => Files.Identity(path) is { } i ? FormattableString.Invariant($"{i.Inode} {i.Size} {i.ModifiedSeconds}.{i.ModifiedNanoseconds:d9}") : null,
        (path, arguments) =>
        {
            var result = new ProcessRunner(cancellation).Run([path, .. arguments]);
            return result.Failure is { } why ? throw new ProbeException($"`{result.Command}`", why) : result.Output;
        });

    /// <summary>The layers of this machine, for looking at its configuration alone. A workstation has no metadata, and is not asked for any.</summary>
    public static async Task<IReadOnlyList<Layer>> Layers(
        IMachineReader machine, IReadOnlyList<string> files, TimeSpan deadline, CancellationToken cancellation)
    {
        if (!IsInstance())
        {
            var layers = Configuration.Layers.Of(machine, null, null, files);
            return SharedLayers.AddressOf(layers, "") is { } address
                ? [.. layers, new Layer.Note($"s3://{address.Bucket} was not read: shared layers are an instance's, and this is none")]
                : layers;
        }

        using var sources = Sources(machine, files, deadline, false, cancellation);
        return await sources.Layers(machine, files, new Timeline(), cancellation).ConfigureAwait(false);
    }

    private static bool IsInstance() => AwsEndpoint.Metadata is not null || IsEc2();

    // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html: Nitro's DMI, Xen's hypervisor UUID.
    private static bool IsEc2() => Starts("/sys/class/dmi/id/sys_vendor", "Amazon EC2") || Starts("/sys/hypervisor/uuid", "ec2");

    private static bool Starts(string path, string prefix) => Files.Text(path)?.StartsWith(prefix, StringComparison.Ordinal) == true;

    private static async Task<LoadedConfig> LoadConfig(
        IMachineReader machine, MachineSources sources, IReadOnlyList<string> files, Timeline timeline, CancellationToken cancellation)
    {
        var layers = await sources.Layers(machine, files, timeline, cancellation).ConfigureAwait(false);
        return timeline.Measure("configuration", () => NodeConfigLoader.Load(layers));
    }

    private static (string Kubelet, string Containerd, string? Docker, string? CriDockerd) Binaries(NodeConfig config) =>
        (config.Kubelet.Binary, config.Containerd.Binary, config.Runtime == ContainerRuntimeKind.Docker ? config.Docker.Binary : null,
            config.Runtime == ContainerRuntimeKind.Docker ? config.Docker.CriDockerd : null);

    private static async Task<NodeFacts> GatherFacts(
        InstanceFactsGatherer gatherer,
        (HardwareFacts Hardware, KernelFacts Kernel, IReadOnlyList<DiskReport> Disks) host,
        (string Kubelet, string Containerd, string? Docker, string? CriDockerd) binaries,
        Timeline timeline,
        CancellationToken cancellation)
    {
        var versions = Versions(cancellation).Versions(binaries.Kubelet, binaries.Containerd, binaries.Docker, binaries.CriDockerd);
        return new NodeFacts
        {
            Instance = await timeline.MeasureAsync("metadata", () => gatherer.Instance.WaitAsync(cancellation)).ConfigureAwait(false),
            Hardware = host.Hardware,
            Kernel = host.Kernel,
            Disks = host.Disks,
            Versions = await timeline.MeasureAsync("versions", () => versions).ConfigureAwait(false),
        };
    }

    private static NodeInputs Build(
        LoadedConfig loaded,
        NodeFacts facts,
        Timeline time,
        ICertificateSource source,
        IPodRangeSource podRanges,
        INodePods pods) => time.Measure("configuration", () =>
    {
        try
        {
            return new NodeInputs(loaded, facts, NodeResources.Build(loaded.Config, facts, source, podRanges, pods));
        }
        catch (ConfigurationException e)
        {
            // What only the facts show to be wrong; where it was written, they do not know.
            throw new ConfigurationException([.. e.Errors.Select(error => error with { Origin = error.Origin ?? loaded.OriginOf(error.Path) })]);
        }
    });

    /// <param name="deadline">The run's. Issuer and store are given up earlier, so that what is said is what they answered and not that time was up.</param>
    private static ICertificateSource Source(NodeConfig config, NodeFacts facts, TimeSpan deadline, CancellationToken stop) => config.Certificates.Source switch
    {
        CertificateSourceKind.Directory => new LaboratoryCertificateSource(
            config.Certificates, Certificates.Identity(config, facts), SecretFile.Read, TimeProvider.System),
        CertificateSourceKind.Issuer => new IssuerCertificateSource(
            Issuer(config, facts, deadline), cancellation => Proof(deadline, cancellation), Standing, Waiting, TimeProvider.System),
        CertificateSourceKind.Store => new StoreCertificateSource(new(
            config.Certificates.Store!,
            config.Cluster.CertificateAuthority,
            Certificates.Identity(config, facts),
            Certificates.Names(config),
            config.Certificates.Lifetime.Value,
            // A node that comes back with good files has other things to do than to wait for S3.
            deadline * 0.5 < LongestForStore ? deadline * 0.5 : LongestForStore),
            _ => Task.FromResult(Open(config, facts.Instance.Region, deadline)),
            TimeProvider.System,
            stop),
        _ => NoCertificateSource.Instance,
    };

    /// <summary>Only where one is needed: a worker asks an issuer, and a control plane node EC2.</summary>
    private static IPodRangeSource PodRangeSource(NodeConfig config, NodeFacts facts, TimeSpan deadline)
    {
        if (config.Network.Plugin != NetworkPlugin.VpcRoutes)
        {
            return ElsewherePodRangeSource.Instance;
        }

        return config.Node.Role == NodeRole.Worker
            ? new IssuerPodRangeSource(new(
                "pod range", Issuer(config, facts, deadline), cancellation => Proof(deadline, cancellation), Standing, Waiting, TimeProvider.System))
            : new VpcPodRangeSource(
                new()
                {
                    Cluster = config.Cluster.Name,
                    VpcId = facts.Instance.Interfaces.FirstOrDefault(i => i.DeviceNumber == 0)?.VpcId
                        ?? throw new NotPossibleException("network.plugin is vpc-routes, and this instance's first interface is in no VPC"),
                    Whole = config.Cluster.PodRange!.Value,
                    NodePrefix = config.Network.NodePrefix,
                },
                facts.Instance.Id,
                // Not disposed of: for this run's length at most.
                () => new AmazonEC2Client(
                    new RoleCredentials(AwsEndpoint.Metadata, deadline * 0.8),
                    new AmazonEC2Config(facts.Instance.Region, AwsEndpoint.Ec2) { HttpClientFactory = MachineSources.Outbound(config.Proxy, config.Trust) }),
                Waiting,
                deadline * 0.5,
                TimeProvider.System);
    }

    private static IssuerClientSettings Issuer(NodeConfig config, NodeFacts facts, TimeSpan deadline) => new(
        config.Certificates.Issuer is { Endpoints: { Count: > 0 } given } ? IssuerClientSettings.Given(given) : stop => Issuers(config, facts, stop),
        config.Cluster.Name,
        config.Cluster.CertificateAuthority,
        facts.Instance.Region,
        AwsEndpoint.Sts ?? Sts.EndpointOf(facts.Instance.Region),
        deadline * 0.8);

    private static async Task<InstanceProof> Proof(TimeSpan deadline, CancellationToken cancellation)
    {
        using var metadata = new InstanceMetadata(AwsEndpoint.Metadata, deadline * 0.8);
        return await InstanceProof.Ask(metadata, cancellation).ConfigureAwait(false);
    }

    /// <summary>This node's client certificate, with its key.</summary>
    private static byte[]? Standing() =>
        Files.Report(Certificates.PathOf(RoleTable.NodeClient)).Kind == FileKind.Regular ? SecretFile.Read(Certificates.PathOf(RoleTable.NodeClient)) : null;

    private static void Waiting(string why) => Console.Error.WriteLine($"nodeagent: waiting: {why}");

    private static async Task<IReadOnlyList<Uri>> Issuers(NodeConfig config, NodeFacts facts, CancellationToken cancellation)
    {
        var found = await ControlPlane(config, facts, "name the issuers in certificates.issuer.endpoints, and EC2 is not asked", cancellation)
            .ConfigureAwait(false);
        return IssuerClientSettings.Found(found.Select(i => (string?)i.PrivateIpAddress));
    }

    /// <summary>Every instance of the control plane, as tags name it: an autoscaling group replaces them, and no configuration has to follow.</summary>
    /// <param name="instead">What would do without this call.</param>
    private static async Task<IReadOnlyList<Instance>> ControlPlane(NodeConfig config, NodeFacts facts, string instead, CancellationToken cancellation)
    {
        using var metadata = new InstanceMetadata(AwsEndpoint.Metadata, TimeSpan.FromSeconds(20));
        using var role = new RoleCredentials(metadata);
        using var ec2 = new AmazonEC2Client(
            role, new AmazonEC2Config(facts.Instance.Region, AwsEndpoint.Ec2) { HttpClientFactory = MachineSources.Outbound(config.Proxy, config.Trust) });
        try
        {
            var vpc = facts.Instance.Interfaces.FirstOrDefault(i => i.DeviceNumber == 0)?.VpcId;
            return await Ec2.ControlPlane(ec2, config.Cluster.Name, vpc, cancellation).ConfigureAwait(false);
        }
        catch (AwsException e) when (e.Kind == AwsFailureKind.NotAllowed)
        {
            throw new AwsException(e.Failure with { Remedy = $"{e.Failure.Remedy} Or {instead}." }, e);
        }
    }

    /// <summary>By the instance's role.</summary>
    private static OpenStore Open(NodeConfig config, string region, TimeSpan deadline)
    {
        // Not disposed: credentials are renewed for as long as keys in KMS sign, which is until this process ends.
        var role = new RoleCredentials(AwsEndpoint.Metadata, deadline * 0.8);
        var outbound = MachineSources.Outbound(config.Proxy, config.Trust);
        return new(CaStores.Open(config.Certificates.Store!, region, role, outbound), CaStores.Kms(() => region, role, outbound));
    }

    /// <summary>Of a node that is only looked at from elsewhere.</summary>
    private sealed class ElsewhereCertificateSource : ICertificateSource
    {
        public IReadOnlyList<byte[]> Obtain(string role, byte[] request, CancellationToken cancellation) =>
            throw new MachineException($"certificate for {role}", "this is not the node that it is for");
    }

    private sealed class ElsewherePods : INodePods
    {
        public static readonly ElsewherePods Instance = new();

        public IReadOnlyList<string> Others() => throw new ProbeException("pods of this node", "this is not the node that they are on");
    }

    /// <summary>From the API server, by the node's own certificate.</summary>
    private sealed class KubeletsPods(NodeConfig config, NodeFacts facts, CancellationToken cancellation) : INodePods
    {
        public IReadOnlyList<string> Others()
        {
            try
            {
                using var api = WatchCommand.Connect(ControlPlanePods.Server(config));
                return [.. api.PodsOf(NodeNames.Of(config, facts), cancellation).GetAwaiter().GetResult().Where(p => !p.IsMirror && !p.IsDaemon)
                    .Select(p => p.ToString()).Order(StringComparer.Ordinal)];
            }
            catch (Exception e) when (e is HttpRequestException or CryptographicException or IOException or JsonException or KeyNotFoundException
                or InvalidOperationException
                || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
            {
                throw new ProbeException(
                    "pods of this node",
                    $"kubeProxy.change: drained asks the API server for them, and it does not say: {e.GetBaseException().Message}; try again, reboot the "
                        + "node, or say always",
                    e);
            }
        }
    }

    private sealed class ElsewherePodRangeSource : IPodRangeSource
    {
        public static readonly ElsewherePodRangeSource Instance = new();

        public Cidr Obtain(Cidr? wish, CancellationToken cancellation) => throw new MachineException("pod range", "this is not the node that it is for");
    }
}
