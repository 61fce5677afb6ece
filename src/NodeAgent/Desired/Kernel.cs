using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>Modules and sysctls: in the running kernel, and in the files from which the next boot sets them.</summary>
internal static class Kernel
{
    private const string ModulesDirectory = "/etc/modules-load.d/";

    private const string SysctlDirectory = "/etc/sysctl.d/";

    public static IReadOnlyList<Resource> Build(NodeConfig config, NodeFacts facts)
    {
        string[] names = [.. config.Kernel.Modules.Concat(ServiceProxy.Modules(config, facts)).Distinct().Order(StringComparer.Ordinal)];
        var sysctls = ServiceProxy.Sysctls(config, facts).ToDictionary(s => s.Name, s => s.Value, StringComparer.Ordinal);
        foreach (var (name, value) in PodNetwork.Sysctls(config.Network.Plugin).Concat(config.Kernel.Sysctls))
        {
            sysctls[name] = value;
        }

        var values = sysctls.OrderBy(s => s.Key, StringComparer.Ordinal).ToList();
        var modules = names.Select(Resource (n) => new KernelModule(n)).ToList();
        return
        [
            new Remains(
                Concern.Kernel,
                "of modules and sysctls",
                [ModulesDirectory, SysctlDirectory],
                texts => Left(texts, names, [.. sysctls.Keys, .. PodNetwork.SysctlPatterns(config.Network.Plugin)])),
            new ConfigFile(Concern.Kernel, $"{ModulesDirectory}nodeagent.conf", string.Concat([Ownership.Header, "\n", .. names.Select(n => n + "\n")])),
            // After the distribution's 50- and cloud images' 60- to 80- files, which would win otherwise (sysctl.d(5): last one wins).
            new ConfigFile(
                Concern.Kernel,
                $"{SysctlDirectory}95-nodeagent.conf",
                string.Concat([Ownership.Header, "\n", .. values.Select(s => $"{s.Key} = {s.Value}\n")])),
            .. modules,
            .. values.Select(s => new Sysctl(s.Key, s.Value)
            {
                // These keys come with a module; the others are there from the start.
                Needs = [.. modules.Where(m => m.Name == (s.Key.StartsWith("net.bridge.", StringComparison.Ordinal) ? "br_netfilter"
                    : s.Key.StartsWith("net.ipv4.vs.", StringComparison.Ordinal) ? "ip_vs"
                    : s.Key.StartsWith("net.netfilter.", StringComparison.Ordinal) ? "nf_conntrack" : ""))],
            }),
        ];
    }

    // Nobody knows what a value was before, and a module may be in use: the next boot does without them.
    private static IEnumerable<string> Left(IReadOnlyDictionary<string, string> texts, IEnumerable<string> modules, IEnumerable<string> sysctls)
    {
        foreach (var module in Lines(ModulesDirectory).Except(modules))
        {
            yield return $"module {module} is not loaded at boot any more; loaded now, it stays until the next boot, or: modprobe --remove {module}";
        }

        foreach (var line in Lines(SysctlDirectory).Where(l => l.Contains('=', StringComparison.Ordinal)))
        {
            var parts = line.Split('=', 2, StringSplitOptions.TrimEntries);
            if (!sysctls.Contains(parts[0]))
            {
                yield return $"sysctl {parts[0]} is not set any more; the running kernel keeps {parts[1]} until the next boot, "
                    + "since what it was before is not known";
            }
        }

        IEnumerable<string> Lines(string directory) => texts.Where(t => t.Key.StartsWith(directory, StringComparison.Ordinal))
            .SelectMany(t => t.Value.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
            .Where(l => !l.StartsWith('#') && !l.StartsWith(';'));
    }
}
