using System.Globalization;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text.Json;
using Amazon.Runtime;

namespace NodeAgent.Aws;

/// <param name="Arn">Of the key itself, also where it was asked for by an alias.</param>
/// <param name="PublicKey">SubjectPublicKeyInfo, DER.</param>
internal sealed record KmsKey(string Arn, byte[] PublicKey);

/// <summary>Asymmetric keys of KMS that sign: the private half never leaves it. Two calls, for which no package is loaded.</summary>
internal sealed class KmsKeys : IDisposable
{
    private const string GetPublicKeyAction = "kms:GetPublicKey";

    private const string SignAction = "kms:Sign";

    private const string Expected = "Give an asymmetric key of usage SIGN_VERIFY: ECC_NIST_P256, or RSA_2048 to RSA_4096.";

    private const string Trouble = "KMS has trouble of its own, mostly for a short while: try again later.";

    private const int Largest = 64 * 1024;

    /// <summary>
    /// At once. Signatures of an account and region share a quota (https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html): this leaves
    /// most of it to others, and throttling that they cause is waited for within bounds.
    /// </summary>
    private const int Together = 3;

    private readonly string _region;
    private readonly Uri _endpoint;
    private readonly AWSCredentials _credentials;
    private readonly TimeProvider _time;
    private readonly AwsCalls _calls;
    private readonly Retries _retries;
    private readonly SemaphoreSlim _turn = new(Together);

    /// <param name="endpoint">For something that speaks KMS elsewhere; null for KMS itself in that region.</param>
    public KmsKeys(string region, Uri? endpoint, AWSCredentials credentials, OutboundHttp outbound, TimeProvider time)
    {
        (_region, _credentials, _time) = (region, credentials, time);
        _endpoint = endpoint ?? new Uri($"https://kms.{region}.{Partition.DnsSuffix(region)}/");
        _calls = new AwsCalls(outbound.Handler(), time);
        // About 10 s in all. A certificate that is waited for longer is asked for again.
        _retries = new Retries(time, TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(4), Timeout.InfiniteTimeSpan, most: 6);
    }

    /// <param name="key">ARN, or alias/NAME.</param>
    /// <exception cref="AwsException"/>
    public async Task<KmsKey> Find(string key, CancellationToken cancellation)
    {
        using var answer = await Call(GetPublicKeyAction, key, static _ => { }, cancellation).ConfigureAwait(false);
        return Text(answer, "KeyUsage") is not "SIGN_VERIFY" and { } other
                ? throw Failure(GetPublicKeyAction, key, AwsFailureKind.Malformed, $"the key is for {other}", Expected)
            : Text(answer, "KeyId") is { } arn && Bytes(answer, "PublicKey") is { } publicKey ? new(arn, publicKey)
            : throw Failure(GetPublicKeyAction, key, AwsFailureKind.Malformed, "an answer without a key", NotKms);
    }

    /// <summary>With SHA-256.</summary>
    /// <returns>As X.509 has it: ECDSA's as DER, RSA's PKCS#1 v1.5.</returns>
    /// <exception cref="AwsException"/>
    public async Task<byte[]> Sign(string key, byte[] data, bool isRsa, CancellationToken cancellation)
    {
        await _turn.WaitAsync(cancellation).ConfigureAwait(false);
        try
        {
            using var answer = await Call(
                SignAction,
                key,
                json =>
                {
                    // KMS takes this much as it is.
                    var isRaw = data.Length <= 4096;
                    json.WriteBase64String("Message", isRaw ? data : SHA256.HashData(data));
                    json.WriteString("MessageType", isRaw ? "RAW" : "DIGEST");
                    json.WriteString("SigningAlgorithm", isRsa ? "RSASSA_PKCS1_V1_5_SHA_256" : "ECDSA_SHA_256");
                },
                cancellation).ConfigureAwait(false);
            return Bytes(answer, "Signature") ?? throw Failure(SignAction, key, AwsFailureKind.Malformed, "an answer without a signature", NotKms);
        }
        finally
        {
            _turn.Release();
        }
    }

    public void Dispose()
    {
        _calls.Dispose();
        _retries.Dispose();
        _turn.Dispose();
    }

    private const string Unreachable = "Check the route to KMS (VPC endpoint, NAT, proxy) and DNS.";

    private const string Credentials = "KMS does not take these credentials: check that they stand, the clock, and that this is their account's partition.";

    private const string NotKms = "Something else than KMS answers at this endpoint.";

    private Task<JsonDocument> Call(string action, string key, Action<Utf8JsonWriter> arguments, CancellationToken cancellation)
    {
        using var body = new MemoryStream();
        using (var json = new Utf8JsonWriter(body))
        {
            json.WriteStartObject();
            json.WriteString("KeyId", key);
            arguments(json);
            json.WriteEndObject();
        }

        var content = body.ToArray();
        return _retries.Run(
            stop => Once(action, key, content, stop),
            () => Failure(action, key, AwsFailureKind.NotReachable, "no answer in time", Unreachable).Failure,
            cancellation);
    }

    // https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
    private async Task<JsonDocument> Once(string action, string key, byte[] content, CancellationToken cancellation)
    {
        var credentials = await _credentials.GetCredentialsAsync().WaitAsync(cancellation).ConfigureAwait(false);
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(_endpoint, "/")) { Content = new ByteArrayContent(content) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/x-amz-json-1.1");
        request.Headers.TryAddWithoutValidation("X-Amz-Target", $"TrentService.{action["kms:".Length..]}");
        SignatureV4.Sign(request, credentials, _region, "kms", Convert.ToHexStringLower(SHA256.HashData(content)), _time.GetUtcNow());
        var answer = await _calls.Send(
            request,
            Largest,
            (kind, cause) => Failure(action, key, kind, cause, kind == AwsFailureKind.NotReachable ? Unreachable : NotKms).Failure,
            cancellation).ConfigureAwait(false);
        JsonDocument? said = null;
        try
        {
            said = JsonDocument.Parse(answer.Content);
        }
        catch (JsonException)
        {
            // The status says more than that this is no JSON.
        }

        if (answer.Status == HttpStatusCode.OK && said is { RootElement.ValueKind: JsonValueKind.Object })
        {
            return said;
        }

        using (said)
        {
            throw Failure(action, key, answer, said);
        }
    }

    private static string? Text(JsonDocument? answer, string name) =>
        answer is { RootElement.ValueKind: JsonValueKind.Object } && answer.RootElement.TryGetProperty(name, out var value)
        && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static byte[]? Bytes(JsonDocument answer, string name) =>
        answer.RootElement.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String && value.TryGetBytesFromBase64(out var bytes)
            ? bytes
            : null;

    // https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
    private AwsException Failure(string action, string key, AwsAnswer answer, JsonDocument? said)
    {
        // With or without what its namespace is: https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html, "Operation error serialization".
        var code = Text(said, "__type") is { } type ? type[(type.IndexOf('#', StringComparison.Ordinal) + 1)..] : null;
        var (kind, remedy) = code switch
        {
            "ThrottlingException" or "LimitExceededException" => (
                AwsFailureKind.Throttled, "The account's quota of cryptographic operations in this region is used up: try again later, or have it raised."),
            "NotFoundException" => (AwsFailureKind.NotThere, "There is no such key in this account and region: check its ARN."),
            "DisabledException" or "KMSInvalidStateException" => (
                AwsFailureKind.NotAllowed, "The key is disabled or about to be deleted: look at it before anything else, since the cluster hangs on it."),
            "KeyUnavailableException" or "DependencyTimeoutException" or "KMSInternalException" => (AwsFailureKind.Unavailable, Trouble),
            _ when answer.Status >= HttpStatusCode.InternalServerError => (AwsFailureKind.Unavailable, Trouble),
            "AccessDeniedException" => (AwsFailureKind.NotAllowed, $"Allow the caller {action} on this key, in its own policy or the key's."),
            "UnrecognizedClientException" or "InvalidSignatureException" or "ExpiredTokenException" or "IncompleteSignatureException" => (
                AwsFailureKind.NotAllowed, Credentials),
            null when answer.Status is HttpStatusCode.Forbidden or HttpStatusCode.Unauthorized => (
                AwsFailureKind.NotAllowed, Credentials),
            null => (AwsFailureKind.Malformed, NotKms),
            _ => (AwsFailureKind.Malformed, Expected),
        };
        var message = Text(said, "message") ?? Text(said, "Message") ?? "no message";
        return Failure(action, key, kind, string.Create(CultureInfo.InvariantCulture, $"{(int)answer.Status} {code ?? answer.Reason}: {message}"), remedy);
    }

    private AwsException Failure(string action, string key, AwsFailureKind kind, string cause, string remedy) =>
        new(new(kind, $"{action} with {key} at {_endpoint.GetLeftPart(UriPartial.Authority)}", cause, remedy));
}
