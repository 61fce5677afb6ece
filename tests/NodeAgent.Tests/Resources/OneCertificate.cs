using System.Net;
using System.Security.Cryptography;
using NodeAgent.Convergence;
using NodeAgent.Pki;
using NodeAgent.Resources;
using NodeAgent.Tests.Pki;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Resources;

/// <summary>One certificate of a control plane node on a machine in memory, signed by a CA of the test's own.</summary>
public abstract class OneCertificate(string role)
{
    private protected static readonly NodeIdentity Node = new("cp-1", [], [IPAddress.Parse("10.0.0.4")]);

    private protected readonly TestAuthority _authority = TestAuthority.Make();
    private protected readonly SimulatedMachine _machine = new([]) { Now = TestAuthority.Noon };
    private protected readonly RoleCertificate _role = RoleTable.Find(role, Asker.ControlPlaneNode)!;

    private protected Certificate Wanted(KeyAlgorithm algorithm = KeyAlgorithm.EcdsaP256, ClusterAccess? access = null) =>
        new(_role, _role.For(Node), Node.Name, _authority.CertificatePem, new Source(this))
        {
            Instance = "i-1",
            KeyAlgorithm = algorithm,
            Access = access,
            MayWait = false,
        };

    private protected Finding Examine(Certificate certificate) => certificate.Examine(_machine, []);

    private protected Finding Apply(Certificate certificate) => certificate.Apply(_machine, _machine, _ => { }, CancellationToken.None);

    private sealed class Source(OneCertificate test) : ICertificateSource
    {
        public IReadOnlyList<byte[]> Obtain(string role, byte[] request, CancellationToken cancellation)
        {
            using var authority = CertificateAuthority.Load(test._authority.CertificatePem, test._authority.KeyPem);
            return [authority.Sign(
                SigningRequest.Read(request), test._role.For(Node), test._role.Lifetime, test._machine.Now, RandomNumberGenerator.GetBytes(16))];
        }
    }
}
