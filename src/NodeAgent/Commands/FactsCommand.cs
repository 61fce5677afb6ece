using System.CommandLine;
using System.Globalization;
using System.Text;
using NodeAgent.Facts;

namespace NodeAgent.Commands;

/// <summary>nodeagent facts: what this machine is, as far as its configuration depends on it.</summary>
internal static class FactsCommand
{
    /// <param name="gather">Reads this machine.</param>
    /// <param name="save">Writes a file.</param>
    public static Command Create(Func<CancellationToken, Task<NodeFacts>> gather, Action<string, byte[]> save)
    {
        var file = new Option<string?>("--save") { Description = "Write them as JSON to this file, for 'nodeagent plan --facts'", HelpName = "FILE" };
        var format = new Option<string>("--format") { Description = "What to print", HelpName = "text|json", DefaultValueFactory = _ => "text" };
        format.AcceptOnlyFromAmong("text", "json");
        var command = new Command(
            "facts",
            """
            Shows what this machine is: instance, network interfaces, tags, hardware, kernel, versions, disks. Changes nothing.

            Example:
              nodeagent facts --save worker.json          # there
              nodeagent plan --facts worker.json --config worker.yaml   # anywhere
            """)
        { file, format };
        command.SetAction(async (parsed, cancellation) =>
        {
            var facts = await gather(cancellation).ConfigureAwait(false);
            var json = FactsJson.Write(facts);
            var output = parsed.InvocationConfiguration.Output;
            if (parsed.GetValue(file) is { } path)
            {
                save(path, json);
            }

            // Flushed by whoever owns it; without a line end of its own, since both forms end with one.
            await output.WriteAsync(parsed.GetValue(format) == "json" ? Encoding.UTF8.GetString(json) : Text(facts)).ConfigureAwait(false);
            return 0;
        });
        return command;
    }

    internal static string Text(NodeFacts facts)
    {
        var text = new StringBuilder();
        var instance = facts.Instance;
        Heading("Instance");
        Line("id", instance.Id);
        Line("type", instance.Type);
        Line("zone", $"{instance.AvailabilityZone} (region {instance.Region})");
        Line("account", instance.AccountId);
        Line("private DNS name", instance.PrivateDnsName ?? "none");
        Line("private address", instance.PrivateAddress);
        Line("lifecycle state", instance.LifecycleState ?? "none (not in an autoscaling group)");
        foreach (var i in instance.Interfaces)
        {
            Line(
                string.Create(CultureInfo.InvariantCulture, $"interface {i.DeviceNumber}"),
                $"{i.Mac} {string.Join(' ', i.Addresses)} in {i.SubnetId ?? "no subnet"} {i.SubnetRange}".TrimEnd());
        }

        foreach (var (name, device) in instance.BlockDeviceMapping)
        {
            Line("device " + name, device);
        }

        Heading("Tags");
        foreach (var (key, value) in instance.Tags)
        {
            Line(key, value);
        }

        Heading("Machine");
        Line("processors", facts.Hardware.Processors.ToString(CultureInfo.InvariantCulture));
        Line("memory", Size(facts.Hardware.MemoryBytes));
        Line("architecture", facts.Hardware.Architecture);
        Line("kernel", facts.Kernel.Release);
        Line("cgroups", string.Create(CultureInfo.InvariantCulture, $"version {facts.Kernel.CgroupVersion}"));
        Line("systemd-resolved", facts.Kernel.SystemdResolved ? "runs" : "does not run");
        Line("kubelet", facts.Versions.Kubelet ?? "not installed");
        Line("containerd", facts.Versions.Containerd ?? "not installed");
        if (facts.Versions.Docker is { } docker)
        {
            Line("Docker", docker);
        }

        Heading("Disks");
        foreach (var disk in facts.Disks)
        {
            var use = disk.Users.Concat(disk.Holders.Select(h => "held by " + h)).ToList();
            Line(disk.Path, $"{Size(disk.Bytes)} {disk.Model} {disk.Serial}".TrimEnd() + (use.Count > 0 ? $" ({string.Join(", ", use)})" : ""));
        }

        return text.ToString();

        void Heading(string heading) => text.Append(text.Length > 0 ? "\n" : "").Append(heading).Append('\n');

        void Line(string name, string value) => text.Append(CultureInfo.InvariantCulture, $"  {name,-24} {value}\n");
    }

    private static string Size(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 30):0.0} GiB");
}
