using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Amazon.Runtime;
using Microsoft.AspNetCore.Http;
using NodeAgent.Aws;
using NodeAgent.Pki;
using NodeAgent.Tests.Machine;
using NodeAgent.Tests.Pki;

namespace NodeAgent.Tests.Aws;

/// <summary>CAs whose keys are in KMS, against answers as KMS's API reference writes them.</summary>
public sealed class KmsKeysTests : CaStoreBesideKms
{
    [Theory]
    [InlineData(nameof(KeyAlgorithm.EcdsaP256))]
    [InlineData(nameof(KeyAlgorithm.Rsa2048))]
    public async Task A_CA_in_KMS_signs_as_any_other_and_has_no_key_file(string algorithm)
    {
        var kind = Enum.Parse<KeyAlgorithm>(algorithm);
        foreach (var row in RoleTable.Authorities)
        {
            _kms.Add(row.Role, kind);
        }

        using var store = new DirectoryCaStore(_directory.Path);
        var made = await Make(store);

        made.Order(StringComparer.Ordinal)
            .ShouldBe(
                "ca.crt ca.kms cluster.sums encryption.key encryption.sums etcd/ca.crt etcd/ca.kms front-proxy-ca.crt front-proxy-ca.kms sa.key sa.pub".Split(
                    ' '));
        using var authorities = await ClusterAuthorities.Load(store, Kms, CancellationToken.None);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var content = RoleTable.Find("kubelet-client")!.For(new("n", [], []));
        var leaf = authorities[Authority.Cluster].Sign(
            SigningRequest.Read(SigningRequest.Create(key, content)), content, TimeSpan.FromDays(1), TestAuthority.Noon, RandomNumberGenerator.GetBytes(16));
        OpenSsl.Run(
            $"verify -x509_strict -attime {TestAuthority.Noon.ToUnixTimeSeconds()} -purpose sslclient -CAfile ca.crt a.crt",
            ("ca.crt", File.ReadAllText($"{_directory.Path}/ca.crt")),
            ("a.crt", Pem.Write([leaf]))).ShouldBe((0, "a.crt: OK\n"));
        (await Make(store)).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_race_of_ten_with_keys_of_their_own_comes_to_one_key()
    {
        for (var i = 0; i < 10; i++)
        {
            _kms.Add($"ca{i}", KeyAlgorithm.EcdsaP256);
        }

        await Task.WhenAll(Enumerable.Range(0, 10).Select(i => Task.Run(async () =>
        {
            using var store = new DirectoryCaStore(_directory.Path);
            await ClusterAuthorities.Make(
                store, KeyAlgorithm.EcdsaP256, new Dictionary<string, string> { ["ca"] = Arn($"ca{i}") }, Kms, TestAuthority.Noon, CancellationToken.None);
        })));

        using var whole = await ClusterAuthorities.Load(new DirectoryCaStore(_directory.Path), Kms, CancellationToken.None);
    }

    [Fact]
    public async Task What_a_CAs_key_is_is_decided_once()
    {
        using var store = new DirectoryCaStore(_directory.Path);
        await ClusterAuthorities.Make(store, KeyAlgorithm.EcdsaP256, NoKms.Keys, NoKms.Any, TestAuthority.Noon, CancellationToken.None);
        _kms.Add("ca", KeyAlgorithm.EcdsaP256);

        (await Should.ThrowAsync<CaException>(() => ClusterAuthorities.Make(
            store, KeyAlgorithm.EcdsaP256, new Dictionary<string, string> { ["ca"] = Arn("ca") }, Kms, TestAuthority.Noon, CancellationToken.None)))
            .Message.ShouldContain("has ca.key");
    }

    [Fact]
    public async Task Throttling_is_waited_for_within_bounds()
    {
        _kms.Add("ca", KeyAlgorithm.EcdsaP256);
        using var kms = Kms("eu-central-1", new Hurried());
        _kms.Throttle = 2;
        (await kms.Sign(Arn("ca"), [1], isRsa: false, CancellationToken.None)).ShouldNotBeEmpty();
        _kms.Requests.Count.ShouldBe(3);
        _kms.Requests.Clear();
        _kms.Throttle = int.MaxValue;

        var failure = (await Should.ThrowAsync<AwsException>(() => kms.Sign(Arn("ca"), [1], isRsa: false, CancellationToken.None))).Failure;

        failure.Kind.ShouldBe(AwsFailureKind.Throttled);
        (failure.Tries, _kms.Requests.Count).ShouldBe((7, 7));
    }

    [Fact]
    public async Task A_wrong_signature_is_not_handed_on()
    {
        _kms.Add("ca", KeyAlgorithm.EcdsaP256);
        _kms.SignsWrongly = true;
        using var store = new DirectoryCaStore(_directory.Path);

        (await Should.ThrowAsync<CaException>(() => ClusterAuthorities.Make(
            store, KeyAlgorithm.EcdsaP256, new Dictionary<string, string> { ["ca"] = Arn("ca") }, Kms, TestAuthority.Noon, CancellationToken.None)))
            .Message.ShouldContain("does not bear its signature");

        File.Exists($"{_directory.Path}/ca.crt").ShouldBeFalse();
    }

    [Fact]
    public async Task What_is_larger_than_KMS_takes_is_sent_as_its_digest()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        _kms.AddKey("ca", key);
        using var kms = Kms("eu-central-1");
        foreach (var length in new[] { 4096, 4097 })
        {
            var data = RandomNumberGenerator.GetBytes(length);
            var signature = await kms.Sign(Arn("ca"), data, isRsa: false, CancellationToken.None);
            key.VerifyData(data, signature, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence).ShouldBeTrue();
        }
    }

    [Theory]
    [InlineData("NotFoundException", nameof(AwsFailureKind.NotThere))]
    [InlineData("AccessDeniedException", nameof(AwsFailureKind.NotAllowed))]
    [InlineData("DisabledException", nameof(AwsFailureKind.NotAllowed))]
    [InlineData("com.amazonaws.kms#DisabledException", nameof(AwsFailureKind.NotAllowed))]
    [InlineData("ExpiredTokenException", nameof(AwsFailureKind.NotAllowed))]
    [InlineData("ValidationException", nameof(AwsFailureKind.Malformed))]
    public async Task What_fails_says_what_to_do(string code, string kind)
    {
        _kms.Error = code;
        using var kms = Kms("eu-central-1");

        var failure = (await Should.ThrowAsync<AwsException>(() => kms.Find(Arn("ca"), CancellationToken.None))).Failure;

        failure.Kind.ToString().ShouldBe(kind);
        failure.Subject.ShouldStartWith($"kms:GetPublicKey with {Arn("ca")}");
        failure.Cause.ShouldBe($"400 {code.Split('#')[^1]}: because");
        _kms.Requests.Count.ShouldBe(1);
    }

    [Fact]
    public async Task A_call_bears_a_signature_over_all_that_counts()
    {
        _kms.Add("ca", KeyAlgorithm.EcdsaP256);
        using var kms = Kms("eu-central-1");
        await kms.Sign(Arn("ca"), [1], isRsa: false, CancellationToken.None);

        var headers = _kms.Headers.ShouldHaveSingleItem();
        headers.ContentType.ToString().ShouldBe("application/x-amz-json-1.1");
        headers.Authorization.ToString().ShouldMatch(
            "^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/[0-9]{8}/eu-central-1/kms/aws4_request,"
            + "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target,Signature=[0-9a-f]{64}$");
    }

    [Fact]
    public async Task What_is_no_KMS_is_not_believed()
    {
        _kms.Instead = "<html>log in first</html>";
        using var kms = Kms("eu-central-1");

        (await Should.ThrowAsync<AwsException>(() => kms.Find(Arn("ca"), CancellationToken.None))).Message.ShouldContain("Something else than KMS");
    }

    [Fact]
    public async Task Nobody_there_is_not_reachable()
    {
        using var kms = new KmsKeys(
            "eu-central-1", InstanceMetadataTests.FreePort(), new BasicAWSCredentials("AKIDEXAMPLE", "secret"), new OutboundHttp(null, []), new Hurried());

        (await Should.ThrowAsync<AwsException>(() => kms.Find(Arn("ca"), CancellationToken.None))).Kind.ShouldBe(AwsFailureKind.NotReachable);
    }

    [Fact]
    public async Task A_key_for_other_things_or_of_another_kind_is_refused()
    {
        _kms.Add("ca", KeyAlgorithm.EcdsaP256, usage: "ENCRYPT_DECRYPT");
        _kms.AddKey("odd", ECDsa.Create(ECCurve.NamedCurves.nistP384));
        using var kms = Kms("eu-central-1");

        (await Should.ThrowAsync<AwsException>(() => kms.Find(Arn("ca"), CancellationToken.None))).Message.ShouldContain("SIGN_VERIFY");
        var odd = await kms.Find(Arn("odd"), CancellationToken.None);
        Should.Throw<CaException>(() => KmsSignatureGenerator.Of(kms, odd)).Message.ShouldContain("is ecdsa-p384");
    }

    private static string Arn(string name) => FakeKms.Arn(name);

    private Task<IReadOnlyList<string>> Make(ICaStore store) => ClusterAuthorities.Make(
        store, KeyAlgorithm.EcdsaP256, RoleTable.Authorities.ToDictionary(a => a.Role, a => Arn(a.Role)), Kms, TestAuthority.Noon, CancellationToken.None);
}

/// <summary>Pauses between tries are over at once; longer waits are as long as they are.</summary>
internal sealed class Hurried : TimeProvider
{
    /// <summary>Told of each pause, before it is over.</summary>
    public Action<TimeSpan> Paused { get; init; } = _ => { };

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        if (dueTime <= TimeSpan.Zero || dueTime > TimeSpan.FromSeconds(5))
        {
            return base.CreateTimer(callback, state, dueTime, period);
        }

        Paused(dueTime);
        return base.CreateTimer(callback, state, TimeSpan.FromMilliseconds(1), period);
    }
}

/// <summary>As KMS's API reference writes it.</summary>
internal sealed class FakeKms : FakeServer
{
    private readonly ConcurrentDictionary<string, (AsymmetricAlgorithm Key, string Usage)> _keys = new();
    private int _here;

    public ConcurrentQueue<string> Requests { get; } = new();

    public ConcurrentQueue<IHeaderDictionary> Headers { get; } = new();

    public int Throttle { get; set; }

    public TimeSpan Delay { get; set; }

    /// <summary>How many calls were here at one time.</summary>
    public int Together { get; private set; }

    /// <summary>Answered to everything, with 200.</summary>
    public string? Instead { get; set; }

    public string? Error { get; set; }

    public bool SignsWrongly { get; set; }

    public static string Arn(string name) => $"arn:aws:kms:eu-central-1:123456789012:key/{name}";

    public void Add(string name, KeyAlgorithm algorithm, string usage = "SIGN_VERIFY") => _keys[Arn(name)] = (algorithm.NewKey(), usage);

    public void AddKey(string name, AsymmetricAlgorithm key) => _keys[Arn(name)] = (key, "SIGN_VERIFY");

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        foreach (var (key, _) in _keys.Values)
        {
            key.Dispose();
        }
    }

    protected override async Task Answer(HttpContext context)
    {
        Together = Math.Max(Together, Interlocked.Increment(ref _here));
        await Task.Delay(Delay);
        Interlocked.Decrement(ref _here);
        var action = context.Request.Headers["X-Amz-Target"].ToString();
        Requests.Enqueue(action);
        Headers.Enqueue(new HeaderDictionary(context.Request.Headers.ToDictionary()));
        if (Instead is not null)
        {
            await context.Response.WriteAsync(Instead);
            return;
        }

        var asked = await JsonNode.ParseAsync(context.Request.Body);
        context.Response.ContentType = "application/x-amz-json-1.1";
        var error = Throttle-- > 0 ? "ThrottlingException" : Error;
        if (error is not null)
        {
            context.Response.StatusCode = 400;
            await context.Response.WriteAsync($$"""{"__type":"{{error}}","message":"because"}""");
            return;
        }

        var id = asked!["KeyId"]!.GetValue<string>();
        var (key, usage) = _keys[id];
        JsonObject answer;
        if (action == "TrentService.GetPublicKey")
        {
            answer = new() { ["KeyId"] = id, ["KeyUsage"] = usage, ["PublicKey"] = Convert.ToBase64String(key.ExportSubjectPublicKeyInfo()) };
        }
        else
        {
            var message = Convert.FromBase64String(asked["Message"]!.GetValue<string>());
            var digest = asked["MessageType"]!.GetValue<string>() == "RAW" && message.Length <= 4096 ? SHA256.HashData(message) : message;
            if (SignsWrongly)
            {
                digest[0] ^= 1;
            }

            answer = new()
            {
                ["Signature"] = Convert.ToBase64String(key switch
                {
                    ECDsa ec when asked["SigningAlgorithm"]!.GetValue<string>() == "ECDSA_SHA_256" =>
                        ec.SignHash(digest, DSASignatureFormat.Rfc3279DerSequence),
                    RSA rsa when asked["SigningAlgorithm"]!.GetValue<string>() == "RSASSA_PKCS1_V1_5_SHA_256" =>
                        rsa.SignHash(digest, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1),
                    _ => throw new InvalidOperationException("another algorithm than the key's"),
                }),
            };
        }

        await context.Response.WriteAsync(answer.ToJsonString());
    }
}

/// <summary>For CAs whose keys are files.</summary>
internal static class NoKms
{
    public static readonly IReadOnlyDictionary<string, string> Keys = new Dictionary<string, string>();

    public static KmsKeys Any(string? region) => throw new InvalidOperationException("KMS was asked for");
}
