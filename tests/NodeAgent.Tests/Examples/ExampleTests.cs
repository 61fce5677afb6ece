using NodeAgent.Facts;
using NodeAgent.Tests.Commands;

namespace NodeAgent.Tests.Examples;

/// <summary>
/// examples/rendered is what the examples give, so that a pull request shows what it changes on each node. NODEAGENT_GOLDEN=write, or `make render`, draws it
/// again.
/// </summary>
public sealed class ExampleTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("nodeagent-examples").FullName;

    private static string Examples { get; } = Path.Join(Repository.Folder, "examples");

    public static TheoryData<string> Nodes() => [.. Lines().Select(l => l[0])];

    public static TheoryData<string> Machines() => [.. FactsFiles()];

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [MemberData(nameof(Nodes))]
    public void A_node_is_rendered_as_it_is_committed(string name)
    {
        var line = Lines().Single(l => l[0] == name);
        var layers = line[2..].SelectMany(l => new[] { "--config", Path.Join(Examples, "organisation", l + ".yaml") });
        string[] arguments = [.. layers, "--facts", Path.Join(Examples, "facts", line[1] + ".json"), "--out"];
        var committed = Path.Join(Examples, "rendered", name);
        if (Repository.IsRewriting)
        {
            RenderCommandTests.Run([.. arguments, committed]).ShouldBe(0);
        }

        var actual = Path.Join(_folder, "out");
        RenderCommandTests.Run([.. arguments, actual]).ShouldBe(0);

        var expected = RenderCommandTests.Tree(committed);
        var files = RenderCommandTests.Tree(actual);
        files.Keys.ShouldBe(expected.Keys);
        foreach (var (path, content) in files)
        {
            content.ShouldBe(expected[path], $"{name}/{path}; NODEAGENT_GOLDEN=write rewrites it");
        }
    }

    [Fact]
    public void Nothing_is_committed_that_the_list_does_not_name() =>
        Directory.GetDirectories(Path.Join(Examples, "rendered"), "*", SearchOption.AllDirectories)
            .Where(d => File.Exists(Path.Join(d, "plan.json"))).Select(d => Path.GetRelativePath(Path.Join(Examples, "rendered"), d))
            .Order(StringComparer.Ordinal)
            .ShouldBe(Lines().Select(l => l[0]).Order(StringComparer.Ordinal));

    [Fact]
    public void Every_layer_and_every_machine_of_the_examples_is_drawn_somewhere()
    {
        var organisation = Path.Join(Examples, "organisation");
        Lines().SelectMany(l => l[2..]).Distinct().Order(StringComparer.Ordinal)
            .ShouldBe(
                Directory.GetFiles(organisation, "*", SearchOption.AllDirectories)
                    .Select(f => Path.ChangeExtension(Path.GetRelativePath(organisation, f), null)).Order(StringComparer.Ordinal));
        Lines().Select(l => l[1] + ".json").Distinct().Order(StringComparer.Ordinal).ShouldBe(FactsFiles());
    }

    [Theory]
    [MemberData(nameof(Machines))]
    public void Facts_are_as_facts_save_writes_them(string file)
    {
        var path = Path.Join(Examples, "facts", file);
        var facts = FactsJson.Read(File.ReadAllBytes(path), path);

        System.Text.Encoding.UTF8.GetString(FactsJson.Write(facts)).ShouldBe(File.ReadAllText(path));
        $"{facts.Instance.Type}.json".ShouldBe(file);
    }

    private static List<string> FactsFiles() =>
        [.. Directory.GetFiles(Path.Join(Examples, "facts")).Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal)];

    private static List<string[]> Lines() =>
        [.. File.ReadLines(Path.Join(Examples, "nodes")).Where(l => !l.StartsWith('#')).Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries))];
}
