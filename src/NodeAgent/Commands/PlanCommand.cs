using System.CommandLine;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>nodeagent plan: says what apply would do, with a reader alone.</summary>
internal static class PlanCommand
{
    public static Command Create()
    {
        var config = CommonOptions.Config();
        var format = CommonOptions.Format();
        var deadline = CommonOptions.Deadline("1m");
        var facts = new Option<string?>("--facts") { Description = "Plan for the machine these facts were saved from instead of this one.", HelpName = "FILE" };
        var machine = new Option<string?>("--machine") { Description = "Compare with a recording of a machine; without one, --facts compares with an empty machine.", HelpName = "DIR" };
        var record = new Option<string?>("--record") { Description = "Record what this machine answers while planning, to be replayed with --machine.", HelpName = "DIR" };
        var command = new Command("plan", """
            Say what apply would change on this machine, and why. Changes nothing.

            Exit codes: 0 nothing to do, 2 changes pending, 1 failed, 3 bad configuration, 4 not reachable in time, 5 refused for safety.

            Example:
              nodeagent plan --config node.yaml
              nodeagent facts --save m5d.json && nodeagent plan --facts m5d.json --config node.yaml
            """)
        {
            config, format, deadline, facts, machine, record,
        };
        command.Validators.Add(result =>
        {
            if (result.GetValue(machine) is not null && result.GetValue(facts) is null)
            {
                result.AddError("--machine goes with --facts: record both on the machine, with 'nodeagent facts --save FILE' and 'nodeagent plan --record DIR'");
            }

            if (result.GetValue(record) is not null && result.GetValue(facts) is not null)
            {
                result.AddError("--record records this machine; it does not go with --facts");
            }
        });
        command.SetAction((parse, cancellation) => Run(
            CommonOptions.Absolute(parse.GetValue(config)!),
            parse.GetValue(format) == "json",
            parse.GetValue(deadline).Value,
            parse.GetValue(facts),
            parse.GetValue(machine),
            parse.GetValue(record),
            cancellation));
        return command;
    }

    private static async Task<int> Run(
        IReadOnlyList<string> config, bool json, TimeSpan deadline, string? facts, string? machine, string? record, CancellationToken stop)
    {
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(stop);
        timer.CancelAfter(deadline);
        using var live = new LinuxReader(timer.Token);
        var timeline = new Timeline();
        IMachineReader reader = live;
        NodeInputs inputs;
        RecordingReader? recording = null;
        if (facts is not null)
        {
            inputs = NodeInputs.FromFacts(live, Path.GetFullPath(facts), config, timeline);
            reader = machine is not null ? ReplayReader.Open(Path.GetFullPath(machine)) : new EmptyMachineReader(live.Now);
        }
        else
        {
            reader = record is not null ? recording = new RecordingReader(live) : live;
            inputs = await NodeInputs.FromMachine(live, config, deadline, timeline, timer.Token).ConfigureAwait(false);
        }

        var plan = timeline.Measure("plan", () => Plan.Make(inputs.Resources, reader));
        recording?.Save(Path.GetFullPath(record!));
        if (json)
        {
            Console.Out.WriteLine(PlanJson.Write(plan, inputs.NodeName));
        }
        else
        {
            Console.Out.WriteLine($"{inputs.NodeName} ({inputs.Facts.Instance.Id}, {inputs.Facts.Instance.Type}, {inputs.Facts.Instance.AvailabilityZone})\n");
            new PlanText(Console.Out, Terminal.HasColor).Write(plan);
        }

        return ExitCode.Of(plan);
    }
}
