using System.CommandLine;
using System.Text.Json;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Configuration;

public class ConfigCommandTests
{
    private const string Secretive = """
        node:
          maxPods: 58
          labels: {pool: "1", "example.com/x": 'y'}
          taints: [{key: a, effect: NoExecute}, {key: b, value: c, effect: NoSchedule}]
        kernel:
          modules: null
          sysctls: {vm.max_map_count: null}
        containerd:
          mirrors:
            docker.io: {endpoints: ["https://m.example.com/v2"], headers: {Authorization: hush}}
        kubelet:
          configuration:
            evictionHard: {memory.available: 5%, nodefs.available: null}
            list: [{a: [1, b]}, [], {}, text with a very long line so that the whole list does not fit into one line of what is printed]
            tricky: ["", " x", "a: b", "a #b", "1", "null", "-", "tab\there", "two\nlines", "é", "#", "true"]
        """;

    [Fact]
    public void Show_prints_every_value_with_its_origin_and_no_secret()
    {
        var (code, output, _) = Run(
            ["show"], Base, Document("node.yaml", Head + Secretive), new Layer.Tags(new Dictionary<string, string> { ["nodeagent:storage.wipe"] = "foreign" }));
        code.ShouldBe(0);
        output.ShouldContain("\n  maxPods: 58  # node.yaml:4:12\n");
        output.ShouldContain("\n  wipe: foreign  # tag nodeagent:storage.wipe\n");
        output.ShouldContain("\n  name: blue  # /etc/nodeagent/config.d/10-base.yaml:4:9\n");
        output.ShouldContain("\n  # modules: removed  # node.yaml:8:12\n");
        output.ShouldContain("\n    # vm.max_map_count: removed  # node.yaml:9:31\n");
        output.ShouldContain("\n        Authorization: \"(secret)\"  # node.yaml:12:83\n");
        output.ShouldNotContain("hush");
    }

    [Fact]
    public void What_show_prints_can_be_read_back()
    {
        var layers = new[] { Base, Document("node.yaml", Head + Secretive) };
        var (_, output, _) = Run(["show"], layers);
        var first = NodeConfigLoader.Load(layers);
        var second = NodeConfigLoader.Load([Document("shown", "# shown\n" + output)]);
        Plain(second).ShouldBe(Plain(first));

        // Removed values are comments in what is printed, so over the defaults they are there again: only those are left out of the comparison.
        static string Plain(LoadedConfig loaded)
        {
            using var json = JsonDocument.Parse(ConfigPrinter.ToJson(loaded));
            var config = json.RootElement.GetProperty("config");
            return string.Join('\n', config.EnumerateObject().Where(p => p.Name != "kernel").Select(p => p.ToString()));
        }
    }

    [Fact]
    public void Show_as_json_has_values_and_origins()
    {
        var (code, output, _) = Run(["show", "--format", "json"], Base, Document("node.yaml", Head + Secretive));
        code.ShouldBe(0);
        output.ShouldNotContain("hush");
        using var json = JsonDocument.Parse(output);
        json.RootElement.GetProperty("config").GetProperty("node").GetProperty("maxPods").GetInt32().ShouldBe(58);
        json.RootElement.GetProperty("origins").GetProperty("node.maxPods").GetString().ShouldBe("node.yaml:4:12");
        json.RootElement.GetProperty("config").GetProperty("containerd").GetProperty("mirrors").GetProperty("docker.io").GetProperty("headers")
            .GetProperty("Authorization").GetString().ShouldBe("(secret)");
    }

    [Fact]
    public void Check_calls_the_role_as_the_configuration_does() =>
        Run(["check"], Base, Document("node.yaml", Head + "node: {role: control-plane}\ncertificates: {source: store, store: s3://pki/blue}\n"))
            .Output.ShouldStartWith("OK: control-plane of cluster blue, ");

    [Fact]
    public void Check_says_what_it_read()
    {
        var (code, output, error) = Run(["check"], Base, new Layer.UserData("#cloud-config\n"u8.ToArray()), Document("node.yaml", Head));
        code.ShouldBe(0);
        output.ShouldBe(
            "OK: worker of cluster blue, from defaults, /etc/nodeagent/config.d/10-base.yaml, node.yaml.\n  user data: cloud-init's, left alone "
                + "(#cloud-config)\n");
        error.ShouldBeEmpty();
    }

    [Fact]
    public void Check_gives_advice_and_exits_0()
    {
        var (code, output, _) = Run(["check"], Base, Document("node.yaml", Head + "kubeProxy: {mode: none}\n"));
        code.ShouldBe(0);
        output.ShouldStartWith("OK: worker of cluster blue, ");
        output.ShouldContain("\n  advice: services-without-proxy: kubeProxy.mode is none (node.yaml:3:19), and network.plugin is bridge (the default)");
        output.ShouldEndWith("[kubernetes.io/docs/reference/networking/virtual-ips]\n");
    }

    [Fact]
    public void Check_exits_5_where_advice_refuses()
    {
        var layers = new[] { Base, Document("node.yaml", Head + "kubeProxy: {mode: none}\nadvice: {services-without-proxy: refuse}\n") };
        var (code, output, _) = Run(["check"], layers);
        code.ShouldBe(5);
        output.ShouldStartWith("REFUSED: worker of cluster blue, ");
        output.ShouldContain("; or take it as it is, by name: advice: {services-without-proxy: warn} [");
        using var json = JsonDocument.Parse(Run(["check", "--format", "json"], layers).Output);
        json.RootElement.GetProperty("errors").GetArrayLength().ShouldBe(0);
        var advice = json.RootElement.GetProperty("advice").EnumerateArray().ShouldHaveSingleItem();
        advice.GetProperty("name").GetString().ShouldBe("services-without-proxy");
        advice.GetProperty("level").GetString().ShouldBe("refuse");
    }

    [Fact]
    public void Check_lists_all_errors_and_exits_3()
    {
        var (code, output, error) = Run(["check"], Base, Document("node.yaml", Head + "node: {maxPod: 1}\nkernel: 3\n"));
        code.ShouldBe(3);
        output.ShouldBeEmpty();
        error.ShouldBe(
            "node.yaml:3:8: node: unknown field 'maxPod'; did you mean 'maxPods'?\nnode.yaml:4:9: kernel: expected a map, found the number 3\nBad "
                + "configuration: 2 errors. Nothing was changed.\n");
    }

    [Fact]
    public void Check_as_json_lists_all_errors()
    {
        var (code, output, _) = Run(["check", "--format", "json"], Base, Document("node.yaml", Head + "node: {maxPod: 1}\n"));
        code.ShouldBe(3);
        using var json = JsonDocument.Parse(output);
        var error = json.RootElement.GetProperty("errors")[0];
        error.GetProperty("layer").GetString().ShouldBe("node.yaml");
        error.GetProperty("line").GetInt32().ShouldBe(3);
        error.GetProperty("column").GetInt32().ShouldBe(8);
        error.GetProperty("path").GetString().ShouldBe("node");
    }

    [Fact]
    public void Pending_is_of_the_layers_of_the_machine_alone()
    {
        Run(["show", "--pending", "--format", "json"], Base).ShouldBe((2, "pending True\n", ""));
        Run(["show", "--pending", "--config", "x.yaml"], Base)
            .Error.ShouldStartWith("--pending is about the layers of this machine; what files would change, 'nodeagent plan --config FILE' says");
    }

    [Theory]
    [InlineData("check")]
    [InlineData("show")]
    public void Help_shows_an_example(string verb) => Run([verb, "--help"]).Output.ShouldContain($"nodeagent config {verb} --config node.yaml");

    [Fact]
    public void Files_of_the_command_line_are_handed_on_as_absolute_paths()
    {
        IReadOnlyList<string> asked = [];
        Run(["check", "--config", "/a/../b.yaml", "--config", "c.yaml"], (files, _) =>
        {
            asked = files;
            return Task.FromResult<IReadOnlyList<Layer>>([Base]);
        }).Code.ShouldBe(0);
        asked.ShouldBe(["/b.yaml", Path.GetFullPath("c.yaml")]);
    }

    private static (int Code, string Output, string Error) Run(string[] arguments, params Layer[] layers) =>
        Run(arguments, (_, _) => Task.FromResult<IReadOnlyList<Layer>>(layers));

    private static (int Code, string Output, string Error) Run(
        string[] arguments, Func<IReadOnlyList<string>, CancellationToken, Task<IReadOnlyList<Layer>>> layersOf)
    {
        var (output, error) = (new StringWriter { NewLine = "\n" }, new StringWriter { NewLine = "\n" });
        var code =
            new RootCommand { ConfigCommand.Create(
                layersOf,
                static (output, json, _) => { output.WriteLine($"pending {json}"); return Task.FromResult(2); }) }.Parse(["config", .. arguments])
                    .Invoke(new() { Output = output, Error = error });
        return (code, output.ToString(), error.ToString());
    }
}
