using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// An EBS volume, known by its ID: NVMe shows it as the disk's serial number, without the hyphen, under whatever kernel name. Attaching it is somebody else's;
/// a machine that has just taken the place of another may well be there before its volume is.
/// </summary>
internal sealed class AttachedVolume(string volume) : Resource<DiskReport?>(Concern.Storage, "EBS volume", volume)
{
    /// <summary>Half of what the unit gives a run. Exit code 4 after that: the unit tries again.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    public override bool Hides(Resource other) => other is DataVolumeGroup;

    protected override DiskReport? Nothing => null;

    protected override DiskReport? Observe(IMachineReader reader) => Find(reader, Name);

    protected override Finding Diff(DiskReport? state, IReadOnlyList<Resource> pending) =>
        state is null ? new Change("not attached yet; waited for, up to five minutes") : InSync.Instance;

    protected override void Apply(IMachineWriter writer, DiskReport? state, Change change, CancellationToken cancellation) =>
        writer.WaitForDisk(Serial(Name), Patience);

    public static DiskReport? Find(IMachineReader reader, string volume) => reader.Disks().FirstOrDefault(d => d.Serial == Serial(volume));

    private static string Serial(string volume) => volume.Replace("-", "", StringComparison.Ordinal);
}
