using System.Text.Json;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// An instance of a group with hooks: a configuration that cannot work abandons its launch, one that works completes it once the node is healthy. On its end
/// the node is cordoned and drained with the rights of its kubelet (kube-apiserver 1.20 with NodeRestriction), across a kill of the watch and an API server
/// that is away; a notice that is taken back leaves no trace.
/// </summary>
internal static class Lifecycle
{
    private const string Pods = "/api/v1/namespaces/kube-system/pods";

    private const string Budgets = "/apis/policy/v1beta1/namespaces/kube-system/poddisruptionbudgets";

    private const string Hooks =
        $"autoscaling: {{launchHook: {AutoScalingGroup.LaunchHook}, terminateHook: {AutoScalingGroup.TerminateHook}, heartbeat: 10s, drainTimeout: 10m}}\n";

    public static async Task RunAsync(Laboratory lab)
    {
        var group = new AutoScalingGroup();
        await using var guest = await lab.StartContainerAsync();
        await AutoScalingGroup.InstanceAsync(lab, guest, "InService", Worker.ContainerOverrides + Hooks + "kubelet: {extraArgs: {no-such-flag: '1'}}\n");
        group.Begin(AutoScalingGroup.LaunchHook);
        await guest.RebootAsync();
        await using (await group.ListenAsync(guest))
        {
            await TakenAsync(lab, group, $"CompleteLifecycleAction {AutoScalingGroup.LaunchHook} ABANDON");
            await guest.WaitForAsync("test $(systemctl show --value --property ExecMainStatus nodeagent.service) = 3", TimeSpan.FromSeconds(30));
        }

        // Its successor, as it were.
        group.Taken.Clear();
        group.Begin(AutoScalingGroup.LaunchHook);
        await AutoScalingGroup.StateAsync(lab, guest, "InService", Worker.ContainerOverrides + Hooks);
        await guest.RebootAsync();
        await using var scaling = await group.ListenAsync(guest);
        await Worker.HealthyAsync(guest);
        await TakenAsync(lab, group, $"CompleteLifecycleAction {AutoScalingGroup.LaunchHook} CONTINUE");
        group.Taken.ShouldContain($"RecordLifecycleActionHeartbeat {AutoScalingGroup.LaunchHook}");
        (await guest.CheckAsync("journalctl --boot --output cat --unit nodeagent-ready.service")).ShouldContain("is told CONTINUE: the node is healthy");
        await Worker.NothingToDoAsync(guest);
        (await guest.CheckAsync("systemctl is-active nodeagent-watch.service")).ShouldBe("active");
        Console.WriteLine($"watch: {await guest.CheckAsync("grep VmRSS /proc/$(systemctl show --value --property MainPID nodeagent-watch.service)/status")}");

        await lab.ApiServer.StartedAsync();
        await lab.ApiServer.ServiceAccountAsync();
        await lab.ApiServer.PostAsync("/api/v1/nodes", new { metadata = new { name = Worker.Node } });
        await PodAsync(lab, "plain");
        await PodAsync(lab, "budgeted", new { app = "budgeted" });
        await PodAsync(lab, "daemon", owner: "DaemonSet");
        await lab.ApiServer.PostAsync(
            Budgets, new { metadata = new { name = "tight" }, spec = new { minAvailable = 1, selector = new { matchLabels = new { app = "budgeted" } } } });

        // Nobody answers at the API server yet: heartbeats keep the group waiting.
        group.Begin(AutoScalingGroup.TerminateHook);
        await AutoScalingGroup.TargetAsync(guest, "Terminated");
        await TakenAsync(lab, group, $"RecordLifecycleActionHeartbeat {AutoScalingGroup.TerminateHook}");
        await guest.WaitForAsync(
            "journalctl --boot --output cat --unit nodeagent-watch.service | grep -q 'the API server does not do it'", TimeSpan.FromMinutes(1));
        (await IsCordonedAsync(lab)).ShouldBeFalse();
        await using (await guest.ConnectApiServerAsync())
        {
            await lab.WaitForAsync("cordoned, and the pod without a budget evicted", TimeSpan.FromMinutes(1), async () =>
                (await IsCordonedAsync(lab) && (await PodsAsync(lab)).SequenceEqual(["budgeted", "daemon"]), string.Join(", ", await PodsAsync(lab))));
            await guest.WaitForAsync(
                "journalctl --boot --output cat --unit nodeagent-watch.service | grep -q 'budgeted is not evicted: 429'", TimeSpan.FromSeconds(30));
            await guest.CheckAsync("systemctl kill --signal KILL nodeagent-watch.service");
            await guest.WaitForAsync("systemctl is-active nodeagent-watch.service", TimeSpan.FromSeconds(30));

            // Taken back: pods may come again.
            await AutoScalingGroup.TargetAsync(guest, "InService");
            await lab.WaitForAsync("no cordon any more", TimeSpan.FromMinutes(1), async () => (!await IsCordonedAsync(lab), "cordoned"));
            group.Waits(AutoScalingGroup.TerminateHook).ShouldBeTrue();
            (await PodsAsync(lab)).ShouldBe(["budgeted", "daemon"]);

            // In earnest.
            await AutoScalingGroup.TargetAsync(guest, "Terminated");
            await lab.WaitForAsync("cordoned", TimeSpan.FromMinutes(1), async () => (await IsCordonedAsync(lab), "not cordoned"));
            group.Waits(AutoScalingGroup.TerminateHook).ShouldBeTrue();
            await lab.ApiServer.DeleteAsync($"{Budgets}/tight");
            await TakenAsync(lab, group, $"CompleteLifecycleAction {AutoScalingGroup.TerminateHook} CONTINUE");
            (await PodsAsync(lab)).ShouldBe(["daemon"]);
            (await guest.CheckAsync("journalctl --boot --output cat --unit nodeagent-watch.service")).ShouldContain($"node {Worker.Node} is drained");
        }
    }

    public static Task TakenAsync(Laboratory lab, AutoScalingGroup group, string call) => lab.WaitForAsync(
        call,
        TimeSpan.FromMinutes(2),
        () => Task.FromResult((group.Taken.Contains(call), $"{string.Join("; ", group.Taken)}; not taken: {string.Join("; ", group.Untaken)}")));

    private static async Task<bool> IsCordonedAsync(Laboratory lab) =>
        (await lab.ApiServer.GetAsync($"/api/v1/nodes/{Worker.Node}")).GetProperty("spec").TryGetProperty("unschedulable", out var it) && it.GetBoolean();

    private static async Task<IReadOnlyList<string>> PodsAsync(Laboratory lab) =>
        [.. (await lab.ApiServer.GetAsync(Pods)).GetProperty("items").EnumerateArray().Select(p => p.GetProperty("metadata").GetProperty("name").GetString()!)
            .Order(StringComparer.Ordinal)];

    /// <summary>Bound to the node; without a grace period, since nobody here ends it.</summary>
    private static async Task PodAsync(Laboratory lab, string name, object? labels = null, string? owner = null)
    {
        await lab.ApiServer.PostAsync(Pods, Pod(name, labels, owner));
        // A pod that does not run yet may be evicted whatever its budget says.
        await lab.ApiServer.PatchAsync($"{Pods}/{name}/status", new { status = new { phase = "Running" } });
    }

    private static object Pod(string name, object? labels, string? owner) => new
    {
        metadata = new
        {
            name,
            labels = labels ?? new { },
            ownerReferences = owner is null ? [] : new object[] { new { apiVersion = "apps/v1", kind = owner, name, uid = Guid.NewGuid(), controller = true } },
        },
        spec = new
        {
            nodeName = Worker.Node,
            automountServiceAccountToken = false,
            terminationGracePeriodSeconds = 0,
            containers = new[] { new { name, image = "registry.k8s.io/pause:3.9" } },
        },
    };
}
