using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>A value in the running kernel. That it is there at the next boot is sysctl.d's business, a file beside.</summary>
internal sealed class Sysctl(string name, string value) : Resource<string?>(Concern.Kernel, "sysctl", name)
{
    protected override string? Nothing => "";

    protected override string? Observe(IMachineReader reader) => reader.Sysctl(Name);

    protected override Finding Diff(string? state, IReadOnlyList<Resource> pending) => state switch
    {
        null => new Unknown($"this kernel has no such key; take it out of kernel.sysctls ({Name}: null), or load the module that brings it"),
        "" => new Change($"to be {value}"),
        _ when Words(state).SequenceEqual(Words(value)) => InSync.Instance,
        _ => new Change($"is {state}, should be {value}"),
    };

    protected override void Apply(IMachineWriter writer, string? state, Change change, CancellationToken cancellation) => writer.SetSysctl(Name, value);

    // The kernel prints tabs between numbers, people write spaces, and copy the tabs.
    private static string[] Words(string value) => value.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
}
