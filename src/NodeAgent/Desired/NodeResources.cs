using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>What a node is: one ordered list, a pure function of configuration and facts. Boot, repair, drift checks and review all read this one.</summary>
internal static class NodeResources
{
    /// <exception cref="NotPossibleException">Configuration and facts do not make a node.</exception>
    public static ResourceList Build(NodeConfig config, NodeFacts facts, ICertificateSource certificateSource, IPodRangeSource podRangeSource, INodePods pods)
    {
        var gate = BootGate.DropIns();
        var storage = EtcdVolume.AddTo(Storage.Build(config.Storage, config.RuntimeRoot(), facts), config);
        var kernel = Kernel.Build(config, facts);
        var certificates = Certificates.Build(config, facts, certificateSource);
        var network = PodNetwork.Build(config, facts, podRangeSource, pods);
        var runtime = ContainerRuntime.Build(config, facts, storage);
        var kubelet = Kubelet.Build(config, facts, storage, certificates, runtime);
        var proxy = ServiceProxy.Build(config, facts, certificates, kernel, runtime, pods);
        var controlPlane = ControlPlanePods.Build(config, facts, certificates);

        var trust = Trust.Build(config);
        Resource[] others = [.. Networkd.Build(config, facts), .. TimeAndNames.Build(config, facts), Endpoint.Hosts(config, facts)];
        var proxyFiles = HttpProxy.Files(config);
        Resource[] environment = [.. proxyFiles, trust.Bundle];

        var services = ControlPlaneServices.Files(config);
        var serviceUnits = ControlPlaneServices.UnitFiles(config, facts);
        Resource[] unitFiles =
            [.. gate, .. storage.UnitFiles, .. runtime.UnitFiles, .. kubelet.UnitFiles, .. serviceUnits, .. Adoption.UnitFiles(config, facts),
                .. Lifecycle.UnitFiles(config, facts), .. Endpoint.UnitFiles(config, facts)];
        Resource[] files =
            [BootGate.Armed(), .. Lifecycle.Warm(facts), .. network, .. runtime.Files, .. kubelet.Files, .. controlPlane.Files, .. proxy, .. proxyFiles,
                .. services];
        Resource[] wanted = [.. kernel, .. certificates.Resources, .. files, .. unitFiles];
        // Where nobody wants it, it goes with the network that it made, and when policy says so.
        var names = wanted.SelectMany(Certificates.FilesOf).Append(PodNetwork.ConfigurationPath).ToHashSet(StringComparer.Ordinal);
        var proxyRemains = ServiceProxy.Remains(config, proxy);
        if (proxyRemains.Count > 0)
        {
            names.UnionWith(ServiceProxy.Files);
        }

        var leftovers = new Leftovers("files", Territory, names)
        {
            NamedOurs = ContainerRuntime.NamedOurs,
            Keys = Certificates.Paths,
            SharedKeys = [.. Certificates.ControlPlanePaths, EncryptionConfiguration.PathOfIt],
            OwnDirectories = ContainerRuntime.OwnDirectories,
            StopsFirst = (path, _) => ControlPlaneServices.StopsFirst(path),
            Costs = path => path.StartsWith(Kubelet.ManifestDirectory + "/", StringComparison.Ordinal) ? Disruption.RecreatesPods : Disruption.None,
        };
        // Keys of which nobody has need any more: last, since until its manifest says nothing of them, the API server's pod does not start without.
        Resource[] formerKeys = certificates.Resources.OfType<EncryptionConfiguration>().SingleOrDefault() is { IsEnded: true } ended
            ? [new Leftovers("keys of encryption at rest", [], new HashSet<string>())
            {
                SharedKeys = [EncryptionConfiguration.PathOfIt],
                Needs = [ended, controlPlane.Files.Single(f => f.Name == StaticPod.PathOf(ApiServer.Name))],
            }]
            : [];
        // A drop-in that goes is a restart of its service alone; of other units' there is none to be owed.
        string[] restarted = [.. runtime.Services.Select(r => r.Unit), Kubelet.Unit, Lifecycle.WatchUnit];
        var leftDropIns = restarted.ToDictionary(
            u => u,
            Resource (u) => new Leftovers($"drop-ins of {u}", [$"/etc/systemd/system/{u}.d"], names) { Needs = storage.Volumes },
            StringComparer.Ordinal);
        var leftoverUnits = new Leftovers("unit files", ["/etc/systemd/system", "/etc/systemd/system/*"], names)
        {
            Needs = storage.Volumes,
            Except = restarted.Select(u => $"/etc/systemd/system/{u}.d").ToHashSet(StringComparer.Ordinal),
            StopsFirst = (path, text) => path.Count('/') == 4 ? Storage.StopsFirst(path, text, Kubelet.Root, Kubelet.PodLogs, runtime.Root) : null,
        };
        var reload = new SystemdManager(
            Concern.Runtime,
            "of the node",
            [.. storage.Mounts.Select(m => m.Unit), .. runtime.Services.Select(r => r.Unit), ContainerRuntime.ImagesUnit, Kubelet.Unit, Kubelet.ReadyUnit,
                .. ControlPlaneServices.Units(config), .. Adoption.Units, .. Lifecycle.Units.Except(ControlPlaneServices.Units(config))])
        {
            Needs = unitFiles,
            Inputs = [.. unitFiles, .. leftDropIns.Values, leftoverUnits],
        };
        var mounts = storage.Mounts.Select(m => m.ToResource(reload)).ToList();
        var credentials = RegistryCredentials.Build(config, mounts);
        var directories = controlPlane.Directories.Select(
            d => new DirectoryResource(d.Concern, d.Name, d.Mode) { Needs = [.. mounts.Where(m => Storage.Holds(m.Name, d.Name))] });
        var prepared = Lifecycle.WithoutJoining(config, facts,
        [
            .. storage.Volumes, .. kernel, .. others, runtime.Remains(), .. trust.Resources, .. certificates.Resources, .. files, .. unitFiles,
            leftovers, .. proxyRemains, .. formerKeys, .. leftDropIns.Values, leftoverUnits, reload, .. mounts,
            .. credentials, .. directories,
        ]);
        var stamp = BootGate.Stamp(prepared);
        return new ResourceList(
        [
            .. prepared,
            stamp,
            .. runtime.Running(stamp, mounts, environment, u => leftDropIns[u]),
            .. Lifecycle.IsWarm(facts) ? Lifecycle.WithoutKubelet(stamp) : kubelet.Running(stamp, mounts, environment, u => leftDropIns[u]),
            .. ControlPlaneServices.Running(config, services, serviceUnits, reload),
            Adoption.Timer(config, reload),
            Endpoint.Timer(config, reload),
            .. Certificates.Timer(config),
            .. Lifecycle.Watch(
                config,
                facts,
                [.. unitFiles.Where(f => f.Name.Contains(Lifecycle.WatchUnit + ".d/", StringComparison.Ordinal)), leftDropIns[Lifecycle.WatchUnit]],
                reload),
            storage.Remains,
        ])
        {
            Warnings = [.. kubelet.Warnings, .. controlPlane.Warnings],
        };
    }

    /// <summary>Where the agent writes files that carry its header or name.</summary>
    private static readonly string[] Territory =
    [
        "/etc/modules-load.d",
        "/etc/sysctl.d",
        "/etc/cni/net.d",
        .. ContainerRuntime.Territory,
        "/etc/kubernetes",
        ServiceProxy.Directory,
        ApiServer.Directory,
        "/etc/nodeagent",
        Lifecycle.Directory,
        // Last made and first to go: a pod, then what it reads.
        Kubelet.ManifestDirectory,
    ];
}

/// <summary>A configuration that is sound by itself and this machine do not go together.</summary>
internal sealed class NotPossibleException(string message) : Exception(message)
{
    /// <summary>The configuration asks that such a machine be refused.</summary>
    public bool IsRefusal { get; init; }
}
