using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Tests.Convergence;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Resources;

/// <summary>Services, and the restarts that they owe.</summary>
public class ServiceTests
{
    private const string Unit = "kubelet.service";

    private readonly SimulatedMachine _machine = new([]);
    private readonly Service _service = new(Concern.Kubelet, Unit);
    private readonly ConfigFile _input = new(Concern.Kubelet, "/etc/kubelet.yaml", "a: 1\n");
    private readonly Restart _restart;

    public ServiceTests() => _restart = new Restart(Concern.Kubelet, Unit) { Inputs = [_input] };

    [Theory]
    [InlineData("enabled", "active", "", null)]
    [InlineData("static", "active", "", null)]
    [InlineData("enabled", "reloading", "", null)]
    [InlineData("enabled", "activating", "", null)]
    [InlineData("enabled", "inactive", "start", null)]
    [InlineData("enabled", "failed", "restart", null)]
    [InlineData("enabled", "inactive", "", "not running")]
    [InlineData("enabled", "inactive", "stop", "not running")]
    [InlineData("enabled", "deactivating", "", "not running")]
    [InlineData("enabled", "failed", "", "failed")]
    [InlineData("disabled", "active", "", "not enabled")]
    [InlineData("disabled", "inactive", "", "not enabled, not running")]
    public void A_service_shall_be_enabled_and_run_or_be_about_to(string file, string active, string job, string? why)
    {
        _machine.Set(new UnitReport(Unit, "loaded", active, UnitFileState: file, Job: job));

        (_service.Examine(_machine, []) as Change)?.Why.ShouldBe(why);
        (_service.Examine(_machine, []) is InSync).ShouldBe(why is null);
    }

    [Theory]
    [InlineData("not-found")]
    [InlineData("masked")]
    [InlineData("bad-setting")]
    public void A_service_that_systemd_cannot_run_is_said_and_not_started(string loaded)
    {
        _machine.Set(new UnitReport(Unit, loaded));

        _service.Examine(_machine, []).ShouldBeOfType<Unknown>().Why.ShouldContain(loaded);
        Apply(_service);
        _machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void A_changed_input_of_a_running_service_restarts_it_and_the_plan_says_why()
    {
        Run();

        var plan = Plan.Make(new ResourceList([_input, _restart]), _machine);

        plan.Steps[1].Finding.ShouldBe(new Change("because of file /etc/kubelet.yaml", Disruption.RestartsService));
        Apply(_input, _restart);
        _machine.Writes.ShouldBe([$"write {OwedRestart.PathFor(Unit)}", "write /etc/kubelet.yaml", $"restart {Unit}"]);
        Pending().ShouldBeFalse();
    }

    [Theory]
    [InlineData("inactive")]
    [InlineData("failed")]
    public void A_service_that_does_not_run_owes_no_restart(string state)
    {
        _machine.Set(new UnitReport(Unit, "loaded", state, InvocationId: "0123"));

        Apply(_input, _restart);

        _machine.Writes.ShouldBe(["write /etc/kubelet.yaml"]);
    }

    [Fact]
    public void A_restart_owed_by_a_run_that_died_is_made_by_the_next()
    {
        Run();
        Owe();

        Pending().ShouldBeTrue();
        Apply(_input, _restart);

        _machine.Writes.ShouldContain($"restart {Unit}");
        Pending().ShouldBeFalse();
    }

    [Fact]
    public void A_restart_by_hand_pays_what_is_owed()
    {
        Run();
        Owe();
        _machine.RestartUnit(Unit);

        Pending().ShouldBeFalse();
    }

    [Fact]
    public void A_reboot_pays_what_is_owed()
    {
        Run();
        Owe();
        _machine.Reboot();

        Pending().ShouldBeFalse();
    }

    [Theory]
    [InlineData("restart")]
    [InlineData("start")]
    [InlineData("")]
    public void An_invocation_that_is_stopping_owes_nothing_whatever_its_job_has_turned_into(string job)
    {
        Run();
        Owe();
        _machine.Set(_machine.Unit(Unit) with { ActiveState = "deactivating", Job = job });

        Pending().ShouldBeFalse();
    }

    [Fact]
    public void A_restart_that_is_already_queued_is_not_asked_for_again()
    {
        Run();
        Owe();
        _machine.Set(_machine.Unit(Unit) with { Job = "restart" });

        Pending().ShouldBeFalse();
    }

    [Fact]
    public void Reasons_add_up_and_each_is_written_down_once()
    {
        Run();
        var other = new ConfigFile(Concern.Kubelet, "/etc/other", "b\n");
        for (var i = 0; i < 2; i++)
        {
            OwedRestart.Add(_machine, _machine, _machine.Unit(Unit), _input.Id);
            OwedRestart.Add(_machine, _machine, _machine.Unit(Unit), other.Id);
        }

        _restart.Examine(_machine, []).ShouldBe(new Change("because of file /etc/kubelet.yaml, file /etc/other", Disruption.RestartsService));
        _machine.Writes.Count(w => w.Contains("owed", StringComparison.Ordinal)).ShouldBe(2);
    }

    [Fact]
    public void What_an_earlier_invocation_owed_is_not_added_to_the_next_ones_debts()
    {
        Run();
        OwedRestart.Add(_machine, _machine, _machine.Unit(Unit), "file /old");
        _machine.RestartUnit(Unit);
        OwedRestart.Add(_machine, _machine, _machine.Unit(Unit), "file /new");

        OwedRestart.Read(_machine, _machine.Unit(Unit))!.Because.ShouldBe(["file /new"]);
    }

    [Fact]
    public void A_note_of_what_is_owed_that_cannot_be_read_is_said_and_nothing_is_assumed()
    {
        Run();
        _machine.Put(OwedRestart.PathFor(Unit), new FileReport(FileKind.Regular, "{ half"u8.ToArray()));

        _restart.Examine(_machine, []).ShouldBeOfType<Unknown>().Why.ShouldContain(OwedRestart.PathFor(Unit));
    }

    [Fact]
    public void Systemd_reads_again_where_a_loaded_units_file_changed_and_not_otherwise()
    {
        var file = new ConfigFile(Concern.Kubelet, $"/etc/systemd/system/{Unit}.d/50-nodeagent.conf", "[Service]\n");
        var reload = new SystemdManager(Concern.Kubelet, "units", [Unit]) { Inputs = [file] };

        Apply(file, reload);
        _machine.Writes.ShouldBe([$"write {file.Name}", "reload systemd"]);
        _machine.Writes.Clear();
        Apply(file, reload);
        _machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void A_change_of_the_readiness_gate_alone_is_read_by_systemd_too()
    {
        var worker = new Worker();
        worker.Apply();
        worker.Machine.Writes.Clear();
        worker.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, node: {readiness: {timeout: 7m}}}";

        worker.Apply();

        worker.Machine.Writes.ShouldBe(["write /etc/systemd/system/nodeagent-ready.service.d/50-nodeagent.conf", "reload systemd"]);
    }

    [Fact]
    public void A_mount_that_neither_runtime_nor_kubelet_reads_restarts_nothing()
    {
        var worker = new Worker();
        worker.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, storage: {volumes: {scratch: {mount: /mnt/scratch, size: 5%, filesystem: xfs}}}}";
        worker.Apply();
        worker.Machine.Unmount("/mnt/scratch");
        worker.Machine.Writes.Clear();

        worker.Apply();

        worker.Machine.Writes.ShouldBe(["start mnt-scratch.mount"]);
    }

    private void Run()
    {
        _machine.RestartUnit(Unit);
        _machine.Writes.Clear();
    }

    private void Owe()
    {
        // The agent dies between the input and the restart.
        Apply(_input);
        OwedRestart.Add(_machine, _machine, _machine.Unit(Unit), _input.Id);
        _machine.Writes.Clear();
    }

    private bool Pending() => _restart.Examine(_machine, []) is Change;

    private void Apply(params Resource[] list) => Applier.Apply(new ResourceList(list), _machine, _machine, new Heard(), CancellationToken.None);
}
