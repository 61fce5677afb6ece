using System.Globalization;
using System.Net;
using System.Net.Http;
using System.Security.Cryptography;
using System.Text;
using Amazon.Runtime;
using Amazon.Runtime.Internal.Auth;

namespace NodeAgent.Aws;

/// <summary>
/// Reads objects of one bucket, which is all that a node asks of S3. What may pass (no route yet, throttling, trouble of the service) is tried again until
/// <c>patience</c> is used up. All calls may run side by side.
/// </summary>
/// <remarks>
/// A signed GET on .NET's own client, which instance metadata has warmed up by then, and not the package AWSSDK.S3: its first call costs 100 to 160 ms of
/// processor time, more than all that reading six layers may take (docs/speed.md). Credentials are those of the instance's role.
/// </remarks>
internal sealed class S3 : IDisposable
{
    public const string GetAction = "s3:GetObject";

    public const string ListAction = "s3:ListBucket";

    private const int Largest = 1024 * 1024;
    private const string EmptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    private readonly string _bucket;
    private readonly string _region;
    private readonly Uri _base;
    private readonly Lazy<Task<ImmutableCredentials>> _credentials;
    private readonly TimeProvider _time;
    private readonly AwsCalls _calls;
    private readonly Retries _retries;

    /// <param name="bucket">Its name, of letters, digits, dots and dashes.</param>
    /// <param name="region">Where the bucket is.</param>
    /// <param name="endpoint">For something that speaks S3 elsewhere; null for S3 itself in that region.</param>
    /// <param name="credentials">Asked once, with the first call.</param>
    /// <param name="patience">How long in all, from now on, to try again before giving up.</param>
    public S3(
        string bucket, string region, Uri? endpoint, Func<Task<ImmutableCredentials>> credentials, TimeSpan patience, TimeProvider time, OutboundHttp outbound)
    {
        (_bucket, _region, _time) = (bucket, region, time);
        _base = Base(bucket, region, endpoint);
        _credentials = new(credentials);
        _calls = new AwsCalls(outbound.Handler(), time);
        _retries = new Retries(time, TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(5), patience);
    }

    /// <param name="key">Its parts between slashes are escaped as need be.</param>
    /// <param name="known">The ETag of a content that is known already; then it is not sent once more.</param>
    /// <returns>Null when S3 says that there is no such object.</returns>
    /// <exception cref="AwsException">
    /// Also where S3 does not say whether there is one: without the right to list the bucket, it answers 403 to both.
    /// </exception>
    public Task<S3Object?> Get(string key, string? known, CancellationToken cancellation) => _retries.Run(
        stop => GetOnce(key, known, stop), () => Failure(key, AwsFailureKind.NotReachable, "no answer in time"), cancellation);

    public void Dispose()
    {
        _calls.Dispose();
        _retries.Dispose();
    }

    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html: names with dots do not fit the wildcard of S3's certificate.
    private static Uri Base(string bucket, string region, Uri? endpoint) =>
        endpoint is not null ? new Uri($"{endpoint.AbsoluteUri.TrimEnd('/')}/{bucket}/")
        : bucket.Contains('.', StringComparison.Ordinal) ? new Uri($"https://s3.{region}.{Partition.DnsSuffix(region)}/{bucket}/")
        : new Uri($"https://{bucket}.s3.{region}.{Partition.DnsSuffix(region)}/");

    private async Task<S3Object?> GetOnce(string key, string? known, CancellationToken cancellation)
    {
        var credentials = await _credentials.Value.WaitAsync(cancellation).ConfigureAwait(false);
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(_base, string.Join('/', key.Split('/').Select(Uri.EscapeDataString))));
        if (known is not null)
        {
            request.Headers.TryAddWithoutValidation("If-None-Match", known);
        }

        SignatureV4.Sign(request, credentials, _region, "s3", EmptyHash, _time.GetUtcNow());
        var answer = await _calls.Send(request, Largest, (kind, cause) => Failure(key, kind, cause), cancellation).ConfigureAwait(false);
        if (answer.Status == HttpStatusCode.NotModified && known is not null)
        {
            return new(known, null);
        }

        if (answer.Status == HttpStatusCode.OK)
        {
            return answer.Headers.ETag is { } etag
                ? new(etag.ToString(), answer.Content)
                : throw new AwsException(Failure(key, AwsFailureKind.Malformed, "200 without an ETag"));
        }

        var (code, message) = (Element(answer.Content, "Code"), Element(answer.Content, "Message"));
        return answer.Status == HttpStatusCode.NotFound && code == "NoSuchKey" ? null : throw new AwsException(Failure(key, answer, code, message));
    }

    // https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    private AwsFailure Failure(string key, AwsAnswer response, string? code, string? message)
    {
        var said = message is null ? "" : ": " + message;
        var cause = string.Create(CultureInfo.InvariantCulture, $"{(int)response.Status} {code ?? response.Reason}{said}");
        var region = response.Headers.TryGetValues("x-amz-bucket-region", out var values) ? values.First() : null;
        return (response.Status, code) switch
        {
            (_, "SlowDown" or "Throttling" or "ThrottlingException" or "KMS.ThrottlingException" or "RequestThrottled" or "RequestLimitExceeded")
                or (HttpStatusCode.TooManyRequests, _) => new(
                AwsFailureKind.Throttled, Subject(key), cause, "Too many calls of this prefix at once; they spread by themselves: try again later."),
            // A clock that was just set is the usual cause at boot, and passes.
            (_, "RequestTimeTooSkewed") => new(
                AwsFailureKind.Unavailable, Subject(key), cause, "The clock of this instance is off by more than 15 minutes: check its time service."),
            ( >= HttpStatusCode.InternalServerError, _) => new(
                AwsFailureKind.Unavailable, Subject(key), cause, "S3 has trouble of its own, mostly for a short while: try again later."),
            (_, "AccessDenied" or "AllAccessDisabled" or "AccountProblem") => new(AwsFailureKind.NotAllowed, Subject(key), cause, MissingRight(key)),
            (_, "InvalidAccessKeyId" or "SignatureDoesNotMatch" or "ExpiredToken" or "InvalidToken") or (HttpStatusCode.Unauthorized, _) => new(
                AwsFailureKind.NotAllowed,
                Subject(key),
                cause,
                "S3 does not take the credentials of this instance's role: check the role, and that this endpoint belongs to its account's partition."),
            (HttpStatusCode.Forbidden, _) => new(AwsFailureKind.NotAllowed, Subject(key), cause, MissingRight(key)),
            (_, "NoSuchBucket") => new(AwsFailureKind.NotThere, Subject(key), cause, "Check layers.bucket."),
            (HttpStatusCode.MovedPermanently or HttpStatusCode.TemporaryRedirect, _) or (_, "AuthorizationHeaderMalformed") => new(
                AwsFailureKind.Malformed,
                Subject(key),
                cause,
                region is null
                    ? "Is the bucket in another region? layers.bucketRegion says in which."
                    : $"The bucket is in {region}: set layers.bucketRegion."),
            _ => new(AwsFailureKind.Malformed, Subject(key), cause, NotS3),
        };
    }

    private string MissingRight(string key) =>
        "S3 answers so when an object may not be read, and also when there is none and the role may not list the bucket. "
        + $"Allow the instance's role {GetAction} on {_bucket}/{key}, and {ListAction} on {_bucket}, by which S3 tells that there is none.";

    private const string Unreachable = "Check the route to this endpoint (gateway endpoint of the VPC, NAT, proxy) and DNS.";

    private const string NotS3 = "Does something else than S3 answer at this endpoint?";

    private AwsFailure Failure(string key, AwsFailureKind kind, string cause) =>
        new(kind, Subject(key), cause, kind == AwsFailureKind.NotReachable ? Unreachable : NotS3);

    private string Subject(string key) => $"{GetAction} of s3://{_bucket}/{key} at {_base.GetLeftPart(UriPartial.Authority)}";

    /// <summary>Errors are flat XML, and most are that a layer is not there: no parser is started for them.</summary>
    private static string? Element(byte[] content, string name)
    {
        var text = Encoding.UTF8.GetString(content, 0, Math.Min(content.Length, 4096));
        var start = text.IndexOf($"<{name}>", StringComparison.Ordinal);
        var end = start < 0 ? -1 : text.IndexOf($"</{name}>", start, StringComparison.Ordinal);
        return end < 0 ? null : WebUtility.HtmlDecode(text[(start + name.Length + 2)..end]).ReplaceLineEndings(" ").Trim();
    }
}

/// <param name="ETag">With its quotes, as it goes into If-None-Match.</param>
/// <param name="Content">Null when it is still the one that was known.</param>
internal sealed record S3Object(string ETag, byte[]? Content);

/// <summary>https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, for requests without a query.</summary>
internal static class SignatureV4
{
    /// <param name="request">Its path escaped already; what it bears as content-type, x-amz- and x-nodeagent- headers so far is signed, too.</param>
    /// <param name="credentials">With or without a session token.</param>
    /// <param name="region">Where the service is that gets it.</param>
    /// <param name="service">As in s3.</param>
    /// <param name="contentHash">SHA-256 of the body, in hex.</param>
    /// <param name="now">Services take 15 minutes of difference.</param>
    public static void Sign(HttpRequestMessage request, ImmutableCredentials credentials, string region, string service, string contentHash, DateTimeOffset now)
    {
        var time = now.UtcDateTime.ToString("yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture);
        var scope = $"{time[..8]}/{region}/{service}/aws4_request";
        request.Headers.TryAddWithoutValidation("x-amz-content-sha256", contentHash);
        request.Headers.TryAddWithoutValidation("x-amz-date", time);
        if (credentials.UseToken)
        {
            request.Headers.TryAddWithoutValidation("x-amz-security-token", credentials.Token);
        }

        var uri = request.RequestUri!;
        var headers = new SortedDictionary<string, string>(StringComparer.Ordinal) { ["host"] = uri.Authority };
        if (request.Content?.Headers.ContentType is { } type)
        {
            headers["content-type"] = type.ToString();
        }

        foreach (var (name, values) in request.Headers)
        {
            if (name.StartsWith("x-amz-", StringComparison.OrdinalIgnoreCase) || name.StartsWith("x-nodeagent-", StringComparison.OrdinalIgnoreCase)
                || name.Equals("range", StringComparison.OrdinalIgnoreCase))
            {
                headers[name.ToLowerInvariant()] = string.Join(',', values).Trim();
            }
        }

        var names = string.Join(';', headers.Keys);
        var canonical = $"{request.Method}\n{uri.AbsolutePath}\n\n{string.Concat(headers.Select(h => $"{h.Key}:{h.Value}\n"))}\n{names}\n{contentHash}";
        var toSign = $"AWS4-HMAC-SHA256\n{time}\n{scope}\n{Hex(SHA256.HashData(Encoding.UTF8.GetBytes(canonical)))}";
        // Of the SDK's signer no more than this: its ComputeSignature takes 4 ms at its first call, and wants the canonical request made here as well.
        var key = AWS4Signer.ComposeSigningKey(credentials.SecretKey, region, time[..8], service);
        var signature = Hex(HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(toSign)));
        request.Headers.TryAddWithoutValidation(
            "Authorization", $"AWS4-HMAC-SHA256 Credential={credentials.AccessKey}/{scope},SignedHeaders={names},Signature={signature}");
    }

    private static string Hex(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(bytes);
}
