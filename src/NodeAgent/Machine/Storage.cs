using System.Globalization;
using System.Text.Json;

namespace NodeAgent.Machine;

/// <summary>Signatures and file systems (util-linux, e2fsprogs, xfsprogs) and volume groups (lvm2): what these programs say and how they are told.</summary>
internal sealed class Storage(ProcessRunner runner, BlockDevices blocks)
{
    /// <summary>
    /// How the UUIDs of physical volumes of ours begin. A power cut between pvcreate and vgcreate leaves such a volume in no group: it holds nothing, and by
    /// its UUID it is known for ours, so it is as good as blank. Any other volume without a group is somebody's.
    /// </summary>
    private const string OurUuid = "NodeAg-";

    private static readonly TimeSpan LinkTime = TimeSpan.FromSeconds(30);

    public IReadOnlyList<Signature> Signatures(string device)
    {
        var subject = $"signatures of {device}";
        BlockDevices.CheckReadable(device);
        var result = Probe(subject, "wipefs", "--no-act", "--json", device);
        return ParseSignatures(result.Output, subject);
    }

    /// <summary>{"signatures":[{"device":"vdb","offset":"0x438","type":"ext4","uuid":"..."}]}; some versions print nothing when there is none.</summary>
    public static IReadOnlyList<Signature> ParseSignatures(string json, string subject)
    {
        if (string.IsNullOrWhiteSpace(json))
        {
            return [];
        }

        try
        {
            using var document = JsonDocument.Parse(json);
            return [.. document.RootElement.GetProperty("signatures").EnumerateArray()
                .Where(s => !(Text(s, "type") == "LVM2_member" && s.GetProperty("uuid").GetString()?.StartsWith(OurUuid, StringComparison.Ordinal) == true))
                .Select(s => new Signature(Text(s, "type"), Offset(s.GetProperty("offset"))))];
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or OverflowException)
        {
            throw new ProbeException(subject, "wipefs said what is not understood: " + e.Message, e);
        }
    }

    public IReadOnlyList<VolumeGroupReport> VolumeGroups()
    {
        const string subject = "volume groups";
        // One process and one scan for all of it: lvmreport(7).
        var result = Probe(
            subject, "lvm", "fullreport", "--reportformat", "json", "--units", "b", "--nosuffix",
            "--configreport", "vg", "--options", "vg_name,vg_tags,vg_extent_size,vg_extent_count,vg_free_count,vg_missing_pv_count",
            "--configreport", "pv", "--options", "pv_name",
            "--configreport", "lv", "--options", "lv_name,lv_path,lv_tags,lv_size,lv_active",
            "--configreport", "pvseg", "--options", "pv_name",
            "--configreport", "seg", "--options", "lv_name,stripes");
        return ParseVolumeGroups(result.Output, BlockDevices.Canonical);
    }

    /// <param name="canonical">Kernel name of a device: LVM may speak of the links in /dev/disk.</param>
    public static IReadOnlyList<VolumeGroupReport> ParseVolumeGroups(string json, Func<string, string> canonical)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            var groups = new List<VolumeGroupReport>();
            foreach (var report in document.RootElement.GetProperty("report").EnumerateArray())
            {
                // The last report is of physical volumes that are in no group.
                if (!report.TryGetProperty("vg", out var vgs))
                {
                    continue;
                }

                var vg = vgs.EnumerateArray().Single();
                var volumes = report.GetProperty("lv").EnumerateArray()
                    .Select(lv => new LogicalVolumeReport(
                        Text(lv, "lv_name"),
                        Text(lv, "lv_path"),
                        Tags(lv, "lv_tags"),
                        Number(lv, "lv_size"),
                        Stripes(report, Text(lv, "lv_name")),
                        Text(lv, "lv_active") == "active"))
                    .OrderBy(v => v.Name, StringComparer.Ordinal);
                groups.Add(new VolumeGroupReport(
                    Text(vg, "vg_name"),
                    Tags(vg, "vg_tags"),
                    Number(vg, "vg_extent_size"),
                    Number(vg, "vg_extent_count"),
                    Number(vg, "vg_free_count"),
                    (int)Number(vg, "vg_missing_pv_count"),
                    // A lost one is called "[unknown]".
                    [.. report.GetProperty("pv").EnumerateArray().Select(pv => Text(pv, "pv_name"))
                        .Select(n => n.StartsWith('/') ? canonical(n) : n)
                        .Order(StringComparer.Ordinal)],
                    [.. volumes]));
            }

            return [.. groups.OrderBy(g => g.Name, StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or OverflowException)
        {
            throw new ProbeException("volume groups", "lvm said what is not understood: " + e.Message, e);
        }
    }

    public void Wipe(string device)
    {
        // What lies in a partition would be found again where another partition begins at the same place, so it goes first. Without --force: wipefs opens
        // the device exclusively and gives up on one that is in use.
        foreach (var part in (string[])[.. blocks.Partitions(device), BlockDevices.Canonical(device)])
        {
            Do($"wipe {part}", "wipefs", "--all", part);
        }
    }

    public void CreateVolumeGroup(string name, string tag, IReadOnlyList<string> devices)
    {
        var what = $"create volume group {name}";
        foreach (var device in devices)
        {
            try
            {
                if (Signatures(device) is [var first, ..])
                {
                    throw new MachineException(what, $"{device} carries a signature ({first.Type}), so it is not ours to take");
                }
            }
            catch (ProbeException e)
            {
                throw new MachineException(what, e.Message, e);
            }
        }

        // Without --yes: should a signature have appeared meanwhile, pvcreate asks, finds no answer on its standard input, and gives up. A volume that is in a
        // group it does not touch at all.
        foreach (var device in devices)
        {
            Do(what, "pvcreate", "--uuid", NewUuid(), "--norestorefile", device);
        }

        Do(what, ["vgcreate", "--addtag", tag, "--setautoactivation", "y", name, .. devices]);
    }

    public void RemoveVolumeGroup(VolumeGroupReport group)
    {
        var what = $"remove volume group {group.Name}";
        Do(what, "vgchange", "--activate", "n", group.Name);
        // Not vgremove: between that and pvremove a power cut would leave physical volumes that nobody could tell for ours. This way the group, with its tag,
        // stays to be seen (with members lost) until its last disk is blank.
        foreach (var device in group.Devices.Where(d => d.StartsWith('/')))
        {
            Do(what, "pvremove", "--force", "--force", "--yes", device);
        }
    }

    public void CreateLogicalVolume(string group, string name, long extents, int stripes, IReadOnlyList<string> tags)
    {
        // With --yes, stale signatures in the new volume's space are wiped: free space of our own group holds nothing of anybody's.
        List<string> command = ["lvcreate", "--yes", "--wipesignatures", "y", "--name", name, "--extents", extents.ToString(CultureInfo.InvariantCulture)];
        if (stripes > 1)
        {
            command.AddRange(["--stripes", stripes.ToString(CultureInfo.InvariantCulture)]);
        }

        Do($"create logical volume {group}/{name}", [.. command, .. tags.SelectMany(t => (string[])["--addtag", t]), "--setautoactivation", "y", group]);
    }

    public void ActivateLogicalVolume(string group, string name) =>
        Do($"activate logical volume {group}/{name}", "lvchange", "--activate", "y", $"{group}/{name}");

    public void RemoveLogicalVolumeTag(string group, string name, string tag) =>
        Do($"untag logical volume {group}/{name}", "lvchange", "--deltag", tag, $"{group}/{name}");

    public void MakeFilesystem(string device, string type, string label)
    {
        var what = $"make a file system on {device}";
        // mkfs.xfs(8), mke2fs(8): longer labels are refused or cut.
        var longest = type == "xfs" ? 12 : 16;
        if (label.Length > longest)
        {
            throw new MachineException(what, $"the label \"{label}\" is longer than the {longest} characters {type} takes");
        }

        // Forced, or mkfs asks about signatures. No discard: it takes long on instance store, which comes trimmed.
        Do(what, type switch
        {
            "xfs" => ["mkfs.xfs", "-f", "-K", "-q", "-L", label, device],
            "ext4" => ["mkfs.ext4", "-F", "-q", "-E", "nodiscard", "-L", label, device],
            _ => throw new MachineException(what, $"\"{type}\" is not a file system NodeAgent makes"),
        });

        // Mount units wait for the device by this link; without udev (a container) there is none to wait for.
        var link = $"/dev/disk/by-label/{BlockDevices.EncodeLabel(label)}";
        var target = BlockDevices.Canonical(device);
        if (label.Length > 0
            && File.Exists("/run/udev/control")
            && !BlockDevices.WaitUntil(() => BlockDevices.Canonical(link) == target, LinkTime, runner.Cancellation))
        {
            throw new MachineException(what, $"udev has not made {link} within {LinkTime.TotalSeconds} s; see: udevadm info {device}");
        }
    }

    /// <summary>32 characters in groups of 6, 4, 4, 4, 4, 4 and 6.</summary>
    private static string NewUuid()
    {
        var random = Guid.NewGuid().ToString("N");
        return $"{OurUuid}{random[..4]}-{random[4..8]}-{random[8..12]}-{random[12..16]}-{random[16..20]}-{random[20..26]}";
    }

    private ProcessResult Probe(string subject, params string[] command)
    {
        var result = runner.Run(command);
        return result.Failure is { } why ? throw new ProbeException(subject, result.IsMissing ? why : $"`{result.Command}` {why}") : result;
    }

    private void Do(string what, params string[] command)
    {
        var result = runner.Run(command);
        if (result.Failure is { } why)
        {
            throw new MachineException(what, result.IsMissing ? why : $"`{result.Command}` {why}");
        }
    }

    private static int Stripes(JsonElement report, string volume) =>
        (int)report.GetProperty("seg").EnumerateArray().Where(s => Text(s, "lv_name") == volume).Select(s => Number(s, "stripes")).DefaultIfEmpty(1).Min();

    private static string[] Tags(JsonElement element, string name) => Text(element, name) is { Length: > 0 } tags ? tags.Split(',') : [];

    private static string Text(JsonElement element, string name) => element.GetProperty(name).GetString() ?? throw new FormatException($"{name} is null");

    private static long Number(JsonElement element, string name) => long.Parse(Text(element, name), NumberStyles.None, CultureInfo.InvariantCulture);

    private static long Offset(JsonElement element) => element.ValueKind == JsonValueKind.Number
        ? element.GetInt64()
        : element.GetString() is { } text && text.StartsWith("0x", StringComparison.Ordinal)
            ? long.Parse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)
            : throw new FormatException($"offset is {element}");
}
