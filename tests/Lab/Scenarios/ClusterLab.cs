using System.Text;
using System.Text.Json;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// An account's worth of instances that have nothing yet: a VPC with its router, a bucket with the cluster's CAs, one with its configuration, and two machine
/// images. Which instance is what, tags and the layers of its role say; nothing else differs.
/// </summary>
internal sealed class ClusterLab : IAsyncDisposable
{
    public const string ControlPlane = "control-plane";

    public const string Worker = "worker";

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(25);

    private static readonly string Unasked = string.Join(
        ',',
        "admissionregistration.k8s.io/v1beta1=false", "apiextensions.k8s.io/v1beta1=false", "apiregistration.k8s.io/v1beta1=false",
        "authentication.k8s.io/v1beta1=false", "authorization.k8s.io/v1beta1=false", "autoscaling/v1=false", "autoscaling/v2beta1=false",
        "autoscaling/v2beta2=false", "batch/v1=false", "batch/v1beta1=false", "certificates.k8s.io/v1=false", "certificates.k8s.io/v1beta1=false",
        "coordination.k8s.io/v1beta1=false", "events.k8s.io/v1beta1=false", "extensions/v1beta1=false", "flowcontrol.apiserver.k8s.io/v1beta1=false",
        "networking.k8s.io/v1beta1=false", "node.k8s.io/v1beta1=false", "rbac.authorization.k8s.io/v1beta1=false", "scheduling.k8s.io/v1beta1=false",
        "storage.k8s.io/v1beta1=false");

    private readonly Laboratory lab;
    private readonly Dictionary<string, string> images = [];
    private readonly List<(string Name, VirtualMachine Guest)> guests = [];
    private Volume? volume;
    private string kubectl = "";
    private string kubeconfig = "";

    private ClusterLab(Laboratory lab, Fleet fleet, VirtualNetwork network) => (this.lab, Fleet, Network) = (lab, fleet, network);

    public Fleet Fleet { get; }

    public VirtualNetwork Network { get; }

    // moto checks no signature of a query that has a slash in it, so this one has no prefix.
    private string Manifests => $"{lab.Scenario}-manifests";

    private string Cells => $"{lab.Scenario}-cells";

    /// <param name="volume">The control plane's, for etcd's data; null: its root disk.</param>
    public static async Task<ClusterLab> CreateAsync(Laboratory lab, Volume? volume = null)
    {
        var fleet = await Fleet.CreateAsync(lab, VirtualNetwork.Range);
        var cluster = new ClusterLab(lab, fleet, await VirtualNetwork.StartAsync(lab, fleet))
        {
            kubectl = Path.Combine(await Caches.KubernetesAsync(), "kubectl"),
            volume = volume,
        };
        await cluster.ConfigureAsync(await fleet.InitializeAuthoritiesAsync());
        foreach (var role in new[] { ControlPlane, Worker })
        {
            cluster.images[role] = await cluster.BakeAsync(role);
        }

        return cluster;
    }

    /// <summary>An instance of that role's image, launched and booted; nobody touches it. Returns when commands run in it.</summary>
    public async Task<(VirtualMachine Guest, string Instance)> LaunchAsync(string role, string name, int last)
    {
        // Kubernetes at rest takes more than a processor under emulation: a worker leaves the control plane one.
        var guest = await lab.CreateAsync(
            images[role],
            role == ControlPlane
                ? Network.Seat(name, last, 3072) with { Volume = volume }
                : Network.Seat(name, last, 1536) with { Processors = 1 });
        guests.Add((name, guest));
        var instance = await Fleet.LaunchAsync(guest, role, $"10.0.16.{last}", Actions(role));
        await guest.Imds.SetUserDataAsync(Encoding.UTF8.GetBytes($$"""
            apiVersion: nodeagent/v1
            kind: NodeConfig
            layers: {bucket: {{Cells}}, prefix: v1}
            cluster: {customer: acme, environment: prod}
            """));
        await guest.BootAsync();
        lab.Say($"{name} is {instance}");
        return (guest, instance);
    }

    /// <summary>
    /// A worker that boots before any control plane: it waits for the issuer, then for the API server, and nobody comes back to it. An API server takes both
    /// processors to come up, so the worker stands still for that time.
    /// </summary>
    public async Task<(VirtualMachine Worker, VirtualMachine ControlPlane, string Instance)> LaunchBothAsync(string worker, string controlPlane)
    {
        var (first, _) = await LaunchAsync(Worker, worker, 21);
        var (second, instance) = await LaunchAsync(ControlPlane, controlPlane, 11);
        await first.WaitForAsync("systemctl is-active kubelet.service", Patience);
        await first.SuspendAsync();
        await ServesAsync(second, "10.0.16.11");
        await first.ResumeAsync();
        await ReadyAsync(NodeOf(21));
        return (first, second, instance);
    }

    /// <summary>Its machine is gone, and EC2 says so. Nobody told it beforehand.</summary>
    public async Task TerminateAsync(VirtualMachine guest, string instance)
    {
        guests.RemoveAll(g => g.Guest == guest);
        await guest.TerminateAsync();
        await lab.Aws.CallAsync("ec2", "2016-11-15", "TerminateInstances", ("InstanceId.1", instance));
        lab.Say($"{instance} is terminated");
    }

    public static string NodeOf(int last) => $"ip-10-0-16-{last}.ec2.internal";

    /// <summary>Waits for the API server, and takes the administrator's kubeconfig from there.</summary>
    public async Task ServesAsync(VirtualMachine controlPlane, string address)
    {
        await controlPlane.WaitForAsync("systemctl is-active nodeagent.service", Patience);
        kubeconfig = Path.Combine(lab.Folder, "admin.conf");
        await File.WriteAllBytesAsync(kubeconfig, await controlPlane.PullAsync("/etc/kubernetes/admin.conf"));
        // From outside of the cluster its name means nothing.
        (await Child.RunAsync("sed", ["-i", $"s#server: .*#server: https://{address}:6443#", kubeconfig], TimeSpan.FromSeconds(5))).EnsureSuccess();
        await lab.WaitForAsync("the API server serves", Patience, async () =>
            (await Network.RunAsync(
                TimeSpan.FromSeconds(30), "curl", "--silent", "--insecure", "--max-time", "20",
                $"https://{address}:6443/readyz")).Output is var seen && seen == "ok"
                ? (true, seen) : (false, seen));
    }

    /// <summary>kubectl of this machine, inside the VPC.</summary>
    public Task<CommandResult> KubectlAsync(params string[] arguments) =>
        Network.RunAsync(TimeSpan.FromMinutes(3), [kubectl, "--kubeconfig", kubeconfig, .. arguments]);

    public async Task<string> CheckKubectlAsync(params string[] arguments) => (await KubectlAsync(arguments)).EnsureSuccess().Output.Trim();

    /// <summary>The layer of the whole cluster, with this as `cluster.certificateAuthority`. Nodes that run have not adopted it yet.</summary>
    public Task TrustAsync(string authorities) => PutAsync("cluster", $"""
        cluster:
          endpoint: https://api.{Fleet.Cluster}.internal:6443
          endpointFrom: tags
          podRange: 10.128.0.0/16
          certificateAuthority: |
            {Indented(authorities, 4)}
        network:
          plugin: vpc-routes
        node:
          readiness: {"{"}timeout: 30m{"}"}
        """);

    public Task ReadyAsync(string node) => lab.WaitForAsync($"{node} is Ready", Patience, async () =>
    {
        var seen = await KubectlAsync("get", "node", node, "-o", "jsonpath={range .status.conditions[?(@.type==\"Ready\")]}{.status} {.message}{end}");
        return (seen.Output.StartsWith("True", StringComparison.Ordinal), seen.Output + seen.Error);
    });

    public Task PodRunsAsync(string node) => lab.WaitForAsync($"the pod of {node} runs", Patience, async () =>
        await PodAsync(node) is { Address.Length: > 0, Phase: "Running" } pod ? (true, pod.ToString()) : (false, $"{await PodAsync(node)}"));

    /// <summary>Which object of the API a node is: another one after it was deleted and registered again.</summary>
    public Task<string> NodeAsync(int last) => CheckKubectlAsync("get", "node", NodeOf(last), "-o", "jsonpath={.metadata.uid} {.metadata.creationTimestamp}");

    /// <summary>Which run of the container of a node's pod this is.</summary>
    public Task<string> PodIdentityAsync(int last) => CheckKubectlAsync(
        "get", "pod", "-l", "app=web", "--field-selector", $"spec.nodeName={NodeOf(last)}", "-o",
        "jsonpath={range .items[*]}{.metadata.uid} {.status.podIP} {.status.containerStatuses[0].containerID} "
            + "{.status.containerStatuses[0].restartCount}{end}");

    /// <summary>The pod of one node asks that of another, across the VPC's router.</summary>
    public async Task AnswersAsync(int from, int to)
    {
        var (asking, asked) = (await PodAsync(NodeOf(from)), await PodAsync(NodeOf(to)));
        var answer = await AskAsync(asking!, asked!.Address);
        // Not translated on its way: pods see each other's own addresses.
        answer.ShouldBe($"{asked.Name} answers {asking!.Address}");
        lab.Say($"pod to pod: {answer}");
    }

    public async Task ServiceAnswersAsync(int from)
    {
        var answer = await AskAsync((await PodAsync(NodeOf(from)))!, await CheckKubectlAsync("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"));
        answer.ShouldContain(" answers ");
        lab.Say($"through the Service: {answer}");
    }

    /// <summary>Leaves the logs of all pods beside the journals: with the guests' disks they would be gone.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var (name, guest) in guests)
        {
            try
            {
                var logs = await guest.RunAsync("tail --lines 300 /var/log/pods/*/*/*.log", TimeSpan.FromMinutes(2));
                await File.WriteAllTextAsync(Path.Combine(lab.Folder, name, "pods.log"), logs.Output);
            }
            catch (Exception e) when (e is LabException or IOException or OperationCanceledException)
            {
                lab.Say($"{name} gives no logs of pods: {e.Message}");
            }
        }

        await Network.DisposeAsync();
    }

    /// <summary>Asks again for a while: what kube-proxy and routers do about a new pod comes after it.</summary>
    private async Task<string> AskAsync(Pod pod, string address)
    {
        var answer = await lab.WaitForAsync($"{pod.Name} has an answer of {address}", TimeSpan.FromMinutes(10), async () =>
        {
            var asked = await KubectlAsync("exec", pod.Name, "--", "/web", "get", $"http://{address}:8080/");
            return (asked.ExitCode == 0, asked.Output.Trim() + asked.Error.Trim());
        });
        return answer[..answer.LastIndexOf(':')];
    }

    private async Task<Pod?> PodAsync(string node)
    {
        var seen = await KubectlAsync(
            "get",
            "pod",
            "-l",
            "app=web",
            "--field-selector",
            $"spec.nodeName={node}",
            "-o",
            "jsonpath={range .items[*]}{.metadata.name} {.status.phase} {.status.podIP}{end}");
        return seen.ExitCode == 0 && seen.Output.Trim().Split(' ') is [var name, var phase, .. var address] ? new(name, phase, string.Concat(address)) : null;
    }

    private sealed record Pod(string Name, string Phase, string Address);

    private static string[] Actions(string role) =>
    [
        "ec2:DescribeInstances", "s3:GetObject", "s3:ListBucket",
        .. role == ControlPlane
            ? (string[])["ec2:DescribeRouteTables", "ec2:CreateRoute", "ec2:ReplaceRoute", "ec2:DeleteRoute", "ec2:ModifyNetworkInterfaceAttribute"]
            : [],
    ];

    /// <summary>What a repository would hold: a layer of the cluster, and one for each role.</summary>
    private async Task ConfigureAsync(string authority)
    {
        await lab.Aws.CreateBucketAsync(Cells);
        await TrustAsync(authority);
        await PutAsync(ControlPlane, $"""
            certificates:
              source: store
              store: {Fleet.Store}
            # Under emulation what is quick takes minutes: nobody shall lose patience with it.
            etcd: {"{"}heartbeatInterval: 1000, electionTimeout: 10000{(volume is null ? "" : $", volume: {volume.Id}")}{"}"}
            # A third of what an API server takes, at its start and at rest, is for groups that nobody asks here, and for the metrics of priority and fairness.
            apiServer:
              extraArgs: {"{"}enable-priority-and-fairness: "false", runtime-config: "{Unasked}"{"}"}
            controllerManager: {"{"}leaderElection: {"{"}leaseDuration: 120s, renewDeadline: 90s, retryPeriod: 10s{"}}"}
            scheduler: {"{"}leaderElection: {"{"}leaseDuration: 120s, renewDeadline: 90s, retryPeriod: 10s{"}}"}
            controlPlane:
              startupTimeout: 20m
              manifests: s3://{Manifests}
              issuer:
                workers: [{Fleet.RoleOf(Worker)}]
                identityCertificates: |
                  {Indented(await File.ReadAllTextAsync(Fleet.IdentityCertificateFile), 6)}
            """);
        await PutAsync(Worker, "certificates: {source: issuer}");
        await lab.Aws.CreateBucketAsync(Manifests);
        await lab.Aws.PutObjectAsync(Manifests, "web.yaml", """
            apiVersion: apps/v1
            kind: DaemonSet
            metadata: {name: web, namespace: default}
            spec:
              selector: {matchLabels: {app: web}}
              template:
                metadata: {labels: {app: web}}
                spec:
                  terminationGracePeriodSeconds: 1
                  tolerations: [{operator: Exists}]
                  containers:
                  - name: web
                    image: lab.example/web:1
                    args: [serve]
            ---
            apiVersion: v1
            kind: Service
            metadata: {name: web, namespace: default}
            spec:
              selector: {app: web}
              ports: [{port: 8080}]
            """);
    }

    private Task PutAsync(string layer, string content) =>
        lab.Aws.PutObjectAsync(Cells, $"v1/acme/prod/us-east-1/{Fleet.Cluster}/{layer}.yaml", $"apiVersion: nodeagent/v1\nkind: NodeConfig\n{content}\n");

    private static string Indented(string text, int blanks) => text.Trim().ReplaceLineEndings("\n" + new string(' ', blanks));

    /// <summary>What Packer would make: the package, the images of what runs there, and where AWS is.</summary>
    private async Task<string> BakeAsync(string role)
    {
        var guest = await lab.BootAsync(new() { Disks = [] });
        await guest.InstallAgentAsync();
        await guest.WriteAsync("/etc/systemd/system.conf.d/50-aws.conf", $"[Manager]\nDefaultEnvironment={Issuing.Told}\n");
        await guest.WriteAsync("/etc/nodeagent/config.d/10-image.yaml", $$"""
            apiVersion: nodeagent/v1
            kind: NodeConfig
            layers: {endpoint: {{Aws.Url}}}
            network: {pluginBinaries: /usr/lib/cni}
            """);
        // Another start of the agent is some ten seconds of a processor here: twice a minute on each worker is what the control plane lacks then.
        await guest.WriteAsync(
            "/etc/systemd/system/nodeagent-endpoint.timer.d/50-rarely.conf", "[Timer]\nOnActiveSec=\nOnActiveSec=30s\nOnUnitInactiveSec=150s\n");
        var archives = await Caches.ClusterImagesAsync();
        foreach (var archive in role == ControlPlane ? Directory.GetFiles(archives) : [Path.Combine(archives, "web.tar")])
        {
            await guest.PushAsync(archive, $"/var/lib/nodeagent/images/{Path.GetFileName(archive)}");
        }

        return await guest.BakeAsync(role);
    }
}
