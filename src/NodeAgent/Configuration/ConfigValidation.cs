using System.Globalization;
using System.Net;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using NodeAgent.Network;
using NodeAgent.Pki;

namespace NodeAgent.Configuration;

/// <summary>
/// What a configuration whose every value is well-formed may still get wrong: values that do not fit the machine, Kubernetes, or each other. One rule a line or
/// method, each with its path.
/// </summary>
internal sealed partial class ConfigValidation
{
    public const int MaximumMaxPods = 1024;

    // A node's range serves pods, less its network address, its broadcast address and the bridge, which is the pods' gateway.
    public const int AddressesNotForPods = 3;

    private static readonly string[] VolumeRoots = ["/var", "/opt", "/mnt", "/srv", "/data", "/home"];

    // Below the roots, and still the system's or ours.
    private static readonly string[] SystemDirectories =
    [
        "/var", "/var/backups", "/var/cache", "/var/lib", "/var/lib/apt", "/var/lib/cloud", "/var/lib/dbus", "/var/lib/dpkg", "/var/lib/nodeagent",
        "/var/lib/systemd", "/var/local", "/var/lock",
        "/var/log", "/var/log/journal", "/var/mail", "/var/run", "/var/spool", "/var/tmp", "/opt", "/opt/cni", "/opt/cni/bin", "/opt/nodeagent", "/home",
    ];

    // ipvsadm(8), -s; those that Linux 4.1 to 6.12 have, by their modules' names.
    private static readonly string[] Schedulers = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "sed", "nq", "fo", "ovf", "twos"];

    // lvm(8), VALID NAMES.
    private static readonly string[] LvmReservedParts =
        ["_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_iorig", "_mimage", "_mlog", "_pmspare", "_rimage", "_rmeta", "_tdata", "_tmeta", "_vdata",
            "_vorigin", "_wcorig", "_imeta"];

    /// <summary>Flags of kubelet that are the agent's, and where to say instead what they say. Empty where there is nothing to say.</summary>
    public static readonly IReadOnlyDictionary<string, string> OwnedKubeletFlags = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["bootstrap-kubeconfig"] = "",
        ["cert-dir"] = "",
        ["cgroup-driver"] = "",
        ["cloud-provider"] = "kubelet.cloudProvider",
        ["client-ca-file"] = "cluster.certificateAuthority",
        ["cluster-dns"] = "cluster.dnsAddress",
        ["cluster-domain"] = "cluster.domain",
        ["cni-bin-dir"] = "network.pluginBinaries",
        ["cni-conf-dir"] = "",
        ["config"] = "kubelet.configuration",
        ["config-dir"] = "kubelet.configuration",
        ["docker-endpoint"] = "",
        ["container-runtime"] = "",
        ["container-runtime-endpoint"] = "",
        ["hostname-override"] = "node.name",
        ["image-credential-provider-bin-dir"] = "kubelet.credentialProviderBinaries",
        ["image-credential-provider-config"] = "kubelet.credentialProviders",
        ["image-service-endpoint"] = "",
        ["healthz-bind-address"] = "",
        ["healthz-port"] = "",
        ["kube-reserved"] = "kubelet.kubeReserved",
        ["kubeconfig"] = "",
        ["max-pods"] = "node.maxPods",
        ["network-plugin"] = "network.plugin",
        ["node-labels"] = "node.labels",
        ["pod-cidr"] = "network.podRange",
        ["pod-infra-container-image"] = "containerd.sandboxImage",
        ["pod-manifest-path"] = "",
        ["provider-id"] = "",
        ["register-with-taints"] = "node.taints",
        ["root-dir"] = "",
        ["rotate-certificates"] = "",
        ["rotate-server-certificates"] = "",
        ["system-reserved"] = "kubelet.systemReserved",
        ["tls-cert-file"] = "",
        ["tls-private-key-file"] = "",
    };

    /// <summary>As <see cref="OwnedKubeletFlags"/>, of KubeletConfiguration: what other settings are computed from or checked against.</summary>
    public static readonly IReadOnlyDictionary<string, string> OwnedKubeletFields = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["cgroupDriver"] = "",
        ["clusterDNS"] = "cluster.dnsAddress",
        ["clusterDomain"] = "cluster.domain",
        ["containerRuntimeEndpoint"] = "",
        ["healthzBindAddress"] = "",
        ["healthzPort"] = "",
        ["kubeReserved"] = "kubelet.kubeReserved",
        ["maxPods"] = "node.maxPods",
        ["podCIDR"] = "network.podRange",
        ["providerID"] = "",
        ["registerWithTaints"] = "node.taints",
        ["rotateCertificates"] = "",
        ["serverTLSBootstrap"] = "",
        ["staticPodPath"] = "",
        ["systemReserved"] = "kubelet.systemReserved",
        ["tlsCertFile"] = "",
        ["tlsPrivateKeyFile"] = "",
    };

    // kubernetes pkg/kubelet/apis/well_known_labels.go: beside whole namespaces, these are a kubelet's to set.
    private static readonly string[] KubeletLabels =
    [
        "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type", "beta.kubernetes.io/os", "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch", "kubernetes.io/hostname", "kubernetes.io/os", "node.kubernetes.io/instance-type", "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    ];

    private readonly LoadedConfig _loaded;
    private readonly NodeConfig _config;
    private readonly List<ConfigError> _errors;

    private ConfigValidation(LoadedConfig loaded, List<ConfigError> errors) => (_loaded, _config, _errors) = (loaded, loaded.Config, errors);

    public static void Check(LoadedConfig loaded, List<ConfigError> errors)
    {
        var rules = new ConfigValidation(loaded, errors);
        rules.Head();
        SharedLayers.Check(loaded.Tree, errors);
        rules.Cluster();
        rules.Node();
        rules.Storage();
        rules.Kernel();
        rules.ServiceProxy();
        rules.Containerd();
        rules.Docker();
        rules.Registries();
        rules.Kubelet();
        rules.Providers();
        rules.Addresses();
        rules.Paths();
        rules.Certificates();
        rules.ControlPlaneServices();
        rules.StaticPods();
        rules.Adoption();
        rules.Autoscaling();
        rules.Advice();
        rules.Proxy();
        rules.Trust();
        rules.TimeAndNames();
    }

    private void Head()
    {
        Require(_config.ApiVersion == NodeConfigLoader.ApiVersion, "apiVersion", $"expected '{NodeConfigLoader.ApiVersion}', found '{_config.ApiVersion}'");
        Require(_config.Kind == NodeConfigLoader.Kind, "kind", $"expected '{NodeConfigLoader.Kind}', found '{_config.Kind}'");
    }

    private void Cluster()
    {
        var cluster = _config.Cluster;
        Require(
            IsClusterName(cluster.Name),
            "cluster.name",
            $"'{Short(cluster.Name)}' is not a cluster's name; expected up to 100 letters, digits, '-', '_' and '.', a letter or digit first");
        var endpoint = cluster.Endpoint;
        if (endpoint.UserInfo.Length > 0)
        {
            Bad("cluster.endpoint", "holds a user name or password; nodes prove who they are with certificates");
        }
        else
        {
            Require(endpoint.Scheme == "https", "cluster.endpoint", $"'{Short(endpoint.OriginalString)}' is not https; the API server takes nothing else");
            Require(
                endpoint.AbsolutePath == "/" && endpoint.Query.Length == 0 && endpoint.Fragment.Length == 0,
                "cluster.endpoint",
                $"'{Short(endpoint.OriginalString)}' has more than host and port; expected https://host[:port]");
        }

        Require(
            cluster.EndpointFrom == EndpointSource.Name || endpoint is not { HostNameType: UriHostNameType.IPv4 or UriHostNameType.IPv6 },
            "cluster.endpointFrom",
            "tags leads a name to the control plane's instances, and cluster.endpoint is an address; expected a name there, as in "
                + "https://api.amber.internal:6443");
        Require(
            IsDnsName(cluster.Domain),
            "cluster.domain",
            $"'{Short(cluster.Domain)}' is not a DNS domain; expected lower case labels of letters, digits and '-', as in cluster.local");
        Authority("cluster.certificateAuthority", cluster.CertificateAuthority);
    }

    /// <returns>How many certificates there are; 0 when something is wrong, which then has been said.</returns>
    private int Authority(string path, string pem)
    {
        const string Begin = "-----BEGIN ";
        const string PrivateKey = "holds a private key, which no node may have; give the certificate alone, and take this key for known to others";
        var rest = pem.AsSpan();
        var certificates = 0;
        // Text before and between blocks is explanatory (RFC 7468, 5.2).
        for (int begin; (begin = rest.IndexOf(Begin, StringComparison.Ordinal)) >= 0; certificates++)
        {
            rest = rest[(begin + Begin.Length)..];
            var dashes = rest.IndexOf("-----", StringComparison.Ordinal);
            var label = dashes < 0 ? "" : rest[..dashes].ToString();
            if (label.EndsWith("PRIVATE KEY", StringComparison.Ordinal))
            {
                Bad(path, PrivateKey);
                return 0;
            }

            rest = rest[Math.Max(0, dashes + 5)..];
            var end = rest.IndexOf($"-----END {label}-----", StringComparison.Ordinal);
            if (dashes < 0 || end < 0)
            {
                Bad(path, "holds a PEM block without its end; it may have been cut off");
                return 0;
            }

            if (label != "CERTIFICATE" || !IsCertificate(rest[..end]))
            {
                Bad(
                    path,
                    label == "CERTIFICATE" ? "holds a PEM block that is no X.509 certificate" : $"holds a PEM block '{Short(label)}'; expected CERTIFICATE");
                return 0;
            }

            rest = rest[end..];
        }

        if (certificates == 0)
        {
            Bad(
                path,
                pem.StartsWith("LS0tLS1CRUdJTi", StringComparison.Ordinal) ? "is base64 of PEM; give the PEM itself"
                : "is not PEM; expected one certificate or more, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----");
        }

        return certificates;
    }

    // The form alone (RFC 5280, 4.1: a sequence of sequence, sequence and bit string): to load a library for the rest would cost much of the time that start-up
    // has.
    private static bool IsCertificate(ReadOnlySpan<char> base64)
    {
        var der = new byte[base64.Length];
        if (!Convert.TryFromBase64Chars(base64, der, out var length))
        {
            return false;
        }

        ReadOnlySpan<byte> rest = der.AsSpan(0, length);
        if (Element(ref rest, 0x30) is not { Length: > 0 } certificate || !rest.IsEmpty)
        {
            return false;
        }

        return !Element(ref certificate, 0x30).IsEmpty && !Element(ref certificate, 0x30).IsEmpty && !Element(ref certificate, 0x03).IsEmpty
            && certificate.IsEmpty;
    }

    /// <summary>Takes one element of this tag off DER (X.690, 8.1); empty when the next is another one or is cut off.</summary>
    private static ReadOnlySpan<byte> Element(ref ReadOnlySpan<byte> der, byte tag)
    {
        if (der.Length < 2 || der[0] != tag)
        {
            return [];
        }

        var (header, length) = (2, (int)der[1]);
        if (length >= 0x80)
        {
            header += length & 0x7f;
            if (header is < 3 or > 5 || der.Length < header)
            {
                return [];
            }

            length = 0;
            foreach (var b in der[2..header])
            {
                length = (length << 8) | b;
            }
        }

        if (der.Length - header < length)
        {
            return [];
        }

        var content = der.Slice(header, length);
        der = der[(header + length)..];
        return content;
    }

    private void Node()
    {
        var node = _config.Node;
        Require(
            node.MaxPods is { Number: >= 1 and <= MaximumMaxPods } or { Source: not MaxPodsSource.Number },
            "node.maxPods",
            $"{node.MaxPods.Number} is out of range; expected 1 to {MaximumMaxPods}");
        Require(
            node.MaxPods.Source != MaxPodsSource.FromPodRange || _config.Network.PodRange is not null || _config.Network.Plugin == NetworkPlugin.VpcRoutes,
            "node.maxPods",
            "fromPodRange counts the addresses of network.podRange, and there is none; give the range, or the number");
        Require(
            node.MaxPods.Source != MaxPodsSource.VpcCni || _config.Network.Plugin is NetworkPlugin.AwsVpcCni or NetworkPlugin.None,
            "node.maxPods",
            $"vpcCni counts the addresses that the AWS VPC CNI gives to pods, and here network.plugin {Word(_config.Network.Plugin)} gives them; set "
                + "network.plugin: aws-vpc-cni, or use fromPodRange");
        foreach (var (key, value) in node.Labels)
        {
            var path = ConfigPath.Child("node.labels", key);
            if (!IsQualifiedName(key))
            {
                Bad(
                    path,
                    $"'{Short(key)}' is not a label's key; expected [DNS domain/]name, the name of up to 63 letters, digits, '-', '_' and '.', a letter or "
                        + "digit at both ends");
            }
            else if (!KubeletMaySet(key))
            {
                Bad(
                    path,
                    "is in a namespace that Kubernetes keeps for itself, and kubelet refuses to start with it (NodeRestriction); use kubelet.kubernetes.io/, "
                    + "node.kubernetes.io/ or a domain of your own, "
                    + "or have the control plane set it");
            }

            Require(
                IsLabelValue(value),
                path,
                $"'{Short(value)}' is not a label's value; expected up to 63 letters, digits, '-', '_' and '.', a letter or digit at both ends");
        }

        Require(
            node.Readiness.Timeout.Value <= Duration.LongestWait, "node.readiness.timeout", $"{node.Readiness.Timeout} is out of range; expected up to 24h");
        var seen = new HashSet<(string, TaintEffect)>();
        var taints = node.Taints ?? [];
        for (var i = 0; i < taints.Count; i++)
        {
            var taint = taints[i];
            var path = ConfigPath.Item("node.taints", i);
            Require(
                IsQualifiedName(taint.Key),
                $"{path}.key",
                $"'{Short(taint.Key)}' is not a taint's key; expected [DNS domain/]name, the name of up to 63 letters, digits, '-', '_' and '.', a letter or "
                    + "digit at both ends");
            Require(
                IsLabelValue(taint.Value ?? ""),
                $"{path}.value",
                $"'{Short(taint.Value)}' is not a taint's value; expected up to 63 letters, digits, '-', '_' and '.', a letter or digit at both ends");
            Require(seen.Add((taint.Key, taint.Effect)), path, $"is a second taint {Short(taint.Key)} with effect {taint.Effect}; Kubernetes takes one");
        }
    }

    private static bool KubeletMaySet(string key)
    {
        var slash = key.IndexOf('/', StringComparison.Ordinal);
        var space = slash < 0 ? "" : key[..slash];
        return !(IsIn(space, "kubernetes.io") || IsIn(space, "k8s.io")) || IsIn(space, "kubelet.kubernetes.io") || IsIn(space, "node.kubernetes.io")
            || Array.IndexOf(KubeletLabels, key) >= 0;

        static bool IsIn(string space, string parent) => space == parent || space.EndsWith($".{parent}", StringComparison.Ordinal);
    }

    private void Storage()
    {
        var storage = _config.Storage;
        LvmName("storage.volumeGroup", storage.VolumeGroup, "a volume group's");
        for (var i = 0; i < storage.Match.Models.Count; i++)
        {
            Require(storage.Match.Models[i].Trim().Length > 0, ConfigPath.Item("storage.match.models", i), "is empty");
            Require(
                storage.Match.Models[i].Trim() != "Amazon Elastic Block Store",
                ConfigPath.Item("storage.match.models", i),
                "is the model of EBS volumes, whose data outlives an instance; they are never taken for ephemeral");
        }

        for (var i = 0; i < storage.Match.Paths.Count; i++)
        {
            Require(
                storage.Match.Paths[i].StartsWith("/dev/", StringComparison.Ordinal) && storage.Match.Paths[i].Length > 5,
                ConfigPath.Item("storage.match.paths", i),
                $"'{Short(storage.Match.Paths[i])}' is not a pattern of devices; expected one as in /dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*");
        }

        var percent = 0;
        var mounts = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, volume) in storage.Volumes)
        {
            var path = ConfigPath.Child("storage.volumes", name);
            LvmName(path, name, "a logical volume's");
            // The filesystem's label is "na-" and the volume's name: mkfs.xfs(8) takes 12 bytes, mke2fs(8) 16.
            var longest = volume.Filesystem == FilesystemType.Xfs ? 9 : 13;
            Require(
                name.Length <= longest,
                path,
                $"the name is part of the filesystem's label, which for {volume.Filesystem.ToString().ToLowerInvariant()} leaves {longest} characters; "
                    + $"this has {name.Length}");
            percent += volume.Size.Percent ?? 0;
            if (volume.Mount is null && name != VolumeConfig.RuntimeVolume)
            {
                Bad($"{path}.mount", "is missing; expected the path it is mounted at (only the volume 'runtime' has a place of its own)");
            }
            else
            {
                var from = volume.Mount is not null ? $"{path}.mount" : _config.Runtime == ContainerRuntimeKind.Docker ? "docker.dataRoot" : path;
                Mount(from, volume.Mount ?? _config.RuntimeRoot(), mounts, name);
            }

            for (var i = 0; i < volume.Options.Count; i++)
            {
                Require(
                    volume.Options[i].Length > 0 && IsOnly(volume.Options[i], "-_.=:/+@"),
                    ConfigPath.Item($"{path}.options", i),
                    $"'{Short(volume.Options[i])}' is not one mount option; expected one a list item, as in noatime");
            }
        }

        Require(percent <= 100, "storage.volumes", $"the sizes add up to {percent}% of the volume group; expected 100% at most{Sizes()}");
    }

    private string Sizes()
    {
        var text = "";
        foreach (var (name, volume) in _config.Storage.Volumes)
        {
            if (volume.Size.Percent is not null)
            {
                text += $"{(text.Length == 0 ? " (" : ", ")}{name} {volume.Size} at {_loaded.OriginOf($"{ConfigPath.Child("storage.volumes", name)}.size")}";
            }
        }

        return text.Length == 0 ? "" : $"{text})";
    }

    private void Mount(string path, string mount, Dictionary<string, string> mounts, string name)
    {
        if (!IsAbsolutePath(mount))
        {
            Bad(
                path,
                $"'{Short(mount)}' is not a path to mount at; expected an absolute one without '.', '..', '//' or a slash at its end, of letters, digits "
                    + "and ._/@:+-");
        }
        else if (Array.IndexOf(SystemDirectories, mount) >= 0
            || !Array.Exists(VolumeRoots, root => mount == root || mount.StartsWith($"{root}/", StringComparison.Ordinal)))
        {
            Bad(path, $"'{Short(mount)}' is the system's; a volume there would hide it. Expected a directory below {string.Join(", ", VolumeRoots)}");
        }
        else if (!mounts.TryAdd(mount, name))
        {
            Bad(path, $"'{Short(mount)}' is already where {mounts[mount]} is mounted");
        }
    }

    private void LvmName(string path, string name, string whose)
    {
        var isValid = name.Length is > 0 and <= 63 && name[0] != '-' && name is not ("." or "..") && IsOnly(name, "+_.-")
            && !name.StartsWith("snapshot", StringComparison.Ordinal) && !name.StartsWith("pvmove", StringComparison.Ordinal)
            && !Array.Exists(LvmReservedParts, part => name.Contains(part, StringComparison.Ordinal));
        Require(
            isValid,
            path,
            $"'{Short(name)}' cannot be {whose} name; lvm takes up to 63 letters, digits, '+', '_', '.' and '-', no '-' first, and keeps some names "
                + "(snapshot..., pvmove..., ..._tdata) for itself");
    }

    private void Kernel()
    {
        var modules = _config.Kernel.Modules;
        for (var i = 0; i < modules.Count; i++)
        {
            Require(
                modules[i].Length is > 0 and < 56 && IsOnly(modules[i], "_-"),
                ConfigPath.Item("kernel.modules", i),
                $"'{Short(modules[i])}' is not a module's name; expected letters, digits, '_' and '-'");
        }

        foreach (var (name, value) in _config.Kernel.Sysctls)
        {
            var path = ConfigPath.Child("kernel.sysctls", name);
            var isName = name.Contains('.', StringComparison.Ordinal) && IsOnly(name, "._-/:@") && !name.Contains("..", StringComparison.Ordinal)
                && name[0] is not ('.' or '/') && name[^1] is not ('.' or '/');
            Require(isName, path, $"'{Short(name)}' is not a sysctl's name; expected a dotted one as in net.ipv4.ip_forward");
            Require(value.Length > 0 && IsLine(value), path, "expected a value of one line, as sysctl prints it");
        }
    }

    /// <summary>For each of its modes, whichever is chosen: a change of mode shall not find what was never looked at.</summary>
    private void ServiceProxy()
    {
        var proxy = _config.KubeProxy;
        var ipvs = proxy.Ipvs;
        Require(
            ipvs?.Scheduler is not { } scheduler || Schedulers.Contains(scheduler),
            "kubeProxy.ipvs.scheduler",
            $"'{Short(ipvs?.Scheduler ?? "")}' is no scheduler of IPVS; expected {string.Join(", ", Schedulers)}");
        // kube-proxy's own condition, and its default of 30s: pkg/proxy/apis/config/validation@1.20.2.
        var every = proxy.SyncPeriod?.Value ?? TimeSpan.FromSeconds(30);
        Require(
            proxy.MinSyncPeriod is not { } least || least.Value <= every,
            "kubeProxy.minSyncPeriod",
            $"{proxy.MinSyncPeriod} is longer than kubeProxy.syncPeriod, "
                + $"{(proxy.SyncPeriod is { } said ? $"{said} ({Where("kubeProxy.syncPeriod")})" : "which is 30s when it is not given")}");
        Require(
            proxy.Conntrack?.MaxPerCore is null or >= 0,
            "kubeProxy.conntrack.maxPerCore",
            $"{proxy.Conntrack?.MaxPerCore} is less than 0, which leaves the kernel's limit as it is");
        Require(proxy.Conntrack?.Min is null or >= 0, "kubeProxy.conntrack.min", $"{proxy.Conntrack?.Min} is less than 0");
        foreach (var (range, i) in (ipvs?.ExcludeCidrs ?? []).Select((r, i) => (r, i)))
        {
            Require(
                !range.Overlaps(_config.Cluster.ServiceRange),
                $"kubeProxy.ipvs.excludeCidrs[{i}]",
                $"{range} overlaps cluster.serviceRange {_config.Cluster.ServiceRange} ({Where("cluster.serviceRange")}): services there would never be "
                    + "taken away");
        }
    }

    private void Containerd()
    {
        Image("containerd.sandboxImage", _config.Containerd.SandboxImage);
        if (_config.KubeProxy is { Mode: not ProxyMode.None, Image: { } image })
        {
            Image("kubeProxy.image", image);
        }

        foreach (var (host, mirror) in _config.Containerd.Mirrors)
        {
            var path = ConfigPath.Child("containerd.mirrors", host);
            Require(IsRegistryHost(host), path, $"'{Short(host)}' is not a registry; expected its host as in docker.io, or host:port, without https://");
            Require(mirror.Endpoints.Count > 0, $"{path}.endpoints", "is empty; expected one URL or more");
            for (var i = 0; i < mirror.Endpoints.Count; i++)
            {
                var endpoint = mirror.Endpoints[i];
                var at = ConfigPath.Item($"{path}.endpoints", i);
                Require(endpoint.UserInfo.Length == 0, at, "holds a user name or password; put them into headers, where they are kept secret");
                Require(endpoint.Query.Length == 0 && endpoint.Fragment.Length == 0, at, "has a query or fragment; expected https://host[:port][/path]");
            }

            foreach (var (name, value) in mirror.Headers)
            {
                var at = ConfigPath.Child($"{path}.headers", name);
                Require(name.Length > 0 && IsOnly(name, "-_"), at, $"'{Short(name)}' is not an HTTP header's name");
                Require(value.Reveal().Length > 0 && IsLine(value.Reveal()), at, "expected a value of one line");
            }
        }
    }

    /// <summary>Keys of daemon.json that are the agent's, and where to say instead what they say.</summary>
    private static readonly Dictionary<string, string> OwnedDockerKeys = new(StringComparer.Ordinal)
    {
        ["containerd"] = "",
        ["data-root"] = "docker.dataRoot",
        ["exec-opts"] = "",
        ["graph"] = "docker.dataRoot",
        ["hosts"] = "",
        ["live-restore"] = "docker.liveRestore",
        ["log-driver"] = "",
        ["log-opts"] = "docker.logs",
        ["registry-mirrors"] = "docker.mirrors",
        ["storage-driver"] = "docker.storageDriver",
    };

    private void Docker()
    {
        var docker = _config.Docker;
        AbsolutePath("docker.binary", docker.Binary);
        AbsolutePath("docker.criDockerd", docker.CriDockerd);
        AbsolutePath("docker.dataRoot", docker.DataRoot);
        Require(
            docker.StorageDriver.Length > 0 && IsOnly(docker.StorageDriver, "-"),
            "docker.storageDriver",
            $"'{Short(docker.StorageDriver)}' is not a storage driver's name; expected one as in overlay2");
        // moby daemon/logger/loggerutils: a size as go-units reads it. Without a unit it is bytes, which nobody means.
        var size = docker.Logs.MaxSize;
        Require(
            size.Length is >= 2 and <= 6 && size[^1] is 'k' or 'm' or 'g' && size[0] is >= '1' and <= '9'
                && size.AsSpan(0, size.Length - 1).IndexOfAnyExceptInRange('0', '9') < 0,
            "docker.logs.maxSize",
            $"'{Short(size)}' is not a size as Docker writes it; expected a whole number and k, m or g, as in 10m");
        Require(
            docker.Logs.MaxFiles is >= 2 and <= 1000,
            "docker.logs.maxFiles",
            $"{docker.Logs.MaxFiles} is out of range; expected 2 to 1000, so that what was just written stays");
        for (var i = 0; i < docker.Mirrors.Count; i++)
        {
            var mirror = docker.Mirrors[i];
            Require(
                mirror.UserInfo.Length == 0 && mirror.Query.Length == 0 && mirror.Fragment.Length == 0 && mirror.AbsolutePath == "/",
                ConfigPath.Item("docker.mirrors", i),
                "is more than Docker takes for a mirror; expected https://host[:port], without user, path, query or fragment");
        }

        foreach (var field in docker.Configuration.EnumerateObject())
        {
            if (OwnedDockerKeys.TryGetValue(field.Name, out var instead))
            {
                Bad(
                    ConfigPath.Child("docker.configuration", field.Name),
                    instead.Length > 0 ? $"is set by nodeagent; say it in {instead}" : "is set by nodeagent and cannot be changed");
            }
        }
    }

    private void Registries()
    {
        foreach (var (host, registry) in _config.Registries)
        {
            var path = ConfigPath.Child("registries", host);
            Require(
                IsRegistryHost(host) && host != "_default",
                path,
                $"'{Short(host)}' is not a registry; expected its host as in docker.io, or host:port, without https://");
            Require(
                (registry.Username is null) == (registry.Password is null),
                path,
                "has a user name or a password and not the other; expected both, or neither");
            if (registry is { Username: { } username, Password: { } password })
            {
                // RFC 7617: the first colon ends the name.
                Require(
                    username.Length > 0 && IsLine(username) && !username.Contains(':', StringComparison.Ordinal),
                    $"{path}.username",
                    "expected a name of one line, without ':'");
                Require(password.Reveal().Length > 0 && IsLine(password.Reveal()), $"{path}.password", "expected a value of one line");
            }

            if (registry.CertificateAuthority is { } authority)
            {
                Authority($"{path}.certificateAuthority", authority);
            }

            Require(
                registry is not { Username: null, CertificateAuthority: null },
                path,
                "says nothing; expected username and password, certificateAuthority, or all of them");
        }
    }

    private void Image(string path, string image)
    {
        var at = image.IndexOf('@', StringComparison.Ordinal);
        Require(
            image.Length is > 0 and < 512 && IsOnly(image, "./:@_-") && char.IsAsciiLetterOrDigit(image[0]) && char.IsAsciiLetterOrDigit(image[^1]),
            path,
            $"'{Short(image)}' is not an image; expected one as in registry.k8s.io/pause:3.9");
        Require(
            at < 0 || (image.AsSpan(at).StartsWith("@sha256:") && image.Length == at + 8 + 64 && image[(at + 8)..].All(char.IsAsciiHexDigitLower)),
            path,
            $"'{Short(image)}' has something after '@' that is not a digest; expected @sha256: and 64 digits of lower case hex");
    }

    private void Kubelet()
    {
        var kubelet = _config.Kubelet;
        foreach (var (flag, value) in kubelet.ExtraArgs)
        {
            var path = ConfigPath.Child("kubelet.extraArgs", flag);
            if (flag.StartsWith('-'))
            {
                Bad(path, $"'{Short(flag)}' has dashes; give the flag's name alone");
            }
            else if (flag.Length == 0 || !IsOnly(flag, "-"))
            {
                Bad(path, $"'{Short(flag)}' is not a flag's name; expected letters, digits and '-'");
            }
            else if (OwnedKubeletFlags.TryGetValue(flag, out var instead))
            {
                Bad(path, instead.Length > 0 ? $"--{flag} is set by nodeagent; say it in {instead}" : $"--{flag} is set by nodeagent and cannot be changed");
            }

            Require(IsLine(value), path, "expected a value of one line");
        }

        Quantities("kubelet.kubeReserved", kubelet.KubeReserved);
        Quantities("kubelet.systemReserved", kubelet.SystemReserved);
        Minor("kubelet.allowUnlisted", kubelet.AllowUnlisted);

        foreach (var field in kubelet.Configuration.EnumerateObject())
        {
            var path = ConfigPath.Child("kubelet.configuration", field.Name);
            if (OwnedKubeletFields.TryGetValue(field.Name, out var instead))
            {
                Bad(path, instead.Length > 0 ? $"is set by nodeagent; say it in {instead}" : "is set by nodeagent and cannot be changed");
            }
            else if (field.NameEquals("kind"))
            {
                Require(IsString(field.Value, "KubeletConfiguration"), path, "expected 'KubeletConfiguration', or nothing");
            }
            else if (field.NameEquals("apiVersion"))
            {
                Require(IsString(field.Value, "kubelet.config.k8s.io/v1beta1"), path, "expected 'kubelet.config.k8s.io/v1beta1', or nothing");
            }
        }

        static bool IsString(JsonElement value, string text) => value.ValueKind == JsonValueKind.String && value.ValueEquals(text);
    }

    private void Providers()
    {
        var kubelet = _config.Kubelet;
        Require(
            kubelet.CloudProvider != CloudProvider.Aws || _config.Node.Name == NodeNaming.PrivateDnsName,
            "node.name",
            "with kubelet.cloudProvider aws kubelet names its node by the private DNS name, whatever it is told; set privateDnsName, or "
                + "kubelet.cloudProvider: external");
        AbsolutePath("kubelet.credentialProviderBinaries", kubelet.CredentialProviderBinaries);
        foreach (var (name, provider) in kubelet.CredentialProviders)
        {
            // kubelet's own rules (pkg/credentialprovider/plugin/config.go): it does not start on a file that breaks them.
            var path = ConfigPath.Child("kubelet.credentialProviders", name);
            Require(
                name.Length > 0 && IsOnly(name, "._+-") && name is not ("." or ".."),
                path,
                $"'{Short(name)}' is not the name of a binary; expected one as in {CredentialProvider.Ecr}");
            Require(
                provider.MatchImages.Count > 0 || name == CredentialProvider.Ecr,
                $"{path}.matchImages",
                "is empty; expected the images that it has credentials for, as in '*.registry.example.com'");
            for (var i = 0; i < provider.MatchImages.Count; i++)
            {
                var image = provider.MatchImages[i];
                Require(
                    image.Length > 0 && image[0] != '/' && IsOnly(image, ".-_*:/") && !image.Contains("//", StringComparison.Ordinal),
                    ConfigPath.Item($"{path}.matchImages", i),
                    $"'{Short(image)}' is not a pattern of images; expected host[:port][/path], each part of the host with * or without, as in "
                        + "'*.registry.example.com'");
            }

            foreach (var (variable, value) in provider.Env)
            {
                var at = ConfigPath.Child($"{path}.env", variable);
                Require(
                    variable.Length > 0 && !char.IsAsciiDigit(variable[0]) && IsOnly(variable, "_"),
                    at,
                    $"'{Short(variable)}' is not the name of an environment variable");
                Require(IsLine(value), at, "expected a value of one line");
            }

            for (var i = 0; i < provider.Args.Count; i++)
            {
                Require(IsLine(provider.Args[i]), ConfigPath.Item($"{path}.args", i), "expected an argument of one line");
            }
        }
    }

    private void Quantities(string path, IReadOnlyDictionary<string, string>? quantities)
    {
        foreach (var (name, quantity) in quantities ?? new Dictionary<string, string>())
        {
            var at = ConfigPath.Child(path, name);
            Require(
                name is "cpu" or "memory" or "ephemeral-storage" or "pid",
                at,
                $"'{Short(name)}' cannot be reserved; expected cpu, memory, ephemeral-storage or pid");
            Require(IsQuantity(quantity), at, $"'{Short(quantity)}' is not a quantity of Kubernetes; expected one as in 500m, 2, 1.5Gi or 100M");
        }
    }

    private static bool IsQuantity(string text)
    {
        var end = text.Length;
        while (end > 0 && char.IsAsciiLetter(text[end - 1]))
        {
            end--;
        }

        return decimal.TryParse(text.AsSpan(0, end), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out _)
            && text[end..] is "" or "m" or "k" or "M" or "G" or "T" or "P" or "Ki" or "Mi" or "Gi" or "Ti" or "Pi";
    }

    private void Addresses()
    {
        var (cluster, network) = (_config.Cluster, _config.Network);
        var service = cluster.ServiceRange;
        if (cluster.DnsAddress is { } dns)
        {
            if (!IPAddress.TryParse(dns, out var address)
                || (address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork && address.ToString() != dns))
            {
                Bad("cluster.dnsAddress", $"'{Short(dns)}' is not an IP address");
            }
            else if (!service.Contains(address))
            {
                Bad("cluster.dnsAddress", $"{address} is not in cluster.serviceRange {service} ({Where("cluster.serviceRange")})");
            }
            else if (address.Equals(service[0]) || (service.Size > 1 && address.Equals(service[1])))
            {
                Bad(
                    "cluster.dnsAddress",
                    $"{address} is the {(address.Equals(service[0]) ? "network address" : "API server's own service")} of cluster.serviceRange {service}");
            }
        }
        else
        {
            Require(service.Size > 10, "cluster.serviceRange", $"{service} has no tenth address for DNS; take a larger range or set cluster.dnsAddress");
        }

        if (cluster.PodRange is { } clusterPods)
        {
            Require(
                !clusterPods.Overlaps(service), "cluster.podRange", $"{clusterPods} overlaps cluster.serviceRange {service} ({Where("cluster.serviceRange")})");
        }

        VpcRoutes(cluster, network);
        Cilium(network);
        if (network.PodRange is not { } pods)
        {
            Require(
                network.Plugin != NetworkPlugin.Bridge,
                "network.podRange",
                "required with network.plugin bridge; expected this node's own part of cluster.podRange, as in 10.32.7.0/24");
            return;
        }

        Require(!pods.Overlaps(service), "network.podRange", $"{pods} overlaps cluster.serviceRange {service} ({Where("cluster.serviceRange")})");
        if (cluster.PodRange is { } all)
        {
            Require(
                all.Prefix <= pods.Prefix && all.Contains(pods.Address),
                "network.podRange",
                $"{pods} is not within cluster.podRange {all} ({Where("cluster.podRange")}), so its pods would count as strangers");
        }

        var room = AddressesForPods(pods);
        Require(
            _config.Node.MaxPods is not { Source: MaxPodsSource.Number, Number: >= 1 and <= MaximumMaxPods and var wanted } || wanted <= room,
            "node.maxPods",
            $"{_config.Node.MaxPods.Number} pods do not fit into network.podRange {pods} ({Where("network.podRange")}), "
            + $"which has addresses for {room}: network, broadcast and gateway are taken");
        Require(
            _config.Node.MaxPods.Source != MaxPodsSource.FromPodRange || room > 0,
            "node.maxPods",
            $"network.podRange {pods} ({Where("network.podRange")}) has no address for a pod: network, broadcast and gateway are taken");
    }

    /// <summary>As it is written.</summary>
    public static string Word(NetworkPlugin plugin) => JsonNamingPolicy.KebabCaseLower.ConvertName(plugin.ToString());

    private void Cilium(NetworkConfig network)
    {
        if (network.Cilium is not { } cilium)
        {
            return;
        }

        Require(
            network.Plugin is NetworkPlugin.Cilium or NetworkPlugin.None,
            "network.cilium",
            $"is for network.plugin cilium, and it is {Word(network.Plugin)} ({Where("network.plugin")})");
        Require(
            cilium.Etcd.Count == 0 || cilium.Identities == CiliumIdentities.Etcd,
            "network.cilium.etcd",
            $"is for network.cilium.identities etcd, and it is crd ({Where("network.cilium.identities")})");
    }

    private void Advice()
    {
        foreach (var name in _config.Advice.Keys.Where(n => !AdviceNames.All.Contains(n)))
        {
            var near = ConfigBinding.Nearest(name, AdviceNames.All);
            Bad(
                ConfigPath.Child("advice", name),
                $"there is no rule '{Short(name)}'; {(near is null ? $"expected one of {string.Join(", ", AdviceNames.All)}" : $"did you mean '{near}'?")}");
        }
    }

    private void VpcRoutes(ClusterConfig cluster, NetworkConfig network)
    {
        Require(
            network.Mtu is null or (>= 1280 and <= 9001),
            "network.mtu",
            $"{network.Mtu} is out of range; expected 1280 to 9001, which is what EC2 carries within a VPC");
        if (network.Plugin != NetworkPlugin.VpcRoutes)
        {
            Require(
                network.Egress is null,
                "network.egress",
                "is for network.plugin vpc-routes; bridge translates whatever leaves the node, and with others somebody else decides");
            return;
        }

        if (cluster.PodRange is not { } all)
        {
            Bad("cluster.podRange", "required with network.plugin vpc-routes; expected the range that all nodes get theirs from, as in 10.32.0.0/16");
            return;
        }

        Require(!all.IsIPv6, "cluster.podRange", $"{all} is of IPv6; vpc-routes gives out IPv4 alone");
        // https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html: 1000 routes a table at most, so a wider span is of no use, and /28 has 13
        // addresses for pods.
        Require(
            network.NodePrefix >= all.Prefix && network.NodePrefix is >= 16 and <= 28,
            "network.nodePrefix",
            $"{network.NodePrefix} is out of range; expected {Math.Max(all.Prefix, 16)} to 28 within cluster.podRange {all} ({Where("cluster.podRange")})");
        Require(
            network.PodRange is not { } own || own.Prefix == network.NodePrefix,
            "network.podRange",
            $"{network.PodRange} has another size than network.nodePrefix {network.NodePrefix} ({Where("network.nodePrefix")})");
        if (network.NodePrefix is >= 16 and <= 28 && network.PodRange is null)
        {
            var room = (1 << (32 - network.NodePrefix)) - AddressesNotForPods;
            Require(
                _config.Node.MaxPods is not { Source: MaxPodsSource.Number, Number: >= 1 and <= MaximumMaxPods and var wanted } || wanted <= room,
                "node.maxPods",
                $"{_config.Node.MaxPods.Number} pods do not fit into a range of network.nodePrefix {network.NodePrefix} ({Where("network.nodePrefix")}), "
                + $"which has addresses for {room}: network, broadcast and gateway are taken");
        }

        foreach (var (range, i) in (network.Egress?.Except ?? []).Select((r, i) => (r, i)))
        {
            Require(!range.IsIPv6, $"network.egress.except[{i}]", $"{range} is of IPv6; pods of vpc-routes have IPv4 alone");
        }
    }

    public static BigInteger AddressesForPods(Cidr range) => BigInteger.Max(range.Size - AddressesNotForPods, 0);

    private void Paths()
    {
        AbsolutePath("containerd.binary", _config.Containerd.Binary);
        AbsolutePath("kubelet.binary", _config.Kubelet.Binary);
        AbsolutePath("network.pluginBinaries", _config.Network.PluginBinaries);
        AbsolutePath("images.archives", _config.Images.Archives);
        if (_config.Certificates.Directory is { } directory)
        {
            AbsolutePath("certificates.directory", directory);
        }
    }

    private void AbsolutePath(string path, string value) => Require(
        IsAbsolutePath(value),
        path,
        $"'{Short(value)}' is not an absolute path; expected one without '.', '..', '//' or a slash at its end, of letters, digits and ._/@:+-");

    private void Certificates()
    {
        var certificates = _config.Certificates;
        if (certificates.Source == CertificateSourceKind.Directory)
        {
            Require(
                certificates.Laboratory,
                "certificates.source",
                "directory puts the cluster's CA key on a worker, where whoever takes the node takes the cluster; it is for laboratories, which say so with "
                    + "certificates.laboratory: true");
            Require(
                certificates.Directory is not null,
                "certificates.directory",
                "required with certificates.source directory; expected the path that holds ca.crt and ca.key");
        }

        ControlPlane(certificates, _config.Node.Role == NodeRole.ControlPlane);
        foreach (var (endpoint, i) in (certificates.Issuer?.Endpoints ?? []).Select((e, i) => (e, i)))
        {
            Require(
                endpoint is { IsAbsoluteUri: true, Scheme: "https", AbsolutePath: "/", Query.Length: 0, Fragment.Length: 0, UserInfo.Length: 0 },
                $"certificates.issuer.endpoints[{i}]",
                $"'{Short(endpoint.OriginalString)}' is no issuer; expected https://host[:port]");
        }

        // A third of it is left for nodeagent-renew.timer to notice, which looks every ten minutes, give or take five.
        Require(
            certificates.Lifetime.Value >= TimeSpan.FromHours(1) && certificates.Lifetime.Value <= TimeSpan.FromDays(3650),
            "certificates.lifetime",
            $"{certificates.Lifetime} is out of range; expected 1h to 3650d");
    }

    private void ControlPlane(CertificatesConfig certificates, bool isControlPlane)
    {
        const string Source = "certificates.source";
        Require(
            isControlPlane || certificates.Source != CertificateSourceKind.Store,
            Source,
            $"store signs with the keys of the cluster's CAs, and no CA key is on a worker (node.role, {Where("node.role")}); "
            + "a worker asks an issuer (issuer)");
        Require(
            !isControlPlane || certificates.Source is CertificateSourceKind.Store or CertificateSourceKind.None,
            Source,
            $"{(certificates.Source == CertificateSourceKind.Issuer ? "an issuer signs for workers" : "directory signs for workers of a laboratory")}; "
            + $"a control plane node (node.role, {Where("node.role")}) signs for itself: store");
        Require(
            certificates.Source != CertificateSourceKind.Store || certificates.Store is not null,
            "certificates.store",
            "required with certificates.source store; expected s3://BUCKET[/PREFIX], or a directory in a laboratory");
        if (certificates.Store is { } store && !S3Address.TryParse(store, out _))
        {
            Require(
                IsAbsolutePath(store),
                "certificates.store",
                $"'{Short(store)}' is neither s3://BUCKET[/PREFIX] nor the absolute path of a directory");
            Require(
                certificates.Source != CertificateSourceKind.Store || certificates.Laboratory || !IsAbsolutePath(store),
                "certificates.store",
                "a directory keeps the keys of the cluster's CAs on this machine's disk; it is for laboratories, "
                + "which say so with certificates.laboratory: true");
        }

        Require(
            !isControlPlane || _config.Cluster.ServiceRange.Size > 1,
            "cluster.serviceRange",
            $"{_config.Cluster.ServiceRange} has no first address for the API server's own service; take a larger range");
        Each(
            "certificates.apiNames",
            certificates.ApiNames,
            n => IsDnsName(n) || (IPAddress.TryParse(n, out var address) && address.ToString() == n),
            "what a certificate can name; expected a DNS name in lower case or an address, as in api.example.com or 10.0.0.10");
    }

    private void ControlPlaneServices()
    {
        var (manifests, issuer) = (_config.ControlPlane.Manifests, _config.ControlPlane.Issuer);
        Require(
            manifests is null || S3Address.TryParse(manifests, out _) || IsAbsolutePath(manifests),
            "controlPlane.manifests",
            $"'{Short(manifests ?? "")}' is neither s3://BUCKET[/PREFIX] nor the absolute path of a directory");
        if (issuer is null)
        {
            return;
        }

        const string Path = "controlPlane.issuer";
        Require(
            issuer.Workers.Count > 0, $"{Path}.workers", "names nobody; expected the IAM roles of workers, or no issuer at all (controlPlane.issuer: null)");
        Each(
            $"{Path}.workers",
            issuer.Workers,
            w => w.Split('=') is { Length: <= 2 } names
                && names.All(n => n.Length is > 0 and <= 128 && n.All(c => char.IsAsciiLetterOrDigit(c) || "+,.@_-".Contains(c, StringComparison.Ordinal))),
            "an IAM role of workers; expected ROLE or ROLE=PROFILE, names without path");
        Authority($"{Path}.identityCertificates", issuer.IdentityCertificates);
        Require(
            issuer.ConnectionsPerAddress is not { } connections || (connections >= 1 && connections <= 1024),
            $"{Path}.connectionsPerAddress",
            $"{issuer.ConnectionsPerAddress} is out of range; expected 1 to 1024");
        Require(
            issuer.RouteQuota is not { } routes || (routes >= 50 && routes <= 1000),
            $"{Path}.routeQuota",
            $"{issuer.RouteQuota} is out of range; expected 50 to 1000, EC2's bounds");
        Require(
            _config.Node.Role != NodeRole.ControlPlane
                || (_config.Certificates.Source == CertificateSourceKind.Store && S3Address.TryParse(_config.Certificates.Store ?? "", out _)),
            Path,
            "reads the cluster's CA from its bucket as a user of its own, who sees no directory; expected certificates.source: store and certificates.store: "
                + "s3://BUCKET[/PREFIX]");
    }

    private void Adoption()
    {
        var adoption = _config.Adoption;
        Require(
            adoption.Every.Value >= TimeSpan.FromMinutes(1) && adoption.Every.Value <= TimeSpan.FromDays(1),
            "adoption.every",
            $"{adoption.Every} is out of range; expected 1m to 24h");
        Require(adoption.Splay.Value <= TimeSpan.FromDays(1), "adoption.splay", $"{adoption.Splay} is out of range; expected up to 24h");
        Require(adoption.Window.Value <= TimeSpan.FromDays(30), "adoption.window", $"{adoption.Window} is out of range; expected up to 30d");
        // A node acts with a look, and with few looks in a window many nodes act with the same one.
        Require(
            adoption.Window.Value <= TimeSpan.FromMinutes(1) || adoption.Every.Value * 24 <= adoption.Window.Value,
            "adoption.every",
            $"{adoption.Every} is too rarely for a window of {adoption.Window}, over which nodes spread by their looks; expected a 24th of it at most "
            + "(or adoption.window: 0s, for nodes that need not be spread)");
    }

    private void Autoscaling()
    {
        var autoscaling = _config.Autoscaling;
        Hook("autoscaling.launchHook", autoscaling.LaunchHook);
        Hook("autoscaling.terminateHook", autoscaling.TerminateHook);
        // A hook's time-out is 30 s at least (PutLifecycleHook), and its action lives 48 h at most.
        Within("autoscaling.heartbeat", autoscaling.Heartbeat, TimeSpan.FromSeconds(10), TimeSpan.FromMinutes(30), "10s to 30m");
        Within("autoscaling.giveUpAfter", autoscaling.GiveUpAfter, TimeSpan.FromMinutes(1), TimeSpan.FromDays(1), "1m to 24h");
        Within("autoscaling.drainTimeout", autoscaling.DrainTimeout, TimeSpan.FromSeconds(5), TimeSpan.FromDays(1), "5s to 24h");
        Require(
            !autoscaling.Rebalance || autoscaling.Watches(),
            "autoscaling.rebalance",
            "is for a node that watches for notices of its end; say autoscaling.watch: true with it");

        // https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutLifecycleHook.html
        void Hook(string path, string? name) => Require(
            name is null || (name.Length is > 0 and <= 255 && IsOnly(name, "-_/")),
            path,
            $"'{Short(name ?? "")}' is not the name of a lifecycle hook; expected 1 to 255 letters, digits, '-', '_' and '/'");

        void Within(string path, Duration value, TimeSpan least, TimeSpan most, string range) =>
            Require(value.Value >= least && value.Value <= most, path, $"{value} is out of range; expected {range}");
    }

    private void Proxy()
    {
        if (_config.Proxy is not { } proxy)
        {
            return;
        }

        Require(proxy.Http is not null || proxy.Https is not null, "proxy", "names no proxy; expected http, https or both");
        ProxyUrl("proxy.http", proxy.Http?.Reveal());
        ProxyUrl("proxy.https", proxy.Https?.Reveal());
        for (var i = 0; i < proxy.NoProxy.Count; i++)
        {
            var item = proxy.NoProxy[i];
            Require(
                item.Length > 0 && IsOnly(item, ".-:*/[]"),
                ConfigPath.Item("proxy.noProxy", i),
                $"'{Short(item)}' is not an exception; expected one host, .domain, address or range, as in .example.com or 10.0.0.0/8");
        }
    }

    private void Trust()
    {
        foreach (var (name, pem) in _config.Trust?.Certificates ?? new Dictionary<string, string>())
        {
            var path = ConfigPath.Child("trust.certificates", name);
            Require(
                name.Length is > 0 and <= 63 && IsOnly(name, "-"),
                path,
                $"'{Short(name)}' is not a name for a file; expected up to 63 letters, digits and '-'");
            var count = Authority(path, pem);
            Require(count <= 1, path, $"holds {count} certificates; give each an entry of its own, which names its file");
        }
    }

    private void TimeAndNames()
    {
        Each(
            "time.servers",
            _config.Time?.Servers,
            s => IsAddress(s) || IsDnsName(s),
            "a server of the time; expected a DNS name or an address, as in 169.254.169.123");
        Each("dns.servers", _config.Dns?.Servers, IsAddress, "the address of a resolver; expected one as in 10.0.0.2");
        Each("dns.domains", _config.Dns?.Domains, IsDnsName, "a DNS domain; expected lower case labels of letters, digits and '-', as in example.com");

        static bool IsAddress(string text) => IPAddress.TryParse(text, out var address) && address.ToString() == text;
    }

    private void Each(string path, IReadOnlyList<string>? items, Func<string, bool> isGood, string what)
    {
        for (var i = 0; i < items?.Count; i++)
        {
            Require(isGood(items[i]), ConfigPath.Item(path, i), $"'{Short(items[i])}' is not {what}");
        }
    }

    private void ProxyUrl(string path, string? url)
    {
        if (url is not null && ProxyObjection(url) is { } objection)
        {
            Bad(path, objection);
        }
    }

    /// <summary>
    /// What is wrong with the URL of a proxy, which becomes an environment variable in a unit. The value itself is never said: it may hold a password.
    /// </summary>
    public static string? ProxyObjection(string url)
    {
        foreach (var c in url)
        {
            if (c is <= ' ' or >= '\x7f' or '"' or '\'' or '\\' or '`')
            {
                return "holds a space, quote or backslash, or something beyond ASCII; in user names and passwords they are written in percent, as in %22";
            }
        }

        return !Uri.TryCreate(url, UriKind.Absolute, out var parsed) || parsed.Scheme is not ("http" or "https") || parsed.Host.Length == 0
                || parsed.AbsolutePath != "/" || parsed.Query.Length > 0 || parsed.Fragment.Length > 0
            ? "is not a proxy; expected http://[user:password@]host[:port] and nothing more"
            // Without a password it stands in a unit, where % is systemd's.
            : parsed.UserInfo.Length == 0 && url.Contains('%', StringComparison.Ordinal) ? "holds a '%' outside of user name and password"
            : null;
    }

    private static bool IsAbsolutePath(string path)
    {
        if (path.Length is < 2 or > 255 || path[0] != '/' || !IsOnly(path, "._/@:+-"))
        {
            return false;
        }

        foreach (var segment in path[1..].Split('/'))
        {
            if (segment is "" or "." or "..")
            {
                return false;
            }
        }

        return true;
    }

    private static bool IsRegistryHost(string host)
    {
        var colon = host.LastIndexOf(':');
        var name = colon < 0 ? host : host[..colon];
        // It names a directory: no dots alone. Registries are found by upper case, too.
        return host == "_default"
            || (IsDnsName(name.ToLowerInvariant())
                && (colon < 0 || (ushort.TryParse(host.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port > 0)));
    }

    // apimachinery validation.IsQualifiedName
    private static bool IsQualifiedName(string key)
    {
        var slash = key.IndexOf('/', StringComparison.Ordinal);
        return (slash < 0 || IsDnsName(key[..slash])) && key.Length > slash + 1 && IsLabelValue(key[(slash + 1)..]);
    }

    // apimachinery validation.IsValidLabelValue
    private static bool IsLabelValue(string value) =>
        value.Length == 0 || (value.Length <= 63 && char.IsAsciiLetterOrDigit(value[0]) && char.IsAsciiLetterOrDigit(value[^1]) && IsOnly(value, "-_."));

    internal static bool IsClusterName(string name) =>
        name.Length is > 0 and <= 100 && char.IsAsciiLetterOrDigit(name[0]) && IsOnly(name, "-_.");

    /// <summary>RFC 1123, as Kubernetes takes it: lower case.</summary>
    internal static bool IsDnsName(string name)
    {
        if (name.Length is 0 or > 253)
        {
            return false;
        }

        foreach (var label in name.Split('.'))
        {
            if (label.Length is 0 or > 63 || label[0] == '-' || label[^1] == '-')
            {
                return false;
            }

            foreach (var c in label)
            {
                if (!char.IsAsciiLetterLower(c) && !char.IsAsciiDigit(c) && c != '-')
                {
                    return false;
                }
            }
        }

        return true;
    }

    private static bool IsOnly(string text, string beside)
    {
        foreach (var c in text)
        {
            if (!char.IsAsciiLetterOrDigit(c) && !beside.Contains(c, StringComparison.Ordinal))
            {
                return false;
            }
        }

        return true;
    }

    private static bool IsLine(string text) => !text.AsSpan().ContainsAny('\n', '\r', '\t');

    private static string Short(string? text) => ConfigScalar.Shortened(text ?? "");

    private string Where(string path) => _loaded.OriginOf(path)?.ToString() ?? "nowhere";

    private void Require(bool holds, string path, string message)
    {
        if (!holds)
        {
            Bad(path, message);
        }
    }

    /// <summary>Most rules hold, and start-up is short of time: what a message says is looked up and put together only when one does not.</summary>
    private void Require(bool holds, string path, [InterpolatedStringHandlerArgument(nameof(holds))] ref Message message)
    {
        if (!holds)
        {
            Bad(path, message.Text.ToString());
        }
    }

    private void Bad(string path, string message) => _errors.Add(new(_loaded.OriginOf(path), path, message));

    [InterpolatedStringHandler]
    private readonly ref struct Message
    {
        public Message(int literals, int values, bool holds, out bool isWanted)
        {
            isWanted = !holds;
            Text = holds ? null! : new StringBuilder(literals + (values * 8));
        }

        public StringBuilder Text { get; }

        public void AppendLiteral(string text) => Text.Append(text);

        public void AppendFormatted<T>(T value) => Text.Append(CultureInfo.InvariantCulture, $"{value}");
    }
}
