using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// Where no ephemeral disk is to be seen: the machine never had volumes of ours. One that had, and lost all its disks, must not quietly go on on its root disk.
/// </summary>
internal sealed class FormerVolumes(IReadOnlyList<string> unitFiles) : Resource<IReadOnlyList<string>>(Concern.Storage, "root disk", "/")
{
    protected override IReadOnlyList<string> Nothing => [];

    protected override IReadOnlyList<string> Observe(IMachineReader reader) => [.. unitFiles.Where(f => Ownership.IsOurs(reader.File(f)))];

    protected override Finding Diff(IReadOnlyList<string> state, IReadOnlyList<Resource> pending) => state.Count == 0
        ? InSync.Instance
        : new Refused(
            "this machine had volumes on ephemeral disks, and has no such disk now",
            $"replace the instance; or, if it is to live on its root disk from now on, remove {string.Join(", ", state)}");

    protected override void Apply(IMachineWriter writer, IReadOnlyList<string> state, Change change, CancellationToken cancellation) =>
        throw new MachineException(Id, "there is nothing that could be changed about it");
}
