using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>What runs containers: what the rest of the node has to know of it, whichever it is.</summary>
internal sealed record ContainerRuntime
{
    public const string ImagesUnit = "nodeagent-images.service";

    /// <summary>Where images and containers are kept.</summary>
    public required string Root { get; init; }

    /// <summary>The socket that answers as soon as containers can run.</summary>
    public required string Socket { get; init; }

    /// <summary>Its services in the order in which they start.</summary>
    public required IReadOnlyList<RuntimeService> Services { get; init; }

    public required IReadOnlyList<Resource> Files { get; init; }

    public required IReadOnlyList<Resource> UnitFiles { get; init; }

    /// <summary>Paths of ours in formats that hold no comment to know them by.</summary>
    public static IReadOnlyList<string> NamedOurs => [Docker.ConfigurationPath];

    /// <summary>Where nobody else has files, whichever the runtime is now.</summary>
    public static IReadOnlyList<string> OwnDirectories => [Containerd.Directory, $"{Containerd.HostsDirectory}/*", Docker.Directory];

    /// <summary>Where files of ours lie.</summary>
    public static IReadOnlyList<string> Territory => [.. OwnDirectories, $"{Docker.CertificatesDirectory}/*"];

    /// <summary>What a service that was ours and is not needed any more goes on with, said when its drop-in leaves.</summary>
    public Resource Remains() => new Remains(Concern.Runtime, "of other runtimes", [.. Others.Select(DropInOf)], texts => Others
        .Where(u => texts.ContainsKey(DropInOf(u)))
        .Select(u => $"{u} is not this node's runtime any more; it is neither stopped nor disabled, and what it stored stays: systemctl disable --now {u}"));

    // containerd serves Docker, too, so that it never becomes one of these.
    private IEnumerable<string> Others => new[] { Docker.Unit }.Where(u => Services.All(s => s.Unit != u));

    private static string DropInOf(string unit) => $"/etc/systemd/system/{unit}.d/50-nodeagent.conf";

    public static ContainerRuntime Build(NodeConfig config, NodeFacts facts, Storage storage) =>
        config.Runtime == ContainerRuntimeKind.Docker ? Docker.Build(config, facts, storage) : Containerd.Build(config, facts, storage);

    /// <param name="environment">As <see cref="Kubelet.Running"/> has it.</param>
    /// <param name="leftDropIns">As <see cref="Kubelet.Running"/> has it.</param>
    public IReadOnlyList<Resource> Running(
        Resource stamp, IReadOnlyList<Resource> mounts, IReadOnlyList<Resource> environment, Func<string, Resource> leftDropIns)
    {
        // A mount that came late hides the store that the service has open.
        var below = mounts.Where(m => Storage.Holds(m.Name, Root, Kubelet.PodLogs)).ToList();
        var resources = new List<Resource>();
        foreach (var service in Services)
        {
            var restart = new Restart(Concern.Runtime, service.Unit)
            {
                Needs = [stamp],
                Inputs = [.. service.RestartOn, .. below, .. environment, leftDropIns(service.Unit)],
            };
            resources.AddRange([restart, new Service(Concern.Runtime, service.Unit) { Needs = [stamp, restart] }]);
        }

        return resources;
    }

    /// <summary>
    /// A fresh mount hides the images that were baked below it, and pods that need them may have no registry to go to. So it is tried again, and a runtime
    /// whose first start failed, which systemd starts again by itself, gets them, too: Requires= would have ended this with that start, for good.
    /// </summary>
    public static Resource Images(NodeConfig config, string runtime, string unit, string arguments) =>
        new ConfigFile(Concern.Runtime, $"/etc/systemd/system/{ImagesUnit}", $"""
            {Ownership.Header}
            [Unit]
            Description=Import the machine's image archives into {runtime}
            ConditionDirectoryNotEmpty={config.Images.Archives}
            Wants={unit}
            After={unit}
            StartLimitIntervalSec=1h
            StartLimitBurst=20

            [Service]
            Type=oneshot
            Restart=on-failure
            RestartSec=15s
            ExecStart=/usr/bin/nodeagent image import --archives {config.Images.Archives} --store {config.RuntimeRoot()}{arguments}
            TimeoutStartSec=15min

            """);

    /// <summary>
    /// What is trusted beside the system's certificates for one registry. Text before a PEM block is explanatory (RFC 7468, 5.2), so it can carry our mark.
    /// </summary>
    public static ConfigFile AuthorityFile(string path, string pem) => new(Concern.Runtime, path, $"{Ownership.Header}\n{pem.Trim()}\n");
}

/// <param name="RestartOn">What it reads only when it starts.</param>
internal sealed record RuntimeService(string Unit, IReadOnlyList<Resource> RestartOn);
