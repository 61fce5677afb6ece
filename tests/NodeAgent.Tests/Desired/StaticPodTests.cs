using System.Text;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Resources;
using NodeAgent.Tests.Aws;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

/// <summary>A control plane node that runs etcd and the control plane by the agent's manifests.</summary>
public class StaticPodTests
{
    private const string Manifests = "/etc/kubernetes/manifests/";

    private static readonly string[] All = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

    [Fact]
    public void A_first_boot_brings_all_four_and_a_second_plan_is_empty()
    {
        var plane = Applied();

        WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
        foreach (var pod in All)
        {
            Text(plane, pod).ShouldStartWith("# Written by NodeAgent. ");
            Text(plane, pod).ShouldContain("nodeagent/inputs: sha256:");
            Text(plane, pod).ShouldNotContain("sha256:-");
        }

        plane.Machine.File("/var/lib/etcd").Mode.Octal().ShouldBe("0700");
        Text(plane, "kube-apiserver").ShouldContain("--etcd-servers=https://127.0.0.1:2379");
        Text(plane, "etcd").ShouldContain("--initial-cluster=ip-10-0-1-7.eu-central-1.compute.internal=https://10.0.1.7:2380");
        plane.Machine.File(EncryptionConfiguration.PathOfIt).Kind.ShouldBe(FileKind.Absent);
    }

    [Fact]
    public void The_nodes_own_clients_use_its_own_API_server_and_people_the_endpoint()
    {
        var plane = Applied("apiServer: {port: 7443}");

        foreach (var file in new[] { "controller-manager.conf", "scheduler.conf", "kubelet.conf", "kube-proxy/kubeconfig" })
        {
            Encoding.UTF8.GetString(plane.Machine.File($"/etc/kubernetes/{file}").Content!)
                .ShouldContain("server: \"https://127.0.0.1:7443\"", Case.Sensitive, file);
        }

        Encoding.UTF8.GetString(plane.Machine.File("/etc/kubernetes/admin.conf").Content!).ShouldContain("server: \"https://api.test.example:6443\"");
    }

    [Fact]
    public void A_renewal_makes_anew_what_does_not_read_again_and_asks_nobody_to_move_manifests()
    {
        var plane = Applied();
        var before = All.ToDictionary(p => p, p => Text(plane, p));

        var result = Renew(plane, "scheduler");

        result.Succeeded.ShouldBeTrue();
        result.Notes.ShouldBeEmpty();
        plane.Machine.Writes.ShouldBe(
        [
            "write /run/nodeagent/owed/kube-scheduler.pod", "write /etc/kubernetes/scheduler.conf", $"write {Manifests}kube-scheduler.yaml",
            "delete /run/nodeagent/owed/kube-scheduler.pod",
        ]);
        All.Where(p => Text(plane, p) != before[p]).ShouldBe(["kube-scheduler"]);
        plane.Machine.Writes.Clear();
        Renew(plane, all: true).Succeeded.ShouldBeTrue();
        plane.Machine.Writes.Where(w => w.StartsWith($"write {Manifests}", StringComparison.Ordinal))
            .ShouldBe([$"write {Manifests}kube-controller-manager.yaml", $"write {Manifests}kube-scheduler.yaml"]);
        WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void A_renewal_does_not_adopt_new_settings_of_the_pod()
    {
        var plane = Applied();
        Say(plane, "scheduler: {image: 'registry.example/kube-scheduler:v9'}");

        Renew(plane, "scheduler").Succeeded.ShouldBeTrue();

        Text(plane, "kube-scheduler").ShouldNotContain("v9");
        plane.Machine.Writes.ShouldContain($"write {Manifests}kube-scheduler.yaml");
        plane.Node.PendingConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig}";
        WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void A_renewal_that_was_cut_short_before_the_manifest_comes_back_to_it()
    {
        var plane = Applied();
        var before = Text(plane, "kube-scheduler");
        plane.Machine.CrashAtWrite = 2;
        Should.Throw<PowerCutException>(() => Renew(plane, "scheduler"));
        plane.Machine.CrashAtWrite = -1;
        Text(plane, "kube-scheduler").ShouldBe(before);

        CertificateRenewal.NothingDue(plane.Machine).ShouldBeNull();
        Renew(plane).Succeeded.ShouldBeTrue();

        Text(plane, "kube-scheduler").ShouldNotBe(before);
        CertificateRenewal.NothingDue(plane.Machine).ShouldNotBeNull();
    }

    [Fact]
    public void Somebody_elses_manifest_is_refused_and_not_overwritten()
    {
        var plane = new ControlPlane(staticPods: true);
        plane.Machine.Put($"{Manifests}etcd.yaml", new(FileKind.Regular, "apiVersion: v1\nkind: Pod\n"u8.ToArray(), Files.WorldReadable));

        var result = plane.Node.Apply();

        ExitCode.Of(result).ShouldBe(ExitCode.Refused);
        Text(plane, "etcd").ShouldBe("apiVersion: v1\nkind: Pod\n");
        result.Steps.Select(s => s.Outcome).OfType<RefusedToChange>().Single().Finding.Remedy.ShouldContain("controlPlane.staticPods: false");
    }

    [Fact]
    public void A_machine_that_becomes_a_worker_loses_them_and_keeps_etcds_data()
    {
        var plane = Applied("apiServer: {encryption: {resources: [secrets]}}");
        plane.Node.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, certificates: {source: issuer, issuer: {endpoints: ['https://issuer:10261']}}}";

        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();

        plane.Machine.Directory(Manifests.TrimEnd('/')).ShouldBe(["kube-proxy.yaml"]);
        plane.Machine.File("/var/lib/etcd").Kind.ShouldBe(FileKind.Directory);
        plane.Machine.File(EncryptionConfiguration.PathOfIt).Kind.ShouldBe(FileKind.Absent);
    }

    [Fact]
    public void Encryption_at_rest_takes_the_stores_key_which_is_nowhere_to_be_seen()
    {
        var plane = Applied("apiServer: {encryption: {resources: [secrets, configmaps]}}");
        var key = plane.Store.Text(ClusterAuthorities.EncryptionKeys).Trim();
        var file = plane.Machine.File(EncryptionConfiguration.PathOfIt);

        file.Mode.Octal().ShouldBe("0600");
        var text = Encoding.UTF8.GetString(file.Content!);
        text.ShouldContain("  - secrets\n  - configmaps\n  providers:\n  - secretbox:\n");
        text.ShouldContain($"secret: {key}\n  - identity: {{}}\n");
        Text(plane, "kube-apiserver").ShouldContain($"--encryption-provider-config={EncryptionConfiguration.PathOfIt}");
        plane.Machine.AllFiles.Where(f => f.Key != EncryptionConfiguration.PathOfIt)
            .ShouldAllBe(f => !Encoding.UTF8.GetString(f.Value.Content ?? Array.Empty<byte>()).Contains(key));
        var recording = new RecordingReader(plane.Machine);
        var plan = NodeAgent.Convergence.Plan.Make(plane.Node.List(), recording);
        (Encoding.UTF8.GetString(recording.Recording.ToJson()) + PlanJson.Write(plan, "node")).ShouldNotContain(key);
        WorkerTests.Pending(NodeAgent.Convergence.Plan.Make(plane.Node.List(), new ReplayReader(Recording.Parse(recording.Recording.ToJson(), "x"))))
            .ShouldBeEmpty();
    }

    [Fact]
    public void Encryption_ends_in_steps_that_have_to_be_said_and_the_keys_go_after_the_manifest()
    {
        var plane = Applied("apiServer: {encryption: {resources: [secrets]}}");
        var before = Text(plane, "kube-apiserver");
        plane.Store.IsAway = true;
        Say(plane, Ending);
        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();
        Encoding.UTF8.GetString(plane.Machine.File(EncryptionConfiguration.PathOfIt).Content!)
            .ShouldContain("  providers:\n  - identity: {}\n  - secretbox:\n");
        Text(plane, "kube-apiserver").ShouldNotBe(before);

        Say(plane, "apiServer: {}");
        Refused(plane, "what was encrypted with these keys could not be read any more", "and only then no resources, still with write: false");

        plane.Machine.Writes.Clear();
        Say(plane, Ended);
        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();
        Text(plane, "kube-apiserver").ShouldNotContain("encryption");
        plane.Machine.File(EncryptionConfiguration.PathOfIt).Kind.ShouldBe(FileKind.Absent);
        var keys = plane.Machine.Writes.FindIndex(w => w.Contains(EncryptionConfiguration.PathOfIt));
        plane.Machine.Writes.FindIndex(w => w.Contains("kube-apiserver.yaml")).ShouldBeInRange(0, keys - 1);

        Say(plane, "apiServer: {}");
        WorkerTests.Pending(plane.Node.Plan()).ShouldBeEmpty();
    }

    [Theory]
    [InlineData("apiServer: {}", "what was encrypted with these keys could not be read any more")]
    [InlineData(Ended, "this node's API server encrypts what it writes, up to now")]
    public void Encryption_does_not_end_in_one_step(string settings, string why)
    {
        var plane = Applied("apiServer: {encryption: {resources: [secrets]}}");

        Say(plane, settings);

        Refused(plane, why, "the resources as before and apiServer.encryption.write: false; then write all of them anew");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_end_of_encryption_cut_off_at_any_write_is_gone_on_with(bool afterEffect)
    {
        for (var cut = 0; ; cut++)
        {
            var plane = Applied(Ending);
            Say(plane, Ended);
            plane.Machine.CrashAtWrite = cut;
            plane.Machine.CrashAfterEffect = afterEffect;
            if (!CrashTests.Dies(plane.Node))
            {
                cut.ShouldBeGreaterThan(1);
                return;
            }

            plane.Machine.CrashAtWrite = -1;
            var keys = plane.Machine.File(EncryptionConfiguration.PathOfIt).Kind;
            var wants = Text(plane, "kube-apiserver").Contains("encryption");
            (wants && keys != FileKind.Regular).ShouldBeFalse($"cut at write {cut}: the pod wants keys that are gone");
            WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty($"cut at write {cut}");
            plane.Machine.File(EncryptionConfiguration.PathOfIt).Kind.ShouldBe(FileKind.Absent);
        }
    }

    [Fact]
    public async Task Another_key_by_hand_is_signed_anew_taken_where_the_file_is_gone_and_makes_the_pod_anew()
    {
        var plane = Applied("apiServer: {encryption: {resources: [secrets]}}");
        var (old, pod) = (plane.Store.Text(ClusterAuthorities.EncryptionKeys).Trim(), Text(plane, "kube-apiserver"));
        var added = Convert.ToBase64String(System.Security.Cryptography.RandomNumberGenerator.GetBytes(32));
        plane.Store.Objects[ClusterAuthorities.EncryptionKeys] = Encoding.ASCII.GetBytes($"{added}\n{old}\n");
        plane.Machine.Remove(EncryptionConfiguration.PathOfIt);
        ExitCode.Of(plane.Node.Apply()).ShouldNotBe(ExitCode.Ok, "nobody has signed it");
        plane.Store.Objects.Remove(ClusterAuthorities.EncryptionSums);

        (await ClusterAuthorities.Make(plane.Store, KeyAlgorithm.EcdsaP256, NoKms.Keys, NoKms.Any, plane.Machine.Now, CancellationToken.None))
            .ShouldBe([ClusterAuthorities.EncryptionSums]);
        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();

        var text = Encoding.UTF8.GetString(plane.Machine.File(EncryptionConfiguration.PathOfIt).Content!);
        text.IndexOf(added, StringComparison.Ordinal).ShouldBeInRange(1, text.IndexOf(old, StringComparison.Ordinal));
        Text(plane, "kube-apiserver").ShouldNotBe(pod);
    }

    private const string Ending = "apiServer: {encryption: {resources: [secrets], write: false}}";

    private const string Ended = "apiServer: {encryption: {resources: [], write: false}}";

    private static void Refused(ControlPlane plane, string why, string remedy)
    {
        var before = Text(plane, "kube-apiserver");
        var result = plane.Node.Apply();

        ExitCode.Of(result).ShouldBe(ExitCode.Refused);
        var refused = result.Steps.Select(s => s.Outcome).OfType<RefusedToChange>().ShouldHaveSingleItem().Finding;
        refused.Why.ShouldContain(why);
        refused.Remedy.ShouldContain(remedy);
        plane.Machine.File(EncryptionConfiguration.PathOfIt).Kind.ShouldBe(FileKind.Regular);
        Text(plane, "kube-apiserver").ShouldBe(before);
    }

    [Fact]
    public async Task A_store_of_before_loads_and_init_adds_the_key_and_what_somebody_put_there_is_not_taken()
    {
        var store = MemoryStore.Make(new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        store.Objects.Remove(ClusterAuthorities.EncryptionKeys);
        store.Objects.Remove(ClusterAuthorities.EncryptionSums);
        using (var old = await ClusterAuthorities.Load(store, NoKms.Any, CancellationToken.None))
        {
            Should.Throw<CaException>(() => old.Encryption(store.Name)).Message.ShouldContain("has no encryption.key: 'nodeagent ca init");
        }

        (await ClusterAuthorities.Make(store, KeyAlgorithm.EcdsaP256, NoKms.Keys, NoKms.Any, new(2026, 1, 2, 0, 0, 0, TimeSpan.Zero), CancellationToken.None))
            .ShouldBe([ClusterAuthorities.EncryptionKeys, ClusterAuthorities.EncryptionSums]);
        using (var whole = await ClusterAuthorities.Load(store, NoKms.Any, CancellationToken.None))
        {
            Convert.FromBase64String(whole.Encryption(store.Name).ShouldHaveSingleItem()).Length.ShouldBe(32);
        }

        store.Objects[ClusterAuthorities.EncryptionKeys] = Encoding.ASCII.GetBytes(Convert.ToBase64String(new byte[32]) + "\n");
        using var forged = await ClusterAuthorities.Load(store, NoKms.Any, CancellationToken.None);
        Should.Throw<CaException>(() => forged.Encryption(store.Name)).Message.ShouldContain("encryption.sums says otherwise than the store of encryption.key");
    }

    [Theory]
    [InlineData("etcd: {extraArgs: {data-dir: /x}}", "etcd.extraArgs.data-dir: --data-dir is set by nodeagent; say it in etcd.dataDirectory")]
    [InlineData("etcd: {dataDirectory: /var/lib}", "etcd.dataDirectory: '/var/lib' is the system's")]
    [InlineData("etcd: {volume: /dev/sdf}", "etcd.volume: '/dev/sdf' is not the ID of an EBS volume")]
    [InlineData("etcd: {volume: vol-0A1b2c3d}", "etcd.volume: 'vol-0A1b2c3d' is not the ID of an EBS volume")]
    [InlineData(
        "etcd: {volume: vol-0a1b2c3d}\nstorage: {volumes: {runtime: {mount: /var/lib/etcd}}}",
        "storage.volumes.runtime.mount: '/var/lib/etcd' is in the way of etcd.volume")]
    [InlineData(
        "etcd: {volume: vol-0a1b2c3d}\nstorage: {volumeGroup: nodeagent-etcd}",
        "storage.volumeGroup: nodeagent-etcd is the name of the volume group on etcd.volume")]
    [InlineData("controlPlane: {allowUnlisted: '2.0'}", "controlPlane.allowUnlisted: '2.0' is not a minor")]
    [InlineData("etcd: {electionTimeout: 400}", "etcd.electionTimeout: 400 ms is out of range")]
    [InlineData("etcd: {heartbeatInterval: 1}", "etcd.heartbeatInterval: 1 ms")]
    [InlineData("etcd: {quota: 50%}", "etcd.quota: 50% is out of range")]
    [InlineData("etcd: {autoCompaction: {mode: revision, retention: 8h}}", "etcd.autoCompaction.retention: '8h' does not go with the mode")]
    [InlineData("etcd: {requests: {disk: 1}}", "etcd.requests.disk: 'disk' is not asked for")]
    [InlineData(
        "apiServer: {extraArgs: {etcd-servers: 'https://x'}}", "apiServer.extraArgs.etcd-servers: --etcd-servers is set by nodeagent and cannot be changed")]
    [InlineData("apiServer: {extraArgs: {anonymous-auth: 'false'}}", "apiServer.extraArgs.anonymous-auth: --anonymous-auth cannot be turned off")]
    [InlineData("apiServer: {extraArgs: {--v: '2'}}", "has dashes")]
    [InlineData("apiServer: {port: 443}", "apiServer.port: 443 is not a port for it")]
    [InlineData("apiServer: {image: 'x:1@sha256:12'}", "apiServer.image: 'x:1@sha256:12' has something after '@' that is not a digest")]
    [InlineData("apiServer: {admission: {disable: [NodeRestriction]}}", "it stays on")]
    [InlineData("apiServer: {admission: {enable: [A], disable: [A]}}", "'A' is enabled, too")]
    [InlineData("apiServer: {audit: {path: /var/log/kubernetes/audit.log}}", "apiServer.audit.policy: has no rules")]
    [InlineData(
        "apiServer: {audit: {policy: {rules: [{level: Metadata}]}, path: /var/log/audit.log}}",
        "apiServer.audit.path: '/var/log/audit.log' is not a file in a directory of its own")]
    [InlineData("apiServer: {oidc: {issuer: 'http://x', clientId: k}}", "apiServer.oidc.issuer: 'http://x' is no issuer")]
    [InlineData("apiServer: {encryption: {resources: [Secrets]}}", "apiServer.encryption.resources[0]: 'Secrets' is not something to encrypt")]
    [InlineData("apiServer: {featureGates: {lower: true}}", "apiServer.featureGates.lower: 'lower' is not a feature gate's name")]
    [InlineData("controllerManager: {leaderElection: {renewDeadline: 20s}}", "controllerManager.leaderElection.renewDeadline: 20s is not less than the lease")]
    [InlineData("scheduler: {leaderElection: {retryPeriod: 9s}}", "scheduler.leaderElection.retryPeriod: 9s is too long")]
    [InlineData("scheduler: {extraArgs: {kubeconfig: /x}}", "--kubeconfig is set by nodeagent and cannot be changed")]
    [InlineData("controlPlane: {startupTimeout: 5s}", "controlPlane.startupTimeout: 5s is out of range")]
    [InlineData("images: {requireDigest: true}", "etcd.image: is not given, and the default has no digest")]
    public void What_cannot_be_is_refused_with_its_path(string yaml, string why)
    {
        var plane = new ControlPlane(staticPods: true);
        Say(plane, yaml);

        var errors = Should.Throw<ConfigurationException>(() => plane.Node.List());

        errors.Message.ShouldContain(why);
    }

    [Fact]
    public void An_image_that_is_missing_is_named_with_its_pod()
    {
        var plane = Applied();
        var wanted = PodImages.Wanted(plane.Machine);
        wanted.ShouldContain(("kube-scheduler", "registry.k8s.io/kube-scheduler:v1.20.2"));
        wanted.Count.ShouldBe(5);

        PodImages.Missing(wanted, image => !image.Contains("scheduler"))
            .ShouldStartWith("static pod kube-scheduler waits for image registry.k8s.io/kube-scheduler:v1.20.2: not in");
        PodImages.Missing(wanted, _ => true).ShouldBeNull();
        PodImages.Missing(wanted, _ => null).ShouldBeNull();
    }

    [Theory]
    [InlineData("registry.k8s.io/etcd:3.5.16-0", "registry.k8s.io/etcd:3.5.16-0")]
    [InlineData("registry.k8s.io/etcd:3.5.16-0@sha256:ab", "registry.k8s.io/etcd@sha256:ab")]
    [InlineData("localhost:5000/a/b@sha256:ab", "localhost:5000/a/b@sha256:ab")]
    [InlineData("nginx", "docker.io/library/nginx:latest")]
    [InlineData("a/b:1", "docker.io/a/b:1")]
    public void An_image_is_looked_for_as_the_store_calls_it(string image, string name) => PodImages.InStore(image).ShouldBe(name);

    private static ControlPlane Applied(string? settings = null)
    {
        var plane = new ControlPlane(staticPods: true);
        if (settings is not null)
        {
            Say(plane, settings);
        }

        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();
        plane.Machine.Writes.Clear();
        return plane;
    }

    private static void Say(ControlPlane plane, string settings) => plane.Node.PendingConfig = $"apiVersion: nodeagent/v1\nkind: NodeConfig\n{settings}\n";

    private static RunResult Renew(ControlPlane plane, string? role = null, bool all = false) => Applier.Apply(
        CertificateRenewal.Of(plane.Node.List(), role, all, plane.Machine), plane.Machine, plane.Machine, Worker.Quiet, CancellationToken.None);

    private static string Text(ControlPlane plane, string pod) => Encoding.UTF8.GetString(plane.Machine.File($"{Manifests}{pod}.yaml").Content!);
}
