using System.Globalization;
using System.Text.Json;
using NodeAgent.Lab.Scenarios;

namespace NodeAgent.Lab;

/// <summary>`lab bench`: figures beside their targets, as docs/speed.md explains. Fails on nothing that is merely slow.</summary>
internal static class Bench
{
    private const int FirstBoots = 5;
    private const string Binary = "/usr/bin/nodeagent";
    private const string Document = "/var/lib/lab/node.yaml";

    /// <param name="lab">Where it runs.</param>
    /// <param name="machine">Measures a worker in the virtual machine as well, with its disks: minutes, and only ratios and memory count there.</param>
    public static async Task RunAsync(Laboratory lab, bool machine)
    {
        var lines = new List<string> { $"load before: {Load}", "", "| what | target | median | least | most | processor | of /bin/true |", "|---|---|---|---|---|---|---|" };
        var boots = new List<FirstBoot>();
        for (var i = 0; i < FirstBoots; i++)
        {
            await using var guest = await lab.StartContainerAsync();
            await BootAsync(lab, guest, Worker.ContainerOverrides);
            boots.Add(await FirstBoot.ReadAsync(guest));
            if (i == FirstBoots - 1)
            {
                await guest.CheckAsync("systemctl stop nodeagent-ready.service"); // waits for a containerd that is none, and asks for it all the time
                await Worker.NothingToDoAsync(guest);
                var figures = await MeasureAsync(lab, guest, rounds: 20);
                lines.AddRange(figures.Select(figure => figure.Row(figures[0])));
                lines.Add(FirstBoot.Row(boots));
                lines.AddRange(["", "| what | target | measured |", "|---|---|---|"]);
                lines.Add(string.Create(CultureInfo.InvariantCulture, $"| binary | 45 MB | {new FileInfo(Path.Combine(Caches.Repository, "artifacts", "bin", "nodeagent")).Length / 1e6:0.0} MB |"));
                lines.Add(string.Create(CultureInfo.InvariantCulture, $"| peak memory of `plan` | 80 MiB | {figures[^1].PeakMiB:0} MiB |"));
                lines.Add($"| programs that `plan` starts, without storage | 0 | {await ProgramsAsync(lab, guest)} |");
            }
        }

        lines.AddRange(["", .. boots.Select((boot, i) => $"first boot {i + 1}: last file {boot.LastFile.TotalMilliseconds:0} ms ({boot.Resource}); {boot.Sum}")]);
        if (machine)
        {
            lines.AddRange(["", .. await MachineAsync(lab)]);
        }

        lines.AddRange(["", $"load after: {Load}"]);
        Console.WriteLine(string.Join('\n', lines));
    }

    private static async Task BootAsync(Laboratory lab, Guest guest, string overrides)
    {
        await Worker.InstallAsync(lab, guest);
        await Worker.LaunchAsync(lab, guest, overrides);
        await guest.RebootAsync();
        await Worker.PreparedAsync(guest);
        await guest.WaitForAsync("systemctl is-active kubelet.service", Worker.ConvergeTimeout);
    }

    /// <summary>The first is the baseline, the last the plan.</summary>
    private static async Task<IReadOnlyList<Figure>> MeasureAsync(Laboratory lab, Guest guest, int rounds)
    {
        var authority = File.ReadAllText(lab.CertificateAuthority.CertificateFile).Trim().ReplaceLineEndings("\n    ");
        var document = (await File.ReadAllTextAsync(Path.Combine(Caches.Repository, "bench", "node.yaml"))).Replace("@CERTIFICATE@", authority, StringComparison.Ordinal);
        var size = document.Count(c => c == '\n');
        await guest.WriteAsync(Document, document);
        await guest.PushAsync(Path.Combine(Caches.Repository, "bench", "measure"), "/var/lib/lab/measure");
        (string Name, string Target, string Command)[] subjects =
        [
            ("`/bin/true`", "", "/bin/true"),
            ("`version`", "40 ms", $"{Binary} version"),
            ($"`config check`, {size} lines", "80 ms", $"{Binary} config check --config {Document}"),
            ("`plan`, converged", "300 ms", $"{Binary} plan"),
        ];
        // Not the boot's own work: the services that it started, and the journal.
        await Task.Delay(TimeSpan.FromSeconds(3));
        var list = string.Concat(subjects.Select(subject => $"{subject.Name}\t{subject.Command}\n"));
        await guest.WriteAsync("/var/lib/lab/subjects", list);
        var output = await guest.CheckAsync($"perl /var/lib/lab/measure {rounds} </var/lib/lab/subjects", TimeSpan.FromMinutes(5));
        return [.. output.Split('\n').Zip(subjects, (line, subject) => Figure.Parse(line, subject.Target))];
    }

    /// <summary>How many programs a plan starts, as strace counts them from outside.</summary>
    private static async Task<int> ProgramsAsync(Laboratory lab, Container guest)
    {
        var trace = Path.Combine(lab.Folder, "execve");
        (await Child.RunAsync(
            "strace", ["--follow-forks", "--quiet=all", "--trace=execve,execveat", "--output", trace, "nsenter", .. guest.Enter, Binary, "plan"], TimeSpan.FromMinutes(2)))
            .EnsureSuccess();
        return (await File.ReadAllLinesAsync(trace)).SkipWhile(line => !line.Contains($"(\"{Binary}\"", StringComparison.Ordinal)).Skip(1)
            .Count(line => line.EndsWith(" = 0", StringComparison.Ordinal));
    }

    private static async Task<IEnumerable<string>> MachineAsync(Laboratory lab)
    {
        await lab.ApiServer.StartedAsync();
        await using var guest = await lab.BootAsync();
        await BootAsync(lab, guest, "");
        await Worker.HealthyAsync(guest);
        var figures = await MeasureAsync(lab, guest, rounds: 5);
        return
        [
            "| in the virtual machine, with disks | processor, of `version`'s | peak memory | starts programs |", "|---|---|---|---|",
            .. figures.Skip(1).Select(f => string.Create(
                CultureInfo.InvariantCulture, $"| {f.Name} | {f.ProcessorMs / figures[1].ProcessorMs:0.0} | {f.PeakMiB:0} MiB | {(f.StartsPrograms ? "yes" : "no")} |")),
            "", $"first boot there: {(await FirstBoot.ReadAsync(guest)).Sum}",
        ];
    }

    private static string Load => File.ReadAllText("/proc/loadavg").Split(' ')[0];

    private sealed record Figure(string Name, string Target, double MedianMs, double LeastMs, double MostMs, double ProcessorMs, double PeakMiB, bool StartsPrograms)
    {
        public static Figure Parse(string line, string target) => line.Split('\t') is [var name, var median, var least, var most, var processor, var peak, var children]
            ? new(name, target, Number(median), Number(least), Number(most), Number(processor), Number(peak), children == "yes")
            : throw new LabException($"bench/measure said: {line}");

        public string Row(Figure baseline) => string.Create(
            CultureInfo.InvariantCulture,
            $"| {Name} | {Target} | {MedianMs:0.0} ms | {LeastMs:0.0} ms | {MostMs:0.0} ms | {ProcessorMs:0.0} ms | {MedianMs / baseline.MedianMs:0} |");

        private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
    }

    /// <param name="LastFile">From the start of the process until journald heard of the last file, as the kernel stamped both.</param>
    /// <param name="Resource">That file.</param>
    /// <param name="Sum">The agent's own last line, with its split by phase.</param>
    private sealed record FirstBoot(TimeSpan LastFile, string Resource, string Sum)
    {
        // What is on the disk afterwards because the agent wrote it.
        private static readonly string[] Written = ["file ", "certificate ", "kubeconfig "];

        public static async Task<FirstBoot> ReadAsync(Guest guest)
        {
            var property = await guest.CheckAsync(
                "busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1/unit/nodeagent_2eservice org.freedesktop.systemd1.Service ExecMainStartTimestamp");
            var started = long.Parse(property.Split(' ')[1], CultureInfo.InvariantCulture);
            long last = 0;
            var (resource, sum) = ("", "");
            foreach (var line in (await guest.CheckAsync("journalctl --boot --unit nodeagent.service --identifier nodeagent --output json")).Split('\n'))
            {
                using var entry = JsonDocument.Parse(line);
                var message = entry.RootElement.GetProperty("MESSAGE").GetString()!;
                if (message.StartsWith("Applied:", StringComparison.Ordinal))
                {
                    sum = message;
                }

                if (entry.RootElement.TryGetProperty("NODEAGENT_RESOURCE", out var id) && Written.Any(kind => id.GetString()!.StartsWith(kind, StringComparison.Ordinal)))
                {
                    last = long.Parse(entry.RootElement.GetProperty("_SOURCE_REALTIME_TIMESTAMP").GetString()!, CultureInfo.InvariantCulture);
                    resource = id.GetString()!;
                }
            }

            return last > 0 && sum.Length > 0
                ? new(TimeSpan.FromMicroseconds(last - started), resource, sum)
                : throw new LabException("the journal of this first boot names no file, or no end");
        }

        public static string Row(IReadOnlyList<FirstBoot> boots)
        {
            var sorted = boots.Select(boot => boot.LastFile.TotalMilliseconds).Order().ToArray();
            return string.Create(
                CultureInfo.InvariantCulture, $"| first boot, start to last file | 200 ms | {sorted[sorted.Length / 2]:0} ms | {sorted[0]:0} ms | {sorted[^1]:0} ms | | |");
        }
    }
}
