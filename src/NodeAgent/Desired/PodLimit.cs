using System.Globalization;
using System.Numerics;
using NodeAgent.Configuration;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;

namespace NodeAgent.Desired;

/// <summary>How many pods this node takes: node.maxPods, where it is no number.</summary>
internal static class PodLimit
{
    public static int Of(NodeConfig config, NodeFacts facts) => config.Node.MaxPods switch
    {
        { Source: MaxPodsSource.FromPodRange } when config.Network.Plugin == NetworkPlugin.VpcRoutes =>
            Math.Min((1 << (32 - config.Network.NodePrefix)) - 3, ConfigValidation.MaximumMaxPods),
        { Source: MaxPodsSource.FromPodRange } =>
            (int)BigInteger.Min(ConfigValidation.AddressesForPods(config.Network.PodRange!.Value), ConfigValidation.MaximumMaxPods),
        { Source: MaxPodsSource.VpcCni } => VpcCni(facts.Instance.Type),
        var fixedNumber => fixedNumber.Number,
    };

    private static int VpcCni(string type)
    {
        if (VpcCniLimits.Of(type) is not { } limits)
        {
            throw new NotPossibleException(string.Create(
                CultureInfo.InvariantCulture,
                $"node.maxPods is vpcCni, and this version of nodeagent does not know how many addresses an instance of type {type} has; give the number in "
                + $"node.maxPods: "
                + $"interfaces x (IPv4 addresses of each - 1) + 2, with what 'aws ec2 describe-instance-types --instance-types {type} --query "
                + $"\"InstanceTypes[].NetworkInfo\"' says"));
        }

        // The first address of an interface is its own; two pods that every node has, aws-node and kube-proxy, take none (amazon-vpc-cni-k8s,
        // misc/eni-max-pods.txt).
        return (limits.Interfaces * (limits.Addresses - 1)) + 2;
    }
}
