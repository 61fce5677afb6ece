using System.CommandLine;
using System.Globalization;
using NodeAgent.Advice;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Facts;
using NodeAgent.Machine;
using NodeAgent.Telemetry;
using Serilog.Core;
using Serilog.Events;

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
        var adopt = new Option<bool>("--adopt")
        {
            Description = "As nodeagent-adopt.service runs it: only where there is new configuration, and adoption.* lets this running node take it now.",
        };
        var command = new Command("apply", """
            Make this machine the node it shall be: change what differs, restart what needs it, leave the rest alone.

            Exit codes: 0 done or nothing to do, 1 failed, 3 bad configuration, 4 not reachable in time, 5 refused for safety.

            Example:
              nodeagent apply
              nodeagent apply --config repair.yaml --deadline 5m
            """)
        {
            config, format, deadline, atBoot, adopt,
        };
        command.Validators.Add(result =>
        {
            if (result.GetValue(adopt) && (result.GetValue(atBoot) || result.GetValue(config) is { Length: > 0 }))
            {
                result.AddError("--adopt goes by the layers of this machine while it runs; it does not go with --at-boot and --config");
            }
        });
        command.SetAction((parse, cancellation) => new Run(
            CommonOptions.Absolute(parse.GetValue(config)!),
            parse.GetValue(format) == "json",
            parse.GetValue(deadline).Value,
            parse.GetValue(atBoot),
            parse.GetValue(adopt)).Go(cancellation));
        return command;
    }

    private sealed class Run(IReadOnlyList<string> config, bool json, TimeSpan deadline, bool atBoot, bool adopt)
    {
        private static readonly TimeSpan WhilePrepared = TimeSpan.FromMinutes(2);

        private readonly Timeline _timeline = new();
        private readonly Logger _log = RunLog.ToJournal(VersionCommand.Version, new JournalSink());
        private NodeInputs? _inputs;
        private AdoptionLook? _look;
        private AdoptionRecord? _record;
        private Launch? _launch;
        private StatusAdoption? _adoption;

        /// <summary>Nothing is touched yet, and may be it never is: the status file goes on to say what the last run came to.</summary>
        private bool _looks = adopt;

        public async Task<int> Go(CancellationToken stop)
        {
            using var log = _log;
            var exitCode = await Make(stop).ConfigureAwait(false);
            if (_launch is { } launch)
            {
                await launch.Ended(exitCode, stop).ConfigureAwait(false);
                await launch.DisposeAsync().ConfigureAwait(false);
            }

            return exitCode;
        }

        /// <summary>A boot is what may be a launch.</summary>
        private void Known(NodeConfig config, NodeFacts facts)
        {
            if (atBoot && Lifecycle.LaunchHook(config, facts) is { } hook)
            {
                Try(() => _launch = Launch.Begin(
                    hook.Target,
                    () => InstanceHook.Open(hook, MachineSources.Outbound(config.Proxy, config.Trust)),
                    hook.Heartbeat.Value,
                    config.Autoscaling.GiveUpAfter.Value,
                    Lifecycle.LaunchPath,
                    TimeProvider.System,
                    what => _log.Information("{What:l}", what)));
            }
        }

        private async Task<int> Make(CancellationToken stop)
        {
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
                using var alone = RunLock.Acquire(
                    RunLock.DefaultPath, "apply", waiting => Console.Error.WriteLine($"nodeagent: waiting: {waiting}"), timer.Token);
                WriteStatus(machine, "applying", null, null, null);
                var gate = atBoot ? Converge(BootGate.Closed(), machine, writer, timer.Token) : null;
                ServiceNotify.Status("reading configuration and facts");
                _inputs = await NodeInputs.FromMachine(machine, config, limit, _timeline, timer.Token, forgets: true, Known).ConfigureAwait(false);
                foreach (var standIn in _inputs.StandIns)
                {
                    _log.Warning("{What:l}", standIn);
                }

                _record = Record();
                _adoption = AdoptionLook.ForStatus(_record, _inputs);
                if (_looks && Look(machine) is { } nothingMore)
                {
                    return nothingMore;
                }

                Heed(_inputs.Advice);
                if (config.Count == 0 && AdoptionLook.Begins(_inputs, _record) is { } begins)
                {
                    Try(() => AdoptionLook.Keep(_record = begins));
                }

                result = Converge(_inputs.Resources, machine, writer, timer.Token);
                exitCode = stop.IsCancellationRequested ? ExitCode.ToldToStop : Math.Max(ExitCode.Of(result), gate is null ? 0 : ExitCode.Of(gate));
                if (config.Count == 0)
                {
                    Keep(exitCode == ExitCode.Ok, machine.Now);
                }

                WriteStatus(machine, exitCode == ExitCode.Ok ? "applied" : "failed", exitCode, null, result);
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

        /// <exception cref="NotPossibleException">The configuration, or the rule itself, would rather have no such node.</exception>
        private void Heed(IReadOnlyList<Advisory> advice)
        {
            foreach (var advisory in advice.Where(a => !a.IsRefused))
            {
                _log.Warning("{What:l}", AdviceText.Line(advisory));
                if (!Journal.IsStandardError)
                {
                    Console.Error.WriteLine($"nodeagent: warning: {AdviceText.Line(advisory)}");
                }
            }

            if (advice.Where(a => a.IsRefused).Select(AdviceText.Line).ToList() is { Count: > 0 } refused)
            {
                throw new NotPossibleException(string.Join("\n", refused)) { IsRefusal = true };
            }
        }

        /// <summary>Of use, never needed: a node boots without it.</summary>
        private AdoptionRecord? Record()
        {
            try
            {
                return AdoptionLook.ReadRecord(_inputs!.Facts.Instance.Id);
            }
            catch (ProbeException e)
            {
                _log.Warning("{What:l}", e.Message);
                return null;
            }
        }

        private RunResult Converge(ResourceList list, LinuxReader machine, LinuxWriter writer, CancellationToken cancellation) => Applier.Apply(
            list,
            machine,
            writer,
            new ApplyProgress(
                json || Journal.IsStandardError ? TextWriter.Null : Console.Out,
                Terminal.IsThere,
                Terminal.HasColor,
                ServiceNotify.Status,
                new RunLog(_log),
                _timeline),
            cancellation);

        /// <returns>The exit code where this run has nothing more to do.</returns>
        private int? Look(LinuxReader machine)
        {
            var look = _look = _timeline.Measure("plan", () => AdoptionLook.At(_inputs!, machine, _record));
            _adoption = look.ForStatus();
            if (look.ToKeep is { } seen)
            {
                Try(() => AdoptionLook.Keep(_record = seen));
            }

            if (look.Adopts)
            {
                _log.Information("{What:l} It is adopted now.", look.What());
                _looks = false;
                WriteStatus(machine, "applying", null, null, null);
                return null;
            }

            var isHindered = look.Step == AdoptionStep.Now;
            var exitCode = isHindered ? ExitCode.Of(look.Plan!, _inputs!.Advice) : ExitCode.Ok;
            var said = isHindered
                ? $"NOT ADOPTED, and nothing was changed: {string.Join("; ", look.Obstacles)}. {look.What()} It is tried again with the next look."
                : look.Sentence();
            _log.ForContext("ExitCode", exitCode).Write(isHindered ? LogEventLevel.Error : LogEventLevel.Information, "{What:l}", said);
            Try(() => StatusFile.Say(StatusFile.DefaultPath, _ => _adoption with { Error = isHindered ? said : null }));
            if (json)
            {
                Console.Out.WriteLine(PendingJson.Write(look, exitCode));
            }
            else if (!Journal.IsStandardError)
            {
                (isHindered ? Console.Error : Console.Out).WriteLine(said);
            }

            return exitCode;
        }

        private void Keep(bool isGood, DateTimeOffset now) => Try(() =>
        {
            if (isGood)
            {
                var before = _record;
                _record = AdoptionLook.Adopted(_inputs!, now, before);
                if (_record != before)
                {
                    AdoptionLook.Keep(_record);
                }

                _adoption = AdoptionLook.ForStatus(_record, _inputs!);
                _inputs!.Keep();
            }
            else if (_look is not null && _record is { Pending: { } pending })
            {
                AdoptionLook.Keep(_record = _record with { Pending = pending with { FailedAt = AdoptionLook.Seconds(now) } });
            }
        });

        private void Try(Action write)
        {
            try
            {
                write();
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

            _log.ForContext("ExitCode", exitCode).ForContext("InstanceId", _inputs!.Facts.Instance.Id)
                .ForContext("DurationMs", (long)_timeline.Total.TotalMilliseconds)
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

        private void WriteStatus(LinuxReader machine, string state, int? exitCode, string? error, RunResult? result) => Try(() =>
        {
            if (_looks)
            {
                // It came to nothing, or to that nobody has said anything yet.
                if (error is not null)
                {
                    StatusFile.Say(StatusFile.DefaultPath, before => (before ?? new()) with { Error = error, LookedAt = Rfc3339.Text(machine.Now) });
                }

                return;
            }

            new StatusFile
            {
                Version = VersionCommand.Version,
                State = state,
                At = Rfc3339.Text(machine.Now),
                ExitCode = exitCode,
                InstanceId = _inputs?.Facts.Instance.Id,
                Node = _inputs?.NodeName,
                Error = error,
                StandIns = _inputs is { StandIns: { Count: > 0 } standIns } ? standIns : null,
                Changed = result?.Count<Changed>(),
                InSync = result?.Count<Held>(),
                Problems = result is null ? null : StatusProblem.Of(result),
                Notes = result is { Notes: { Count: > 0 } notes } ? [.. notes.Select(n => $"{n.Resource.Id}: {n.Note}")] : null,
                PhaseSeconds = result is null ? null : _timeline.Seconds(p => p.Duration),
                ProcessorSeconds = result is null ? null : _timeline.Seconds(p => p.Processor.Own),
                ProgramsProcessorSeconds = result is null ? null : _timeline.Seconds(p => p.Processor.Programs),
                Adoption = _adoption,
            }.Write(StatusFile.DefaultPath);
        });
    }
}
