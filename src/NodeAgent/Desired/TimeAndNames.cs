using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>NTP servers and resolvers, as drop-ins of the services that are on the machine. What nobody gives is left to the machine.</summary>
internal static class TimeAndNames
{
    public static IReadOnlyList<Resource> Build(NodeConfig config, NodeFacts facts) =>
    [
        .. (config.Time?.Servers ?? [], facts.Kernel.TimeService) switch
        {
            ({ Count: 0 }, null) => [],
            (_, null) => throw new NotPossibleException(
                "time.servers is given and this machine has neither chrony (with /etc/chrony/sources.d) nor systemd-timesyncd; install one in the image, or "
                    + "leave time.servers out"),
            // Added to those that chrony.conf names; iburst as Amazon has it for its own (EC2 User Guide, "Set the time reference").
            (var servers, "chrony") =>
                Setting("chrony.service", "/etc/chrony/sources.d", "nodeagent.sources", Lines([.. servers.Select(s => $"server {s} prefer iburst")])),
            var (servers, service) => Setting(
                $"{service}.service",
                "/etc/systemd/timesyncd.conf.d",
                "50-nodeagent.conf",
                servers.Count == 0 ? null : $"[Time]\nNTP={string.Join(' ', servers)}\n"),
        },
        .. (config.Dns ?? new DnsConfig(), facts.Kernel.SystemdResolved) switch
        {
            ({ Servers.Count: 0, Domains.Count: 0 }, false) => [],
            (_, false) =>
                throw new NotPossibleException("dns is given and systemd-resolved does not run on this machine; enable it in the image, or leave dns out"),
            var (dns, _) =>
                Setting("systemd-resolved.service", "/etc/systemd/resolved.conf.d", "50-nodeagent.conf", dns.Servers.Count + dns.Domains.Count == 0 ? null
                : "[Resolve]\n" + Lines([.. One("DNS", dns.Servers), .. One("Domains", dns.Domains)])),
        },
    ];

    /// <param name="content">Null where nothing is to be said: what was said before goes.</param>
    private static IReadOnlyList<Resource> Setting(string unit, string directory, string name, string? content)
    {
        var path = $"{directory}/{name}";
        ConfigFile[] files = content is null ? [] : [new ConfigFile(Concern.Kernel, path, $"{Ownership.Header}\n{content}")];
        var leftovers = new Leftovers($"settings of {unit}", [directory], files.Select(f => f.Name).ToHashSet(StringComparer.Ordinal));
        return [.. files, leftovers, new Restart(Concern.Kernel, unit) { Needs = [.. files, leftovers], Inputs = [.. files, leftovers] }];
    }

    private static IEnumerable<string> One(string key, IReadOnlyList<string> values) => values.Count == 0 ? [] : [$"{key}={string.Join(' ', values)}"];

    private static string? Lines(IReadOnlyList<string> lines) => lines.Count == 0 ? null : string.Concat(lines.Select(l => l + "\n"));
}
