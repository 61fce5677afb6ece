using System.Globalization;
using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// Docker: a daemon.json of our own, named by a drop-in, so that /etc/docker/daemon.json stays whose it is. kubelet up to 1.23 talks to it by itself
/// (dockershim), later ones through cri-dockerd. Docker 26.1 with kubelet 1.20 ran here; other versions and cri-dockerd are by their sources and notes.
/// </summary>
internal static class Docker
{
    public const string Unit = "docker.service";

    public const string CriUnit = "cri-dockerd.service";

    public const string CriSocket = "/run/cri-dockerd.sock";

    /// <summary>Beside our containerd's: /etc/docker is Docker's own, and its daemon.json is read by others who expect it to be in force.</summary>
    public const string ConfigurationPath = $"{Directory}/daemon.json";

    public const string Directory = "/etc/docker/nodeagent";

    public const string CertificatesDirectory = "/etc/docker/certs.d";

    private const string Socket = "/run/docker.sock";

    public static ContainerRuntime Build(NodeConfig config, NodeFacts facts, Storage storage)
    {
        var version = VersionOf(config, facts);
        var throughCri = KubernetesVersion.Parse(facts.Versions.Kubelet) is { } kubelet && !KubeletVersions.Nearest(kubelet).Dockershim;
        Check(config, facts, version, throughCri);

        var docker = config.Docker;
        var beneath = Containerd.Beneath(config, facts, storage, docker.DataRoot);
        var configuration = new ConfigFile(Concern.Runtime, ConfigurationPath, Documents.Json(Configuration(docker)));
        // --host stands here alone, since dockerd refuses what both a flag and the file say; so do the distribution's own flags ($DOCKER_OPTS) go.
        var dropIn = new ConfigFile(Concern.Runtime, $"/etc/systemd/system/{Unit}.d/50-nodeagent.conf", $"""
            {Ownership.Header}
            [Unit]
            Wants={Containerd.Unit}
            After={Containerd.Unit}
            {storage.RequiresMountsFor(docker.DataRoot)}
            [Service]{HttpProxy.ServiceLines(config)}
            ExecStart=
            ExecStart={docker.Binary} --host fd:// --config-file {ConfigurationPath}

            """);
        var cri = new ConfigFile(Concern.Runtime, $"/etc/systemd/system/{CriUnit}", CriService(config));
        return new ContainerRuntime
        {
            Root = docker.DataRoot,
            Socket = throughCri ? CriSocket : Socket,
            Services =
            [
                new(Containerd.Unit, [beneath.Configuration, beneath.DropIn]),
                new(Unit, [configuration, dropIn]),
                .. throughCri ? [new RuntimeService(CriUnit, [cri])] : Array.Empty<RuntimeService>(),
            ],
            Files = [beneath.Configuration, configuration, .. Authorities(config)],
            UnitFiles =
            [
                beneath.DropIn,
                dropIn,
                .. throughCri ? [cri] : Array.Empty<Resource>(),
                ContainerRuntime.Images(config, "Docker", Unit, " --runtime docker"),
            ],
        };
    }

    /// <summary>
    /// The API version that dockershim must ask for, in the environment; null where any will do. Docker 25 (API 1.44) no longer says an image's VirtualSize,
    /// without which kubelet takes no image for present (Mirantis/cri-dockerd#299); asked in an earlier version, Docker up to 28 still does.
    /// </summary>
    public static string? DockershimApiVersion(NodeConfig config, NodeFacts facts) => VersionOf(config, facts).Major >= 25 ? "1.40" : null;

    private static Version VersionOf(NodeConfig config, NodeFacts facts)
    {
        var text = facts.Versions.Docker
            ?? throw new NotPossibleException(
                $"there is no dockerd at {config.Docker.Binary}; install it in the image, name it in docker.binary, or choose runtime: containerd");
        return ReleaseNumber.Parse(text)
            ?? throw new NotPossibleException($"{config.Docker.Binary} says its version is '{text}', which is not one of Docker");
    }

    private static void Check(NodeConfig config, NodeFacts facts, Version version, bool throughCri)
    {
        if (facts.Kernel.CgroupVersion == 2 && version < new Version(20, 10))
        {
            // https://docs.docker.com/engine/release-notes/20.10/: cgroup v2 is supported from there on.
            throw new NotPossibleException(
                $"{config.Docker.Binary} is Docker {facts.Versions.Docker}, which knows cgroup v1 only, and this machine has v2; "
                + "install 20.10 or later, or boot with systemd.unified_cgroup_hierarchy=0");
        }

        if (!throughCri && version.Major >= 29)
        {
            // https://docs.docker.com/engine/release-notes/29/: API 1.44 is the lowest it speaks.
            throw new NotPossibleException(
                $"{config.Docker.Binary} is Docker {facts.Versions.Docker}, and kubelet {facts.Versions.Kubelet} talks in an API that it no longer speaks; "
                + "install Docker 28 or earlier, a kubelet of 1.24 or later with cri-dockerd, or choose runtime: containerd");
        }
    }

    private static JsonObject Configuration(DockerConfig docker)
    {
        var document = new JsonObject
        {
            // Pods' networks are CNI's: no bridge, and no rules between kube-proxy's.
            ["bridge"] = "none",
            ["containerd"] = Containerd.Socket,
            ["data-root"] = docker.DataRoot,
            // kubelet is told the same: two managers of one cgroup tree fight as soon as memory is short.
            ["exec-opts"] = new JsonArray("native.cgroupdriver=systemd"),
            // From 29 on a fresh store is containerd's, which dockershim and cri-dockerd were not made for; before 23 nobody reads this.
            ["features"] = new JsonObject { ["containerd-snapshotter"] = false },
            ["ip-forward"] = false,
            ["iptables"] = false,
            ["live-restore"] = docker.LiveRestore,
            ["log-driver"] = "json-file",
            ["log-opts"] = new JsonObject
            {
                ["max-file"] = docker.Logs.MaxFiles.ToString(CultureInfo.InvariantCulture),
                ["max-size"] = docker.Logs.MaxSize,
            },
        };
        if (docker.Mirrors.Count > 0)
        {
            document["registry-mirrors"] = new JsonArray([.. docker.Mirrors.Select(m => JsonValue.Create(m.GetLeftPart(UriPartial.Authority)))]);
        }

        document["storage-driver"] = docker.StorageDriver;
        Kubelet.Merge(document, docker.Configuration);
        return document;
    }

    // Not enabled: kubelet wants it. It asks Docker for the cgroup driver by itself (core/docker_service.go of cri-dockerd).
    private static string CriService(NodeConfig config) => $"""
        {Ownership.Header}
        [Unit]
        Description=CRI for Docker
        Requires={Unit}
        After={Unit}
        # The package's own unit and socket listen at the same place.
        Conflicts=cri-docker.service cri-docker.socket
        StartLimitIntervalSec=0

        [Service]
        Type=notify
        ExecStart={config.Docker.CriDockerd} \
          --container-runtime-endpoint=unix://{CriSocket} \
          --network-plugin=cni \
          --cni-bin-dir={config.Network.PluginBinaries} \
          --cni-conf-dir=/etc/cni/net.d \
          --pod-infra-container-image={config.Containerd.SandboxImage}
        Restart=always
        RestartSec=2
        KillMode=process
        Delegate=yes

        """;

    // https://docs.docker.com/engine/security/certificates/: read at each pull.
    private static IEnumerable<ConfigFile> Authorities(NodeConfig config) => config.Registries
        .Where(r => r.Value.CertificateAuthority is not null)
        .OrderBy(r => r.Key, StringComparer.Ordinal)
        .Select(r => ContainerRuntime.AuthorityFile($"{CertificatesDirectory}/{r.Key}/ca.crt", r.Value.CertificateAuthority!));
}
