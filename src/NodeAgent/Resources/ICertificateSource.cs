namespace NodeAgent.Resources;

/// <summary>Where a node's certificates come from.</summary>
internal interface ICertificateSource
{
    /// <summary>Why it never issues anything, so that a plan can say so beforehand; null when it does.</summary>
    string? Unable => null;

    /// <param name="role">As the role table calls it.</param>
    /// <param name="request">PKCS#10, DER. Only its key counts: the source decides on subject, usage and names.</param>
    /// <returns>DER, the node's certificate first, then the intermediate ones, without the cluster's CA.</returns>
    /// <exception cref="Machine.MachineException">Refused, or not to be had: who said so and why.</exception>
    IReadOnlyList<byte[]> Obtain(string role, byte[] request, CancellationToken cancellation);

    /// <summary>As the other, of all that are due at once, each with a key of its own: where it is asked over a network, in one request.</summary>
    /// <returns>A chain for each, in their order.</returns>
    IReadOnlyList<IReadOnlyList<byte[]>> ObtainAll(IReadOnlyList<(string Role, byte[] Request)> requests, CancellationToken cancellation) =>
        [.. requests.Select(r => Obtain(r.Role, r.Request, cancellation))];
}
