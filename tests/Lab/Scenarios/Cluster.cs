using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// From nothing: a control plane by booting one instance; a worker by booting another; pods that reach each other across nodes and through a Service; then one more worker of
/// the same image, with nothing else touched.
/// </summary>
internal static class Cluster
{
    public static async Task RunAsync(Laboratory lab)
    {
        await using var cluster = await ClusterLab.CreateAsync(lab);
        var (controlPlane, _) = await cluster.LaunchAsync(ClusterLab.ControlPlane, "control-plane", 11);
        await cluster.ServesAsync(controlPlane, "10.0.16.11");
        await cluster.ReadyAsync(ClusterLab.NodeOf(11));
    }
}
