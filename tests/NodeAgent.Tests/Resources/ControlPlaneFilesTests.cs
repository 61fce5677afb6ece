using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Commands;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Resources;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Machine;
using NodeAgent.Tests.Pki;

namespace NodeAgent.Tests.Resources;

/// <summary>A whole control plane's certificates, as openssl and TLS see them.</summary>
public sealed class ControlPlaneFilesTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(nameof(KeyAlgorithm.EcdsaP256))]
    [InlineData(nameof(KeyAlgorithm.Rsa2048))]
    public async Task Openssl_verifies_every_certificate_for_its_purposes_and_no_other(string algorithm)
    {
        var files = await Make(Enum.Parse<KeyAlgorithm>(algorithm));
        foreach (var row in RoleTable.All)
        {
            var (certificate, key) = Pair(files, row);
            var authority = Text(files, RoleTable.Of(row.Authority).CertificatePath);
            foreach (var (usage, purpose) in new[] { (CertificateUsage.Server, "sslserver"), (CertificateUsage.Client, "sslclient") })
            {
                var names = usage == CertificateUsage.Server && row.Usage.HasFlag(usage) ? " -verify_ip 10.0.0.4 -verify_hostname cp-1" : "";
                OpenSsl.Run($"verify -x509_strict -purpose {purpose}{names} -CAfile ca.crt a.crt", ("ca.crt", authority), ("a.crt", certificate)).ExitCode
                    .ShouldBe(row.Usage.HasFlag(usage) ? 0 : 2, $"{row.Role} as {purpose}");
            }

            OpenSsl.Run("pkey -in a.key -pubout", ("a.key", key))
                .Output.ShouldBe(OpenSsl.Run("x509 -in a.crt -noout -pubkey", ("a.crt", certificate)).Output, row.Role);
            OpenSsl.Run("x509 -in a.crt -noout -subject -nameopt oneline", ("a.crt", certificate)).Output
                .ShouldBe($"subject={row.For(new("cp-1", [], []), Cluster).Subject}\n");
        }
    }

    /// <summary>Who speaks to whom in a cluster. The server asks for a certificate of that CA.</summary>
    [Theory]
    [InlineData("apiserver", "admin", "kubernetes.default.svc")]
    [InlineData("apiserver", "super-admin", "api.example.com")]
    [InlineData("apiserver", "controller-manager", "10.0.0.4")]
    [InlineData("apiserver", "scheduler", "127.0.0.1")]
    [InlineData("apiserver", "kubelet-client", "10.96.0.1")]
    [InlineData("apiserver", "kube-proxy", "cp-1")]
    [InlineData("kubelet-serving", "apiserver-kubelet-client", "10.0.0.4")]
    [InlineData("etcd-server", "apiserver-etcd-client", "127.0.0.1")]
    [InlineData("etcd-server", "etcd-healthcheck-client", "localhost")]
    [InlineData("etcd-server", "etcd-server", "127.0.0.1")]
    [InlineData("etcd-peer", "etcd-peer", "10.0.0.4")]
    public async Task Who_speaks_to_whom_shakes_hands(string server, string client, string name)
    {
        var files = await Make(KeyAlgorithm.EcdsaP256);
        (await ShakeHands(files, server, client, name)).ShouldBe(RoleTable.Find(client, Asker.ControlPlaneNode)!.For(new("cp-1", [], []), Cluster).Subject);
    }

    [Theory]
    [InlineData("etcd-server", "admin", "127.0.0.1")]
    [InlineData("etcd-server", "kubelet-client", "127.0.0.1")]
    [InlineData("apiserver", "front-proxy-client", "127.0.0.1")]
    [InlineData("apiserver", "apiserver-etcd-client", "127.0.0.1")]
    [InlineData("apiserver", "admin", "kubernetes.example.com")]
    [InlineData("apiserver", "kubelet-serving", "127.0.0.1")]
    public async Task Who_has_no_business_with_whom_is_refused(string server, string client, string name)
    {
        var files = await Make(KeyAlgorithm.EcdsaP256);
        await Should.ThrowAsync<AuthenticationException>(() => ShakeHands(files, server, client, name));
    }

    [Fact]
    public async Task What_holds_a_private_key_is_its_owners_alone_and_no_CA_key_is_among_them()
    {
        using var store = await Store();
        var authorityKeys = RoleTable.Authorities.Select(a => File.ReadAllText($"{_directory.Path}/ca/{ClusterAuthorities.Below(a.KeyPath)}").Split('\n')[1])
            .ToList();
        var files = await Make(KeyAlgorithm.EcdsaP256);
        var secret = files.Where(f => Encoding.ASCII.GetString(f.Content) is var t && (t.Contains("PRIVATE KEY") || t.Contains("client-key-data"))).ToList();

        secret.Count.ShouldBe(RoleTable.All.Count() + 1);
        secret.ShouldAllBe(f => f.Mode == Files.OwnerOnly);
        files.Except(secret).ShouldAllBe(f => f.Mode == Files.WorldReadable);
        files.Select(f => f.Path).Intersect(RoleTable.Authorities.Select(a => a.KeyPath)).ShouldBeEmpty();
        files.ShouldAllBe(f => authorityKeys.All(k => !Encoding.ASCII.GetString(f.Content).Contains(k)));
    }

    [Fact]
    public async Task The_list_reads_the_tree_and_says_what_is_wrong_with_it()
    {
        var files = await Make(KeyAlgorithm.EcdsaP256, DateTimeOffset.UtcNow.AddDays(-3));
        var directory = $"{_directory.Path}/kubernetes";
        foreach (var file in files)
        {
            Files.Write(directory + file.Path["/etc/kubernetes".Length..], file.Content, file.Mode);
        }

        List().Select(c => c.Role).ShouldBe(RoleTable.Authorities.Select(a => a.Role).Concat(RoleTable.All.Select(r => r.Role)));
        List().ShouldAllBe(c => c.State == "ok");

        Files.Write($"{directory}/pki/apiserver.key", File.ReadAllBytes($"{directory}/pki/apiserver.key"), Files.WorldReadable);
        File.Copy($"{directory}/pki/etcd/peer.key", $"{directory}/pki/etcd/server.key", overwrite: true);
        File.Copy($"{directory}/pki/etcd/peer.crt", $"{directory}/pki/front-proxy-client.crt", overwrite: true);
        File.Copy($"{directory}/pki/etcd/peer.key", $"{directory}/pki/front-proxy-client.key", overwrite: true);
        File.WriteAllText($"{directory}/scheduler.conf", "apiVersion: v1\n");
        File.Delete($"{directory}/admin.conf");
        List().Where(c => !c.IsOk).Select(c => $"{c.Role}: {c.State}").ShouldBe(
        [
            "apiserver: others may read the key: mode 0644",
            "front-proxy-client: not issued by the CA that is here",
            "etcd-server: the key is not its",
            "scheduler: holds no certificate that can be read",
        ]);
        List().ShouldNotContain(c => c.Role == "admin");

        IReadOnlyList<ListedCertificate> List()
        {
            using var machine = new LinuxReader(CancellationToken.None);
            return CertificateList.Read(machine, directory);
        }
    }

    [Theory]
    [InlineData(200, "ok")]
    [InlineData(245, "due")]
    [InlineData(366, "expired")]
    [InlineData(-1, "not valid yet")]
    public async Task The_list_says_when_something_is_due(int days, string state)
    {
        var files = await Make(KeyAlgorithm.EcdsaP256, TestAuthority.Noon);
        var machine = new Simulation.SimulatedMachine([]) { Now = TestAuthority.Noon.AddDays(days) };
        foreach (var file in files)
        {
            machine.WriteFile(file.Path, file.Content, file.Mode);
        }

        var row = CertificateList.Read(machine, "/etc/kubernetes").Single(c => c.Role == "controller-manager");

        row.State.ShouldBe(state);
        CertificateList.Text([row], "").ShouldContain("CN = system:kube-controller-manager");
        CertificateList.Json([row], 2).ShouldContain($"\"state\": \"{state}\"");
    }

    private static readonly ClusterNames Cluster = new("cluster.local", ["api.example.com"], [IPAddress.Parse("10.96.0.1")]);

    private async Task<DirectoryCaStore> Store(DateTimeOffset? now = null)
    {
        var store = new DirectoryCaStore($"{_directory.Path}/ca");
        await ClusterAuthorities.Make(store, KeyAlgorithm.EcdsaP256, NoKms.Keys, NoKms.Any, now ?? DateTimeOffset.UtcNow.AddDays(-10), CancellationToken.None);
        return store;
    }

    [Fact]
    public void Of_a_directory_that_is_not_there_nothing_is_said_and_one_without_certificates_is_not_well()
    {
        using var machine = new LinuxReader(CancellationToken.None);
        File.WriteAllText($"{_directory.Path}/file", "");
        File.CreateSymbolicLink($"{_directory.Path}/link", _directory.Path);
        CertificateList.IsDirectory(machine, _directory.Path).ShouldBeTrue();
        CertificateList.IsDirectory(machine, $"{_directory.Path}/link").ShouldBeTrue();
        CertificateList.IsDirectory(machine, $"{_directory.Path}/none").ShouldBeFalse();
        CertificateList.IsDirectory(machine, $"{_directory.Path}/file").ShouldBeFalse();

        var all = CertificateList.Read(machine, _directory.Path);

        all.ShouldBeEmpty();
        CertificateList.ExitCodeOf(all).ShouldBe(ExitCode.ChangesPending);
    }

    [Theory]
    [InlineData(true, ExitCode.Ok)]
    [InlineData(false, ExitCode.ChangesPending)]
    public void Of_several_CAs_each_is_listed_and_one_that_holds_is_enough(bool oneHolds, int exitCode)
    {
        var machine = new Simulation.SimulatedMachine([]);
        var old = TestAuthority.Make(from: machine.Now.AddYears(-20)).CertificatePem;
        var good = TestAuthority.Make(from: machine.Now).CertificatePem;
        machine.WriteFile("/etc/kubernetes/pki/ca.crt", Encoding.ASCII.GetBytes(old + "\n" + (oneHolds ? good : old) + "\n"), Files.WorldReadable);

        var all = CertificateList.Read(machine, "/etc/kubernetes");

        all.Select(c => (c.Role, c.State)).ShouldBe([("ca", "expired"), ("ca", oneHolds ? "ok" : "expired")]);
        CertificateList.ExitCodeOf(all).ShouldBe(exitCode);
        CertificateList.Json(all, exitCode).Contains("\"ok\": false", StringComparison.Ordinal).ShouldBe(!oneHolds);
    }

    private async Task<IReadOnlyList<MadeFile>> Make(KeyAlgorithm algorithm, DateTimeOffset? now = null)
    {
        using var store = await Store(now);
        using var authorities = await ClusterAuthorities.Load(store, NoKms.Any, CancellationToken.None);
        return await ControlPlaneFiles.Make(
            authorities,
            "amber",
            new Uri("https://api.example.com:6443"),
            new("cp-1", [], [IPAddress.Parse("10.0.0.4")]),
            Cluster,
            algorithm,
            now ?? DateTimeOffset.UtcNow);
    }

    private static (string Certificate, string Key) Pair(IReadOnlyList<MadeFile> files, RoleCertificate row)
    {
        var (certificate, key) = (Text(files, row.Path), Text(files, row.KeyPath));
        return row.Layout == FileLayout.InKubeconfig ? (Data(certificate, "client-certificate-data: "), Data(key, "client-key-data: ")) : (certificate, key);

        static string Data(string kubeconfig, string field) =>
            Encoding.ASCII.GetString(
                Convert.FromBase64String(kubeconfig.Split('\n').Single(l => l.Trim().StartsWith(field, StringComparison.Ordinal)).Trim()[field.Length..]));
    }

    private static string Text(IReadOnlyList<MadeFile> files, string path) => Encoding.ASCII.GetString(files.Single(f => f.Path == path).Content);

    /// <returns>Whom the server saw.</returns>
    private static async Task<string> ShakeHands(IReadOnlyList<MadeFile> files, string server, string client, string name)
    {
        var (serverRow, clientRow) = (RoleTable.Find(server, Asker.ControlPlaneNode)!, RoleTable.Find(client, Asker.ControlPlaneNode)!);
        using var serverPair = Load(Pair(files, serverRow));
        using var clientPair = Load(Pair(files, clientRow));
        using var authority = X509Certificate2.CreateFromPem(Text(files, RoleTable.Of(serverRow.Authority).CertificatePath));
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        var serving = Task.Run(async () =>
        {
            using var accepted = await listener.AcceptTcpClientAsync(deadline.Token);
            using var tls = new SslStream(accepted.GetStream());
            await tls.AuthenticateAsServerAsync(
                new SslServerAuthenticationOptions
                {
                    ServerCertificate = serverPair,
                    ClientCertificateRequired = true,
                    EnabledSslProtocols = SslProtocols.Tls12,
                    CertificateChainPolicy = Policy(authority, "1.3.6.1.5.5.7.3.2"),
                },
                deadline.Token);
            await tls.WriteAsync("."u8.ToArray(), deadline.Token);
            return ParsedCertificate.Parse(tls.RemoteCertificate!.GetRawCertData())!.Subject;
        });
        using var connection = new TcpClient();
        await connection.ConnectAsync(IPAddress.Loopback, ((IPEndPoint)listener.LocalEndpoint).Port, deadline.Token);
        using var stream = new SslStream(connection.GetStream());
        await stream.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions
            {
                TargetHost = name,
                ClientCertificates = [clientPair],
                EnabledSslProtocols = SslProtocols.Tls12,
                CertificateChainPolicy = Policy(authority, "1.3.6.1.5.5.7.3.1"),
            },
            deadline.Token);
        var seen = await serving;
        (await stream.ReadAsync(new byte[1], deadline.Token)).ShouldBe(1);
        return seen;

        static X509Certificate2 Load((string Certificate, string Key) pair) => X509Certificate2.CreateFromPem(pair.Certificate, pair.Key);
    }

    private static X509ChainPolicy Policy(X509Certificate2 authority, string usage)
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.Add(authority);
        policy.ApplicationPolicy.Add(new Oid(usage));
        return policy;
    }
}
