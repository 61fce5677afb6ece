namespace NodeAgent.Machine;

/// <summary>Units, on top of the manager's calls: what a job's result means, and when not to wait for one. Connects when first asked.</summary>
internal sealed class Systemd(Func<ISystemdManager> connect) : IDisposable
{
    private ISystemdManager? _manager;
    private const string Service = "nodeagent.service";

    private string? _ownUnit;

    public void Dispose() => _manager?.Dispose();

    public UnitReport Report(string name)
    {
        try
        {
            var manager = Manager();
            var unit = manager.GetUnitProperties(manager.LoadUnit(name));
            return new UnitReport(
                name,
                unit.LoadState,
                unit.ActiveState,
                unit.SubState,
                unit.UnitFileState,
                unit.InvocationID,
                unit.NeedDaemonReload,
                unit.Job.Length == 0 ? "" : manager.GetJobType(unit.Job));
        }
        catch (BusException e)
        {
            throw new ProbeException($"unit {name}", e.Message, e);
        }
    }

    public void Start(string name) => Run("start", name, m =>
    {
        // A unit that failed too often in a row is not started at all until that is forgotten; what made it fail may be mended by now.
        if (m.GetUnitProperties(m.LoadUnit(name)).ActiveState == "failed")
        {
            m.ResetFailedUnit(name);
        }

        return m.StartUnit(name, "replace");
    });

    public void Restart(string name) => Run("restart", name, m =>
    {
        if (m.GetUnitProperties(m.LoadUnit(name)).ActiveState == "failed")
        {
            m.ResetFailedUnit(name);
        }

        return m.RestartUnit(name, "replace");
    });

    public void Stop(string name) => Run("stop", name, m =>
    {
        // systemd would stop what requires a mount (RequiresMountsFor=, WorkingDirectory=, BindsTo=) along with it, and only then find out whether it can be
        // unmounted.
        if (name.EndsWith(".mount", StringComparison.Ordinal)
            && m.GetUnitProperties(m.LoadUnit(name)).StoppedWithIt
                .FirstOrDefault(u => m.GetUnitProperties(m.LoadUnit(u)).ActiveState is not ("inactive" or "failed")) is { } user)
        {
            throw new MachineException($"stop {name}", $"{user} runs and would be stopped with it");
        }

        return m.StopUnit(name, "replace");
    });

    public void Reload(string name) => Run("reload", name, m => m.ReloadUnit(name, "replace"));

    public void Enable(string name)
    {
        try
        {
            // As systemctl does: without the reload the manager goes on with what it read before.
            Manager().EnableUnitFiles([name], runtime: false, force: false);
            Manager().Reload();
        }
        catch (BusException e)
        {
            throw new MachineException($"enable {name}", e.Message, e);
        }
    }

    public void Reload()
    {
        try
        {
            Manager().Reload();
        }
        catch (BusException e)
        {
            throw new MachineException("systemd daemon-reload", e.Message, e);
        }
    }

    private void Run(string verb, string name, Func<ISystemdManager, string> queue)
    {
        var what = $"{verb} {name}";
        try
        {
            var manager = Manager();
            var waits = !WaitsForUs(manager, name);
            var job = queue(manager);
            if (!waits)
            {
                return;
            }

            var result = manager.WaitForJob(job);
            // "skipped": a condition of the unit did not hold, or there was nothing to do.
            if (result is not ("done" or "skipped"))
            {
                throw new MachineException(what, Explain(manager, name, result));
            }
        }
        catch (BusException e)
        {
            throw new MachineException(what, $"{e.Message}; see: journalctl -b -u {name}", e);
        }
        catch (OperationCanceledException e)
        {
            throw new OperationCanceledException($"{what}: was still not done when the time was up; see: journalctl -b -u {name}", e, e.CancellationToken);
        }
    }

    /// <summary>While our own unit is still activating or reloading, a job of a unit ordered after it is not begun: waiting for it would never end.</summary>
    private bool WaitsForUs(ISystemdManager manager, string name)
    {
        try
        {
            _ownUnit ??= manager.GetUnitByPID(0);
        }
        catch (BusException)
        {
            // Not in any unit, as in a container entered from outside.
            _ownUnit = "";
        }

        // Run by hand while the service waits for the run lock: what is ordered after the service waits for it, and it waits for us.
        var holders = new[] { _ownUnit, manager.LoadUnit(Service) }.Where(u => u.Length > 0).Distinct().Select(manager.GetUnitProperties)
            .Where(u => u.ActiveState is "activating" or "reloading").Select(u => u.Id).ToList();
        return holders.Count > 0 && manager.GetUnitProperties(manager.LoadUnit(name)).After.Any(holders.Contains);
    }

    private static string Explain(ISystemdManager manager, string name, string result)
    {
        var meaning = result switch
        {
            "failed" => "it failed",
            "dependency" => "a unit it requires failed",
            "timeout" => "it took longer than its timeout",
            "canceled" => "another job took its place (somebody stopped or restarted it at the same time)",
            _ => $"the job ended as \"{result}\"",
        };
        string? detail = null;
        try
        {
            if (manager.GetServiceResult(manager.LoadUnit(name)) is { Result: not "success" } service)
            {
                detail = $" (result {service.Result}, exit status {service.ExitStatus})";
            }
        }
        catch (BusException)
        {
            // The job's result is what matters.
        }

        return $"{meaning}{detail}; see: journalctl -b -u {name}";
    }

    private ISystemdManager Manager() => _manager ??= connect();
}
