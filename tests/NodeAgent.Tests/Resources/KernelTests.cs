using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Tests.Convergence;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Resources;

/// <summary>Modules and sysctls.</summary>
public class KernelTests
{
    private readonly SimulatedMachine _machine = new([]);

    [Theory]
    [InlineData(ModuleState.Loaded, true)]
    [InlineData(ModuleState.BuiltIn, true)]
    [InlineData(ModuleState.Available, false)]
    internal void A_module_is_loaded_where_the_kernel_does_not_have_it(ModuleState state, bool inSync)
    {
        _machine.SetModule("overlay", state);
        var module = new KernelModule("overlay");

        (module.Examine(_machine, []) is InSync).ShouldBe(inSync);
        Apply(module);
        _machine.Writes.ShouldBe(inSync ? [] : ["load overlay"]);
    }

    [Fact]
    public void A_module_that_this_kernel_cannot_have_is_said_with_what_to_do()
    {
        _machine.SetModule("ip_vs", ModuleState.Unavailable);

        new KernelModule("ip_vs").Examine(_machine, []).ShouldBeOfType<Unknown>().Why.ShouldContain("kernel.modules");
    }

    [Fact]
    public void A_sysctl_with_another_value_is_set_and_both_values_are_said()
    {
        var sysctl = new Sysctl("vm.overcommit_memory", "1");

        sysctl.Examine(_machine, []).ShouldBe(new Change("is 0, should be 1"));
        Apply(sysctl);
        sysctl.Examine(_machine, []).ShouldBe(InSync.Instance);
    }

    [Fact]
    public void A_sysctl_that_this_kernel_does_not_have_is_said_with_what_to_do() =>
        new Sysctl("net.bridge.bridge-nf-call-iptables", "1").Examine(_machine, []).ShouldBeOfType<Unknown>().Why.ShouldContain("load the module");

    [Fact]
    public void A_sysctl_that_comes_with_a_module_waits_for_it_in_a_plan_and_is_set_in_an_apply()
    {
        var module = new KernelModule("br_netfilter");
        var sysctl = new Sysctl("net.bridge.bridge-nf-call-iptables", "1") { Needs = [module] };

        Plan.Make(new ResourceList([module, sysctl]), _machine).Steps[1].Finding.ShouldBe(new After(module, new Change("to be 1")));
        Apply(module, sysctl);
        _machine.Writes.ShouldBe(["load br_netfilter", "sysctl net.bridge.bridge-nf-call-iptables=1"]);
    }

    [Fact]
    public void A_value_that_the_kernel_did_not_take_is_an_error()
    {
        _machine.Breaks = what => what.StartsWith("sysctl", StringComparison.Ordinal) ? "Invalid argument" : null;

        Apply(new Sysctl("kernel.pid_max", "1")).Steps.Single().Outcome.ShouldBe(new Failed("sysctl kernel.pid_max=1: Invalid argument"));
    }

    [Theory]
    [InlineData("1024 65000", true)]
    [InlineData("1024\t65000", true)]
    [InlineData("1024  65000", true)]
    [InlineData("102465000", false)]
    [InlineData("1024 65001", false)]
    public void Values_of_several_numbers_are_equal_whatever_white_space_is_between_them(string configured, bool equal)
    {
        _machine.SetSysctl("net.ipv4.ip_local_port_range", "1024 65000");

        (new Sysctl("net.ipv4.ip_local_port_range", configured).Examine(_machine, []) is InSync).ShouldBe(equal);
    }

    private RunResult Apply(params Resource[] list) => Applier.Apply(new ResourceList(list), _machine, _machine, new Heard(), CancellationToken.None);
}
