using System.Globalization;
using System.Net;
using System.Net.Http;
using System.Security.Cryptography;
using Amazon;
using Amazon.KeyManagementService;
using Amazon.KeyManagementService.Model;
using Amazon.Runtime;

namespace NodeAgent.Aws;

/// <param name="Arn">Of the key itself, also where it was asked for by an alias.</param>
/// <param name="PublicKey">SubjectPublicKeyInfo, DER.</param>
internal sealed record KmsKey(string Arn, byte[] PublicKey);

/// <summary>Asymmetric keys of KMS that sign: the private half never leaves it.</summary>
internal sealed class KmsKeys : IDisposable
{
    private const string GetPublicKeyAction = "kms:GetPublicKey";

    private const string SignAction = "kms:Sign";

    private const string Expected = "Give an asymmetric key of usage SIGN_VERIFY: ECC_NIST_P256, or RSA_2048 to RSA_4096.";

    private const string Trouble = "KMS has trouble of its own, mostly for a short while: try again later.";

    /// <summary>
    /// At once. Signatures of an account and region share a quota (https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html): this leaves
    /// most of it to others, and throttling that they cause is waited for by the package's own bounded retries.
    /// </summary>
    private const int Together = 3;

    private readonly AmazonKeyManagementServiceClient _client;
    private readonly SemaphoreSlim _turn = new(Together);
    private readonly string _where;

    /// <param name="endpoint">For something that speaks KMS elsewhere; null for KMS itself in that region.</param>
    public KmsKeys(string region, Uri? endpoint, AWSCredentials credentials, OutboundHttp outbound)
    {
        _where = endpoint?.GetLeftPart(UriPartial.Authority) ?? region;
        var config = new AmazonKeyManagementServiceConfig
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
            config.ServiceURL = endpoint.AbsoluteUri;
        }

        _client = new AmazonKeyManagementServiceClient(credentials, config);
    }

    /// <param name="key">ARN, or alias/NAME.</param>
    /// <exception cref="AwsException"/>
    public async Task<KmsKey> Find(string key, CancellationToken cancellation)
    {
        try
        {
            var answer = await _client.GetPublicKeyAsync(new GetPublicKeyRequest { KeyId = key }, cancellation).ConfigureAwait(false);
            return answer.KeyUsage == KeyUsageType.SIGN_VERIFY
                ? new(answer.KeyId, answer.PublicKey.ToArray())
                : throw new AwsException(new(
                    AwsFailureKind.Malformed, Subject(GetPublicKeyAction, key), $"the key is for {answer.KeyUsage}", Expected));
        }
        catch (Exception e) when (IsOfTheCall(e, cancellation))
        {
            throw Failure(GetPublicKeyAction, key, e);
        }
    }

    /// <summary>With SHA-256.</summary>
    /// <returns>As X.509 has it: ECDSA's as DER, RSA's PKCS#1 v1.5.</returns>
    /// <exception cref="AwsException"/>
    public async Task<byte[]> Sign(string key, byte[] data, bool isRsa, CancellationToken cancellation)
    {
        await _turn.WaitAsync(cancellation).ConfigureAwait(false);
        try
        {
            // KMS takes this much as it is.
            var isRaw = data.Length <= 4096;
            using var message = new MemoryStream(isRaw ? data : SHA256.HashData(data));
            var answer = await _client.SignAsync(
                new SignRequest
                {
                    KeyId = key,
                    Message = message,
                    MessageType = isRaw ? MessageType.RAW : MessageType.DIGEST,
                    SigningAlgorithm = isRsa ? SigningAlgorithmSpec.RSASSA_PKCS1_V1_5_SHA_256 : SigningAlgorithmSpec.ECDSA_SHA_256,
                },
                cancellation).ConfigureAwait(false);
            return answer.Signature.ToArray();
        }
        catch (Exception e) when (IsOfTheCall(e, cancellation))
        {
            throw Failure(SignAction, key, e);
        }
        finally
        {
            _turn.Release();
        }
    }

    public void Dispose()
    {
        _client.Dispose();
        _turn.Dispose();
    }

    private static bool IsOfTheCall(Exception e, CancellationToken cancellation) =>
        e is AmazonServiceException or AmazonClientException or HttpRequestException or TimeoutException or IOException
        || (e is OperationCanceledException && !cancellation.IsCancellationRequested);

    private string Subject(string action, string key) => $"{action} with {key} at {_where}";

    // https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
    private AwsException Failure(string action, string key, Exception e)
    {
        if (e is not AmazonServiceException { StatusCode: not 0 } said)
        {
            return new(
                new(AwsFailureKind.NotReachable, Subject(action, key), e.GetBaseException().Message, "Check the route to KMS (VPC endpoint, NAT, proxy) and DNS."), e);
        }

        var (kind, remedy) = said.ErrorCode switch
        {
            "ThrottlingException" or "LimitExceededException" => (
                AwsFailureKind.Throttled, "The account's quota of cryptographic operations in this region is used up: try again later, or have it raised."),
            "NotFoundException" => (AwsFailureKind.NotThere, "There is no such key in this account and region: check its ARN."),
            "DisabledException" or "KMSInvalidStateException" => (
                AwsFailureKind.NotAllowed, "The key is disabled or about to be deleted: look at it before anything else, since the cluster hangs on it."),
            "KeyUnavailableException" or "DependencyTimeoutException" or "KMSInternalException" => (AwsFailureKind.Unavailable, Trouble),
            _ when said.StatusCode >= HttpStatusCode.InternalServerError => (AwsFailureKind.Unavailable, Trouble),
            "AccessDeniedException" or "UnrecognizedClientException" => (
                AwsFailureKind.NotAllowed, $"Allow the caller {action} on this key, in its own policy or the key's."),
            _ => (AwsFailureKind.Malformed, Expected),
        };
        var cause = string.Create(CultureInfo.InvariantCulture, $"{(int)said.StatusCode} {said.ErrorCode}: {said.Message}");
        return new(new(kind, Subject(action, key), cause, remedy), e);
    }
}
