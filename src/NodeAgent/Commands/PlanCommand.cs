using System.CommandLine;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Machine;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>nodeagent plan: says what apply would do, with a reader alone.</summary>
internal static class PlanCommand
{
    private const string MachineName = "machine.json";

    private const string FactsName = "facts.json";

    public static Command Create()
    {
        var config = CommonOptions.Config();
        var format = CommonOptions.Format();
        var deadline = CommonOptions.Deadline("1m");
        var facts = new Option<string?>("--facts") { Description = "Plan for the machine these facts were saved from instead of this one.", HelpName = "FILE" };
        var machine = new Option<string?>("--machine")
        {
            Description =
                "Compare with a recording of a machine, for its facts unless --facts gives others. Without it, --facts compares with an empty machine.",
            HelpName = "DIR",
        };
        var record = new Option<string?>("--record")
        {
            Description = "Record what this machine answers while planning, and its facts, to be replayed with --machine.",
            HelpName = "DIR",
        };
        var command = new Command("plan", """
            Say what apply would change on this machine, and why. Changes nothing.

            Exit codes: 0 nothing to do, 2 changes pending, 1 failed, 3 bad configuration, 4 not reachable in time, 5 refused for safety.

            Example:
              nodeagent plan --config node.yaml
              nodeagent plan --facts m5d.json --config node.yaml      # of a machine that is not there yet
              nodeagent plan --record r && nodeagent plan --machine r --config new.yaml
            """)
        {
            config, format, deadline, facts, machine, record,
        };
        command.Validators.Add(result =>
        {
            if (result.GetValue(record) is not null && (result.GetValue(facts) ?? result.GetValue(machine)) is not null)
            {
                result.AddError("--record records this machine; it does not go with --facts and --machine, which stand for another");
            }
        });
        command.SetAction((parse, stop) => Errors.Within(
            parse.GetValue(deadline).Value,
            cancellation => Run(
                CommonOptions.Absolute(parse.GetValue(config)!),
                parse.GetValue(format) == "json",
                parse.GetValue(deadline).Value,
                parse.GetValue(facts),
                parse.GetValue(machine),
                parse.GetValue(record),
                cancellation),
            stop));
        return command;
    }

    private static ReplayReader Replay(IMachineReader files, string path) => new(
        files.File(path) is { Kind: FileKind.Regular, Content: { } content }
            ? Recording.Parse(content, path)
            : throw new FactsException($"{path}: there is no such recording; 'nodeagent plan --record DIR' makes one"));

    private static async Task<int> Run(
        IReadOnlyList<string> config, bool json, TimeSpan deadline, string? facts, string? machine, string? record, CancellationToken cancellation)
    {
        using var live = new LinuxReader(cancellation);
        var timeline = new Timeline();
        IMachineReader reader = live;
        NodeInputs inputs;
        if (facts is not null || machine is not null)
        {
            inputs = NodeInputs.FromFacts(live, Path.GetFullPath(facts ?? Path.Join(machine, FactsName)), config, timeline);
            reader = machine is not null
                ? Replay(live, Path.GetFullPath(Path.Join(machine, MachineName)))
                : new EmptyMachineReader(live.Now, inputs.Facts.Disks);
        }
        else
        {
            inputs = await NodeInputs.FromMachine(live, config, deadline, timeline, cancellation).ConfigureAwait(false);
            if (record is not null)
            {
                // Only what the plan asks: layers of configuration may hold secrets, and a replay reads its own.
                var recording = new RecordingReader(live);
                _ = Plan.Make(inputs.Resources, recording);
                Files.Write(Path.GetFullPath(Path.Join(record, MachineName)), recording.Recording.ToJson(), Files.OwnerOnly);
                Files.Write(Path.GetFullPath(Path.Join(record, FactsName)), FactsJson.Write(inputs.Facts), Files.OwnerOnly);
            }
        }

        var plan = timeline.Measure("plan", () => Plan.Make(inputs.Resources, reader));
        if (json)
        {
            Console.Out.WriteLine(PlanJson.Write(plan, inputs.NodeName, inputs.StandIns, advice: inputs.Advice));
        }
        else
        {
            Console.Out.WriteLine($"{inputs.NodeName} ({inputs.Facts.Instance.Id}, {inputs.Facts.Instance.Type}, {inputs.Facts.Instance.AvailabilityZone})\n");
            foreach (var standIn in inputs.StandIns)
            {
                Console.Out.WriteLine($"{standIn}\n");
            }

            new PlanText(Console.Out, Terminal.HasColor).Write(plan, inputs.Advice);
        }

        return ExitCode.Of(plan, inputs.Advice);
    }
}
