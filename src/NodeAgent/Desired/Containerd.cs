using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// containerd: a configuration file of our own, named by a drop-in, so that the distribution's stays as it is. Beneath Docker as well, then without its CRI.
/// </summary>
internal static class Containerd
{
    public const string Unit = "containerd.service";

    public const string Socket = "/run/containerd/containerd.sock";

    public const string Directory = "/etc/containerd/nodeagent";

    public const string HostsDirectory = $"{Directory}/hosts";

    public static ContainerRuntime Build(NodeConfig config, NodeFacts facts, Storage storage)
    {
        var format = FormatOf(config, facts);
        var configuration = new ConfigFile(Concern.Runtime, $"{Directory}/config.toml", Configuration(config, format));
        var dropIn = DropIn(config, storage, configuration, ContainerdConfig.Root);
        return new ContainerRuntime
        {
            Root = ContainerdConfig.Root,
            Socket = Socket,
            // The CNI directory is watched, hosts.toml and certificates read at each pull: neither asks for a restart.
            Services = [new(Unit, [configuration, dropIn])],
            Files = [configuration, .. Registries(config)],
            UnitFiles = [dropIn, ContainerRuntime.Images(config, "containerd", Unit, $" --pin {config.Containerd.SandboxImage}")],
        };
    }

    /// <summary>
    /// For another runtime that keeps its images elsewhere: what containerd knows of its containers then lies with them, so that both are lost together when an
    /// instance comes back with new disks.
    /// </summary>
    public static (ConfigFile Configuration, ConfigFile DropIn) Beneath(NodeConfig config, NodeFacts facts, Storage storage, string root)
    {
        var format = FormatOf(config, facts);
        var configuration = new ConfigFile(Concern.Runtime, $"{Directory}/config.toml", $"""
            {Head(format, $"{root}/io.nodeagent.containerd")}
            # kubelet talks to Docker: one CRI on a node is enough.
            disabled_plugins = [{string.Join(", ", format.CriPlugins.Select(Toml))}]

            {Grpc}
            """);
        return (configuration, DropIn(config, storage, configuration, root));
    }

    private static ConfigFile DropIn(NodeConfig config, Storage storage, ConfigFile configuration, string root) =>
        new(Concern.Runtime, $"/etc/systemd/system/{Unit}.d/50-nodeagent.conf", $"""
            {Ownership.Header}
            [Unit]
            {storage.RequiresMountsFor(root)}
            [Service]{HttpProxy.ServiceLines(config)}
            ExecStart=
            ExecStart={config.Containerd.Binary} --config {configuration.Name}

            """);

    /// <param name="Major">And all its minors from <paramref name="FirstMinor"/> on.</param>
    /// <param name="Images">Where the CRI's settings for images stand: registries, the sandbox image.</param>
    /// <param name="Runtime">Where those for containers and CNI stand.</param>
    /// <param name="SandboxImage">The table and key, relative to <paramref name="Images"/>.</param>
    private sealed record Format(
        int Major, int FirstMinor, int Version, string Images, string Runtime, (string Table, string Key) SandboxImage, IReadOnlyList<string> CriPlugins);

    // docs/cri/config.md and docs/PLUGINS.md of containerd at 2.0: version 3 came with 2.0, which took the CRI apart into images and containers.
    // 1.6 is the first with everything that is written here and asked for: hosts.toml by registry (1.5), and CRI v1 (1.6), which kubelet wants from 1.26.
    // 1.7.24 ran here; 1.6 and 2.x are by those documents alone.
    private static readonly Format[] Formats =
    [
        new(1, 6, 2, "io.containerd.grpc.v1.cri", "io.containerd.grpc.v1.cri", ("", "sandbox_image"), ["io.containerd.grpc.v1.cri"]),
        new(
            2,
            0,
            3,
            "io.containerd.cri.v1.images",
            "io.containerd.cri.v1.runtime",
            (".pinned_images", "sandbox"),
            ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"]),
    ];

    private static Format FormatOf(NodeConfig config, NodeFacts facts)
    {
        var text = facts.Versions.Containerd
            ?? throw new NotPossibleException(
                $"there is no containerd at {config.Containerd.Binary}; install it in the image, or name it in containerd.binary");
        var version = ReleaseNumber.Parse(text)
            ?? throw new NotPossibleException($"{config.Containerd.Binary} says its version is '{text}', which is not one of containerd");
        return Array.Find(Formats, f => f.Major == version.Major && f.FirstMinor <= version.Minor) ?? throw new NotPossibleException(
            $"{config.Containerd.Binary} is containerd {text}; nodeagent knows the configuration of 1.6 and later of 1.x, and of 2.x. "
            + (version.Major < 2 ? "Install a later one in the image" : "Install a 2.x in the image, or a nodeagent that knows this one"));
    }

    private const string Grpc = $"""
        [grpc]
          address = "{Socket}"

        """;

    private static string Head(Format format, string root) => $"""
        {Ownership.Header}
        version = {format.Version}
        root = {Toml(root)}
        state = "/run/containerd"
        """;

    private static string Configuration(NodeConfig config, Format format)
    {
        var text = new StringBuilder($"{Head(format, ContainerdConfig.Root)}\n\n{Grpc}");
        var sandbox = $"{format.SandboxImage.Key} = {Toml(config.Containerd.SandboxImage)}\n";
        var registry = $"""
              [plugins."{format.Images}".registry]
                config_path = {Toml(HostsDirectory)}

            """;
        if (format.Images == format.Runtime)
        {
            text.Append($"\n[plugins.\"{format.Images}\"]\n  {sandbox}");
        }
        else
        {
            text.Append($"\n[plugins.\"{format.Images}\"]\n  [plugins.\"{format.Images}\"{format.SandboxImage.Table}]\n    {sandbox}\n{registry}\n");
            text.Append($"[plugins.\"{format.Runtime}\"]");
        }

        text.Append($"""

              [plugins."{format.Runtime}".cni]
                bin_dir = {Toml(config.Network.PluginBinaries)}
                conf_dir = "/etc/cni/net.d"

              [plugins."{format.Runtime}".containerd]
                default_runtime_name = "runc"

                [plugins."{format.Runtime}".containerd.runtimes.runc]
                  runtime_type = "io.containerd.runc.v2"

                  # kubelet is told the same: two managers of one cgroup tree fight as soon as memory is short.
                  [plugins."{format.Runtime}".containerd.runtimes.runc.options]
                    SystemdCgroup = true

            """);
        return format.Images == format.Runtime ? $"{text}\n{registry}" : text.ToString();
    }

    private static IEnumerable<ConfigFile> Registries(NodeConfig config)
    {
        foreach (var (host, registry) in config.Registries.OrderBy(r => r.Key, StringComparer.Ordinal))
        {
            if (registry.CertificateAuthority is { } pem)
            {
                yield return ContainerRuntime.AuthorityFile(AuthorityPath(host), pem);
            }
        }

        var withAuthority = config.Registries.Where(r => r.Value.CertificateAuthority is not null).Select(r => r.Key);
        foreach (var host in config.Containerd.Mirrors.Keys.Union(withAuthority).Order(StringComparer.Ordinal))
        {
            var mirror = config.Containerd.Mirrors.GetValueOrDefault(host);
            var isSecret = mirror?.Headers.Count > 0;
            yield return new ConfigFile(Concern.Runtime, $"{HostsDirectory}/{host}/hosts.toml", Hosts(config, host, mirror))
            {
                Mode = isSecret ? ConfigFile.Private : ConfigFile.Readable,
                IsSecret = isSecret,
            };
        }
    }

    private static string AuthorityPath(string host) => $"{HostsDirectory}/{host}/ca.crt";

    // docs/hosts.md of containerd. docker.io is not the host that serves it.
    private static string Hosts(NodeConfig config, string registry, RegistryMirror? mirror)
    {
        var text = new StringBuilder($"{Ownership.Header}\n");
        // Without a server it is the registry that was asked for, which is all that can be said of _default.
        var server = $"https://{(registry == "docker.io" ? "registry-1.docker.io" : registry)}";
        if (registry != "_default")
        {
            text.Append($"server = {Toml(server)}\n").Append(Authority("", registry));
        }

        // A file without any host does not parse (getSortedHosts in remotes/docker/config/hosts.go, 1.6 and 1.7).
        if (mirror is null)
        {
            text.Append($"\n[host.{Toml(server)}]\n").Append(Authority("  ", registry));
        }

        foreach (var endpoint in mirror?.Endpoints ?? [])
        {
            var url = endpoint.GetLeftPart(UriPartial.Path).TrimEnd('/');
            text.Append($"\n[host.{Toml(url)}]\n  capabilities = [\"pull\", \"resolve\"]\n").Append(Authority("  ", endpoint.Authority));
            if (mirror!.Headers.Count > 0)
            {
                text.Append($"  [host.{Toml(url)}.header]\n");
                foreach (var (name, value) in mirror.Headers.OrderBy(h => h.Key, StringComparer.Ordinal))
                {
                    text.Append($"    {Toml(name)} = {Toml(value.Reveal())}\n");
                }
            }
        }

        return text.ToString();

        // A mirror is a registry as well, and may have a certificate authority of its own.
        string Authority(string indent, string host) =>
            config.Registries.GetValueOrDefault(host)?.CertificateAuthority is null ? "" : $"{indent}ca = {Toml(AuthorityPath(host))}\n";
    }

    /// <summary>A TOML basic string.</summary>
    private static string Toml(string value)
    {
        var text = new StringBuilder("\"");
        foreach (var c in value)
        {
            text.Append(c switch { '"' => "\\\"", '\\' => "\\\\", < ' ' or '\x7f' => $"\\u{(int)c:x4}", _ => c.ToString() });
        }

        return text.Append('"').ToString();
    }
}
