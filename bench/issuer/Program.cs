using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Amazon.Runtime;
using NodeAgent.Imds;
using NodeAgent.Issuer;
using NodeAgent.Pki;
using NodeAgent.Tests.Issuer;

// issuer-bench BINARY [NODES] [SECONDS over which they are launched]
var binary = args.Length > 0 ? args[0] : "artifacts/bin/nodeagent";
var count = args.Length > 1 ? int.Parse(args[1], CultureInfo.InvariantCulture) : 5000;
var spread = args.Length > 2 ? int.Parse(args[2], CultureInfo.InvariantCulture) : 20;
ThreadPool.SetMinThreads(64, 64);

await using var lab = await IssuerLab.Start();
await using var imds = new ImdsServer(() => new ImdsState
{
    Paths = new()
    {
        ["dynamic/instance-identity/document"] = $$"""
            {"accountId": "{{IssuerLab.Account}}", "region": "{{IssuerLab.Region}}", "instanceId": "i-0123456789abcdef0", "instanceType": "m5.large",
             "availabilityZone": "{{IssuerLab.Region}}a", "privateIp": "10.0.0.1"}
            """,
        ["dynamic/instance-identity/rsa2048"] = Convert.ToBase64String(lab.Document("i-0123456789abcdef0")),
        ["mac"] = "02:00:00:00:00:01",
        ["network/interfaces/macs/02:00:00:00:00:01/vpc-id"] = IssuerLab.Vpc,
        ["iam/security-credentials/control-plane"] =
            """{"Code":"Success","AccessKeyId":"ASIAISSUER","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}""",
    },
});
await imds.Start();
var directory = Directory.CreateTempSubdirectory("issuer-bench-").FullName;
File.WriteAllText($"{directory}/ca.crt", lab.Authority.CertificatePem);
NodeAgent.Machine.Files.Write($"{directory}/ca.key", System.Text.Encoding.ASCII.GetBytes(lab.Authority.KeyPem), NodeAgent.Machine.Files.OwnerOnly);
File.WriteAllText($"{directory}/identity.pem", lab.Documents.ExportCertificatePem());
using var issuer = Process.Start(new ProcessStartInfo(
    binary,
    [
        "issuer", "--cluster", IssuerLab.Cluster, "--store", directory, "--worker", IssuerLab.WorkerRole,
        "--identity-certificates", $"{directory}/identity.pem",
        "--listen", $"127.0.0.1:{FreePort()}", "--metrics-port", $"{FreePort()}",
        // All of them come from here.
        "--connections-per-address", "1024",
    ])
{
    Environment =
    {
        ["DOTNET_GCgen0size"] = "0x1000000", // as its unit has it
        ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = imds.Endpoint.AbsoluteUri,
        ["AWS_ENDPOINT_URL_EC2"] = lab.Aws.Endpoint.AbsoluteUri,
        ["AWS_ENDPOINT_URL_STS"] = lab.Aws.Endpoint.AbsoluteUri,
    },
    RedirectStandardOutput = true,
    RedirectStandardError = true,
})!;
try
{
    var audit = new ConcurrentQueue<string>();
    issuer.OutputDataReceived += (_, line) => audit.Enqueue(line.Data ?? "");
    issuer.BeginOutputReadLine();
    var hello = await issuer.StandardError.ReadLineAsync() ?? throw new InvalidOperationException("the issuer ended");
    Console.WriteLine(hello);
    _ = issuer.StandardError.BaseStream.CopyToAsync(Console.OpenStandardError());
    var address = new Uri(hello.Split(" at ", 2)[1].Split(',')[0]);
    var metrics = new Uri(hello[(hello.LastIndexOf(" at ", StringComparison.Ordinal) + 4)..]);

    await Renewals(address);
    var sampling = Sample();
    await Joins(address);
    await sampling;

    // Memory while nodes come.
    async Task Sample()
    {
        using var http = IssuerLab.Http();
        for (var i = 0; i < 8; i++)
        {
            await Task.Delay(TimeSpan.FromSeconds(3));
            var text = await http.GetStringAsync(new Uri(metrics, "/metrics"));
            Console.WriteLine($"  heap {text.Split("heap_bytes ")[^1].Split('\n')[0]}; in work {text.Split("in_work ")[^1].Split('\n')[0]}; "
                + string.Join(", ", Status("RssAnon").Concat(Status("Threads"))));
        }
    }

    using var http = IssuerLab.Http();
    Console.WriteLine(string.Join('\n', (await http.GetStringAsync(new Uri(metrics, "/metrics"))).Split('\n').Where(l => l.Length > 0 && l[0] != '#')));
    Console.WriteLine($"audit: {audit.Count(l => l.Contains("\"granted\"", StringComparison.Ordinal))} lines of what was granted, {audit.Count} in all");
    Console.WriteLine($"peak memory of the issuer: {Status("VmHWM").Single()[6..].Trim()} (target 250 MiB)");
    Console.WriteLine(string.Join(", ", Status("Rss").Select(l => l.Replace('\t', ' '))));
    var asked = Stopwatch.StartNew();
    Process.Start("kill", ["-TERM", $"{issuer.Id}"]).WaitForExit();
    Console.WriteLine(
        issuer.WaitForExit(20_000) ? $"told to stop, it ended with {issuer.ExitCode} after {asked.ElapsedMilliseconds} ms" : "told to stop, it did not");
    Console.WriteLine($"load: {File.ReadAllText("/proc/loadavg").Trim()}");
}
finally
{
    issuer.Kill();
    Directory.Delete(directory, recursive: true);
}

IEnumerable<string> Status(string field) => File.ReadLines($"/proc/{issuer.Id}/status").Where(l => l.StartsWith(field, StringComparison.Ordinal));

// Nodes that renew all the time, each on a connection of its own.
async Task Renewals(Uri address)
{
    var nodes = await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ =>
    {
        var node = lab.NewNode();
        using var certificate = X509CertificateLoader.LoadCertificate(
            lab.Authority.Sign(
                node.Key,
                RoleTable.Find("kubelet-client")!.For(IssuerLab.Identity(node.Instance)),
                TimeSpan.FromDays(1),
                DateTimeOffset.UtcNow));
        node.Certificate = certificate.CopyWithPrivateKey(node.Key);
        var http = IssuerLab.Http(node.Certificate);
        using var first = await node.Request(http);
        return (http, Body: await first.Content!.ReadAsByteArrayAsync());
    }));
    var (certificates, cpu) = (0, issuer.TotalProcessorTime);
    var clock = Stopwatch.StartNew();
    await Task.WhenAll(nodes.Select(n => Task.Run(async () =>
    {
        while (clock.Elapsed < TimeSpan.FromSeconds(10))
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(address, "/v1/certificates")) { Content = new ByteArrayContent(n.Body) };
            request.Content.Headers.ContentType = new("application/json");
            request.Headers.TryAddWithoutValidation("X-NodeAgent-Cluster", IssuerLab.Cluster);
            using var answer = await n.http.SendAsync(request);
            answer.StatusCode.ShouldBe(HttpStatusCode.OK, await answer.Content.ReadAsStringAsync());
            Interlocked.Add(ref certificates, 3);
        }
    })));
    issuer.Refresh();
    var used = (issuer.TotalProcessorTime - cpu).TotalSeconds;
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"renewals over HTTPS with keep-alive: {certificates / clock.Elapsed.TotalSeconds:0} certificates a second (target 1,000); "
        + $"{certificates / used:0} a second of the issuer's processor time"));
}

async Task Joins(Uri address)
{
    lab.Aws.Delay = TimeSpan.FromMilliseconds(50);
    lab.Aws.Calls.Clear();

    var prepared = new List<(Node Node, byte[] Document, List<(string, byte[])> Requests, TimeSpan At)>();
    for (var i = 0; i < count; i++)
    {
        var node = lab.NewNode();
        var requests = RoleTable.Worker
            .Select(r => (r.Role, SigningRequest.Create(ECDsa.Create(ECCurve.NamedCurves.nistP256), r.For(IssuerLab.Identity(node.Instance)))))
            .ToList();
        prepared.Add((node, lab.Document(node.Instance.Id), requests, spread * Random.Shared.NextDouble() * TimeSpan.FromSeconds(1)));
    }

    var (times, failed, cpu) = (new ConcurrentBag<double>(), new ConcurrentBag<string>(), issuer.TotalProcessorTime);
    var clock = Stopwatch.StartNew();
    await Task.WhenAll(prepared.Select(p => Task.Run(async () =>
    {
        await Task.Delay(p.At);
        var began = clock.Elapsed;
        using var source = new IssuerCertificateSource(
            new(
                IssuerClientSettings.Given([address]),
                IssuerLab.Cluster,
                lab.Authority.CertificatePem,
                IssuerLab.Region,
                lab.Aws.Endpoint,
                TimeSpan.FromMinutes(2)),
            _ => Task.FromResult(
                new InstanceProof(new ImmutableCredentials(p.Node.Credentials.AccessKey, p.Node.Credentials.Secret, p.Node.Credentials.Token), p.Document)),
            () => null,
            _ => { },
            TimeProvider.System);
        try
        {
            await source.ObtainAllAsync(p.Requests, CancellationToken.None);
            times.Add((clock.Elapsed - began).TotalSeconds);
        }
        catch (NodeAgent.Machine.MachineException e)
        {
            failed.Add(e.Message);
        }
    })));
    issuer.Refresh();
    var sorted = times.Order().ToArray();
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"{count} nodes launched over {spread} s: {sorted.Length} joined in {clock.Elapsed.TotalSeconds:0.0} s (target 60 s), {failed.Count} failed; "
        + $"a join: median {sorted[sorted.Length / 2]:0.00} s, p99 {sorted[(int)(sorted.Length * 0.99)]:0.00} s (target 10 s), most {sorted[^1]:0.00} s; "
        + $"DescribeInstances calls: {lab.Aws.Calls.Count(c => c.Action == "DescribeInstances")} (target 100); issuer's processor time "
        + $"{(issuer.TotalProcessorTime - cpu).TotalSeconds:0.0} s"));
    foreach (var (why, n) in failed.GroupBy(f => f).Select(g => (g.Key, g.Count())).Take(3))
    {
        Console.WriteLine($"  {n} times: {why}");
    }
}

static int FreePort()
{
    using var listener = new TcpListener(IPAddress.Loopback, 0);
    listener.Start();
    return ((IPEndPoint)listener.LocalEndpoint).Port;
}
