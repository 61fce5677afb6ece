using System.CommandLine;
using NodeAgent.Commands;

var root = new RootCommand("Turns an EC2 instance into a Kubernetes node, says beforehand what it would do, and repairs what drifted.")
{
    ApplyCommand.Create(),
    ImageCommand.Create(),
    PlanCommand.Create(),
    ReadyCommand.Create(),
    VersionCommand.Create(),
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
    return ExitCode.Of(e);
}
