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
        var flags = new ComponentFlags
        {
            ["authentication-kubeconfig"] = kubeconfig.Name,
            ["authorization-kubeconfig"] = kubeconfig.Name,
            ["bind-address"] = "127.0.0.1",
            ["kubeconfig"] = kubeconfig.Name,
            ["leader-elect"] = "true",
            ["profiling"] = "false",
            ["tls-min-version"] = config.ControlPlane.TlsMinVersion.ToString(),
        };
        ControllerManager.Election(flags, scheduler.LeaderElection);
        flags.SetGates(scheduler.FeatureGates);
        if (ControlPlaneVersions.HasInsecurePort(version))
        {
            flags["port"] = "0";
        }

        var pod = new StaticPod(Name, scheduler.Image ?? ControlPlanePods.Image(Name, facts), flags.For(Name, scheduler.ExtraArgs))
        {
            Labels = ControlPlanePods.Labels(Name),
            Requests = scheduler.Requests,
            Probes = ControllerManager.Healthy(10259, config.ControlPlane.StartupTimeout),
            Paths = [new("kubeconfig", kubeconfig.Name, "File")],
        };
        return ControlPlanePods.Manifest(pod, [ControlPlanePods.ReadsKey(kubeconfig)], []);
    }
}
