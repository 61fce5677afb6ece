using NodeAgent.Configuration;
using NodeAgent.Network;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Configuration;

public class LoadingTests
{
    [Fact]
    public void Defaults_hold_where_no_layer_says_otherwise()
    {
        var config = Load().Config;
        config.Node.MaxPods.Number.ShouldBe(110);
        config.Node.Name.ShouldBe(NodeNaming.PrivateDnsName);
        config.Storage.Volumes["runtime"].Size.ShouldBe(new VolumeSize(null, 60));
        config.Storage.Volumes["podlogs"].Options.ShouldBe(["noatime", "nodiscard", "nodev", "nosuid", "noexec"]);
        config.Kernel.Sysctls["net.ipv4.ip_forward"].ShouldBe("1");
        config.Certificates.Lifetime.Value.ShouldBe(TimeSpan.FromDays(90));
        config.Cluster.ServiceRange.ShouldBe(Cidr.Parse("10.96.0.0/12"));
        config.Kubelet.KubeReserved.ShouldBeNull();
        config.Kubelet.Configuration.GetRawText().ShouldBe("{}");
        config.Network.PodRange.ShouldBe(Cidr.Parse("10.32.7.0/24"));
    }

    [Fact]
    public void Later_layers_win_and_maps_merge_lists_replace_null_removes()
    {
        var loaded = Load(
            Document("a", Head + "node:\n  labels: {a: 1, b: two, c: three}\n  maxPods: 20\nkernel:\n  modules: [one, two]\n"),
            Document("b", Head + "node:\n  labels: {b: zwei, c: null}\nkernel:\n  modules: [three]\n  sysctls: null\nstorage:\n  volumes: {podlogs: null}\n"));
        loaded.Config.Node.Labels.ShouldBe(new Dictionary<string, string> { ["a"] = "1", ["b"] = "zwei" }, ignoreOrder: true);
        loaded.Config.Node.MaxPods.Number.ShouldBe(20);
        loaded.Config.Kernel.Modules.ShouldBe(["three"]);
        loaded.Config.Kernel.Sysctls.ShouldBeEmpty();
        loaded.Config.Storage.Volumes.Keys.ShouldBe(["kubelet", "runtime"]);
    }

    [Fact]
    public void A_volume_without_options_and_a_mirror_without_headers_have_none()
    {
        var config = LoadText(
            "storage:\n  volumes:\n    scratch: {mount: /mnt/scratch, size: 5%, filesystem: ext4}\ncontainerd:\n  mirrors:\n    docker.io: {endpoints: "
                + "[https://mirror.example.com]}\n").Config;
        config.Storage.Volumes["scratch"].Options.ShouldBeEmpty();
        config.Containerd.Mirrors["docker.io"].Headers.ShouldBeEmpty();
    }

    [Fact]
    public void Every_value_knows_where_it_was_written()
    {
        var loaded = LoadText("node:\n  maxPods: 58\n  labels:\n    tier: front\n");
        loaded.OriginOf("node.maxPods").ToString().ShouldBe("node.yaml:4:12");
        loaded.OriginOf("node.labels.tier").ToString().ShouldBe("node.yaml:6:11");
        loaded.OriginOf("kernel.sysctls[net.ipv4.ip_forward]")!.Value.Layer.ShouldBe("defaults");
        loaded.OriginOf("cluster.name").ToString().ShouldBe("/etc/nodeagent/config.d/10-base.yaml:4:9");
        loaded.OriginOf("network.podRange").ToString().ShouldNotBeNull().ShouldStartWith("/etc/nodeagent/config.d/10-base.yaml:");
    }

    [Fact]
    public void Json_is_yaml_tabs_and_all()
    {
        var config = Load(
            Document(
                "a.json",
                "{\n\t\"apiVersion\": \"nodeagent\\/v1\",\n\t\"kind\": \"NodeConfig\",\n\t\"node\": {\"maxPods\": 7},\n\t\"kubelet\": {\"extraArgs\": {\"a\": "
                    + "\"\\u00e4\"}}\n}\n")).Config;
        config.Node.MaxPods.Number.ShouldBe(7);
        config.Kubelet.ExtraArgs["a"].ShouldBe("ä");
    }

    [Fact]
    public void Kubelet_configuration_is_kept_as_it_is_with_its_nulls()
    {
        var config = LoadText(
            "kubelet:\n  configuration:\n    evictionHard: {memory.available: 5%}\n    podsPerCore: 0x10\n    readOnlyPort: null\n    x: [1.50, 'no', "
                + "no, True]\n").Config;
        config.Kubelet.Configuration.GetRawText()
            .ShouldBe("""{"evictionHard":{"memory.available":"5%"},"podsPerCore":16,"readOnlyPort":null,"x":[1.5,"no","no",true]}""");
    }

    [Fact]
    public void Secrets_are_bound_and_not_shown()
    {
        var config = LoadText(
            "containerd:\n  mirrors:\n    docker.io:\n      endpoints: [https://mirror.example.com]\n      headers: {Authorization: Basic c2VjcmV0}\n").Config;
        var secret = config.Containerd.Mirrors["docker.io"].Headers["Authorization"];
        secret.Reveal().ShouldBe("Basic c2VjcmV0");
        config.ToString().ShouldNotContain("c2VjcmV0");
    }

    [Fact]
    public void Tags_set_fields_by_alias_and_by_path()
    {
        var loaded = Load(new Layer.Tags(new Dictionary<string, string>
        {
            ["Name"] = "not ours",
            ["nodeagent:cluster"] = "007",
            ["nodeagent:role"] = "worker",
            ["nodeagent:node.maxPods"] = "58",
            ["nodeagent:node.labels"] = "{example.com/pool: spot}",
            ["nodeagent:node.labels.zone"] = "1",
            ["nodeagent:kernel.sysctls.net.ipv4.ip_forward"] = "0",
            ["nodeagent:containerd.mirrors.docker.io.endpoints"] = "[https://mirror.example.com]",
            ["nodeagent:containerd.sandboxImage"] = "123",
            ["nodeagent:storage.volumes.podlogs"] = "null",
        }));
        var config = loaded.Config;
        config.Cluster.Name.ShouldBe("007");
        config.Node.MaxPods.Number.ShouldBe(58);
        config.Node.Labels.ShouldBe(new Dictionary<string, string> { ["example.com/pool"] = "spot", ["zone"] = "1" }, ignoreOrder: true);
        config.Kernel.Sysctls["net.ipv4.ip_forward"].ShouldBe("0");
        config.Containerd.Mirrors["docker.io"].Endpoints.ShouldBe([new Uri("https://mirror.example.com")]);
        config.Containerd.SandboxImage.ShouldBe("123");
        config.Storage.Volumes.ContainsKey("podlogs").ShouldBeFalse();
        loaded.OriginOf("node.maxPods").ToString().ShouldBe("tag nodeagent:node.maxPods");
    }

    [Fact]
    public void The_role_of_a_control_plane_is_spelled_as_Kubernetes_does() =>
        Load(new Layer.Tags(new Dictionary<string, string> { ["nodeagent:role"] = "control-plane" })).Config.Node.Role.ShouldBe(NodeRole.ControlPlane);

    [Fact]
    public void Two_loads_of_the_same_layers_are_the_same()
    {
        string Once() => string.Join(' ', Load().Config.Kernel.Sysctls.Keys);
        Once().ShouldBe(Once());
        Once().ShouldStartWith("fs.inotify.max_user_instances ");
    }
}
