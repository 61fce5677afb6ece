using System.Text;
using NodeAgent.Facts;

namespace NodeAgent.Tests.Facts;

public class FactsJsonTests
{
    public static TheoryData<string> Examples() => [.. Directory.GetFiles(Folder(), "*.json").Select(p => Path.GetFileName(p)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Examples))]
    public void Facts_that_were_read_are_written_as_the_same_bytes(string example)
    {
        var bytes = File.ReadAllBytes(Path.Combine(Folder(), example));

        Encoding.UTF8.GetString(FactsJson.Write(FactsJson.Read(bytes, example))).ShouldBe(Encoding.UTF8.GetString(bytes));
    }

    [Theory]
    [InlineData("\"region\": \"eu-central-1\",", "", "missing required properties", "region")]
    [InlineData("\"region\"", "\"regoin\"", "regoin", "$.instance")]
    [InlineData("\"processors\": 2", "\"processors\": \"two\"", "$.hardware.processors", "could not be converted")]
    [InlineData("\"id\": \"i-0a5d1a26e00000001\"", "\"id\": null", "$.instance", "facts.json:3")]
    [InlineData("\"processors\": 2", "\"processors\": 2, \"processors\": 3", "processors", "Duplicate")]
    [InlineData("\"readOnly\": false,", "", "missing required", "readOnly")]
    [InlineData("\"instance\": {", "\"instance\": [", "facts.json:2", "$.instance")]
    public void Facts_that_are_not_whole_are_refused_by_file_place_and_name(string old, string changed, string first, string second)
    {
        var json = File.ReadAllText(Path.Combine(Folder(), "m5d.large.json"));
        json.ShouldContain(old);

        var message = Should.Throw<FactsException>(() => FactsJson.Read(Encoding.UTF8.GetBytes(json.Replace(old, changed)), "facts.json")).Message;

        message.ShouldStartWith("facts.json");
        message.ShouldContain(first);
        message.ShouldContain(second);
    }

    internal static string Folder()
    {
        // Up from where the tests run: paths of sources are mapped away in the build.
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "NodeAgent.sln")))
        {
            folder = folder.Parent!;
        }

        return Path.Combine(folder.FullName, "tests/NodeAgent.Tests/Facts/examples");
    }
}
