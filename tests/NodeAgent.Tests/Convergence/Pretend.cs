using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Tests.Convergence;

/// <summary>A resource that is a file of its name: there or not. What it finds and what its writes come to can be told to it.</summary>
internal sealed class Pretend(string name) : Resource<bool>(Concern.Kernel, "pretend", name)
{
    public Finding? Finds { get; set; }

    public Exception? Throws { get; set; }

    public bool Works { get; set; } = true;

    public Func<Resource, bool> Hiding { get; init; } = _ => false;

    public List<string> Told { get; } = [];

    public IReadOnlyList<Resource> Pending { get; private set; } = [];

    public Action OnApply { get; init; } = () => { };

    public override bool Hides(Resource other) => Hiding(other);

    protected override bool Nothing => false;

    protected override bool Observe(IMachineReader reader) => reader.File(Name).Kind != FileKind.Absent;

    protected override Finding Diff(bool state, IReadOnlyList<Resource> pending)
    {
        Pending = pending;
        return Finds ?? (state ? InSync.Instance : new Change("not there"));
    }

    protected override void Apply(IMachineWriter writer, bool state, Change change, CancellationToken cancellation)
    {
        OnApply();
        if (Throws is not null)
        {
            throw Throws;
        }

        if (Works)
        {
            writer.WriteFile(Name, [], UnixFileMode.UserRead);
        }
    }

    public override void InputWillChange(Resource input, Change change, IMachineReader reader, IMachineWriter writer) =>
        Told.Add($"{input.Name} {(reader.File(input.Name).Kind == FileKind.Absent ? "before" : "after")}");
}

internal sealed class Heard : IRunObserver
{
    public List<string> Lines { get; } = [];

    public void Changing(Resource resource, Change change) => Lines.Add($"changing {resource.Name}");

    public void Finished(Step step) => Lines.Add($"{step.Resource.Name} {step.Outcome.GetType().Name}");
}
