using System.Diagnostics;
using NodeAgent.Lab;

const string Usage = """
    lab e2e [NAME...] [--tier ci]   run scenarios: those named, those of a tier, or all
    lab list                        their names
    lab demo                        a worker becomes a node, step by step
    lab bench [--machine]           speed and memory beside their targets
    lab shell [--container]         boot a guest and run commands in it
    lab build                       build everything that is cached, and the snapshot
    """;

try
{
    switch (args)
    {
        case ["e2e", "--tier", "ci"]:
            return await RunAsync([.. Scenario.All.Where(scenario => scenario.Tier == Tier.Ci)]);
        case ["e2e", .. var names]:
            var unknown = names.FirstOrDefault(name => Scenario.All.All(scenario => scenario.Name != name));
            return unknown is null
                ? await RunAsync([.. Scenario.All.Where(scenario => names.Length == 0 || names.Contains(scenario.Name))])
                : Fail($"no scenario is called '{unknown}'; there are: {string.Join(", ", Scenario.All.Select(scenario => scenario.Name))}");
        case ["list"]:
            foreach (var scenario in Scenario.All)
            {
                Console.WriteLine($"{scenario.Name,-20} {scenario.Ring,-15} {scenario.Tier}");
            }

            return 0;
        case ["demo"]:
            return await WithLaboratoryAsync("demo", Demo.RunAsync);
        case ["bench", .. var options]:
            return await WithLaboratoryAsync("bench", lab => Bench.RunAsync(lab, options.Contains("--machine")));
        case ["shell", .. var options]:
            return await WithLaboratoryAsync("shell", lab => Shell.RunAsync(lab, options.Contains("--container")));
        case ["build"]:
            return await WithLaboratoryAsync("build", lab => BuildAsync(lab, snapshot: true));
        default:
            return Fail(Usage);
    }
}
catch (LabException e)
{
    return Fail(e.Message);
}

static int Fail(string message)
{
    Console.Error.WriteLine(message);
    return 1;
}

static async Task<int> RunAsync(IReadOnlyList<Scenario> scenarios)
{
    await Caches.PrerequisitesAsync();
    await using var lab = new Laboratory();
    // Before any scenario's time runs: from empty caches it takes minutes.
    await lab.EnterAsync("build");
    await BuildAsync(lab, snapshot: scenarios.Any(scenario => scenario.Ring == Ring.VirtualMachine));
    var failed = new List<string>();
    foreach (var scenario in scenarios)
    {
        var clock = Stopwatch.StartNew();
        var failure = await scenario.TryAsync(lab);
        Console.WriteLine($"{(failure is null ? "PASS" : "FAIL")}  {scenario.Name}  {clock.Elapsed.TotalSeconds:0.0} s");
        if (failure is not null)
        {
            failed.Add(scenario.Name);
            Console.WriteLine($"  {failure.Replace("\n", "\n  ", StringComparison.Ordinal)}\n  logs: {Path.Combine(Caches.Artifacts, scenario.Name)}");
        }
    }

    Console.WriteLine($"{scenarios.Count - failed.Count} passed, {failed.Count} failed");
    return failed.Count == 0 ? 0 : 1;
}

static async Task<int> WithLaboratoryAsync(string name, Func<Laboratory, Task> run)
{
    await Caches.PrerequisitesAsync();
    await using var lab = new Laboratory();
    await lab.EnterAsync(name);
    await run(lab);
    return 0;
}

static async Task BuildAsync(Laboratory lab, bool snapshot)
{
    lab.Say("Kubernetes, from source the first time (about 5 minutes)");
    await Caches.KubernetesAsync();
    lab.Say("the guest's root and images");
    await Caches.GuestAsync();
    lab.Say("the AWS fake's root");
    await Caches.MotoAsync();
    if (snapshot)
    {
        lab.Say("the snapshot of a booted guest");
        await VirtualMachine.SnapshotAsync(lab);
    }
}
