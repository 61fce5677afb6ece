using System.Text.Json;
using System.Text.Json.Serialization;
using Amazon.Runtime;

namespace NodeAgent.Aws;

/// <summary>Credentials of the instance's role, by our own metadata client: that of the AWS SDK never gets to run. Renewed before they end.</summary>
internal sealed class RoleCredentials : RefreshingAWSCredentials
{
    private const string Directory = "iam/security-credentials";

    private readonly Func<Task<(ImmutableCredentials Credentials, DateTimeOffset End)>> _ask;

    /// <param name="metadata">Asked for as long as its patience lasts: for what is done in one go.</param>
    public RoleCredentials(InstanceMetadata metadata)
        : this(() => Ask(metadata))
    {
    }

    /// <param name="endpoint">Of instance metadata.</param>
    /// <param name="patience">How long in all to try again, at each renewal anew: for a service.</param>
    public RoleCredentials(Uri? endpoint, TimeSpan patience, TimeProvider? time = null)
        : this(async () =>
        {
            using var metadata = new InstanceMetadata(endpoint, patience, time);
            return await Ask(metadata).ConfigureAwait(false);
        })
    {
    }

    private RoleCredentials(Func<Task<(ImmutableCredentials Credentials, DateTimeOffset End)>> ask)
    {
        _ask = ask;
        // EC2 has new ones ready at least five minutes before the old ones end.
        PreemptExpiryTime = TimeSpan.FromMinutes(4);
    }

    protected override async Task<CredentialsRefreshState> GenerateNewCredentialsAsync()
    {
        var (credentials, end) = await _ask().ConfigureAwait(false);
        return new CredentialsRefreshState(credentials, end.UtcDateTime);
    }

    /// <summary>As metadata has them now, for at least five minutes to come: without the SDK's machinery, for what is done in one go.</summary>
    /// <exception cref="AwsException"/>
    public static async Task<(ImmutableCredentials Credentials, DateTimeOffset End)> Ask(InstanceMetadata metadata)
    {
        var roles = await metadata.List(Directory, CancellationToken.None).ConfigureAwait(false);
        if (roles.Count == 0)
        {
            throw new AwsException(new(
                AwsFailureKind.NotAllowed,
                "role of this instance",
                "it has none (instance metadata lists nothing below iam/security-credentials/)",
                "Attach an instance profile to the instance."));
        }

        var path = $"{Directory}/{Uri.EscapeDataString(roles[0])}";
        var json = await metadata.Text(path, CancellationToken.None).ConfigureAwait(false);
        SecurityCredentials? answer;
        try
        {
            answer = JsonSerializer.Deserialize(json, SecurityCredentialsJson.Default.SecurityCredentials);
        }
        catch (JsonException e)
        {
            // Only where, never what: the answer holds secrets.
            throw metadata.Malformed("meta-data/" + path, $"not credentials as JSON, at line {e.LineNumber + 1}");
        }

        if (answer is { Code: "Success", AccessKeyId: { Length: > 0 } id, SecretAccessKey: { Length: > 0 } secret, Token: { Length: > 0 } token }
            && answer.Expiration is { } end)
        {
            return (new ImmutableCredentials(id, secret, token), end);
        }

        throw new AwsException(new(
            AwsFailureKind.NotAllowed,
            $"credentials of the role {roles[0]}",
            $"instance metadata says {answer?.Code ?? "nothing"} instead of Success",
            "Check that the role still exists and that ec2.amazonaws.com may assume it."));
    }

    /// <summary>Not a record: a record would print its secrets.</summary>
    internal sealed class SecurityCredentials
    {
        public string? Code { get; init; }

        public string? AccessKeyId { get; init; }

        public string? SecretAccessKey { get; init; }

        public string? Token { get; init; }

        public DateTimeOffset? Expiration { get; init; }
    }
}

[JsonSerializable(typeof(RoleCredentials.SecurityCredentials))]
internal sealed partial class SecurityCredentialsJson : JsonSerializerContext;
