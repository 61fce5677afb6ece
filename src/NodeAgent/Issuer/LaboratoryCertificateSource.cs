using System.Security.Cryptography;
using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Resources;

namespace NodeAgent.Issuer;

/// <summary>Signs on this very machine, from a directory with ca.crt and ca.key. A worker that holds the key of its cluster's CA is for laboratories, and the configuration has to say so.</summary>
internal sealed class LaboratoryCertificateSource : ICertificateSource
{
    private readonly string _directory;
    private readonly TimeSpan _lifetime;
    private readonly NodeIdentity _node;
    private readonly Func<string, byte[]> _read;
    private readonly TimeProvider _clock;

    /// <param name="node">Whose names go into certificates.</param>
    /// <param name="read">Reads a file past the machine's reader, whose answers may be recorded.</param>
    /// <exception cref="InvalidOperationException">The switch is not set, or no directory is.</exception>
    public LaboratoryCertificateSource(CertificatesConfig config, NodeIdentity node, Func<string, byte[]> read, TimeProvider clock)
    {
        if (config is not { Source: CertificateSourceKind.Directory, Laboratory: true })
        {
            throw new InvalidOperationException(
                "certificates.source 'directory' wants the cluster's CA key on this machine; it is refused unless certificates.laboratory is true, which no real cluster should set");
        }

        _directory = config.Directory ?? throw new InvalidOperationException("certificates.source is 'directory', and certificates.directory does not say which");
        (_lifetime, _node, _read, _clock) = (config.Lifetime.Value, node, read, clock);
    }

    public IReadOnlyList<byte[]> Obtain(string role, byte[] request, CancellationToken cancellation)
    {
        var row = RoleTable.Find(role) ?? throw new MachineException($"certificate for {role}", "there is no such role");
        var key = Array.Empty<byte>();
        try
        {
            key = _read($"{_directory}/ca.key");
            using var authority = CertificateAuthority.Load(Encoding.ASCII.GetString(_read($"{_directory}/ca.crt")), Encoding.ASCII.GetString(key));
            return [authority.Sign(SigningRequest.Read(request), row.For(_node), _lifetime, _clock.GetUtcNow(), RandomNumberGenerator.GetBytes(16))];
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new MachineException($"certificate for {role} from {_directory}", e.Message, e);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
        }
    }
}
