using System.Security.Cryptography.X509Certificates;
using NodeAgent.Commands;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Machine;

namespace NodeAgent.Tests.Pki;

public sealed class ClusterAuthoritiesTests : IDisposable
{
    private static readonly string[] All =
        ["ca.crt", "ca.key", "cluster.sums", "encryption.key", "encryption.sums", "etcd/ca.crt", "etcd/ca.key", "front-proxy-ca.crt", "front-proxy-ca.key",
            "sa.key", "sa.pub"];

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
            Files.Report($"{_directory.Path}/{file}")
                .Mode.ShouldBe(file.EndsWith(".key", StringComparison.Ordinal) ? Files.OwnerOnly : Files.WorldReadable, file);
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
    [InlineData(9)]
    [InlineData(10)]
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

        (await Should.ThrowAsync<CaException>(() => ClusterAuthorities.Load(store, NoKms.Any, CancellationToken.None)))
            .Message.ShouldContain("the key is not that of CN=kubernetes");
    }

    [Fact]
    public async Task A_store_of_before_gets_its_sums_from_init_and_signs_nothing_without()
    {
        using var store = Store();
        await Make(store);
        File.Delete($"{_directory.Path}/cluster.sums");
        var before = Contents();

        (await Load(store)).ShouldContain("has no cluster.sums, by which it shows that the cluster's CA stands for the rest of it: 'nodeagent ca init --store");

        (await Make(store)).ShouldBe(["cluster.sums"]);
        Contents().Where(f => before.Contains(f)).ShouldBe(before);
        using var whole = await ClusterAuthorities.Load(store, NoKms.Any, CancellationToken.None);
    }

    /// <summary>By who may write to the store and read nothing of it, and has a pair of their own.</summary>
    [Theory]
    [InlineData("etcd/ca.crt etcd/ca.key", "etcd/ca.crt")]
    [InlineData("front-proxy-ca.crt front-proxy-ca.key", "front-proxy-ca.crt")]
    [InlineData("sa.key sa.pub", "sa.pub")]
    [InlineData("etcd/ca.crt etcd/ca.key sa.key sa.pub", "etcd/ca.crt, sa.pub")]
    public async Task A_pair_that_somebody_else_put_in_place_is_seen(string files, string told)
    {
        using var store = Store();
        await Make(store);
        using var theirs = new TemporaryDirectory();
        await Make(new DirectoryCaStore(theirs.Path));
        foreach (var file in files.Split(' '))
        {
            File.Copy($"{theirs.Path}/{file}", $"{_directory.Path}/{file}", overwrite: true);
        }

        (await Load(store)).ShouldContain($"cluster.sums says otherwise than the store of {told}: somebody has replaced that");
        (await Should.ThrowAsync<CaException>(() => Make(store))).Message.ShouldContain(told);

        // And their sums with it, signed with a key that is not the CA's, or not at all.
        var sums = Text("cluster.sums");
        foreach (var file in told.Split(", "))
        {
            sums = sums.Replace(Line(sums, file), Line(File.ReadAllText($"{theirs.Path}/cluster.sums"), file), StringComparison.Ordinal);
        }

        File.WriteAllText($"{_directory.Path}/cluster.sums", sums);
        (await Load(store)).ShouldContain("does not bear the signature of ca.crt");
        File.WriteAllText($"{_directory.Path}/cluster.sums", sums[..sums.LastIndexOf(' ')] + " \n");
        (await Load(store)).ShouldContain("does not bear the signature of ca.crt");

        static string Line(string text, string file) => text.Split('\n').Single(l => l.EndsWith("  " + file, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_service_account_key_that_is_not_that_of_its_public_half_is_seen()
    {
        using var store = Store();
        await Make(store);
        File.Copy($"{_directory.Path}/etcd/ca.key", $"{_directory.Path}/sa.key", overwrite: true);

        (await Load(store)).ShouldContain("sa.pub is not the public half of sa.key");
    }

    [Fact]
    public async Task The_sums_are_those_that_sha256sum_reads()
    {
        using var store = Store();
        await Make(store);

        foreach (var line in Text("cluster.sums").Split('\n').Where(l => l.Length > 0 && l[0] != '#'))
        {
            line.ShouldBe(
                $"{Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes($"{_directory.Path}/{line[66..]}")))}  "
                    + $"{line[66..]}");
        }

        Text("cluster.sums").Split('\n').Length.ShouldBe(7);
    }

    [Theory]
    [InlineData("arn:aws:kms:evil.example/:123456789012:key/a")]
    [InlineData("arn:aws:kms::123456789012:key/a")]
    [InlineData("alias/a")]
    [InlineData("")]
    public async Task What_is_no_ARN_is_not_asked_for(string arn)
    {
        using var store = Store();
        await Make(store);
        File.WriteAllText($"{_directory.Path}/ca.kms", arn + "\n");

        // KMS of no region is asked for: NoKms would say so.
        (await Load(store)).ShouldContain($"'{arn}' is no ARN of a KMS key");
    }

    [Fact]
    public async Task A_certificate_that_is_broken_is_told_of_and_an_expired_one_is_called_that()
    {
        using var store = Store();
        await Make(store);
        var all = await ClusterAuthorities.Certificates(store, CancellationToken.None);
        CaText.Text(all, TestAuthority.Noon).ShouldNotContain("expired");
        CaText.Text(all, TestAuthority.Noon.AddYears(11)).Split(": expired\n").Length.ShouldBe(4);
        CaText.Json("s", all, TestAuthority.Noon.AddYears(11)).ShouldContain("\"expired\": true");

        File.WriteAllText($"{_directory.Path}/etcd/ca.crt", "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n");

        (await Should.ThrowAsync<CaException>(() => ClusterAuthorities.Certificates(store, CancellationToken.None))).Message
            .ShouldEndWith("etcd/ca.crt holds no certificate that can be read");
    }

    [Fact]
    public async Task A_key_that_others_can_read_signs_nothing()
    {
        using var store = Store();
        await Make(store);
        Files.Write($"{_directory.Path}/ca.key", File.ReadAllBytes($"{_directory.Path}/ca.key"), Files.WorldReadable);

        (await Should.ThrowAsync<CaException>(() => ClusterAuthorities.Load(store, NoKms.Any, CancellationToken.None)))
            .Message.ShouldContain("can be read by others");
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
