using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// What is beside the configuration that a plugin of the cluster's writes: that of other plugins, of which the runtime takes the first by name, and programs
/// that it calls and does not bring. Said and left alone: whose pods still run, their own DaemonSet knows.
/// </summary>
/// <param name="plugin">As it is written in the configuration.</param>
/// <param name="binaries">Directory of plugins.</param>
/// <param name="called">Programs in it that the image has to have.</param>
/// <param name="former">Says which configuration goes.</param>
internal sealed class CniSurroundings(string plugin, string binaries, IReadOnlyList<string> called, PluginLeftovers former)
    : Resource<(IReadOnlyList<string> Configurations, IReadOnlyList<string> Missing)>(Concern.Network, "surroundings", $"of {plugin}")
{
    public const string Directory = "/etc/cni/net.d";

    /// <summary>Names of the files in <see cref="Directory"/>, as each plugin's own manifests have them.</summary>
    private static readonly (string File, string Plugin)[] Known =
    [
        ("04-cilium-cni.conf", "cilium"), ("05-cilium.conf", "cilium"), ("05-cilium.conflist", "cilium"), ("10-aws.conflist", "aws-vpc-cni"),
        ("10-calico.conflist", "calico"),
        ("10-canal.conflist", "canal"), ("10-flannel.conf", "flannel"), ("10-flannel.conflist", "flannel"), ("10-kuberouter.conflist", "kube-router"),
        ("10-weave.conflist", "weave"),
    ];

    protected override (IReadOnlyList<string> Configurations, IReadOnlyList<string> Missing) Nothing => ([], []);

    protected override (IReadOnlyList<string> Configurations, IReadOnlyList<string> Missing) Observe(IMachineReader reader)
    {
        var there = reader.Directory(binaries);
        var goes = former.Configurations(reader);
        return (
            [.. reader.Directory(Directory).Where(IsRead).Where(n => Known.FirstOrDefault(k => k.File == n).Plugin != plugin)
                .Where(n => !goes.Contains($"{Directory}/{n}") && !Ownership.IsOurs(reader.File($"{Directory}/{n}"))).Order(StringComparer.Ordinal)],
            // A directory that is still to be made has nothing in it that could be missed: whoever bakes the image sees to it.
            there.Count == 0 ? [] : [.. called.Except(there)]);
    }

    protected override Finding Diff((IReadOnlyList<string> Configurations, IReadOnlyList<string> Missing) state, IReadOnlyList<Resource> pending) =>
        InSync.Saying(
            [.. state.Configurations.Select(Left),
                .. state.Missing.Select(
                    m =>
                        $"{plugin} calls {m}, which is not in {binaries} and which it does not bring; install the CNI plugins (containernetworking/plugins)")]);

    protected override void Apply(
        IMachineWriter writer, (IReadOnlyList<string> Configurations, IReadOnlyList<string> Missing) state, Change change, CancellationToken cancellation) =>
        throw new MachineException(Id, "there is nothing that could be changed about it");

    // As libcni takes them (ConfFiles).
    private static bool IsRead(string name) => name.EndsWith(".conf", StringComparison.Ordinal) || name.EndsWith(".conflist", StringComparison.Ordinal)
        || name.EndsWith(".json", StringComparison.Ordinal);

    private string Left(string file)
    {
        var whose = Known.FirstOrDefault(k => k.File == file).Plugin is { } other ? $"{other}'s" : "somebody else's";
        var own = Known.Where(k => k.Plugin == plugin).Select(k => k.File).Order(StringComparer.Ordinal).FirstOrDefault();
        var first = own is null || string.CompareOrdinal(file, own) < 0;
        return $"{Directory}/{file} is {whose}, and the runtime takes the first file by name: "
            + $"{(first ? $"pods get that network and not {plugin}'s" : $"pods get it as long as {plugin} has written none")}. "
            + $"Where none of its pods runs any more: rm {Directory}/{file}";
    }
}
