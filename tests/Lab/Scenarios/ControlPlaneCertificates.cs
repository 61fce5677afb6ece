using System.Text;
using System.Text.RegularExpressions;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// A control plane node signs for itself by the CAs that S3 keeps: without S3 its first boot waits and names it; then it has all of the table, comes back
/// without S3, mends what is lost once S3 is there, and refuses another cluster's store. Manifests of others stay.
/// </summary>
internal static class ControlPlaneCertificates
{
    private const string Bucket = "lab-control-plane";

    private const string Manifest = "/etc/kubernetes/manifests/kube-scheduler.yaml";

    // By what ends first: the retries of the SDK, which are by chance, or the patience of a boot.
    private static readonly Regex Away = new($"s3://{Bucket}/amber(/ca.crt at .*not reachable| did not answer within 10 s)");

    private const string WithS3 = $"AWS_ENDPOINT_URL_S3={Aws.Url} nodeagent";

    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.StartContainerAsync();
        await guest.InstallAgentAsync();
        await lab.Aws.CreateBucketAsync(Bucket);
        await TagsFromEc2.RoleAsync(lab, guest, "s3:GetObject", "s3:ListBucket", "s3:PutObject");
        await guest.Imds.SaveAsync();
        string authority;
        await using (await guest.ConnectAwsAsync())
        {
            await guest.CheckAsync($"{WithS3} ca init {Store("amber")} && {WithS3} ca init {Store("other")}");
            authority = await guest.CheckAsync($"{WithS3} ca show {Store("amber")} --format pem");
        }

        await TagsFromEc2.RoleAsync(lab, guest, "s3:GetObject", "s3:ListBucket");
        await LaunchAsync(guest, authority);
        await guest.WriteAsync("/etc/systemd/system/nodeagent.service.d/short.conf", $"""
            [Service]
            Environment=AWS_ENDPOINT_URL_S3={Aws.Url}
            ExecStart=
            ExecStart=/usr/bin/nodeagent apply --at-boot --deadline 20s
            RestartSec=2s
            RestartMaxDelaySec=4s
            """);
        await guest.WriteAsync(Manifest, "apiVersion: v1\nkind: Pod\n");
        await guest.CheckAsync("systemctl enable kubelet.service");
        await guest.RebootAsync();
        await guest.WaitForAsync("journalctl --boot --unit nodeagent.service | grep --quiet status=4", TimeSpan.FromMinutes(2));
        (await guest.CheckAsync("journalctl --boot --output cat --unit nodeagent.service")).Split('\n')
            .ShouldContain(line => line.Contains("file /etc/kubernetes/pki/etcd/ca.crt: not there, and ", StringComparison.Ordinal) && Away.IsMatch(line));
        (await guest.CheckAsync("find /etc/kubernetes/pki -type f")).Trim().ShouldBe("/etc/kubernetes/pki/ca.crt");
        await using (await guest.ConnectAwsAsync())
        {
            await Worker.PreparedAsync(guest);
        }

        (await guest.CheckAsync("nodeagent certs list")).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Length.ShouldBe(1 + 3 + 13, "all of the table but kube-proxy");
        await guest.CheckAsync(
            "cd /etc/kubernetes/pki && openssl verify -CAfile etcd/ca.crt etcd/server.crt etcd/peer.crt apiserver-etcd-client.crt && openssl verify -CAfile "
                + "ca.crt apiserver.crt");
        (await guest.CheckAsync(
            "cd /etc/kubernetes && grep --recursive --files-with-matches --extended-regexp 'PRIVATE KEY|client-key-data' . | xargs stat --format %a | sort -u"))
                .Trim().ShouldBe("600");
        (await guest.CheckAsync("find /etc/kubernetes -name '*ca.key'")).ShouldBe("");
        (await guest.CheckAsync($"cat {Manifest}")).Trim().ShouldBe("apiVersion: v1\nkind: Pod");
        lab.Say("it has all of the table, signed by S3's CAs");

        await guest.RebootAsync();
        await Worker.PreparedAsync(guest);
        await Worker.NothingToDoAsync(guest);
        await guest.CheckAsync("rm /etc/kubernetes/pki/etcd/ca.crt /etc/kubernetes/admin.conf");
        var away = await guest.RunAsync($"{WithS3} apply --deadline 20s");
        (away.ExitCode, Away.IsMatch(away.Output + away.Error)).ShouldBe((4, true), away.Output + away.Error);
        (await guest.RunAsync("test -e /etc/kubernetes/admin.conf")).ExitCode.ShouldBe(1);
        await using var aws = await guest.ConnectAwsAsync();
        await guest.CheckAsync($"{WithS3} apply", TimeSpan.FromMinutes(2));
        await Worker.NothingToDoAsync(guest);
        lab.Say("it comes back without S3, and what is lost waits for S3");

        (await guest.CheckAsync($"{WithS3} certs renew scheduler")).ShouldContain("kube-scheduler reads /etc/kubernetes/scheduler.conf only as it starts");
        await guest.WriteAsync("/etc/nodeagent/config.d/90-other.yaml", $$"""
            apiVersion: nodeagent/v1
            kind: NodeConfig
            certificates: {store: s3://{{Bucket}}/other}
            """);
        await guest.CheckAsync("rm /etc/kubernetes/admin.conf");
        var refused = await guest.RunAsync($"{WithS3} apply");
        (refused.ExitCode, (refused.Output + refused.Error).Contains("is not among cluster.certificateAuthority", StringComparison.Ordinal))
            .ShouldBe((5, true), refused.Output + refused.Error);
        (await guest.RunAsync("test -e /etc/kubernetes/admin.conf")).ExitCode.ShouldBe(1);
    }

    private static async Task LaunchAsync(Guest guest, string authority)
    {
        await guest.WriteAsync("/etc/nodeagent/config.d/10-image.yaml", $$"""
            apiVersion: nodeagent/v1
            kind: NodeConfig
            network:
              pluginBinaries: /usr/lib/cni
            certificates:
              source: store
              store: s3://{{Bucket}}/amber
              apiNames: [api.amber.example]
            # Who brings the pods is of no matter here.
            controlPlane:
              staticPods: false
            """);
        await BecomesAsync(guest, authority);
    }

    /// <summary>A control plane node of the laboratory's cluster, by tags and user data, in a container.</summary>
    public static async Task BecomesAsync(Guest guest, string authority)
    {
        guest.Imds.Tags = new() { ["Name"] = "control plane", ["nodeagent:cluster"] = "laboratory", ["nodeagent:role"] = "control-plane" };
        await guest.Imds.SetUserDataAsync(Encoding.UTF8.GetBytes($"""
            apiVersion: nodeagent/v1
            kind: NodeConfig
            cluster:
              endpoint: {ApiServer.Url}
              certificateAuthority: |
                {authority.Trim().ReplaceLineEndings("\n    ")}
            network:
              podRange: 10.244.3.0/24

            """ + Worker.ContainerOverrides));
    }

    private static string Store(string prefix) => $"--store s3://{Bucket}/{prefix} --region us-east-1";
}
