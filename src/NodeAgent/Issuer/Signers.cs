using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Pki;

namespace NodeAgent.Issuer;

/// <summary>The cluster's CA as an issuer needs it, wherever its key is kept.</summary>
internal interface ICertificateSigner
{
    /// <summary>DER of the CA's certificate: what it signs is signed by this one.</summary>
    byte[] Authority { get; }

    /// <returns>DER.</returns>
    /// <exception cref="CryptographicException">It cannot, for one because its own time is over.</exception>
    ValueTask<byte[]> Sign(PublicKey key, CertificateContent content, TimeSpan lifetime, CancellationToken cancellation);

    /// <summary>32 bytes that every issuer with this CA has, and nobody else.</summary>
    ValueTask<byte[]> SharedKey(string purpose, CancellationToken cancellation);
}

/// <summary>A CA whose key was read from a file. Keys of the platform's cryptography are not promised to be used by many at once, so each has its own.</summary>
internal sealed class FileSigner : ICertificateSigner, IDisposable
{
    private readonly ConcurrentBag<CertificateAuthority> _free = [];
    private readonly string _certificate;
    private readonly char[] _key;
    private readonly TimeProvider _time;

    /// <param name="certificate">PEM.</param>
    /// <param name="key">PEM; wiped once it is read.</param>
    /// <exception cref="CryptographicException"/>
    public FileSigner(ReadOnlySpan<byte> certificate, Span<byte> key, TimeProvider time)
    {
        _certificate = Encoding.ASCII.GetString(certificate);
        _key = new char[key.Length];
        _ = Encoding.ASCII.GetChars(key, _key);
        CryptographicOperations.ZeroMemory(key);
        _time = time;
        var first = CertificateAuthority.Load(_certificate, _key);
        Authority = first.Certificate.RawData;
        _free.Add(first);
    }

    public byte[] Authority { get; }

    public ValueTask<byte[]> Sign(PublicKey key, CertificateContent content, TimeSpan lifetime, CancellationToken cancellation) =>
        ValueTask.FromResult(With(authority => authority.Sign(key, content, lifetime, _time.GetUtcNow(), RandomNumberGenerator.GetBytes(16))));

    public ValueTask<byte[]> SharedKey(string purpose, CancellationToken cancellation) => ValueTask.FromResult(With(authority => authority.DeriveKey(purpose)));

    public void Dispose()
    {
        while (_free.TryTake(out var authority))
        {
            authority.Dispose();
        }

        Array.Clear(_key);
    }

    private T With<T>(Func<CertificateAuthority, T> use)
    {
        if (!_free.TryTake(out var authority))
        {
            authority = CertificateAuthority.Load(_certificate, _key);
        }

        try
        {
            return use(authority);
        }
        finally
        {
            _free.Add(authority);
        }
    }
}
