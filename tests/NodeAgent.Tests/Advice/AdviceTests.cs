using NodeAgent.Advice;
using NodeAgent.Configuration;
using NodeAgent.Facts;
using NodeAgent.Tests.Simulation;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Advice;

/// <summary>Each rule with what fires it, and with the same node when it does not.</summary>
public class AdviceTests
{
    private const string Plugin = "network: {podRange: null, plugin: ";

    private const string Store = "node: {role: control-plane}\ncertificates: {source: store, store: s3://pki/blue}\n";

    /// <summary>By rule: what fires it, and how it is said; the last one does not.</summary>
    public static TheoryData<string, Situation, Situation> Rules() => new()
    {
        {
            AdviceNames.IpvsManyServices,
            new("") { Kubelet = "1.34.1", ProxyMode = "ipvs", Says = "kubeProxy.mode is ipvs" },
            new("") { Kubelet = "1.37.0", ProxyMode = "ipvs" }
        },
        { AdviceNames.IpvsManyServices, new("")
        {
            Kubelet = "1.34.1",
            ProxyMode = "ipvs",
            Says = "kube-proxy is 1.34, and cluster.serviceRange is 10.96.0.0/12 (the default)",
        }, new("") { Kubelet = "1.34.1" } },
        {
            AdviceNames.IpvsManyServices,
            new("kubeProxy: {image: 'example.com/kube-proxy:v1.33.2'}") { Kubelet = "1.20.2", ProxyMode = "ipvs", Says = "kube-proxy is 1.33" },
            new("cluster: {serviceRange: 10.96.0.0/24}") { Kubelet = "1.33.2", ProxyMode = "ipvs" }
        },
        { AdviceNames.IpvsDeprecated, new("") { Kubelet = "1.35.0", ProxyMode = "ipvs", Says = "IPVS is deprecated from 1.35 on" }, new("")
        {
            Kubelet = "1.34.9",
            ProxyMode = "ipvs",
        } },
        // ServiceProxyTests has the refusal, which no name takes back.
        { AdviceNames.IpvsDeprecated, new("") { Kubelet = "1.39.2", ProxyMode = "ipvs", Says = "kube-proxy is 1.39" }, new("")
        {
            Kubelet = "1.40.0",
            ProxyMode = "ipvs",
        } },
        {
            AdviceNames.IpvsDeprecated,
            new("kubeProxy: {image: 'example.com/kube-proxy:stable'}") { Kubelet = "1.35.0", ProxyMode = "ipvs", Says = "kube-proxy is 1.35" },
            new("kubeProxy: {image: 'example.com/kube-proxy:v1.34.0'}") { Kubelet = "1.35.0", ProxyMode = "ipvs" }
        },
        { AdviceNames.CgroupV1, new("") { Kubelet = "1.33.1", Cgroup = 1, Says = "cgroup v1, which kubelet 1.33 only maintains" }, new("")
        {
            Kubelet = "1.30.9",
            Cgroup = 1,
        } },
        { AdviceNames.CgroupV1, new("") { Kubelet = "1.31.0", Cgroup = 1, Says = "cgroup v1" }, new("") { Kubelet = "1.33.1" } },
        { AdviceNames.Containerd1, new("") { Kubelet = "1.36.0", Says = "containerd is 1.7.24 and kubelet 1.36" }, new("")
        {
            Kubelet = "1.36.0",
            Containerd = "2.1.0",
        } },
        { AdviceNames.Containerd1, new("") { Kubelet = "1.38.0", Says = "from 1.38 on it does not start", IsRefused = true }, new("") { Kubelet = "1.35.2" } },
        { AdviceNames.Containerd2, new("") { Kubelet = "1.29.3", Containerd = "2.0.4", Says = "containerd is 2.0.4 and kubelet 1.29" }, new("")
        {
            Kubelet = "1.30.0",
            Containerd = "2.0.4",
        } },
        { AdviceNames.Containerd2, new("") { Kubelet = "1.24.0", Containerd = "2.0.4", Says = "nobody tests them together" }, new("runtime: docker")
        {
            Kubelet = "1.24.0",
            Containerd = "2.0.4",
        } },
        { AdviceNames.SandboxImageCollected, new("") { Kubelet = "1.30.0", Containerd = "1.7.2", Says = "the sandbox image may be deleted" }, new("")
        {
            Kubelet = "1.28.0",
            Containerd = "1.7.2",
        } },
        {
            AdviceNames.EtcdInconsistency,
            new(Store + "etcd: {image: 'registry.k8s.io/etcd:3.5.5-0'}") { Says = "etcd.image is registry.k8s.io/etcd:3.5.5-0 (node.yaml:5:" },
            new(Store + "etcd: {image: 'registry.k8s.io/etcd:3.5.6-0'}")
        },
        {
            AdviceNames.EtcdInconsistency,
            new(Store) { Says = "etcd.image is said by no layer, so it is 3.4.13-0, as kubeadm 1.20 has it, and a single member of etcd 3.4.13" },
            new(Store) { Kubelet = "1.28.15" }
        },
        {
            AdviceNames.EtcdInconsistency,
            new(Store + "etcd: {image: 'etcd:v3.4.19'}") { Says = "a single member of etcd 3.4.19, as runs here, may lose in a crash" },
            new(Store + "etcd: {image: 'etcd:v3.4.22'}")
        },
        { AdviceNames.EtcdInconsistency, new(Store + "etcd: {image: 'etcd:v3.4.20'}") { Says = "etcd 3.4.20" }, new("etcd: {image: 'etcd:v3.4.20'}") },
        {
            AdviceNames.EcrCredentials,
            new("kubeProxy: {image: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/kube-proxy:v1.30.0'}")
            {
                Kubelet = "1.30.0",
                Says = "no password for 123456789012.dkr.ecr.eu-central-1.amazonaws.com",
            },
            new(
                "kubeProxy: {image: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/kube-proxy:v1.30.0'}\nkubelet: {credentialProviders: "
                    + "{ecr-credential-provider: {}}}") { Kubelet = "1.30.0" }
        },
        {
            AdviceNames.EcrCredentials,
            new(Store + "apiServer: {image: '123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/kube-apiserver:v1.30.0'}")
            {
                Kubelet = "1.30.0",
                Says = "apiServer.image is",
            },
            new("kubeProxy: {image: 'public.ecr.aws/kube-proxy:v1.30.0'}") { Kubelet = "1.30.0" }
        },
        { AdviceNames.Unlisted, new("")
        {
            Allowed = "kubelet.extraArgs.brand-new: nobody knows it",
            Says = "kubelet.extraArgs.brand-new: nobody knows it",
        }, new("") },
        {
            AdviceNames.CiliumEtcdInCluster,
            new(Plugin + "cilium, cilium: {identities: etcd}}") { Says = "network.cilium.identities is etcd (node.yaml:3:", IsRefused = true },
            new(Plugin + "cilium, cilium: {identities: crd}}")
        },
        {
            AdviceNames.CiliumEtcdInCluster,
            new(Plugin + "cilium, cilium: {identities: etcd, etcd: ['https://10.0.0.9:2379', 'https://cilium-etcd-client.kube-system.svc:2379']}}")
            {
                Says = "network.cilium.etcd[1] is https://cilium-etcd-client.kube-system.svc:2379", IsRefused = true,
            },
            new(Plugin + "cilium, cilium: {identities: etcd, etcd: ['https://10.0.0.9:2379', 'https://etcd.example.com:2379']}}")
        },
        {
            AdviceNames.CiliumEtcdInCluster,
            new(Plugin + "cilium, cilium: {identities: etcd, etcd: ['https://10.96.0.77:2379']}}")
            {
                Says = "is an address of the cluster's own",
                IsRefused = true,
            },
            new(Plugin + "cilium}")
        },
        { AdviceNames.ServicesWithoutProxy, new("kubeProxy: {mode: none}")
        {
            Says = "kubeProxy.mode is none (node.yaml:3:19), and network.plugin is bridge (the default",
        }, new("") },
        { AdviceNames.ServicesWithoutProxy, new("kubeProxy: {mode: none}\n" + Plugin + "flannel}")
        {
            Says = "network.plugin is flannel",
        }, new("kubeProxy: {mode: none}\n" + Plugin + "cilium}") },
        { AdviceNames.NetworkdManagesPods, new(Plugin + "aws-vpc-cni}")
        {
            Networkd = true,
            Says = "network.restrainNetworkd is false (the default",
        }, new(Plugin + "aws-vpc-cni, restrainNetworkd: true}") { Networkd = true } },
        { AdviceNames.NetworkdManagesPods, new(Plugin + "cilium}") { Networkd = true, Says = "network.plugin is cilium" }, new("") { Networkd = true } },
        {
            AdviceNames.ReadyBeforeCni,
            new("node: {role: control-plane, readiness: {gate: ready}}\ncertificates: {source: store, store: s3://pki/blue}\n" + Plugin + "cilium}")
            {
                Says = "node.readiness.gate is ready (node.yaml:3:",
            },
            new(
                "node: {role: control-plane, readiness: {gate: ready}}\ncertificates: {source: store, store: s3://pki/blue}\ncontrolPlane: {manifests: "
                    + "s3://pki/manifests}\n" + Plugin + "cilium}")
        },
        {
            AdviceNames.ReadyBeforeCni,
            new("node: {role: control-plane, readiness: {gate: ready}}\ncertificates: {source: store, store: s3://pki/blue}\n" + Plugin + "none}")
            {
                Says = "network.plugin is none",
            },
            new("node: {readiness: {gate: ready}}\n" + Plugin + "cilium}")
        },
        { AdviceNames.PluginKernel, new(Plugin + "cilium}") { Kernel = "5.4.0-1103-aws", Says = "kernel is 5.4.0-1103-aws" }, new(Plugin + "cilium}")
        {
            Kernel = "5.10.0-33-cloud-amd64",
        } },
        { AdviceNames.PluginKernel, new(Plugin + "calico}") { Kernel = "4.14.300", Says = "network.plugin is calico" }, new(Plugin + "calico}")
        {
            Kernel = "4.18.0-553.el8_10.x86_64",
        } },
        { AdviceNames.MaxPodsVpcCni, new(Plugin + "aws-vpc-cni}\nnode: {maxPods: 250}")
        {
            Says = "node.maxPods is 250 (node.yaml:4:17), and the AWS VPC CNI has addresses for 234 pods on an m5d.4xlarge (8 interfaces of 30)",
        }, new(Plugin + "aws-vpc-cni}\nnode: {maxPods: 234}") },
        { AdviceNames.MaxPodsVpcCni, new(Plugin + "aws-vpc-cni}\nnode: {maxPods: 1000}")
        {
            Says = "(ENABLE_PREFIX_DELEGATION) there are 3714",
        }, new(Plugin + "aws-vpc-cni}\nnode: {maxPods: vpcCni}") },
        { AdviceNames.MaxPodsHigh, new("node: {maxPods: 111}")
        {
            Says = "node.maxPods is 111 (node.yaml:3:17), on 16 CPUs: AWS takes 110",
        }, new("node: {maxPods: 110}") },
        { AdviceNames.MaxPodsHigh, new("node: {maxPods: 251}") { Processors = 96, Says = "AWS takes 250" }, new("node: {maxPods: 111}") { Processors = 96 } },
        { AdviceNames.MetadataHopLimit, new("") { Hops = 2, Says = "answers over 2 hops" }, new("") { Hops = 1 } },
        { AdviceNames.MetadataHopLimit, new("certificates: {source: issuer}") { Hops = 3, Says = "ask the issuer for this node's certificates" }, new("") },
        { AdviceNames.HookWithoutGroup, new("autoscaling: {launchHook: up}")
        {
            Lifecycle = "InService",
            Says = "autoscaling.launchHook is up (node.yaml:3:27) and is nobody's",
        }, new("autoscaling: {launchHook: up}") },
        { AdviceNames.HookWithoutGroup, new("autoscaling: {terminateHook: down}")
        {
            Lifecycle = "InService",
            Says = "autoscaling.terminateHook is down",
        }, new("autoscaling: {launchHook: up}") { Lifecycle = "InService", Group = "workers" } },
        { AdviceNames.PodRangeInVpc, new("")
        {
            Vpc = "10.32.128.0/17",
            Says = "cluster.podRange 10.32.0.0/16 (/etc/nodeagent/config.d/10-base.yaml:6:13) overlaps the VPC's range 10.32.128.0/17",
        }, new("") { Vpc = "10.33.0.0/16" } },
        { AdviceNames.PodRangeInVpc, new(Plugin + "vpc-routes}")
        {
            Vpc = "10.0.0.0/8",
            Says = "EC2 takes no routes",
            IsRefused = true,
        }, new(Plugin + "aws-vpc-cni}") { Vpc = "10.0.0.0/8" } },
        {
            AdviceNames.PodRangeReused,
            new(Plugin + "vpc-routes, otherPods: {green: [10.48.0.0/16, 10.32.64.0/18]}}")
            {
                Says = "overlaps network.otherPods.green 10.32.64.0/18 (node.yaml:3:",
                IsRefused = true,
            },
            new(Plugin + "cilium, otherPods: {green: [10.32.0.0/16]}}")
        },
        { AdviceNames.PodRangeReused, new("network: {otherPods: {green: [10.32.0.0/16]}}")
        {
            Says = "network.plugin is bridge",
        }, new(Plugin + "vpc-routes, otherPods: {green: [10.33.0.0/16]}}") },
        {
            AdviceNames.RangesOverlap,
            new("network: {peers: {office: [192.168.0.0/16, 10.0.0.0/10]}}")
            {
                Says = "cluster.podRange 10.32.0.0/16 (/etc/nodeagent/config.d/10-base.yaml:6:13) overlaps network.peers.office 10.0.0.0/10 (node.yaml:3:",
            },
            new("network: {peers: {office: [192.168.0.0/16]}}")
        },
        { AdviceNames.RangesOverlap, new("") { Vpc = "10.96.0.0/16", Says = "cluster.serviceRange 10.96.0.0/12 (the default" }, new("")
        {
            Vpc = "10.0.0.0/16",
        } },
        { AdviceNames.RangesOverlap, new("network: {peers: {office: [10.0.0.0/24]}}")
        {
            Vpc = "10.0.0.0/16",
            Says = "the VPC's range 10.0.0.0/16 overlaps network.peers.office 10.0.0.0/24",
        }, new("network: {otherPods: {green: [10.112.0.0/16]}}") },
    };

    [Theory]
    [MemberData(nameof(Rules))]
    public void A_rule_fires_where_the_trap_is_and_nowhere_else(string name, Situation trap, Situation same)
    {
        var fired = trap.Advice().Where(a => a.Name == name).ToList();

        fired.ShouldNotBeEmpty($"{name} does not fire");
        fired[0].Says.ShouldContain(trap.Says!);
        fired.ShouldAllBe(a => a.IsRefused == trap.IsRefused);
        fired.ShouldAllBe(a => a.ToDo.Length > 10 && !a.Says.EndsWith('.') && !a.ToDo.EndsWith('.'));
        same.Advice().Where(a => a.Name == name).Select(a => a.Says).ShouldBeEmpty();
    }

    [Fact]
    public void Every_rule_has_a_name_of_its_own_that_the_configuration_knows_and_cases_here()
    {
        Advisor.Rules.Select(r => r.Name).ShouldBe(AdviceNames.All);
        Rules().Select(r => (string)r[0]!).Distinct().ShouldBe(AdviceNames.All, ignoreOrder: true);
        Advisor.Rules.ShouldAllBe(r => r.Reference.Length > 0 && r.About.Length > 0);
    }

    [Fact]
    public void The_table_of_the_documentation_is_what_the_rules_are()
    {
        const string Begin = "<!-- rules: drawn from the code by AdviceTests; NODEAGENT_GOLDEN=write draws them again -->\n", End = "<!-- end of rules -->\n";
        var path = Path.Join(Repository.Folder, "docs", "advice.md");
        var page = File.ReadAllText(path);
        var (begin, end) = (page.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length, page.IndexOf(End, StringComparison.Ordinal));
        var table = "| name | fires on | from |\n|---|---|---|\n" + string.Concat(Advisor.Rules.Select(r => $"| `{r.Name}` | {r.About} | {r.Reference} |\n"));
        if (Repository.IsRewriting)
        {
            File.WriteAllText(path, page[..begin] + table + page[end..]);
            return;
        }

        page[begin..end].ShouldBe(table, "rules changed; NODEAGENT_GOLDEN=write draws the table again");
    }

    [Fact]
    public void A_rule_that_is_ignored_by_name_says_nothing() =>
        new Situation("node: {maxPods: 111}\nadvice: {max-pods-high: ignore}").Advice().ShouldBeEmpty();

    [Fact]
    public void A_rule_that_is_refused_by_name_refuses_and_says_how_to_take_it_back()
    {
        var advisory = new Situation("node: {maxPods: 111}\nadvice: {max-pods-high: refuse}").Advice().ShouldHaveSingleItem();

        advisory.IsRefused.ShouldBeTrue();
        advisory.Remedy.ShouldEndWith("advice: {max-pods-high: warn}");
    }

    [Fact]
    public void What_a_rule_refuses_by_itself_may_be_taken_by_name() =>
        new Situation(Plugin + "cilium, cilium: {identities: etcd}}\nadvice: {cilium-etcd-in-cluster: warn}").Advice().ShouldHaveSingleItem()
            .IsRefused.ShouldBeFalse();

    [Fact]
    public void Layers_above_change_one_rule_and_leave_the_others() =>
        Load(Document("a.yaml", Head + "advice: {max-pods-high: refuse, cgroup-v1: ignore}\n"), Document("b.yaml", Head + "advice: {max-pods-high: warn}\n"))
            .Config.Advice.ShouldBe(
                new Dictionary<string, AdviceLevel> { ["cgroup-v1"] = AdviceLevel.Ignore, ["max-pods-high"] = AdviceLevel.Warn }, ignoreOrder: true);

    [Fact]
    public void A_name_that_no_rule_has_is_an_error() => ErrorsOf("advice: {max-pod-high: ignore, x: warn, cgroup-v1: never}").ShouldBe(
        ["node.yaml:3:52: advice.cgroup-v1: expected one of warn, refuse, ignore, found the text 'never'"]);

    [Fact]
    public void A_name_that_is_nearly_a_rules_is_told_with_the_right_one()
    {
        var errors = ErrorsOf("advice: {max-pod-high: ignore, x: warn}");

        errors[0].ShouldBe("node.yaml:3:24: advice.max-pod-high: there is no rule 'max-pod-high'; did you mean 'max-pods-high'?");
        errors[1].ShouldStartWith("node.yaml:3:35: advice.x: there is no rule 'x'; expected one of cgroup-v1, cilium-etcd-in-cluster, ");
    }

    [Fact]
    public void Etcd_of_a_release_with_both_traps_is_told_of_both()
    {
        static IEnumerable<string> ToDo(string image) => new Situation($"{Store}etcd: {{image: '{image}'}}").Advice()
            .Where(a => a.Name == AdviceNames.EtcdInconsistency).Select(a => a.ToDo.Split(';')[0]);

        ToDo("etcd:v3.5.4").ShouldBe(["etcd 3.4.22, 3.5.6 or later of its minor", "an image of etcd 3.5.6 or later by etcd.image"]);
        ToDo("etcd:v3.5.5").ShouldHaveSingleItem();
    }

    [Fact]
    public void A_sound_node_is_left_in_peace() => new Situation("").Advice().ShouldBeEmpty();

    [Fact]
    public void Without_facts_rules_that_need_them_are_silent_and_the_others_are_not() =>
        Advisor.Of(new(LoadText("node: {maxPods: 111}\nkubeProxy: {mode: none}"), null, [])).Select(a => a.Name).ShouldBe([AdviceNames.ServicesWithoutProxy]);

    /// <summary>A configuration over the base, and a machine.</summary>
    public sealed record Situation(string Config)
    {
        public string Kubelet { get; init; } = "1.20.2";

        public string Containerd { get; init; } = "1.7.24";

        public int Cgroup { get; init; } = 2;

        public string? ProxyMode { get; init; }

        public string? Allowed { get; init; }

        public bool? Networkd { get; init; }

        public string Kernel { get; init; } = "6.12.0-cloud-amd64";

        public int Processors { get; init; } = 16;

        public int? Hops { get; init; }

        public string? Lifecycle { get; init; }

        public string? Group { get; init; }

        public string? Vpc { get; init; }

        public string? Says { get; init; }

        public bool IsRefused { get; init; }

        internal IReadOnlyList<Advisory> Advice()
        {
            var facts = Worker.ExampleFacts();
            var first = facts.Instance.Interfaces[0] with { VpcRanges = Vpc is null ? null : [Vpc] };
            facts = facts with
            {
                Instance = facts.Instance with
                {
                    MetadataHopLimit = Hops,
                    LifecycleState = Lifecycle,
                    Tags = Group is null ? new Dictionary<string, string>() : new Dictionary<string, string> { [InstanceFacts.GroupTag] = Group },
                    Interfaces = [first],
                },
                Hardware = facts.Hardware with { Processors = Processors },
                Kernel = facts.Kernel with { Release = Kernel, CgroupVersion = Cgroup, SystemdNetworkd = Networkd },
                Versions = facts.Versions with { Kubelet = Kubelet, Containerd = Containerd },
            };
            var loaded = LoadText(Config);
            var subject = new Subject(loaded, facts, Allowed is null ? [] : [Allowed]);
            return Advisor.Of(ProxyMode is null ? subject : subject with { ProxyMode = ProxyMode });
        }
    }
}
