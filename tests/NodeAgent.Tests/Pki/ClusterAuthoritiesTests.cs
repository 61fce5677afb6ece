using System.Security.Cryptography.X509Certificates;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Machine;

namespace NodeAgent.Tests.Pki;

public sealed class ClusterAuthoritiesTests : IDisposable
{
    private static readonly string[] All = ["ca.crt", "ca.key", "cluster.sums", "etcd/ca.crt", "etcd/ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub"];

    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Whoever_comes_first_makes_them_and_whoever_comes_again_changes_nothing()
    {
        using var store = Store();
        (await Make(store)).Order(StringComparer.Ordinal).ShouldBe(All);
        var before = Contents();

        (await Make(store)).ShouldBeEmpty();

        Contents().ShouldBe(before);
        foreach (var file in All)
        {
            Files.Report($"{_directory.Path}/{file}").Mode.ShouldBe(file.EndsWith(".key", StringComparison.Ordinal) ? Files.OwnerOnly : Files.WorldReadable, file);
        }

        // Nothing of a write in progress is left.
        Directory.GetFiles(_directory.Path, "*", SearchOption.AllDirectories).Length.ShouldBe(All.Length);
    }

    [Fact]
    public async Task A_race_of_ten_makes_one()
    {
        var made = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => Task.Run(async () =>
        {
            using var store = Store();
            return await Make(store);
        })));

        made.SelectMany(m => m).Order(StringComparer.Ordinal).ShouldBe(All);
        using var whole = await ClusterAuthorities.Load(Store(), NoKms.Any, CancellationToken.None);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    [InlineData(8)]
    public async Task After_a_crash_at_any_file_the_next_one_goes_on_from_there(int at)
    {
        using var crashing = new Crashing(Store(), at);
        await Should.ThrowAsync<PowerCut>(() => Make(crashing));
        var before = Contents();

        using var store = Store();
        (await Make(store)).Count.ShouldBe(All.Length - at);

        Contents().Where(f => before.Contains(f)).ShouldBe(before);
        using var whole = await ClusterAuthorities.Load(store, NoKms.Any, CancellationToken.None);
    }

    [Theory]
    [InlineData(nameof(KeyAlgorithm.EcdsaP256))]
    [InlineData(nameof(KeyAlgorithm.Rsa2048))]
    public async Task Openssl_takes_them_for_CAs(string algorithm)
    {
        using var store = Store();
        await ClusterAuthorities.Make(store, Enum.Parse<KeyAlgorithm>(algorithm), NoKms.Keys, NoKms.Any, TestAuthority.Noon, CancellationToken.None);
        foreach (var (file, subject) in new[] { ("ca", "CN = kubernetes"), ("etcd/ca", "CN = etcd-ca"), ("front-proxy-ca", "CN = front-proxy-ca") })
        {
            var pem = Text(file + ".crt");
            OpenSsl.Run($"verify -attime {TestAuthority.Noon.ToUnixTimeSeconds()} -x509_strict -purpose crlsign -CAfile ca.crt ca.crt", ("ca.crt", pem))
                .ShouldBe((0, "ca.crt: OK\n"));
            var text = OpenSsl.Run("x509 -in ca.crt -noout -text -nameopt oneline", ("ca.crt", pem)).Output;
            text.ShouldContain($"Subject: {subject}\n");
            text.ShouldContain("CA:TRUE");
            text.ShouldContain("Certificate Sign, CRL Sign");
            text.ShouldContain("Not After : Feb 27 12:00:00 2036 GMT");
        }

        OpenSsl.Run("pkey -in sa.key -pubout", ("sa.key", Text("sa.key"))).Output.ShouldBe(Text("sa.pub"));
    }

    [Fact]
    public async Task A_certificate_whose_key_is_gone_is_not_made_anew()
    {
        using var store = Store();
        await Make(store);
        File.Delete($"{_directory.Path}/etcd/ca.key");
        var before = Contents();

        (await Should.ThrowAsync<CaException>(() => Make(store))).Message.ShouldContain("has no etcd/ca.key");

        Contents().ShouldBe(before);
    }

    [Fact]
    public async Task A_key_of_another_CA_is_seen()
    {
        using var store = Store();
        await Make(store);
        File.Copy($"{_directory.Path}/etcd/ca.key", $"{_directory.Path}/ca.key", overwrite: true);

        (await Should.ThrowAsync<CaException>(() => ClusterAuthorities.Load(store, NoKms.Any, CancellationToken.None))).Message.ShouldContain("the key is not that of CN=kubernetes");
    }

    [Fact]
    public async Task A_key_that_others_can_read_signs_nothing()
    {
        using var store = Store();
        await Make(store);
        Files.Write($"{_directory.Path}/ca.key", File.ReadAllBytes($"{_directory.Path}/ca.key"), Files.WorldReadable);

        (await Should.ThrowAsync<CaException>(() => ClusterAuthorities.Load(store, NoKms.Any, CancellationToken.None))).Message.ShouldContain("can be read by others");
    }

    [Fact]
    public async Task Who_may_read_the_certificates_alone_sees_them()
    {
        using var store = Store();
        await Make(store);
        foreach (var key in Directory.GetFiles(_directory.Path, "*.key", SearchOption.AllDirectories))
        {
            File.Delete(key);
        }

        var shown = await ClusterAuthorities.Certificates(store, CancellationToken.None);

        shown.Select(s => s.Certificate is null ? null : X509CertificateLoader.LoadCertificate(s.Certificate).Subject)
            .ShouldBe(["CN=kubernetes", "CN=etcd-ca", "CN=front-proxy-ca"]);
    }

    private static async Task<string> Load(ICaStore store) =>
        (await Should.ThrowAsync<CaException>(() => ClusterAuthorities.Load(store, NoKms.Any, CancellationToken.None))).Message;

    private static Task<IReadOnlyList<string>> Make(ICaStore store) =>
        ClusterAuthorities.Make(store, KeyAlgorithm.EcdsaP256, NoKms.Keys, NoKms.Any, TestAuthority.Noon, CancellationToken.None);

    private DirectoryCaStore Store() => new(_directory.Path);

    private string Text(string file) => File.ReadAllText($"{_directory.Path}/{file}");

    private List<string> Contents() =>
        [.. Directory.GetFiles(_directory.Path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Select(f => $"{f}\n{File.ReadAllText(f)}")];

    private sealed class PowerCut : Exception;

    private sealed class Crashing(ICaStore store, int at) : ICaStore
    {
        private int _left = at;

        public string Name => store.Name;

        public Task<byte[]?> Read(string file, CancellationToken cancellation) => store.Read(file, cancellation);

        public Task<bool> Create(string file, byte[] content, bool isSecret, CancellationToken cancellation) =>
            _left-- == 0 ? throw new PowerCut() : store.Create(file, content, isSecret, cancellation);

        public void Dispose() => store.Dispose();
    }
}
