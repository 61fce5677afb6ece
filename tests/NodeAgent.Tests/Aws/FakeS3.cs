using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;

namespace NodeAgent.Tests.Aws;

/// <summary>
/// Answers a GET of an object as S3 documents it: ETag and If-None-Match, NoSuchKey; a PUT, which overwrites, or with If-None-Match: * creates; and what it is
/// told to answer instead.
/// </summary>
internal sealed class FakeS3 : FakeServer
{
    private readonly TaskCompletionSource _allHere = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _waiting;

    /// <summary>By bucket/key.</summary>
    public ConcurrentDictionary<string, string> Objects { get; } = new();

    /// <summary>By bucket/key: what comes first, an answer a time.</summary>
    public ConcurrentDictionary<string, ConcurrentQueue<(int Status, string Body)>> Instead { get; } = new();

    /// <summary>"bucket/key 200", in the order in which they were answered.</summary>
    public ConcurrentQueue<string> Requests { get; } = new();

    public ConcurrentQueue<IHeaderDictionary> Headers { get; } = new();

    /// <summary>Answers only when so many requests wait at once.</summary>
    public int Together { get; set; } = 1;

    public static string Error(string code, string message = "why") =>
        $"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>";

    public void Answer(string path, int status, string body) => Instead.GetOrAdd(path, _ => new()).Enqueue((status, body));

    protected override async Task Answer(HttpContext context)
    {
        if (Interlocked.Increment(ref _waiting) >= Together)
        {
            _allHere.TrySetResult();
        }

        await _allHere.Task.WaitAsync(context.RequestAborted);
        var path = context.Request.Path.Value!.TrimStart('/');
        Headers.Enqueue(new HeaderDictionary(context.Request.Headers.ToDictionary()));
        var response = context.Response;
        var body = "";
        if (Instead.TryGetValue(path, out var queue) && queue.TryDequeue(out var instead))
        {
            (response.StatusCode, body) = instead;
        }
        else if (context.Request.Method == "PUT")
        {
            var sent = await Body(context);
            if (context.Request.Headers.IfNoneMatch != "*")
            {
                Objects[path] = sent;
            }
            else if (!Objects.TryAdd(path, sent))
            {
                (response.StatusCode, body) = (412, Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold"));
            }

            response.Headers.ETag = "\"0\"";
        }
        else if (!Objects.TryGetValue(path, out var content))
        {
            (response.StatusCode, body) = (404, Error("NoSuchKey", "The specified key does not exist."));
        }
        else
        {
            var etag = $"\"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(content)))[..32]}\"";
            response.Headers.ETag = etag;
            var isKnown = context.Request.Headers.IfNoneMatch == etag;
            (response.StatusCode, body) = (isKnown ? 304 : 200, isKnown ? "" : content);
        }

        Requests.Enqueue($"{path} {response.StatusCode}");
        if (body.Length > 0)
        {
            await response.WriteAsync(body);
        }
    }
}
