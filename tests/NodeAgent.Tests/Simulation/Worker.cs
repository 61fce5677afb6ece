using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Facts;
using NodeAgent.Machine;
using NodeAgent.Network;
using NodeAgent.Pki;
using NodeAgent.Resources;

namespace NodeAgent.Tests.Simulation;

/// <summary>A worker with two instance-store disks, its cluster's CA made for the test.</summary>
internal sealed class Worker
{
    public const string Config = """
        apiVersion: nodeagent/v1
        kind: NodeConfig
        cluster:
          name: test
          endpoint: https://api.test.example:6443
        network:
          podRange: 10.244.3.0/24
        """;

    private readonly string _certificatePem;
    private readonly string _authorityPem;

    /// <param name="authority">PEM: another CA than its own.</param>
    public Worker(string authority)
    {
        (_certificatePem, _authorityPem) = (authority, authority);
        Machine = new SimulatedMachine(Facts.Disks);
    }

    public Worker()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=kubernetes", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        Machine = new SimulatedMachine(Facts.Disks);
        // By the clock of the simulated machine: by this one's, the CA would be one of the future from November 2027 on.
        using var authority = request.CreateSelfSigned(Machine.Now.AddYears(-1), Machine.Now.AddYears(10));
        _certificatePem = authority.ExportCertificatePem();
        _authorityPem = _certificatePem + "\n" + key.ExportPkcs8PrivateKeyPem() + "\n";
    }

    /// <summary>Certificate and key.</summary>
    public string AuthorityPem => _authorityPem;

    public SimulatedMachine Machine { get; set; }

    /// <summary>Roles of each request for certificates.</summary>
    public List<IReadOnlyList<string>> Asked { get; } = [];

    public NodeFacts Facts { get; set; } = ExampleFacts();

    /// <summary>Of each run a new one; the worker's own CA signs when it is null.</summary>
    public Func<NodeConfig, ICertificateSource>? MakeSource { get; set; }

    public IPodRangeSource PodRanges { get; set; } = NoRange.Instance;

    /// <summary>Pods that are neither static nor a DaemonSet's; null: the API server does not say.</summary>
    public IReadOnlyList<string>? Pods { get; set; } = [];

    public string ExtraConfig { get; set; } = "{apiVersion: nodeagent/v1, kind: NodeConfig}";

    /// <summary>Of a layer above all others.</summary>
    public string PendingConfig { get; set; } = "{apiVersion: nodeagent/v1, kind: NodeConfig}";

    public ResourceList List() => Inputs().Resources;

    public NodeInputs Inputs()
    {
        var authority = "{apiVersion: nodeagent/v1, kind: NodeConfig, cluster: {certificateAuthority: \"" + _certificatePem.Replace(
            "\n", "\\n", StringComparison.Ordinal) + "\"}}";
        var loaded = NodeConfigLoader.Load(
        [
            new Layer.Document("worker.yaml", Encoding.UTF8.GetBytes(Config)),
            new Layer.Document("ca.yaml", Encoding.UTF8.GetBytes(authority)),
            new Layer.Document("extra.yaml", Encoding.UTF8.GetBytes(ExtraConfig)),
            new Layer.Document("pending.yaml", Encoding.UTF8.GetBytes(PendingConfig)),
        ]);
        return new(
            loaded,
            Facts,
            NodeResources.Build(
                loaded.Config, Facts, MakeSource?.Invoke(loaded.Config) ?? new Source(this, Certificates.Identity(loaded.Config, Facts)), PodRanges,
                new PodsOf(this)));
    }

    public Plan Plan() => NodeAgent.Convergence.Plan.Make(List(), Machine);

    public RunResult Apply() => Applier.Apply(List(), Machine, Machine, NoObserver.Instance, CancellationToken.None);

    public static IRunObserver Quiet => NoObserver.Instance;

    public static NodeFacts ExampleFacts() => new()
    {
        Instance = new InstanceFacts
        {
            Id = "i-0123456789abcdef0",
            Type = "m5d.4xlarge",
            AvailabilityZone = "eu-central-1a",
            Region = "eu-central-1",
            AccountId = "123456789012",
            PrivateDnsName = "ip-10-0-1-7.eu-central-1.compute.internal",
            PrivateAddress = "10.0.1.7",
            Interfaces = [new NetworkInterfaceFacts { Mac = "02:00:00:00:00:01", DeviceNumber = 0, Addresses = ["10.0.1.7"] }],
            Tags = new Dictionary<string, string>(),
            BlockDeviceMapping = new Dictionary<string, string>(),
        },
        Hardware = new HardwareFacts { Processors = 16, MemoryBytes = 64L << 30, Architecture = "x86_64" },
        Kernel = new KernelFacts { Release = "6.12.0-cloud-amd64", CgroupVersion = 2, SystemdResolved = true },
        Versions = new VersionFacts { Kubelet = "1.20.2", Containerd = "1.7.24" },
        Disks = [Disk("/dev/nvme0n1", "Amazon Elastic Block Store", "vol0123456789abcdef0"), InstanceStore(1), InstanceStore(2)],
    };

    public static DiskReport InstanceStore(int number) => Disk($"/dev/nvme{number}n1", "Amazon EC2 NVMe Instance Storage", $"AWS{number:d17}");

    public static DiskReport Disk(string path, string model, string serial) => new(path, model, serial, 300L << 30, false, [], [], [], []);

    private sealed class Source(Worker worker, NodeIdentity node) : ICertificateSource
    {
        public IReadOnlyList<IReadOnlyList<byte[]>> ObtainAll(IReadOnlyList<(string Role, byte[] Request)> requests, CancellationToken cancellation)
        {
            worker.Asked.Add([.. requests.Select(r => r.Role)]);
            return [.. requests.Select(r => Obtain(r.Role, r.Request, cancellation))];
        }

        public IReadOnlyList<byte[]> Obtain(string role, byte[] request, CancellationToken cancellation)
        {
            var pem = worker._authorityPem;
            var split = pem.IndexOf("-----BEGIN PRIVATE", StringComparison.Ordinal);
            using var authority = CertificateAuthority.Load(pem.AsSpan(0, split), pem.AsSpan(split));
            return [authority.Sign(
                SigningRequest.Read(request), RoleTable.Find(role)!.For(node), TimeSpan.FromDays(90), worker.Machine.Now, RandomNumberGenerator.GetBytes(16))];
        }
    }

    private sealed class PodsOf(Worker worker) : INodePods
    {
        public IReadOnlyList<string> Others() => worker.Pods ?? throw new ProbeException("pods of this node", "no answer");
    }

    private sealed class NoRange : IPodRangeSource
    {
        public static readonly NoRange Instance = new();

        public Cidr Obtain(Cidr? wish, CancellationToken cancellation) => throw new MachineException("pod range", "there is nobody to give one");
    }

    private sealed class NoObserver : IRunObserver
    {
        public static readonly NoObserver Instance = new();

        public void Changing(Resource resource, Change change)
        {
        }

        public void Finished(Step step)
        {
        }
    }
}
