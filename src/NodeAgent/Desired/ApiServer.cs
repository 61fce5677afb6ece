using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Pki;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>kube-apiserver, its audit policy and what it needs to know of an OIDC issuer.</summary>
internal static class ApiServer
{
    public const string Name = "kube-apiserver";

    public const string Directory = "/etc/kubernetes/kube-apiserver";

    public const string DefaultAuditLog = "/var/log/kubernetes/audit/audit.log";

    public static (IReadOnlyList<Resource> Files, IReadOnlyList<DirectoryResource> Logs) Build(NodeConfig config, NodeFacts facts, Certificates certificates)
    {
        var api = config.ApiServer;
        var (cluster, etcdCa, frontProxyCa) = (certificates.Authority, certificates.Of(Authority.Etcd), certificates.Of(Authority.FrontProxy));
        var account = certificates.AccountKey;
        var (serving, kubelets, etcd, frontProxy) =
            (certificates.Row("apiserver"), certificates.Row("apiserver-kubelet-client"), certificates.Row("apiserver-etcd-client"),
                certificates.Row("front-proxy-client"));
        var flags = new ComponentFlags
        {
            ["advertise-address"] = facts.Instance.PrivateAddress,
            ["allow-privileged"] = "true",
            ["authorization-mode"] = "Node,RBAC",
            ["client-ca-file"] = cluster.Name,
            ["etcd-cafile"] = etcdCa.Name,
            ["etcd-certfile"] = etcd.Path,
            ["etcd-keyfile"] = etcd.KeyPath,
            ["etcd-servers"] = Etcd.ClientUrl,
            // Not kubeadm's, whose kubelets sign their serving certificates themselves; ours are the cluster's CA's.
            ["kubelet-certificate-authority"] = cluster.Name,
            ["kubelet-client-certificate"] = kubelets.Path,
            ["kubelet-client-key"] = kubelets.KeyPath,
            ["kubelet-preferred-address-types"] = "InternalIP,ExternalIP,Hostname",
            ["profiling"] = "false",
            ["proxy-client-cert-file"] = frontProxy.Path,
            ["proxy-client-key-file"] = frontProxy.KeyPath,
            ["requestheader-allowed-names"] = frontProxy.CommonName,
            ["requestheader-client-ca-file"] = frontProxyCa.Name,
            ["requestheader-extra-headers-prefix"] = "X-Remote-Extra-",
            ["requestheader-group-headers"] = "X-Remote-Group",
            ["requestheader-username-headers"] = "X-Remote-User",
            ["secure-port"] = api.Port.ToString(CultureInfo.InvariantCulture),
            ["service-account-issuer"] = $"https://kubernetes.default.svc.{config.Cluster.Domain}",
            ["service-account-key-file"] = RoleTable.ServiceAccount.PublicPath,
            ["service-account-signing-key-file"] = RoleTable.ServiceAccount.KeyPath,
            ["service-cluster-ip-range"] = config.Cluster.ServiceRange.ToString(),
            ["tls-cert-file"] = serving.Path,
            ["tls-min-version"] = config.ControlPlane.TlsMinVersion.ToString(),
            ["tls-private-key-file"] = serving.KeyPath,
        };
        flags.Set("enable-admission-plugins", api.Admission.Enable.Where(p => p != "NodeRestriction").Prepend("NodeRestriction"));
        flags.Set("disable-admission-plugins", api.Admission.Disable);
        flags.SetGates(api.FeatureGates);

        var files = new List<Resource>();
        var logs = new List<DirectoryResource>();
        // All in one directory, as kubeadm lays it out, and most of it is read again after a renewal: so the directory it is, and not a file each. With etcd's
        // client key this process can have everything that the other keys in there open; keys of CAs are not on this machine.
        var paths = new List<HostPath> { new("certificates", RoleTable.Directory, "Directory") };
        // Here even where nothing is encrypted: it looks that nothing was.
        var encryption = certificates.Encryption;
        var encrypts = api.Encryption.Resources.Count > 0;
        if (encrypts)
        {
            flags["encryption-provider-config"] = encryption.Name;
            paths.Add(new("encryption", encryption.Name, "File"));
        }

        Audit(api.Audit, flags, files, logs, paths);
        Oidc(api.Oidc, flags, files, paths);
        if (files.Count > 0)
        {
            paths.Add(new("configuration", Directory, "Directory"));
        }

        var probes = new Probes("HTTPS", api.Port);
        var pod = new StaticPod(Name, api.Image ?? ControlPlanePods.Image(Name, facts), flags.For(Name, api.ExtraArgs))
        {
            Labels = ControlPlanePods.Labels(Name),
            Requests = api.Requests,
            // Whom nobody knows may see these paths (system:public-info-viewer): kubelet's probes and load balancers have no certificate.
            Probes = new Dictionary<string, JsonObject>
            {
                ["livenessProbe"] = probes.Liveness("/livez"),
                ["readinessProbe"] = probes.Readiness("/readyz"),
                ["startupProbe"] = probes.Startup("/livez", config.ControlPlane.StartupTimeout),
            },
            Paths = paths,
        };
        // Its own certificates it reads again (RoleTable); these it does not.
        (Resource, PodInput)[] reads =
        [
            ControlPlanePods.Reads(cluster),
            ControlPlanePods.Reads(etcdCa),
            ControlPlanePods.ReadsKey(account),
            .. files.Select(ControlPlanePods.Reads),
            .. encrypts ? [(encryption, new PodInput(encryption.Name, PodInputKind.Secret))] : Array.Empty<(Resource, PodInput)>(),
        ];
        string[] roles = ["apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client"];
        return ([.. files, ControlPlanePods.Manifest(pod, reads, [frontProxyCa, encryption, .. roles.Select(r => certificates.ByRole[r])])], logs);
    }

    private static void Audit(AuditConfig? audit, ComponentFlags flags, List<Resource> files, List<DirectoryResource> logs, List<HostPath> paths)
    {
        if (audit is null)
        {
            return;
        }

        var policy = new JsonObject { ["apiVersion"] = "audit.k8s.io/v1", ["kind"] = "Policy" };
        foreach (var field in audit.Policy.EnumerateObject())
        {
            policy[field.Name] = JsonNode.Parse(field.Value.GetRawText());
        }

        var file = new ConfigFile(Concern.StaticPods, $"{Directory}/audit-policy.yaml", Documents.Yaml(policy));
        files.Add(file);
        var log = audit.Path ?? DefaultAuditLog;
        var directory = log[..log.LastIndexOf('/')];
        logs.Add(new DirectoryResource(Concern.StaticPods, directory, ControlPlanePods.Owner));
        paths.Add(new("audit", directory, "Directory", IsReadOnly: false));
        flags["audit-policy-file"] = file.Name;
        flags["audit-log-path"] = log;
        // Kubernetes keeps all of it for ever by default.
        flags["audit-log-maxage"] = (audit.MaxAge ?? 30).ToString(CultureInfo.InvariantCulture);
        flags["audit-log-maxbackup"] = (audit.MaxBackups ?? 10).ToString(CultureInfo.InvariantCulture);
        flags["audit-log-maxsize"] = (audit.MaxSize ?? 100).ToString(CultureInfo.InvariantCulture);
    }

    private static void Oidc(OidcConfig? oidc, ComponentFlags flags, List<Resource> files, List<HostPath> paths)
    {
        if (oidc is null)
        {
            return;
        }

        // As it was written: the issuer's tokens name it to the letter.
        flags["oidc-issuer-url"] = oidc.Issuer.OriginalString;
        flags["oidc-client-id"] = oidc.ClientId;
        flags.Set("oidc-username-claim", oidc.UsernameClaim);
        flags.Set("oidc-username-prefix", oidc.UsernamePrefix);
        flags.Set("oidc-groups-claim", oidc.GroupsClaim);
        flags.Set("oidc-groups-prefix", oidc.GroupsPrefix);
        flags.Set("oidc-required-claim", oidc.RequiredClaims.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => $"{c.Key}={c.Value}"));
        flags.Set("oidc-signing-algs", oidc.SigningAlgorithms);
        if (oidc.CertificateAuthority is { } authority)
        {
            var file = new ConfigFile(Concern.StaticPods, $"{Directory}/oidc-ca.crt", $"{Ownership.Header}\n{authority.Trim()}\n");
            files.Add(file);
            flags["oidc-ca-file"] = file.Name;
        }
        else
        {
            // What the machine trusts, trust.certificates included, and not what the image has.
            paths.Add(new("trust", "/etc/ssl/certs", "Directory"));
        }
    }
}
