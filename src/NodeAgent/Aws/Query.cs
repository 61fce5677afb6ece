using System.Globalization;
using System.Net;
using Amazon;
using Amazon.Runtime;
using Amazon.Runtime.Credentials.Internal;
using Amazon.Runtime.Endpoints;
using Amazon.Runtime.Internal;
using Amazon.Runtime.Internal.Auth;
using Endpoint = Amazon.Runtime.Endpoints.Endpoint;

namespace NodeAgent.Aws;

/// <summary>
/// What the services of AWS's query protocol have in common here: one endpoint for all actions, signatures always, bounded times and retries.
/// </summary>
internal abstract class QueryConfig : ClientConfig
{
    private readonly string _name;

    /// <param name="name">In endpoints and in the scope of signatures.</param>
    /// <param name="endpoint">Null for the service's own in that region.</param>
    protected QueryConfig(string serviceId, string name, string version, string region, Uri? endpoint)
        : base(new DefaultConfigurationProvider([new DefaultConfiguration { Name = DefaultConfigurationMode.Standard, RetryMode = RequestRetryMode.Standard }]))
    {
        (_name, ServiceVersion, ServiceId) = (name, version, serviceId);
        AuthenticationServiceName = name;
        AuthenticationRegion = region;
        RegionEndpoint = RegionEndpoint.GetBySystemName(region);
        IgnoreConfiguredEndpointUrls = true;
        DefaultConfigurationMode = DefaultConfigurationMode.Standard;
        RetryMode = RequestRetryMode.Standard;
        MaxErrorRetry = 6;
        ConnectTimeout = TimeSpan.FromSeconds(5);
        Timeout = TimeSpan.FromSeconds(15);
        Endpoint = endpoint ?? new Uri($"https://{name}.{region}.{RegionEndpoint.PartitionDnsSuffix}/");
        EndpointProvider = new StaticEndpointProvider(Endpoint.AbsoluteUri);
    }

    public Uri Endpoint { get; }

    public override string ServiceVersion { get; }

    public override string UserAgent => "nodeagent";

    public override string RegionEndpointServiceName => _name;

    public override Endpoint DetermineServiceOperationEndpoint(ServiceOperationEndpointParameters parameters) => new(Endpoint.AbsoluteUri);
}

/// <summary>Retries throttling and trouble of the service by itself, a few times, with backoff.</summary>
internal abstract class QueryClient(AWSCredentials credentials, QueryConfig config) : AmazonServiceClient(credentials, config)
{
    public Uri Endpoint => config.Endpoint;

    protected override IServiceMetadata ServiceMetadata { get; } = new Metadata(config.ServiceId);

    protected override void CustomizeRuntimePipeline(RuntimePipeline pipeline)
    {
        pipeline.RemoveHandler<EndpointResolver>();
        pipeline.AddHandlerAfter<Marshaller>(new FixedEndpoint());
        pipeline.AddHandlerAfter<Marshaller>(new AlwaysSigned());
    }

    private sealed class Metadata(string id) : IServiceMetadata
    {
        public string ServiceId => id;

        public IDictionary<string, string> OperationNameMapping { get; } = new Dictionary<string, string>();
    }

    /// <summary>Asks the configuration's endpoint provider, which answers the same to everything.</summary>
    private sealed class FixedEndpoint : BaseEndpointResolver
    {
        protected override EndpointParameters MapEndpointsParameters(IRequestContext requestContext) => new();
    }

    private sealed class AlwaysSigned : BaseAuthResolverHandler
    {
        protected override List<IAuthSchemeOption> ResolveAuthOptions(IExecutionContext executionContext) => AuthSchemeOption.DEFAULT_SIGV4;
    }
}

/// <summary>How such services fail, sorted.</summary>
internal static class QueryFailure
{
    /// <remarks>https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html,
    /// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/CommonErrors.html</remarks>
    public static AwsFailureKind KindOf(AmazonServiceException e) => e.ErrorCode switch
    {
        "UnauthorizedOperation" or "AuthFailure" or "Blocked" or "OptInRequired" or "PendingVerification" or "SignatureDoesNotMatch"
            or "InvalidClientTokenId" or "AccessDenied" or "AccessDeniedException" or "ExpiredToken" or "RequestExpired" => AwsFailureKind.NotAllowed,
        "RequestLimitExceeded" or "Throttling" or "ThrottlingException" => AwsFailureKind.Throttled,
        _ when e.StatusCode >= HttpStatusCode.InternalServerError => AwsFailureKind.Unavailable,
        _ when e.StatusCode == HttpStatusCode.Forbidden || e.StatusCode == HttpStatusCode.Unauthorized => AwsFailureKind.NotAllowed,
        // No status: nothing came back.
        _ when e.StatusCode == 0 => AwsFailureKind.NotReachable,
        _ => AwsFailureKind.Malformed,
    };

    /// <summary>Status, code and message, in one line of bounded length: the SDK puts whole pages into messages where an answer has none of its own.</summary>
    public static string Cause(AmazonServiceException e)
    {
        var line = string.Join(' ', e.Message.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        return string.Create(CultureInfo.InvariantCulture, $"{(int)e.StatusCode} {e.ErrorCode}: {(line.Length <= 400 ? line : line[..400] + "...")}");
    }
}
