namespace NodeAgent.Tests.Machine;

/// <summary>A directory that is gone after the test.</summary>
internal sealed class TemporaryDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("nodeagent-test-").FullName;

    /// <summary>Writes a file with its parents.</summary>
    public string Put(string name, string content = "")
    {
        var path = $"{Path}/{name}";
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        File.WriteAllText(path, content);
        return path;
    }

    public void Link(string name, string target)
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName($"{Path}/{name}")!);
        File.CreateSymbolicLink($"{Path}/{name}", target);
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
