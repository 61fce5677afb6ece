using System.CommandLine;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using NodeAgent.Facts;
using NodeAgent.Machine;

var root = new RootCommand("Turns an EC2 instance into a Kubernetes node, says beforehand what it would do, and repairs what drifted.")
{
    ApplyCommand.Create(),
    CaCommand.Create(),
    CertsCommand.Create(),
    ClusterCommand.Create(),
    ConfigCommand.Create(LayersOfThisMachine, PendingCommand.Run, CheckOnThisMachine),
    EndpointCommand.Create(),
    FactsCommand.Create(FactsOfThisMachine, (path, content) => Files.Write(Path.GetFullPath(path), content, Files.OwnerOnly)),
    ImageCommand.Create(),
    IssuerCommand.Create(),
    NetworkCommand.Create(),
    PlanCommand.Create(),
    ReadyCommand.Create(),
    RenderCommand.Create(),
    VersionCommand.Create(),
    WatchCommand.Create(),
};
var parse = root.Parse(args);
if (parse.Errors.Count > 0)
{
    foreach (var error in parse.Errors)
    {
        Console.Error.WriteLine($"nodeagent: {error.Message}");
    }

    Console.Error.WriteLine("nodeagent: see 'nodeagent --help'");
    return ExitCode.BadConfiguration;
}

try
{
    // A run that is told to stop finishes the step it is in and says so; systemd waits for that (TimeoutStopSec=).
    return await parse.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = TimeSpan.FromSeconds(30) });
}
catch (Exception e)
{
    Console.Error.WriteLine($"nodeagent: {Errors.Text(e, null, false)}");
    // Deadlines have been told by their own exception before they come here.
    return e is OperationCanceledException ? ExitCode.ToldToStop : ExitCode.Of(e);
}

static async Task<NodeFacts> FactsOfThisMachine(CancellationToken stop)
{
    using var machine = new LinuxReader(stop);
    return await NodeInputs.FactsOfMachine(machine, TimeSpan.FromSeconds(60), stop);
}

static async Task<CheckedConfig> CheckOnThisMachine(IReadOnlyList<string> files, string? facts, CancellationToken stop)
{
    using var machine = new LinuxReader(stop);
    return await NodeInputs.Check(machine, files, facts, TimeSpan.FromSeconds(60), stop);
}

static async Task<IReadOnlyList<Layer>> LayersOfThisMachine(IReadOnlyList<string> files, CancellationToken stop)
{
    using var machine = new LinuxReader(stop);
    return await NodeInputs.Layers(machine, files, TimeSpan.FromSeconds(60), stop);
}
