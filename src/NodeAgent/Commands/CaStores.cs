using Amazon.Runtime;
using NodeAgent.Aws;
using NodeAgent.Machine;
using NodeAgent.Pki;

namespace NodeAgent.Commands;

/// <summary>How to get to a cluster's CAs, with these credentials.</summary>
internal static class CaStores
{
    /// <param name="place">s3://BUCKET[/PREFIX], or a directory.</param>
    /// <param name="region">Of the bucket.</param>
    /// <param name="kmsKey">With which S3 encrypts what is made; null: the account's own for S3.</param>
    public static ICaStore Open(string place, string region, AWSCredentials credentials, OutboundHttp outbound, string? kmsKey = null) =>
        S3Address.TryParse(place, out var address)
            ? new S3CaStore(new S3Objects(address.Bucket, region, AwsEndpoint.S3, credentials, kmsKey, outbound), address.Prefix)
            : InDirectory(place);

    /// <param name="path">Absolute.</param>
    public static ICaStore InDirectory(string path) => new DirectoryCaStore(path, HostEnvironment.Get("CREDENTIALS_DIRECTORY") == path);

    /// <summary>One client a region.</summary>
    /// <param name="region">Where the key's ARN does not say which.</param>
    public static Func<string?, KmsKeys> Kms(Func<string> region, AWSCredentials credentials, OutboundHttp outbound)
    {
        var clients = new Dictionary<string, KmsKeys>(StringComparer.Ordinal);
        return asked =>
        {
            var where = asked ?? region();
            return clients.TryGetValue(where, out var client)
                ? client
                : clients[where] = new KmsKeys(where, AwsEndpoint.Kms, credentials, outbound, TimeProvider.System);
        };
    }
}
