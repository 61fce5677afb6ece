using System.CommandLine;
using System.Globalization;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Telemetry;
using Serilog.Core;

namespace NodeAgent.Commands;

/// <summary>nodeagent apply: makes this machine the node it shall be.</summary>
internal static class ApplyCommand
{
    public static Command Create()
    {
        var config = CommonOptions.Config();
        var format = CommonOptions.Format();
        var deadline = CommonOptions.Deadline("10m");
        var atBoot = new Option<bool>("--at-boot")
        {
            Description = "As nodeagent.service runs it: keeps runtime and kubelet from starting before anything else is known of this machine.",
        };
        var command = new Command("apply", """
            Make this machine the node it shall be: change what differs, restart what needs it, leave the rest alone.

            Exit codes: 0 done or nothing to do, 1 failed, 3 bad configuration, 4 not reachable in time, 5 refused for safety.

            Example:
              nodeagent apply
              nodeagent apply --config repair.yaml --deadline 5m
            """)
        {
            config, format, deadline, atBoot,
        };
        command.SetAction((parse, cancellation) => new Run(
            CommonOptions.Absolute(parse.GetValue(config)!), parse.GetValue(format) == "json", parse.GetValue(deadline).Value, parse.GetValue(atBoot)).Go(cancellation));
        return command;
    }

    private sealed class Run(IReadOnlyList<string> config, bool json, TimeSpan deadline, bool atBoot)
    {
        private static readonly TimeSpan WhilePrepared = TimeSpan.FromMinutes(2);

        private readonly Timeline _timeline = new();
        private readonly Logger _log = RunLog.ToJournal(VersionCommand.Version, new JournalSink());
        private NodeInputs? _inputs;

        public async Task<int> Go(CancellationToken stop)
        {
            using var log = _log;
            using var timer = CancellationTokenSource.CreateLinkedTokenSource(stop);
            using var machine = new LinuxReader(timer.Token);
            // On a node that runs, what is ordered after our unit could not be started again while this waits: not for long, then.
            var limit = atBoot && machine.File(BootGate.StampPath).Kind == FileKind.Regular && deadline > WhilePrepared ? WhilePrepared : deadline;
            timer.CancelAfter(limit);
            var writer = new LinuxWriter(machine, timer.Token);
            RunResult? result = null;
            int exitCode;
            try
            {
                using var alone = RunLock.Acquire(RunLock.DefaultPath, "apply", waiting => Console.Error.WriteLine($"nodeagent: waiting: {waiting}"), timer.Token);
                WriteStatus(machine, "applying", null, null, null);
                var gate = atBoot ? Converge(BootGate.Closed(), machine, writer, timer.Token) : null;
                ServiceNotify.Status("reading configuration and facts");
                _inputs = await NodeInputs.FromMachine(machine, config, limit, _timeline, timer.Token, forgets: true).ConfigureAwait(false);
                foreach (var standIn in _inputs.StandIns)
                {
                    _log.Warning("{What:l}", standIn);
                }

                result = Converge(_inputs.Resources, machine, writer, timer.Token);
                exitCode = stop.IsCancellationRequested ? ExitCode.ToldToStop : Math.Max(ExitCode.Of(result), gate is null ? 0 : ExitCode.Of(gate));
                WriteStatus(machine, exitCode == ExitCode.Ok ? "applied" : "failed", exitCode, null, result);
                if (exitCode == ExitCode.Ok && config.Count == 0)
                {
                    Keep();
                }
            }
            catch (Exception e)
            {
                exitCode = stop.IsCancellationRequested ? ExitCode.ToldToStop : ExitCode.Of(e);
                var why = Errors.Text(e, limit, timer.IsCancellationRequested && !stop.IsCancellationRequested);
                ServiceNotify.Status($"failed: {why}");
                _log.ForContext("ExitCode", exitCode).Error("{What:l}", why);
                WriteStatus(machine, "failed", exitCode, why, null);
                if (!Journal.IsStandardError)
                {
                    Console.Error.WriteLine($"nodeagent: {why}");
                }

                return exitCode;
            }

            Say(exitCode, result);
            return exitCode;
        }

        private RunResult Converge(ResourceList list, LinuxReader machine, LinuxWriter writer, CancellationToken cancellation) => Applier.Apply(
            list,
            machine,
            writer,
            new ApplyProgress(json || Journal.IsStandardError ? TextWriter.Null : Console.Out, Terminal.IsThere, Terminal.HasColor, ServiceNotify.Status, new RunLog(_log), _timeline),
            cancellation);

        private void Keep()
        {
            try
            {
                _inputs!.Keep();
            }
            catch (MachineException e)
            {
                _log.Warning("{What:l}", e.Message);
            }
        }

        private void Say(int exitCode, RunResult result)
        {
            var sum = Summary(result);
            ServiceNotify.Status(sum);
            if (exitCode == ExitCode.Ok)
            {
                ServiceNotify.Ready();
            }

            _log.ForContext("ExitCode", exitCode).ForContext("InstanceId", _inputs!.Facts.Instance.Id).ForContext("DurationMs", (long)_timeline.Total.TotalMilliseconds)
                .Information("{What:l} {Timeline:l}", sum, _timeline.ToString());
            if (json)
            {
                Console.Out.WriteLine(RunJson.Write(result, _inputs.NodeName, exitCode, _timeline));
            }
            else if (!Journal.IsStandardError)
            {
                Console.Out.WriteLine($"{sum} {_timeline}");
            }
        }

        private static string Summary(RunResult result)
        {
            var parts = new List<string>();
            Add(result.Count<Changed>(), "changed");
            Add(result.Count<RefusedToChange>(), "refused");
            Add(result.Count<Failed>(), "failed");
            Add(result.Count<Skipped>(), "skipped");
            Add(result.Count<OutOfTime>(), "out of time");
            parts.Add(string.Create(CultureInfo.InvariantCulture, $"{result.Count<Held>()} in sync"));
            return $"{(result.Succeeded ? "Applied" : "NOT APPLIED")}: {string.Join(", ", parts)}.";

            void Add(int count, string what)
            {
                if (count > 0 || what == "changed")
                {
                    parts.Add(string.Create(CultureInfo.InvariantCulture, $"{count} {what}"));
                }
            }
        }

        private void WriteStatus(LinuxReader machine, string state, int? exitCode, string? error, RunResult? result)
        {
            try
            {
                new StatusFile
                {
                    Version = VersionCommand.Version,
                    State = state,
                    At = machine.Now.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
                    ExitCode = exitCode,
                    InstanceId = _inputs?.Facts.Instance.Id,
                    Node = _inputs?.NodeName,
                    Error = error,
                    StandIns = _inputs is { StandIns: { Count: > 0 } standIns } ? standIns : null,
                    Changed = result?.Count<Changed>(),
                    InSync = result?.Count<Held>(),
                    Problems = result is null ? null : StatusProblem.Of(result),
                    Notes = result is { Notes: { Count: > 0 } notes } ? [.. notes.Select(n => $"{n.Resource.Id}: {n.Note}")] : null,
                    PhaseSeconds = result is null ? null : _timeline.Phases.ToDictionary(p => p.Phase, p => Math.Round(p.Duration.TotalSeconds, 3)),
                }.Write(StatusFile.DefaultPath);
            }
            catch (MachineException e)
            {
                _log.Warning("{What:l}", e.Message);
            }
        }
    }
}
