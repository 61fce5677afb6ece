namespace NodeAgent.Machine;

/// <summary>
/// org.freedesktop.systemd1.Manager as far as it is called here, by its names, so that any D-Bus library can stand behind it. Failures throw
/// <see cref="BusException"/>.
/// </summary>
internal interface ISystemdManager : IDisposable
{
    /// <summary>Object path of a unit, loading it where need be; there is an answer for units that do not exist.</summary>
    string LoadUnit(string name);

    /// <summary>Object path of the unit a process belongs to; 0 is the caller.</summary>
    string GetUnitByPID(uint process);

    /// <returns>Object path of the job.</returns>
    string StartUnit(string name, string mode);

    string StopUnit(string name, string mode);

    string RestartUnit(string name, string mode);

    string ReloadUnit(string name, string mode);

    void ResetFailedUnit(string name);

    void EnableUnitFiles(IReadOnlyList<string> files, bool runtime, bool force);

    void Reload();

    /// <summary>GetAll of org.freedesktop.systemd1.Unit on a unit's object path.</summary>
    UnitProperties GetUnitProperties(string path);

    /// <summary>Result and ExecMainStatus of org.freedesktop.systemd1.Service on a unit's object path; null where it is no service.</summary>
    (string Result, int ExitStatus)? GetServiceResult(string path);

    /// <summary>JobType of org.freedesktop.systemd1.Job; empty when the job is gone.</summary>
    string GetJobType(string path);

    /// <summary>
    /// Waits for the JobRemoved signal of the job this connection asked for last: "done", "failed", "dependency", "timeout", "canceled", "skipped", ...
    /// </summary>
    string WaitForJob(string path);
}

/// <summary>Properties of org.freedesktop.systemd1.Unit.</summary>
internal sealed record UnitProperties
{
    public string Id { get; init; } = "";

    public string LoadState { get; init; } = "";

    public string ActiveState { get; init; } = "";

    public string SubState { get; init; } = "";

    public string UnitFileState { get; init; } = "";

    /// <summary>Lower-case hexadecimal; empty when it never ran in this boot.</summary>
    public string InvocationID { get; init; } = "";

    public bool NeedDaemonReload { get; init; }

    /// <summary>Object path of its job; empty without one.</summary>
    public string Job { get; init; } = "";

    public IReadOnlyList<string> After { get; init; } = [];

    /// <summary>Units that are stopped when it is.</summary>
    public IReadOnlyList<string> StoppedWithIt { get; init; } = [];
}

/// <param name="name">D-Bus name of the error; empty when it is not one that came over the bus.</param>
internal sealed class BusException(string name, string message) : Exception(message)
{
    public string Name { get; } = name;
}
