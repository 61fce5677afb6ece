using System.Globalization;
using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// What an instance does beside being a node because an autoscaling group has it: answering hooks, waiting in a warm pool, leaving in good order. The state
/// that the group wants for it is a fact (autoscaling/target-lifecycle-state in metadata), and all of this follows from it.
/// </summary>
internal static class Lifecycle
{
    public const string WatchUnit = "nodeagent-watch.service";

    public const string InService = "InService";

    /// <summary>In /run: a boot out of the pool begins without it.</summary>
    public const string WarmPath = Directory + "/warm";

    /// <summary>What this boot's launch came to so far.</summary>
    public const string LaunchPath = Directory + "/launch.json";

    /// <summary>What this instance's leaving came to so far.</summary>
    public const string LeavingPath = Directory + "/leaving.json";

    /// <summary>While it is there, nodeagent-again.path has the boot's two moments come once more.</summary>
    public const string AgainPath = Directory + "/again";

    /// <summary>Territory for leftovers: where <see cref="WarmPath"/> is taken away as the instance goes into service.</summary>
    public const string Directory = "/run/nodeagent/lifecycle";

    private const string Target = "multi-user.target";

    /// <summary>Whose files are <see cref="UnitFiles"/>, for systemd to read again.</summary>
    public static readonly string[] Units = [WatchUnit, Target];

    /// <summary>Warmed:Stopped, Warmed:Running, Warmed:Hibernated and Warmed:Terminated: nothing that joins.</summary>
    public static bool IsWarm(NodeFacts facts) => IsWarm(facts.Instance.LifecycleState);

    /// <inheritdoc cref="IsWarm(NodeFacts)"/>
    public static bool IsWarm(string? state) => state?.StartsWith("Warmed:", StringComparison.Ordinal) == true;

    /// <summary>Null where this instance's group has no such hook, or it is in no group.</summary>
    public static HookSettings? LaunchHook(NodeConfig config, NodeFacts facts) => Hook(config, facts, config.Autoscaling.LaunchHook);

    public static IReadOnlyList<Resource> UnitFiles(NodeConfig config, NodeFacts facts)
    {
        if (!Watches(config, facts))
        {
            return [];
        }

        var isWarm = IsWarm(facts);
        var command = new StringBuilder("/usr/bin/nodeagent watch");
        command.Append(isWarm ? " --warm"
            : $" --node {Kubelet.Quote(NodeNames.Of(config, facts))} --server {Kubelet.Quote(ControlPlanePods.Server(config).ToString())}");
        command.Append(
            CultureInfo.InvariantCulture, $" --drain-timeout {config.Autoscaling.DrainTimeout}{(config.Autoscaling.Rebalance ? " --rebalance" : "")}");
        command.Append(Hook(config, facts, config.Autoscaling.TerminateHook)?.Arguments("--terminate-hook"));
        return
        [
            new ConfigFile(Concern.Runtime, $"/etc/systemd/system/{WatchUnit}.d/50-nodeagent.conf", $"""
                {Ownership.Header}
                [Service]{HttpProxy.ServiceLines(config)}
                ExecStart=
                ExecStart={command}

                """),
            new ConfigFile(Concern.Runtime, $"/etc/systemd/system/{Target}.d/50-{WatchUnit}.conf", $"""
                {Ownership.Header}
                [Unit]
                Wants={WatchUnit}

                """),
        ];
    }

    /// <summary>Last: it watches over a node, and one that is warm over what is prepared.</summary>
    /// <param name="dropIn">Its own of <see cref="UnitFiles"/>, if it has one, and what else it reads as it starts.</param>
    /// <param name="ready">Its files read by systemd.</param>
    public static IReadOnlyList<Resource> Watch(NodeConfig config, NodeFacts facts, IReadOnlyList<Resource> dropIn, Resource ready)
    {
        if (!Watches(config, facts))
        {
            return [new Service(Concern.Kubelet, WatchUnit, runs: false) { Needs = [ready] }];
        }

        var restart = new Restart(Concern.Kubelet, WatchUnit) { Needs = [ready], Inputs = dropIn, Disruption = Disruption.None };
        return [restart, new Service(Concern.Kubelet, WatchUnit) { Needs = [ready, restart] }];
    }

    /// <summary>While it is there, kubelet does not start, whoever asks for it (<see cref="BootGate"/>).</summary>
    public static IReadOnlyList<Resource> Warm(NodeFacts facts) => IsWarm(facts)
        ? [new ConfigFile(Concern.Runtime, WarmPath, $"{Ownership.Header}\nThis instance waits in a warm pool: prepared, and not a node.\n")]
        : [];

    /// <summary>
    /// Without what is of joining, and what needs that: certificates above all, which are asked for as a node of the cluster. Those that are on the disk
    /// already stay.
    /// </summary>
    /// <exception cref="NotPossibleException">A control plane node.</exception>
    public static IReadOnlyList<Resource> WithoutJoining(NodeConfig config, NodeFacts facts, IReadOnlyList<Resource> resources)
    {
        if (!IsWarm(facts))
        {
            return resources;
        }

        if (config.Node.Role == NodeRole.ControlPlane)
        {
            throw new NotPossibleException(
                $"the group keeps this instance in its warm pool ({facts.Instance.LifecycleState}), and a control plane node cannot wait there; take the warm "
                    + "pool off its group")
            {
                IsRefusal = true,
            };
        }

        var without = new HashSet<Resource>();
        foreach (var resource in resources)
        {
            if (resource is Certificate or PodRange || resource.Needs.Concat(resource.Inputs).Any(without.Contains))
            {
                without.Add(resource);
            }
        }

        return [.. resources.Where(r => !without.Contains(r))];
    }

    /// <summary>An instance that was in service before has kubelet running, and back in the pool it is no node.</summary>
    public static IReadOnlyList<Resource> WithoutKubelet(Resource stamp) => [new Service(Concern.Kubelet, Kubelet.Unit, runs: false) { Needs = [stamp] }];

    /// <summary>What nodeagent-ready.service waits for, and whom it tells: what follows `nodeagent ready --deadline ...`.</summary>
    public static string ReadyArguments(NodeConfig config, NodeFacts facts) =>
        $"{(IsWarm(facts) ? " --warm" : "")}{LaunchHook(config, facts)?.Arguments("--launch-hook")}"
        + (LaunchHook(config, facts) is null ? "" : $" --give-up-after {config.Autoscaling.GiveUpAfter}");

    /// <summary>
    /// What follows [Service] in the drop-in of nodeagent-ready.service, from its line break on: kubelet, which pulls the images in elsewhere, does not start.
    /// </summary>
    public static string ReadyLines(NodeConfig config, NodeFacts facts) =>
        $"{(LaunchHook(config, facts) is null ? "" : HttpProxy.ServiceLines(config))}"
        + (IsWarm(facts) ? $"\nExecStartPre=/usr/bin/systemctl start {ContainerRuntime.ImagesUnit}" : "");

    // Out of the pool without a boot: somebody has to see it.
    private static bool Watches(NodeConfig config, NodeFacts facts) => config.Autoscaling.Watches() || IsWarm(facts);

    private static HookSettings? Hook(NodeConfig config, NodeFacts facts, string? hook) =>
        hook is not null && facts.Instance.LifecycleState is { } state && facts.Instance.Tags.TryGetValue(InstanceFacts.GroupTag, out var group)
            ? new(hook, group, facts.Instance.Id, facts.Instance.Region, state, config.Autoscaling.Heartbeat)
            : null;
}

/// <param name="Target">The lifecycle state that the action in progress leads to.</param>
internal sealed record HookSettings(string Hook, string Group, string Instance, string Region, string Target, Duration Heartbeat)
{
    /// <summary>As the commands read them, from a space on.</summary>
    public string Arguments(string option) =>
        $" {option} {Hook} --group {Kubelet.Quote(Group)} --instance {Instance} --region {Region} --target {Target} --heartbeat {Heartbeat}";
}
