using NodeAgent.Configuration;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>kube-scheduler.</summary>
internal static class Scheduler
{
    public const string Name = "kube-scheduler";

    public static StaticPodManifest Build(NodeConfig config, NodeFacts facts, KubernetesVersion version, Certificates certificates)
    {
        var scheduler = config.Scheduler;
        var kubeconfig = certificates.ByRole["scheduler"];
        var flags = Elected.Flags(config, version, kubeconfig, scheduler.LeaderElection, scheduler.FeatureGates);
        var pod = new StaticPod(Name, scheduler.Image ?? ControlPlanePods.Image(Name, facts), flags.For(Name, scheduler.ExtraArgs))
        {
            Labels = ControlPlanePods.Labels(Name),
            Requests = scheduler.Requests,
            Probes = Elected.Probes(10259, config.ControlPlane.StartupTimeout),
            Paths = [new("kubeconfig", kubeconfig.Name, "File")],
        };
        return ControlPlanePods.Manifest(pod, [ControlPlanePods.ReadsKey(kubeconfig)], []);
    }
}
