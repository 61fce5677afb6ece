using System.Globalization;
using NodeAgent.Packaging;

const string Usage = """
    Makes what users install from one published build.

      packaging deb --binary FILE --version VERSION --output DIRECTORY [--units DIRECTORY] [--readme FILE]

    Units are taken from systemd/ when not given, README.md is taken where there is one.
    Every time in the package is SOURCE_DATE_EPOCH, or 2026-01-01 without it: same input, same bytes.
    """;

if (args is not ["deb", .. var rest])
{
    Console.Error.WriteLine(Usage);
    return args is ["--help"] ? 0 : 3;
}

var options = new Dictionary<string, string>(StringComparer.Ordinal) { ["--units"] = "systemd", ["--readme"] = "README.md" };
for (var i = 0; i < rest.Length; i += 2)
{
    if (rest[i] is not ("--binary" or "--version" or "--output" or "--units" or "--readme") || i + 1 == rest.Length)
    {
        Console.Error.WriteLine($"'{rest[i]}' is no option with a value.\n\n{Usage}");
        return 3;
    }

    options[rest[i]] = rest[i + 1];
}

if (!options.TryGetValue("--binary", out var binary) || !options.TryGetValue("--version", out var version) || !options.TryGetValue("--output", out var output))
{
    Console.Error.WriteLine($"--binary, --version and --output are all needed.\n\n{Usage}");
    return 3;
}

try
{
    var seconds = Environment.GetEnvironmentVariable("SOURCE_DATE_EPOCH") ?? "1767225600";
    var time = DateTimeOffset.FromUnixTimeSeconds(long.Parse(seconds, NumberStyles.None, CultureInfo.InvariantCulture));
    var release = new Release(version, time);
    var contents = Contents.Read(binary, options["--units"], options["--readme"]);
    Directory.CreateDirectory(output);
    var path = Path.Combine(output, Deb.FileName(release));
    File.WriteAllBytes(path, Deb.Build(release, contents));
    Console.WriteLine(path);
    return 0;
}
catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException or InvalidDataException)
{
    Console.Error.WriteLine(e.Message);
    return 1;
}
