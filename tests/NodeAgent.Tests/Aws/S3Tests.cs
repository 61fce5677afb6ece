using System.Text;
using Amazon.Runtime;
using NodeAgent.Aws;

namespace NodeAgent.Tests.Aws;

/// <summary>Against answers as S3's API reference writes them.</summary>
public sealed class S3Tests : IAsyncLifetime
{
    private readonly FakeS3 _fake = new();

    public Task InitializeAsync() => _fake.Start();

    public async Task DisposeAsync() => await _fake.DisposeAsync();

    [Fact]
    public async Task An_object_comes_with_its_etag_and_by_it_not_a_second_time()
    {
        _fake.Objects["bucket/nodes/common.yaml"] = "a: 1\n";

        var first = (await Get("nodes/common.yaml")).ShouldNotBeNull();
        var second = (await Get("nodes/common.yaml", first.ETag)).ShouldNotBeNull();

        Encoding.UTF8.GetString(first.Content!).ShouldBe("a: 1\n");
        (second.ETag, second.Content).ShouldBe((first.ETag, null));
        _fake.Requests.ShouldBe(["bucket/nodes/common.yaml 200", "bucket/nodes/common.yaml 304"]);
        var headers = _fake.Headers.First();
        headers.Authorization.ToString().ShouldStartWith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/");
        headers.Authorization.ToString().ShouldContain("/eu-central-1/s3/aws4_request");
        headers["x-amz-security-token"].ToString().ShouldBe("session");
    }

    /// <summary>https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "Example: GET Object".</summary>
    [Fact]
    public void A_request_is_signed_as_in_the_documentation_of_S3()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "https://examplebucket.s3.amazonaws.com/test.txt");
        request.Headers.Range = new(0, 9);

        SignatureV4.Sign(
            request,
            new ImmutableCredentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", null),
            "us-east-1",
            "s3",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            new DateTimeOffset(2013, 5, 24, 0, 0, 0, TimeSpan.Zero));

        request.Headers.GetValues("Authorization").Single().ShouldBe(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
            + "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    }

    [Fact]
    public async Task No_such_object_is_an_answer() => (await Get("nodes/none.yaml")).ShouldBeNull();

    [Fact]
    public async Task What_may_not_be_read_and_what_may_be_absent_names_both_rights_and_is_not_asked_twice()
    {
        _fake.Answer("bucket/a/common.yaml", 403, FakeS3.Error("AccessDenied", "Access Denied"));

        var failure = await Failure("a/common.yaml");

        failure.Kind.ShouldBe(AwsFailureKind.NotAllowed);
        failure.Subject.ShouldBe($"s3:GetObject of s3://bucket/a/common.yaml at {_fake.Endpoint.GetLeftPart(UriPartial.Authority)}");
        failure.Cause.ShouldBe("403 AccessDenied: Access Denied");
        failure.Remedy.ShouldContain("s3:GetObject on bucket/a/common.yaml");
        failure.Remedy.ShouldContain("s3:ListBucket on bucket");
        _fake.Requests.Count.ShouldBe(1);
    }

    [Theory]
    [InlineData(503, "SlowDown")]
    [InlineData(500, "InternalError")]
    [InlineData(403, "RequestTimeTooSkewed")]
    public async Task What_may_pass_is_tried_again(int status, string code)
    {
        _fake.Objects["bucket/a"] = "there";
        _fake.Answer("bucket/a", status, FakeS3.Error(code));

        (await Get("a")).ShouldNotBeNull();
        _fake.Requests.Count.ShouldBe(2);
    }

    [Theory]
    [InlineData(404, "NoSuchBucket", AwsFailureKind.NotThere, "layers.bucket")]
    [InlineData(301, "PermanentRedirect", AwsFailureKind.Malformed, "layers.bucketRegion")]
    [InlineData(400, "AuthorizationHeaderMalformed", AwsFailureKind.Malformed, "layers.bucketRegion")]
    [InlineData(403, "SignatureDoesNotMatch", AwsFailureKind.NotAllowed, "role")]
    [InlineData(400, "ExpiredToken", AwsFailureKind.NotAllowed, "role")]
    [InlineData(404, "", AwsFailureKind.Malformed, "something else than S3")]
    public async Task What_does_not_pass_is_sorted(int status, string code, object kind, string remedy)
    {
        _fake.Answer("bucket/a", status, code.Length == 0 ? "<html>not found</html>" : FakeS3.Error(code));

        var failure = await Failure("a");

        failure.Kind.ShouldBe(kind);
        failure.Cause.ShouldContain(code.Length == 0 ? "404" : code);
        failure.Remedy.ShouldContain(remedy);
    }

    [Fact]
    public async Task What_is_no_S3_is_not_taken_for_a_layer()
    {
        _fake.Answer("bucket/a", 200, "<html>log in first</html>");

        (await Failure("a")).Kind.ShouldBe(AwsFailureKind.Malformed);
    }

    [Fact]
    public async Task An_object_too_large_for_a_configuration_is_not_read_to_its_end()
    {
        _fake.Objects["bucket/a"] = new string('#', (1024 * 1024) + 1);

        (await Failure("a")).Cause.ShouldContain("more than 1024 KiB");
    }

    [Fact]
    public async Task Nobody_there_is_not_reachable_and_says_how_long_it_was_tried()
    {
        using var s3 = Client(InstanceMetadataTests.FreePort(), TimeSpan.FromSeconds(1));

        var failure = (await Should.ThrowAsync<AwsException>(() => s3.Get("a", null, default))).Failure;

        failure.Kind.ShouldBe(AwsFailureKind.NotReachable);
        failure.Cause.ShouldContain("refused");
        failure.Tries.ShouldBeGreaterThan(1);
    }

    private async Task<S3Object?> Get(string key, string? known = null)
    {
        using var s3 = Client(_fake.Endpoint, TimeSpan.FromMinutes(2));
        return await s3.Get(key, known, default);
    }

    private async Task<AwsFailure> Failure(string key) => (await Should.ThrowAsync<AwsException>(() => Get(key))).Failure;

    private static S3 Client(Uri endpoint, TimeSpan patience) => new(
        "bucket",
        "eu-central-1",
        endpoint,
        () => Task.FromResult(new ImmutableCredentials("AKIDEXAMPLE", "made-up", "session")),
        patience,
        TimeProvider.System,
        new(null, []));
}
