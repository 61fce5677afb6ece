using System.Net;

namespace NodeAgent.Machine;

/// <summary>Changes this machine, and tells the reader what that made stale; also of a write that failed, which may have done part of its work.</summary>
internal sealed class LinuxWriter(LinuxReader reader, CancellationToken cancellation) : IMachineWriter
{
    private readonly ProcessRunner _runner = new(cancellation);

    public void WriteFile(string path, byte[] content, UnixFileMode mode) => Then(() => Files.Write(path, content, mode), () => reader.ForgetFile(path));

    public void OverwriteFile(string path, byte[] content, UnixFileMode mode) =>
        Then(() => Files.Overwrite(path, content, mode), () => reader.ForgetFile(path));

    public void DeleteFile(string path) => Then(() => Files.Delete(path), () => reader.ForgetFile(path));

    public void MakeDirectory(string path, UnixFileMode mode) => Then(() => Files.MakeDirectory(path, mode), () => reader.ForgetFile(path));

    public void ReloadSystemd() => Then(reader.Systemd.Reload, reader.ForgetUnits);

    public void StartUnit(string name) => Then(() => reader.Systemd.Start(name), reader.ForgetUnits);

    public void RestartUnit(string name) => Then(() => reader.Systemd.Restart(name), reader.ForgetUnits);

    public void StopUnit(string name) => Then(
        () =>
        {
            if (name.EndsWith(".mount", StringComparison.Ordinal) && Mounts.HolderElsewhere(Mounts.TargetOf(name)) is { } holder)
            {
                throw new MachineException($"stop {name}", $"{holder} has it in a mount namespace of its own");
            }

            reader.Systemd.Stop(name);
        },
        reader.ForgetUnits);

    public void ReloadUnit(string name) => Then(() => reader.Systemd.Reload(name), reader.ForgetUnits);

    public void EnableUnit(string name) => Then(() => reader.Systemd.Enable(name), reader.ForgetUnits);

    public void UpdateTrustBundle() => Then(
        () =>
        {
            var result = _runner.Run(["update-ca-certificates"]);
            if (result.Failure is { } why)
            {
                throw new MachineException(
                    "make the bundle of trusted CAs",
                    result.IsMissing ? $"{why}; install the package ca-certificates, or leave trust.certificates out" : $"`{result.Command}` {why}");
            }
        },
        () => reader.ForgetFile(""));

    public void LoadModule(string name) => Then(
        () =>
        {
            // --use-blacklist stays off: a module that somebody configured by name is wanted.
            var result = _runner.Run(["modprobe", "--", name]);
            if (result.Failure is { } why)
            {
                throw new MachineException($"load module {name}", result.IsMissing ? why : $"`{result.Command}` {why}");
            }
        },
        reader.ForgetKernel);

    public void SetPacketFilter(string table, string? content) => Then(() => new PacketFilter(_runner).Set(table, content), reader.ForgetKernel);

    public void RemovePacketFilterTable(string family, string table) => Then(() => NfTables.RemoveTable(family, table), reader.ForgetNetwork);

    public void RemoveChains(ChainRemoval removal) => Then(
        () =>
        {
            if (removal.Backend == ChainTable.Legacy)
            {
                new LegacyIptables(_runner).Remove(removal);
            }
            else
            {
                NfTables.Remove(removal);
            }
        },
        reader.ForgetNetwork);

    public void RemoveIpSets(IReadOnlyList<string> names) => Then(() => IpSets.Remove(names, cancellation), reader.ForgetNetwork);

    public void RemoveVirtualServers(IReadOnlyList<VirtualServer> servers) => Then(() => VirtualServers.Remove(servers), reader.ForgetNetwork);

    public void RemoveInterface(string name) => Then(() => Interfaces.Remove(name), reader.ForgetNetwork);

    public void TakeInterfaceDown(string name) => Then(() => Interfaces.TakeDown(name), reader.ForgetNetwork);

    public void RemoveRoutingRules(IReadOnlyList<RoutingRule> rules) => Then(() => Routing.RemoveRules(rules), reader.ForgetNetwork);

    public void RemoveRoutes(IReadOnlyList<RouteReport> routes) => Then(() => Routing.RemoveRoutes(routes), reader.ForgetNetwork);

    public void ForgetConnections(IReadOnlyList<IPNetwork> ranges, IReadOnlyList<string> addresses) =>
        Then(() => Connections.Forget(ranges, addresses.Select(IPAddress.Parse).ToHashSet()), () => { });

    public void WaitForEnd(string process, string argument, TimeSpan limit) => Then(
        () =>
        {
            if (!BlockDevices.WaitUntil(
                () => !Processes.Named(process).Any(p => p.Arguments.Contains(argument)), limit, cancellation, TimeSpan.FromMilliseconds(200)))
            {
                throw new MachineException(
                    $"wait for {process} to end",
                    $"it still runs after {(int)limit.TotalSeconds} seconds, and kubelet was to end it; look at journalctl -u kubelet, end its container by "
                        + "hand (crictl stop, docker stop), then apply again");
            }
        },
        reader.ForgetNetwork);

    public void SetSysctl(string name, string value) => Then(() => reader.Kernel.SetSysctl(name, value), reader.ForgetKernel);

    public void WaitForDisk(string serial, TimeSpan limit) => Then(
        () =>
        {
            if (!BlockDevices.WaitUntil(IsThere, limit, cancellation, TimeSpan.FromSeconds(1)))
            {
                throw new MachineException(
                    $"wait for disk {serial}",
                    $"it was not attached within {(int)limit.TotalMinutes} minutes; there are "
                    + $"{string.Join(", ", reader.Disks().Select(d => $"{d.Path} {d.Serial}".Trim()))}. "
                    + "Attach the volume (aws ec2 attach-volume), in the zone of this instance, and not before the machine that had it lets go of it; on Xen "
                    + "instances volumes do not show their IDs")
                { IsOutOfReach = true };
            }

            bool IsThere()
            {
                reader.ForgetStorage();
                // Linked: before udev is done with it, LVM does not look at it, and what is on it would not be seen.
                return reader.Disks().Any(d => d.Serial == serial && (d.Links.Count > 0 || !File.Exists("/run/udev/control")));
            }
        },
        reader.ForgetStorage);

    public void WipeDevice(string device) => Then(() => reader.Storage.Wipe(device), reader.ForgetStorage);

    public void CreateVolumeGroup(string name, string tag, IReadOnlyList<string> devices) =>
        Then(() => reader.Storage.CreateVolumeGroup(name, tag, devices), reader.ForgetStorage);

    public void RemoveVolumeGroup(string name) => Then(
        () =>
        {
            switch (reader.Storage.VolumeGroups().Where(g => g.Name == name).ToList())
            {
                case [var group]:
                    reader.Storage.RemoveVolumeGroup(group);
                    break;
                case { Count: > 1 }:
                    throw new MachineException($"remove volume group {name}", "there are several of this name, and which is meant cannot be told");
            }
        },
        reader.ForgetStorage);

    public void CreateLogicalVolume(string group, string name, long extents, int stripes, IReadOnlyList<string> tags) =>
        Then(() => reader.Storage.CreateLogicalVolume(group, name, extents, stripes, tags), reader.ForgetStorage);

    public void ActivateLogicalVolume(string group, string name) => Then(() => reader.Storage.ActivateLogicalVolume(group, name), reader.ForgetStorage);

    public void RemoveLogicalVolumeTag(string group, string name, string tag) =>
        Then(() => reader.Storage.RemoveLogicalVolumeTag(group, name, tag), reader.ForgetStorage);

    public void MakeFilesystem(string device, string type, string label) =>
        Then(() => reader.Storage.MakeFilesystem(device, type, label), reader.ForgetStorage);

    private static void Then(Action write, Action forget)
    {
        try
        {
            write();
        }
        catch (ProbeException e)
        {
            // Looking is part of some writes.
            throw new MachineException(e.Subject, e.Why, e);
        }
        finally
        {
            forget();
        }
    }
}
