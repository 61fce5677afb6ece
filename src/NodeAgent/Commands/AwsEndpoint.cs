using NodeAgent.Configuration;
using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <summary>
/// Where AWS's services are to be asked instead of where AWS has them, by the variables that its own SDKs know
/// (https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html); null where nobody set one.
/// </summary>
internal static class AwsEndpoint
{
    public static Uri? Metadata => Of("AWS_EC2_METADATA_SERVICE_ENDPOINT");

    public static Uri? AutoScaling => Of("AWS_ENDPOINT_URL_AUTO_SCALING");

    public static Uri? Ec2 => Of("AWS_ENDPOINT_URL_EC2");

    public static Uri? Kms => Of("AWS_ENDPOINT_URL_KMS");

    public static Uri? S3 => Of("AWS_ENDPOINT_URL_S3");

    public static Uri? Sts => Of("AWS_ENDPOINT_URL_STS");

    private static Uri? Of(string variable) => HostEnvironment.Get(variable) is { } text ? Parse(variable, text) : null;

    /// <exception cref="ConfigurationException">It is no URL.</exception>
    internal static Uri Parse(string variable, string text) => Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
        ? uri
        : throw new ConfigurationException([new ConfigError(null, variable, $"'{text}' is no URL; expected http or https, as in https://vpce-0a1b.example")]);
}
