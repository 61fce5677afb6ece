using System.Security.Cryptography;

namespace NodeAgent.Machine;

/// <summary>A private key as files and stores hold it.</summary>
internal static class PrivateKey
{
    /// <param name="pem">One key, ECDSA or RSA, unencrypted, as PKCS#8, SEC 1 or PKCS#1. Other blocks and text around it are passed over.</param>
    /// <exception cref="CryptographicException">It is not that; the message ends a sentence "KEY: ...", and quotes nothing.</exception>
    public static AsymmetricAlgorithm Read(ReadOnlySpan<char> pem)
    {
        ReadOnlySpan<char> block = default;
        for (var rest = pem; PemEncoding.TryFind(rest, out var fields); rest = rest[fields.Location.End..])
        {
            var label = rest[fields.Label];
            if (label is "ENCRYPTED PRIVATE KEY")
            {
                throw new CryptographicException("it is encrypted, and there is nobody to ask for its password");
            }

            if (label.EndsWith("PRIVATE KEY", StringComparison.Ordinal))
            {
                block = block.IsEmpty ? rest[fields.Location] : throw new CryptographicException("there is more than one private key in it");
            }
        }

        // Which of both it is, PKCS#8 says inside.
        return block.IsEmpty
            ? throw new CryptographicException("there is no private key in PEM in it")
            : Import(ECDsa.Create(), block) ?? Import(RSA.Create(), block)
            ?? throw new CryptographicException("it is neither an ECDSA nor an RSA key, or damaged");
    }

    private static AsymmetricAlgorithm? Import(AsymmetricAlgorithm key, ReadOnlySpan<char> block)
    {
        try
        {
            key.ImportFromPem(block);
            return key;
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            key.Dispose();
            return null;
        }
    }
}
