using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace NodeAgent.Resources;

/// <summary>A kubeconfig that holds no secret: it points at the file with certificate and key, which renewal replaces (an embedded one would go stale: kubernetes#99645).</summary>
internal static class Kubeconfig
{
    /// <param name="authorities">PEM, embedded: who reads it needs a restart when it changes, and gets one, as the file changes.</param>
    /// <param name="certificate">Path of a PEM file with certificate and key.</param>
    public static string Render(string cluster, Uri server, string authorities, string user, string certificate) => $"""
        apiVersion: v1
        kind: Config
        clusters:
        - name: {Quote(cluster)}
          cluster:
            server: {Quote(server.GetLeftPart(UriPartial.Path).TrimEnd('/'))}
            certificate-authority-data: {Convert.ToBase64String(Encoding.UTF8.GetBytes(authorities.Trim() + "\n"))}
        users:
        - name: {Quote(user)}
          user:
            client-certificate: {Quote(certificate)}
            client-key: {Quote(certificate)}
        contexts:
        - name: default
          context:
            cluster: {Quote(cluster)}
            user: {Quote(user)}
        current-context: default

        """;

    /// <summary>A JSON string is a YAML double-quoted scalar.</summary>
    private static string Quote(string value) => $"\"{JsonEncodedText.Encode(value, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";
}
