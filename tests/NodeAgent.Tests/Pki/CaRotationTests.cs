using System.Text;
using Amazon.Runtime;
using NodeAgent.Aws;
using NodeAgent.Commands;
using NodeAgent.Pki;
using NodeAgent.Resources;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Pki;

/// <summary>The stages of a rotation, in the store.</summary>
public sealed class CaRotationTests : IAsyncLifetime
{
    private static readonly DateTimeOffset Now = new(2026, 6, 1, 12, 0, 0, TimeSpan.Zero);

    private readonly FakeKms _kms = new();

    public Task InitializeAsync() => _kms.Start();

    public async Task DisposeAsync() => await _kms.DisposeAsync();

    [Fact]
    public async Task Each_stage_is_done_once_and_found_done_ever_after()
    {
        var store = MemoryStore.Make(Now);
        var kubeadm = Contents(store);

        (await Twice(() => Trust(store))).ShouldBe(["ca.2/ca.key", "ca.2/ca.crt", "ca.2/cluster.sums", "ca.2/encryption.sums", "ca.2/trust"]);
        (await Signer(store), await Trusted(store)).ShouldBe(("CN=kubernetes", "CN = kubernetes, CN = kubernetes-2"));

        (await Twice(() => Sign(store))).ShouldBe(["ca.2/sign"]);
        (await Signer(store), await Trusted(store)).ShouldBe(("CN=kubernetes-2", "CN = kubernetes, CN = kubernetes-2"));
        // Whoever is late with the stage before does not begin another rotation.
        (await Trust(store)).Made.ShouldBeEmpty();

        (await Twice(() => Drop(store))).ShouldBe(["ca.2/drop"]);
        (await Signer(store), await Trusted(store)).ShouldBe(("CN=kubernetes-2", "CN = kubernetes-2"));
        (await Refusal(() => Sign(store))).ShouldContain("has no CA that could sign next: '--stage trust' makes it");

        Contents(store).Take(kubeadm.Count).ShouldBe(kubeadm);
        (await Make(store)).ShouldBeEmpty();
    }

    [Fact]
    public async Task There_can_be_another_one_after_that_and_the_first_keys_may_be_gone_by_then()
    {
        var store = MemoryStore.Make(Now);
        await Rotate(store);
        store.Objects.Remove("ca.key");
        (await Make(store)).ShouldBeEmpty();

        (await Trust(store)).Made.ShouldContain("ca.3/trust");
        (await Trusted(store)).ShouldBe("CN = kubernetes-2, CN = kubernetes-3");
        await Sign(store);
        await Drop(store);

        (await Signer(store), await Trusted(store)).ShouldBe(("CN=kubernetes-3", "CN = kubernetes-3"));
        store.Text("ca.3/trust").ShouldContain("# signed by ca.2/ca.crt: ");
    }

    [Fact]
    public async Task In_the_wrong_order_they_are_refused()
    {
        var store = MemoryStore.Make(Now);
        var before = Contents(store);

        (await Refusal(() => Sign(store))).ShouldContain("has no CA that could sign next: '--stage trust' makes it");
        (await Refusal(() => Drop(store))).ShouldContain("there is nothing to drop");
        Contents(store).ShouldBe(before);
        await Trust(store);
        (await Refusal(() => Drop(store))).ShouldContain("ca.2/ca.crt does not sign yet: '--stage sign' comes first");
        await Sign(store);
        (await Refusal(() => Rotation(store, Now.AddMinutes(2)).Drop(TimeSpan.Zero, default))).ShouldContain("issuers may not all have seen it");
        (await Refusal(() => Rotation(store, Now.AddDays(364)).Drop(TimeSpan.FromDays(365), default))).ShouldContain(
            "ca.2/ca.crt signs since 2026-06-01 12:00:00Z, and what ca.crt signed before that may hold until 2027-06-01 12:00:00Z");

        (await Rotation(store, Now.AddDays(365)).Drop(TimeSpan.FromDays(365), default)).Made.ShouldBe(["ca.2/drop"]);
        (await Refusal(() => new CaRotation(new MemoryStore(), NoKms.Any, Now).Trust(KeyAlgorithm.EcdsaP256, null, default)))
            .ShouldContain("has no ca.crt: 'nodeagent ca init'");
    }

    /// <summary>At each write of each stage: before it, and after it.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task After_a_power_cut_at_any_write_the_cluster_signs_as_before_and_the_next_one_goes_on(bool after)
    {
        for (var at = 0; at < 7; at++)
        {
            var store = MemoryStore.Make(Now);
            using var cut = new Cut(store, at, after);
            await Should.ThrowAsync<PowerCut>(async () => await Rotate(cut));

            var whole = (await CaGenerations.Read(store, default)).Trusted.Count;
            using (var authorities = await ClusterAuthorities.Load(store, NoKms.Any, default))
            {
                authorities.Encryption(store.Name).Count.ShouldBe(1);
                authorities[Authority.Cluster].Certificate.Subject.ShouldBe(at + (after ? 1 : 0) > 5 ? "CN=kubernetes-2" : "CN=kubernetes");
            }

            whole.ShouldBe((at + (after ? 1 : 0)) switch { < 5 => 1, < 7 => 2, _ => 1 });
            var key = store.Objects.GetValueOrDefault("ca.2/ca.key");
            // 'ca init' beside it has no part in this.
            (await Make(store)).ShouldBeEmpty();
            if (at + (after ? 1 : 0) < 7)
            {
                await Rotate(store);
            }

            (await Signer(store), await Trusted(store)).ShouldBe(("CN=kubernetes-2", "CN = kubernetes-2"));
            (key is null || key.AsSpan().SequenceEqual(store.Objects["ca.2/ca.key"])).ShouldBeTrue();
        }
    }

    [Fact]
    public async Task Ten_administrators_at_once_make_one()
    {
        var store = new Locked(MemoryStore.Make(Now));

        foreach (var (stage, last) in new (Func<Task<CaRotated>>, string)[] { (() => Trust(store), "trust"), (() => Sign(store), "sign"),
            (() => Drop(store), "drop") })
        {
            var done = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => Task.Run(stage)));

            done.SelectMany(d => d.Made).Count(m => m == "ca.2/" + last).ShouldBe(1);
            done.Select(d => Pem.Write(d.All.Trusted.Select(g => g.Der))).Distinct().Count().ShouldBe(1);
        }

        (await Trusted(store)).ShouldBe("CN = kubernetes-2");
    }

    /// <summary>By who may write to the store and read no key.</summary>
    [Theory]
    [InlineData("ca.2/ca.key", "ca.2/ca.key does not bear the signature of ca.crt: somebody else put it there")]
    [InlineData("ca.2/ca.key ca.2/ca.crt", "ca.2/ca.key does not bear the signature of ca.crt")]
    [InlineData("ca.2/ca.crt", "the key is not that of CN=kubernetes-2")]
    [InlineData("ca.2/ca.crt ca.2/trust", "ca.2/trust does not say of ca.2/ca.crt, with the signature of ca.crt")]
    public async Task What_somebody_put_there_beforehand_is_not_taken(string files, string told)
    {
        var (store, theirs) = (MemoryStore.Make(Now), MemoryStore.Make(Now));
        await Trust(theirs);
        foreach (var file in files.Split(' '))
        {
            store.Objects[file] = theirs.Objects[file];
        }

        (await Refusal(() => Trust(store))).ShouldContain(told);

        store.Objects.ContainsKey("ca.2/trust").ShouldBe(files.Contains("trust", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("ca.2/sign")]
    [InlineData("ca.2/drop")]
    public async Task A_stage_that_somebody_else_declares_counts_for_nothing(string file)
    {
        var (store, theirs) = (MemoryStore.Make(Now), MemoryStore.Make(Now));
        await Trust(store);
        if (file == "ca.2/drop")
        {
            await Sign(store);
        }

        await Rotate(theirs);
        store.Objects[file] = theirs.Objects[file];
        (await Refusal(() => CaGenerations.Read(store, default))).ShouldContain($"{file} does not say of ca.2/ca.crt, with the signature of ca");

        // Nor does another stage's, with its good signature.
        store.Objects[file] = store.Objects["ca.2/trust"];
        (await Refusal(() => CaGenerations.Read(store, default))).ShouldContain($"{file} does not say of ca.2/ca.crt");
    }

    [Fact]
    public async Task Another_key_or_sums_than_those_that_it_was_made_with_are_seen()
    {
        var (store, theirs) = (MemoryStore.Make(Now), MemoryStore.Make(Now));
        await Rotate(store);
        await Rotate(theirs);
        foreach (var (file, told) in new[] { ("ca.2/ca.key", "the key is not that of CN=kubernetes-2"),
            ("ca.2/cluster.sums", "ca.2/cluster.sums says otherwise"), ("ca.2/ca.crt", "ca.2/trust does not say") })
        {
            var ours = store.Objects[file];
            store.Objects[file] = theirs.Objects[file];
            (await Refusal(() => ClusterAuthorities.Load(store, NoKms.Any, default))).ShouldContain(told);
            store.Objects[file] = ours;
        }
    }

    [Fact]
    public async Task The_next_key_may_be_one_of_KMS()
    {
        var store = MemoryStore.Make(Now);
        _kms.Add("next", KeyAlgorithm.EcdsaP256);
        _kms.Add("other", KeyAlgorithm.EcdsaP256);
        await new CaRotation(store, Kms, Now).Trust(KeyAlgorithm.EcdsaP256, FakeKms.Arn("next"), default);
        store.Objects.Keys.ShouldNotContain("ca.2/ca.key");
        // Whoever repeats it with another key finds the one that is there.
        (await new CaRotation(store, Kms, Now).Trust(KeyAlgorithm.EcdsaP256, FakeKms.Arn("other"), default)).Made.ShouldBeEmpty();
        await new CaRotation(store, Kms, Now).Sign(default);
        await new CaRotation(store, Kms, Now.AddMinutes(3)).Drop(TimeSpan.Zero, default);

        using var authorities = await ClusterAuthorities.Load(store, Kms, default);

        authorities[Authority.Cluster].Certificate.Subject.ShouldBe("CN=kubernetes-2");
        _kms.Requests.ShouldContain("TrentService.Sign");
        // And back to a file.
        await new CaRotation(store, Kms, Now).Trust(KeyAlgorithm.Rsa2048, null, default);
        store.Objects.Keys.ShouldContain("ca.3/ca.key");
    }

    [Fact]
    public async Task A_key_for_encryption_that_came_between_two_stages_has_the_next_ones_word_before_it_signs()
    {
        var store = MemoryStore.Make(Now);
        store.Objects.Remove("encryption.key");
        store.Objects.Remove("encryption.sums");
        await Trust(store);
        store.Objects.Remove("encryption.key");
        store.Objects.Remove("encryption.sums");
        store.Objects.Remove("ca.2/encryption.sums");
        await Make(store);

        (await Sign(store)).Made.ShouldBe(["ca.2/encryption.sums", "ca.2/sign"]);

        using var authorities = await ClusterAuthorities.Load(store, NoKms.Any, default);
        authorities.Encryption(store.Name).Count.ShouldBe(1);
    }

    [Fact]
    public async Task What_is_shown_says_which_one_signs()
    {
        var store = MemoryStore.Make(Now);
        await Trust(store);
        var text = CaText.Text(await ClusterAuthorities.Certificates(store, default), Now);
        text.ShouldContain("ca: CN=kubernetes, ecdsa-p256, 2026-06-01 to 2036-05-29, signs\n");
        text.ShouldContain("ca: CN=kubernetes-2, ecdsa-p256, 2026-06-01 to 2036-05-29, to be trusted everywhere, signs next\n");
        await Sign(store);
        CaText.Text(await ClusterAuthorities.Certificates(store, default), Now)
            .ShouldContain("ca: CN=kubernetes, ecdsa-p256, 2026-06-01 to 2036-05-29, trusted still, signs no more\n");
        await Drop(store);
        CaText.Text(await ClusterAuthorities.Certificates(store, default), Now).ShouldNotContain("CN=kubernetes,");
    }

    [Fact]
    public async Task What_is_made_all_at_once_trusts_whom_the_cluster_trusts_and_is_of_the_one_that_signs()
    {
        var store = MemoryStore.Make(Now);
        await Trust(store);
        await Sign(store);
        using var authorities = await ClusterAuthorities.Load(store, NoKms.Any, default);

        var files = await ControlPlaneFiles.Make(
            authorities, "test", new Uri("https://api.test.example:6443"), new("n", [], []), new("cluster.local", [], []), KeyAlgorithm.EcdsaP256, Now);

        Text("pki/ca.crt").ShouldBe(store.Text("ca.crt") + store.Text("ca.2/ca.crt"));
        Text("admin.conf").ShouldContain(Convert.ToBase64String(Encoding.ASCII.GetBytes(Text("pki/ca.crt"))));
        ParsedCertificate.Parse(Pem.Certificates(Text("pki/apiserver.crt"))[0])!.Issuer.ShouldBe("CN = kubernetes-2");

        string Text(string path) => Encoding.UTF8.GetString(files.Single(f => f.Path == $"/etc/kubernetes/{path}").Content);
    }

    private static CaRotation Rotation(ICaStore store, DateTimeOffset? now = null) => new(store, NoKms.Any, now ?? Now);

    internal static Task<CaRotated> Trust(ICaStore store) => Rotation(store).Trust(KeyAlgorithm.EcdsaP256, null, CancellationToken.None);

    internal static Task<CaRotated> Sign(ICaStore store) => Rotation(store).Sign(CancellationToken.None);

    internal static Task<CaRotated> Drop(ICaStore store) => Rotation(store, Now.AddMinutes(3)).Drop(TimeSpan.Zero, CancellationToken.None);

    internal static async Task Rotate(ICaStore store)
    {
        await Trust(store);
        await Sign(store);
        await Drop(store);
    }

    private static async Task<IReadOnlyList<string>> Twice(Func<Task<CaRotated>> stage)
    {
        var first = await stage();
        var again = await stage();
        again.Made.ShouldBeEmpty();
        again.All.Trusted.Select(g => g.Certificate).ShouldBe(first.All.Trusted.Select(g => g.Certificate));
        return first.Made;
    }

    private static async Task<string> Signer(ICaStore store)
    {
        using var authorities = await ClusterAuthorities.Load(store, NoKms.Any, CancellationToken.None);
        return authorities[Authority.Cluster].Certificate.Subject;
    }

    private static async Task<string> Trusted(ICaStore store) =>
        string.Join(", ", (await CaGenerations.Read(store, CancellationToken.None)).Trusted.Select(g => ParsedCertificate.Parse(g.Der)!.Subject));

    private static async Task<string> Refusal(Func<Task> what) => (await Should.ThrowAsync<CaException>(what)).Message;

    private static Task<IReadOnlyList<string>> Make(ICaStore store) =>
        ClusterAuthorities.Make(store, KeyAlgorithm.EcdsaP256, NoKms.Keys, NoKms.Any, Now, CancellationToken.None);

    private static List<string> Contents(MemoryStore store) => [.. store.Objects.Select(o => $"{o.Key}\n{Encoding.ASCII.GetString(o.Value)}")];

    private KmsKeys Kms(string? region) => new(
        region!, _kms.Endpoint, new BasicAWSCredentials("AKIDEXAMPLE", "secret"), new OutboundHttp(null, []), new Hurried());

    private sealed class PowerCut : Exception;

    private sealed class Cut(ICaStore store, int at, bool after) : ICaStore
    {
        private int _left = at;

        public string Name => store.Name;

        public Task<byte[]?> Read(string file, CancellationToken cancellation) => store.Read(file, cancellation);

        public async Task<bool> Create(string file, byte[] content, bool isSecret, CancellationToken cancellation)
        {
            var isNow = _left-- == 0;
            var made = (!isNow || after) && await store.Create(file, content, isSecret, cancellation);
            return isNow ? throw new PowerCut() : made;
        }

        public void Dispose()
        {
        }
    }

    private sealed class Locked(ICaStore store) : ICaStore
    {
        private readonly Lock _gate = new();

        public string Name => store.Name;

        public Task<byte[]?> Read(string file, CancellationToken cancellation)
        {
            lock (_gate)
            {
                return store.Read(file, cancellation);
            }
        }

        public Task<bool> Create(string file, byte[] content, bool isSecret, CancellationToken cancellation)
        {
            lock (_gate)
            {
                return store.Create(file, content, isSecret, cancellation);
            }
        }

        public void Dispose()
        {
        }
    }
}
