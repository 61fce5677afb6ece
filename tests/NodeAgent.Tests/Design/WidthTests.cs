namespace NodeAgent.Tests.Design;

/// <summary>.editorconfig's max_line_length, which no tool holds.</summary>
public sealed class WidthTests
{
    private const int Widest = 160;

    private static readonly string[] Folders = ["src", "tests", "bench"];

    [Fact]
    public void No_line_of_code_is_wider_than_160_columns()
    {
        var files = Folders.SelectMany(f => Directory.EnumerateFiles(Path.Join(Repository.Folder, f), "*.cs", SearchOption.AllDirectories))
            .Where(f => !f.Split('/').Any(part => part is "bin" or "obj"));

        files.SelectMany(file => Wide(File.ReadAllLines(file)).Select(number => $"{Path.GetRelativePath(Repository.Folder, file)}:{number}")).ShouldBeEmpty();
    }

    /// <summary>Numbers of the lines. What stands in a raw string is somebody else's text, and as wide as that is.</summary>
    private static IEnumerable<int> Wide(IEnumerable<string> lines)
    {
        var isRaw = false;
        foreach (var (index, line) in lines.Index())
        {
            var quotes = line.Split("\"\"\"").Length - 1;
            if (!isRaw && quotes == 0 && line.Length > Widest)
            {
                yield return index + 1;
            }

            isRaw ^= quotes % 2 == 1;
        }
    }
}
