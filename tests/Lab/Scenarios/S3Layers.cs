using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// Six layers in S3, read with the instance's role: they merge in their order. A pinned one that was altered is refused; a right that is missing is named.
/// </summary>
internal static class S3Layers
{
    public const string Bucket = "example-nodes";

    public static readonly (string Kind, string Key)[] Layers =
    [
        ("common", "common.yaml"), ("customer", "acme/customer.yaml"), ("environment", "acme/prod/environment.yaml"),
        ("region", "acme/prod/us-east-1/region.yaml"),
        ("cluster", "acme/prod/us-east-1/laboratory/cluster.yaml"), ("role", "acme/prod/us-east-1/laboratory/worker.yaml"),
    ];

    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.StartContainerAsync();
        await Worker.InstallAsync(lab, guest);
        await FillBucketAsync(lab, guest);
        await TagsFromEc2.RoleAsync(lab, guest, "s3:GetObject", "s3:ListBucket");
        var pin = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Content("cluster"))));
        await Worker.LaunchAsync(lab, guest, Section($"  pins: {{cluster: {pin}}}\n") + Worker.ContainerOverrides);
        await guest.RebootAsync();
        await using var aws = await guest.ConnectAwsAsync();
        await Worker.PreparedAsync(guest);

        // A container's firmware is not EC2's, so that it must be told.
        using (var shown = JsonDocument.Parse(
            await guest.CheckAsync("AWS_EC2_METADATA_SERVICE_ENDPOINT=http://169.254.169.254 nodeagent config show --format json")))
        {
            var labels = shown.RootElement.GetProperty("config").GetProperty("node").GetProperty("labels");
            labels.GetProperty("example.com/last").GetString().ShouldBe("role");
            foreach (var (kind, key) in Layers)
            {
                labels.GetProperty($"example.com/{kind}").GetString().ShouldBe("said");
                shown.RootElement.GetProperty("origins").GetProperty($"node.labels[example.com/{kind}]").GetString().ShouldNotBeNull()
                    .ShouldStartWith($"s3://{Bucket}/v1/{key}:");
            }
        }

        (await guest.CheckAsync("cat /etc/systemd/system/kubelet.service.d/*")).ShouldContain("example.com/cluster=said");
        (await guest.CheckAsync("stat --format '%a %U' /var/lib/nodeagent/inputs.json")).ShouldBe("600 root");
        await Worker.NothingToDoAsync(guest);

        await lab.Aws.PutObjectAsync(
            Bucket, "v1/acme/prod/us-east-1/laboratory/cluster.yaml", Content("cluster").Replace("said", "altered", StringComparison.Ordinal));
        var before = await guest.CheckAsync("find /etc -newer /run/nodeagent/status.json -type f | sort");
        var refused = await guest.RunAsync("nodeagent apply");
        refused.ExitCode.ShouldBe(5);
        refused.Error.ShouldContain($"s3://{Bucket}/v1/acme/prod/us-east-1/laboratory/cluster.yaml is pinned to SHA-256 {pin} (layers.pins.cluster)");
        (await guest.CheckAsync("find /etc -newer /run/nodeagent/status.json -type f | sort")).ShouldBe(before);
        (await guest.RunAsync("nodeagent plan")).ExitCode.ShouldBe(5);
        await lab.Aws.PutObjectAsync(Bucket, "v1/acme/prod/us-east-1/laboratory/cluster.yaml", Content("cluster"));
        await Worker.NothingToDoAsync(guest);

        await TagsFromEc2.RoleAsync(lab, guest, "ec2:DescribeTags");
        await guest.Imds.SaveAsync();
        var denied = await guest.RunAsync("nodeagent plan");
        denied.ExitCode.ShouldBe(1);
        denied.Error.ShouldContain("not allowed");
        denied.Error.ShouldContain("Allow the instance's role s3:GetObject on");
        denied.Error.ShouldContain("s3:ListBucket");
    }

    /// <summary>The bucket, and in the image whose layers of it are the guest's; where it is remains for user data to say.</summary>
    public static async Task FillBucketAsync(Laboratory lab, Guest guest)
    {
        await guest.WriteAsync("/etc/nodeagent/config.d/20-whose.yaml", """
            apiVersion: nodeagent/v1
            kind: NodeConfig
            cluster:
              customer: acme
              environment: prod
            """);
        await lab.Aws.CreateBucketAsync(Bucket);
        foreach (var (kind, key) in Layers)
        {
            await lab.Aws.PutObjectAsync(Bucket, $"v1/{key}", Content(kind));
        }
    }

    /// <summary>What user data says of them.</summary>
    public static string Section(string more = "") => $"layers:\n  bucket: {Bucket}\n  prefix: v1\n  endpoint: {Aws.Url}\n{more}";

    private static string Content(string kind) => $$"""
        apiVersion: nodeagent/v1
        kind: NodeConfig
        node:
          labels: {example.com/{{kind}}: said, example.com/last: {{kind}}}

        """;
}
