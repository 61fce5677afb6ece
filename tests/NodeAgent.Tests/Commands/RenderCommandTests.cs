using System.CommandLine;
using System.Text.Json;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Telemetry;

namespace NodeAgent.Tests.Commands;

public sealed class RenderCommandTests : IDisposable
{
    private const string Secret = "not-to-be-seen";

    private static readonly string Case = Path.Join(Repository.Folder, "tests", "NodeAgent.Tests", "Golden", "cases", "m5d.4xlarge-everything-said");

    private static readonly string Facts = Path.Join(Repository.Folder, "tests", "NodeAgent.Tests", "Facts", "examples", "m5d.4xlarge.json");

    private readonly string _folder = Directory.CreateTempSubdirectory("nodeagent-render").FullName;

    private string Out => Path.Join(_folder, "out");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void What_is_drawn_are_the_files_of_the_golden_case_the_modes_and_the_plan()
    {
        Render().ShouldBe(0);

        File.ReadAllText(Path.Join(Out, "tree/etc/kubernetes/kubelet.yaml")).ShouldBe(File.ReadAllText(Path.Join(Case, "tree/etc/kubernetes/kubelet.yaml")));
        Tree(Path.Join(Case, "tree")).Keys.ShouldBeSubsetOf(Tree(Path.Join(Out, "tree")).Keys);
        File.ReadAllText(Path.Join(Out, "modes.txt")).ShouldContain("0600 /etc/kubernetes/pki/kubelet-client.pem (secret)\n");
        using var plan = Plan();
        plan.RootElement.GetProperty("node").GetString().ShouldBe("ip-10-0-20-44.eu-central-1.compute.internal");
        plan.RootElement.GetProperty("changes").GetInt32().ShouldBeGreaterThan(40);
    }

    [Fact]
    public void Every_file_and_certificate_of_the_plan_is_in_the_tree()
    {
        Render();

        using var plan = Plan();
        var planned = plan.RootElement.GetProperty("steps").EnumerateArray()
            .Where(s => s.GetProperty("kind").GetString() is "file" or "certificate")
            .Select(s => s.GetProperty("name").GetString()![1..]).Order(StringComparer.Ordinal).ToList();
        planned.Count.ShouldBeGreaterThan(20);
        planned.ShouldBe(Tree(Path.Join(Out, "tree")).Keys);
    }

    [Fact]
    public void Of_a_control_plane_every_file_is_drawn_as_what_belongs_there()
    {
        var config = Path.Join(Path.GetDirectoryName(Case)!, "m5d.large-control-plane", "config.yaml");
        Run(["--config", config, "--facts", Facts.Replace("m5d.4xlarge", "m5d.large", StringComparison.Ordinal), "--out", Out]).ShouldBe(0);

        var drawn = Tree(Path.Join(Out, "tree"));
        Certificates.ControlPlanePaths.Concat(Certificates.Paths).Select(p => p[1..]).Except(drawn.Keys).ShouldBeEmpty();
        drawn["etc/kubernetes/pki/apiserver.key"].ShouldContain("role: apiserver\n");
        drawn["etc/kubernetes/pki/apiserver.key"].ShouldContain("api-internal.golden.example");
        drawn["etc/kubernetes/pki/sa.key"].ShouldStartWith("(secret: ");
        var modes = File.ReadAllText(Path.Join(Out, "modes.txt"));
        modes.ShouldContain("0600 /etc/kubernetes/pki/sa.key (secret)\n");
        modes.ShouldContain("0600 /etc/kubernetes/pki/etcd/peer.key (secret)\n");
        modes.ShouldContain("0600 /etc/kubernetes/admin.conf (secret)\n");
        modes.ShouldNotContain(".crt");
    }

    [Fact]
    public void A_secret_is_nowhere_and_its_place_says_what_belongs_there()
    {
        File.ReadAllText(Path.Join(Case, "config.yaml")).ShouldContain(Secret);

        Render();

        Tree(Out).Where(f => f.Value.Contains(Secret, StringComparison.Ordinal)).ShouldBeEmpty();
        File.ReadAllText(Path.Join(Out, "tree/etc/containerd/nodeagent/hosts/registry.k8s.io/hosts.toml")).ShouldStartWith("(secret: ");
        File.ReadAllText(Path.Join(Out, "tree/etc/kubernetes/pki/kubelet-serving.pem"))
            .ShouldContain("names: ip-10-0-20-44.eu-central-1.compute.internal, 10.0.20.44\n");
    }

    [Fact]
    public void The_same_input_gives_the_same_bytes_and_nothing_of_an_earlier_render_stays()
    {
        Render();
        var first = Tree(Out);
        File.WriteAllText(Path.Join(Out, "tree", "stale"), "");
        File.WriteAllText(Path.Join(Out, "plan.json"), "");

        Render().ShouldBe(0);

        Tree(Out).ShouldBe(first);
        Directory.GetFileSystemEntries(_folder).ShouldBe([Out]);
    }

    [Fact]
    public void An_empty_directory_is_taken()
    {
        Directory.CreateDirectory(Out);

        Render().ShouldBe(0);
    }

    [Fact]
    public void A_directory_that_holds_other_things_is_refused_and_left_alone()
    {
        Directory.CreateDirectory(Out);
        File.WriteAllText(Path.Join(Out, "thesis"), "mine");

        var refusal = Should.Throw<NotPossibleException>(() => Render());

        refusal.Message.ShouldBe(
            $"{Out} holds thesis and no .nodeagent-render: it is not of an earlier render, and so is left alone; give an empty or new directory");
        ExitCode.Of(refusal).ShouldBe(ExitCode.Refused);
        Tree(_folder).ShouldBe(new SortedDictionary<string, string> { ["out/thesis"] = "mine" });
    }

    [Fact]
    public void A_file_or_a_link_in_its_place_is_refused()
    {
        File.WriteAllText(Out, "mine");
        Should.Throw<NotPossibleException>(() => Render()).Message.ShouldContain("out is not a directory: ");
        File.Delete(Out);
        Directory.CreateSymbolicLink(Out, _folder);
        Should.Throw<NotPossibleException>(() => Render()).Message.ShouldContain("out is a link: ");
    }

    [Fact]
    public void A_configuration_that_is_not_sound_leaves_the_earlier_render_as_it_was()
    {
        Render();
        var first = Tree(Out);
        var bad = Path.Join(_folder, "bad.yaml");
        File.WriteAllText(bad, "apiVersion: nodeagent/v1\nkind: NodeConfig\nnode: {maxPods: 0}\n");

        Should.Throw<ConfigurationException>(() => Render("--config", bad));

        Tree(Out).ShouldBe(first);
    }

    [Fact]
    public void What_cannot_be_written_leaves_nothing_beside()
    {
        File.WriteAllText(Path.Join(_folder, "file"), "mine");

        Should.Throw<MachineException>(() => Run("--config", Path.Join(Case, "config.yaml"), "--facts", Facts, "--out", Path.Join(_folder, "file", "out")));

        Directory.GetFileSystemEntries(_folder).ShouldBe([Path.Join(_folder, "file")]);
    }

    [Fact]
    public void Of_this_machine_the_named_files_are_read_and_nothing_else()
    {
        using var live = new LinuxReader(CancellationToken.None);
        var asked = new RecordingReader(live);
        string[] config = [Path.Join(Case, "config.yaml")];

        RenderCommand.Draw(NodeInputs.FromFacts(asked, Facts, config, new Timeline()));

        asked.Recording.Files.Keys.ShouldBe([Facts, .. config], ignoreOrder: true);
        var nothing = new Recording();
        foreach (var f in asked.Recording.Files)
        {
            nothing.Files.Add(f.Key, f.Value);
        }

        asked.Recording.ToJson().ShouldBe(nothing.ToJson());
    }

    private int Render(params string[] more) => Run(["--config", Path.Join(Case, "config.yaml"), "--facts", Facts, "--out", Out, .. more]);

    internal static int Run(params string[] arguments) => new RootCommand { RenderCommand.Create() }.Parse(["render", .. arguments])
        .Invoke(new() { Output = TextWriter.Null, EnableDefaultExceptionHandler = false });

    private JsonDocument Plan() => JsonDocument.Parse(File.ReadAllText(Path.Join(Out, "plan.json")));

    internal static SortedDictionary<string, string> Tree(string folder) => new(
        Directory.GetFiles(folder, "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.None })
            .ToDictionary(p => Path.GetRelativePath(folder, p), File.ReadAllText),
        StringComparer.Ordinal);
}
