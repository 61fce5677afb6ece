using System.Collections.Concurrent;
using System.Globalization;
using Amazon.Runtime;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.DependencyInjection;
using NodeAgent.Aws;
using NodeAgent.Imds;

namespace NodeAgent.Tests.Aws;

/// <summary>Against answers as moto 5.1 and EC2's API reference write them.</summary>
public sealed class Ec2Tests : IAsyncLifetime
{
    private readonly ConcurrentQueue<(int Status, string Body)> _answers = new();
    private readonly ConcurrentQueue<(string Body, string Authorization, string Token)> _requests = new();
    private WebApplication? _server;
    private Uri _endpoint = new("http://127.0.0.1");

    public async Task InitializeAsync()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        _server = builder.Build();
        _server.Run(async context =>
        {
            using var reader = new StreamReader(context.Request.Body);
            var headers = context.Request.Headers;
            _requests.Enqueue((await reader.ReadToEndAsync(), headers.Authorization.ToString(), headers["X-Amz-Security-Token"].ToString()));
            var (status, body) = _answers.TryDequeue(out var answer) ? answer : (500, "");
            context.Response.StatusCode = status;
            context.Response.ContentType = "text/xml";
            await context.Response.WriteAsync(body);
        });
        await _server.StartAsync();
        _endpoint = new Uri(_server.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
    }

    public async Task DisposeAsync() => await _server!.DisposeAsync();

    [Fact]
    public async Task Tags_of_this_instance_come_page_by_page()
    {
        _answers.Enqueue((200, Page("abc", ("Name", "worker & <co>"), ("kubernetes.io/cluster/one", "owned"))));
        _answers.Enqueue((200, Page(null, ("nodeagent:role", "worker"), ("empty", ""))));

        (await Tags()).ShouldBe(new Dictionary<string, string>
        {
            ["Name"] = "worker & <co>",
            ["empty"] = "",
            ["kubernetes.io/cluster/one"] = "owned",
            ["nodeagent:role"] = "worker",
        });

        var requests = _requests.ToArray();
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
        _answers.Enqueue((200, Page(null)));
        _answers.Enqueue((200, Page(null, ("Name", "worker"))));

        (await Tags()).Keys.ShouldBe(["Name"]);
    }

    [Fact]
    public async Task Throttling_is_tried_again()
    {
        _answers.Enqueue((503, Error("RequestLimitExceeded", "Request limit exceeded.")));
        _answers.Enqueue((200, Page(null, ("Name", "worker"))));

        (await Tags()).Keys.ShouldBe(["Name"]);
    }

    [Fact]
    public async Task A_right_that_is_missing_is_named_and_not_asked_for_twice()
    {
        _answers.Enqueue((403, Error("UnauthorizedOperation", "You are not authorized to perform this operation.")));

        var failure = (await Should.ThrowAsync<AwsException>(Tags)).Failure;

        failure.Kind.ShouldBe(AwsFailureKind.NotAllowed);
        failure.Subject.ShouldBe($"ec2:DescribeTags at {_endpoint}");
        failure.Cause.ShouldBe("403 UnauthorizedOperation: You are not authorized to perform this operation.");
        failure.Remedy.ShouldContain("InstanceMetadataTags=enabled");
        failure.Remedy.ShouldContain("ec2:DescribeTags");
        _requests.Count.ShouldBe(1);
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
            _answers.Enqueue((status, Error(code, "why")));
        }

        var failure = (await Should.ThrowAsync<AwsException>(() => Tags(retries: 1))).Failure;

        failure.Kind.ShouldBe(kind);
        failure.Cause.ShouldContain(code);
    }

    [Fact]
    public async Task Nobody_there_is_not_reachable()
    {
        _endpoint = InstanceMetadataTests.FreePort();

        var failure = (await Should.ThrowAsync<AwsException>(() => Tags(retries: 1))).Failure;

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
        _answers.Enqueue((200, Page(null, ("Name", "worker"))));

        await Tags(credentials);

        _requests.Single().Authorization.ShouldContain("Credential=ASIAROLE/");
        _requests.Single().Token.ShouldBe("of the role");
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
        _requests.ShouldBeEmpty();
    }

    [Theory]
    [InlineData("eu-central-1", "https://ec2.eu-central-1.amazonaws.com/")]
    [InlineData("cn-north-1", "https://ec2.cn-north-1.amazonaws.com.cn/")]
    public void The_endpoint_is_that_of_the_region(string region, string endpoint) => new AmazonEC2Config(region).Endpoint.ToString().ShouldBe(endpoint);

    private Task<IReadOnlyDictionary<string, string>> Tags() => Tags(null);

    private async Task<IReadOnlyDictionary<string, string>> Tags(AWSCredentials? credentials = null, int retries = 6)
    {
        using var ec2 = new AmazonEC2Client(
            credentials ?? new SessionAWSCredentials("AKIDEXAMPLE", "made-up", "session"),
            new AmazonEC2Config("eu-central-1", _endpoint) { MaxErrorRetry = retries });
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
