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
        var flags = Elected.Flags(config, version, kubeconfig, manager.LeaderElection, manager.FeatureGates);
        // Ranges of nodes and their routes are ours (network.podRange).
        flags["allocate-node-cidrs"] = "false";
        flags["client-ca-file"] = cluster.Name;
        flags["cluster-name"] = config.Cluster.Name;
        // As kubeadm, without those that sign requests for certificates: no key of a CA is here, and nodes ask the issuer.
        flags["controllers"] = "*,bootstrapsigner,tokencleaner,-csrsigning";
        flags["requestheader-client-ca-file"] = frontProxyCa.Name;
        flags["root-ca-file"] = cluster.Name;
        flags["service-account-private-key-file"] = RoleTable.ServiceAccount.KeyPath;
        flags["service-cluster-ip-range"] = config.Cluster.ServiceRange.ToString();
        flags["use-service-account-credentials"] = "true";
        flags.Set("cluster-cidr", config.Cluster.PodRange?.ToString());
        if (config.Kubelet.CloudProvider != CloudProvider.None)
        {
            flags["cloud-provider"] = config.Kubelet.CloudProvider == CloudProvider.Aws ? "aws" : "external";
            flags["configure-cloud-routes"] = "false";
        }

        var pod = new StaticPod(Name, manager.Image ?? ControlPlanePods.Image(Name, facts), flags.For(Name, manager.ExtraArgs))
        {
            Labels = ControlPlanePods.Labels(Name),
            Requests = manager.Requests,
            Probes = Elected.Probes(10257, config.ControlPlane.StartupTimeout),
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
}
