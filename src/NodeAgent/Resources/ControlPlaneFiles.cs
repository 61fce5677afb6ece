using System.Security.Cryptography;
using System.Text;
using NodeAgent.Pki;

namespace NodeAgent.Resources;

/// <param name="Path">Absolute, below /etc/kubernetes.</param>
internal sealed record MadeFile(string Path, byte[] Content, UnixFileMode Mode);

/// <summary>
/// All certificates, keys and kubeconfigs of a control plane node at once, from the table, where its CAs can sign: /etc/kubernetes as kubeadm lays it out, of
/// which a node itself makes what it lacks. Keys of CAs are not among them.
/// </summary>
internal static class ControlPlaneFiles
{
    /// <param name="cluster">What it is called in kubeconfigs.</param>
    /// <param name="endpoint">Of the API server, as kubeconfigs say it.</param>
    public static async Task<IReadOnlyList<MadeFile>> Make(
        ClusterAuthorities authorities, string cluster, Uri endpoint, NodeIdentity node, ClusterNames names, KeyAlgorithm algorithm, DateTimeOffset now)
    {
        // Each RSA key costs 150 ms of a processor, and nothing else here costs anything.
        var keys = RoleTable.All.ToDictionary(r => r.Role, _ => Task.Run(() => algorithm.NewKey()));
        var trusted = Pem.Write(authorities.Trusted);
        var access = new ClusterAccess(cluster, endpoint, trusted);
        var (accountKey, accountPublic) = RoleTable.ServiceAccount;
        using var account = ClusterAuthorities.Key(authorities.ServiceAccountKey, "the key of service accounts");
        List<MadeFile> files =
        [
            .. RoleTable.Authorities.Select(a => Public(
                a.CertificatePath, a.Authority == Authority.Cluster ? trusted : Pem.Write([authorities[a.Authority].Certificate.RawData]))),
            new(accountKey, Encoding.UTF8.GetBytes(authorities.ServiceAccountKey), ConfigFile.Private),
            Public(accountPublic, account.ExportSubjectPublicKeyInfoPem() + "\n"),
        ];
        foreach (var row in RoleTable.All)
        {
            var content = row.For(node, names);
            using var key = await keys[row.Role].ConfigureAwait(false);
            var request = SigningRequest.Read(SigningRequest.Create(key, content));
            byte[][] chain = [authorities[row.Authority].Sign(request, content, row.Lifetime, now, RandomNumberGenerator.GetBytes(16))];
            files.AddRange(Certificate.Lay(row, chain, key, access));
        }

        files.AddRange(RoleTable.PointingKubeconfigs.Select(k =>
            Public(k.Path, Kubeconfig.Render(cluster, endpoint, trusted, k.Role, RoleTable.Find(k.Role)!.Path))));
        return files;
    }

    private static MadeFile Public(string path, string content) => new(path, Encoding.UTF8.GetBytes(content), ConfigFile.Readable);
}
