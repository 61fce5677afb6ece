using NodeAgent.Configuration;
using NodeAgent.Facts;

namespace NodeAgent.Desired;

/// <summary>What this machine is called as a node.</summary>
internal static class NodeNames
{
    public static string Of(NodeConfig config, NodeFacts facts) => config.Node.Name switch
    {
        NodeNaming.InstanceId => facts.Instance.Id,
        _ => facts.Instance.PrivateDnsName?.ToLowerInvariant() ?? throw new NotPossibleException(
            $"node.name is privateDnsName and instance metadata has none for {facts.Instance.Id} (local-hostname is not there: DNS hostnames are off in the "
            + "VPC, perhaps); turn them on, or set node.name: instanceId"),
    };
}
