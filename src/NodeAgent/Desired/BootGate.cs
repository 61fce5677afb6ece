using NodeAgent.Convergence;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// Holds back the runtime and kubelet until the node is prepared in this boot. The first run of the agent at boot closes it before anything else, even before it knows
/// its configuration; installing the package alone changes nothing for the services of a machine.
/// </summary>
internal static class BootGate
{
    /// <summary>In /run, so that every boot begins without it; stopping or restarting the agent's unit leaves it.</summary>
    public const string StampPath = "/run/nodeagent/prepared";

    private static readonly string[] Units = ["containerd.service", "docker.service", "kubelet.service"];

    /// <summary>The gate and nothing else, in force: what a boot begins with.</summary>
    public static ResourceList Closed()
    {
        var files = Files();
        return new ResourceList([.. files, new SystemdManager(Concern.Runtime, "gate", Units) { Needs = files, Inputs = files }]);
    }

    public static IReadOnlyList<Resource> Files() =>
    [
        .. Units.Select(unit => new ConfigFile(Concern.Runtime, $"/etc/systemd/system/{unit}.d/10-nodeagent-gate.conf", $"""
            {Ownership.Header}
            [Unit]
            After=nodeagent.service
            # Either will do: the node was prepared in this boot, or the agent is gone from the machine.
            AssertPathExists=|{StampPath}
            AssertPathExists=|!/usr/bin/nodeagent

            """)),
    ];

    /// <summary>Everything that must hold before the first container may start.</summary>
    public static Resource Stamp(IReadOnlyList<Resource> prepared) =>
        new ConfigFile(Concern.Runtime, StampPath, "This machine was prepared by NodeAgent in this boot.\n") { Needs = prepared };
}
