using System.CommandLine;
using System.Text;
using NodeAgent.Commands;
using NodeAgent.Facts;

namespace NodeAgent.Tests.Facts;

public class FactsCommandTests
{
    private readonly NodeFacts _facts = FactsJson.Read(File.ReadAllBytes(Path.Combine(FactsJsonTests.Folder(), "m3.xlarge.json")), "m3.xlarge.json");
    private readonly Dictionary<string, byte[]> _saved = [];

    [Fact]
    public async Task Facts_are_printed_for_people()
    {
        var text = await Run("facts");

        text.ShouldContain("i-0a33b26e000000004");
        text.ShouldContain("m3.xlarge");
        text.ShouldContain("device ephemeral0");
        text.ShouldContain("mounted at /");
        _saved.ShouldBeEmpty();
    }

    [Fact]
    public async Task Facts_are_saved_as_they_are_printed_as_JSON()
    {
        var json = await Run("facts", "--format", "json", "--save", "worker.json");

        json.ShouldBe(Encoding.UTF8.GetString(_saved["worker.json"]));
        json.ShouldBe(Encoding.UTF8.GetString(FactsJson.Write(_facts)));
    }

    [Fact]
    public async Task Help_shows_an_example() => (await Run("facts", "--help")).ShouldContain("nodeagent facts --save");

    private async Task<string> Run(params string[] arguments)
    {
        var output = new StringWriter();
        var root = new RootCommand { FactsCommand.Create(_ => Task.FromResult(_facts), _saved.Add) };
        (await root.Parse(arguments).InvokeAsync(new InvocationConfiguration { Output = output })).ShouldBe(0);
        return output.ToString();
    }
}
