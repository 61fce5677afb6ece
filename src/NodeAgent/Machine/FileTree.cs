namespace NodeAgent.Machine;

/// <summary>
/// A directory that is wholly ours to write, known by a marker within it. It is made beside and takes the place of the former one in one rename, so that it is
/// never seen half done.
/// </summary>
internal static class FileTree
{
    /// <summary>Why <see cref="Replace"/> would not touch what is there; null when it may.</summary>
    /// <param name="marker">The name of a file that is in every such directory.</param>
    public static string? Foreign(string directory, string marker) => Files.Report(directory).Kind switch
    {
        FileKind.Absent => null,
        FileKind.Directory => Files.Names(directory) is { Count: > 0 } names && !names.Contains(marker) ? $"holds {names[0]} and no {marker}" : null,
        FileKind.Link => "is a link",
        _ => "is not a directory",
    };

    /// <param name="directory">Absolute. Absent, empty, or one that this wrote.</param>
    /// <param name="files">Content by path below it, the marker among them.</param>
    /// <exception cref="MachineException">Could not be written; what was there is there still.</exception>
    public static void Replace(string directory, IReadOnlyDictionary<string, byte[]> files)
    {
        var (parent, name) = (Path.GetDirectoryName(directory), Path.GetFileName(directory));
        if (string.IsNullOrEmpty(parent))
        {
            throw new MachineException($"write {directory}", "the root directory cannot be replaced");
        }

        // Of a run that was killed, nothing is left after the next one.
        var (made, former) = (Path.Join(parent, $".{name}.nodeagent-new"), Path.Join(parent, $".{name}.nodeagent-old"));
        try
        {
            Remove(made);
            if (Directory.Exists(directory))
            {
                Remove(former);
            }

            Directory.CreateDirectory(made);
            foreach (var (path, content) in files)
            {
                var file = Path.Join(made, path);
                Directory.CreateDirectory(Path.GetDirectoryName(file)!);
                File.WriteAllBytes(file, content);
            }

            if (Directory.Exists(directory))
            {
                Directory.Move(directory, former);
            }

            Take(made, directory, former);
            Remove(former);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            TryRemove(made);
            throw new MachineException($"write {directory}", e.Message, e);
        }
    }

    private static void Take(string made, string directory, string former)
    {
        try
        {
            Directory.Move(made, directory);
        }
        catch (IOException) when (Directory.Exists(former))
        {
            Directory.Move(former, directory);
            throw;
        }
    }

    private static void Remove(string directory)
    {
        if (Directory.Exists(directory))
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static void TryRemove(string directory)
    {
        try
        {
            Remove(directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // What could not be written there is what the caller hears of.
        }
    }
}
