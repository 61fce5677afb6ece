using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using NodeAgent.Pki;

namespace NodeAgent.Issuer;

/// <summary>
/// The issuer's own certificate: in memory alone, from the CA that it signs with. Each minute it is held against the wall clock, which may jump either way: a
/// new one is made when less than a third of its life is left, when its time has not begun, when another CA signs by now, and when the last signature failed,
/// to see whether signing works again.
/// </summary>
internal sealed class ServerIdentity : IDisposable
{
    public static readonly TimeSpan Life = TimeSpan.FromDays(7);

    private static readonly TimeSpan Often = TimeSpan.FromMinutes(1);

    private readonly WatchedSigner _signer;
    private readonly TimeProvider _time;
    private readonly Action<string> _say;
    private readonly Func<Task> _follow;
    private readonly ITimer _timer;
    private volatile SslStreamCertificateContext _current;
    private string? _said;
    private int _looking;

    private ServerIdentity(WatchedSigner signer, TimeProvider time, Action<string> say, Func<Task> follow, SslStreamCertificateContext first)
    {
        (_signer, _time, _say, _follow, _current) = (signer, time, say, follow, first);
        _timer = time.CreateTimer(_ => _ = Look(), null, Often, Often);
    }

    public DateTimeOffset NotBefore => _current.TargetCertificate.NotBefore;

    public DateTimeOffset NotAfter => _current.TargetCertificate.NotAfter;

    public bool IsInTime => _time.GetUtcNow() is var now && now >= NotBefore && now < NotAfter;

    /// <param name="say">Hears why there is no new certificate, once for each cause.</param>
    /// <param name="follow">What else there is to do when another CA signs.</param>
    /// <exception cref="CryptographicException">The CA does not sign.</exception>
    public static async Task<ServerIdentity> Issue(
        WatchedSigner signer, TimeProvider time, Action<string> say, CancellationToken cancellation, Func<Task>? follow = null) =>
        new(signer, time, say, follow ?? (static () => Task.CompletedTask), await New(signer, cancellation).ConfigureAwait(false));

    public SslStreamCertificateContext Current() => _current;

    public void Dispose() => _timer.Dispose();

    private async Task Look()
    {
        // A signature of KMS may take longer than the pause between two looks.
        if (Interlocked.Exchange(ref _looking, 1) == 1)
        {
            return;
        }

        try
        {
            var now = _time.GetUtcNow();
            var isOfAnother = !ParsedCertificate.IsIssuedBy([_current.TargetCertificate.RawData], [_signer.Authority]);
            if (isOfAnother)
            {
                await _follow().ConfigureAwait(false);
            }

            if (isOfAnother || _signer.Flaw is not null || now < NotBefore || NotAfter - now < (NotAfter - NotBefore) / 3)
            {
                _current = await New(_signer, CancellationToken.None).ConfigureAwait(false);
                _said = null;
            }
        }
#pragma warning disable CA1031 // Nobody waits for this one: what is not said here is said nowhere.
        catch (Exception e)
#pragma warning restore CA1031
        {
            if (_said != e.Message)
            {
                _said = e.Message;
                _say(
                    $"nodeagent: the issuer's own certificate ({NotBefore.UtcDateTime:u} to {NotAfter.UtcDateTime:u}) cannot be renewed, tried again each "
                    + "minute: "
                    + e.Message);
            }
        }
        finally
        {
            Volatile.Write(ref _looking, 0);
        }
    }

    private static async Task<SslStreamCertificateContext> New(ICertificateSigner signer, CancellationToken cancellation)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var content = RoleTable.IssuerServing;
        var der = await signer.Sign(SigningRequest.Read(SigningRequest.Create(key, content)), content, Life, cancellation).ConfigureAwait(false);
        using var certificate = X509CertificateLoader.LoadCertificate(der);
        return SslStreamCertificateContext.Create(certificate.CopyWithPrivateKey(key), null, offline: true);
    }
}

/// <summary>A signer of somebody else's, of which is known whether its last signature failed.</summary>
internal sealed class WatchedSigner(ICertificateSigner signer) : ICertificateSigner
{
    private volatile string? _flaw;

    /// <summary>Why the last signature failed; null when it did not.</summary>
    public string? Flaw => _flaw;

    public byte[] Authority => signer.Authority;

    public IReadOnlyList<byte[]> Trusted => signer.Trusted;

    public async ValueTask<byte[]> Sign(PublicKey key, CertificateContent content, TimeSpan lifetime, CancellationToken cancellation)
    {
        try
        {
            var signed = await signer.Sign(key, content, lifetime, cancellation).ConfigureAwait(false);
            _flaw = null;
            return signed;
        }
        catch (CryptographicException e)
        {
            _flaw = e.Message;
            throw;
        }
    }

    public ValueTask<byte[]> SharedKey(string purpose, CancellationToken cancellation) => signer.SharedKey(purpose, cancellation);

    public void Dispose()
    {
        // Its owner does.
    }
}
