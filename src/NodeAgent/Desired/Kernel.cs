using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>Modules and sysctls: in the running kernel, and in the files from which the next boot sets them.</summary>
internal static class Kernel
{
    public static IReadOnlyList<Resource> Build(NodeConfig config)
    {
        string[] names = [.. config.Kernel.Modules.Concat(ServiceProxy.Modules(config.KubeProxy.Mode)).Distinct().Order(StringComparer.Ordinal)];
        var values = config.Kernel.Sysctls.OrderBy(s => s.Key, StringComparer.Ordinal).ToList();
        var modules = names.Select(Resource (n) => new KernelModule(n)).ToList();
        return
        [
            new ConfigFile(Concern.Kernel, "/etc/modules-load.d/nodeagent.conf", string.Concat([Ownership.Header, "\n", .. names.Select(n => n + "\n")])),
            // After the distribution's 50- and cloud images' 60- to 80- files, which would win otherwise (sysctl.d(5): last one wins).
            new ConfigFile(Concern.Kernel, "/etc/sysctl.d/95-nodeagent.conf", string.Concat([Ownership.Header, "\n", .. values.Select(s => $"{s.Key} = {s.Value}\n")])),
            .. modules,
            .. values.Select(s => new Sysctl(s.Key, s.Value)
            {
                // These keys come with a module; the others are there from the start.
                Needs = [.. modules.Where(m => m.Name == (s.Key.StartsWith("net.bridge.", StringComparison.Ordinal) ? "br_netfilter"
                    : s.Key.StartsWith("net.netfilter.", StringComparison.Ordinal) ? "nf_conntrack" : ""))],
            }),
        ];
    }
}
