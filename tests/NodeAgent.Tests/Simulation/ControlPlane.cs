using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Issuer;
using NodeAgent.Pki;
using NodeAgent.Tests.Aws;

namespace NodeAgent.Tests.Simulation;

/// <summary>A control plane node whose cluster's CAs are in a store, made for the test. What asks the store is the product's.</summary>
internal sealed class ControlPlane
{
    private static readonly DateTimeOffset Made = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <param name="staticPods">Whether it runs etcd and the control plane by the agent's manifests.</param>
    public ControlPlane(bool staticPods = false)
    {
        Store = MemoryStore.Make(Made);
        Node = new Worker(Store.Text("ca.crt"))
        {
            ExtraConfig = $$"""
                apiVersion: nodeagent/v1
                kind: NodeConfig
                node: {role: control-plane}
                controlPlane: {staticPods: {{(staticPods ? "true" : "false")}}}
                certificates: {source: store, store: s3://pki/test, apiNames: [api.example.com, 10.9.9.9]}
                """,
        };
        Node.MakeSource = Source;
    }

    public Worker Node { get; }

    public MemoryStore Store { get; set; }

    public SimulatedMachine Machine => Node.Machine;

    private StoreCertificateSource Source(NodeConfig config) => new(
        new(
            config.Certificates.Store!,
            config.Cluster.CertificateAuthority,
            Certificates.Identity(config, Node.Facts),
            Certificates.Names(config),
            config.Certificates.Lifetime.Value,
            TimeSpan.FromMinutes(1)),
        _ => Task.FromResult(new OpenStore(Store, NoKms.Any)),
        new Clock(Machine),
        CancellationToken.None);

    private sealed class Clock(SimulatedMachine machine) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => machine.Now;
    }
}

/// <summary>A store that can be away.</summary>
internal sealed class MemoryStore : ICaStore
{
    public Dictionary<string, byte[]> Objects { get; } = new(StringComparer.Ordinal);

    /// <summary>How often it was asked for something.</summary>
    public int Reads { get; private set; }

    public bool IsAway { get; set; }

    public string Name => "s3://pki/test";

    public static MemoryStore Make(DateTimeOffset now)
    {
        var store = new MemoryStore();
        ClusterAuthorities.Make(store, KeyAlgorithm.EcdsaP256, NoKms.Keys, NoKms.Any, now, CancellationToken.None).GetAwaiter().GetResult();
        store.Reads = 0;
        return store;
    }

    public string Text(string file) => System.Text.Encoding.ASCII.GetString(Objects[file]);

    public Task<byte[]?> Read(string file, CancellationToken cancellation)
    {
        Reads++;
        return IsAway
            ? throw new AwsException(new(AwsFailureKind.NotReachable, $"s3:GetObject of s3://pki/test/{file}", "no route to host", "Check the route to S3."))
            : Task.FromResult(Objects.GetValueOrDefault(file));
    }

    public Task<bool> Create(string file, byte[] content, bool isSecret, CancellationToken cancellation) => Task.FromResult(Objects.TryAdd(file, [.. content]));

    public void Dispose()
    {
    }
}
