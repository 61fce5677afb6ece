using System.Globalization;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// What a control plane node runs beside its pods: the issuer of certificates, and the unit that makes sure of objects of the API. Both are wanted by a drop-in
/// of ours and not by a link, since a file carries our mark: on a machine that is no control plane any more it goes as a leftover.
/// </summary>
internal static class ControlPlaneServices
{
    public const string IssuerUnit = "nodeagent-issuer.service";

    public const string ClusterUnit = "nodeagent-cluster.service";

    private const string EnvironmentPath = "/etc/nodeagent/issuer.env";

    private const string Target = "multi-user.target";

    /// <summary>Whose files are <see cref="UnitFiles"/>, for systemd to read again.</summary>
    public static IReadOnlyList<string> Units(NodeConfig config) => IsControlPlane(config) ? [ClusterUnit, IssuerUnit, Target] : [];

    /// <summary>What the issuer reads as it starts.</summary>
    public static IReadOnlyList<ConfigFile> Files(NodeConfig config) => !RunsIssuer(config) ? [] :
    [
        new ConfigFile(Concern.Certificates, "/etc/nodeagent/identity.pem", $"{Ownership.Header}\n{config.ControlPlane.Issuer!.IdentityCertificates.Trim()}\n"),
        new ConfigFile(Concern.Certificates, EnvironmentPath, $"""
            {Ownership.Header}
            NODEAGENT_ISSUER="{string.Join(' ', IssuerOptions(config))}"

            """),
    ];

    public static IReadOnlyList<Resource> UnitFiles(NodeConfig config, NodeFacts facts) =>
    [
        .. RunsCluster(config) ? (Resource[])[Cluster(config, facts), Wanted(ClusterUnit)] : [],
        .. RunsIssuer(config) ? (Resource[])[.. Environment(config, IssuerUnit), Wanted(IssuerUnit)] : [],
    ];

    /// <summary>
    /// Where it is a leftover: an issuer that we set up, and that runs on with what it was told. One that somebody else set up has an environment of theirs.
    /// </summary>
    public static string? StopsFirst(string path) => path == EnvironmentPath ? IssuerUnit : null;

    private static ConfigFile[] Environment(NodeConfig config, string unit) => HttpProxy.ServiceLines(config) is { Length: > 0 } lines
        ? [new ConfigFile(Concern.Certificates, $"/etc/systemd/system/{unit}.d/50-nodeagent.conf", $"{Ownership.Header}\n[Service]{lines}\n")]
        : [];

    private static ConfigFile Cluster(NodeConfig config, NodeFacts facts) =>
        new(Concern.StaticPods, $"/etc/systemd/system/{ClusterUnit}.d/50-nodeagent.conf", string.Create(CultureInfo.InvariantCulture, $"""
            {Ownership.Header}
            [Service]{HttpProxy.ServiceLines(config)}
            ExecStart=
            ExecStart=/usr/bin/nodeagent cluster apply --node {NodeNames.Of(config, facts)} --server https://127.0.0.1:{config.ApiServer.Port}{(
                config.ControlPlane.Manifests is { } from ? $" --manifests {Kubelet.Quote(from)}" : "")}

            """));

    /// <param name="ready">What they need: their files read by systemd.</param>
    public static IEnumerable<Resource> Running(NodeConfig config, IReadOnlyList<Resource> files, IReadOnlyList<Resource> unitFiles, Resource ready)
    {
        if (RunsIssuer(config))
        {
            Resource[] inputs = [.. files, .. unitFiles.Where(f => f.Name.Contains(IssuerUnit + ".d/", StringComparison.Ordinal))];
            var restart = new Restart(Concern.Certificates, IssuerUnit) { Needs = [ready, .. inputs], Inputs = inputs };
            yield return restart;
            yield return new Service(Concern.Certificates, IssuerUnit) { Needs = [ready, restart] };
        }

        if (RunsCluster(config))
        {
            Resource[] inputs = [.. unitFiles.Where(f => f.Name.Contains(ClusterUnit + ".d/", StringComparison.Ordinal))];
            var restart = new Restart(Concern.StaticPods, ClusterUnit) { Needs = [ready, .. inputs], Inputs = inputs };
            yield return restart;
            yield return new Service(Concern.StaticPods, ClusterUnit) { Needs = [ready, restart] };
        }
    }

    private static bool IsControlPlane(NodeConfig config) => config.Node.Role == NodeRole.ControlPlane;

    // Whoever brings the API server looks after what it holds.
    private static bool RunsCluster(NodeConfig config) => IsControlPlane(config) && config.ControlPlane.StaticPods;

    private static bool RunsIssuer(NodeConfig config) => IsControlPlane(config) && config.ControlPlane.Issuer is not null;

    /// <summary>None of them holds a blank or a quote: the configuration's checks see to that.</summary>
    private static IEnumerable<string> IssuerOptions(NodeConfig config)
    {
        yield return $"--cluster {config.Cluster.Name}";
        yield return $"--store {config.Certificates.Store}";
        foreach (var worker in config.ControlPlane.Issuer!.Workers)
        {
            yield return $"--worker {worker}";
        }

        if (config.Network.Plugin == NetworkPlugin.VpcRoutes)
        {
            yield return string.Create(CultureInfo.InvariantCulture, $"--pod-range {config.Cluster.PodRange} --node-prefix {config.Network.NodePrefix}");
            if (config.ControlPlane.Issuer.RouteQuota is { } quota)
            {
                yield return string.Create(CultureInfo.InvariantCulture, $"--route-quota {quota}");
            }
        }

        yield return $"--lifetime {config.Certificates.Lifetime}";
        if (config.Node.Name == NodeNaming.InstanceId)
        {
            yield return "--node-name instanceId";
        }

        if (config.ControlPlane.Issuer.ConnectionsPerAddress is { } connections)
        {
            yield return string.Create(CultureInfo.InvariantCulture, $"--connections-per-address {connections}");
        }
    }

    private static ConfigFile Wanted(string unit) => new(Concern.Runtime, $"/etc/systemd/system/{Target}.d/50-{unit}.conf", $"""
        {Ownership.Header}
        [Unit]
        Wants={unit}

        """);
}
