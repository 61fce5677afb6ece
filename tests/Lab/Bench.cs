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
        List<string> lines =
            [$"load before: {Load}", "", "| what | target | median | least | most | processor | of /bin/true |", "|---|---|---|---|---|---|---|"];
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
                lines.Add(FirstBoot.Row("first boot, start to last file", "200 ms", boots, boot => boot.LastFileMs));
                lines.Add(FirstBoot.Row("of that, systemd reading its units again", "", boots, boot => boot.InSystemdMs));
                lines.Add(FirstBoot.Row("the rest", "", boots, boot => boot.LastFileMs - boot.InSystemdMs));
                lines.AddRange(["", .. await SharedLayersAsync(guest, rounds: 20)]);
                lines.AddRange(["", "| what | target | measured |", "|---|---|---|"]);
                var binary = new FileInfo(Path.Combine(Caches.Repository, "artifacts", "bin", "nodeagent"));
                lines.Add(string.Create(CultureInfo.InvariantCulture, $"| binary | 45 MB | {binary.Length / 1e6:0.0} MB |"));
                lines.Add(string.Create(CultureInfo.InvariantCulture, $"| peak memory of `plan` | 80 MiB | {figures[^1].PeakMiB:0} MiB |"));
                lines.Add($"| programs that `plan` starts, without storage | 0 | {await ProgramsAsync(lab, guest)} |");
            }
        }

        var controlPlane = await ControlPlaneBootsAsync(lab);
        lines.AddRange(["", .. FirstBoot.ByPhase([("worker", boots), ("control plane", controlPlane)])]);
        lines.AddRange(["", .. boots.Select((boot, i) => $"first boot {i + 1}: {boot.Sum} Slowest: {boot.Slowest}")]);
        lines.AddRange(["", .. controlPlane.Select((boot, i) => $"control plane's first boot {i + 1}: {boot.Sum} Slowest: {boot.Slowest}")]);
        lines.AddRange(["", .. await CertificatesAsync(lab, rounds: 10)]);
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

    /// <summary>A control plane's: its CAs in S3, which answers from the start, all of its certificates, and the manifests of its pods.</summary>
    private static async Task<IReadOnlyList<FirstBoot>> ControlPlaneBootsAsync(Laboratory lab)
    {
        const string bucket = "lab-bench";
        const string profile = "iam/security-credentials/worker";
        const string s3 = $"AWS_ENDPOINT_URL_S3={Aws.Url}";
        var (boots, role, authority) = (new List<FirstBoot>(), "", "");
        await lab.Aws.CreateBucketAsync(bucket);
        while (boots.Count < FirstBoots)
        {
            await using var guest = await lab.StartContainerAsync();
            await guest.InstallAgentAsync();
            if (boots.Count == 0)
            {
                await TagsFromEc2.RoleAsync(lab, guest, "s3:GetObject", "s3:ListBucket", "s3:PutObject", "ec2:DescribeInstances");
                role = guest.Imds.Paths[profile];
                await guest.Imds.SaveAsync();
                await using var before = await guest.ConnectAwsAsync();
                await guest.CheckAsync($"{s3} nodeagent ca init --store s3://{bucket}/amber --region us-east-1");
                authority = await guest.CheckAsync($"{s3} nodeagent ca show --store s3://{bucket}/amber --region us-east-1 --format pem");
            }

            await guest.WriteAsync("/etc/nodeagent/config.d/10-image.yaml", $$"""
                apiVersion: nodeagent/v1
                kind: NodeConfig
                network: {pluginBinaries: /usr/lib/cni}
                certificates: {source: store, store: 's3://{{bucket}}/amber'}
                """);
            // AWS can be reached only once the container is there, and a run that had to try again would be another one.
            await guest.WriteAsync("/etc/systemd/system/nodeagent.service.d/bench.conf", $"""
                [Service]
                Environment={s3} AWS_ENDPOINT_URL_EC2={Aws.Url}
                ExecStartPre=/bin/sh -c 'until test -e /run/aws; do sleep 0.2; done'
                """);
            guest.Imds.Paths[profile] = role;
            await ControlPlaneCertificates.BecomesAsync(guest, authority);
            await guest.RebootAsync();
            await using var aws = await guest.ConnectAwsAsync();
            await guest.CheckAsync("touch /run/aws");
            await Worker.PreparedAsync(guest);
            boots.Add(await FirstBoot.ReadAsync(guest));
        }

        return boots;
    }

    /// <summary>The first is the baseline, the last the plan.</summary>
    private static async Task<IReadOnlyList<Figure>> MeasureAsync(Laboratory lab, Guest guest, int rounds)
    {
        var authority = File.ReadAllText(lab.CertificateAuthority.CertificateFile).Trim().ReplaceLineEndings("\n    ");
        var template = await File.ReadAllTextAsync(Path.Combine(Caches.Repository, "bench", "node.yaml"));
        var document = template.Replace("@CERTIFICATE@", authority, StringComparison.Ordinal);
        var size = document.Count(c => c == '\n');
        await guest.WriteAsync(Document, document);
        await guest.PushAsync(Path.Combine(Caches.Repository, "bench", "measure"), "/var/lib/lab/measure");
        (string Name, string Target, string Command)[] subjects =
        [
            ("`/bin/true`", "", "/bin/true"),
            ("`version`", "40 ms", $"{Binary} version"),
            ($"`config check`, {size} lines", "80 ms", $"{Binary} config check --config {Document}"),
            ("`systemctl daemon-reload`", "", "/usr/bin/systemctl daemon-reload"),
            ("`plan`, converged", "300 ms", $"{Binary} plan"),
        ];
        // Not the boot's own work: the services that it started, and the journal.
        await Task.Delay(TimeSpan.FromSeconds(3));
        var list = string.Concat(subjects.Select(subject => $"{subject.Name}\t{subject.Command}\n"));
        await guest.WriteAsync("/var/lib/lab/subjects", list);
        var output = await guest.CheckAsync($"perl /var/lib/lab/measure {rounds} </var/lib/lab/subjects", TimeSpan.FromMinutes(5));
        return [.. output.Split('\n').Zip(subjects, (line, subject) => Figure.Parse(line, subject.Target))];
    }

    /// <summary>What six layers of S3 cost whoever reads the configuration, with a server that takes its time for each call.</summary>
    private static async Task<IEnumerable<string>> SharedLayersAsync(Container guest, int rounds)
    {
        const int delay = 20;
        const string layers = "/var/lib/lab/layers.yaml";
        var calls = 0;
        await using var s3 = await guest.ListenAsync(async stream =>
        {
            using var reader = new StreamReader(stream, leaveOpen: true);
            while (await reader.ReadLineAsync() is { } line)
            {
                if (line.Length > 0)
                {
                    continue;
                }

                var call = Interlocked.Increment(ref calls);
                await Task.Delay(delay);
                var body =
                    "apiVersion: nodeagent/v1\nkind: NodeConfig\nnode:\n  "
                        + $"labels:\n{string.Concat(Enumerable.Range(0, 20).Select(i => $"    example.com/l{i}: v{call}\n"))}";
                await stream.WriteAsync(
                    System.Text.Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nETag: \"{call}\"\r\nContent-Length: {body.Length}\r\n\r\n{body}"));
            }
        });
        guest.Imds.Paths["iam/security-credentials/worker"] =
            """{"Code":"Success","AccessKeyId":"ASIABENCH","SecretAccessKey":"none","Token":"none","Expiration":"2099-01-01T00:00:00Z"}""";
        await guest.Imds.SaveAsync();
        await guest.WriteAsync(layers, $$"""
            apiVersion: nodeagent/v1
            kind: NodeConfig
            cluster: {customer: acme, environment: prod}
            layers: {bucket: example-nodes, endpoint: '{{Aws.Url}}'}
            """);
        // A container's firmware is not EC2's, so that metadata would not be asked.
        const string told = "/usr/bin/env AWS_EC2_METADATA_SERVICE_ENDPOINT=http://169.254.169.254";
        var without = $"without\t{told} {Binary} config check --config {Document}\n";
        var with = $"with\t{told} {Binary} config check --config {Document} --config {layers}\n";
        await guest.WriteAsync("/var/lib/lab/subjects", without + with);
        var output = await guest.CheckAsync($"perl /var/lib/lab/measure {rounds} </var/lib/lab/subjects", TimeSpan.FromMinutes(5));
        var figures = output.Split('\n').Select(line => Figure.Parse(line, "")).ToArray();
        return
        [
            $"| six shared layers, {delay} ms a call | target | median | least | processor |", "|---|---|---|---|---|",
            string.Create(
                CultureInfo.InvariantCulture,
                $"| `config check` grows by | {2 * delay} ms | {figures[1].MedianMs - figures[0].MedianMs:0} ms | {figures[1].LeastMs - figures[0].LeastMs:0} "
                    + $"ms | {figures[1].ProcessorMs - figures[0].ProcessorMs:0} ms |"),
            string.Create(CultureInfo.InvariantCulture, $"| calls, each | 6 | {(double)calls / (rounds + 1):0.#} | | |"),
        ];
    }

    /// <summary>A control plane's CAs, certificates and kubeconfigs from nothing, by turns with kubeadm, on this machine and not in a guest.</summary>
    private static async Task<IEnumerable<string>> CertificatesAsync(Laboratory lab, int rounds)
    {
        var kubeadm = Path.Combine(await Caches.KubernetesAsync(), "kubeadm");
        var agent = Path.Combine(Caches.Repository, "artifacts", "bin", "nodeagent");
        var subjects = new List<string>();
        foreach (var (algorithm, gate) in new[] { ("ecdsa-p256", true), ("rsa-2048", false) })
        {
            var folder = Directory.CreateDirectory(Path.Combine(lab.Folder, algorithm)).FullName;
            var config = Path.Combine(folder, "kubeadm.yaml");
            await File.WriteAllTextAsync(config, $"""
                apiVersion: kubeadm.k8s.io/v1beta2
                kind: InitConfiguration
                localAPIEndpoint: {"{"}advertiseAddress: 10.0.0.4{"}"}
                nodeRegistration: {"{"}name: cp-1, criSocket: /run/containerd/containerd.sock{"}"}
                ---
                apiVersion: kubeadm.k8s.io/v1beta2
                kind: ClusterConfiguration
                kubernetesVersion: v1.20.2
                certificatesDir: {folder}/kubeadm/pki
                controlPlaneEndpoint: 10.0.0.4:6443
                featureGates: {"{"}PublicKeysECDSA: {(gate ? "true" : "false")}{"}"}

                """);
            subjects.Add(await ScriptAsync(folder, "nodeagent", $"""
                {agent} ca init --store {folder}/nodeagent/store --key-algorithm {algorithm}
                {agent} ca issue --store {folder}/nodeagent/store --key-algorithm {algorithm} --node cp-1 --address 10.0.0.4 --endpoint https://10.0.0.4:6443 --out {folder}/nodeagent/kubernetes
                """));
            subjects.Add(await ScriptAsync(folder, "kubeadm", $"""
                {kubeadm} init phase certs all --config {config}
                {kubeadm} init phase kubeconfig all --config {config} --kubeconfig-dir {folder}/kubeadm
                """));
        }

        var output = (await Child.RunAsync(
            "perl",
            [Path.Combine(Caches.Repository, "bench", "measure"), rounds.ToString(CultureInfo.InvariantCulture)],
            TimeSpan.FromMinutes(5),
            System.Text.Encoding.ASCII.GetBytes(string.Concat(subjects)))).EnsureSuccess().Output;
        var figures = output.Trim().Split('\n').Select(line => Figure.Parse(line, "")).ToArray();
        return
        [
            "| a control plane's CAs, certificates and kubeconfigs | target | `nodeagent` | `kubeadm` 1.20 |", "|---|---|---|---|",
            .. figures.Chunk(2).Zip(
                ["ECDSA P-256", "RSA 2048"],
                (pair, keys) => string.Create(CultureInfo.InvariantCulture, $"| {keys} | kubeadm's | {pair[0].MedianMs:0} ms | {pair[1].MedianMs:0} ms |")),
        ];

        static async Task<string> ScriptAsync(string folder, string name, string commands)
        {
            var script = Path.Combine(folder, name + ".sh");
            await File.WriteAllTextAsync(script, $"set -eu\nrm -rf {folder}/{name}\nmkdir {folder}/{name}\n{commands}\n");
            return $"{name}\t/bin/sh {script}\n";
        }
    }

    /// <summary>How many programs a plan starts, as strace counts them from outside.</summary>
    private static async Task<int> ProgramsAsync(Laboratory lab, Container guest)
    {
        var trace = Path.Combine(lab.Folder, "execve");
        (await Child.RunAsync(
            "strace",
            ["--follow-forks", "--quiet=all", "--trace=execve,execveat", "--output", trace, "nsenter", .. guest.Enter, Binary, "plan"],
            TimeSpan.FromMinutes(2)))
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
        var boot = await FirstBoot.ReadAsync(guest);
        return
        [
            "| in the virtual machine, with disks | processor, of `version`'s | peak memory | starts programs |", "|---|---|---|---|",
            .. figures.Skip(1).Select(f => string.Create(
                CultureInfo.InvariantCulture,
                $"| {f.Name} | {f.ProcessorMs / figures[1].ProcessorMs:0.0} | {f.PeakMiB:0} MiB | {(f.StartsPrograms ? "yes" : "no")} |")),
            "", .. FirstBoot.ByPhase([("worker, emulated", [boot])]), "", $"first boot there: {boot.Sum}",
        ];
    }

    private static string Load => File.ReadAllText("/proc/loadavg").Split(' ')[0];

    private sealed record Figure(
        string Name, string Target, double MedianMs, double LeastMs, double MostMs, double ProcessorMs, double PeakMiB, bool StartsPrograms)
    {
        public static Figure Parse(string line, string target) =>
            line.Split('\t') is [var name, var median, var least, var most, var processor, var peak, var children]
            ? new(name, target, Number(median), Number(least), Number(most), Number(processor), Number(peak), children == "yes")
            : throw new LabException($"bench/measure said: {line}");

        public string Row(Figure baseline) => string.Create(
            CultureInfo.InvariantCulture,
            $"| {Name} | {Target} | {MedianMs:0.0} ms | {LeastMs:0.0} ms | {MostMs:0.0} ms | {ProcessorMs:0.0} ms | {MedianMs / baseline.MedianMs:0} |");

        private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
    }

    /// <param name="ProcessorMs">The agent's own.</param>
    /// <param name="ProgramsMs">Of the programs that it ran.</param>
    private sealed record Cost(double TimeMs, double ProcessorMs, double ProgramsMs);

    /// <param name="LastFileMs">From the start of the process until the agent told of the last file, as systemd and the kernel stamped them.</param>
    /// <param name="InSystemdMs">What the steps before that took that reload systemd or enable and start a unit.</param>
    /// <param name="Slowest">Steps of 20 ms and more.</param>
    /// <param name="Sum">The agent's own last line, with its split by phase.</param>
    /// <param name="Phases">By the status file.</param>
    private sealed record FirstBoot(double LastFileMs, double InSystemdMs, string Slowest, string Sum, IReadOnlyDictionary<string, Cost> Phases)
    {
        private static readonly Cost None = new(0, 0, 0);

        private static readonly Func<Cost, double>[] Parts = [c => c.TimeMs, c => c.ProcessorMs, c => c.ProgramsMs];

        /// <summary>Medians, each by itself, for each phase and for all of a boot.</summary>
        public static IEnumerable<string> ByPhase(IReadOnlyList<(string Role, IReadOnlyList<FirstBoot> Boots)> roles)
        {
            var heads = roles.Select(r => $"{r.Role}, {r.Boots.Count} boots: time | processor | programs' |");
            yield return $"| first boot | {string.Join(' ', heads)}";
            yield return $"|---|{string.Concat(Enumerable.Repeat("---|---|---|", roles.Count))}";
            foreach (var phase in roles.SelectMany(r => r.Boots).SelectMany(b => b.Phases.Keys).Distinct())
            {
                yield return Line(phase, b => b.Phases.GetValueOrDefault(phase, None));
            }

            yield return Line(
                "all (at most 2 s of processor time each)",
                b => b.Phases.Values.Aggregate(None, (a, c) => new(a.TimeMs + c.TimeMs, a.ProcessorMs + c.ProcessorMs, a.ProgramsMs + c.ProgramsMs)));

            string Line(string what, Func<FirstBoot, Cost> cost) =>
                $"| {what} | {string.Join(' ', roles.SelectMany(_ => Parts, (r, part) => Median(r.Boots, cost, part)))}";

            static string Median(IReadOnlyList<FirstBoot> boots, Func<FirstBoot, Cost> cost, Func<Cost, double> part) =>
                string.Create(CultureInfo.InvariantCulture, $"{boots.Select(b => part(cost(b))).Order().ElementAt(boots.Count / 2):0} ms |");
        }

        private static async Task<IReadOnlyDictionary<string, Cost>> PhasesAsync(Guest guest)
        {
            using var status = JsonDocument.Parse(await guest.CheckAsync("cat /run/nodeagent/status.json"));
            var (times, own, programs) = (Of("phaseSeconds"), Of("processorSeconds"), Of("programsProcessorSeconds"));
            return own.Keys.Union(times.Keys).ToDictionary(
                p => p, p => new Cost(times.GetValueOrDefault(p), own.GetValueOrDefault(p), programs.GetValueOrDefault(p)));

            Dictionary<string, double> Of(string name) =>
                status.RootElement.GetProperty(name).EnumerateObject().ToDictionary(p => p.Name, p => 1000 * p.Value.GetDouble());
        }

        public static async Task<FirstBoot> ReadAsync(Guest guest)
        {
            var property = await guest.CheckAsync(
                "busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1/unit/nodeagent_2eservice "
                + "org.freedesktop.systemd1.Service ExecMainStartTimestamp");
            var started = long.Parse(property.Split(' ')[1], CultureInfo.InvariantCulture);
            var steps = new List<(string Resource, long Ms, long At)>();
            var sum = "";
            foreach (var line in (await guest.CheckAsync("journalctl --boot --unit nodeagent.service --identifier nodeagent --output json")).Split('\n'))
            {
                using var entry = JsonDocument.Parse(line);
                var message = Text(entry, "MESSAGE")!;
                sum = message.StartsWith("Applied:", StringComparison.Ordinal) ? message : sum;
                if (Text(entry, "NODEAGENT_RESOURCE") is { } resource && sum.Length == 0)
                {
                    steps.Add((resource, Number(entry, "NODEAGENT_DURATION_MS"), Number(entry, "_SOURCE_REALTIME_TIMESTAMP") - started));
                }
            }

            var last = steps.FindLastIndex(step => Is(step.Resource, "file", "certificate", "kubeconfig"));
            return last >= 0 && sum.Length > 0
                ? new(
                    steps[last].At / 1000.0,
                    steps.Take(last).Where(step => Is(step.Resource, "systemd configuration", "service")).Sum(step => step.Ms),
                    string.Join(", ", steps.Where(step => step.Ms >= 20).Select(step => $"{step.Resource} {step.Ms} ms")),
                    sum,
                    await PhasesAsync(guest))
                : throw new LabException("the journal of this first boot names no file, or no end");
        }

        public static string Row(string what, string target, IReadOnlyList<FirstBoot> boots, Func<FirstBoot, double> figure)
        {
            var sorted = boots.Select(figure).Order().ToArray();
            return string.Create(
                CultureInfo.InvariantCulture, $"| {what} | {target} | {sorted[sorted.Length / 2]:0} ms | {sorted[0]:0} ms | {sorted[^1]:0} ms | | |");
        }

        private static bool Is(string resource, params string[] kinds) => kinds.Any(kind => resource.StartsWith(kind + " ", StringComparison.Ordinal));

        private static string? Text(JsonDocument entry, string field) => entry.RootElement.TryGetProperty(field, out var value) ? value.GetString() : null;

        private static long Number(JsonDocument entry, string field) => long.Parse(Text(entry, field)!, CultureInfo.InvariantCulture);
    }
}
