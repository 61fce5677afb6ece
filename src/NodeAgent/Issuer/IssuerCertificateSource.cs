using System.Text.Json;
using NodeAgent.Resources;

namespace NodeAgent.Issuer;

/// <summary>A node's certificates, asked of an issuer.</summary>
internal sealed class IssuerCertificateSource : ICertificateSource, IDisposable
{
    private readonly IssuerClient _client;

    /// <summary>As <see cref="IssuerClient"/> has them.</summary>
    public IssuerCertificateSource(
        IssuerClientSettings settings, Func<CancellationToken, Task<InstanceProof>> prove, Func<byte[]?> standing, Action<string> waiting, TimeProvider time) =>
        _client = new("certificates", settings, prove, standing, waiting, time);

    public IReadOnlyList<byte[]> Obtain(string role, byte[] request, CancellationToken cancellation) => ObtainAll([(role, request)], cancellation)[0];

    public IReadOnlyList<IReadOnlyList<byte[]>> ObtainAll(IReadOnlyList<(string Role, byte[] Request)> requests, CancellationToken cancellation) =>
        ObtainAllAsync(requests, cancellation).GetAwaiter().GetResult();

    /// <exception cref="Machine.MachineException"/>
    public async Task<IReadOnlyList<IReadOnlyList<byte[]>>> ObtainAllAsync(
        IReadOnlyList<(string Role, byte[] Request)> requests, CancellationToken cancellation)
    {
        var answer = await _client.Ask(
            Protocol.CertificatesPath,
            document => JsonSerializer.SerializeToUtf8Bytes(
                new CertificatesRequest([.. requests.Select(r => new RequestedCertificate(r.Role, r.Request))], document),
                ProtocolJson.Default.CertificatesRequest),
            ProtocolJson.Default.CertificatesAnswer,
            answer => answer.Certificates.Select(c => c.Role).SequenceEqual(requests.Select(r => r.Role)) && answer.Certificates.All(c => c.Chain.Count > 0)
                ? null
                : "an answer that holds other roles than were asked for",
            cancellation).ConfigureAwait(false);
        return [.. answer.Certificates.Select(c => c.Chain)];
    }

    public void Dispose() => _client.Dispose();
}
