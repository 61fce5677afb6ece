using Amazon.Runtime;
using Microsoft.AspNetCore.WebUtilities;
using NodeAgent.Aws;

namespace NodeAgent.Tests.Aws;

/// <summary>Against answers as Auto Scaling's API reference writes them: moto has none of these calls.</summary>
public sealed class AutoScalingTests : IAsyncLifetime
{
    private readonly FakeQueries _server = new();

    public Task InitializeAsync() => _server.Start();

    public async Task DisposeAsync() => await _server.DisposeAsync();

    [Fact]
    public async Task A_heartbeat_names_group_hook_and_instance_and_no_token()
    {
        _server.Answers.Enqueue((200, Done("RecordLifecycleActionHeartbeat")));

        (await Ask(h => h.Heartbeat(default))).ShouldBeTrue();

        var (body, authorization, _) = _server.Requests.Single();
        QueryHelpers.ParseQuery(body).ToDictionary(p => p.Key, p => p.Value.ToString()).ShouldBe(
            new Dictionary<string, string>
            {
                ["Action"] = "RecordLifecycleActionHeartbeat",
                ["AutoScalingGroupName"] = "a group",
                ["InstanceId"] = "i-0a5d1a26e00000001",
                ["LifecycleHookName"] = "hook",
                ["Version"] = "2011-01-01",
            },
            ignoreOrder: true);
        authorization.ShouldContain("/eu-central-1/autoscaling/aws4_request");
    }

    [Theory]
    [InlineData("Continue", "CONTINUE")]
    [InlineData("Abandon", "ABANDON")]
    public async Task The_result_is_said(string result, string word)
    {
        _server.Answers.Enqueue((200, Done("CompleteLifecycleAction")));

        (await Ask(h => h.Complete(Enum.Parse<LifecycleResult>(result), default))).ShouldBeTrue();

        QueryHelpers.ParseQuery(_server.Requests.Single().Body)["LifecycleActionResult"].ToString().ShouldBe(word);
    }

    [Fact]
    public async Task An_action_that_is_not_in_progress_is_an_answer_and_no_error()
    {
        for (var i = 0; i < 2; i++)
        {
            _server.Answers.Enqueue((400, Error("ValidationError", "No active Lifecycle Action found with instance ID i-0a5d1a26e00000001")));
        }

        (await Ask(h => h.Heartbeat(default))).ShouldBeFalse();
        (await Ask(h => h.Complete(LifecycleResult.Continue, default))).ShouldBeFalse();
        _server.Requests.Count.ShouldBe(2);
    }

    [Theory]
    [InlineData(403, "AccessDenied", AwsFailureKind.NotAllowed, "autoscaling:CompleteLifecycleAction")]
    [InlineData(400, "ValidationError", AwsFailureKind.Malformed, "autoscaling.launchHook")]
    [InlineData(400, "Throttling", AwsFailureKind.Throttled, "tried again")]
    public async Task Anything_else_says_what_to_do(int status, string code, object kind, string remedy)
    {
        for (var i = 0; i < 3; i++)
        {
            _server.Answers.Enqueue((status, Error(code, "why")));
        }

        var failure = (await Should.ThrowAsync<AwsException>(() => Ask(h => h.Complete(LifecycleResult.Continue, default)))).Failure;

        failure.Kind.ShouldBe(kind);
        failure.Subject.ShouldBe($"autoscaling:CompleteLifecycleAction of hook hook in group a group at {_server.Endpoint}");
        failure.Cause.ShouldContain($"{code}: why");
        failure.Remedy.ShouldContain(remedy);
    }

    [Fact]
    public void The_endpoint_is_that_of_the_region() => new AmazonAutoScalingConfig("cn-north-1").Endpoint.ToString()
        .ShouldBe("https://autoscaling.cn-north-1.amazonaws.com.cn/");

    private async Task<bool> Ask(Func<LifecycleHook, Task<bool>> ask)
    {
        using var client = new AmazonAutoScalingClient(
            new SessionAWSCredentials("AKIDEXAMPLE", "made-up", "session"),
            new AmazonAutoScalingConfig("eu-central-1", _server.Endpoint) { MaxErrorRetry = 1 });
        return await ask(new LifecycleHook(client, "a group", "hook", "i-0a5d1a26e00000001"));
    }

    private static string Done(string action) => $"""
        <{action}Response xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">
          <{action}Result/>
          <ResponseMetadata><RequestId>7c6e177f-f082-11e1-ac58-3714bEXAMPLE</RequestId></ResponseMetadata>
        </{action}Response>
        """;

    private static string Error(string code, string message) => $"""
        <ErrorResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">
          <Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>
          <RequestId>7c6e177f-f082-11e1-ac58-3714bEXAMPLE</RequestId>
        </ErrorResponse>
        """;
}
