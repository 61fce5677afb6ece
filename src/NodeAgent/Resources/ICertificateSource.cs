using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Pki;

namespace NodeAgent.Resources;

/// <summary>Where a node's certificates come from, and of control plane nodes what else is the cluster's.</summary>
internal interface ICertificateSource
{
    /// <summary>Why it never issues anything, so that a plan can say so beforehand; null when it does.</summary>
    string? Unable => null;

    /// <summary>
    /// Asked where something is missing or due and before anything is changed, and answered once for the run: why nothing can be had of it now
    /// (<see cref="Unknown"/>), or must not be (<see cref="Refused"/>). Null when it can, or when only asking would tell.
    /// </summary>
    Finding? Objection => null;

    /// <param name="role">As the role table calls it.</param>
    /// <param name="request">PKCS#10, DER. Only its key counts: the source decides on subject, usage and names.</param>
    /// <returns>DER, the node's certificate first, then the intermediate ones, without the cluster's CA.</returns>
    /// <exception cref="MachineException">Refused, or not to be had: who said so and why.</exception>
    IReadOnlyList<byte[]> Obtain(string role, byte[] request, CancellationToken cancellation);

    /// <summary>As the other, of all that are due at once, each with a key of its own: where it is asked over a network, in one request.</summary>
    /// <returns>A chain for each, in their order.</returns>
    IReadOnlyList<IReadOnlyList<byte[]>> ObtainAll(IReadOnlyList<(string Role, byte[] Request)> requests, CancellationToken cancellation) =>
        [.. requests.Select(r => Obtain(r.Role, r.Request, cancellation))];

    /// <returns>DER.</returns>
    /// <exception cref="MachineException"/>
    byte[] Authority(Authority authority) => throw new MachineException($"certificate of {authority}", "only a cluster's store has it");

    /// <returns>PEM, PKCS#8.</returns>
    /// <exception cref="MachineException"/>
    Secret ServiceAccountKey() => throw new MachineException("key of service accounts", "only a cluster's store has it");

    /// <returns>Base64 of 32 bytes each, one a line; the first encrypts.</returns>
    /// <exception cref="MachineException"/>
    Secret EncryptionKeys() => throw new MachineException("keys for encryption at rest", "only a cluster's store has them");

    /// <summary>What to find of <paramref name="change"/>, which takes this source.</summary>
    Finding Ask(Change change) => Unable is { } unable ? new Unknown($"{change.Why}, and {unable}") : Objection switch
    {
        Unknown unknown => unknown with { Why = $"{change.Why}, and {unknown.Why}" },
        Refused refused => new Refused($"{change.Why}, and {refused.Why}", refused.Remedy),
        _ => change,
    };
}
