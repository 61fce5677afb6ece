using NodeAgent.Machine;

namespace NodeAgent.Tests.Machine;

public sealed class SystemdTests : IDisposable
{
    private readonly FakeManager _manager = new();

    public void Dispose() => _manager.Dispose();

    [Fact]
    public void Properties_become_a_report()
    {
        _manager.Units["kubelet.service"] = new UnitProperties
        {
            Id = "kubelet.service",
            LoadState = "loaded",
            ActiveState = "activating",
            SubState = "start",
            UnitFileState = "enabled",
            InvocationID = "0123",
            NeedDaemonReload = true,
            Job = "/job/7",
        };

        Units().Report("kubelet.service").ShouldBe(new UnitReport("kubelet.service", "loaded", "activating", "start", "enabled", "0123", true, "start"));
    }

    [Fact]
    public void A_machine_without_systemd_is_a_failed_probe_and_a_failed_change()
    {
        using var units = new Systemd(() => throw new BusException("", "no system bus"));

        Should.Throw<ProbeException>(() => units.Report("x.service")).Message.ShouldBe("unit x.service: no system bus");
        Should.Throw<MachineException>(() => units.Start("x.service")).Message.ShouldContain("start x.service: no system bus");
        Should.Throw<MachineException>(units.Reload).Message.ShouldContain("no system bus");
    }

    [Fact]
    public void A_start_waits_for_the_jobs_result()
    {
        Units().Start("containerd.service");

        _manager.Calls.ShouldBe(["StartUnit containerd.service replace", "WaitForJob /job/1"]);
    }

    [Theory]
    [InlineData("failed", "it failed (result exit-code, exit status 3); see: journalctl -b -u containerd.service")]
    [InlineData("dependency", "a unit it requires failed")]
    [InlineData("timeout", "longer than its timeout")]
    [InlineData("canceled", "another job took its place")]
    [InlineData("invalid", "\"invalid\"")]
    public void A_job_that_is_not_done_is_an_error_that_says_where_to_look(string result, string text)
    {
        _manager.JobResult = result;
        _manager.ServiceResult = ("exit-code", 3);

        Should.Throw<MachineException>(() => Units().Restart("containerd.service")).Message.ShouldContain(text);
    }

    [Fact]
    public void What_failed_before_is_given_a_fresh_start()
    {
        _manager.Units["containerd.service"] = new UnitProperties { Id = "containerd.service", ActiveState = "failed" };

        Units().Start("containerd.service");

        _manager.Calls[0].ShouldBe("ResetFailedUnit containerd.service");
    }

    [Theory]
    [InlineData("activating", true)]
    [InlineData("reloading", true)]
    [InlineData("active", false)]
    public void A_job_that_waits_for_our_own_unit_is_only_queued(string ours, bool onlyQueued)
    {
        _manager.Own = "nodeagent.service";
        _manager.Units["nodeagent.service"] = new UnitProperties { Id = "nodeagent.service", ActiveState = ours };
        _manager.Units["kubelet.service"] = new UnitProperties { Id = "kubelet.service", After = ["basic.target", "nodeagent.service"] };
        _manager.Units["containerd.service"] = new UnitProperties { Id = "containerd.service", After = ["basic.target"] };
        var units = Units();

        units.Restart("kubelet.service");
        _manager.Calls.ShouldBe(onlyQueued ? ["RestartUnit kubelet.service replace"] : ["RestartUnit kubelet.service replace", "WaitForJob /job/1"]);

        _manager.Calls.Clear();
        units.Restart("containerd.service");
        _manager.Calls.ShouldBe(["RestartUnit containerd.service replace", "WaitForJob /job/2"]);
    }

    [Theory]
    [InlineData("active", false)]
    [InlineData("deactivating", false)]
    [InlineData("inactive", true)]
    [InlineData("failed", true)]
    public void A_mount_that_a_running_unit_requires_is_not_stopped(string user, bool isStopped)
    {
        _manager.Units["srv-data.mount"] = new UnitProperties
        {
            Id = "srv-data.mount",
            ActiveState = "active",
            StoppedWithIt = ["former.service", "database.service"],
        };
        _manager.Units["database.service"] = new UnitProperties { Id = "database.service", ActiveState = user };

        if (isStopped)
        {
            Units().Stop("srv-data.mount");
        }
        else
        {
            Should.Throw<MachineException>(() => Units().Stop("srv-data.mount"))
                .Message.ShouldBe("stop srv-data.mount: database.service runs and would be stopped with it");
        }

        _manager.Calls.Contains("StopUnit srv-data.mount replace").ShouldBe(isStopped);
    }

    [Fact]
    public void Enabling_reloads_as_systemctl_does()
    {
        Units().Enable("x.service");

        _manager.Calls.ShouldBe(["EnableUnitFiles x.service", "Reload"]);
    }

    private Systemd Units() => new(() => _manager);

    private sealed class FakeManager : ISystemdManager
    {
        private int _jobs;

        public List<string> Calls { get; } = [];

        public Dictionary<string, UnitProperties> Units { get; } = [];

        public string? Own { get; set; }

        public string JobResult { get; set; } = "done";

        public (string Result, int ExitStatus)? ServiceResult { get; set; }

        public string LoadUnit(string name) => name;

        public string GetUnitByPID(uint process) => Own ?? throw new BusException("org.freedesktop.systemd1.NoUnitForPID", "none");

        public string StartUnit(string name, string mode) => Job("StartUnit", name, mode);

        public string StopUnit(string name, string mode) => Job("StopUnit", name, mode);

        public string RestartUnit(string name, string mode) => Job("RestartUnit", name, mode);

        public string ReloadUnit(string name, string mode) => Job("ReloadUnit", name, mode);

        public void ResetFailedUnit(string name) => Calls.Add($"ResetFailedUnit {name}");

        public void EnableUnitFiles(IReadOnlyList<string> files, bool runtime, bool force) => Calls.Add($"EnableUnitFiles {string.Join(' ', files)}");

        public void Reload() => Calls.Add("Reload");

        public UnitProperties GetUnitProperties(string path) => Units.GetValueOrDefault(path) ?? new UnitProperties { Id = path, ActiveState = "inactive" };

        public (string Result, int ExitStatus)? GetServiceResult(string path) => ServiceResult;

        public string GetJobType(string path) => "start";

        public string WaitForJob(string path)
        {
            Calls.Add($"WaitForJob {path}");
            return JobResult;
        }

        public void Dispose()
        {
        }

        private string Job(string call, string name, string mode)
        {
            Calls.Add($"{call} {name} {mode}");
            return $"/job/{++_jobs}";
        }
    }
}
