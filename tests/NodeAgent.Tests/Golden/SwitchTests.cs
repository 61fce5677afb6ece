using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using NodeAgent.Commands;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Tests.Desired;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Golden;

/// <summary>
/// The plan of a node that runs and shall get another mode of kube-proxy, or another network plugin. The node is a simulated machine, made by the configuration
/// before, with what kube-proxy or the plugin has in the kernel then; it is recorded as 'plan --record' does it, and the plan is that of 'plan --machine'. What
/// is expected lies in switches/NAME.txt, diffs included. NODEAGENT_GOLDEN=write rewrites it; read the difference before you commit it.
/// </summary>
public partial class SwitchTests
{
    private const string Proxy = "service proxy";

    private const string Plugin = "network plugin";

    private static readonly Dictionary<string, Switch> Switches = new(StringComparer.Ordinal)
    {
        ["iptables-to-ipvs"] = Modes("1.20.2", "iptables", "ipvs"),
        ["ipvs-to-iptables"] = Modes("1.20.2", "ipvs", "iptables"),
        ["iptables-to-nftables"] = Modes("1.33.1", "iptables", "nftables"),
        ["nftables-to-iptables"] = Modes("1.33.1", "nftables", "iptables"),
        ["nftables-to-none"] = Modes("1.33.1", "nftables", "none"),
        ["iptables-to-ipvs-with-pods"] = Modes("1.20.2", "iptables", "ipvs", "drained") with { Pods = ["shop/web-0"] },
        ["iptables-to-none-with-pods"] = Modes("1.20.2", "iptables", "none", "drained") with { Pods = ["shop/web-0"] },
        ["bridge-to-cilium"] = Plugins("bridge", "cilium"),
        ["cilium-to-calico"] = Plugins("cilium", "calico"),
        ["calico-to-bridge"] = Plugins("calico", "bridge"),
        // Who goes back from a plugin that was kube-proxy as well.
        ["cilium-and-none-to-calico-and-iptables"] = Plugins("cilium", "calico", "kubeProxy: {mode: none}, ", "kubeProxy: {mode: iptables}, "),
    };

    public static TheoryData<string> Names() => [.. Switches.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void A_node_that_runs_gives_the_plan_that_is_written_down(string name)
    {
        var worker = Running(Switches[name]);
        var actual = Text(worker, Recorded(worker, name));
        var path = Path.Join(Repository.Folder, "tests", "NodeAgent.Tests", "Golden", "switches", $"{name}.txt");
        if (Repository.IsRewriting)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, actual);
        }

        actual.ShouldBe(File.Exists(path) ? File.ReadAllText(path) : "", $"switches/{name}.txt; NODEAGENT_GOLDEN=write rewrites it");
        // Nothing was lost on the way through the recording.
        Text(worker, worker.Machine).ShouldBe(actual);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void What_the_new_one_needs_comes_before_and_what_it_reads_after_and_the_step_between_is_marked(string name)
    {
        var one = Switches[name];
        var worker = Running(one);

        var steps = Plan.Make(worker.List(), Recorded(worker, name)).Steps.Where(s => s.Finding is not InSync).ToList();

        var at = steps.FindIndex(s => s.Resource.Kind == one.Kind);
        if (one.Pods.Count > 0)
        {
            steps[at].Finding.ShouldBeOfType<Refused>().Why.ShouldEndWith("there is shop/web-0");
        }
        else
        {
            steps[at].Finding.ShouldBeOfType<Change>().Disruption.ShouldBe(one.Kind == Proxy ? Disruption.InterruptsServices : Disruption.RecreatesPods);
        }

        steps.Skip(at).ShouldNotContain(s => s.Resource is KernelModule);
        var read = steps.Where(s => s.Resource.Name.StartsWith("/etc/kubernetes/kube-proxy/", StringComparison.Ordinal)
            || s.Resource.Name.StartsWith("/etc/kubernetes/manifests/", StringComparison.Ordinal)).ToList();
        read.ShouldAllBe(s => steps.IndexOf(s) > at);
        read.ShouldAllBe(s => (s.BlockedBy != null) == one.Pods.Count > 0);
    }

    /// <param name="Kind">Of the resource that makes the change.</param>
    /// <param name="Before">What its layer said as it was made, in YAML of one line.</param>
    /// <param name="Kernel">What is there beside files of the agent's.</param>
    private sealed record Switch(string Kind, string Kubelet, string Before, string After, Action<SimulatedMachine> Kernel)
    {
        public IReadOnlyList<string> Pods { get; init; } = [];
    }

    private static Switch Modes(string kubelet, string from, string to, string change = "always") => new(
        Proxy,
        kubelet,
        $"kubeProxy: {{mode: {from}}}",
        $"kubeProxy: {{mode: {to}, change: {change}}}",
        machine =>
        {
            ProxyKernels.Others(machine.Rules);
            ProxyKernels.Kubelet(machine.Rules);
            ProxyKernels.Mode(machine.Rules, from);
        });

    private static Switch Plugins(string from, string to, string before = "", string after = "") => new(
        Plugin,
        "1.33.1",
        before + Network(from),
        after + Network(to),
        machine =>
        {
            PluginKernels.Others(machine.Rules);
            PluginKernels.Of(machine.Rules, from);
            string[] files = from switch
            {
                "cilium" => ["05-cilium.conflist", "99-mine.conf"],
                "calico" => ["10-calico.conflist", "99-mine.conf"],
                _ => ["99-mine.conf"],
            };
            foreach (var file in files)
            {
                machine.Put($"{CniSurroundings.Directory}/{file}", new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes("{}"), Files.WorldReadable));
            }
        });

    private static string Network(string plugin) => "cluster: {podRange: 10.244.0.0/16}, "
        + $"network: {{plugin: {plugin}, change: always, podRange: {(plugin == "bridge" ? "10.244.3.0/24" : "null")}}}";

    private static Worker Running(Switch one)
    {
        var worker = new Worker { ExtraConfig = Layer(one.Before) };
        worker.Facts = worker.Facts with { Versions = worker.Facts.Versions with { Kubelet = one.Kubelet } };
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
        one.Kernel(worker.Machine);
        worker.ExtraConfig = Layer(one.After);
        worker.Pods = one.Pods;
        return worker;
    }

    private static string Layer(string text) => $"{{apiVersion: nodeagent/v1, kind: NodeConfig, {text}}}";

    private static ReplayReader Recorded(Worker worker, string name)
    {
        var recorder = new RecordingReader(worker.Machine);
        Plan.Make(worker.List(), recorder);
        return new(Recording.Parse(recorder.Recording.ToJson(), name));
    }

    private static string Text(Worker worker, IMachineReader machine)
    {
        var inputs = worker.Inputs();
        using var text = new StringWriter(CultureInfo.InvariantCulture) { NewLine = "\n" };
        new PlanText(text, color: false).Write(Plan.Make(inputs.Resources, machine), inputs.Advice);
        // Of the kubeconfig, too, and its CA is another one each time.
        return Authority().Replace(Digest().Replace(text.ToString(), "sha256:..."), "$1...");
    }

    [GeneratedRegex("sha256:[0-9a-f]{64}")]
    private static partial Regex Digest();

    [GeneratedRegex("(certificate-authority-data: )[^ \n]+")]
    private static partial Regex Authority();
}
