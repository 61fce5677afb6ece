using System.Globalization;
using System.Text;
using NodeAgent.Advice;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Facts;
using NodeAgent.Machine;
using NodeAgent.Network;
using NodeAgent.Resources;

namespace NodeAgent.Tests.Golden;

/// <summary>
/// Configuration + facts to plan and files, without a machine. A case is a folder below cases/: config.yaml, facts.json or facts (the name of one of
/// Facts/examples), and what is expected: plan.txt (its diffs left out, since on an empty machine they repeat the files) and every file below tree/; modes.txt
/// says which are not 0644. NODEAGENT_GOLDEN=write rewrites what is expected; read the difference before you commit it.
/// </summary>
public class GoldenTests
{
    private static readonly DateTimeOffset Now = new(2027, 1, 1, 12, 0, 0, TimeSpan.Zero);

    public static TheoryData<string> Cases() => [.. Directory.GetDirectories(Folder).Select(d => Path.GetFileName(d)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Configuration_and_facts_give_the_plan_and_the_files_that_are_written_down(string name)
    {
        var folder = Path.Join(Folder, name);
        var actual = Render(name);
        if (Repository.IsRewriting)
        {
            Rewrite(folder, actual);
        }

        var expected = Expected(folder);
        expected.Keys.Order(StringComparer.Ordinal).ShouldBe(actual.Keys);
        foreach (var (path, content) in actual)
        {
            content.ShouldBe(expected[path], $"{name}/{path}; NODEAGENT_GOLDEN=write rewrites it");
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Two_runs_write_the_same_bytes(string name)
    {
        var first = Render(name);
        var second = Render(name);

        second.ShouldBe(first);
        List(name).Resources.Items.Select(r => r.Id).ShouldBe(List(name).Resources.Items.Select(r => r.Id));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void The_culture_of_who_runs_it_does_not_show(string name)
    {
        var expected = Render(name);
        var before = CultureInfo.CurrentCulture;
        // Globalization is invariant in the product; this is what would show if a package or a setting brought cultures back.
        var odd = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        odd.NumberFormat.NegativeSign = "minus ";
        odd.NumberFormat.NumberDecimalSeparator = ",";
        odd.NumberFormat.NumberGroupSeparator = ".";
        odd.NumberFormat.PercentSymbol = "pct";
        odd.DateTimeFormat.DateSeparator = "*";
        odd.DateTimeFormat.TimeSeparator = "*";
        try
        {
            CultureInfo.CurrentCulture = odd;
            Render(name).ShouldBe(expected);
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }

    /// <summary>The order in which a mapping was written, or a dictionary hands it out, must not decide over bytes: restarts would follow.</summary>
    [Fact]
    public void The_order_of_keys_in_the_configuration_does_not_show()
    {
        const string Layer = "apiVersion: nodeagent/v1\nkind: NodeConfig\n";
        var one = Layer + "node: {labels: {a/x: '1', b/y: '2'}}\nkernel: {sysctls: {net.core.somaxconn: 9, kernel.panic: 5}}\n"
            + "containerd: {mirrors: {a.example: {endpoints: ['https://m.example']}, b.example: {endpoints: ['https://m.example']}}}\n";
        var other = Layer + "containerd: {mirrors: {b.example: {endpoints: ['https://m.example']}, a.example: {endpoints: ['https://m.example']}}}\n"
            + "kernel: {sysctls: {kernel.panic: 5, net.core.somaxconn: 9}}\nnode: {labels: {b/y: '2', a/x: '1'}}\n";

        Render("m5d.large-defaults", other).ShouldBe(Render("m5d.large-defaults", one));
    }

    private static string Folder { get; } = Path.Join(Repository.Folder, "tests", "NodeAgent.Tests", "Golden", "cases");

    /// <summary>plan.txt, modes.txt and the files below tree/, by path.</summary>
    private static SortedDictionary<string, string> Render(string name, string? extraConfig = null)
    {
        var facts = Facts(name);
        var (list, advice) = List(name, extraConfig);
        var files = new SortedDictionary<string, string>(StringComparer.Ordinal);
        var modes = new StringBuilder();
        foreach (var file in list.Items.OfType<ConfigFile>())
        {
            if (!file.IsSecret)
            {
                files["tree" + file.Name] = file.Content;
            }

            if (file.Mode != ConfigFile.Readable || file.IsSecret)
            {
                modes.Append(
                    CultureInfo.InvariantCulture, $"0{Convert.ToString((int)file.Mode, 8)} {file.Name}{(file.IsSecret ? " (secret, not in tree/)" : "")}\n");
            }
        }

        foreach (var manifest in list.Items.OfType<StaticPodManifest>())
        {
            files["tree" + manifest.Name] = manifest.OnNothing;
        }

        foreach (var file in list.Items.OfType<PodNetworkFile>())
        {
            files["tree" + file.Name] = file.Placeholder;
        }

        files["modes.txt"] = modes.ToString();
        using var text = new StringWriter(CultureInfo.InvariantCulture) { NewLine = "\n" };
        new PlanText(text, color: false).Write(Plan.Make(list, new EmptyMachineReader(Now, facts.Disks)), advice);
        files["plan.txt"] = string.Concat(text.ToString().Split('\n').Where(l => !l.StartsWith("      ", StringComparison.Ordinal)).Select(l => l + "\n"))
            .TrimEnd('\n') + "\n";
        return files;
    }

    private static (ResourceList Resources, IReadOnlyList<Advisory> Advice) List(string name, string? extraConfig = null)
    {
        var config = Path.Join(Folder, name, "config.yaml");
        var extra = extraConfig is null ? [] : new Layer[] { new Layer.Document("extra.yaml", Encoding.UTF8.GetBytes(extraConfig)) };
        // By a name that is the same wherever the tests are.
        var loaded = NodeConfigLoader.Load([new Layer.Document("config.yaml", File.ReadAllBytes(config)), .. extra]);
        var resources = NodeResources.Build(loaded.Config, Facts(name), Unasked.Instance, Unasked.Instance, Unasked.Instance);
        return (resources, Advisor.Of(new(loaded, Facts(name), resources.Warnings)));
    }

    private static NodeFacts Facts(string name)
    {
        var named = Path.Join(Folder, name, "facts");
        var path = File.Exists(named)
            ? Path.Join(Repository.Folder, "tests", "NodeAgent.Tests", "Facts", "examples", File.ReadAllText(named).Trim() + ".json")
            : named + ".json";
        return FactsJson.Read(File.ReadAllBytes(path), path);
    }

    private static Dictionary<string, string> Expected(string folder) =>
        Directory.GetFiles(folder, "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.None })
            .Select(p => Path.GetRelativePath(folder, p))
            .Where(p => p is not ("config.yaml" or "facts" or "facts.json"))
            .ToDictionary(p => p, p => File.ReadAllText(Path.Join(folder, p)));

    private static void Rewrite(string folder, SortedDictionary<string, string> actual)
    {
        if (Directory.Exists(Path.Join(folder, "tree")))
        {
            Directory.Delete(Path.Join(folder, "tree"), recursive: true);
        }

        foreach (var (path, content) in actual)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Join(folder, path))!);
            File.WriteAllText(Path.Join(folder, path), content);
        }
    }

    /// <summary>A plan asks nobody to sign anything.</summary>
    private sealed class Unasked : ICertificateSource, IPodRangeSource, INodePods
    {
        public static readonly Unasked Instance = new();

        public IReadOnlyList<byte[]> Obtain(string role, byte[] request, CancellationToken cancellation) =>
            throw new InvalidOperationException("a plan asked for a certificate");

        public Cidr Obtain(Cidr? wish, CancellationToken cancellation) => throw new InvalidOperationException("a plan asked for a range");

        public IReadOnlyList<string> Others() => throw new InvalidOperationException("a plan asked for pods where nothing runs");
    }
}
