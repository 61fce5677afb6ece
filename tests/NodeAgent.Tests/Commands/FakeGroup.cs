using System.Collections.Concurrent;
using System.Net;
using Amazon.Runtime;
using NodeAgent.Aws;

namespace NodeAgent.Tests.Commands;

/// <summary>A group as an instance sees it, with the service's own words for what is not in progress.</summary>
internal sealed class FakeGroup : IAmazonAutoScaling
{
    public Uri Endpoint { get; } = new("https://autoscaling.example");

    public bool InProgress { get; set; } = true;

    public Exception? Failure { get; set; }

    /// <summary>"heartbeat", "CONTINUE" or "ABANDON".</summary>
    public ConcurrentQueue<string> Calls { get; } = new();

    public LifecycleHook Hook => new(this, "workers", "hook", "i-0123456789abcdef0");

    public Task<RecordLifecycleActionHeartbeatResponse> RecordLifecycleActionHeartbeatAsync(
        RecordLifecycleActionHeartbeatRequest request, CancellationToken cancellationToken = default)
    {
        Take("heartbeat");
        return Task.FromResult(new RecordLifecycleActionHeartbeatResponse());
    }

    public Task<CompleteLifecycleActionResponse> CompleteLifecycleActionAsync(
        CompleteLifecycleActionRequest request, CancellationToken cancellationToken = default)
    {
        Take(request.LifecycleActionResult);
        InProgress = false;
        return Task.FromResult(new CompleteLifecycleActionResponse());
    }

    private void Take(string call)
    {
        Calls.Enqueue(call);
        if (Failure is { } failure)
        {
            throw failure;
        }

        if (!InProgress)
        {
            throw new AmazonServiceException(
                "No active Lifecycle Action found with instance ID i-0123456789abcdef0",
                null,
                ErrorType.Sender,
                "ValidationError",
                "1",
                HttpStatusCode.BadRequest);
        }
    }
}
