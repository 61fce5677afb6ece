using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// How this node finds the API server: by a name that somebody else looks after (a load balancer, DNS), or by the tags of the control plane's instances, whose
/// addresses then stand in /etc/hosts under the endpoint's name. Kubeconfigs and certificates know the name alone, so nothing else changes when an address
/// does.
/// </summary>
internal static class Endpoint
{
    public const string Unit = "nodeagent-endpoint.service";

    public const string TimerUnit = "nodeagent-endpoint.timer";

    private const string Target = "timers.target";

    /// <summary>Whether whoever reads names on this node has to read /etc/hosts.</summary>
    public static bool IsInHosts(NodeConfig config) => config.Cluster.EndpointFrom == EndpointSource.Tags;

    public static Resource Hosts(NodeConfig config, NodeFacts facts) => !IsInHosts(config) ? new HostsEntry(null, [])
        // The API server that is here is the one to be asked here.
        : new HostsEntry(config.Cluster.Endpoint, config.Node.Role == NodeRole.ControlPlane ? [facts.Instance.PrivateAddress] : facts.ControlPlane ?? []);

    public static IReadOnlyList<Resource> UnitFiles(NodeConfig config, NodeFacts facts) => !Watches(config) ? [] :
    [
        // All it goes by: what this node was made with, and not what its layers say by now.
        new ConfigFile(Concern.Network, $"/etc/systemd/system/{Unit}.d/50-nodeagent.conf", $"""
            {Ownership.Header}
            [Service]{HttpProxy.ServiceLines(config)}
            ExecStart=
            ExecStart=/usr/bin/nodeagent endpoint --cluster {config.Cluster.Name} --server {config.Cluster.Endpoint} --region {facts.Instance.Region}{(
                facts.Instance.Interfaces.FirstOrDefault(i => i.DeviceNumber == 0)?.VpcId is { } vpc ? $" --vpc {vpc}" : "")}

            """),
        new ConfigFile(Concern.Network, $"/etc/systemd/system/{Target}.d/50-{TimerUnit}.conf", $"""
            {Ownership.Header}
            [Unit]
            Wants={TimerUnit}

            """),
    ];

    /// <param name="ready">Its files read by systemd.</param>
    public static Resource Timer(NodeConfig config, Resource ready) => new SystemdTimer(Concern.Network, TimerUnit, runs: Watches(config)) { Needs = [ready] };

    private static bool Watches(NodeConfig config) => IsInHosts(config) && config.Node.Role == NodeRole.Worker;
}
