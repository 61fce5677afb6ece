using NodeAgent.Convergence;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// Holds back the runtime and kubelet until the node is prepared in this boot. The drop-ins come with the package, so that systemd knows them without reading
/// its units again, and say nothing until the gate is armed: the first run of the agent at boot does that before anything else, even before it knows its
/// configuration. Installing the package alone changes nothing for the services of a machine.
/// </summary>
internal static class BootGate
{
    /// <summary>In /run, so that every boot begins without it; stopping or restarting the agent's unit leaves it.</summary>
    public const string StampPath = "/run/nodeagent/prepared";

    /// <summary>Outlives boots: from the first one on, no container starts before the agent says so, whatever becomes of its unit.</summary>
    private const string ArmedPath = "/var/lib/nodeagent/gate";

    // A condition, not an assertion: waiting is no failure.
    private const string WhileWarm = $"# An instance that waits in a warm pool is no node.\nConditionPathExists=!{Lifecycle.WarmPath}\n";

    private static readonly string[] Units = ["containerd.service", "docker.service", "kubelet.service"];

    /// <summary>The gate and nothing else, in force: what a boot begins with.</summary>
    public static ResourceList Closed()
    {
        var dropIns = DropIns();
        return new ResourceList([Armed(), .. dropIns, new SystemdManager(Concern.Runtime, "gate", Units) { Needs = dropIns, Inputs = dropIns }]);
    }

    public static Resource Armed() => new ConfigFile(
        Concern.Runtime,
        ArmedPath,
        $"{Ownership.Header}\nWhile this file is here, runtime and kubelet start only once the agent has prepared the machine in the same boot.\n");

    /// <summary>As the package brings them; written again where they were lost.</summary>
    public static IReadOnlyList<Resource> DropIns() =>
    [
        .. Units.Select(unit => new ConfigFile(Concern.Runtime, $"/usr/lib/systemd/system/{unit}.d/10-nodeagent-gate.conf", $"""
            {Ownership.Header}
            [Unit]
            After=nodeagent.service
            # Any will do: the node was prepared in this boot, no boot has gone through the agent yet, or the agent is gone from the machine.
            AssertPathExists=|{StampPath}
            AssertPathExists=|!{ArmedPath}
            AssertPathExists=|!/usr/bin/nodeagent
            {(unit == Kubelet.Unit ? WhileWarm : "")}
            """)),
    ];

    /// <summary>Everything that must hold before the first container may start.</summary>
    public static Resource Stamp(IReadOnlyList<Resource> prepared) =>
        new ConfigFile(Concern.Runtime, StampPath, "This machine was prepared by NodeAgent in this boot.\n") { Needs = prepared };
}
