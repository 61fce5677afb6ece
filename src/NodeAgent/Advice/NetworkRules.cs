using System.Net;
using NodeAgent.Configuration;
using NodeAgent.Facts;
using NodeAgent.Kubernetes;

namespace NodeAgent.Advice;

/// <summary>What a plugin, a proxy or EC2 does that nobody expects of it.</summary>
internal static class NetworkRules
{
    // awslabs/amazon-eks-ami templates/al2/runtime/max-pods-calculator.sh: up to 30 CPUs, and beyond.
    private const int FewProcessors = 30, PodsOnFew = 110, PodsOnMany = 250;

    // Up to 16 addresses more in each place that an address would have (ENABLE_PREFIX_DELEGATION).
    private const int AddressesOfPrefix = 16;

    public static readonly IReadOnlyList<Rule> All =
    [
        new(
            AdviceNames.CiliumEtcdInCluster,
            "Cilium's identities in an etcd of the cluster's own pods: refused",
            "cilium#4314, cilium-etcd-operator#38; identities in Kubernetes' API from Cilium 1.6 on",
            CiliumEtcdInCluster),
        new(
            AdviceNames.ServicesWithoutProxy,
            "`kubeProxy.mode: none` with a plugin that answers no services itself",
            "kubernetes.io/docs/reference/networking/virtual-ips",
            ServicesWithoutProxy),
        new(
            AdviceNames.NetworkdManagesPods,
            "A plugin that makes rules and routes of its own, and systemd-networkd, which may take them away, unrestrained",
            "amazon-vpc-cni-k8s#1600, #3309; cilium#18706; bottlerocket#3436; networkd.conf(5), ManageForeignRoutingPolicyRules=",
            NetworkdManagesPods),
        new(
            AdviceNames.ReadyBeforeCni,
            "`node.readiness.gate: ready` on a control plane node, with a plugin that pods of the cluster set up and no `controlPlane.manifests` that bring it",
            "kubernetes.io/docs/concepts/architecture/nodes, condition Ready; docs/control-plane.md",
            ReadyBeforeCni),
        new(
            AdviceNames.PluginKernel,
            "A kernel before 5.10 with cilium or calico",
            "cilium system_requirements.rst at 00c8811; docs.tigera.io requirements of Calico 3.29",
            PluginKernel),
        new(
            AdviceNames.MaxPodsVpcCni,
            "`node.maxPods`, a number, above what the AWS VPC CNI has addresses for on this type of instance",
            "amazon-vpc-cni-k8s misc/eni-max-pods.txt; docs/prefix-and-ip-target.md",
            MaxPodsVpcCni),
        new(
            AdviceNames.MaxPodsHigh,
            "`node.maxPods`, a number, above 110 on up to 30 CPUs, or above 250",
            "amazon-eks-ami max-pods-calculator.sh, #706; kubernetes/community sig-scalability thresholds.md",
            MaxPodsHigh),
        new(
            AdviceNames.MetadataHopLimit,
            "Metadata's answers go two hops or more, so that pods reach them (where EC2 was asked)",
            "kops#13078; docs.aws.amazon.com/AWSEC2/latest/UserGuide, HttpPutResponseHopLimit; kubeone#3328 for 3 with Cilium",
            MetadataHopLimit),
        new(
            AdviceNames.HookWithoutGroup,
            "A lifecycle hook on an instance whose group no tag names",
            "docs/growing.md",
            HookWithoutGroup),
    ];

    /// <summary>No pod starts without an identity, and those of etcd do neither.</summary>
    private static IEnumerable<Fired> CiliumEtcdInCluster(Subject s)
    {
        if (s.Config.Network.Cilium is not { Identities: CiliumIdentities.Etcd } cilium)
        {
            yield break;
        }

        const string Loop =
            "Cilium gives no pod a network before it has reached its etcd, and that etcd's own pods need one: after the cluster was down as a whole, none of "
                + "it comes back";
        const string ToDo = "network.cilium.identities: crd, or an etcd that stands by itself (on machines of its own, or static pods of the host's network)";
        if (cilium.Etcd.Count == 0)
        {
            yield return new(
                $"{s.Said("network.cilium.identities", "etcd")} and network.cilium.etcd names none, so it is the one that the cluster's operator "
                    + $"starts. {Loop}",
                ToDo,
                IsFatal: true);
        }

        for (var i = 0; i < cilium.Etcd.Count; i++)
        {
            if (IsOfCluster(s.Config, cilium.Etcd[i].Host))
            {
                yield return new(
                    $"{s.Said($"network.cilium.etcd[{i}]", cilium.Etcd[i].OriginalString)} is an address of the cluster's own. {Loop}", ToDo, IsFatal: true);
            }
        }
    }

    private static bool IsOfCluster(NodeConfig config, string host) => IPAddress.TryParse(host, out var address)
        ? config.Cluster.ServiceRange.Contains(address) || config.Cluster.PodRange?.Contains(address) == true
        : host.EndsWith(".svc", StringComparison.Ordinal) || host.EndsWith($".{config.Cluster.Domain}", StringComparison.Ordinal);

    private static IEnumerable<Fired> ServicesWithoutProxy(Subject s)
    {
        var plugin = s.Config.Network.Plugin;
        if (s.ProxyMode == "none" && plugin is NetworkPlugin.Bridge or NetworkPlugin.VpcRoutes or NetworkPlugin.Flannel or NetworkPlugin.AwsVpcCni)
        {
            yield return new(
                $"{s.Said("kubeProxy.mode", "none")}, and {s.Said("network.plugin", ConfigValidation.Word(plugin))}, which answers no services: nobody does "
                + "on this node, "
                + "not those of DNS nor of Kubernetes' API, unless the cluster brings a kube-proxy of its own",
                $"kubeProxy.mode: iptables; or, where a DaemonSet runs kube-proxy, advice: {{{AdviceNames.ServicesWithoutProxy}: ignore}}");
        }
    }

    private static IEnumerable<Fired> NetworkdManagesPods(Subject s)
    {
        var network = s.Config.Network;
        if (s.Facts?.Kernel.SystemdNetworkd == true && !network.RestrainNetworkd
            && network.Plugin is NetworkPlugin.Cilium or NetworkPlugin.Calico or NetworkPlugin.Flannel or NetworkPlugin.AwsVpcCni)
        {
            yield return new(
                $"{s.Said("network.plugin", ConfigValidation.Word(network.Plugin))}, {s.Said("network.restrainNetworkd", "false")}, and systemd-networkd is "
                + "at work on this machine: "
                + "when it starts anew or an interface comes, it may remove the plugin's rules and routes, and pods are cut off",
                "network.restrainNetworkd: true");
        }
    }

    /// <summary>The agent itself waits for nobody's plugin; who waits for the agent may be the one that installs it.</summary>
    private static IEnumerable<Fired> ReadyBeforeCni(Subject s)
    {
        if (s.Config is { Node: { Role: NodeRole.ControlPlane, Readiness.Gate: ReadinessGate.Ready }, ControlPlane: { StaticPods: true, Manifests: null } }
            && s.Config.Network.Plugin is not (NetworkPlugin.Bridge or NetworkPlugin.VpcRoutes) and var plugin)
        {
            yield return new(
                $"{s.Said("node.readiness.gate", "ready")}, {s.Said("network.plugin", ConfigValidation.Word(plugin))}, and no controlPlane.manifests bring "
                + "it: the node is Ready when its plugin runs, "
                + "and where the plugin is installed by somebody who waits for the node (a launch hook, Terraform), neither comes",
                "controlPlane.manifests with the plugin's, or node.readiness.gate: healthy on control plane nodes");
        }
    }

    private static IEnumerable<Fired> PluginKernel(Subject s)
    {
        // Red Hat's 4.18 has what it takes.
        if (s.Config.Network.Plugin is NetworkPlugin.Cilium or NetworkPlugin.Calico && s.Facts?.Kernel.Release is { } release
            && !release.Contains(".el8", StringComparison.Ordinal)
            && ReleaseNumber.Parse(release) is { } kernel && kernel < new Version(5, 10))
        {
            yield return new(
                $"this machine's kernel is {release}, and {s.Said("network.plugin", ConfigValidation.Word(s.Config.Network.Plugin))}, whose current releases "
                    + "want 5.10 or later",
                "an image with a newer kernel, or a release of the plugin that takes this one");
        }
    }

    private static IEnumerable<Fired> MaxPodsVpcCni(Subject s)
    {
        if (s.Config is not { Network.Plugin: NetworkPlugin.AwsVpcCni, Node.MaxPods: { Source: MaxPodsSource.Number, Number: var wanted } }
            || s.Facts?.Instance.Type is not { } type || VpcCniLimits.Of(type) is not { } limits)
        {
            yield break;
        }

        var addresses = limits.Interfaces * (limits.Addresses - 1);
        var most = addresses + 2;
        if (wanted > most)
        {
            var prefixes = (addresses * AddressesOfPrefix) + 2;
            yield return new(
                $"{s.Said("node.maxPods", wanted)}, and the AWS VPC CNI has addresses for {most} pods on an {type} ({limits.Interfaces} interfaces of "
                + $"{limits.Addresses}): the scheduler sends more, and they wait for an address"
                + (wanted <= prefixes
                    ? $"; with prefixes instead of addresses (ENABLE_PREFIX_DELEGATION) there are {prefixes}"
                    : $", with prefixes instead of addresses, too ({prefixes})"),
                wanted <= prefixes
                    ? $"node.maxPods: vpcCni, or, with prefix delegation, advice: {{{AdviceNames.MaxPodsVpcCni}: ignore}}"
                    : "node.maxPods: vpcCni");
        }
    }

    private static IEnumerable<Fired> MaxPodsHigh(Subject s)
    {
        if (s.Facts is { } facts && s.Config.Node.MaxPods is { Source: MaxPodsSource.Number, Number: var wanted }
            && (facts.Hardware.Processors > FewProcessors ? PodsOnMany : PodsOnFew) is var most && wanted > most)
        {
            yield return new(
                $"{s.Said("node.maxPods", wanted)}, on {facts.Hardware.Processors} CPUs: AWS takes {most} for the most that kubelet and runtime keep up with "
                    + "there, and Kubernetes is tested with 110 a node",
                $"{most} or fewer, or try it under load");
        }
    }

    private static IEnumerable<Fired> MetadataHopLimit(Subject s)
    {
        if (s.Facts?.Instance.MetadataHopLimit is >= 2 and var hops)
        {
            var proof = s.Config.Certificates.Source == CertificateSourceKind.Issuer
                ? ", and ask the issuer for this node's certificates as if they were it" : "";
            yield return new(
                $"instance metadata answers over {hops} hops, so every pod that has no network policy against it reads user data and takes the node's "
                    + $"role{proof}",
                "HttpPutResponseHopLimit=1 in the launch template, and roles for service accounts to pods that need AWS; or, where pods are kept off by "
                    + $"policy, advice: {{{AdviceNames.MetadataHopLimit}: ignore}}");
        }
    }

    private static IEnumerable<Fired> HookWithoutGroup(Subject s)
    {
        if (s.Facts?.Instance is { LifecycleState: { } state, Tags: var tags } && !tags.ContainsKey(InstanceFacts.GroupTag)
            && (s.Config.Autoscaling.LaunchHook is null ? "autoscaling.terminateHook" : "autoscaling.launchHook") is var path
            && (s.Config.Autoscaling.LaunchHook ?? s.Config.Autoscaling.TerminateHook) is { } hook)
        {
            yield return new(
                $"{s.Said(path, hook)} and is nobody's: the instance has a target lifecycle state ({state}) and no tag {InstanceFacts.GroupTag}, so its group "
                    + "is not known",
                "let the agent see the tag: it is Auto Scaling's own, and metadata (InstanceMetadataTags) or ec2:DescribeTags shows it");
        }
    }
}
