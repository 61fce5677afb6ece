using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Amazon.Runtime;
using NodeAgent.Issuer;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Pki;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Issuer;

/// <summary>Issuers and the nodes that ask them, while the CA in the store is rotated and nobody restarts anything.</summary>
public sealed class CaRotationIssuerTests : IAsyncLifetime
{
    private readonly MemoryStore _store = MemoryStore.Make(DateTimeOffset.UtcNow.AddDays(-30));
    private readonly Minutes _minutes = new();
    private readonly List<string> _said = [];
    private IssuerLab _lab = null!;
    private ICertificateSigner _signer = null!;
    private IssuerServer _issuer = null!;

    public async Task InitializeAsync()
    {
        _lab = await IssuerLab.Start();
        (_issuer, _signer) = await Start(_minutes);
    }

    public async Task DisposeAsync()
    {
        await _issuer.DisposeAsync();
        _signer.Dispose();
        await _lab.DisposeAsync();
    }

    [Fact]
    public async Task Nodes_renew_by_the_certificates_that_they_have_from_stage_to_stage()
    {
        var old = _store.Text("ca.crt");
        var node = _lab.NewNode();
        var standing = Renew(node, null, old, "sts", "CN = kubernetes");

        var bundle = Bundle(await Trust());
        _minutes.Pass();
        standing = Renew(node, standing, old, "certificate", "CN = kubernetes");
        standing = Renew(node, standing, bundle, "certificate", "CN = kubernetes");

        await Sign();
        // Until the issuer looks, it is as before.
        Renew(node, standing, bundle, "certificate", "CN = kubernetes");
        _minutes.Pass();
        standing = Renew(node, standing, bundle, "certificate", "CN = kubernetes-2");
        var late = standing;
        standing = Renew(node, standing, bundle, "certificate", "CN = kubernetes-2");
        _said.Count.ShouldBe(2);
        _said[1].ShouldContain("s3://pki/test has changed: CN=kubernetes-2 (SHA-256 ");

        var alone = Bundle(await Drop());
        Renew(node, standing, alone, "certificate", "CN = kubernetes-2");
        _minutes.Pass();
        standing = Renew(node, standing, alone, "certificate", "CN = kubernetes-2");
        late.ShouldNotBe(standing);
        _said.Count.ShouldBe(3);
        _said[2].ShouldNotContain("CN=kubernetes ");
    }

    [Fact]
    public async Task A_certificate_of_the_CA_that_was_dropped_is_no_proof_and_the_node_joins_by_its_role()
    {
        var node = _lab.NewNode();
        var standing = Renew(node, null, _store.Text("ca.crt"), "sts", "CN = kubernetes");
        var bundle = Bundle(await Trust());
        await Sign();
        var alone = Bundle(await Drop());
        _minutes.Pass();

        // One that still trusts both shows it, is refused, and goes on as the first time; one that does not, does not show it.
        Renew(node, standing, bundle, "sts", "CN = kubernetes-2");
        _lab.Audit.Reverse().Skip(1).First().Code.ShouldBe("certificate");
        Renew(node, standing, alone, "sts", "CN = kubernetes-2");
    }

    [Fact]
    public async Task A_node_without_the_new_CA_is_told_what_it_lacks()
    {
        var old = _store.Text("ca.crt");
        var node = _lab.NewNode();
        var standing = Renew(node, null, old, "sts", "CN = kubernetes");
        await Trust();
        await Sign();
        _minutes.Pass();

        var told = Should.Throw<MachineException>(() => Renew(node, standing, old, "certificate", "CN = kubernetes", TimeSpan.FromSeconds(1))).Message;

        told.ShouldContain("its certificate (CN=nodeagent-issuer) is not of the cluster's CA");
        told.ShouldContain("Where the CA was rotated, cluster.certificateAuthority has to hold the new one on this node");
    }

    [Fact]
    public async Task An_issuer_that_has_not_looked_yet_takes_what_another_one_signed()
    {
        var lagging = new Minutes();
        var (issuer, signer) = await Start(lagging);
        await using var one = issuer;
        using var its = signer;
        var bundle = Bundle(await Trust());
        lagging.Pass();
        await Sign();
        _minutes.Pass();
        var node = _lab.NewNode();
        var standing = Renew(node, null, bundle, "sts", "CN = kubernetes-2");

        Renew(node, standing, bundle, "certificate", "CN = kubernetes", at: issuer);
    }

    [Fact]
    public async Task A_nonce_of_before_is_good_when_the_signer_has_changed()
    {
        var node = _lab.NewNode();
        node.Server = _issuer;
        using var http = IssuerLab.Http();
        node.Nonce = JsonSerializer.Deserialize(await http.GetStringAsync(new Uri(_issuer.Address, "/v1/nonce")), ProtocolJson.Default.NonceAnswer)!.Nonce;
        await Trust();
        await Sign();
        _minutes.Pass();

        var answer = await node.Join();

        answer.Status.ShouldBe(200, answer.Body);
        var another = await Start(new Minutes());
        await using var started = another.Item1;
        using var its = another.Item2;
        var second = _lab.NewNode();
        second.Server = _issuer;
        second.Nonce = JsonSerializer.Deserialize(await http.GetStringAsync(new Uri(started.Address, "/v1/nonce")), ProtocolJson.Default.NonceAnswer)!.Nonce;
        (await second.Join()).Status.ShouldBe(200);
    }

    [Fact]
    public async Task While_the_store_is_away_it_goes_on_and_says_so_once()
    {
        await Trust();
        await Sign();
        _store.IsAway = true;
        _minutes.Pass();
        _minutes.Pass();

        _said.ShouldHaveSingleItem().ShouldContain("whether another CA signs cannot be seen, CN=kubernetes (SHA-256 ");
        Renew(_lab.NewNode(), null, _store.Text("ca.crt"), "sts", "CN = kubernetes");
        _store.IsAway = false;
        _minutes.Pass();
        _said[1].ShouldContain("CN=kubernetes-2 (SHA-256 ");
    }

    [Fact]
    public void Nothing_but_public_halves_is_read_while_nothing_changes()
    {
        var before = _store.Reads;
        _minutes.Pass();
        // ca.crt, and that there is no ca.2/ca.crt.
        (_store.Reads - before).ShouldBe(2);
    }

    /// <returns>Its client certificate with the key.</returns>
    private byte[] Renew(Node node, byte[]? standing, string trusts, string proof, string issuer, TimeSpan? patience = null, IssuerServer? at = null)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var row = RoleTable.Find(RoleTable.NodeClient)!;
        using var source = new IssuerCertificateSource(new(
            IssuerClientSettings.Given([(at ?? _issuer).Address]),
            IssuerLab.Cluster,
            trusts,
            IssuerLab.Region,
            _lab.Aws.Endpoint,
            patience ?? TimeSpan.FromSeconds(60)),
            _ => Task.FromResult(new InstanceProof(
                new ImmutableCredentials(node.Credentials.AccessKey, node.Credentials.Secret, node.Credentials.Token), _lab.Document(node.Instance.Id))),
            () => (byte[]?)standing?.Clone(),
            _ => { },
            TimeProvider.System);

        var chain = source.ObtainAll([(row.Role, SigningRequest.Create(key, row.For(IssuerLab.Identity(node.Instance))))], CancellationToken.None)[0];

        _lab.Audit.Last().Proof.ShouldBe(proof);
        ParsedCertificate.Parse(chain[0])!.Issuer.ShouldBe(issuer);
        OpenSsl.Run("verify -x509_strict -purpose sslclient -CAfile ca.crt a.crt", ("ca.crt", trusts), ("a.crt", Pem.Write(chain)))
            .ShouldBe((0, "a.crt: OK\n"));
        return Encoding.ASCII.GetBytes(Pem.Combine(chain, key));
    }

    private async Task<(IssuerServer, ICertificateSigner)> Start(Minutes minutes)
    {
        var signer = await FollowingSigner.Start(_ => Task.FromResult(new OpenStore(_store, NoKms.Any)), minutes, _said.Add, CancellationToken.None);
        return (await _lab.Another(signer: signer, time: minutes), signer);
    }

    private CaRotation Rotation(DateTimeOffset now) => new(_store, NoKms.Any, now);

    private Task<CaRotated> Trust() => Rotation(DateTimeOffset.UtcNow).Trust(KeyAlgorithm.EcdsaP256, null, CancellationToken.None);

    private Task<CaRotated> Sign() => Rotation(DateTimeOffset.UtcNow).Sign(CancellationToken.None);

    private Task<CaRotated> Drop() => Rotation(DateTimeOffset.UtcNow.AddHours(1)).Drop(TimeSpan.Zero, CancellationToken.None);

    private static string Bundle(CaRotated done) => Pem.Write(done.All.Trusted.Select(g => g.Der));

    /// <summary>Real time, but for what is done each minute: that is done when a minute is said to pass.</summary>
    private sealed class Minutes : TimeProvider
    {
        private readonly List<Action> _each = [];

        public void Pass() => _each.ForEach(e => e());

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            if (period == TimeSpan.FromMinutes(1))
            {
                _each.Add(() => callback(state));
                return System.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            }

            return System.CreateTimer(callback, state, dueTime, period);
        }
    }
}
