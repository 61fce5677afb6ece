using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// Ten at once make the CAs of a cluster in S3, and one set comes of it; a whole control plane's certificates and kubeconfigs, signed by it, are read by
/// kubeadm and taken by a real etcd and kube-apiserver. No guest: static programs in a root of their own, on loopback.
/// </summary>
internal static class KubeadmCerts
{
    private const string Bucket = "lab-pki";

    private static readonly string Binary = Path.Combine(Caches.Repository, "artifacts", "bin", "nodeagent");

    public static async Task RunAsync(Laboratory lab)
    {
        var programs = await Caches.KubernetesAsync();
        await lab.Aws.CreateBucketAsync(Bucket);
        var controlPlane = await lab.Aws.AssumeRoleAsync("pki-control-plane", Policy("s3:GetObject", "s3:PutObject", "s3:ListBucket"));
        var worker = await lab.Aws.AssumeRoleAsync("pki-worker", Policy("ec2:DescribeTags"));

        // One set of CAs.
        var inits = await Task.WhenAll(
            Enumerable.Range(0, 10).Select(_ => AgentAsync(lab, controlPlane, ["ca", "init", .. Store(), "--kms-key", "alias/lab-pki"])));
        foreach (var init in inits)
        {
            init.EnsureSuccess();
        }

        inits.Where(i => i.Output.StartsWith("Made in ", StringComparison.Ordinal))
            .SelectMany(i => i.Output.Trim().TrimEnd('.').Split(": ")[1].Split(", "))
            .Order(StringComparer.Ordinal)
            .ShouldBe(
                ["ca.crt", "ca.key", "cluster.sums", "encryption.key", "encryption.sums", "etcd/ca.crt", "etcd/ca.key", "front-proxy-ca.crt",
                    "front-proxy-ca.key", "sa.key", "sa.pub"]);
        (await AgentAsync(lab, controlPlane, ["ca", "init", .. Store()])).EnsureSuccess().Output.ShouldStartWith("All there");
        (await AgentAsync(lab, controlPlane, ["ca", "show", .. Store()])).EnsureSuccess().Output.ShouldContain("front-proxy-ca: CN=front-proxy-ca, ecdsa-p256");
        var refused = await AgentAsync(lab, worker, ["ca", "show", .. Store()]);
        (refused.ExitCode, refused.Error.Contains("not allowed", StringComparison.Ordinal)).ShouldBe((1, true), refused.Error);
        lab.Say("ten at once made one set of CAs; a worker's role may not read it");

        // A control plane of one node, which is this loopback.
        var root = Path.Combine(lab.Folder, "root");
        var kubernetes = Path.Combine(root, "etc", "kubernetes");
        var (etcd, peer, port) = (ApiServer.FreePort(), ApiServer.FreePort(), ApiServer.FreePort());
        (await AgentAsync(
            lab,
            controlPlane,
            ["ca", "issue", .. Store(), "--node", "cp-1", "--address", "127.0.0.1", "--endpoint", $"https://127.0.0.1:{port}", "--out", kubernetes]))
                .EnsureSuccess();
        (await Child.RunAsync(Binary, ["certs", "list", "--directory", kubernetes], TimeSpan.FromMinutes(1))).EnsureSuccess()
            .Output.ShouldContain("etcd-healthcheck-client");

        await KubeadmReadsAsync(lab, root, programs);
        await ControlPlaneTakesAsync(lab, root, programs, etcd, peer, port);
    }

    private static async Task KubeadmReadsAsync(Laboratory lab, string root, string programs)
    {
        File.Copy(Path.Combine(programs, "kubeadm"), Path.Combine(root, "kubeadm"));
        await File.WriteAllTextAsync(
            Path.Combine(root, "kubeadm.yaml"), "apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\nkubernetesVersion: v1.20.2\n");
        // kubeadm 1.20 loads the CA's key merely to read a kubeconfig; later ones do not (cmd/kubeadm/app/phases/certs/renewal/readwriter.go). It gets one that
        // is none of the cluster's.
        var key = Path.Combine(root, "etc", "kubernetes", "pki", "ca.key");
        (await Child.RunAsync("openssl", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key], TimeSpan.FromMinutes(1)))
            .EnsureSuccess();
        var read = (await Child.RunAsync("chroot", [root, "/kubeadm", "certs", "check-expiration", "--config", "/kubeadm.yaml"], TimeSpan.FromMinutes(1)))
            .EnsureSuccess();
        File.Delete(key);
        await File.WriteAllTextAsync(Path.Combine(lab.Folder, "check-expiration.txt"), read.Output);
        var lines = read.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        foreach (var certificate in new[]
        {
            "admin.conf", "apiserver", "apiserver-etcd-client", "apiserver-kubelet-client", "controller-manager.conf", "etcd-healthcheck-client", "etcd-peer",
            "etcd-server",
            "front-proxy-client", "scheduler.conf",
        })
        {
            lines.ShouldContain(line => line.StartsWith(certificate + " ", StringComparison.Ordinal) && line.Contains(" 364d "), read.Output);
        }

        foreach (var authority in new[] { "ca", "etcd-ca", "front-proxy-ca" })
        {
            lines.ShouldContain(line => line.StartsWith(authority + " ", StringComparison.Ordinal) && line.Contains(" 9y "), read.Output);
        }

        read.Output.ShouldNotContain("MISSING");
        lab.Say("kubeadm reads the tree");
    }

    private static async Task ControlPlaneTakesAsync(Laboratory lab, string root, string programs, int etcd, int peer, int port)
    {
        var pki = Path.Combine(root, "etc", "kubernetes", "pki");
        await using var store = await Child.StartAsync(
            Path.Combine(lab.Folder, "etcd.log"),
            "etcd",
            [
                "--data-dir", Path.Combine(lab.Folder, "etcd"), "--unsafe-no-fsync", "--name=cp-1",
                $"--listen-client-urls=https://127.0.0.1:{etcd}", $"--advertise-client-urls=https://127.0.0.1:{etcd}",
                $"--listen-peer-urls=https://127.0.0.1:{peer}", $"--initial-advertise-peer-urls=https://127.0.0.1:{peer}",
                $"--initial-cluster=cp-1=https://127.0.0.1:{peer}",
                "--client-cert-auth", $"--trusted-ca-file={pki}/etcd/ca.crt", $"--cert-file={pki}/etcd/server.crt", $"--key-file={pki}/etcd/server.key",
                "--peer-client-cert-auth", $"--peer-trusted-ca-file={pki}/etcd/ca.crt", $"--peer-cert-file={pki}/etcd/peer.crt",
                $"--peer-key-file={pki}/etcd/peer.key",
            ]);
        await using var server = await Child.StartAsync(
            Path.Combine(lab.Folder, "kube-apiserver.log"),
            Path.Combine(programs, "kube-apiserver"),
            [
                $"--etcd-servers=https://127.0.0.1:{etcd}", $"--etcd-cafile={pki}/etcd/ca.crt",
                $"--etcd-certfile={pki}/apiserver-etcd-client.crt", $"--etcd-keyfile={pki}/apiserver-etcd-client.key",
                "--bind-address=127.0.0.1", $"--secure-port={port}", "--advertise-address=10.0.2.100", "--service-cluster-ip-range=10.96.0.0/12",
                "--anonymous-auth=false",
                $"--tls-cert-file={pki}/apiserver.crt", $"--tls-private-key-file={pki}/apiserver.key", $"--client-ca-file={pki}/ca.crt",
                "--authorization-mode=Node,RBAC",
                $"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt", $"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
                $"--proxy-client-cert-file={pki}/front-proxy-client.crt", $"--proxy-client-key-file={pki}/front-proxy-client.key",
                $"--requestheader-client-ca-file={pki}/front-proxy-ca.crt", "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-username-headers=X-Remote-User",
                "--service-account-issuer=https://kubernetes.default.svc", $"--service-account-key-file={pki}/sa.pub",
                $"--service-account-signing-key-file={pki}/sa.key",
            ]);
        File.Copy(Path.Combine(programs, "kubectl"), Path.Combine(root, "kubectl"));
        await lab.WaitForAsync("kube-apiserver is ready, on etcd with client certificates", TimeSpan.FromMinutes(3), async () =>
        {
            store.HasExited.ShouldBeFalse("etcd ended");
            server.HasExited.ShouldBeFalse("kube-apiserver ended");
            var ready = await KubectlAsync("super-admin.conf", "get", "--raw", "/readyz");
            return (ready.ExitCode == 0, ready.Output + ready.Error);
        });

        // What whoever sets up a control plane does, as kubeadm from 1.29.
        const string admins = "kubeadm:cluster-admins";
        (await KubectlAsync("super-admin.conf", "create", "clusterrolebinding", admins, "--clusterrole=cluster-admin", $"--group={admins}")).EnsureSuccess();
        foreach (var (kubeconfig, verb, resource, answer) in new[]
        {
            ("admin.conf", "delete", "nodes", "yes"), ("controller-manager.conf", "list", "pods", "yes"), ("controller-manager.conf", "delete", "nodes", "no"),
            ("scheduler.conf", "list", "persistentvolumes", "yes"), ("scheduler.conf", "delete", "nodes", "no"), ("kubelet.conf", "create", "nodes", "yes"),
            ("kubelet.conf", "delete", "namespaces", "no"), ("kube-proxy/kubeconfig", "list", "endpoints", "yes"),
            ("kube-proxy/kubeconfig", "list", "secrets", "no"),
        })
        {
            (await KubectlAsync(kubeconfig, "auth", "can-i", verb, resource, "--all-namespaces")).Output.Trim()
                .ShouldBe(answer, $"{kubeconfig}: {verb} {resource}");
        }

        // etcd lets in whom its own CA signed, and nobody else.
        (await HealthAsync("etcd/healthcheck-client")).ShouldContain("true");
        await Should.ThrowAsync<HttpRequestException>(() => HealthAsync("apiserver-kubelet-client"));
        lab.Say("etcd and kube-apiserver take the certificates, and RBAC knows each by its name");

        Task<CommandResult> KubectlAsync(string kubeconfig, params string[] arguments) =>
            Child.RunAsync(
                "chroot", [root, "/kubectl", "--kubeconfig", "/etc/kubernetes/" + kubeconfig, "--cache-dir", "/tmp", .. arguments], TimeSpan.FromMinutes(1));

        async Task<string> HealthAsync(string client)
        {
            using var authority = X509Certificate2.CreateFromPem(await File.ReadAllTextAsync($"{pki}/etcd/ca.crt"));
            using var pair = X509Certificate2.CreateFromPemFile($"{pki}/{client}.crt", $"{pki}/{client}.key");
            using var handler = new SocketsHttpHandler
            {
                SslOptions = new SslClientAuthenticationOptions
                {
                    ClientCertificates = [pair],
                    CertificateChainPolicy = new X509ChainPolicy
                    {
                        TrustMode = X509ChainTrustMode.CustomRootTrust,
                        CustomTrustStore = { authority },
                        RevocationMode = X509RevocationMode.NoCheck,
                    },
                },
            };
            using var http = new HttpClient(handler) { Timeout = TimeSpan.FromSeconds(30) };
            return await http.GetStringAsync($"https://127.0.0.1:{etcd}/health");
        }
    }

    private static string[] Store() => ["--store", $"s3://{Bucket}/clusters/lab", "--region", "us-east-1"];

    private static string Policy(params string[] actions) =>
        $$"""{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[{{string.Join(',', actions.Select(a => $"\"{a}\""))}}],"Resource":"*"}]}""";

    private static Task<CommandResult> AgentAsync(Laboratory lab, AwsCredentials who, IEnumerable<string> arguments) => Child.RunAsync(
        "env",
        [
            $"AWS_ENDPOINT_URL_S3=http://127.0.0.1:{lab.Aws.Port}", $"AWS_ACCESS_KEY_ID={who.AccessKeyId}", $"AWS_SECRET_ACCESS_KEY={who.SecretAccessKey}",
            $"AWS_SESSION_TOKEN={who.SessionToken}", Binary, .. arguments,
        ],
        TimeSpan.FromMinutes(2));
}
