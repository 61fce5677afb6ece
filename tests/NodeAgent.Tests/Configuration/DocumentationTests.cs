using NodeAgent.Configuration;

namespace NodeAgent.Tests.Configuration;

public class DocumentationTests
{
    [Fact]
    public void Every_field_is_documented_and_every_documented_field_exists()
    {
        // Objects need no line of their own: their fields have one each.
        var fields = ConfigSchema.Root.AllFields().Where(f => f.Field.Schema.Shape != ConfigShape.Object).Select(f => f.Path);
        var documented = System.IO.File.ReadLines(Documentation())
            .Where(l => l.StartsWith("| `", StringComparison.Ordinal) && !l.StartsWith("| `nodeagent:", StringComparison.Ordinal)).Select(l => l.Split('`')[1]).ToList();
        documented.Except(ConfigSchema.Root.AllFields().Select(f => f.Path)).ShouldBeEmpty();
        fields.Except(documented).ShouldBeEmpty();
        documented.Count.ShouldBe(documented.Distinct().Count());
    }

    // The build maps source paths for determinism, so the repository is looked for from where the tests run.
    private static string Documentation()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!System.IO.File.Exists(Path.Combine(directory.FullName, "NodeAgent.sln")))
        {
            directory = directory.Parent ?? throw new InvalidOperationException("The tests run outside of the repository");
        }

        return Path.Combine(directory.FullName, "docs", "configuration.md");
    }
}
