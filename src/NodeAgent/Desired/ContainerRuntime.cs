using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>containerd: a configuration file of our own, named by a drop-in, so that the distribution's stays as it is.</summary>
internal sealed record ContainerRuntime(IReadOnlyList<Resource> Files, IReadOnlyList<Resource> UnitFiles)
{
    public const string Unit = "containerd.service";

    public const string ImagesUnit = "nodeagent-images.service";

    public const string Socket = "/run/containerd/containerd.sock";

    public const string Root = "/var/lib/containerd";

    public const string Directory = "/etc/containerd/nodeagent";

    public const string HostsDirectory = $"{Directory}/hosts";

    public static ContainerRuntime Build(NodeConfig config, NodeFacts facts, Storage storage)
    {
        if (facts.Versions.Containerd is null)
        {
            throw new NotPossibleException($"there is no containerd at {config.Containerd.Binary}; install it in the image, or name it in containerd.binary");
        }

        var configuration = $"{Directory}/config.toml";
        return new ContainerRuntime(
            [
                new ConfigFile(Concern.Runtime, configuration, Configuration(config)),
                .. config.Containerd.Mirrors.OrderBy(m => m.Key, StringComparer.Ordinal).Select(m => new ConfigFile(
                    Concern.Runtime, $"{HostsDirectory}/{m.Key}/hosts.toml", Hosts(m.Key, m.Value))
                {
                    Mode = m.Value.Headers.Count > 0 ? ConfigFile.Private : ConfigFile.Readable,
                    IsSecret = m.Value.Headers.Count > 0,
                }),
            ],
            [
                new ConfigFile(Concern.Runtime, $"/etc/systemd/system/{Unit}.d/50-nodeagent.conf", $"""
                    {Ownership.Header}
                    [Unit]
                    {storage.RequiresMountsFor(Root)}
                    [Service]{HttpProxy.ServiceLines(config)}
                    ExecStart=
                    ExecStart={config.Containerd.Binary} --config {configuration}

                    """),
                // A fresh mount hides the images that were baked below it, and pods that need them may have no registry to go to.
                new ConfigFile(Concern.Runtime, $"/etc/systemd/system/{ImagesUnit}", $"""
                    {Ownership.Header}
                    [Unit]
                    Description=Import the machine's image archives into containerd
                    ConditionDirectoryNotEmpty={config.Images.Archives}
                    Requires={Unit}
                    After={Unit}

                    [Service]
                    Type=oneshot
                    ExecStart=/usr/bin/nodeagent image import --archives {config.Images.Archives} --store {Root}
                    TimeoutStartSec=15min

                    """),
            ]);
    }

    /// <param name="environment">As <see cref="Kubelet.Running"/> has it.</param>
    public IReadOnlyList<Resource> Running(Resource stamp, IReadOnlyList<Resource> mounts, IReadOnlyList<Resource> environment)
    {
        // The CNI directory is watched, hosts.toml read at each pull: neither asks for a restart. A mount that came late does: the store below it was hidden.
        var inputs = mounts.Where(m => Storage.Holds(m.Name, Root, Kubelet.PodLogs));
        var restart = new Restart(Concern.Runtime, Unit) { Needs = [stamp], Inputs = [Files[0], UnitFiles[0], .. inputs, .. environment] };
        return [restart, new Service(Concern.Runtime, Unit) { Needs = [stamp, restart] }];
    }

    // Version 2 is what containerd 1.3 to 2.x read (docs/ops.md there: 2.0 migrates it when it loads it).
    private static string Configuration(NodeConfig config) => $"""
        {Ownership.Header}
        version = 2
        root = {Toml(Root)}
        state = "/run/containerd"

        [grpc]
          address = {Toml(Socket)}

        [plugins."io.containerd.grpc.v1.cri"]
          sandbox_image = {Toml(config.Containerd.SandboxImage)}

          [plugins."io.containerd.grpc.v1.cri".cni]
            bin_dir = {Toml(config.Network.PluginBinaries)}
            conf_dir = "/etc/cni/net.d"

          [plugins."io.containerd.grpc.v1.cri".containerd]
            default_runtime_name = "runc"

            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
              runtime_type = "io.containerd.runc.v2"

              # kubelet is told the same: two managers of one cgroup tree fight as soon as memory is short.
              [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
                SystemdCgroup = true

          [plugins."io.containerd.grpc.v1.cri".registry]
            config_path = {Toml(HostsDirectory)}

        """;

    // docs/hosts.md of containerd. docker.io is not the host that serves it.
    private static string Hosts(string registry, RegistryMirror mirror)
    {
        var text = new StringBuilder($"{Ownership.Header}\nserver = {Toml($"https://{(registry == "docker.io" ? "registry-1.docker.io" : registry)}")}\n");
        foreach (var endpoint in mirror.Endpoints)
        {
            var url = endpoint.GetLeftPart(UriPartial.Path).TrimEnd('/');
            text.Append($"\n[host.{Toml(url)}]\n  capabilities = [\"pull\", \"resolve\"]\n");
            if (mirror.Headers.Count > 0)
            {
                text.Append($"  [host.{Toml(url)}.header]\n");
                foreach (var (name, value) in mirror.Headers.OrderBy(h => h.Key, StringComparer.Ordinal))
                {
                    text.Append($"    {Toml(name)} = {Toml(value.Reveal())}\n");
                }
            }
        }

        return text.ToString();
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
