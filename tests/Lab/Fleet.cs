using System.Text.Json;
using System.Text.RegularExpressions;

namespace NodeAgent.Lab;

/// <summary>
/// A VPC whose instances EC2, STS, metadata and the signature on identity documents agree about: what an issuer of certificates holds against each other. The
/// cluster's CA lies in its bucket, where only those with the right to may read it.
/// </summary>
internal sealed partial class Fleet
{
    public const string Cluster = "laboratory";

    private readonly Laboratory lab;
    private readonly string folder;
    private string vpc = "";
    private string subnet = "";
    private string range = "";

    private Fleet(Laboratory lab)
    {
        this.lab = lab;
        folder = Directory.CreateDirectory(Path.Combine(lab.Folder, "identity")).FullName;
    }

    /// <summary>Who signs identity documents: what AWS publishes for a region.</summary>
    public string IdentityCertificateFile => Path.Combine(folder, "identity.pem");

    public string Bucket => $"{lab.Scenario}-pki";

    public string Store => $"s3://{Bucket}/{Cluster}";

    /// <summary>The VPC's main one.</summary>
    public string RouteTable { get; private set; } = "";

    /// <param name="range">Of the subnet.</param>
    public static async Task<Fleet> CreateAsync(Laboratory lab, string range = "10.0.2.0/24")
    {
        var fleet = new Fleet(lab) { range = range };
        await OpenSslAsync(
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "3650",
            "-subj",
            "/CN=ec2.amazonaws.com",
            "-keyout",
            fleet.KeyFile,
            "-out",
            fleet.IdentityCertificateFile);
        fleet.vpc = Aws.Field(await lab.Aws.CallAsync("ec2", "2016-11-15", "CreateVpc", ("CidrBlock", "10.0.0.0/16")), "vpcId");
        fleet.subnet = Aws.Field(
            await lab.Aws.CallAsync("ec2", "2016-11-15", "CreateSubnet", ("VpcId", fleet.vpc), ("CidrBlock", range), ("AvailabilityZone", "us-east-1a")),
            "subnetId");
        fleet.RouteTable = Aws.Field(
            await lab.Aws.CallAsync("ec2", "2016-11-15", "DescribeRouteTables", ("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", fleet.vpc)), "routeTableId");
        await lab.Aws.CallAsync(
            "ec2", "2016-11-15", "CreateTags", ("ResourceId.1", fleet.RouteTable), ("Tag.1.Key", "nodeagent:cluster"), ("Tag.1.Value", Cluster));
        await lab.Aws.CreateBucketAsync(fleet.Bucket);
        foreach (var file in new[] { lab.CertificateAuthority.CertificateFile, lab.CertificateAuthority.KeyFile })
        {
            await lab.Aws.PutObjectAsync(fleet.Bucket, $"{Cluster}/{Path.GetFileName(file)}", await File.ReadAllTextAsync(file));
        }

        return fleet;
    }

    /// <summary>What an administrator does once for a cluster: `nodeagent ca init`. Returns the CA that nodes trust, as PEM.</summary>
    public async Task<string> InitializeAuthoritiesAsync()
    {
        await CaAsync("init");
        return (await CaAsync("show", "--format", "pem")).Output;
    }

    /// <summary>`nodeagent ca ARGUMENTS` on the cluster's store, as an administrator.</summary>
    public async Task<CommandResult> CaAsync(params string[] arguments)
    {
        var credentials = await lab.Aws.AssumeRoleAsync(
            $"{lab.Scenario}-administrator", """{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}""");
        return (await Child.RunAsync(
            "env",
            [
                $"AWS_ACCESS_KEY_ID={credentials.AccessKeyId}", $"AWS_SECRET_ACCESS_KEY={credentials.SecretAccessKey}",
                $"AWS_SESSION_TOKEN={credentials.SessionToken}",
                $"AWS_ENDPOINT_URL_S3=http://127.0.0.1:{lab.Aws.Port}", Path.Combine(Caches.Repository, "artifacts", "bin", "nodeagent"),
                "ca", .. arguments, "--store", Store, "--region", "us-east-1",
            ],
            TimeSpan.FromMinutes(1))).EnsureSuccess();
    }

    /// <summary>The IAM role and instance profile of the instances of a role.</summary>
    public string RoleOf(string nodeRole) => $"{lab.Scenario}-{nodeRole}";

    /// <summary>
    /// The guest becomes an instance of this VPC, with the tags of its role and an IAM role of its own that may do these actions. Returns its ID.
    /// </summary>
    public async Task<string> LaunchAsync(Guest guest, string nodeRole, string address, params string[] actions)
    {
        var role = RoleOf(nodeRole);
        await lab.Aws.CreateRoleAsync(
            role,
            JsonSerializer.Serialize(new { Version = "2012-10-17", Statement = new[] { new { Effect = "Allow", Action = actions, Resource = "*" } } }));
        var launched = await lab.Aws.CallAsync(
            "ec2",
            "2016-11-15",
            "RunInstances",
            ("ImageId", "ami-12c6146b"),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("SubnetId", subnet),
            ("PrivateIpAddress", address),
            ("IamInstanceProfile.Name", role), ("TagSpecification.1.ResourceType", "instance"), ("TagSpecification.1.Tag.1.Key", "nodeagent:cluster"),
            ("TagSpecification.1.Tag.1.Value", Cluster), ("TagSpecification.1.Tag.2.Key", "nodeagent:role"), ("TagSpecification.1.Tag.2.Value", nodeRole));
        var instance = InstanceId().Match(launched).Value;
        foreach (var (path, value) in guest.Imds.Paths.ToList())
        {
            guest.Imds.Paths[path] = InstanceId().Replace(value, instance)
                .Replace("vpc-0d4e5f60718293a4b", vpc, StringComparison.Ordinal).Replace("subnet-0a1b2c3d4e5f60718", subnet, StringComparison.Ordinal)
                .Replace("10.0.2.0/24", range, StringComparison.Ordinal).Replace("10.0.2.15", address, StringComparison.Ordinal)
                .Replace("ip-10-0-2-15", $"ip-{address.Replace('.', '-')}", StringComparison.Ordinal);
        }

        guest.Imds.Tags = new() { ["Name"] = nodeRole, ["nodeagent:cluster"] = Cluster, ["nodeagent:role"] = nodeRole };
        guest.Imds.Paths["dynamic/instance-identity/rsa2048"] = await SignAsync(guest.Imds.Paths["dynamic/instance-identity/document"]);
        await RenewCredentialsAsync(guest, nodeRole, instance);
        return instance;
    }

    private async Task RenewCredentialsAsync(Guest guest, string nodeRole, string instance)
    {
        var credentials = await lab.Aws.AssumeAsync(RoleOf(nodeRole), instance);
        guest.Imds.SetRole(RoleOf(nodeRole), credentials);
        await guest.Imds.SaveAsync();
    }

    private string KeyFile => Path.Combine(folder, "identity.key");

    /// <summary>As EC2 signs: PKCS#7 with what it signs in it, as base64 without armour.</summary>
    private async Task<string> SignAsync(string document)
    {
        var (content, signed) = (Path.Combine(folder, "document"), Path.Combine(folder, "document.p7"));
        await File.WriteAllTextAsync(content, document);
        await OpenSslAsync(
            "smime",
            "-sign",
            "-nodetach",
            "-binary",
            "-md",
            "sha256",
            "-outform",
            "DER",
            "-signer",
            IdentityCertificateFile,
            "-inkey",
            KeyFile,
            "-in",
            content,
            "-out",
            signed);
        return Convert.ToBase64String(await File.ReadAllBytesAsync(signed), Base64FormattingOptions.InsertLineBreaks).ReplaceLineEndings("\n");
    }

    private static async Task OpenSslAsync(params string[] arguments) => (await Child.RunAsync("openssl", arguments, TimeSpan.FromMinutes(1))).EnsureSuccess();

    [GeneratedRegex("i-[0-9a-f]{17}")]
    private static partial Regex InstanceId();
}
