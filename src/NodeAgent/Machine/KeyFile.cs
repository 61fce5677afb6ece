using System.Security.Cryptography;
using System.Text;

namespace NodeAgent.Machine;

/// <summary>Private keys, of which only the public half leaves this file, and the certificates that stand beside them.</summary>
internal static class KeyFile
{
    private const string CertificateField = "client-certificate-data:", KeyField = "client-key-data:";

    public static KeyReport Report(string path)
    {
        var file = Files.Report(path);
        if (file.Content is not { } content)
        {
            return new KeyReport(file.Kind, file.Mode);
        }

        try
        {
            return Report(content, file.Mode);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(content);
        }
    }

    /// <param name="pem">
    /// One unencrypted PKCS#8, SEC 1 or PKCS#1 key, and any number of certificates; or a kubeconfig that embeds both. Without exactly one key that can be read
    /// there is no public key.
    /// </param>
    internal static KeyReport Report(ReadOnlySpan<byte> pem, UnixFileMode mode)
    {
        var text = new char[Encoding.UTF8.GetMaxCharCount(pem.Length)];
        try
        {
            byte[]? key = null;
            var keys = 0;
            var certificates = new List<byte[]>();
            ReadOnlySpan<char> whole = text.AsSpan(0, Encoding.UTF8.GetChars(pem, text));
            var rest = whole;
            while (PemEncoding.TryFind(rest, out var fields))
            {
                var label = rest[fields.Label];
                if (label is "CERTIFICATE")
                {
                    var der = new byte[fields.DecodedDataLength];
                    Convert.TryFromBase64Chars(rest[fields.Base64Data], der, out _);
                    certificates.Add(der);
                }
                else if (label.EndsWith("PRIVATE KEY"))
                {
                    keys++;
                    key = PublicKey(rest[fields.Location]);
                }

                rest = rest[fields.Location.End..];
            }

            var line = whole[..(whole.IndexOf('\n') is >= 0 and var end ? end : 0)];
            var comment = line.StartsWith("# ") ? line.ToString() : null;
            return keys == 0 && certificates.Count == 0 && whole.Contains(KeyField, StringComparison.Ordinal)
                ? Kubeconfig(comment is null ? whole : whole[(line.Length + 1)..]) with { Mode = mode, Comment = comment }
                : new KeyReport(FileKind.Regular, mode, keys == 1 ? key : null, certificates, comment);
        }
        finally
        {
            Array.Clear(text);
        }
    }

    /// <summary>As we and kubeadm write kubeconfigs, a user's certificate and key are a line each: base64 of PEM.</summary>
    private static KeyReport Kubeconfig(ReadOnlySpan<char> text)
    {
        var around = new StringBuilder();
        var certificates = new List<byte[]>();
        byte[]? key = null;
        var keys = 0;
        foreach (var range in text.Split('\n'))
        {
            var line = text[range];
            var field = line.TrimStart().StartsWith(CertificateField, StringComparison.Ordinal) ? CertificateField
                : line.TrimStart().StartsWith(KeyField, StringComparison.Ordinal) ? KeyField
                : null;
            if (field is null)
            {
                around.Append(line).Append('\n');
                continue;
            }

            var value = line.IndexOf(field, StringComparison.Ordinal) + field.Length;
            around.Append(line[..value]).Append('\n');
            var embedded = Embedded(line[value..].Trim().Trim('"'));
            certificates.AddRange(embedded.Certificates ?? []);
            (key, keys) = field == KeyField ? (embedded.PublicKey, keys + 1) : (key, keys);
        }

        // Where the last line ends, Split has one more.
        around.Length--;
        return new KeyReport(FileKind.Regular, PublicKey: keys == 1 ? key : null, Certificates: certificates, Around: new(around.ToString()));
    }

    private static KeyReport Embedded(ReadOnlySpan<char> base64)
    {
        var pem = new byte[base64.Length];
        try
        {
            return Convert.TryFromBase64Chars(base64, pem, out var length) ? Report(pem.AsSpan(0, length), UnixFileMode.None) : new KeyReport(FileKind.Regular);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(pem);
        }
    }

    private static byte[]? PublicKey(ReadOnlySpan<char> block)
    {
        try
        {
            using var key = PrivateKey.Read(block);
            return key.ExportSubjectPublicKeyInfo();
        }
        catch (CryptographicException)
        {
            return null;
        }
    }
}
