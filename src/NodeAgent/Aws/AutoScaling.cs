using System.Net;
using System.Net.Http;
using Amazon.Runtime;
using Amazon.Runtime.Internal;
using Amazon.Runtime.Internal.Transform;

namespace NodeAgent.Aws;

/// <summary>
/// A lifecycle hook of the instance's autoscaling group, as the instance itself answers it. The instance's ID stands in for the action's token.
/// </summary>
internal sealed class LifecycleHook(IAmazonAutoScaling client, string group, string hook, string instance)
{
    public string Name => hook;

    /// <summary>Begins the hook's time-out anew.</summary>
    /// <returns>False when there is nothing to hold: no action of this hook is in progress for this instance.</returns>
    /// <exception cref="AwsException"/>
    public Task<bool> Heartbeat(CancellationToken cancellation) => Call(
        "autoscaling:RecordLifecycleActionHeartbeat",
        () => client.RecordLifecycleActionHeartbeatAsync(
            new() { AutoScalingGroupName = group, LifecycleHookName = hook, InstanceId = instance }, cancellation),
        cancellation);

    /// <returns>False when there is nothing to complete: it was before, has timed out, or never began.</returns>
    /// <exception cref="AwsException"/>
    public Task<bool> Complete(LifecycleResult result, CancellationToken cancellation) => Call(
        "autoscaling:CompleteLifecycleAction",
        () => client.CompleteLifecycleActionAsync(
            new() { AutoScalingGroupName = group, LifecycleHookName = hook, InstanceId = instance, LifecycleActionResult = Word(result) }, cancellation),
        cancellation);

    public static string Word(LifecycleResult result) => result == LifecycleResult.Continue ? "CONTINUE" : "ABANDON";

    private async Task<bool> Call(string action, Func<Task> call, CancellationToken cancellation)
    {
        var subject = $"{action} of hook {hook} in group {group} at {client.Endpoint}";
        try
        {
            await call().ConfigureAwait(false);
            return true;
        }
        // The one error that both actions have for it; it has no code of its own: "No active Lifecycle Action found with instance ID i-...".
        catch (AmazonServiceException e) when (e.ErrorCode == "ValidationError"
            && e.Message.StartsWith("No active Lifecycle Action found", StringComparison.OrdinalIgnoreCase))
        {
            return false;
        }
        catch (AmazonServiceException e) when (QueryFailure.KindOf(e) is var kind && kind != AwsFailureKind.NotReachable)
        {
            throw new AwsException(new(
                kind,
                subject,
                QueryFailure.Cause(e),
                kind switch
                {
                    AwsFailureKind.NotAllowed => $"Allow the role of this instance the action {action}.",
                    AwsFailureKind.Throttled or AwsFailureKind.Unavailable => "Mostly for a short while: it is tried again.",
                    _ => "Check the names of group and hook (autoscaling.launchHook, autoscaling.terminateHook).",
                }),
                e);
        }
        catch (Exception e) when (e is AmazonServiceException or HttpRequestException or TimeoutException or IOException
            || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            throw new AwsException(
                new(AwsFailureKind.NotReachable, subject, e.GetBaseException().Message, "Check the route to this endpoint (NAT, VPC endpoint, proxy) and DNS."),
                e);
        }
    }
}

internal enum LifecycleResult
{
    Continue,

    /// <summary>Of a launch: the group ends the instance and starts another.</summary>
    Abandon,
}

// From here on: what the package AWSSDK.AutoScaling would bring, by its names, as far as it is used here; as in Ec2.cs.

internal interface IAmazonAutoScaling
{
    /// <summary>Not in the package: for messages.</summary>
    Uri Endpoint { get; }

    Task<RecordLifecycleActionHeartbeatResponse> RecordLifecycleActionHeartbeatAsync(
        RecordLifecycleActionHeartbeatRequest request, CancellationToken cancellationToken = default);

    Task<CompleteLifecycleActionResponse> CompleteLifecycleActionAsync(CompleteLifecycleActionRequest request, CancellationToken cancellationToken = default);
}

internal sealed class RecordLifecycleActionHeartbeatRequest : AmazonWebServiceRequest
{
    public required string AutoScalingGroupName { get; init; }

    public required string LifecycleHookName { get; init; }

    public required string InstanceId { get; init; }
}

internal sealed class RecordLifecycleActionHeartbeatResponse : AmazonWebServiceResponse;

internal sealed class CompleteLifecycleActionRequest : AmazonWebServiceRequest
{
    public required string AutoScalingGroupName { get; init; }

    public required string LifecycleHookName { get; init; }

    public required string InstanceId { get; init; }

    /// <summary>CONTINUE or ABANDON.</summary>
    public required string LifecycleActionResult { get; init; }
}

internal sealed class CompleteLifecycleActionResponse : AmazonWebServiceResponse;

/// <param name="endpoint">As AWS_ENDPOINT_URL_AUTO_SCALING gives it; null for the service's own in that region.</param>
internal sealed class AmazonAutoScalingConfig(string region, Uri? endpoint = null) : QueryConfig("Auto Scaling", "autoscaling", "2011-01-01", region, endpoint);

internal sealed class AmazonAutoScalingClient(AWSCredentials credentials, AmazonAutoScalingConfig config) : QueryClient(credentials, config), IAmazonAutoScaling
{
    public Task<RecordLifecycleActionHeartbeatResponse> RecordLifecycleActionHeartbeatAsync(
        RecordLifecycleActionHeartbeatRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync<RecordLifecycleActionHeartbeatResponse>(
            request,
            new InvokeOptions { RequestMarshaller = Marshaller.Instance, ResponseUnmarshaller = Nothing<RecordLifecycleActionHeartbeatResponse>.Instance },
            cancellationToken);

    public Task<CompleteLifecycleActionResponse> CompleteLifecycleActionAsync(
        CompleteLifecycleActionRequest request, CancellationToken cancellationToken = default) =>
        InvokeAsync<CompleteLifecycleActionResponse>(
            request,
            new InvokeOptions { RequestMarshaller = Marshaller.Instance, ResponseUnmarshaller = Nothing<CompleteLifecycleActionResponse>.Instance },
            cancellationToken);

    private sealed class Marshaller : IMarshaller<IRequest, AmazonWebServiceRequest>
    {
        public static readonly Marshaller Instance = new();

        public IRequest Marshall(AmazonWebServiceRequest input)
        {
            var request = new DefaultRequest(input, "Amazon.AutoScaling");
            request.Parameters.Add("Version", "2011-01-01");
            switch (input)
            {
                case RecordLifecycleActionHeartbeatRequest asked:
                    Say("RecordLifecycleActionHeartbeat", asked.AutoScalingGroupName, asked.LifecycleHookName, asked.InstanceId);
                    break;
                case CompleteLifecycleActionRequest asked:
                    Say("CompleteLifecycleAction", asked.AutoScalingGroupName, asked.LifecycleHookName, asked.InstanceId);
                    request.Parameters.Add("LifecycleActionResult", asked.LifecycleActionResult);
                    break;
            }

            return request;

            void Say(string action, string group, string hook, string instance)
            {
                request.Parameters.Add("Action", action);
                request.Parameters.Add("AutoScalingGroupName", group);
                request.Parameters.Add("InstanceId", instance);
                request.Parameters.Add("LifecycleHookName", hook);
            }
        }
    }

    /// <summary>Both answers have nothing in them but the request's ID.</summary>
    private sealed class Nothing<T> : XmlResponseUnmarshaller
        where T : AmazonWebServiceResponse, new()
    {
        public static readonly Nothing<T> Instance = new();

        public override AmazonWebServiceResponse Unmarshall(XmlUnmarshallerContext input)
        {
            // To its end: what is left unread counts as an answer that was cut off.
            while (input.Read())
            {
            }

            return new T();
        }

        public override AmazonServiceException UnmarshallException(XmlUnmarshallerContext input, Exception innerException, HttpStatusCode statusCode)
        {
            var error = XmlErrorResponseUnmarshaller.GetInstance().Unmarshall(input);
            return new(error.Message, innerException, error.Type, error.Code, error.RequestId, statusCode);
        }
    }
}
