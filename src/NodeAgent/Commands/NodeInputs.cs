using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Facts;
using NodeAgent.Issuer;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>What a node is computed from, read from this machine or from files, and the list that follows from it.</summary>
internal sealed record NodeInputs(LoadedConfig Config, NodeFacts Facts, ResourceList Resources)
{
    private const string EndpointVariable = "AWS_EC2_METADATA_SERVICE_ENDPOINT";

    public string NodeName => NodeNames.Of(Config.Config, Facts);

    /// <summary>Reads this machine: metadata answers while the disks are listed and the configuration is parsed.</summary>
    public static async Task<NodeInputs> FromMachine(
        IMachineReader machine, IReadOnlyList<string> files, TimeSpan deadline, Timeline timeline, CancellationToken cancellation)
    {
        using var metadata = Metadata(deadline);
        var gatherer = InstanceFactsGatherer.Start(metadata, TagsFromEc2(metadata, machine, files), cancellation);
        var host = timeline.Measure("machine", () => (HostFacts.Hardware(machine), HostFacts.Kernel(machine), machine.Disks()));
        var loaded = await LoadConfig(machine, gatherer, files, timeline, cancellation).ConfigureAwait(false);
        var facts = await GatherFacts(gatherer, host, loaded.Config.Kubelet.Binary, loaded.Config.Containerd.Binary, timeline, cancellation).ConfigureAwait(false);
        return Build(loaded, facts, timeline);
    }

    /// <summary>Facts alone, which are worth having where the configuration is not sound: then the binaries are looked for in their usual places.</summary>
    public static async Task<NodeFacts> FactsOfMachine(IMachineReader machine, TimeSpan deadline, CancellationToken cancellation)
    {
        using var metadata = Metadata(deadline);
        var timeline = new Timeline();
        var gatherer = InstanceFactsGatherer.Start(metadata, TagsFromEc2(metadata, machine, []), cancellation);
        var host = (HostFacts.Hardware(machine), HostFacts.Kernel(machine), machine.Disks());
        var (kubelet, containerd) = ("/usr/bin/kubelet", "/usr/bin/containerd");
        try
        {
            var config = (await LoadConfig(machine, gatherer, [], timeline, cancellation).ConfigureAwait(false)).Config;
            (kubelet, containerd) = (config.Kubelet.Binary, config.Containerd.Binary);
        }
        catch (ConfigurationException)
        {
            // 'config check' says what is wrong with it.
        }

        return await GatherFacts(gatherer, host, kubelet, containerd, timeline, cancellation).ConfigureAwait(false);
    }

    /// <summary>Another machine's, from what <c>facts --save</c> wrote there: image files of this machine do not count, tags are those of the facts.</summary>
    public static NodeInputs FromFacts(IMachineReader files, string factsFile, IReadOnlyList<string> configFiles, Timeline timeline)
    {
        var content = files.File(factsFile) is { Kind: FileKind.Regular, Content: { } bytes } ? bytes : throw new FactsException($"{factsFile}: there is no such file");
        var facts = FactsJson.Read(content, factsFile);
        var loaded = NodeConfigLoader.Load(Configuration.Layers.Of(files, facts.Instance.Tags, null, configFiles, withImage: false));
        return Build(loaded, facts, timeline);
    }

    /// <param name="deadline">The run's. Metadata is given up a little earlier, so that what is said is what metadata answered and not that time was up.</param>
    private static InstanceMetadata Metadata(TimeSpan deadline) =>
        new(HostEnvironment.Get(EndpointVariable) is { } endpoint ? new Uri(endpoint) : null, deadline * 0.9);

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
    public static async Task<IReadOnlyList<Layer>> Layers(IMachineReader machine, IReadOnlyList<string> files, TimeSpan deadline, CancellationToken cancellation)
    {
        if (HostEnvironment.Get(EndpointVariable) is null && !IsEc2())
        {
            return Configuration.Layers.Of(machine, null, null, files);
        }

        using var metadata = Metadata(deadline);
        var gatherer = InstanceFactsGatherer.Start(metadata, TagsFromEc2(metadata, machine, files), cancellation);
        var tags = await gatherer.Tags.WaitAsync(cancellation).ConfigureAwait(false);
        return Configuration.Layers.Of(machine, tags, await gatherer.UserData.WaitAsync(cancellation).ConfigureAwait(false), files);
    }

    // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html: Nitro's DMI, Xen's hypervisor UUID.
    private static bool IsEc2() => Starts("/sys/class/dmi/id/sys_vendor", "Amazon EC2") || Starts("/sys/hypervisor/uuid", "ec2");

    private static bool Starts(string path, string prefix) => Files.Text(path)?.StartsWith(prefix, StringComparison.Ordinal) == true;

    /// <summary>The proxy by which tags are asked for is what the other layers say; those of this machine are read now, while nobody else reads.</summary>
    private static TagsFromEc2 TagsFromEc2(InstanceMetadata metadata, IMachineReader machine, IReadOnlyList<string> files)
    {
        var image = LayersSoFar(machine, []);
        var given = LayersSoFar(machine, files, withImage: false);
        return async (region, instance, cancellation) =>
        {
            var userData = await metadata.UserData(cancellation).ConfigureAwait(false);
            IReadOnlyList<Layer> layers = [.. image, .. userData is null ? [] : new[] { new Layer.UserData(userData) }, .. given];
            var outbound = Outbound(NodeConfigLoader.Proxy(layers), NodeConfigLoader.Trust(layers));
            var endpoint = HostEnvironment.Get("AWS_ENDPOINT_URL_EC2") is { } url ? new Uri(url) : null;
            using var role = new RoleCredentials(metadata);
            using var ec2 = new AmazonEC2Client(role, new AmazonEC2Config(region, endpoint) { HttpClientFactory = outbound });
            return await Ec2.InstanceTags(ec2, instance, TimeProvider.System, cancellation).ConfigureAwait(false);
        };
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

    /// <summary>For every call of the agent's own that leaves the machine.</summary>
    private static OutboundHttp Outbound(HttpProxyConfig? proxy, TrustConfig? trust) => new(
        proxy is null ? null : new OutboundProxy(proxy.Http?.Reveal(), proxy.Https?.Reveal(), ProxyExceptions.Of(proxy)),
        [.. (trust?.Certificates.Values ?? []).SelectMany(c => Pki.Pem.Certificates(c)).Where(c => Pki.ParsedCertificate.Parse(c) is not null)]);

    private static async Task<LoadedConfig> LoadConfig(
        IMachineReader machine, InstanceFactsGatherer gatherer, IReadOnlyList<string> files, Timeline timeline, CancellationToken cancellation)
    {
        var tags = await timeline.MeasureAsync("metadata", () => gatherer.Tags.WaitAsync(cancellation)).ConfigureAwait(false);
        var userData = await timeline.MeasureAsync("metadata", () => gatherer.UserData.WaitAsync(cancellation)).ConfigureAwait(false);
        return timeline.Measure("configuration", () => NodeConfigLoader.Load(Configuration.Layers.Of(machine, tags, userData, files)));
    }

    private static async Task<NodeFacts> GatherFacts(
        InstanceFactsGatherer gatherer,
        (HardwareFacts Hardware, KernelFacts Kernel, IReadOnlyList<DiskReport> Disks) host,
        string kubelet,
        string containerd,
        Timeline timeline,
        CancellationToken cancellation)
    {
        var versions = Versions(cancellation).Versions(kubelet, containerd);
        return new NodeFacts
        {
            Instance = await timeline.MeasureAsync("metadata", () => gatherer.Instance.WaitAsync(cancellation)).ConfigureAwait(false),
            Hardware = host.Hardware,
            Kernel = host.Kernel,
            Disks = host.Disks,
            Versions = await timeline.MeasureAsync("versions", () => versions).ConfigureAwait(false),
        };
    }

    private static NodeInputs Build(LoadedConfig loaded, NodeFacts facts, Timeline timeline) => timeline.Measure(
        "configuration", () => new NodeInputs(loaded, facts, NodeResources.Build(loaded.Config, facts, CertificateSource(loaded.Config, facts))));

    private static ICertificateSource CertificateSource(NodeConfig config, NodeFacts facts) => config.Certificates.Source switch
    {
        CertificateSourceKind.Directory => new LaboratoryCertificateSource(
            config.Certificates, Certificates.Identity(config, facts), SecretFile.Read, TimeProvider.System),
        _ => NoCertificateSource.Instance,
    };
}
