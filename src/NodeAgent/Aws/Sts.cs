using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Xml;
using Amazon.Runtime;

namespace NodeAgent.Aws;

/// <summary>
/// Proof of who one is: a GetCallerIdentity that one signs, and another sends. The verifier takes host, path, body and action from nobody (CVE-2020-16250,
/// CVE-2022-2385), and of headers only values that belong to a signature.
/// </summary>
internal static class CallerProof
{
    public const string ClusterHeader = "X-NodeAgent-Cluster";
    public const string NonceHeader = "X-NodeAgent-Nonce";
    public const string BodyHashHeader = "X-NodeAgent-Body-SHA256";
    public const string DateHeader = "X-Amz-Date";
    public const string TokenHeader = "X-Amz-Security-Token";
    public const string Algorithm = "AWS4-HMAC-SHA256";

    /// <summary>All of them and no other, in SigV4's order.</summary>
    public const string SignedHeaders =
        "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-nodeagent-body-sha256;x-nodeagent-cluster;x-nodeagent-nonce";

    private const string Body = "Action=GetCallerIdentity&Version=2011-06-15";
    private const string ContentType = "application/x-www-form-urlencoded; charset=utf-8";

    /// <summary>SHA-256 of the body, in hex.</summary>
    private const string BodyHash = "ab821ae955788b0e33ebd34c208442ccfc2d406e2edc5e7a39bd6458fbb4f843";

    /// <param name="credentials">An instance's role has a session token; without one there is no proof.</param>
    /// <param name="binding">What the signature holds for, and nothing else.</param>
    /// <param name="endpoint">Of STS in the issuer's region, which is the node's.</param>
    public static SignedProof Sign(ImmutableCredentials credentials, ProofBinding binding, string region, Uri endpoint, DateTimeOffset now)
    {
        using var request = Request(binding, endpoint);
        SignatureV4.Sign(request, credentials, region, "sts", BodyHash, now);
        return new(Value(request, "Authorization"), Value(request, DateHeader), Value(request, TokenHeader));
    }

    /// <summary>The request that was signed, if the proof holds what it says.</summary>
    public static HttpRequestMessage Rebuild(ProofBinding binding, Uri endpoint, string credential, string signature, string date, string token)
    {
        var request = Request(binding, endpoint);
        request.Headers.TryAddWithoutValidation("x-amz-content-sha256", BodyHash);
        request.Headers.TryAddWithoutValidation(DateHeader, date);
        request.Headers.TryAddWithoutValidation(TokenHeader, token);
        request.Headers.TryAddWithoutValidation("Authorization", $"{Algorithm} Credential={credential},SignedHeaders={SignedHeaders},Signature={signature}");
        return request;
    }

    private static HttpRequestMessage Request(ProofBinding binding, Uri endpoint)
    {
        var content = new ByteArrayContent(Encoding.ASCII.GetBytes(Body));
        content.Headers.ContentType = MediaTypeHeaderValue.Parse(ContentType);
        var request = new HttpRequestMessage(HttpMethod.Post, new Uri(endpoint, "/")) { Content = content };
        request.Headers.TryAddWithoutValidation(ClusterHeader, binding.Cluster);
        request.Headers.TryAddWithoutValidation(NonceHeader, binding.Nonce);
        request.Headers.TryAddWithoutValidation(BodyHashHeader, binding.BodyHash);
        return request;
    }

    private static string Value(HttpRequestMessage request, string header) =>
        request.Headers.NonValidated.TryGetValues(header, out var values) ? values.ToString() : "";
}

/// <param name="BodyHash">SHA-256 of what is asked for, in hex.</param>
internal sealed record ProofBinding(string Cluster, string Nonce, string BodyHash);

/// <summary>Not a record: a record would print the session token.</summary>
internal sealed class SignedProof(string authorization, string date, string token)
{
    public string Authorization { get; } = authorization;

    public string Date { get; } = date;

    public string Token { get; } = token;
}

/// <param name="Arn">As in arn:aws:sts::123456789012:assumed-role/NAME/SESSION.</param>
/// <param name="UserId">As in AROA...:SESSION.</param>
internal sealed record Caller(string Account, string Arn, string UserId);

/// <summary>STS of one region. No redirects, no second try: whoever waits asks anew.</summary>
internal sealed class Sts : IDisposable
{
    private const string Action = "sts:GetCallerIdentity";
    private const string Namespace = "https://sts.amazonaws.com/doc/2011-06-15/";
    private const int Largest = 16 * 1024;

    private readonly AwsCalls _calls;

    public Sts(string region, Uri? endpoint, TimeProvider time, OutboundHttp outbound)
    {
        Endpoint = endpoint ?? EndpointOf(region);
        // At 50 ms a call, enough for more than a thousand callers a second.
        var handler = outbound.Handler();
        handler.MaxConnectionsPerServer = 64;
        _calls = new AwsCalls(handler, time);
    }

    public Uri Endpoint { get; }

    public static Uri EndpointOf(string region) => new($"https://sts.{region}.{Partition.DnsSuffix(region)}/");

    /// <returns>Who signed <paramref name="request"/>.</returns>
    /// <exception cref="AwsException">
    /// Not allowed: STS does not take the signature. Its message bears a code alone, since what STS says of a signature may quote the token.
    /// </exception>
    public async Task<Caller> CallerOf(HttpRequestMessage request, CancellationToken cancellation)
    {
        var answer = await _calls.Send(request, Largest, Failure, cancellation).ConfigureAwait(false);
        return answer.Status == HttpStatusCode.OK ? Parse(answer.Content) : throw Failure(answer.Status, answer.Content);
    }

    public void Dispose() => _calls.Dispose();

    private const string Unreachable = "Check the route to this endpoint (VPC endpoint, NAT, proxy) and DNS.";

    private string Subject => $"{Action} at {Endpoint}";

    /// <summary>This shape and no other: what else an answer says is not STS's.</summary>
    private Caller Parse(byte[] content)
    {
        try
        {
            using var reader = XmlReader.Create(
                new MemoryStream(content),
                new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null, IgnoreWhitespace = true, IgnoreComments = false });
            reader.MoveToContent();
            reader.ReadStartElement("GetCallerIdentityResponse", Namespace);
            reader.ReadStartElement("GetCallerIdentityResult", Namespace);
            var found = new Dictionary<string, string>(StringComparer.Ordinal);
            while (reader.NodeType == XmlNodeType.Element)
            {
                var name = reader.LocalName;
                if (name is not ("Arn" or "UserId" or "Account") || reader.NamespaceURI != Namespace
                    || !found.TryAdd(name, reader.ReadElementContentAsString()))
                {
                    throw Malformed($"the element {(name.Length <= 64 ? name : name[..64])} in a place where it does not belong");
                }
            }

            reader.ReadEndElement();
            reader.ReadStartElement("ResponseMetadata", Namespace);
            _ = reader.ReadElementContentAsString("RequestId", Namespace);
            reader.ReadEndElement();
            reader.ReadEndElement();
            return reader.NodeType == XmlNodeType.None && found.Count == 3
                ? new(found["Account"], found["Arn"], found["UserId"])
                : throw Malformed("an answer that lacks Arn, UserId or Account");
        }
        catch (XmlException e)
        {
            throw new AwsException(new(AwsFailureKind.Malformed, Subject, "not the XML of GetCallerIdentity", NotSts), e);
        }
    }

    // https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
    private AwsException Failure(HttpStatusCode status, byte[] content)
    {
        var code = Code(content);
        var cause = string.Create(CultureInfo.InvariantCulture, $"{(int)status} {code ?? status.ToString()}");
        return (status, code) switch
        {
            (HttpStatusCode.TooManyRequests, _) or (_, "Throttling" or "ThrottlingException" or "RequestLimitExceeded") => new(
                new(AwsFailureKind.Throttled, Subject, cause, "Too many calls of STS in this account and region: they spread by themselves.")),
            ( >= HttpStatusCode.InternalServerError, _) => new(
                new(AwsFailureKind.Unavailable, Subject, cause, "STS has trouble of its own, mostly for a short while.")),
            ( >= HttpStatusCode.BadRequest, not null) => new(new(AwsFailureKind.NotAllowed, Subject, cause, "STS does not take this signature.")),
            _ => Malformed(cause),
        };
    }

    private AwsException Malformed(string cause) => new(Failure(AwsFailureKind.Malformed, cause));

    private AwsFailure Failure(AwsFailureKind kind, string cause) => new(kind, Subject, cause, kind == AwsFailureKind.NotReachable ? Unreachable : NotSts);

    private const string NotSts = "Something else than STS answers at this endpoint.";

    /// <summary>The code alone, of letters and dots.</summary>
    private static string? Code(byte[] content)
    {
        var text = Encoding.UTF8.GetString(content);
        var start = text.IndexOf("<Code>", StringComparison.Ordinal) + "<Code>".Length;
        var end = start < "<Code>".Length ? -1 : text.IndexOf("</Code>", start, StringComparison.Ordinal);
        return end > start && end - start <= 64 && text[start..end].All(c => char.IsAsciiLetterOrDigit(c) || c == '.') ? text[start..end] : null;
    }
}
