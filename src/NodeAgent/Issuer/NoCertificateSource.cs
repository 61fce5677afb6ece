using NodeAgent.Machine;
using NodeAgent.Resources;

namespace NodeAgent.Issuer;

/// <summary>certificates.source: none. Certificates that stand are examined and kept; one that is missing or due cannot be had.</summary>
internal sealed class NoCertificateSource : ICertificateSource
{
    public static readonly NoCertificateSource Instance = new();

    public string Unable => "nothing issues certificates on this node: certificates.source is 'none'";

    public IReadOnlyList<byte[]> Obtain(string role, byte[] request, CancellationToken cancellation) =>
        throw new MachineException($"certificate for {role}", Unable);
}
