using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Configuration;

namespace NodeAgent.Tests.Configuration;

/// <summary>Configurations for tests, and the errors of bad ones as users see them.</summary>
internal static class ConfigText
{
    public const string Head = "apiVersion: nodeagent/v1\nkind: NodeConfig\n";

    private static readonly Lazy<string> LazyAuthority = new(() =>
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=kubernetes", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(200));
        return certificate.ExportCertificatePem() + "\n";
    });

    /// <summary>PEM of a CA made for this run.</summary>
    public static string Authority => LazyAuthority.Value;

    /// <summary>The least that a node needs to be told.</summary>
    public static string Minimal => $"""
        {Head}cluster:
          name: blue
          endpoint: https://10.0.0.10:6443
          podRange: 10.32.0.0/16
          certificateAuthority: |
        {Indented(Authority, 4)}
        network:
          podRange: 10.32.7.0/24
        """;

    public static Layer Base => Document("/etc/nodeagent/config.d/10-base.yaml", Minimal);

    public static Layer Document(string name, string text) => new Layer.Document(name, Encoding.UTF8.GetBytes(text));

    public static string Indented(string text, int by) => string.Join('\n', text.TrimEnd('\n').Split('\n').Select(l => new string(' ', by) + l));

    public static LoadedConfig Load(params Layer[] above) => NodeConfigLoader.Load([Base, .. above]);

    /// <summary>Above a good base, a document with the head already written: its own text begins in line 3.</summary>
    public static LoadedConfig LoadText(string text) => Load(Document("node.yaml", Head + text));

    public static string[] Errors(Func<object> load)
    {
        var exception = Should.Throw<ConfigurationException>(load);
        return [.. exception.Errors.Select(e => e.ToString())];
    }

    public static string[] ErrorsOf(string text) => Errors(() => LoadText(text));
}
