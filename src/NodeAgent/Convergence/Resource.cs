using NodeAgent.Machine;

namespace NodeAgent.Convergence;

/// <summary>One thing that shall hold on a node. Lists hold these; <see cref="Resource{TState}"/> is how one is written.</summary>
internal abstract class Resource(Concern concern, string kind, string name)
{
    public Concern Concern { get; } = concern;

    /// <summary>The field's word for it: "file", "volume group", "service".</summary>
    public string Kind { get; } = kind;

    /// <summary>Unique within its kind: a path, a unit's name.</summary>
    public string Name { get; } = name;

    public string Id => $"{Kind} {Name}";

    /// <summary>Resources earlier in the list without which this one is not attempted.</summary>
    public IReadOnlyList<Resource> Needs { get; init; } = [];

    /// <summary>
    /// Resources earlier in the list whose changes this one answers to (a restart to its files). They are told of here, before they are touched.
    /// </summary>
    public IReadOnlyList<Resource> Inputs { get; init; } = [];

    /// <summary>
    /// Whether <paramref name="other"/>, which needs this, cannot be seen until this is made: a mount hides what lies below it, a volume group is where its
    /// volumes are.
    /// </summary>
    public virtual bool Hides(Resource other) => false;

    /// <param name="reader">The machine, or a recording of one.</param>
    /// <param name="pending">Those of <see cref="Inputs"/> that this plan is going to change. Empty while applying.</param>
    public abstract Finding Examine(IMachineReader reader, IReadOnlyList<Resource> pending);

    /// <summary>What it takes where nothing is yet.</summary>
    public abstract Change ExpectedOnNothing();

    /// <summary>Looks again and does what is found to be needed at this moment.</summary>
    /// <returns>What was found: a <see cref="Change"/> has been carried out, anything else was left as it is.</returns>
    public abstract Finding Apply(IMachineReader reader, IMachineWriter writer, Action<Change> before, CancellationToken cancellation);

    /// <summary>Called before an input is touched, so that what is owed afterwards survives a crash.</summary>
    public virtual void InputWillChange(Resource input, Change change, IMachineReader reader, IMachineWriter writer)
    {
    }

    public override string ToString() => Id;
}

/// <summary>Observe (read), diff (pure), apply (write, given the state as it is at that moment).</summary>
internal abstract class Resource<TState>(Concern concern, string kind, string name) : Resource(concern, kind, name)
{
    protected abstract TState Observe(IMachineReader reader);

    /// <summary>The state of a machine on which nothing of this exists.</summary>
    protected abstract TState Nothing { get; }

    protected abstract Finding Diff(TState state, IReadOnlyList<Resource> pending);

    protected abstract void Apply(IMachineWriter writer, TState state, Change change, CancellationToken cancellation);

    public sealed override Finding Examine(IMachineReader reader, IReadOnlyList<Resource> pending)
    {
        try
        {
            return Diff(Observe(reader), pending);
        }
        catch (ProbeException e)
        {
            return new Unknown(e.Message);
        }
    }

    public sealed override Change ExpectedOnNothing() => Diff(Nothing, []) as Change ?? new Change("to be seen then");

    public sealed override Finding Apply(IMachineReader reader, IMachineWriter writer, Action<Change> before, CancellationToken cancellation)
    {
        TState state;
        Finding finding;
        try
        {
            state = Observe(reader);
            finding = Diff(state, []);
        }
        catch (ProbeException e)
        {
            return new Unknown(e.Message);
        }

        if (finding is Change change)
        {
            before(change);
            Apply(writer, state, change, cancellation);
        }

        return finding;
    }
}

/// <summary>What a plan is grouped by, in the order in which a node is built.</summary>
internal enum Concern
{
    Storage,
    Kernel,
    Certificates,
    Network,
    Runtime,
    Kubelet,
    StaticPods,
    Leftovers,
}
