namespace NodeAgent.Tests;

/// <summary>The sources that the tests were built from, for what is compared with files beside them.</summary>
internal static class Repository
{
    public static string Folder { get; } = Find();

    /// <summary>NODEAGENT_GOLDEN=write: files that tests compare with are written anew instead.</summary>
    public static bool IsRewriting { get; } = Environment.GetEnvironmentVariable("NODEAGENT_GOLDEN") == "write";

    private static string Find()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Join(folder.FullName, "NodeAgent.sln")))
        {
            folder = folder.Parent ?? throw new InvalidOperationException($"{AppContext.BaseDirectory} is not below the folder of NodeAgent.sln");
        }

        return folder.FullName;
    }
}
