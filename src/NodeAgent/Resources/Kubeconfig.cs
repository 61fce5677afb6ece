using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace NodeAgent.Resources;

/// <summary>Kubeconfigs as client-go reads them.</summary>
internal static class Kubeconfig
{
    private const string CertificateField = "client-certificate-data:", KeyField = "client-key-data:";

    /// <summary>
    /// One that holds no secret: it points at the file with certificate and key, which renewal replaces (an embedded one would go stale: kubernetes#99645).
    /// </summary>
    /// <param name="authorities">PEM, embedded: who reads it needs a restart when it changes, and gets one, as the file changes.</param>
    /// <param name="certificate">Path of a PEM file with certificate and key.</param>
    public static string Render(string cluster, Uri server, string authorities, string user, string certificate) =>
        Render(cluster, server, authorities, user, $"client-certificate: {Quote(certificate)}", $"client-key: {Quote(certificate)}");

    /// <summary>One that holds certificate and key itself, which kubeadm's tools and people who carry it away want. A secret.</summary>
    /// <param name="certificate">PEM, leaf first.</param>
    /// <param name="key">PEM.</param>
    public static string Embed(ClusterAccess cluster, string user, string certificate, string key) => Render(
        cluster.Name, cluster.Server, cluster.Authorities, user, $"{CertificateField} {Base64(certificate)}", $"{KeyField} {Base64(key)}");

    /// <summary><see cref="Embed"/> without its two values: what a machine's reader says is around them.</summary>
    public static string Around(ClusterAccess cluster, string user) =>
        Render(cluster.Name, cluster.Server, cluster.Authorities, user, CertificateField, KeyField);

    /// <summary>Certificate and key of one that <see cref="Embed"/> made, or kubeadm; null where it embeds none.</summary>
    public static string? ClientPem(string kubeconfig)
    {
        var (certificate, key) = (Value(CertificateField), Value(KeyField));
        return certificate is null || key is null ? null : certificate + key;

        string? Value(string field)
        {
            var line = kubeconfig.Split('\n').Select(l => l.Trim()).FirstOrDefault(l => l.StartsWith(field, StringComparison.Ordinal));
            var buffer = new byte[line?.Length ?? 0];
            return line is not null && Convert.TryFromBase64String(line[field.Length..].Trim(), buffer, out var length)
                ? Encoding.ASCII.GetString(buffer, 0, length)
                : null;
        }
    }

    private static string Render(string cluster, Uri server, string authorities, string user, string certificate, string key) => $"""
        apiVersion: v1
        kind: Config
        clusters:
        - name: {Quote(cluster)}
          cluster:
            server: {Quote(server.GetLeftPart(UriPartial.Path).TrimEnd('/'))}
            certificate-authority-data: {Base64(authorities.Trim() + "\n")}
        users:
        - name: {Quote(user)}
          user:
            {certificate}
            {key}
        contexts:
        - name: default
          context:
            cluster: {Quote(cluster)}
            user: {Quote(user)}
        current-context: default

        """;

    private static string Base64(string pem) => Convert.ToBase64String(Encoding.UTF8.GetBytes(pem));

    /// <summary>A JSON string is a YAML double-quoted scalar.</summary>
    private static string Quote(string value) => $"\"{JsonEncodedText.Encode(value, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";
}

/// <summary>What a kubeconfig says of its cluster.</summary>
/// <param name="Name">As it is called in there.</param>
/// <param name="Authorities">PEM.</param>
internal sealed record ClusterAccess(string Name, Uri Server, string Authorities);
