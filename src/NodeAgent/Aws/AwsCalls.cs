using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Net.Sockets;
using Polly;
using Polly.Retry;

namespace NodeAgent.Aws;

/// <summary>
/// Calls of one service by .NET's own HTTP client, which instance metadata has warmed up by then: each within a time, and with an answer of bounded size.
/// Packages of the AWS SDK cost 100 ms and more at their first call (docs/speed.md).
/// </summary>
internal sealed class AwsCalls(SocketsHttpHandler handler, TimeProvider time) : IDisposable
{
    private static readonly TimeSpan OneTry = TimeSpan.FromSeconds(10);

    private readonly HttpMessageInvoker _http = new(handler);

    /// <param name="largest">Answers beyond are malformed, and not read to their end.</param>
    /// <param name="failure">What a failure is told as: kind and cause.</param>
    /// <exception cref="AwsException">No answer; what the service answers is for the caller to read.</exception>
    public async Task<AwsAnswer> Send(
        HttpRequestMessage request, int largest, Func<AwsFailureKind, string, AwsFailure> failure, CancellationToken cancellation)
    {
        using var oneTry = new CancellationTokenSource(OneTry, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellation, oneTry.Token);
        try
        {
            using var response = await _http.SendAsync(request, both.Token).ConfigureAwait(false);
            using var content = new MemoryStream();
            var stream = await response.Content.ReadAsStreamAsync(both.Token).ConfigureAwait(false);
            var buffer = new byte[16 * 1024];
            while (await stream.ReadAsync(buffer, both.Token).ConfigureAwait(false) is > 0 and var read)
            {
                content.Write(buffer, 0, read);
                if (content.Length > largest)
                {
                    throw new AwsException(failure(AwsFailureKind.Malformed, $"an answer of more than {largest / 1024} KiB"));
                }
            }

            return new(response.StatusCode, response.ReasonPhrase, response.Headers, content.ToArray());
        }
        catch (OperationCanceledException e) when (!cancellation.IsCancellationRequested)
        {
            throw new AwsException(failure(AwsFailureKind.NotReachable, "no answer in time"), e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or SocketException)
        {
            throw new AwsException(failure(AwsFailureKind.NotReachable, e.GetBaseException().Message), e);
        }
    }

    public void Dispose() => _http.Dispose();
}

internal sealed record AwsAnswer(HttpStatusCode Status, string? Reason, HttpResponseHeaders Headers, byte[] Content);

/// <summary>What may pass is tried again, with pauses that grow and spread, until patience or tries are used up.</summary>
internal sealed class Retries : IDisposable
{
    private readonly TimeProvider _time;
    private readonly long _since;
    private readonly int _most;
    private readonly CancellationTokenSource _patience;
    private readonly ResiliencePipeline _pipeline;

    /// <param name="pause">After the first try; each next one is about twice as long, up to <paramref name="longest"/>.</param>
    /// <param name="patience">How long in all, from now on, for all that is run; infinite where <paramref name="most"/> is the bound.</param>
    /// <param name="most">Further tries of each.</param>
    public Retries(TimeProvider time, TimeSpan pause, TimeSpan longest, TimeSpan patience, int most = int.MaxValue)
    {
        (_time, _since, _most) = (time, time.GetTimestamp(), most);
        _patience = new CancellationTokenSource(patience, time);
        _pipeline = new ResiliencePipelineBuilder { TimeProvider = time }
            .AddRetry(new RetryStrategyOptions
            {
                ShouldHandle = static arguments => ValueTask.FromResult(
                    arguments.Outcome.Exception is AwsException
                    {
                        Kind: AwsFailureKind.NotReachable or AwsFailureKind.Throttled or AwsFailureKind.Unavailable
                    }),
                MaxRetryAttempts = most,
                BackoffType = DelayBackoffType.Exponential,
                Delay = pause,
                MaxDelay = longest,
                UseJitter = true,
            })
            .Build();
    }

    /// <param name="noAnswer">For where patience ends before the first try does.</param>
    /// <exception cref="AwsException">The last one, with how long and how often it was tried.</exception>
    public async Task<T> Run<T>(Func<CancellationToken, Task<T>> attempt, Func<AwsFailure> noAnswer, CancellationToken cancellation)
    {
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellation, _patience.Token);
        var began = _time.GetTimestamp();
        AwsFailure? last = null;
        var tries = 0;
        try
        {
            return await _pipeline.ExecuteAsync(
                async stop =>
                {
                    tries++;
                    try
                    {
                        return await attempt(stop).ConfigureAwait(false);
                    }
                    catch (AwsException e)
                    {
                        last = e.Failure;
                        throw;
                    }
                },
                both.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or AwsException && _patience.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            // Where it waited for another one's call, as all do for the metadata service's token, it is that one's failure, and its tries.
            last ??= noAnswer();
            throw new AwsException(last with { Waited = _time.GetElapsedTime(_since), Tries = Math.Max(tries, last.Tries) }, e);
        }
        catch (AwsException e) when (tries > _most)
        {
            throw new AwsException(e.Failure with { Waited = _time.GetElapsedTime(began), Tries = tries }, e);
        }
    }

    public void Dispose() => _patience.Dispose();
}
