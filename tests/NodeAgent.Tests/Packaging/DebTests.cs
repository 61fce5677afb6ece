using System.Diagnostics;
using NodeAgent.Desired;
using NodeAgent.Packaging;
using NodeAgent.Resources;

namespace NodeAgent.Tests.Packaging;

public sealed class DebTests : IDisposable
{
    private static readonly Release Release = new("1.2.3", DateTimeOffset.FromUnixTimeSeconds(1_767_225_600));

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("nodeagent-deb-");

    public void Dispose() => _directory.Delete(recursive: true);

    [Fact]
    public void Two_builds_are_the_same_bytes()
    {
        var first = Deb.Build(Release, Sample());
        foreach (var file in _directory.GetFiles("*", SearchOption.AllDirectories))
        {
            file.LastWriteTimeUtc = new(2030, 1, 1, 0, 0, 0, DateTimeKind.Utc);
        }

        Deb.Build(Release, Sample()).ShouldBe(first);
    }

    [Fact]
    public void Dpkg_lists_what_is_installed()
    {
        var listed = DpkgDeb("--contents").Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Select(fields => $"{fields[0]} {fields[1]} {fields[3]} {fields[5]}");

        listed.ShouldBe(
        [
            "drwxr-xr-x root/root 2026-01-01 ./",
            "drwxr-xr-x root/root 2026-01-01 ./etc/",
            "drwxr-xr-x root/root 2026-01-01 ./etc/nodeagent/",
            "drwxr-xr-x root/root 2026-01-01 ./etc/nodeagent/config.d/",
            "drwxr-xr-x root/root 2026-01-01 ./usr/",
            "drwxr-xr-x root/root 2026-01-01 ./usr/bin/",
            "-rwxr-xr-x root/root 2026-01-01 ./usr/bin/nodeagent",
            "drwxr-xr-x root/root 2026-01-01 ./usr/lib/",
            "drwxr-xr-x root/root 2026-01-01 ./usr/lib/systemd/",
            "drwxr-xr-x root/root 2026-01-01 ./usr/lib/systemd/system/",
            "-rw-r--r-- root/root 2026-01-01 ./usr/lib/systemd/system/nodeagent-x.target",
            "-rw-r--r-- root/root 2026-01-01 ./usr/lib/systemd/system/nodeagent.service",
            "drwxr-xr-x root/root 2026-01-01 ./usr/share/",
            "drwxr-xr-x root/root 2026-01-01 ./usr/share/doc/",
            "drwxr-xr-x root/root 2026-01-01 ./usr/share/doc/nodeagent/",
            "-rw-r--r-- root/root 2026-01-01 ./usr/share/doc/nodeagent/README.md",
            "-rw-r--r-- root/root 2026-01-01 ./usr/share/doc/nodeagent/changelog.gz",
            "-rw-r--r-- root/root 2026-01-01 ./usr/share/doc/nodeagent/copyright",
            "drwxr-xr-x root/root 2026-01-01 ./usr/share/lintian/",
            "drwxr-xr-x root/root 2026-01-01 ./usr/share/lintian/overrides/",
            "-rw-r--r-- root/root 2026-01-01 ./usr/share/lintian/overrides/nodeagent",
        ], Case.Sensitive);
    }

    [Fact]
    public void Dpkg_reads_the_control_file()
    {
        var fields = DpkgDeb("--field");

        fields.ShouldContain("Package: nodeagent\nVersion: 1.2.3\nArchitecture: amd64\n");
        fields.ShouldContain("libssl3t64 | libssl3");
    }

    [Fact]
    public void Only_units_with_an_install_section_are_enabled_and_none_is_started()
    {
        DpkgDeb("--control", "control");
        var scripts = Path.Combine(_directory.FullName, "control");
        var install = File.ReadAllText(Path.Combine(scripts, "postinst"));

        install.ShouldContain("for unit in nodeagent.service; do");
        install.ShouldNotContain("nodeagent-x");
        foreach (var script in new[] { "postinst", "postrm" })
        {
            File.ReadAllText(Path.Combine(scripts, script)).ShouldNotMatch(@"systemctl\s+(re)?(start|stop|try)");
            Run("sh", $"-n {Path.Combine(scripts, script)}");
        }
    }

    [Fact]
    public void The_sums_are_those_of_the_files()
    {
        DpkgDeb("--raw-extract", "root");

        Run("sh", $"-c \"cd {_directory.FullName}/root && md5sum --check --strict --quiet DEBIAN/md5sums\"");
    }

    /// <summary>Or the first boot would have to write them and make systemd read its units again.</summary>
    [Fact]
    public void The_gate_comes_with_the_package_as_the_agent_would_write_it()
    {
        var shipped = Contents.Read(typeof(DebTests).Assembly.Location, Path.Combine(Repository.Folder, "systemd"), "").Entries
            .Where(e => e.Path.Contains("-gate.conf", StringComparison.Ordinal)).Select(e => (e.Path, System.Text.Encoding.UTF8.GetString(e.Content!)));

        shipped.ShouldBe(BootGate.DropIns().Cast<ConfigFile>().Select(f => (f.Name, f.Content)));
    }

    /// <summary>Whether a node looks for configuration while it runs is for its configuration to say.</summary>
    [Fact]
    public void The_timer_of_adoption_comes_with_the_package_and_is_not_enabled_by_it()
    {
        var shipped = Contents.Read(typeof(DebTests).Assembly.Location, Path.Combine(Repository.Folder, "systemd"), "");

        shipped.Entries.Select(e => e.Path).ShouldContain($"/usr/lib/systemd/system/{Adoption.TimerUnit}");
        shipped.Entries.Select(e => e.Path).ShouldContain("/usr/lib/systemd/system/nodeagent-adopt.service");
        shipped.EnabledUnits.ShouldBe(["nodeagent-ready.service", "nodeagent-renew.timer", "nodeagent.service"], ignoreOrder: true);
    }

    private Contents Sample()
    {
        var units = _directory.CreateSubdirectory("units").FullName;
        File.WriteAllBytes(Path.Combine(_directory.FullName, "binary"), [1, 2, 3]);
        File.WriteAllText(Path.Combine(units, "nodeagent.service"), "[Service]\nExecStart=/usr/bin/nodeagent apply\n[Install]\nWantedBy=multi-user.target\n");
        File.WriteAllText(Path.Combine(units, "nodeagent-x.target"), "[Unit]\nDescription=x\n");
        var readme = Path.Combine(_directory.FullName, "README.md");
        File.WriteAllText(readme, "# NodeAgent\n");
        return Contents.Read(Path.Combine(_directory.FullName, "binary"), units, readme);
    }

    private string DpkgDeb(string command, string? target = null)
    {
        var package = Path.Combine(_directory.FullName, "nodeagent.deb");
        File.WriteAllBytes(package, Deb.Build(Release, Sample()));
        return Run("dpkg-deb", $"{command} {package} {(target is null ? "" : Path.Combine(_directory.FullName, target))}");
    }

    private static string Run(string program, string arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, Environment = { ["TZ"] = "UTC" } })!;
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        process.ExitCode.ShouldBe(0, $"{program} {arguments}");
        return output;
    }
}
