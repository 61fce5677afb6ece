namespace NodeAgent.Convergence;

/// <summary>What examining a resource found.</summary>
internal abstract record Finding
{
    /// <summary>
    /// What is left behind and cannot be taken back quietly, each a sentence with what to do by hand. Said by plan and apply, and never a reason to change
    /// or to fail.
    /// </summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}

internal sealed record InSync : Finding
{
    public static readonly InSync Instance = new();

    public static InSync Saying(IReadOnlyList<string> notes) => notes.Count == 0 ? Instance : new() { Notes = notes };
}

/// <param name="Why">One clause, lower case, without a full stop: "content differs", "not running".</param>
/// <param name="Diff">Unified diff or other lines to show below; never a secret.</param>
internal sealed record Change(string Why, Disruption Disruption = Disruption.None, string? Diff = null) : Finding
{
    /// <summary>Whatever reads the resource finds the same as before (a mode, an owner), so nobody has to be restarted for it.</summary>
    public bool LeavesContent { get; init; }
}

/// <summary>Doing it would destroy what is not ours.</summary>
internal sealed record Refused(string Why, string Remedy) : Finding;

/// <summary>The probe failed. Never taken for "blank".</summary>
internal sealed record Unknown(string Why) : Finding
{
    /// <summary>As <see cref="Machine.MachineException.IsOutOfReach"/>.</summary>
    public bool IsOutOfReach { get; init; }
}

/// <summary>Cannot be seen before <paramref name="Ground"/> is made; <paramref name="Expected"/> is what an empty ground would need.</summary>
internal sealed record After(Resource Ground, Change Expected) : Finding;

/// <summary>How disruptive a change is to what runs on the node, mildest first.</summary>
internal enum Disruption
{
    None,

    /// <summary>A system service restarts; pods go on.</summary>
    RestartsService,

    /// <summary>Services do not answer for a while; pods go on.</summary>
    InterruptsServices,

    /// <summary>Pods of this node are recreated.</summary>
    RecreatesPods,

    /// <summary>Data on a disk is gone afterwards.</summary>
    DestroysData,
}
