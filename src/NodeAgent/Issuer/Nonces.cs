using System.Buffers.Binary;
using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;

namespace NodeAgent.Issuer;

/// <summary>
/// Nonces that no issuer keeps and every issuer knows: time and chance, sealed with a key that all issuers of the cluster derive from its CA's. One that was
/// used is remembered until it is old, here: at another issuer it is good for the same request once more, which gives the same key the same names.
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
    // Of the CA that signs, and of the one that did before: issuers do not all follow in the same moment.
    private volatile byte[][] _keys = [key];

    /// <summary>Another CA signs by now.</summary>
    public void Follow(byte[] another) => _keys = another.AsSpan().SequenceEqual(_keys[0]) ? _keys : [another, _keys[0]];

    public string New()
    {
        Span<byte> nonce = stackalloc byte[Stamp + Random + Seal];
        BinaryPrimitives.WriteInt64BigEndian(nonce, time.GetUtcNow().ToUnixTimeMilliseconds());
        RandomNumberGenerator.Fill(nonce.Slice(Stamp, Random));
        SealOf(_keys[0], nonce[..(Stamp + Random)], nonce[(Stamp + Random)..]);
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
        var isOurs = false;
        foreach (var one in _keys)
        {
            SealOf(one, bytes[..(Stamp + Random)], seal);
            isOurs |= CryptographicOperations.FixedTimeEquals(seal, bytes[(Stamp + Random)..]);
        }

        if (!isOurs)
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

    private void SealOf(byte[] with, ReadOnlySpan<byte> nonce, Span<byte> seal)
    {
        Span<byte> both = stackalloc byte[nonce.Length + _cluster.Length];
        nonce.CopyTo(both);
        _cluster.CopyTo(both[nonce.Length..]);
        HMACSHA256.HashData(with, both, seal);
    }
}
