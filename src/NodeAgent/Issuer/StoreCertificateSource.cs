using System.Globalization;
using System.Security.Cryptography;
using NodeAgent.Aws;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Resources;

namespace NodeAgent.Issuer;

/// <summary>
/// A control plane node signs for itself, by the CAs in the cluster's store, which it may read by its instance's role. The store is read at most once a run,
/// and only when something is to come from it; the keys stay in memory. What was answered holds for the run: asking again for each certificate would wait as
/// long for each.
/// </summary>
internal sealed class StoreCertificateSource : ICertificateSource, IDisposable
{
    private readonly StoreSigning _what;
    private readonly Func<CancellationToken, Task<OpenStore>> _open;
    private readonly TimeProvider _time;
    private readonly CancellationToken _stop;
    private ClusterAuthorities? _authorities;
    private Finding? _objection;

    /// <param name="open">Asked when the store is first needed.</param>
    /// <param name="stop">The run's.</param>
    public StoreCertificateSource(StoreSigning what, Func<CancellationToken, Task<OpenStore>> open, TimeProvider time, CancellationToken stop) =>
        (_what, _open, _time, _stop) = (what, open, time, stop);

    public Finding? Objection
    {
        get
        {
            if (_authorities is null && _objection is null)
            {
                Load();
            }

            return _objection;
        }
    }

    public IReadOnlyList<byte[]> Obtain(string role, byte[] request, CancellationToken cancellation)
    {
        var row = RoleTable.Find(role, Asker.ControlPlaneNode) ?? throw new MachineException($"certificate for {role}", "there is no such role");
        try
        {
            var lifetime = row.AskedBy == Asker.AnyNode ? _what.NodeLifetime : row.Lifetime;
            return
            [
                Authorities()[row.Authority].Sign(
                    SigningRequest.Read(request), row.For(_what.Node, _what.Names), lifetime, _time.GetUtcNow(), RandomNumberGenerator.GetBytes(16)),
            ];
        }
        catch (Exception e) when (e is CryptographicException or AwsException)
        {
            throw new MachineException($"certificate for {role} by {_what.Store}", e.Message, e) { IsOutOfReach = e is AwsException { IsOutOfReach: true } };
        }
    }

    public byte[] Authority(Authority authority) => Authorities()[authority].Certificate.RawData;

    public Secret ServiceAccountKey() => new(Authorities().ServiceAccountKey);

    public Secret EncryptionKeys()
    {
        try
        {
            return new(string.Join('\n', Authorities().Encryption(_what.Store)));
        }
        catch (CaException e)
        {
            throw new MachineException("keys for encryption at rest", e.Message, e);
        }
    }

    public void Dispose() => _authorities?.Dispose();

    private ClusterAuthorities Authorities() => Objection is null ? _authorities! : throw new MachineException(_what.Store, _objection switch
    {
        Unknown unknown => unknown.Why,
        Refused refused => $"{refused.Why}: {refused.Remedy}",
        _ => "does not say why it cannot be had",
    })
    {
        IsOutOfReach = _objection is Unknown { IsOutOfReach: true },
    };

    private void Load()
    {
        using var patience = new CancellationTokenSource(_what.Patience, _time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(_stop, patience.Token);
        try
        {
            var loaded = LoadAsync(both.Token).GetAwaiter().GetResult();
            var ca = loaded[Pki.Authority.Cluster].Certificate.RawData;
            if (Pem.Certificates(_what.ClusterAuthority).Any(c => c.AsSpan().SequenceEqual(ca)))
            {
                _authorities = loaded;
                return;
            }

            _objection = new Refused(
                $"the CA of {_what.Store} (SHA-256 {Convert.ToHexStringLower(SHA256.HashData(ca))}) is not among cluster.certificateAuthority, "
                + "so nobody in this cluster would trust what it signs",
                $"one of both is another cluster's, or the CA was rotated and this node was not told: compare with 'nodeagent ca show --store {_what.Store}', "
                + "and mend certificates.store or cluster.certificateAuthority");
            loaded.Dispose();
        }
        catch (Exception e) when (e is AwsException or CaException or MachineException or ProbeException or CryptographicException)
        {
            _objection = new Unknown(e is AwsException or CaException ? e.Message : $"{_what.Store}: {e.Message}")
            {
                IsOutOfReach = e is AwsException { IsOutOfReach: true } or MachineException { IsOutOfReach: true },
            };
        }
        catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
        {
            var waited = string.Create(CultureInfo.InvariantCulture, $"{_what.Store} did not answer within {_what.Patience.TotalSeconds:0} s");
            _objection = new Unknown($"{waited}: check the route to it (gateway endpoint, NAT, proxy) and DNS") { IsOutOfReach = true };
        }
    }

    private async Task<ClusterAuthorities> LoadAsync(CancellationToken cancellation)
    {
        var (store, kms) = await _open(cancellation).ConfigureAwait(false);
        using (store)
        {
            return await ClusterAuthorities.Load(store, kms, cancellation).ConfigureAwait(false);
        }
    }
}

/// <param name="Kms">KMS of a region, for CAs whose keys are there; null for the node's own.</param>
internal sealed record OpenStore(ICaStore Store, Func<string?, KmsKeys> Kms);

/// <summary>Whom to sign for, and with what.</summary>
/// <param name="Store">As the configuration calls it, for messages.</param>
/// <param name="ClusterAuthority">PEM: one of them must be the store's.</param>
/// <param name="NodeLifetime">Of what every node has; control plane roles have the table's.</param>
/// <param name="Patience">How long to wait for the store.</param>
internal sealed record StoreSigning(
    string Store, string ClusterAuthority, NodeIdentity Node, ClusterNames Names, TimeSpan NodeLifetime, TimeSpan Patience);
