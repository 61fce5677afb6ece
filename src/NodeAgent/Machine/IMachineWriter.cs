using System.Net;

namespace NodeAgent.Machine;

/// <summary>
/// Every way in which a resource may change a machine. Each call is one step that a power cut leaves either undone or done, or from which the next
/// run can go on. Failures throw <see cref="MachineException"/>. Only <c>Resource.Apply</c> is ever handed one.
/// </summary>
internal interface IMachineWriter
{
    /// <summary>Writes beside, syncs, renames, syncs the directory. Missing parents are made with mode 0755. Owner is root.</summary>
    void WriteFile(string path, byte[] content, UnixFileMode mode);

    /// <summary>
    /// Writes into the file that is there, for one that others hold open or have mounted; made where it is not there. For files of one block: a power cut
    /// leaves the old or the new.
    /// </summary>
    void OverwriteFile(string path, byte[] content, UnixFileMode mode);

    /// <summary>Removes a file or link; nothing happens when it is not there.</summary>
    void DeleteFile(string path);

    void MakeDirectory(string path, UnixFileMode mode);

    /// <summary>systemctl daemon-reload.</summary>
    void ReloadSystemd();

    /// <summary>Starts and waits for the job's result; only queues the job when the unit is ordered after the one we run in, or it would never end.</summary>
    void StartUnit(string name);

    /// <summary>As <see cref="StartUnit"/>.</summary>
    void RestartUnit(string name);

    /// <summary>Stops and waits. A mount is left alone when something uses it or a running unit requires it, which is a failure.</summary>
    void StopUnit(string name);

    /// <summary>systemctl reload; for a mount unit that is a remount with the options of its file.</summary>
    void ReloadUnit(string name);

    /// <summary>systemctl enable, without --now.</summary>
    void EnableUnit(string name);

    /// <summary>update-ca-certificates(8): makes the bundle of trusted CAs anew from their files.</summary>
    void UpdateTrustBundle();

    void LoadModule(string name);

    /// <summary>Puts a table of nftables of the family ip in the place of what is there, in one step.</summary>
    /// <param name="content">What stands between the table's braces; null removes it.</param>
    void SetPacketFilter(string table, string? content);

    /// <summary>Removes a table of nftables with all that is in it; nothing happens when it is not there.</summary>
    void RemovePacketFilterTable(string family, string table);

    /// <summary>
    /// In one step, chains and the rules that lead to them; nothing happens to those that are not there. One that somebody else's rule uses is a failure, and
    /// then all stay.
    /// </summary>
    void RemoveChains(ChainRemoval removal);

    /// <summary>Removes sets, one after the other; nothing happens to those that are not there. One that a rule uses is a failure.</summary>
    void RemoveIpSets(IReadOnlyList<string> names);

    /// <summary>Removes virtual servers, one after the other, with their destinations; nothing happens to those that are not there.</summary>
    void RemoveVirtualServers(IReadOnlyList<VirtualServer> servers);

    /// <summary>Removes a network interface; nothing happens when it is not there.</summary>
    void RemoveInterface(string name);

    /// <summary>Forgets connections to these addresses, but for TCP that was translated.</summary>
    void ForgetConnections(IReadOnlyList<IPNetwork> ranges, IReadOnlyList<string> addresses);

    /// <summary>Waits until no process of a name with this argument runs any more: somebody else ends it.</summary>
    void WaitForEnd(string process, string argument, TimeSpan limit);

    void SetSysctl(string name, string value);

    /// <summary>Waits until a disk of this serial number is there: somebody else attaches it. Failing to come in time is being out of reach.</summary>
    void WaitForDisk(string serial, TimeSpan limit);

    /// <summary>Removes every signature from a device. The caller has decided that what is there may go.</summary>
    void WipeDevice(string device);

    /// <summary>
    /// pvcreate and vgcreate; refuses by itself on any device that carries a signature. A power cut between the two leaves devices that count as blank.
    /// </summary>
    void CreateVolumeGroup(string name, string tag, IReadOnlyList<string> devices);

    /// <summary>
    /// Deactivates and removes a volume group with all that is on it, missing devices included, and leaves its devices blank. Until the last of them is, the
    /// group is there to be seen, with members lost.
    /// </summary>
    void RemoveVolumeGroup(string name);

    /// <param name="stripes">1 for a linear volume.</param>
    /// <param name="tags">Set in the same metadata commit as the volume itself.</param>
    void CreateLogicalVolume(string group, string name, long extents, int stripes, IReadOnlyList<string> tags);

    void ActivateLogicalVolume(string group, string name);

    void RemoveLogicalVolumeTag(string group, string name, string tag);

    /// <summary>mkfs, forced, with the label, without discard; waits until udev has seen it.</summary>
    void MakeFilesystem(string device, string type, string label);
}

/// <summary>The machine did not do what was asked: what was asked, what it answered.</summary>
internal sealed class MachineException(string what, string why, Exception? inner = null) : Exception($"{what}: {why}", inner)
{
    public string What { get; } = what;

    public string Why { get; } = why;

    /// <summary>Whether it failed because somebody else did not answer, so that it may succeed by itself later.</summary>
    public bool IsOutOfReach { get; init; }
}
