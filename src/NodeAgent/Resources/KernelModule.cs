using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>A module in the running kernel. That it is there at the next boot is modules-load.d's business, a file beside.</summary>
internal sealed class KernelModule(string name) : Resource<ModuleState>(Concern.Kernel, "module", name)
{
    // br_netfilter brings sysctls with it.
    public override bool Hides(Resource other) => other is Sysctl;

    protected override ModuleState Nothing => ModuleState.Available;

    protected override ModuleState Observe(IMachineReader reader) => reader.Module(Name);

    protected override Finding Diff(ModuleState state, IReadOnlyList<Resource> pending) => state switch
    {
        ModuleState.Loaded or ModuleState.BuiltIn => InSync.Instance,
        ModuleState.Available => new Change("not loaded"),
        _ => new Unknown($"the running kernel has no module {Name}; install the kernel's module package, or take it out of kernel.modules"),
    };

    protected override void Apply(IMachineWriter writer, ModuleState state, Change change, CancellationToken cancellation) => writer.LoadModule(Name);
}
