using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace NodeAgent.Lab;

/// <summary>What goes wrong with metadata; tests/Imds/README.md says what each field does.</summary>
internal sealed record MetadataFault(
    string Kind, string? Path = null, int? Status = null, int? Milliseconds = null, int? Requests = null, double? Seconds = null);

/// <summary>The instance metadata of a guest: the state of the fake that runs in it. Changes count once saved.</summary>
internal sealed class Imds(Guest guest)
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Converters = { new JsonStringEnumConverter() },
    };

    /// <summary>Of the interface of a guest that is alone.</summary>
    public const string Mac = "02:5d:00:00:02:0f";

    private int starts = 1;

    /// <summary>Path below /latest/meta-data/ (or starting with dynamic/) to its text.</summary>
    public Dictionary<string, string> Paths { get; } = Instance();

    /// <summary>Instance tags, as metadata shows them; null where the launch template does not allow that.</summary>
    public Dictionary<string, string>? Tags { get; set; } = new() { ["Name"] = "worker" };

    public byte[]? UserData { get; set; }

    public List<MetadataFault> Faults { get; } = [];

    public Task SetTagsAsync(Dictionary<string, string>? tags)
    {
        Tags = tags;
        return SaveAsync();
    }

    public Task SetUserDataAsync(byte[]? userData)
    {
        UserData = userData;
        return SaveAsync();
    }

    /// <summary>
    /// The role that the instance has, with credentials for six hours, which nobody renews: under emulation a scenario may take 90 minutes and more. Counts
    /// once saved.
    /// </summary>
    public void SetRole(string role, AwsCredentials credentials) => Paths[$"iam/security-credentials/{role}"] = JsonSerializer.Serialize(new
    {
        Code = "Success",
        Type = "AWS-HMAC",
        credentials.AccessKeyId,
        credentials.SecretAccessKey,
        Token = credentials.SessionToken,
        LastUpdated = "2026-01-01T00:00:00Z",
        Expiration = DateTime.UtcNow.AddHours(6).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
    });

    /// <summary>Replaces all faults; none heals. Clocks and counts start now, and again when the guest boots.</summary>
    public Task SetFaultsAsync(params MetadataFault[] faults)
    {
        Faults.Clear();
        Faults.AddRange(faults);
        return SaveAsync();
    }

    public Task SaveAsync()
    {
        var paths = new Dictionary<string, string>(Paths);
        foreach (var (name, value) in Tags ?? [])
        {
            paths[$"tags/instance/{name}"] = value;
        }

        var state = new { paths, userData = UserData, boot = $"{starts}", faults = Faults };
        return guest.SaveMetadataAsync(JsonSerializer.Serialize(state, Json));
    }

    /// <summary>Stopped and started: tokens of before are void.</summary>
    public void Restarted() => starts++;

    private static Dictionary<string, string> Instance()
    {
        const string Name = "ip-10-0-2-15.ec2.internal";
        const string Interface = $"network/interfaces/macs/{Mac}";
        return new()
        {
            ["ami-id"] = "ami-0a1b2c3d4e5f60718",
            ["autoscaling/target-lifecycle-state"] = "InService",
            ["block-device-mapping/ami"] = "/dev/xvda",
            ["block-device-mapping/root"] = "/dev/xvda",
            ["hostname"] = Name,
            ["instance-id"] = "i-0a5d1a26e00000001",
            ["instance-life-cycle"] = "on-demand",
            ["instance-type"] = "m5d.large",
            ["local-hostname"] = Name,
            ["local-ipv4"] = "10.0.2.15",
            ["mac"] = Mac,
            [$"{Interface}/device-number"] = "0",
            [$"{Interface}/interface-id"] = "eni-0a1b2c3d4e5f60718",
            [$"{Interface}/local-hostname"] = Name,
            [$"{Interface}/local-ipv4s"] = "10.0.2.15",
            [$"{Interface}/mac"] = Mac,
            [$"{Interface}/owner-id"] = "123456789012",
            [$"{Interface}/subnet-id"] = "subnet-0a1b2c3d4e5f60718",
            [$"{Interface}/subnet-ipv4-cidr-block"] = "10.0.2.0/24",
            [$"{Interface}/vpc-id"] = "vpc-0d4e5f60718293a4b",
            [$"{Interface}/vpc-ipv4-cidr-block"] = "10.0.0.0/16",
            ["placement/availability-zone"] = "us-east-1a",
            ["placement/availability-zone-id"] = "use1-az1",
            ["placement/region"] = "us-east-1",
            ["services/domain"] = "amazonaws.com",
            ["services/partition"] = "aws",
            ["dynamic/instance-identity/document"] =
                """
                {
                  "accountId" : "123456789012",
                  "architecture" : "x86_64",
                  "availabilityZone" : "us-east-1a",
                  "imageId" : "ami-0a1b2c3d4e5f60718",
                  "instanceId" : "i-0a5d1a26e00000001",
                  "instanceType" : "m5d.large",
                  "pendingTime" : "2026-01-01T00:00:00Z",
                  "privateIp" : "10.0.2.15",
                  "region" : "us-east-1",
                  "version" : "2017-09-30"
                }
                """,
        };
    }
}
