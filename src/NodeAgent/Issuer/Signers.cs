using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using NodeAgent.Aws;
using NodeAgent.Pki;

namespace NodeAgent.Issuer;

/// <summary>The cluster's CA as an issuer needs it, wherever its key is kept.</summary>
internal interface ICertificateSigner : IDisposable
{
    /// <summary>DER of the CA's certificate: what it signs is signed by this one.</summary>
    byte[] Authority { get; }

    /// <summary>DER of all CAs of the cluster whose certificates count: in a rotation, two.</summary>
    IReadOnlyList<byte[]> Trusted => [Authority];

    /// <returns>DER.</returns>
    /// <exception cref="CryptographicException">It cannot, for one because its own time is over.</exception>
    ValueTask<byte[]> Sign(PublicKey key, CertificateContent content, TimeSpan lifetime, CancellationToken cancellation);

    /// <summary>32 bytes that every issuer with this CA has, and nobody else.</summary>
    ValueTask<byte[]> SharedKey(string purpose, CancellationToken cancellation);
}

internal static class Signers
{
    /// <summary>The cluster's CA of a store. Neither etcd's nor the front proxy's is read: an issuer needs no right to them.</summary>
    /// <param name="kms">KMS of a region.</param>
    /// <exception cref="CaException"/>
    /// <exception cref="AwsException"/>
    public static async Task<ICertificateSigner> Of(ICaStore store, Func<string?, KmsKeys> kms, TimeProvider time, CancellationToken cancellation)
    {
        var generations = await CaGenerations.Read(store, cancellation).ConfigureAwait(false);
        IReadOnlyList<byte[]> trusted = [.. generations.Trusted.Select(g => g.Der)];
        var certificate = generations.Current.Certificate;
        var (key, inKms) = await ClusterAuthorities.ReadKey(store, generations.Current, kms, cancellation).ConfigureAwait(false);
        try
        {
            return inKms is null
                ? new FileSigner(certificate, key!, time) { Trusted = trusted }
                : new KmsSigner(
                    CertificateAuthority.Load(certificate, inKms), await ClusterAuthorities.ServiceAccount(store, cancellation).ConfigureAwait(false), time)
                {
                    Trusted = trusted,
                };
        }
        catch (CryptographicException e)
        {
            throw new CaException($"{store.Name}: {e.Message}", e);
        }
    }
}

/// <summary>A CA whose key never leaves KMS, which says itself how many signatures it makes at a time.</summary>
/// <param name="secret">
/// The service account key: what all issuers of the cluster can read, and nobody else, where there is nothing to read of the CA's key.
/// </param>
internal sealed class KmsSigner(CertificateAuthority authority, AsymmetricAlgorithm secret, TimeProvider time) : ICertificateSigner
{
    public byte[] Authority { get; } = authority.Certificate.RawData;

    public required IReadOnlyList<byte[]> Trusted { get; init; }

    public async ValueTask<byte[]> Sign(PublicKey key, CertificateContent content, TimeSpan lifetime, CancellationToken cancellation)
    {
        try
        {
            return await authority.SignAsync(key, content, lifetime, time.GetUtcNow(), RandomNumberGenerator.GetBytes(16), cancellation).ConfigureAwait(false);
        }
        catch (AwsException e)
        {
            // Throttled for one: who asks is told to come again.
            throw new CryptographicException(e.Message, e);
        }
    }

    public ValueTask<byte[]> SharedKey(string purpose, CancellationToken cancellation) => ValueTask.FromResult(CertificateAuthority.DeriveKey(secret, purpose));

    public void Dispose()
    {
        authority.Dispose();
        secret.Dispose();
    }
}

/// <summary>A CA whose key was read from a store. Keys of the platform's cryptography are not promised to be good for many at once: each has its own.</summary>
internal sealed class FileSigner : ICertificateSigner
{
    private readonly ConcurrentBag<CertificateAuthority> _free = [];
    private readonly string _certificate;
    private readonly string _key;
    private readonly TimeProvider _time;

    /// <param name="certificate">PEM.</param>
    /// <param name="key">PEM. It stays in memory for as long as there is something to sign, so nothing is wiped.</param>
    /// <exception cref="CryptographicException"/>
    public FileSigner(string certificate, string key, TimeProvider time)
    {
        (_certificate, _key, _time) = (certificate, key, time);
        var first = CertificateAuthority.Load(_certificate, _key);
        Authority = first.Certificate.RawData;
        Trusted = [Authority];
        _free.Add(first);
    }

    public byte[] Authority { get; }

    public IReadOnlyList<byte[]> Trusted { get; init; }

    public ValueTask<byte[]> Sign(PublicKey key, CertificateContent content, TimeSpan lifetime, CancellationToken cancellation) =>
        ValueTask.FromResult(With(authority => authority.Sign(key, content, lifetime, _time.GetUtcNow(), RandomNumberGenerator.GetBytes(16))));

    public ValueTask<byte[]> SharedKey(string purpose, CancellationToken cancellation) => ValueTask.FromResult(With(authority => authority.DeriveKey(purpose)));

    public void Dispose()
    {
        while (_free.TryTake(out var authority))
        {
            authority.Dispose();
        }
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
