using NodeAgent.Configuration;

namespace NodeAgent.Tests.Configuration;

public class DocumentationTests
{
    [Fact]
    public void Every_field_is_documented_and_every_documented_field_exists()
    {
        // Objects need no line of their own: their fields have one each.
        var fields = ConfigSchema.Root.AllFields().Where(f => f.Field.Schema.Shape != ConfigShape.Object).Select(f => f.Path);
        var documented = System.IO.File.ReadLines(Path.Join(Repository.Folder, "docs", "configuration.md"))
            .Where(l => l.StartsWith("| `", StringComparison.Ordinal) && !l.StartsWith("| `nodeagent:", StringComparison.Ordinal)).Select(l => l.Split('`')[1])
            .ToList();
        documented.Except(ConfigSchema.Root.AllFields().Select(f => f.Path)).ShouldBeEmpty();
        fields.Except(documented).ShouldBeEmpty();
        documented.Count.ShouldBe(documented.Distinct().Count());
    }
}
