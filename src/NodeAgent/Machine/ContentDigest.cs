using System.Security.Cryptography;
using System.Text;

namespace NodeAgent.Machine;

/// <summary>
/// Tells whether a content is the one that was withheld. Slow to compute and salted with the file's path, because a file whose only unknown is a short password
/// could otherwise be guessed from its hash; deterministic, because the same machine must give the same recording.
/// </summary>
internal sealed record ContentDigest(string Salt, byte[] Value)
{
    private const int Iterations = 20_000;

    public static ContentDigest Of(string path, ReadOnlySpan<byte> content) => new(path, Compute(path, content));

    public bool Matches(ReadOnlySpan<byte> content) => Compute(Salt, content).AsSpan().SequenceEqual(Value);

    private static byte[] Compute(string salt, ReadOnlySpan<byte> content) =>
        Rfc2898DeriveBytes.Pbkdf2(content, Encoding.UTF8.GetBytes(salt), Iterations, HashAlgorithmName.SHA256, 32);
}
