using System.Buffers.Binary;
using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;

namespace NodeAgent.Issuer;

/// <summary>
/// Nonces that no issuer keeps and every issuer knows: time and chance, sealed with a key that all issuers of the cluster derive from its CA's. One that was used
/// is remembered until it is old, here: at another issuer it is good for the same request once more, which gives the same key the same names.
/// </summary>
internal sealed class Nonces(byte[] key, string cluster, TimeSpan lifetime, TimeProvider time)
{
    private const int Stamp = 8;
    private const int Random = 16;
    private const int Seal = 32;

    // Clocks of issuers differ a little.
    private static readonly TimeSpan Ahead = TimeSpan.FromSeconds(30);

    private readonly byte[] _cluster = Encoding.UTF8.GetBytes(cluster);
    private readonly ConcurrentDictionary<string, long> _used = new(StringComparer.Ordinal);
    private long _pruned = time.GetTimestamp();

    public string New()
    {
        Span<byte> nonce = stackalloc byte[Stamp + Random + Seal];
        BinaryPrimitives.WriteInt64BigEndian(nonce, time.GetUtcNow().ToUnixTimeMilliseconds());
        RandomNumberGenerator.Fill(nonce.Slice(Stamp, Random));
        SealOf(nonce[..(Stamp + Random)], nonce[(Stamp + Random)..]);
        return Base64Url.EncodeToString(nonce);
    }

    /// <returns>What is wrong with it; null when nothing is.</returns>
    public string? Flaw(string nonce)
    {
        Span<byte> bytes = stackalloc byte[Stamp + Random + Seal];
        // Exactly the letters that were given out: other encodings of the same bytes would be other nonces to whoever remembers them.
        if (nonce.Length != Base64Url.GetEncodedLength(bytes.Length)
            || !Base64Url.TryDecodeFromChars(nonce, bytes, out var length) || length != bytes.Length || Base64Url.EncodeToString(bytes) != nonce)
        {
            return "the nonce is none of this cluster's issuers";
        }

        Span<byte> seal = stackalloc byte[Seal];
        SealOf(bytes[..(Stamp + Random)], seal);
        if (!CryptographicOperations.FixedTimeEquals(seal, bytes[(Stamp + Random)..]))
        {
            return "the nonce is none of this cluster's issuers";
        }

        var age = time.GetUtcNow() - DateTimeOffset.FromUnixTimeMilliseconds(BinaryPrimitives.ReadInt64BigEndian(bytes));
        return age > lifetime ? $"the nonce is {age.TotalSeconds:0} s old; it is good for {lifetime.TotalSeconds:0} s"
            : age < -Ahead ? $"the nonce is {-age.TotalSeconds:0} s ahead of this issuer's clock"
            : null;
    }

    /// <returns>False when it was used before.</returns>
    public bool Use(string nonce)
    {
        if (time.GetElapsedTime(Interlocked.Read(ref _pruned)) > lifetime)
        {
            Interlocked.Exchange(ref _pruned, time.GetTimestamp());
            foreach (var (used, at) in _used)
            {
                if (time.GetElapsedTime(at) > lifetime + Ahead + Ahead)
                {
                    _used.TryRemove(used, out _);
                }
            }
        }

        return _used.TryAdd(nonce, time.GetTimestamp());
    }

    private void SealOf(ReadOnlySpan<byte> nonce, Span<byte> seal)
    {
        Span<byte> both = stackalloc byte[nonce.Length + _cluster.Length];
        nonce.CopyTo(both);
        _cluster.CopyTo(both[nonce.Length..]);
        HMACSHA256.HashData(key, both, seal);
    }
}
