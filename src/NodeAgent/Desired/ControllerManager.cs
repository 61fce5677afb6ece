using System.Globalization;
using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;
using NodeAgent.Pki;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>kube-controller-manager.</summary>
internal static class ControllerManager
{
    public const string Name = "kube-controller-manager";

    public static StaticPodManifest Build(NodeConfig config, NodeFacts facts, KubernetesVersion version, Certificates certificates)
    {
        var manager = config.ControllerManager;
        var (cluster, frontProxyCa) = (certificates.Authority, certificates.Of(Authority.FrontProxy));
        var kubeconfig = certificates.ByRole["controller-manager"];
        var flags = new ComponentFlags
        {
            // Ranges of nodes and their routes are ours (network.podRange).
            ["allocate-node-cidrs"] = "false",
            ["authentication-kubeconfig"] = kubeconfig.Name,
            ["authorization-kubeconfig"] = kubeconfig.Name,
            ["bind-address"] = "127.0.0.1",
            ["client-ca-file"] = cluster.Name,
            ["cluster-name"] = config.Cluster.Name,
            // As kubeadm, without those that sign requests for certificates: no key of a CA is here, and nodes ask the issuer.
            ["controllers"] = "*,bootstrapsigner,tokencleaner,-csrsigning",
            ["kubeconfig"] = kubeconfig.Name,
            ["leader-elect"] = "true",
            ["profiling"] = "false",
            ["requestheader-client-ca-file"] = frontProxyCa.Name,
            ["root-ca-file"] = cluster.Name,
            ["service-account-private-key-file"] = RoleTable.ServiceAccount.KeyPath,
            ["service-cluster-ip-range"] = config.Cluster.ServiceRange.ToString(),
            ["tls-min-version"] = config.ControlPlane.TlsMinVersion.ToString(),
            ["use-service-account-credentials"] = "true",
        };
        flags.Set("cluster-cidr", config.Cluster.PodRange?.ToString());
        if (config.Kubelet.CloudProvider != CloudProvider.None)
        {
            flags["cloud-provider"] = config.Kubelet.CloudProvider == CloudProvider.Aws ? "aws" : "external";
            flags["configure-cloud-routes"] = "false";
        }

        Election(flags, manager.LeaderElection);
        flags.SetGates(manager.FeatureGates);
        if (ControlPlaneVersions.HasInsecurePort(version))
        {
            flags["port"] = "0";
        }

        var pod = new StaticPod(Name, manager.Image ?? ControlPlanePods.Image(Name, facts), flags.For(Name, manager.ExtraArgs))
        {
            Labels = ControlPlanePods.Labels(Name),
            Requests = manager.Requests,
            Probes = Healthy(10257, config.ControlPlane.StartupTimeout),
            // Each by itself: all that it reads is in its digest, so whatever of it changes, it is made anew and sees the new one.
            Paths =
            [
                new("kubeconfig", kubeconfig.Name, "File"),
                new("cluster-ca", cluster.Name, "File"),
                new("front-proxy-ca", frontProxyCa.Name, "File"),
                new("service-account-key", RoleTable.ServiceAccount.KeyPath, "File"),
            ],
        };
        return ControlPlanePods.Manifest(
            pod,
            [
                ControlPlanePods.ReadsKey(kubeconfig),
                ControlPlanePods.Reads(cluster),
                ControlPlanePods.Reads(frontProxyCa),
                ControlPlanePods.ReadsKey(certificates.AccountKey),
            ],
            []);
    }

    internal static void Election(ComponentFlags flags, LeaderElection election)
    {
        flags["leader-elect-lease-duration"] = Seconds(election.LeaseDuration);
        flags["leader-elect-renew-deadline"] = Seconds(election.RenewDeadline);
        flags["leader-elect-retry-period"] = Seconds(election.RetryPeriod);
    }

    /// <summary>Without a readiness probe, as kubeadm's: nobody sends them anything.</summary>
    internal static IReadOnlyDictionary<string, JsonObject> Healthy(int port, Duration patience)
    {
        var probes = new Probes("HTTPS", port);
        return new Dictionary<string, JsonObject>
        {
            ["livenessProbe"] = probes.Liveness("/healthz"),
            ["startupProbe"] = probes.Startup("/healthz", patience),
        };
    }

    // Go's durations know no days.
    private static string Seconds(Duration duration) => string.Create(CultureInfo.InvariantCulture, $"{(long)duration.Value.TotalSeconds}s");
}
