using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// That etcd's data is where it was. A volume mounted over data on the root disk, or a root disk in the place of a volume, would look to etcd like a cluster
/// that has nothing yet: it would begin one, and all controllers would act on it.
/// </summary>
/// <param name="directory">The data's, and where a volume of it is mounted.</param>
/// <param name="volume">The volume that the configuration names; null for none.</param>
/// <param name="unitFile">Of a mount there.</param>
/// <param name="what">The line by which the unit file of such a volume is known.</param>
internal sealed class DataPlace(string directory, string? volume, string unitFile, string what)
    : Resource<DataPlace.State>(Concern.Storage, "place of data", directory)
{
    protected override State Nothing => new(false, false, []);

    protected override State Observe(IMachineReader reader)
    {
        var mounted = reader.Mounts().Any(m => m.Target == Name);
        var unit = reader.File(unitFile);
        return new State(
            mounted,
            Ownership.IsOurs(unit) && Encoding.UTF8.GetString(unit.Content!).Split('\n').Contains(what),
            mounted || volume is null ? [] : reader.Directory(Name));
    }

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending) =>
        volume is null && state.WasOnVolume
            ? new Refused(
                "this machine has its data on an EBS volume, and the configuration names none",
                $"name it again in etcd.volume; or, if it is to begin anew on this disk, remove {unitFile}")
        : volume is not null && !state.Mounted && state.Below.Count > 0
            ? new Refused(
                $"there is something on the root disk that {volume} would hide: {string.Join(", ", state.Below)}",
                $"if it is etcd's data and worth keeping, move it to the volume by hand (docs/replacing.md); if not, move it away: {Name}")
        : InSync.Instance;

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation) =>
        throw new MachineException(Id, "there is nothing that could be changed about it");

    internal sealed record State(bool Mounted, bool WasOnVolume, IReadOnlyList<string> Below);
}
