using System.Text;
using Amazon.Runtime;
using NodeAgent.Aws;
using NodeAgent.Pki;
using NodeAgent.Tests.Pki;

namespace NodeAgent.Tests.Aws;

/// <summary>The package AWSSDK.S3 against answers as S3's API reference writes them.</summary>
public sealed class S3ObjectsTests : IAsyncLifetime
{
    private readonly FakeS3 _fake = new();

    public Task InitializeAsync() => _fake.Start();

    public async Task DisposeAsync() => await _fake.DisposeAsync();

    [Fact]
    public async Task What_is_created_is_encrypted_with_KMS_and_only_where_nothing_is()
    {
        using var bucket = Bucket("alias/pki");

        (await bucket.Create("amber/ca.key", "one"u8.ToArray(), CancellationToken.None)).ShouldBeTrue();
        (await bucket.Create("amber/ca.key", "two"u8.ToArray(), CancellationToken.None)).ShouldBeFalse();

        Encoding.UTF8.GetString((await bucket.Get("amber/ca.key", CancellationToken.None))!).ShouldBe("one");
        _fake.Requests.ShouldBe(["bucket/amber/ca.key 200", "bucket/amber/ca.key 412", "bucket/amber/ca.key 200"]);
        var headers = _fake.Headers.First();
        headers.IfNoneMatch.ToString().ShouldBe("*");
        headers["x-amz-server-side-encryption"].ToString().ShouldBe("aws:kms");
        headers["x-amz-server-side-encryption-aws-kms-key-id"].ToString().ShouldBe("alias/pki");
        headers["x-amz-security-token"].ToString().ShouldBe("session");
        headers.Authorization.ToString().ShouldContain("/eu-central-1/s3/aws4_request");
    }

    [Fact]
    public async Task No_such_object_is_an_answer()
    {
        using var bucket = Bucket();

        (await bucket.Get("amber/ca.key", CancellationToken.None)).ShouldBeNull();
    }

    [Theory]
    [InlineData(1024 * 1024, false)]
    [InlineData((1024 * 1024) + 1, true)]
    public async Task What_is_too_large_is_seen_as_it_comes(int length, bool isTooLarge)
    {
        // The answer comes in chunks, without a length.
        _fake.Objects["bucket/a"] = new string('x', length);
        using var bucket = Bucket();

        if (isTooLarge)
        {
            (await Should.ThrowAsync<AwsException>(() => bucket.Get("a", CancellationToken.None))).Message.ShouldContain("more than 1 MiB");
        }
        else
        {
            (await bucket.Get("a", CancellationToken.None))!.Length.ShouldBe(length);
        }
    }

    [Fact]
    public async Task Who_writes_at_the_same_moment_tries_again_and_sees_who_won()
    {
        _fake.Objects["bucket/a"] = "theirs";
        _fake.Answer("bucket/a", 409, FakeS3.Error("ConditionalRequestConflict"));
        using var bucket = Bucket();

        (await bucket.Create("a", "mine"u8.ToArray(), CancellationToken.None)).ShouldBeFalse();

        _fake.Requests.ShouldBe(["bucket/a 409", "bucket/a 412"]);
    }

    [Theory]
    [InlineData("AccessDenied", 403, nameof(AwsFailureKind.NotAllowed), "s3:GetObject on this object, kms:Decrypt")]
    [InlineData("NoSuchBucket", 404, nameof(AwsFailureKind.NotThere), "Make the bucket first")]
    [InlineData("PermanentRedirect", 301, nameof(AwsFailureKind.Malformed), "--region")]
    public async Task What_fails_says_what_to_do(string code, int status, string kind, string remedy)
    {
        _fake.Answer("bucket/a", status, FakeS3.Error(code, "because"));
        using var bucket = Bucket();

        var failure = (await Should.ThrowAsync<AwsException>(() => bucket.Get("a", CancellationToken.None))).Failure;

        failure.Kind.ToString().ShouldBe(kind);
        failure.Subject.ShouldStartWith("s3:GetObject of s3://bucket/a at http://127.0.0.1");
        failure.Remedy.ShouldContain(remedy);
    }

    [Fact]
    public async Task Who_may_not_write_hears_which_rights_that_takes()
    {
        _fake.Answer("bucket/a", 403, FakeS3.Error("AccessDenied", "Access Denied"));
        using var bucket = Bucket();

        (await Should.ThrowAsync<AwsException>(() => bucket.Create("a", [], CancellationToken.None)))
            .Message.ShouldContain("s3:PutObject on this object, and kms:GenerateDataKey");
    }

    [Fact]
    public async Task Nobody_there_is_not_reachable()
    {
        await _fake.DisposeAsync();
        using var bucket = Bucket();
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));

        (await Should.ThrowAsync<AwsException>(() => bucket.Get("a", deadline.Token))).Kind.ShouldBe(AwsFailureKind.NotReachable);
    }

    [Fact]
    public async Task A_race_of_ten_for_the_CAs_of_a_cluster_makes_one()
    {
        var made = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => Task.Run(async () =>
        {
            using var store = new S3CaStore(Bucket(), "clusters/amber");
            return await ClusterAuthorities.Make(store, KeyAlgorithm.EcdsaP256, NoKms.Keys, NoKms.Any, TestAuthority.Noon, CancellationToken.None);
        })));

        made.Sum(m => m.Count).ShouldBe(11);
        _fake.Objects.Keys.Order(StringComparer.Ordinal).ShouldBe(
            "ca.crt ca.key cluster.sums encryption.key encryption.sums etcd/ca.crt etcd/ca.key front-proxy-ca.crt front-proxy-ca.key sa.key sa.pub".Split(' ')
                .Select(f => $"bucket/clusters/amber/{f}"));
        using var any = new S3CaStore(Bucket(), "clusters/amber");
        any.Name.ShouldBe("s3://bucket/clusters/amber");
        using var whole = await ClusterAuthorities.Load(any, NoKms.Any, CancellationToken.None);
    }

    private S3Objects Bucket(string? kmsKey = null) =>
        new("bucket", "eu-central-1", _fake.Endpoint, new SessionAWSCredentials("AKIDEXAMPLE", "secret", "session"), kmsKey, new OutboundHttp(null, []));
}
