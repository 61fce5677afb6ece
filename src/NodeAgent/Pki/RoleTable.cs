using System.Net;

namespace NodeAgent.Pki;

/// <summary>
/// Which certificates there are, what each says and where it lies. For auditors: nothing else in the program decides a subject, a usage or a name.
/// The node computes what it expects from this table and its facts, the signer what it signs from this table and what it knows of the node.
/// </summary>
/// <remarks>
/// A file holds its certificate chain and its key (mode 0600), so that one rename replaces both. The readers take one file for both: kubelet's own rotation
/// writes such a file and points a kubeconfig's client-certificate and client-key at it (client-go util/certificate/certificate_store.go, kubelet
/// certificate/bootstrap), and kubelet's tlsCertFile and tlsPrivateKeyFile end in Go's tls.LoadX509KeyPair, which skips the blocks it does not look for.
/// </remarks>
internal static class RoleTable
{
    /// <summary>The role by whose certificate a node shows who it is.</summary>
    public const string NodeClient = "kubelet-client";

    private const string Pki = "/etc/kubernetes/pki/";

    public static IReadOnlyList<RoleCertificate> Worker { get; } =
    [
        // Read again by client-go within 5 minutes of a renewal.
        new(NodeClient, Pki + "kubelet-client.pem", "system:node:{node}", "system:nodes", CertificateUsage.Client, RoleNames.None),

        // Read again by kubelet from 1.31 (kubernetes#124574); a kubelet before that needs a restart, which no pod notices.
        new("kubelet-serving", Pki + "kubelet-serving.pem", "system:node:{node}", "system:nodes", CertificateUsage.Server, RoleNames.Node),

        // Read again by client-go within 5 minutes. In a directory of its own: a pod that mounts the file alone keeps the old one after the rename, and one
        // that mounts its neighbours sees kubelet's keys.
        new("kube-proxy", Pki + "kube-proxy/client.pem", "system:kube-proxy", null, CertificateUsage.Client, RoleNames.None),
    ];

    /// <summary>
    /// What the issuer of certificates shows to nodes. Its name is no address: it holds wherever an issuer listens, and no node can have it, since nodes are named
    /// by EC2. A node's serving certificate is of the same CA, and without this name a node could pass for the issuer.
    /// </summary>
    public static CertificateContent IssuerServing { get; } = new("nodeagent-issuer", [], CertificateUsage.Server, ["nodeagent-issuer"], []);

    public static RoleCertificate? Find(string role) => Worker.FirstOrDefault(r => r.Role == role);
}

/// <param name="CommonName">{node} stands for the node's name.</param>
/// <param name="Organization">What Kubernetes takes for the group; none when null.</param>
internal sealed record RoleCertificate(string Role, string Path, string CommonName, string? Organization, CertificateUsage Usage, RoleNames Names)
{
    public CertificateContent For(NodeIdentity node) => new(
        CommonName.Replace("{node}", node.Name, StringComparison.Ordinal),
        Organization is null ? [] : [Organization],
        Usage,
        Names == RoleNames.Node ? [.. new[] { node.Name }.Concat(node.DnsNames).Distinct(StringComparer.OrdinalIgnoreCase)] : [],
        Names == RoleNames.Node ? [.. node.Addresses.Distinct()] : []);
}

[Flags]
internal enum CertificateUsage
{
    Client = 1,
    Server = 2,
}

internal enum RoleNames
{
    None,

    /// <summary>The node's name, its DNS names and its addresses.</summary>
    Node,
}

/// <summary>As EC2 knows the node, never as it calls itself.</summary>
internal sealed record NodeIdentity(string Name, IReadOnlyList<string> DnsNames, IReadOnlyList<IPAddress> Addresses);

/// <summary>What a certificate says of its holder.</summary>
internal sealed record CertificateContent(
    string CommonName,
    IReadOnlyList<string> Organizations,
    CertificateUsage Usage,
    IReadOnlyList<string> DnsNames,
    IReadOnlyList<IPAddress> Addresses)
{
    /// <summary>As openssl prints it: O = system:nodes, CN = system:node:a.</summary>
    public string Subject => string.Join(", ", Organizations.Select(o => $"O = {o}").Append($"CN = {CommonName}"));
}
