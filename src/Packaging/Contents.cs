namespace NodeAgent.Packaging;

internal sealed record Release(string Version, DateTimeOffset Time)
{
    public const string Name = "nodeagent";

    public const string Summary = "turns a machine into a Kubernetes node";

    public const string Maintainer = "The NodeAgent authors <nodeagent@example.com>";
}

/// <param name="Path">Absolute, without a slash at its end.</param>
/// <param name="Content">Null for a directory.</param>
internal sealed record Entry(string Path, byte[]? Content, UnixFileMode Mode);

/// <summary>What every kind of package puts on a machine, and which units it enables.</summary>
internal sealed record Contents(IReadOnlyList<Entry> Entries, IReadOnlyList<string> EnabledUnits)
{
    public const UnixFileMode Plain = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    public const UnixFileMode Program = Plain | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    public const string Documents = $"/usr/share/doc/{Release.Name}";

    /// <exception cref="IOException">No binary, or no directory of units.</exception>
    public static Contents Read(string binary, string units, string readme)
    {
        var entries = new List<Entry>
        {
            new("/usr/bin/nodeagent", File.ReadAllBytes(binary), Program),
            new("/etc/nodeagent/config.d", null, Program),
        };
        if (File.Exists(readme))
        {
            entries.Add(new($"{Documents}/README.md", File.ReadAllBytes(readme), Plain));
        }

        var enabled = new List<string>();
        foreach (var path in Directory.GetFiles(units, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            var name = Path.GetRelativePath(units, path);
            entries.Add(new($"/usr/lib/systemd/system/{name}", File.ReadAllBytes(path), Plain));
            if (File.ReadLines(path).Any(line => line.Trim() == "[Install]"))
            {
                enabled.Add(name);
            }
        }

        return new(entries, enabled);
    }
}
