using System.Globalization;
using Amazon.Runtime;
using Microsoft.AspNetCore.WebUtilities;
using NodeAgent.Aws;
using NodeAgent.Imds;

namespace NodeAgent.Tests.Aws;

/// <summary>Against answers as moto 5.1 and EC2's API reference write them.</summary>
public sealed class Ec2Tests : IAsyncLifetime
{
    private readonly FakeQueries _server = new();

    public Task InitializeAsync() => _server.Start();

    public async Task DisposeAsync() => await _server.DisposeAsync();

    [Fact]
    public async Task Tags_of_this_instance_come_page_by_page()
    {
        _server.Answers.Enqueue((200, Page("abc", ("Name", "worker & <co>"), ("kubernetes.io/cluster/one", "owned"))));
        _server.Answers.Enqueue((200, Page(null, ("nodeagent:role", "worker"), ("empty", ""))));

        (await Tags()).ShouldBe(new Dictionary<string, string>
        {
            ["Name"] = "worker & <co>",
            ["empty"] = "",
            ["kubernetes.io/cluster/one"] = "owned",
            ["nodeagent:role"] = "worker",
        });

        var requests = _server.Requests.ToArray();
        var first = QueryHelpers.ParseQuery(requests[0].Body);
        (first["Action"].ToString(), first["Version"].ToString(), first["Filter.1.Name"].ToString(), first["Filter.1.Value.1"].ToString())
            .ShouldBe(("DescribeTags", "2016-11-15", "resource-id", "i-0a5d1a26e00000001"));
        first.ShouldNotContainKey("NextToken");
        QueryHelpers.ParseQuery(requests[1].Body)["NextToken"].ToString().ShouldBe("abc");
        requests[0].Authorization.ShouldStartWith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/");
        requests[0].Authorization.ShouldContain("/eu-central-1/ec2/aws4_request");
        requests[0].Token.ShouldBe("session");
    }

    [Fact]
    public async Task No_tags_at_all_are_asked_for_again()
    {
        _server.Answers.Enqueue((200, Page(null)));
        _server.Answers.Enqueue((200, Page(null, ("Name", "worker"))));

        (await Tags()).Keys.ShouldBe(["Name"]);
    }

    [Fact]
    public async Task Throttling_is_tried_again()
    {
        _server.Answers.Enqueue((503, Error("RequestLimitExceeded", "Request limit exceeded.")));
        _server.Answers.Enqueue((200, Page(null, ("Name", "worker"))));

        (await Tags()).Keys.ShouldBe(["Name"]);
    }

    [Fact]
    public async Task A_right_that_is_missing_is_named_and_not_asked_for_twice()
    {
        _server.Answers.Enqueue((403, Error("UnauthorizedOperation", "You are not authorized to perform this operation.")));

        var failure = (await Should.ThrowAsync<AwsException>(Tags)).Failure;

        failure.Kind.ShouldBe(AwsFailureKind.NotAllowed);
        failure.Subject.ShouldBe($"ec2:DescribeTags at {_server.Endpoint}");
        failure.Cause.ShouldBe("403 UnauthorizedOperation: You are not authorized to perform this operation.");
        failure.Remedy.ShouldContain("InstanceMetadataTags=enabled");
        failure.Remedy.ShouldContain("ec2:DescribeTags");
        _server.Requests.Count.ShouldBe(1);
    }

    [Theory]
    [InlineData(503, "RequestLimitExceeded", AwsFailureKind.Throttled)]
    [InlineData(500, "InternalError", AwsFailureKind.Unavailable)]
    [InlineData(503, "Unavailable", AwsFailureKind.Unavailable)]
    [InlineData(400, "InvalidParameterValue", AwsFailureKind.Malformed)]
    [InlineData(401, "AuthFailure", AwsFailureKind.NotAllowed)]
    public async Task What_does_not_pass_is_sorted(int status, string code, object kind)
    {
        for (var i = 0; i < 3; i++)
        {
            _server.Answers.Enqueue((status, Error(code, "why")));
        }

        var failure = (await Should.ThrowAsync<AwsException>(() => Tags(retries: 1))).Failure;

        failure.Kind.ShouldBe(kind);
        failure.Cause.ShouldContain(code);
    }

    [Fact]
    public async Task Nobody_there_is_not_reachable()
    {
        var failure = (await Should.ThrowAsync<AwsException>(() => Tags(retries: 1, endpoint: InstanceMetadataTests.FreePort()))).Failure;

        failure.Kind.ShouldBe(AwsFailureKind.NotReachable);
        failure.Cause.ShouldContain("refused");
    }

    [Fact]
    public async Task The_role_of_the_instance_signs()
    {
        var state = new ImdsState
        {
            Paths =
            {
                ["iam/security-credentials/worker"] =
                    """
                    {"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIAROLE","SecretAccessKey":"made-up","Token":"of the role",
                    "Expiration":"2099-01-01T00:00:00Z"}
                    """,
            },
        };
        await using var imds = new ImdsServer(() => state);
        await imds.Start();
        using var metadata = new InstanceMetadata(imds.Endpoint, TimeSpan.FromMinutes(2));
        using var credentials = new RoleCredentials(metadata);
        _server.Answers.Enqueue((200, Page(null, ("Name", "worker"))));

        await Tags(credentials);

        _server.Requests.Single().Authorization.ShouldContain("Credential=ASIAROLE/");
        _server.Requests.Single().Token.ShouldBe("of the role");
    }

    [Theory]
    [InlineData(null, "Attach an instance profile")]
    [InlineData("""{"Code":"AssumeRoleUnauthorizedAccess"}""", "AssumeRoleUnauthorizedAccess")]
    public async Task An_instance_without_a_role_that_works_says_what_to_do(string? credentials, string expected)
    {
        var state = new ImdsState { Paths = { ["instance-id"] = "i-0a5d1a26e00000001" } };
        if (credentials is not null)
        {
            state.Paths["iam/security-credentials/worker"] = credentials;
        }

        await using var imds = new ImdsServer(() => state);
        await imds.Start();
        using var metadata = new InstanceMetadata(imds.Endpoint, TimeSpan.FromMinutes(2));
        using var role = new RoleCredentials(metadata);

        var failure = (await Should.ThrowAsync<AwsException>(() => Tags(role))).Failure;

        failure.Kind.ShouldBe(AwsFailureKind.NotAllowed);
        failure.ToString().ShouldContain(expected);
        failure.ToString().ShouldContain("InstanceMetadataTags=enabled");
        _server.Requests.ShouldBeEmpty();
    }

    [Theory]
    [InlineData("eu-central-1", "https://ec2.eu-central-1.amazonaws.com/")]
    [InlineData("cn-north-1", "https://ec2.cn-north-1.amazonaws.com.cn/")]
    public void The_endpoint_is_that_of_the_region(string region, string endpoint) => new AmazonEC2Config(region).Endpoint.ToString().ShouldBe(endpoint);

    private Task<IReadOnlyDictionary<string, string>> Tags() => Tags(null);

    private async Task<IReadOnlyDictionary<string, string>> Tags(AWSCredentials? credentials = null, int retries = 6, Uri? endpoint = null)
    {
        using var ec2 = new AmazonEC2Client(
            credentials ?? new SessionAWSCredentials("AKIDEXAMPLE", "made-up", "session"),
            new AmazonEC2Config("eu-central-1", endpoint ?? _server.Endpoint) { MaxErrorRetry = retries });
        return await Ec2.InstanceTags(ec2, "i-0a5d1a26e00000001", TimeProvider.System, default);
    }

    private static string Page(string? next, params (string Key, string Value)[] tags) => $"""
        <?xml version="1.0" encoding="UTF-8"?>
        <DescribeTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
           <requestId>7a62c49f-347e-4fc4-9331-6e8eEXAMPLE</requestId>
           <tagSet>
              {string.Concat(tags.Select(t => $"""
                <item>
                   <resourceId>i-0a5d1a26e00000001</resourceId>
                   <resourceType>instance</resourceType>
                   <key>{System.Security.SecurityElement.Escape(t.Key)}</key>
                   <value>{System.Security.SecurityElement.Escape(t.Value)}</value>
                </item>
        """))}
            </tagSet>
            {(next is null ? "" : $"<nextToken>{next}</nextToken>")}
        </DescribeTagsResponse>
        """;

    private static string Error(string code, string message) => string.Create(
        CultureInfo.InvariantCulture,
        $"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>ea966190</RequestID></Response>");
}
