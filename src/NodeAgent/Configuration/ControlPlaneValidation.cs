using System.Globalization;
using System.Text.Json;

namespace NodeAgent.Configuration;

/// <summary>Of the static pods of the control plane.</summary>
internal sealed partial class ConfigValidation
{
    private const string Probed = "kubelet's probes and load balancers ask /livez and /readyz without a certificate";

    /// <summary>Flags that are the agent's, by component, and where to say instead what they say. Empty where there is nothing to say.</summary>
    internal static readonly IReadOnlyDictionary<string, IReadOnlyDictionary<string, string>> OwnedComponentFlags =
        new Dictionary<string, IReadOnlyDictionary<string, string>>(StringComparer.Ordinal)
        {
            ["etcd"] = Owned("""
                name=node.name data-dir=etcd.dataDirectory wal-dir= config-file= listen-client-urls= listen-peer-urls= listen-metrics-urls= advertise-client-urls=
                initial-advertise-peer-urls= initial-cluster= initial-cluster-state= initial-cluster-token= discovery= discovery-srv= force-new-cluster=
                heartbeat-interval=etcd.heartbeatInterval election-timeout=etcd.electionTimeout quota-backend-bytes=etcd.quota
                auto-compaction-mode=etcd.autoCompaction auto-compaction-retention=etcd.autoCompaction
                cert-file= key-file= trusted-ca-file= client-cert-auth= auto-tls= peer-cert-file= peer-key-file= peer-trusted-ca-file= peer-client-cert-auth= peer-auto-tls=
                """),
            ["apiServer"] = Owned("""
                advertise-address= authorization-mode= bind-address= cert-dir= client-ca-file=cluster.certificateAuthority
                etcd-cafile= etcd-certfile= etcd-keyfile= etcd-servers= etcd-servers-overrides= insecure-port= insecure-bind-address=
                enable-admission-plugins=apiServer.admission.enable disable-admission-plugins=apiServer.admission.disable admission-control=apiServer.admission.enable
                audit-policy-file=apiServer.audit.policy audit-log-path=apiServer.audit.path audit-log-maxage=apiServer.audit.maxAge
                audit-log-maxbackup=apiServer.audit.maxBackups audit-log-maxsize=apiServer.audit.maxSize
                encryption-provider-config=apiServer.encryption.resources feature-gates=apiServer.featureGates
                kubelet-certificate-authority= kubelet-client-certificate= kubelet-client-key=
                oidc-issuer-url=apiServer.oidc.issuer oidc-client-id=apiServer.oidc.clientId oidc-username-claim=apiServer.oidc.usernameClaim
                oidc-username-prefix=apiServer.oidc.usernamePrefix oidc-groups-claim=apiServer.oidc.groupsClaim oidc-groups-prefix=apiServer.oidc.groupsPrefix
                oidc-required-claim=apiServer.oidc.requiredClaims oidc-signing-algs=apiServer.oidc.signingAlgorithms oidc-ca-file=apiServer.oidc.certificateAuthority
                proxy-client-cert-file= proxy-client-key-file= requestheader-allowed-names= requestheader-client-ca-file= requestheader-extra-headers-prefix=
                requestheader-group-headers= requestheader-username-headers=
                secure-port=apiServer.port service-account-issuer=cluster.domain service-account-key-file= service-account-signing-key-file=
                service-cluster-ip-range=cluster.serviceRange tls-cert-file= tls-private-key-file= tls-min-version=controlPlane.tlsMinVersion
                """),
            ["controllerManager"] = Owned("""
                authentication-kubeconfig= authorization-kubeconfig= bind-address= address= port= secure-port= cert-dir= tls-cert-file= tls-private-key-file=
                allocate-node-cidrs=network.plugin cluster-cidr=cluster.podRange cluster-name=cluster.name cloud-provider=kubelet.cloudProvider
                cluster-signing-cert-file= cluster-signing-key-file= configure-cloud-routes=
                client-ca-file=cluster.certificateAuthority feature-gates=controllerManager.featureGates kubeconfig= master=
                leader-elect= leader-elect-lease-duration=controllerManager.leaderElection.leaseDuration
                leader-elect-renew-deadline=controllerManager.leaderElection.renewDeadline leader-elect-retry-period=controllerManager.leaderElection.retryPeriod
                requestheader-client-ca-file= root-ca-file=cluster.certificateAuthority service-account-private-key-file=
                service-cluster-ip-range=cluster.serviceRange tls-min-version=controlPlane.tlsMinVersion use-service-account-credentials=
                """),
            ["scheduler"] = Owned("""
                authentication-kubeconfig= authorization-kubeconfig= bind-address= address= port= secure-port= cert-dir= tls-cert-file= tls-private-key-file=
                config= feature-gates=scheduler.featureGates kubeconfig= master=
                leader-elect= leader-elect-lease-duration=scheduler.leaderElection.leaseDuration leader-elect-renew-deadline=scheduler.leaderElection.renewDeadline
                leader-elect-retry-period=scheduler.leaderElection.retryPeriod tls-min-version=controlPlane.tlsMinVersion
                """),
        };

    private static Dictionary<string, string> Owned(string text) => text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)
        .Select(f => f.Split('=')).ToDictionary(f => f[0], f => f[1], StringComparer.Ordinal);

    private void StaticPods()
    {
        var config = _config;
        (string Path, IStaticPodConfig Pod)[] pods =
            [("etcd", config.Etcd), ("apiServer", config.ApiServer), ("controllerManager", config.ControllerManager), ("scheduler", config.Scheduler)];
        foreach (var (path, pod) in pods)
        {
            if (pod.Image is { } image)
            {
                Image($"{path}.image", image);
            }

            foreach (var (flag, value) in pod.ExtraArgs)
            {
                ExtraArg(ConfigPath.Child($"{path}.extraArgs", flag), flag, value, OwnedComponentFlags[path]);
            }

            foreach (var (name, quantity) in pod.Requests)
            {
                var at = ConfigPath.Child($"{path}.requests", name);
                Require(name is "cpu" or "memory", at, $"'{Short(name)}' is not asked for; expected cpu or memory");
                Require(IsQuantity(quantity), at, $"'{Short(quantity)}' is not a quantity of Kubernetes; expected one as in 500m, 2, 1.5Gi or 100M");
            }
        }

        Digests(pods);
        var startup = config.ControlPlane.StartupTimeout;
        Require(
            startup.Value >= TimeSpan.FromSeconds(30) && startup.Value <= TimeSpan.FromHours(2),
            "controlPlane.startupTimeout",
            $"{startup} is out of range; expected 30s to 2h");
        Minor("controlPlane.allowUnlisted", config.ControlPlane.AllowUnlisted);
        EtcdSettings();
        ApiServer();
        LeaderElection("controllerManager.leaderElection", config.ControllerManager.LeaderElection);
        LeaderElection("scheduler.leaderElection", config.Scheduler.LeaderElection);
        Gates("apiServer.featureGates", config.ApiServer.FeatureGates);
        Gates("controllerManager.featureGates", config.ControllerManager.FeatureGates);
        Gates("scheduler.featureGates", config.Scheduler.FeatureGates);
    }

    private void ExtraArg(string path, string flag, string value, IReadOnlyDictionary<string, string> owned)
    {
        if (flag.StartsWith('-'))
        {
            Bad(path, $"'{Short(flag)}' has dashes; give the flag's name alone");
        }
        else if (flag.Length == 0 || !IsOnly(flag, "-"))
        {
            Bad(path, $"'{Short(flag)}' is not a flag's name; expected letters, digits and '-'");
        }
        else if (owned.TryGetValue(flag, out var instead))
        {
            Bad(path, instead.Length > 0 ? $"--{flag} is set by nodeagent; say it in {instead}" : $"--{flag} is set by nodeagent and cannot be changed");
        }
        else if (flag == "anonymous-auth")
        {
            Require(value == "true", path, $"--anonymous-auth cannot be turned off: {Probed}");
        }

        Require(IsLine(value), path, "expected a value of one line");
    }

    /// <summary>Of the images that this node itself starts.</summary>
    private void Digests(IReadOnlyList<(string Path, IStaticPodConfig Pod)> pods)
    {
        if (!_config.Images.RequireDigest)
        {
            return;
        }

        Digest("containerd.sandboxImage", _config.Containerd.SandboxImage);
        if (_config.KubeProxy.Mode != ProxyMode.None)
        {
            Digest("kubeProxy.image", _config.KubeProxy.Image);
        }

        if (_config.Node.Role == NodeRole.ControlPlane && _config.ControlPlane.StaticPods)
        {
            foreach (var (path, pod) in pods)
            {
                Digest($"{path}.image", pod.Image);
            }
        }

        void Digest(string path, string? image) => Require(
            image is not null && image.Contains("@sha256:", StringComparison.Ordinal),
            path,
            $"{(image is null ? "is not given, and the default has no digest" : $"'{Short(image)}' has no digest")}, which images.requireDigest "
            + $"({Where("images.requireDigest")}) asks for; "
            + "expected NAME:TAG@sha256:DIGEST");
    }

    private void EtcdSettings()
    {
        var etcd = _config.Etcd;
        AbsolutePath("etcd.dataDirectory", etcd.DataDirectory);
        Require(
            Array.IndexOf(SystemDirectories, etcd.DataDirectory) < 0
                && Array.Exists(VolumeRoots, r => etcd.DataDirectory.StartsWith($"{r}/", StringComparison.Ordinal)),
            "etcd.dataDirectory",
            $"'{Short(etcd.DataDirectory)}' is the system's; expected a directory of etcd's alone, below {string.Join(", ", VolumeRoots)}");
        EtcdVolume(etcd);
        Require(etcd.HeartbeatInterval is >= 10 and <= 10_000, "etcd.heartbeatInterval", $"{etcd.HeartbeatInterval} ms is out of range; expected 10 to 10000");
        // etcd server/embed/config.go: at least five heartbeats, at most 50 s.
        Require(
            etcd.ElectionTimeout >= 5L * etcd.HeartbeatInterval && etcd.ElectionTimeout <= 50_000,
            "etcd.electionTimeout",
            $"{etcd.ElectionTimeout} ms is out of range; etcd takes five times etcd.heartbeatInterval ({etcd.HeartbeatInterval} ms, "
                + $"{Where("etcd.heartbeatInterval")}) to 50000");
        Require(
            etcd.Quota.Bytes is >= 64 << 20 and <= 64L << 30,
            "etcd.quota",
            $"{etcd.Quota} is out of range; expected 64MiB to 64GiB, where etcd itself advises against more than 8GiB");
        if (etcd.AutoCompaction is { } compaction)
        {
            Require(
                compaction.Mode == AutoCompactionMode.Periodic
                    ? compaction.Retention.Length is > 1 and < 8 && compaction.Retention[^1] is 'h' or 'm' or 's' && IsCount(compaction.Retention[..^1])
                    : IsCount(compaction.Retention),
                "etcd.autoCompaction.retention",
                $"'{Short(compaction.Retention)}' does not go with the mode; expected a time as in 8h for periodic, a number of revisions for revision");
        }

        static bool IsCount(string text) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count > 0;
    }

    private void Minor(string path, string? minor) => Require(
        minor is null || (minor.Split('.') is ["1", { Length: 1 or 2 } number] && int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out _)),
        path,
        $"'{Short(minor ?? "")}' is not a minor of Kubernetes; expected one as in \"1.37\"");

    private void EtcdVolume(EtcdConfig etcd)
    {
        if (etcd.Volume is not { } volume)
        {
            return;
        }

        Require(
            volume.StartsWith("vol-", StringComparison.Ordinal) && volume.Length is 12 or 21 && volume.Skip(4).All(char.IsAsciiHexDigitLower),
            "etcd.volume",
            $"'{Short(volume)}' is not the ID of an EBS volume; expected one as in vol-0a1b2c3d4e5f60718");
        foreach (var (name, local) in _config.Storage.Volumes)
        {
            Require(
                local.Mount is not { } mount || !$"{mount}/".StartsWith($"{etcd.DataDirectory}/", StringComparison.Ordinal),
                ConfigPath.Child("storage.volumes", name) + ".mount",
                $"'{Short(local.Mount ?? "")}' is in the way of etcd.volume ({Where("etcd.volume")}), which is mounted at {etcd.DataDirectory}");
        }

        Require(
            _config.Storage.VolumeGroup != EtcdConfig.VolumeGroup,
            "storage.volumeGroup",
            $"{EtcdConfig.VolumeGroup} is the name of the volume group on etcd.volume ({Where("etcd.volume")}); give this one another");
    }

    private void ApiServer()
    {
        var api = _config.ApiServer;
        Require(
            api.Port is >= 1024 and <= 65535 && api.Port is not (2379 or 2380 or 2381 or 10248 or 10249 or 10250 or 10256 or 10257 or 10259),
            "apiServer.port",
            $"{api.Port} is not a port for it; expected 1024 to 65535 (it runs without the right to lower ones), and none that etcd, kubelet or another part "
                + "of Kubernetes has");
        Each(
            "apiServer.admission.enable",
            api.Admission.Enable,
            p => p.Length > 0 && IsOnly(p, ""),
            "an admission plugin's name; expected one as in AlwaysPullImages");
        Each(
            "apiServer.admission.disable",
            api.Admission.Disable,
            p => p.Length > 0 && IsOnly(p, ""),
            "an admission plugin's name; expected one as in DefaultTolerationSeconds");
        for (var i = 0; i < api.Admission.Disable.Count; i++)
        {
            var plugin = api.Admission.Disable[i];
            Require(
                plugin != "NodeRestriction",
                ConfigPath.Item("apiServer.admission.disable", i),
                "NodeRestriction is what keeps a node from speaking for others; it stays on");
            Require(
                !api.Admission.Enable.Contains(plugin),
                ConfigPath.Item("apiServer.admission.disable", i),
                $"'{Short(plugin)}' is enabled, too ({Where("apiServer.admission.enable")})");
        }

        Each(
            "apiServer.encryption.resources",
            api.Encryption.Resources,
            r => IsDnsName(r) && r != "events",
            "something to encrypt; expected a resource as in secrets, or with its group as in widgets.example.com");
        Audit(api.Audit);
        Oidc(api.Oidc);
    }

    private void Audit(AuditConfig? audit)
    {
        if (audit is null)
        {
            return;
        }

        Require(
            audit.Policy.ValueKind == JsonValueKind.Object && audit.Policy.TryGetProperty("rules", out var rules) && rules.ValueKind == JsonValueKind.Array
                && rules.GetArrayLength() > 0,
            "apiServer.audit.policy",
            "has no rules, and kube-apiserver does not start without; expected those of an audit.k8s.io/v1 Policy, as in rules: [{level: Metadata}]");
        if (audit.Policy.ValueKind == JsonValueKind.Object)
        {
            foreach (var field in audit.Policy.EnumerateObject().Where(f => f.Name is "kind" or "apiVersion"))
            {
                var expected = field.NameEquals("kind") ? "Policy" : "audit.k8s.io/v1";
                Require(
                    field.Value.ValueKind == JsonValueKind.String && field.Value.ValueEquals(expected),
                    ConfigPath.Child("apiServer.audit.policy", field.Name),
                    $"expected '{expected}', or nothing");
            }
        }

        if (audit.Path is { } path)
        {
            AbsolutePath("apiServer.audit.path", path);
            // The directory is the container's to write in, and nothing else's.
            Require(
                path.StartsWith("/var/log/", StringComparison.Ordinal) && path.Count('/') >= 4,
                "apiServer.audit.path",
                $"'{Short(path)}' is not a file in a directory of its own below /var/log, as in {Desired}");
        }

        Require(audit.MaxAge is null or (>= 1 and <= 3650), "apiServer.audit.maxAge", $"{audit.MaxAge} days is out of range; expected 1 to 3650");
        Require(audit.MaxBackups is null or (>= 1 and <= 1000), "apiServer.audit.maxBackups", $"{audit.MaxBackups} is out of range; expected 1 to 1000");
        Require(audit.MaxSize is null or (>= 1 and <= 10_000), "apiServer.audit.maxSize", $"{audit.MaxSize} MB is out of range; expected 1 to 10000");
    }

    private const string Desired = "/var/log/kubernetes/audit/audit.log";

    private void Oidc(OidcConfig? oidc)
    {
        if (oidc is null)
        {
            return;
        }

        Require(
            oidc.Issuer is { Scheme: "https", Query.Length: 0, Fragment.Length: 0, UserInfo.Length: 0 },
            "apiServer.oidc.issuer",
            $"'{Short(oidc.Issuer.OriginalString)}' is no issuer; expected https://host[:port][/path]");
        (string Path, string? Value)[] lines =
        [
            ("clientId", oidc.ClientId), ("usernameClaim", oidc.UsernameClaim), ("usernamePrefix", oidc.UsernamePrefix), ("groupsClaim", oidc.GroupsClaim),
            ("groupsPrefix", oidc.GroupsPrefix),
        ];
        foreach (var (path, value) in lines)
        {
            Require(value is null || (value.Length > 0 && IsLine(value)), $"apiServer.oidc.{path}", "expected a value of one line");
        }

        foreach (var (claim, value) in oidc.RequiredClaims)
        {
            Require(
                claim.Length > 0 && value.Length > 0 && (claim + value).All(c => c is not ('\n' or '\r' or '\t' or ',' or '=' or '"')),
                ConfigPath.Child("apiServer.oidc.requiredClaims", claim),
                "expected a claim and its value without ',', '=' and quotes, which the flag cannot say");
        }

        Each("apiServer.oidc.signingAlgorithms", oidc.SigningAlgorithms, a => a is "RS256" or "RS384" or "RS512" or "ES256" or "ES384" or "ES512" or "PS256"
            or "PS384" or "PS512",
            "an algorithm of tokens' signatures; expected one as in RS256 or ES256");
        if (oidc.CertificateAuthority is { } authority)
        {
            Authority("apiServer.oidc.certificateAuthority", authority);
        }
    }

    // client-go tools/leaderelection: lease > renew deadline > retry period, the last with its jitter of 1.2.
    private void LeaderElection(string path, LeaderElection election)
    {
        var (lease, renew, retry) = (election.LeaseDuration.Value, election.RenewDeadline.Value, election.RetryPeriod.Value);
        Require(
            lease <= TimeSpan.FromHours(1), $"{path}.leaseDuration", $"{election.LeaseDuration} is out of range; expected up to 1h: so long nobody takes over");
        Require(
            lease > renew,
            $"{path}.renewDeadline",
            $"{election.RenewDeadline} is not less than the lease ({election.LeaseDuration}, {Where($"{path}.leaseDuration")})");
        Require(
            renew > retry * 1.2,
            $"{path}.retryPeriod",
            $"{election.RetryPeriod} is too long; expected less than five sixths of the renew deadline ({election.RenewDeadline}, "
                + $"{Where($"{path}.renewDeadline")})");
    }

    private void Gates(string path, IReadOnlyDictionary<string, bool> gates)
    {
        foreach (var gate in gates.Keys)
        {
            Require(
                gate.Length > 0 && IsOnly(gate, "") && char.IsAsciiLetterUpper(gate[0]),
                ConfigPath.Child(path, gate),
                $"'{Short(gate)}' is not a feature gate's name; expected one as in EphemeralContainers");
        }
    }
}
