using System.Collections.Concurrent;
using Microsoft.AspNetCore.Http;

namespace NodeAgent.Tests.Aws;

/// <summary>A service of AWS's query protocol that answers one thing after the other, as it is told beforehand, and 500 when it is at its end.</summary>
internal sealed class FakeQueries : FakeServer
{
    public ConcurrentQueue<(int Status, string Body)> Answers { get; } = new();

    public ConcurrentQueue<(string Body, string Authorization, string Token)> Requests { get; } = new();

    protected override async Task Answer(HttpContext context)
    {
        var headers = context.Request.Headers;
        Requests.Enqueue((await Body(context), headers.Authorization.ToString(), headers["X-Amz-Security-Token"].ToString()));
        var (status, body) = Answers.TryDequeue(out var answer) ? answer : (500, "");
        await Write(context, status, body);
    }
}
