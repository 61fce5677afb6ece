using System.Security.Cryptography;
using System.Text;

namespace NodeAgent.Machine;

/// <summary>Private keys, of which only the public half leaves this file, and the certificates that stand beside them.</summary>
internal static class KeyFile
{
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
    /// One unencrypted PKCS#8, SEC 1 or PKCS#1 key, and any number of certificates. Without exactly one key that can be read there is no public key.
    /// </param>
    internal static KeyReport Report(byte[] pem, UnixFileMode mode)
    {
        var text = new char[Encoding.UTF8.GetMaxCharCount(pem.Length)];
        try
        {
            byte[]? key = null;
            var keys = 0;
            var certificates = new List<byte[]>();
            ReadOnlySpan<char> rest = text.AsSpan(0, Encoding.UTF8.GetChars(pem, text));
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
                    key = PublicKey(label, rest[fields.Location]);
                }

                rest = rest[fields.Location.End..];
            }

            var line = text.AsSpan(0, text.AsSpan().IndexOf('\n') is >= 0 and var end ? end : 0);
            return new KeyReport(FileKind.Regular, mode, keys == 1 ? key : null, certificates, line.StartsWith("# ") ? line.ToString() : null);
        }
        finally
        {
            Array.Clear(text);
        }
    }

    private static byte[]? PublicKey(ReadOnlySpan<char> label, ReadOnlySpan<char> block) => label switch
    {
        "EC PRIVATE KEY" => PublicKey(ECDsa.Create(), block),
        "RSA PRIVATE KEY" => PublicKey(RSA.Create(), block),
        // PKCS#8 says inside which it is.
        "PRIVATE KEY" => PublicKey(ECDsa.Create(), block) ?? PublicKey(RSA.Create(), block),
        _ => null,
    };

    private static byte[]? PublicKey(AsymmetricAlgorithm key, ReadOnlySpan<char> block)
    {
        using (key)
        {
            try
            {
                key.ImportFromPem(block);
                return key.ExportSubjectPublicKeyInfo();
            }
            catch (Exception e) when (e is ArgumentException or CryptographicException)
            {
                return null;
            }
        }
    }
}
