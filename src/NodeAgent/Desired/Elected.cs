using System.Globalization;
using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Kubernetes;

namespace NodeAgent.Desired;

/// <summary>
/// What controller manager and scheduler have in common: they ask the API server, of all nodes' one at a time works, and nobody sends them anything.
/// </summary>
internal static class Elected
{
    public static ComponentFlags Flags(
        NodeConfig config, KubernetesVersion version, Resource kubeconfig, LeaderElection election, IReadOnlyDictionary<string, bool> gates)
    {
        var flags = new ComponentFlags
        {
            ["authentication-kubeconfig"] = kubeconfig.Name,
            ["authorization-kubeconfig"] = kubeconfig.Name,
            ["bind-address"] = "127.0.0.1",
            ["kubeconfig"] = kubeconfig.Name,
            ["leader-elect"] = "true",
            ["leader-elect-lease-duration"] = Seconds(election.LeaseDuration),
            ["leader-elect-renew-deadline"] = Seconds(election.RenewDeadline),
            ["leader-elect-retry-period"] = Seconds(election.RetryPeriod),
            ["profiling"] = "false",
            ["tls-min-version"] = config.ControlPlane.TlsMinVersion.ToString(),
        };
        flags.SetGates(gates);
        if (ControlPlaneVersions.HasInsecurePort(version))
        {
            flags["port"] = "0";
        }

        return flags;
    }

    /// <summary>Without a readiness probe, as kubeadm's.</summary>
    public static IReadOnlyDictionary<string, JsonObject> Probes(int port, Duration patience)
    {
        var probes = new Probes("HTTPS", port);
        return new Dictionary<string, JsonObject>
        {
            ["livenessProbe"] = probes.Liveness("/healthz"),
            ["startupProbe"] = probes.Startup("/healthz", patience),
        };
    }

    // Go's durations know no days.
    private static string Seconds(Duration duration) => string.Create(CultureInfo.InvariantCulture, $"{(long)duration.Value.TotalSeconds}s");
}
