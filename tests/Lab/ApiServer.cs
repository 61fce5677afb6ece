using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;

namespace NodeAgent.Lab;

/// <summary>etcd and kube-apiserver, natively on loopback: not under test, and slow under emulation. Starts with the first request.</summary>
internal sealed class ApiServer : IAsyncDisposable
{
    /// <summary>Where guests find it.</summary>
    public const string Url = "https://10.0.2.100:6443";

    private static readonly HashSet<int> Taken = [];

    private readonly string folder;
    private readonly CertificateAuthority authority;
    private readonly Lazy<Task<HttpClient>> started;
    private readonly List<Child> children = [];

    public ApiServer(string folder, CertificateAuthority authority)
    {
        this.folder = Directory.CreateDirectory(folder).FullName;
        this.authority = authority;
        started = new(StartAsync);
    }

    public int Port { get; } = FreePort();

    /// <summary>The body of any answer below 300; the rest throws with the server's message.</summary>
    public Task<JsonElement> GetAsync(string path) => SendAsync(HttpMethod.Get, path);

    public Task<JsonElement> PostAsync(string path, object body) => SendAsync(HttpMethod.Post, path, body);

    public Task<JsonElement> PatchAsync(string path, object body) => SendAsync(HttpMethod.Patch, path, body);

    /// <summary>What pods of kube-system run as. No controller makes it here, and it stays from one scenario to the next.</summary>
    public async Task ServiceAccountAsync()
    {
        const string accounts = "/api/v1/namespaces/kube-system/serviceaccounts";
        if ((await GetAsync(accounts)).GetProperty("items").GetArrayLength() == 0)
        {
            await PostAsync(accounts, new { metadata = new { name = "default" } });
        }
    }

    public Task<JsonElement> DeleteAsync(string path) => SendAsync(HttpMethod.Delete, path);

    public async Task StartedAsync() => await started.Value;

    /// <summary>Whether the node's Ready condition is "True", and what was seen: "" without such a node.</summary>
    public async Task<(bool Ready, string Seen)> NodeReadyAsync(string name)
    {
        var nodes = await GetAsync($"/api/v1/nodes?fieldSelector=metadata.name%3D{name}");
        foreach (var node in nodes.GetProperty("items").EnumerateArray())
        {
            foreach (var condition in node.GetProperty("status").GetProperty("conditions").EnumerateArray())
            {
                if (condition.GetProperty("type").GetString() == "Ready")
                {
                    return (condition.GetProperty("status").GetString() == "True", condition.GetProperty("message").GetString() ?? "");
                }
            }
        }

        return (false, "no such node");
    }

    /// <summary>Nodes and pods of an earlier scenario are gone.</summary>
    public async Task ResetAsync()
    {
        if (started.IsValueCreated)
        {
            await DeleteAsync("/api/v1/nodes");
            await DeleteAsync("/api/v1/namespaces/kube-system/pods?gracePeriodSeconds=0");
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var child in children)
        {
            await child.DisposeAsync();
        }

        if (children.Count > 0)
        {
            Directory.Delete(Path.Combine(folder, "etcd"), recursive: true);
        }
    }

    /// <summary>
    /// Below the range that outgoing connections take theirs from (ip_local_port_range, 32768 up), so that it is still free when it is used; never the same
    /// twice in a run.
    /// </summary>
    public static int FreePort()
    {
        while (true)
        {
            var port = Random.Shared.Next(20000, 32768);
            try
            {
                using var listener = new TcpListener(IPAddress.Loopback, port);
                listener.Start();
            }
            catch (SocketException)
            {
                continue;
            }

            lock (Taken)
            {
                if (Taken.Add(port))
                {
                    return port;
                }
            }
        }
    }

    private async Task<HttpClient> StartAsync()
    {
        var programs = await Caches.KubernetesAsync();
        var (etcd, peer) = (FreePort(), FreePort());
        children.Add(await Child.StartAsync(
            Path.Combine(folder, "etcd.log"),
            "etcd",
            [
                "--data-dir", Path.Combine(folder, "etcd"), "--unsafe-no-fsync",
                $"--listen-client-urls=http://127.0.0.1:{etcd}", $"--advertise-client-urls=http://127.0.0.1:{etcd}",
                $"--listen-peer-urls=http://127.0.0.1:{peer}", $"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                $"--initial-cluster=default=http://127.0.0.1:{peer}",
            ]));

        var serving = authority.Issue(
            "kube-apiserver", "kube-apiserver", null, "kubernetes", "kubernetes.default.svc", "localhost", "127.0.0.1", "10.0.2.100", "10.96.0.1");
        var administrator = authority.Issue("admin", "laboratory", "system:masters");
        var serviceAccounts = Path.Combine(folder, "service-accounts.key");
        using (var key = RSA.Create(2048))
        {
            await File.WriteAllTextAsync(serviceAccounts, key.ExportRSAPrivateKeyPem());
        }

        children.Add(await Child.StartAsync(
            Path.Combine(folder, "kube-apiserver.log"),
            Path.Combine(programs, "kube-apiserver"),
            [
                $"--etcd-servers=http://127.0.0.1:{etcd}", "--bind-address=127.0.0.1", $"--secure-port={Port}", "--advertise-address=10.0.2.100",
                $"--tls-cert-file={serving.Certificate}", $"--tls-private-key-file={serving.Key}", $"--client-ca-file={authority.CertificateFile}",
                $"--kubelet-client-certificate={administrator.Certificate}", $"--kubelet-client-key={administrator.Key}",
                "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--anonymous-auth=false", "--allow-privileged=true",
                "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://kubernetes.default.svc",
                $"--service-account-key-file={serviceAccounts}", $"--service-account-signing-key-file={serviceAccounts}",
            ]));

        var handler = new SocketsHttpHandler
        {
            SslOptions = new SslClientAuthenticationOptions
            {
                ClientCertificates = [X509Certificate2.CreateFromPemFile(administrator.Certificate, administrator.Key)],
                CertificateChainPolicy = new X509ChainPolicy
                {
                    TrustMode = X509ChainTrustMode.CustomRootTrust,
                    CustomTrustStore = { authority.Certificate },
                    RevocationMode = X509RevocationMode.NoCheck,
                },
            },
        };
        var client = new HttpClient(handler) { BaseAddress = new Uri($"https://127.0.0.1:{Port}"), Timeout = TimeSpan.FromSeconds(30) };
        using var deadline = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        while (true)
        {
            if (children.FirstOrDefault(child => child.HasExited) is not null)
            {
                throw new LabException($"etcd or kube-apiserver ended; see {folder}");
            }

            try
            {
                using var answer = await client.GetAsync("/readyz", deadline.Token);
                if (answer.IsSuccessStatusCode)
                {
                    return client;
                }
            }
            catch (HttpRequestException)
            {
                // Not listening yet.
            }
            catch (OperationCanceledException e)
            {
                throw new LabException($"kube-apiserver is not ready after 3 minutes; see {folder}", e);
            }

            await Task.Delay(250);
        }
    }

    private async Task<JsonElement> SendAsync(HttpMethod method, string path, object? body = null)
    {
        var client = await started.Value;
        using var request = new HttpRequestMessage(method, path);
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        if (body is not null)
        {
            request.Content = new StringContent(
                JsonSerializer.Serialize(body), Encoding.UTF8, method == HttpMethod.Patch ? "application/merge-patch+json" : "application/json");
        }

        using var answer = await client.SendAsync(request);
        var text = await answer.Content.ReadAsStringAsync();
        return answer.IsSuccessStatusCode
            ? JsonDocument.Parse(text).RootElement
            : throw new LabException($"{method} {path}: {(int)answer.StatusCode} {text}");
    }
}
