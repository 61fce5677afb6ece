using System.CommandLine;
using System.Net;
using System.Net.Sockets;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>nodeagent endpoint: finds the control plane again after its instances changed. nodeagent-endpoint.timer has it run where cluster.endpointFrom is tags.</summary>
internal static class EndpointCommand
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    public static Command Create()
    {
        var deadline = CommonOptions.Deadline("2m");
        var command = new Command("endpoint", """
            Look whether one of the addresses that /etc/hosts has for the cluster's endpoint takes connections, and only if none does, ask EC2 for the control plane's
            instances and write their addresses there (cluster.endpointFrom: tags).

            Exit codes: 0 it answers, or was found anew, 1 failed, 3 bad configuration, 4 not reachable in time.

            Example:
              nodeagent endpoint
            """)
        {
            deadline,
        };
        command.SetAction((parse, stop) => Errors.Within(parse.GetValue(deadline).Value, timer => Run(parse.GetValue(deadline).Value, timer), stop));
        return command;
    }

    private static async Task<int> Run(TimeSpan deadline, CancellationToken stop)
    {
        foreach (var known in HostsEntry.Endpoints(Files.Text(HostsEntry.Path) ?? ""))
        {
            if (await Answers(known, stop).ConfigureAwait(false))
            {
                return ExitCode.Ok;
            }
        }

        using var log = RunLog.ToJournal(VersionCommand.Version, new JournalSink());
        using var machine = new LinuxReader(stop);
        using var alone = RunLock.Acquire(RunLock.DefaultPath, "endpoint", static _ => { }, stop);
        var timeline = new Timeline();
        var inputs = await NodeInputs.FromMachine(machine, [], deadline, timeline, stop).ConfigureAwait(false);
        if (!Endpoint.IsInHosts(inputs.Config.Config))
        {
            throw new NotPossibleException("cluster.endpointFrom is not tags: whoever owns the endpoint's name looks after it");
        }

        var result = Applier.Apply(
            inputs.Resources.Only(r => r is HostsEntry),
            machine,
            new LinuxWriter(machine, stop),
            new ApplyProgress(Journal.IsStandardError ? TextWriter.Null : Console.Out, Terminal.IsThere, Terminal.HasColor, _ => { }, new RunLog(log), timeline),
            stop);
        return ExitCode.Of(result);
    }

    private static async Task<bool> Answers(IPEndPoint known, CancellationToken stop)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(stop);
        patience.CancelAfter(Patience);
        using var socket = new Socket(known.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await socket.ConnectAsync(known, patience.Token).ConfigureAwait(false);
            return true;
        }
        catch (Exception e) when (e is SocketException || (e is OperationCanceledException && !stop.IsCancellationRequested))
        {
            return false;
        }
    }
}
