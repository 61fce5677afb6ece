using System.Globalization;
using System.Net;
using System.Net.Http;
using Amazon;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;

namespace NodeAgent.Aws;

/// <summary>
/// Reads and creates small objects of one bucket, encrypted with KMS. For the control plane and administrators: constructing the package's client takes 100 ms
/// and more, which is why workers read their layers with <see cref="S3"/>.
/// </summary>
internal sealed class S3Objects : IDisposable
{
    private const string PutAction = "s3:PutObject";

    private const int Largest = 1024 * 1024;

    private readonly AmazonS3Client _client;
    private readonly string? _kmsKey;
    private readonly Uri? _endpoint;

    /// <param name="endpoint">For something that speaks S3 elsewhere; null for S3 itself in that region.</param>
    /// <param name="kmsKey">Id, alias or ARN of the key that S3 encrypts new objects with; the account's own for S3 when null.</param>
    public S3Objects(string bucket, string region, Uri? endpoint, AWSCredentials credentials, string? kmsKey, OutboundHttp outbound)
    {
        (Bucket, _kmsKey, _endpoint) = (bucket, kmsKey, endpoint);
        var config = new AmazonS3Config
        {
            HttpClientFactory = outbound,
            IgnoreConfiguredEndpointUrls = true,
            RetryMode = RequestRetryMode.Standard,
            MaxErrorRetry = 6,
            ConnectTimeout = TimeSpan.FromSeconds(5),
            Timeout = TimeSpan.FromSeconds(15),
            AuthenticationRegion = region,
        };
        if (endpoint is null)
        {
            config.RegionEndpoint = RegionEndpoint.GetBySystemName(region);
        }
        else
        {
            (config.ServiceURL, config.ForcePathStyle) = (endpoint.AbsoluteUri, true);
        }

        _client = new AmazonS3Client(credentials, config);
    }

    public string Bucket { get; }

    /// <returns>Null when S3 says that there is no such object.</returns>
    /// <exception cref="AwsException">
    /// Also where S3 does not say whether there is one: without the right to list the bucket, it answers 403 to both.
    /// </exception>
    public async Task<byte[]?> Get(string key, CancellationToken cancellation)
    {
        try
        {
            using var answer = await _client.GetObjectAsync(new GetObjectRequest { BucketName = Bucket, Key = key }, cancellation).ConfigureAwait(false);
            // Counted as it comes: what it says of its length is its own word.
            var content = new byte[Largest + 1];
            var length = await answer.ResponseStream.ReadAtLeastAsync(content, content.Length, throwOnEndOfStream: false, cancellation).ConfigureAwait(false);
            if (length > Largest)
            {
                throw new AwsException(new(
                    AwsFailureKind.Malformed, Subject(S3.GetAction, key), "more than 1 MiB, which nothing here is", "Is it the right bucket and prefix?"));
            }

            return content[..length];
        }
        // "NotFound" is the package's word where it does not read the body: moto's is no application/xml.
        catch (AmazonS3Exception e) when (e.StatusCode == HttpStatusCode.NotFound && e.ErrorCode is "NoSuchKey" or "NotFound")
        {
            return null;
        }
        catch (Exception e) when (IsOfTheCall(e, cancellation))
        {
            throw Failure(S3.GetAction, key, e);
        }
    }

    /// <summary>Keys that begin so, by name.</summary>
    /// <exception cref="AwsException">Also where there are more than 1,000.</exception>
    public async Task<IReadOnlyList<string>> List(string prefix, CancellationToken cancellation)
    {
        ListObjectsV2Response page;
        try
        {
            page = await _client.ListObjectsV2Async(new() { BucketName = Bucket, Prefix = prefix }, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (IsOfTheCall(e, cancellation))
        {
            throw Failure(S3.ListAction, prefix, e);
        }

        return page.IsTruncated == true
            ? throw new AwsException(new(
                AwsFailureKind.Malformed,
                Subject(S3.ListAction, prefix),
                "more than 1,000 objects, which nothing here lists",
                "Is it the right bucket and prefix?"))
            : [.. (page.S3Objects ?? []).Select(o => o.Key).Order(StringComparer.Ordinal)];
    }

    /// <summary>
    /// Of any number who do this at once, for one it is true (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
    /// </summary>
    /// <returns>False where there is such an object, which stays. Also where the first try succeeded and only its answer was lost.</returns>
    public async Task<bool> Create(string key, byte[] content, CancellationToken cancellation)
    {
        for (var again = 5; ; again--)
        {
            using var body = new MemoryStream(content);
            var request = new PutObjectRequest
            {
                BucketName = Bucket,
                Key = key,
                InputStream = body,
                IfNoneMatch = "*",
                ServerSideEncryptionMethod = ServerSideEncryptionMethod.AWSKMS,
                ContentType = "application/x-pem-file",
                UseChunkEncoding = false,
            };
            if (_kmsKey is not null)
            {
                request.ServerSideEncryptionKeyManagementServiceKeyId = _kmsKey;
            }

            try
            {
                await _client.PutObjectAsync(request, cancellation).ConfigureAwait(false);
                return true;
            }
            catch (AmazonS3Exception e) when (e.StatusCode == HttpStatusCode.PreconditionFailed)
            {
                return false;
            }
            catch (AmazonS3Exception e) when (e.StatusCode == HttpStatusCode.Conflict && again > 0)
            {
                // Somebody else is at it in this very moment: who won shows in the next try.
                await Task.Delay(TimeSpan.FromMilliseconds(200), cancellation).ConfigureAwait(false);
            }
            catch (Exception e) when (IsOfTheCall(e, cancellation))
            {
                throw Failure(PutAction, key, e);
            }
        }
    }

    public void Dispose() => _client.Dispose();

    private static bool IsOfTheCall(Exception e, CancellationToken cancellation) =>
        e is AmazonServiceException or AmazonClientException or HttpRequestException or TimeoutException or IOException
        || (e is OperationCanceledException && !cancellation.IsCancellationRequested);

    private string Subject(string action, string key) =>
        $"{action} of s3://{Bucket}/{key}{(_endpoint is null ? "" : $" at {_endpoint.GetLeftPart(UriPartial.Authority)}")}";

    // https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    private AwsException Failure(string action, string key, Exception e)
    {
        if (e is not AmazonServiceException { StatusCode: not 0 } said)
        {
            return new(new(
                AwsFailureKind.NotReachable,
                Subject(action, key),
                e.GetBaseException().Message,
                "Check the route to S3 (gateway endpoint, NAT, proxy) and DNS."),
                e);
        }

        var kind = said.ErrorCode switch
        {
            "SlowDown" or "Throttling" or "ThrottlingException" or "KMS.ThrottlingException" or "RequestLimitExceeded" => AwsFailureKind.Throttled,
            "NoSuchBucket" => AwsFailureKind.NotThere,
            _ when said.StatusCode >= HttpStatusCode.InternalServerError => AwsFailureKind.Unavailable,
            _ when said.StatusCode is HttpStatusCode.Forbidden or HttpStatusCode.Unauthorized => AwsFailureKind.NotAllowed,
            _ => AwsFailureKind.Malformed,
        };
        var remedy = kind switch
        {
            AwsFailureKind.NotAllowed => action == S3.ListAction ? $"Allow the caller {S3.ListAction} on the bucket."
                : action == S3.GetAction
                ? $"Allow the caller {S3.GetAction} on this object, kms:Decrypt on the key that it is encrypted with, and {S3.ListAction} on the bucket, "
                    + "without which S3 does not say whether it is there."
                : $"Allow the caller {PutAction} on this object, and kms:GenerateDataKey on the key that it is encrypted with.",
            AwsFailureKind.NotThere => "Make the bucket first; docs/certificates.md says with which settings.",
            AwsFailureKind.Throttled => "Too many calls at once: try again later.",
            AwsFailureKind.Unavailable => "S3 has trouble of its own, mostly for a short while: try again later.",
            _ => "Is the bucket in another region? --region says in which.",
        };
        var cause = string.Create(CultureInfo.InvariantCulture, $"{(int)said.StatusCode} {said.ErrorCode}: {said.Message}");
        return new(new(kind, Subject(action, key), cause, remedy), e);
    }
}
