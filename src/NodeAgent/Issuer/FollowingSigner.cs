using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using NodeAgent.Aws;
using NodeAgent.Pki;

namespace NodeAgent.Issuer;

/// <summary>
/// The CA that signs by the store, for as long as an issuer runs: each minute it looks whether a rotation has gone a stage further. Of the store, a look reads
/// public halves alone; keys are read when something has changed. While the store is away, it goes on as it was.
/// </summary>
internal sealed class FollowingSigner : ICertificateSigner
{
    private static readonly TimeSpan Often = TimeSpan.FromMinutes(1);

    private readonly Func<CancellationToken, Task<OpenStore>> _open;
    private readonly TimeProvider _time;
    private readonly Action<string> _say;
    private readonly CancellationTokenSource _stop = new();
    private readonly ITimer _timer;
    private volatile ICertificateSigner _current;
    private ICertificateSigner? _former;
    private string? _said;
    private int _looking;

    private FollowingSigner(Func<CancellationToken, Task<OpenStore>> open, TimeProvider time, Action<string> say, ICertificateSigner first)
    {
        (_open, _time, _say, _current) = (open, time, say, first);
        _timer = time.CreateTimer(_ => _ = Look(), null, Often, Often);
    }

    public byte[] Authority => _current.Authority;

    public IReadOnlyList<byte[]> Trusted => _current.Trusted;

    /// <param name="open">Asked at each look.</param>
    /// <param name="say">Hears what has changed, and why it cannot be seen, once for each cause.</param>
    /// <exception cref="CaException"/>
    /// <exception cref="AwsException"/>
    public static async Task<ICertificateSigner> Start(
        Func<CancellationToken, Task<OpenStore>> open, TimeProvider time, Action<string> say, CancellationToken cancellation)
    {
        var (store, kms) = await open(cancellation).ConfigureAwait(false);
        using (store)
        {
            return new FollowingSigner(open, time, say, await Signers.Of(store, kms, time, cancellation).ConfigureAwait(false));
        }
    }

    public ValueTask<byte[]> SharedKey(string purpose, CancellationToken cancellation) => _current.SharedKey(purpose, cancellation);

    public ValueTask<byte[]> Sign(PublicKey key, CertificateContent content, TimeSpan lifetime, CancellationToken cancellation) =>
        _current.Sign(key, content, lifetime, cancellation);

    public void Dispose()
    {
        _stop.Cancel();
        _timer.Dispose();
        _former?.Dispose();
        _current.Dispose();
        _stop.Dispose();
    }

    private async Task Look()
    {
        if (Interlocked.Exchange(ref _looking, 1) == 1)
        {
            return;
        }

        try
        {
            // Whoever signed with it when the other one came has done so long ago.
            _former?.Dispose();
            _former = null;
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
            patience.CancelAfter(Often);
            var (store, kms) = await _open(patience.Token).ConfigureAwait(false);
            using (store)
            {
                var generations = await CaGenerations.Read(store, patience.Token).ConfigureAwait(false);
                var standing = _current;
                if (!standing.Authority.AsSpan().SequenceEqual(generations.Current.Der)
                    || !IsSame(standing.Trusted, [.. generations.Trusted.Select(g => g.Der)]))
                {
                    _current = await Signers.Of(store, kms, _time, patience.Token).ConfigureAwait(false);
                    _former = standing;
                    _say(
                        $"nodeagent: {store.Name} has changed: {Name(_current.Authority)} signs, trusted are "
                            + $"{string.Join(" and ", _current.Trusted.Select(Name))}");
                }
            }

            _said = null;
        }
#pragma warning disable CA1031 // Nobody waits for this one: what is not said here is said nowhere.
        catch (Exception e)
#pragma warning restore CA1031
        {
            if (_said != e.Message && !_stop.IsCancellationRequested)
            {
                _said = e.Message;
                _say($"nodeagent: whether another CA signs cannot be seen, {Name(Authority)} goes on, tried again each minute: {e.Message}");
            }
        }
        finally
        {
            Volatile.Write(ref _looking, 0);
        }
    }

    private static bool IsSame(IReadOnlyList<byte[]> one, IReadOnlyList<byte[]> other) =>
        one.Count == other.Count && one.Zip(other).All(p => p.First.AsSpan().SequenceEqual(p.Second));

    private static string Name(byte[] der)
    {
        using var certificate = X509CertificateLoader.LoadCertificate(der);
        return $"{certificate.Subject} (SHA-256 {Convert.ToHexStringLower(SHA256.HashData(der))})";
    }
}
