using System.Net;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Pki;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>The certificates of this node's roles, and the file with what it trusts.</summary>
internal sealed record Certificates(IReadOnlyList<Resource> Resources, Resource Authority, IReadOnlyDictionary<string, Resource> ByRole)
{
    public const string AuthorityPath = "/etc/kubernetes/pki/ca.crt";

    public const string TimerUnit = "nodeagent-renew.timer";

    /// <summary>
    /// Comes enabled with the package; where it was stopped, it runs again. Without a source there is nothing that it could renew, and it says so when
    /// something is due.
    /// </summary>
    public static IEnumerable<Resource> Timer(NodeConfig config) =>
        config.Certificates.Source == CertificateSourceKind.None ? [] : [new SystemdTimer(Concern.Certificates, TimerUnit, runs: true)];

    public static Certificates Build(NodeConfig config, NodeFacts facts, ICertificateSource source)
    {
        var node = Identity(config, facts);
        var authorities = config.Cluster.CertificateAuthority.Trim() + "\n";
        var authority = new ConfigFile(Concern.Certificates, AuthorityPath, authorities);
        var round = new CertificateRound(source);
        var roles = RoleTable.Worker
            .Where(r => r.Role != ServiceProxy.Role || config.KubeProxy.Mode != ProxyMode.None)
            .ToDictionary(r => r.Role, Resource (r) => new Certificate(r, r.For(node), node.Name, authorities, source, round)
            {
                Instance = facts.Instance.Id,
                KeyAlgorithm = config.Certificates.KeyAlgorithm,
            });
        round.Members = [.. roles.Values.OfType<Certificate>()];
        return new Certificates([authority, .. roles.Values], authority, roles);
    }

    /// <summary>Files of all roles, wanted or not.</summary>
    public static IReadOnlyList<string> Paths => [.. RoleTable.Worker.Select(r => r.Path)];

    public static string PathOf(string role) => RoleTable.Find(role)?.Path ?? throw new ArgumentException($"there is no role {role}");

    public static NodeIdentity Identity(NodeConfig config, NodeFacts facts)
    {
        var instance = facts.Instance;
        return new NodeIdentity(
            NodeNames.Of(config, facts),
            instance.PrivateDnsName is { } name ? [name] : [],
            // Not every address of the interfaces: where the VPC CNI runs, those are the pods', and they come and go.
            [IPAddress.Parse(instance.PrivateAddress)]);
    }
}
