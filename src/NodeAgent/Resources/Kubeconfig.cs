using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace NodeAgent.Resources;

/// <summary>Kubeconfigs as client-go reads them.</summary>
internal static class Kubeconfig
{
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
    public static string Embed(string cluster, Uri server, string authorities, string user, string certificate, string key) =>
        Render(cluster, server, authorities, user, $"client-certificate-data: {Base64(certificate)}", $"client-key-data: {Base64(key)}");

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
