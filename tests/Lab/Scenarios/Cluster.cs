using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// From nothing: a control plane by booting one instance; a worker that booted before it; pods that reach each other across nodes and through a Service, by the
/// VPC's routes; then one more worker of the same image, with nothing else touched.
/// </summary>
internal static class Cluster
{
    public static async Task RunAsync(Laboratory lab)
    {
        await using var cluster = await ClusterLab.CreateAsync(lab);
        var (first, controlPlane, _) = await cluster.LaunchBothAsync("worker-1", "control-plane");
        await cluster.ReadyAsync(ClusterLab.NodeOf(11));
        // nodeagent-cluster.service sets it once the node is registered, whatever else it still waits for.
        await lab.WaitForAsync("the label of the control plane", TimeSpan.FromMinutes(10), async () =>
            await cluster.KubectlAsync("get", "node", ClusterLab.NodeOf(11), "-o", "jsonpath={.metadata.labels}") is var seen
                && seen.Output.Contains("node-role.kubernetes.io/control-plane", StringComparison.Ordinal) ? (true, "") : (false, seen.Output + seen.Error));
        (await first.CheckAsync("find / -xdev -name ca.key")).ShouldBe("");

        // From the bootstrap manifests: a pod on each worker that there will be, and a Service before them.
        await cluster.PodRunsAsync(ClusterLab.NodeOf(21));
        await cluster.PodRunsAsync(ClusterLab.NodeOf(11));
        // Active it is from its start on (Type=exec); done, and well, it is when its command has exited and none is to come again.
        await controlPlane.WaitForAsync(
            "state=$(systemctl show --property SubState --value nodeagent-cluster.service); echo \"$state\"; test \"$state\" = exited",
            TimeSpan.FromMinutes(10));
        await cluster.AnswersAsync(from: 11, to: 21);
        await cluster.AnswersAsync(from: 21, to: 11);
        await cluster.ServiceAnswersAsync(from: 11);

        await Worker.NothingToDoAsync(first);

        // Two processors carry no third guest's boot. So the first worker stands still meanwhile, and the cluster grows all the same.
        await first.SuspendAsync();
        var (second, _) = await cluster.LaunchAsync(ClusterLab.Worker, "worker-2", 22);
        await cluster.ReadyAsync(ClusterLab.NodeOf(22));
        await cluster.PodRunsAsync(ClusterLab.NodeOf(22));
        await cluster.AnswersAsync(from: 11, to: 22);
        await cluster.ServiceAnswersAsync(from: 22);
        await Worker.NothingToDoAsync(second);
        await Worker.NothingToDoAsync(controlPlane);

        await first.ResumeAsync();
        await cluster.AnswersAsync(from: 22, to: 21);
    }
}
