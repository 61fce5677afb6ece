using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Amazon.Runtime;
using NodeAgent.Aws;
using NodeAgent.Issuer;
using NodeAgent.Pki;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Machine;
using NodeAgent.Tests.Pki;

namespace NodeAgent.Tests.Issuer;

/// <summary>Issuers whose CA is in a store: as files, or with its key in KMS.</summary>
public sealed class SignersTests : CaStoreBesideKms
{
    [Theory]
    [InlineData(false, "ca.crt ca.2/ca.crt ca.kms ca.key")]
    [InlineData(true, "ca.crt ca.2/ca.crt ca.kms sa.key")]
    public async Task No_more_is_read_of_a_store_than_an_issuer_needs(bool inKms, string expected)
    {
        await Make(inKms);
        using var store = new Watched(new DirectoryCaStore(_directory.Path));

        using var signer = await Signers.Of(store, Kms, TimeProvider.System, CancellationToken.None);

        store.Files.ShouldBe(expected.Split(' '));
        Pem.Certificates(File.ReadAllText($"{_directory.Path}/ca.crt")).ShouldHaveSingleItem().ShouldBe(signer.Authority);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Two_issuers_of_one_store_know_each_others_nonces(bool inKms)
    {
        await Make(inKms);
        await using var lab = await IssuerLab.Start(signer: await Signer());
        using var second = await Signer();
        await using var other = await lab.Another(signer: second);
        var node = lab.NewNode();
        using var http = IssuerLab.Http();
        node.Nonce = JsonSerializer.Deserialize(await http.GetStringAsync(new Uri(other.Address, "/v1/nonce")), ProtocolJson.Default.NonceAnswer)!.Nonce;

        var answer = await node.Join();

        answer.Status.ShouldBe(200, answer.Body);
        answer.Granted.ShouldAllBe(g => ParsedCertificate.IsIssuedBy(g.Chain, new[] { second.Authority }));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task An_issuer_of_another_store_knows_none_of_them(bool inKms)
    {
        await Make(inKms);
        using var ours = await Signer();
        using var elsewhere = new TemporaryDirectory();
        using var store = new DirectoryCaStore(elsewhere.Path);
        await Make(inKms, store);
        using var theirs = await Signers.Of(store, Kms, TimeProvider.System, CancellationToken.None);

        // The same key in KMS, for that matter: what they share is not of it.
        (await theirs.SharedKey("a", default)).ShouldNotBe(await ours.SharedKey("a", default));
        (await ours.SharedKey("b", default)).ShouldNotBe(await ours.SharedKey("a", default));
    }

    [Theory]
    [InlineData(nameof(KeyAlgorithm.EcdsaP256))]
    [InlineData(nameof(KeyAlgorithm.Rsa2048))]
    public async Task What_is_signed_in_KMS_openssl_takes(string algorithm)
    {
        await Make(true, algorithm: Enum.Parse<KeyAlgorithm>(algorithm));
        using var signer = await Signer();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var content = RoleTable.Find("kubelet-client")!.For(new("n", [], []));

        var leaf = await signer.Sign(SigningRequest.Read(SigningRequest.Create(key, content)), content, TimeSpan.FromDays(1), CancellationToken.None);

        OpenSsl.Run(
            "verify -x509_strict -purpose sslclient -CAfile ca.crt a.crt",
            ("ca.crt", File.ReadAllText($"{_directory.Path}/ca.crt")),
            ("a.crt", Pem.Write([leaf]))).ShouldBe((0, "a.crt: OK\n"));
    }

    [Fact]
    public async Task A_wrong_signature_of_KMS_is_not_handed_on()
    {
        await Make(true);
        using var signer = await Signer();
        _kms.SignsWrongly = true;
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var content = RoleTable.Find("kubelet-client")!.For(new("n", [], []));

        (await Should.ThrowAsync<CryptographicException>(async () => await signer.Sign(
            SigningRequest.Read(SigningRequest.Create(key, content)), content, TimeSpan.FromDays(1), CancellationToken.None)))
            .Message.ShouldContain("does not bear its signature");
    }

    [Fact]
    public async Task Where_KMS_throttles_the_node_is_told_when_to_come_again_and_nothing_is_lost()
    {
        await Make(true);
        await using var lab = await IssuerLab.Start(signer: await Signer());
        var node = lab.NewNode();
        _kms.Throttle = int.MaxValue;

        var turnedAway = await node.Join();

        (turnedAway.Status, turnedAway.Error.Code).ShouldBe((503, "unavailable"));
        turnedAway.RetryAfter.ShouldNotBeNull().ShouldBeInRange(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(30));
        var entry = lab.Audit.Last();
        (entry.Decision, entry.Certificates).ShouldBe(("later", null));
        entry.Detail!.ShouldContain("kms:Sign");
        entry.Detail!.ShouldContain("throttled");
        turnedAway.Body.ShouldNotContain("kms:Sign");

        _kms.Throttle = 0;
        var answer = await lab.NewNodeOf(node).Join();
        answer.Status.ShouldBe(200, answer.Body);
        answer.Granted.Count.ShouldBe(RoleTable.Worker.Count);
    }

    [Fact]
    public async Task A_crowd_of_nodes_is_signed_for_a_few_at_a_time()
    {
        await Make(true);
        await using var lab = await IssuerLab.Start(signer: await Signer());
        _kms.Delay = TimeSpan.FromMilliseconds(10);
        var before = _kms.Requests.Count(r => r == "TrentService.Sign");

        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => lab.NewNode().Join()));

        answers.ShouldAllBe(a => a.Status == 200);
        (_kms.Requests.Count(r => r == "TrentService.Sign") - before).ShouldBe(20 * RoleTable.Worker.Count);
        _kms.Together.ShouldBeInRange(1, 3);
    }

    [Fact]
    public async Task What_systemd_hands_over_as_credentials_may_show_the_mask_of_its_ACL()
    {
        await Make(false);
        Mode(UnixFileMode.UserRead | UnixFileMode.GroupRead);
        await Should.ThrowAsync<CaException>(Signer);

        using var store = new DirectoryCaStore(_directory.Path, isCredentials: true);
        using var signer = await Signers.Of(store, Kms, TimeProvider.System, CancellationToken.None);
        Mode(UnixFileMode.UserRead | UnixFileMode.OtherRead);

        await Should.ThrowAsync<CaException>(() => Signers.Of(store, Kms, TimeProvider.System, CancellationToken.None));
    }

    private void Mode(UnixFileMode mode)
    {
        var file = $"{_directory.Path}/ca.key";
        NodeAgent.Machine.Files.Write(file, File.ReadAllBytes(file), mode);
    }

    private async Task<ICertificateSigner> Signer()
    {
        using var store = new DirectoryCaStore(_directory.Path);
        return await Signers.Of(store, Kms, TimeProvider.System, CancellationToken.None);
    }

    private async Task Make(bool inKms, ICaStore? store = null, KeyAlgorithm algorithm = KeyAlgorithm.EcdsaP256)
    {
        if (inKms && store is null)
        {
            _kms.Add("ca", algorithm);
        }

        using var ours = store is null ? new DirectoryCaStore(_directory.Path) : null;
        await ClusterAuthorities.Make(
            store ?? ours!,
            algorithm,
            inKms ? new Dictionary<string, string> { ["ca"] = FakeKms.Arn("ca") } : NoKms.Keys,
            Kms,
            DateTimeOffset.UtcNow,
            CancellationToken.None);
    }

    private sealed class Watched(ICaStore store) : ICaStore
    {
        public List<string> Files { get; } = [];

        public string Name => store.Name;

        public Task<byte[]?> Read(string file, CancellationToken cancellation)
        {
            Files.Add(file);
            return store.Read(file, cancellation);
        }

        public Task<bool> Create(string file, byte[] content, bool isSecret, CancellationToken cancellation) => throw new InvalidOperationException(file);

        public void Dispose() => store.Dispose();
    }
}
