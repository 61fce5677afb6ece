using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// The virtual machine itself, without the agent: disks as EC2 shows them, power cuts that lose what was not flushed,
/// AWS that checks signatures, and a kubelet set up by hand that becomes Ready.
/// </summary>
internal static class Smoke
{
    private const string Node = "ip-10-0-2-15.ec2.internal";

    public static async Task RunAsync(Laboratory lab)
    {
        var apiServer = lab.ApiServer.StartedAsync();
        await using var guest = await lab.BootAsync();
        await DisksAsync(guest);
        await AwsAsync(lab, guest);
        await apiServer;
        lab.Say("API server ready");
        await NodeAsync(lab, guest);
        await PowerAsync(guest);
    }

    private static async Task DisksAsync(VirtualMachine guest)
    {
        (await guest.CheckAsync("cat /sys/class/dmi/id/sys_vendor")).ShouldBe("Amazon EC2");
        (await guest.CheckAsync("cat /sys/class/dmi/id/product_uuid")).ShouldStartWith("ec2");
        (await guest.CheckAsync("lsblk --nodeps --noheadings --output MODEL,SERIAL /dev/nvme*n1 | tr -s ' '")).ShouldBe(
            """
            Amazon EC2 NVMe Instance Storage AWS1A2B3C4D5E6F70001
            Amazon EC2 NVMe Instance Storage AWS1A2B3C4D5E6F70002
            Amazon Elastic Block Store vol0a1b2c3d4e5f60718
            """);
        foreach (var disk in GuestOptions.TwoInstanceStoreDisksAndOneOfEbs)
        {
            (await guest.RunAsync($"test -b {disk.Link}")).ExitCode.ShouldBe(0, disk.Link);
        }

        (await guest.ChecksumAsync(Ebs)).ShouldBe(VirtualMachine.PristineChecksum(Ebs));
        (await guest.CheckAsync(
            "t=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token) && "
            + "curl -sf -H \"X-aws-ec2-metadata-token: $t\" http://169.254.169.254/latest/meta-data/instance-id")).ShouldBe("i-0a5d1a26e00000001");
    }

    private static async Task AwsAsync(Laboratory lab, VirtualMachine guest)
    {
        var credentials = await lab.Aws.AssumeRoleAsync(
            "worker", """{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:GetCallerIdentity","Resource":"*"}]}""");
        string Call(string service, string action, string secret) =>
            $"curl -s -o /dev/null -w '%{{http_code}}' --aws-sigv4 aws:amz:us-east-1:{service} --user '{credentials.AccessKeyId}:{secret}' "
            + $"-H 'x-amz-security-token: {credentials.SessionToken}' -d 'Action={action}' {Aws.Url}/";
        (await guest.CheckAsync(Call("sts", "GetCallerIdentity&Version=2011-06-15", credentials.SecretAccessKey))).ShouldBe("200");
        (await guest.CheckAsync(Call("sts", "GetCallerIdentity&Version=2011-06-15", "wrong"))).ShouldBe("403", "signatures are checked");
        (await guest.CheckAsync(Call("ec2", "DescribeInstances&Version=2016-11-15", credentials.SecretAccessKey))).ShouldBe("403", "policies are checked");
    }

    private static Disk Ebs => GuestOptions.TwoInstanceStoreDisksAndOneOfEbs[2];

    private static async Task NodeAsync(Laboratory lab, VirtualMachine guest)
    {
        var (certificate, key) = lab.CertificateAuthority.Issue("kubelet", $"system:node:{Node}", "system:nodes", Node, "10.0.2.15");
        await guest.WriteAsync("/etc/kubernetes/pki/ca.crt", await File.ReadAllBytesAsync(lab.CertificateAuthority.CertificateFile));
        await guest.WriteAsync("/etc/kubernetes/pki/kubelet.crt", await File.ReadAllBytesAsync(certificate));
        await guest.WriteAsync("/etc/kubernetes/pki/kubelet.key", await File.ReadAllBytesAsync(key), "600");
        await guest.WriteAsync(
            "/etc/kubernetes/kubelet.conf",
            $$$"""
            apiVersion: v1
            kind: Config
            clusters: [{name: c, cluster: {server: "{{{ApiServer.Url}}}", certificate-authority: /etc/kubernetes/pki/ca.crt}}]
            users: [{name: u, user: {client-certificate: /etc/kubernetes/pki/kubelet.crt, client-key: /etc/kubernetes/pki/kubelet.key}}]
            contexts: [{name: d, context: {cluster: c, user: u}}]
            current-context: d
            """);
        await guest.WriteAsync(
            "/etc/kubernetes/kubelet.yaml",
            """
            apiVersion: kubelet.config.k8s.io/v1beta1
            kind: KubeletConfiguration
            cgroupDriver: systemd
            authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}}
            authorization: {mode: Webhook}
            tlsCertFile: /etc/kubernetes/pki/kubelet.crt
            tlsPrivateKeyFile: /etc/kubernetes/pki/kubelet.key
            clusterDomain: cluster.local
            """);
        await guest.WriteAsync(
            "/etc/systemd/system/kubelet.service.d/smoke.conf",
            $"""
            [Service]
            ExecStart=
            ExecStart=/usr/bin/kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.conf --hostname-override={Node} \
              --container-runtime=remote --container-runtime-endpoint=unix:///run/containerd/containerd.sock \
              --pod-infra-container-image=registry.k8s.io/pause:3.9
            """);
        await guest.WriteAsync(
            "/etc/cni/net.d/10-bridge.conflist",
            """
            {"cniVersion": "0.4.0", "name": "pods", "plugins": [
              {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
               "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
              {"type": "portmap", "capabilities": {"portMappings": true}}]}
            """);
        await guest.CheckAsync(
            "modprobe -a br_netfilter overlay && sysctl -w net.ipv4.ip_forward=1 && "
            + "systemctl daemon-reload && systemctl restart containerd && systemctl start --no-block kubelet");
        foreach (var image in new[] { "pause", "kube-proxy" })
        {
            await guest.CheckAsync($"ctr -n k8s.io images import /var/lib/nodeagent/images/{image}.tar", TimeSpan.FromMinutes(3));
        }

        await lab.WaitForAsync("the node is Ready", TimeSpan.FromMinutes(4), () => lab.ApiServer.NodeReadyAsync(Node));
    }

    private static async Task PowerAsync(VirtualMachine guest)
    {
        await guest.CheckAsync("echo flushed >/var/lib/flushed && sync -f /var/lib/flushed && echo lost >/var/lib/lost");
        await guest.CheckAsync($"mkfs.xfs -q {GuestOptions.TwoInstanceStoreDisksAndOneOfEbs[0].Link}");
        await guest.PowerCutAsync();
        (await guest.CheckAsync("cat /var/lib/flushed")).ShouldBe("flushed");
        (await guest.RunAsync("test -s /var/lib/lost")).ExitCode.ShouldNotBe(0, "what was never flushed must not survive a power cut");
        (await guest.CheckAsync($"blkid -p -o value -s TYPE {GuestOptions.TwoInstanceStoreDisksAndOneOfEbs[0].Link}")).ShouldBe("xfs");
        await guest.StopStartAsync();
        (await guest.RunAsync($"blkid -p {GuestOptions.TwoInstanceStoreDisksAndOneOfEbs[0].Link}")).Output.ShouldBe("");
        (await guest.ChecksumAsync(Ebs)).ShouldBe(VirtualMachine.PristineChecksum(Ebs));
    }
}
