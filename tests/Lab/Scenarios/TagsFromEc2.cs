using System.Text.Json;
using System.Text.RegularExpressions;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// A launch template that does not allow tags in metadata: they are asked of EC2, signed with the instance's role; without the right to, the missing action is
/// named.
/// </summary>
internal static partial class TagsFromEc2
{
    private const string Role = "worker";

    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.BootAsync(new GuestOptions { Disks = [] });
        await guest.InstallAgentAsync();
        await LaunchedAsync(lab, guest, "from-ec2");

        await AsRoleAsync(lab, guest, "ec2:DescribeTags");
        using (var facts = JsonDocument.Parse(await guest.CheckAsync($"AWS_ENDPOINT_URL_EC2={Aws.Url} nodeagent facts --format json", TimeSpan.FromMinutes(2))))
        {
            facts.RootElement.GetProperty("instance").GetProperty("tags").GetProperty("nodeagent:cluster").GetString().ShouldBe("from-ec2");
        }

        await AsRoleAsync(lab, guest, "ec2:DescribeInstances");
        var denied = await guest.RunAsync($"AWS_ENDPOINT_URL_EC2={Aws.Url} nodeagent facts", TimeSpan.FromMinutes(2));
        denied.ExitCode.ShouldBe(1);
        denied.Error.ShouldContain("ec2:DescribeTags");
        denied.Error.ShouldContain("not allowed");
    }

    /// <summary>The guest becomes an instance that EC2 knows, with the cluster in its tags. Returns its ID. Metadata shows it once saved.</summary>
    public static async Task<string> LaunchedAsync(Laboratory lab, Guest guest, string cluster)
    {
        var launched = await lab.Aws.CallAsync(
            "ec2", "2016-11-15", "RunInstances", ("ImageId", "ami-12c6146b"), ("MinCount", "1"), ("MaxCount", "1"),
            ("TagSpecification.1.ResourceType", "instance"), ("TagSpecification.1.Tag.1.Key", "nodeagent:cluster"),
            ("TagSpecification.1.Tag.1.Value", cluster));
        var instance = InstanceId().Match(launched).Value;
        BecomeInstance(guest, instance);
        return instance;
    }

    public static void BecomeInstance(Guest guest, string instance)
    {
        foreach (var (path, value) in guest.Imds.Paths.ToList())
        {
            guest.Imds.Paths[path] = InstanceId().Replace(value, instance);
        }
    }

    /// <summary>A role that may do this and nothing else; and no tags in metadata.</summary>
    public static async Task AsRoleAsync(Laboratory lab, Guest guest, string action)
    {
        await RoleAsync(lab, guest, action);
        await guest.Imds.SetTagsAsync(null);
    }

    /// <summary>The instance gets a role that may do these actions and no other. Counts once metadata is saved.</summary>
    public static async Task RoleAsync(Laboratory lab, Guest guest, params string[] actions)
    {
        var policy = JsonSerializer.Serialize(new { Version = "2012-10-17", Statement = new[] { new { Effect = "Allow", Action = actions, Resource = "*" } } });
        var credentials = await lab.Aws.AssumeRoleAsync($"{lab.Scenario}-{string.Join('-', actions.Select(a => a.Split(':')[1]))}", policy);
        guest.Imds.SetRole(Role, credentials);
    }

    [GeneratedRegex("i-[0-9a-f]{17}")]
    private static partial Regex InstanceId();
}
