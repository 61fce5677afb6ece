using System.Security.Cryptography;

namespace NodeAgent.Pki;

internal static class Pem
{
    /// <summary>What stands in the CERTIFICATE blocks, in their order; text between them is passed over.</summary>
    public static IReadOnlyList<byte[]> Certificates(ReadOnlySpan<char> text)
    {
        var found = new List<byte[]>();
        while (PemEncoding.TryFind(text, out var fields))
        {
            if (text[fields.Label] is "CERTIFICATE")
            {
                found.Add(Convert.FromBase64String(text[fields.Base64Data].ToString()));
            }

            text = text[fields.Location.End..];
        }

        return found;
    }

    /// <summary>The certificates, leaf first, then the key.</summary>
    public static string Combine(IEnumerable<byte[]> certificates, AsymmetricAlgorithm key) => Write(certificates) + Write(key);

    public static string Write(IEnumerable<byte[]> certificates) => string.Concat(certificates.Select(c => PemEncoding.WriteString("CERTIFICATE", c) + "\n"));

    /// <summary>PKCS#8.</summary>
    public static string Write(AsymmetricAlgorithm key) => key.ExportPkcs8PrivateKeyPem() + "\n";
}
