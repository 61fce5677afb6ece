using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace NodeAgent.Pki;

/// <summary>What keys are made of; their names as configurations write them are in <see cref="KeyAlgorithms"/>.</summary>
internal enum KeyAlgorithm
{
    EcdsaP256,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

internal static class KeyAlgorithms
{
    public static readonly string[] Names = ["ecdsa-p256", "rsa-2048", "rsa-3072", "rsa-4096"];

    public static string Name(this KeyAlgorithm algorithm) => Names[(int)algorithm];

    /// <exception cref="FormatException"/>
    public static KeyAlgorithm Parse(string name) => Array.IndexOf(Names, name) is >= 0 and var index
        ? (KeyAlgorithm)index
        : throw new FormatException($"'{name}' is no key algorithm; expected one of {string.Join(", ", Names)}");

    public static AsymmetricAlgorithm NewKey(this KeyAlgorithm algorithm) => algorithm switch
    {
        KeyAlgorithm.EcdsaP256 => ECDsa.Create(ECCurve.NamedCurves.nistP256),
        KeyAlgorithm.Rsa2048 => Rsa(2048),
        KeyAlgorithm.Rsa3072 => Rsa(3072),
        _ => Rsa(4096),
    };

    private static RSA Rsa(int bits)
    {
        var key = RSA.Create(bits);
        // .NET makes the key when something is first asked of it, which would be too late for who makes many at once.
        _ = key.ExportParameters(includePrivateParameters: false);
        return key;
    }

    /// <summary>In the words of <see cref="Names"/> where it is one of them.</summary>
    /// <param name="publicKey">SubjectPublicKeyInfo, DER.</param>
    public static string Describe(byte[] publicKey)
    {
        try
        {
            var key = PublicKey.CreateFromSubjectPublicKeyInfo(publicKey, out _);
            using var ec = key.GetECDsaPublicKey();
            using var rsa = key.GetRSAPublicKey();
            return ec is not null ? $"ecdsa-p{ec.KeySize}" : rsa is not null ? $"rsa-{rsa.KeySize}" : key.Oid.Value ?? "unknown";
        }
        catch (CryptographicException)
        {
            return "unknown";
        }
    }
}
