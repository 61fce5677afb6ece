using System.Text;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Telemetry;
using NodeAgent.Tests.Simulation;
using Serilog.Core;
using Serilog.Events;

namespace NodeAgent.Tests.Commands;

public sealed class CertificateRenewalTests
{
    private const string Client = "/etc/kubernetes/pki/kubelet-client.pem";

    private const string Serving = "/etc/kubernetes/pki/kubelet-serving.pem";

    private const string Proxy = "/etc/kubernetes/pki/kube-proxy/client.pem";

    [Theory]
    [InlineData("1.20.2", true)]
    [InlineData("1.30.1", true)]
    [InlineData("1.31.0", false)]
    public void What_is_due_is_renewed_and_each_reader_gets_what_it_needs_and_no_more(string kubelet, bool restarts)
    {
        var worker = Applied(kubelet);
        worker.Machine.Now = worker.Machine.Now.AddDays(61);

        Renew(worker).Succeeded.ShouldBeTrue();

        var writes = worker.Machine.Writes.Where(w => !w.Contains("/run/nodeagent/owed/", StringComparison.Ordinal)).ToList();
        writes.ShouldBe([$"write {Client}", $"write {Serving}", $"write {Proxy}", .. restarts ? ["restart kubelet.service"] : Array.Empty<string>()]);
        worker.Plan().Changes.ShouldBe(0);
    }

    [Fact]
    public void Before_its_time_nothing_is_done_and_the_files_alone_say_so()
    {
        var worker = Applied();
        CertificateRenewal.NothingDue(worker.Machine).ShouldNotBeNull().ShouldStartWith("Nothing is due; the next is ");
        worker.Machine.Now = worker.Machine.Now.AddDays(51);

        CertificateRenewal.NothingDue(worker.Machine).ShouldNotBeNull();
        Renew(worker).Count<Held>().ShouldBe(4);
        worker.Machine.Writes.ShouldBeEmpty();

        // The spread of a fleet begins a twelfth of a lifetime before the last third.
        worker.Machine.Now = worker.Machine.Now.AddDays(2);
        CertificateRenewal.NothingDue(worker.Machine).ShouldBeNull();
    }

    [Fact]
    public void What_is_wrong_with_a_file_is_no_matter_of_time()
    {
        var worker = Applied();
        worker.Machine.Put(Client, worker.Machine.File(Client) with { Mode = Files.WorldReadable });

        CertificateRenewal.NothingDue(worker.Machine).ShouldBeNull();
        Renew(worker);

        worker.Machine.Writes.ShouldBe([$"write {Client}"]);
    }

    [Fact]
    public void One_role_is_renewed_on_demand_with_a_new_key()
    {
        var worker = Applied();
        var before = worker.Machine.PrivateKey(Client).PublicKey;

        Renew(worker, "kubelet-client").Succeeded.ShouldBeTrue();

        worker.Machine.Writes.ShouldBe([$"write {Client}"]);
        worker.Machine.PrivateKey(Client).PublicKey.ShouldNotBe(before);
    }

    [Fact]
    public void All_are_renewed_on_demand()
    {
        var worker = Applied("1.31.0");

        Renew(worker, all: true).Succeeded.ShouldBeTrue();

        worker.Machine.Writes.ShouldBe([$"write {Client}", $"write {Serving}", $"write {Proxy}"]);
    }

    [Theory]
    [InlineData(true, ExitCode.NotReachableInTime)]
    [InlineData(false, ExitCode.Failed)]
    public void Whoever_issues_them_is_away_or_says_no_and_the_exit_code_tells_which(bool isOutOfReach, int exitCode)
    {
        var worker = Applied();
        worker.MakeSource = _ => new Refusing(isOutOfReach);

        var result = Renew(worker, all: true);

        result.Count<Failed>().ShouldBe(3);
        ExitCode.Of(result).ShouldBe(exitCode);
    }

    [Fact]
    public void A_role_of_another_node_is_told()
    {
        var worker = Applied();

        Should.Throw<NodeAgent.Desired.NotPossibleException>(() => Renew(worker, "apiserver")).Message
            .ShouldBe("apiserver is not this node's; it has kubelet-client, kubelet-serving, kube-proxy");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void A_power_cut_in_the_midst_is_gone_on_from(int write)
    {
        foreach (var afterEffect in new[] { false, true })
        {
            var worker = Applied();
            worker.Machine.Now = worker.Machine.Now.AddDays(61);
            (worker.Machine.CrashAtWrite, worker.Machine.CrashAfterEffect) = (write, afterEffect);
            Should.Throw<PowerCutException>(() => Renew(worker));
            // The agent dies, the machine goes on.
            worker.Machine.CrashAtWrite = -1;

            // The fifth write is the restart: once it was carried out, all is done.
            (CertificateRenewal.NothingDue(worker.Machine) is null).ShouldBe(write < 4 || !afterEffect, $"write {write}");
            Renew(worker).Succeeded.ShouldBeTrue();

            worker.Machine.Writes.Count(w => w == "restart kubelet.service").ShouldBe(1);
            worker.Plan().Changes.ShouldBe(0);
        }
    }

    [Fact]
    public void Of_a_CA_that_was_not_adopted_nothing_is_asked_for()
    {
        var (node, next) = (Applied(), new Worker());
        var inputs = node.Inputs();
        var adopted = AdoptionLook.Adopted(inputs, node.Machine.Now, null);

        CertificateRenewal.CheckAdopted(inputs, adopted);
        CertificateRenewal.CheckAdopted(inputs, null);
        Should.Throw<NodeAgent.Desired.NotPossibleException>(() => CertificateRenewal.CheckAdopted(next.Inputs(), adopted)).Message.ShouldContain("adopt");
    }

    [Theory]
    [InlineData(false, "node: {name: instanceId}", "node.name is \"instanceId\" (extra.yaml:")]
    [InlineData(false, "node: {role: control-plane}\ncertificates: {source: store, store: s3://pki/test}", "node.role is \"control-plane\"")]
    [InlineData(false, "cluster: {name: other}", "cluster.name is \"other\"")]
    [InlineData(false, "certificates: {keyAlgorithm: rsa-2048}", "certificates.keyAlgorithm is \"rsa-2048\"")]
    [InlineData(false, "cluster: {endpoint: 'https://other.example:6443'}", null)]
    [InlineData(false, "certificates: {source: issuer, issuer: {endpoints: ['https://10.0.0.9:10261']}}", null)]
    [InlineData(false, "node: {labels: {pool: a}}", null)]
    [InlineData(true, "cluster: {endpoint: 'https://other.example:6443'}", "cluster.endpoint is \"https://other.example:6443\"")]
    [InlineData(true, "cluster: {serviceRange: 10.32.0.0/16}", "cluster.serviceRange is \"10.32.0.0/16\"")]
    [InlineData(true, "cluster: {domain: other.local}", "cluster.domain is \"other.local\"")]
    [InlineData(true, "certificates: {apiNames: [new.example.com]}", "certificates.apiNames is [\"new.example.com\"]")]
    [InlineData(true, "certificates: {store: s3://pki/other}", null)]
    public void What_would_go_into_certificates_has_to_be_adopted_first(bool isControlPlane, string pending, string? refused)
    {
        var node = isControlPlane ? new ControlPlane().Node : new Worker();
        var adopted = AdoptionLook.Adopted(node.Inputs(), node.Machine.Now, null);
        node.PendingConfig = "apiVersion: nodeagent/v1\nkind: NodeConfig\n" + pending;
        var inputs = node.Inputs();

        if (refused is null)
        {
            CertificateRenewal.CheckAdopted(inputs, adopted);
            return;
        }

        var message = Should.Throw<NodeAgent.Desired.NotPossibleException>(() => CertificateRenewal.CheckAdopted(inputs, adopted)).Message;
        message.ShouldContain(refused.Replace("extra.yaml", "pending.yaml", StringComparison.Ordinal));
        message.ShouldContain("'nodeagent apply' adopts it");
    }

    /// <summary>
    /// In what is logged, shown and planned. What is on the disk is in <see cref="Resources.ControlPlaneFilesTests"/> and <see
    /// cref="Resources.CertificateTests"/>.
    /// </summary>
    [Fact]
    public void No_private_key_is_in_what_a_node_says()
    {
        var worker = new Worker();
        var said = new StringWriter();
        var sink = new Heard();
        Go(worker.List());
        worker.Machine.Now = worker.Machine.Now.AddDays(61);
        Go(CertificateRenewal.Of(worker.List(), null, all: true, worker.Machine));
        worker.Machine.Now = worker.Machine.Now.AddDays(100);
        worker.Machine.Put(Serving, worker.Machine.File(Serving) with { Content = [.. worker.Machine.File(Serving).Content!.Reverse()] });
        var plan = worker.Plan();
        said.Write(PlanJson.Write(plan, "node"));
        new PlanText(said, false).Write(plan);
        said.Write(string.Concat(plan.Steps.Select(s => s.ToString())));
        var list = CertificateList.Read(worker.Machine, "/etc/kubernetes");
        said.Write(CertificateList.Text(list, "/etc/kubernetes") + CertificateList.Json(list, 2) + CertificateRenewal.NothingDue(worker.Machine));

        var keys = worker.Machine.AllFiles.Where(f => f.Value.Content is not null).Select(f => Encoding.UTF8.GetString(f.Value.Content!))
            .SelectMany(KeyLines).Concat(KeyLines(worker.AuthorityPem)).ToList();
        keys.Count.ShouldBeGreaterThan(6);
        var all = said.ToString() + string.Concat(sink.Lines);
        all.ShouldContain("kubelet-serving");
        keys.ShouldAllBe(line => !all.Contains(line, StringComparison.Ordinal));
        all.ShouldNotContain("PRIVATE");
        worker.Machine.AllFiles.Where(f => f.Value.Mode.HasFlag(UnixFileMode.OtherRead) && f.Value.Content is not null)
            .SelectMany(f => KeyLines(Encoding.UTF8.GetString(f.Value.Content!)).Select(_ => f.Key)).ShouldBeEmpty();

        void Go(ResourceList resources)
        {
            using var log = RunLog.ToJournal("0", sink);
            var result = Applier.Apply(
                resources,
                worker.Machine,
                worker.Machine,
                new ApplyProgress(said, true, false, said.Write, new RunLog(log), new Timeline()),
                CancellationToken.None);
            said.Write(RunJson.Write(result, "node", 0, new Timeline()));
            result.Succeeded.ShouldBeTrue();
        }

        static IEnumerable<string> KeyLines(string text) => text.Split("-----BEGIN ").Where(b => b.Split('\n')[0].Contains("PRIVATE KEY"))
            .SelectMany(b => b.Split('\n').Skip(1).TakeWhile(l => l.Length > 0 && l[0] != '-')).Where(l => l.Length >= 40);
    }

    private static Worker Applied(string kubelet = "1.20.2")
    {
        var worker = new Worker();
        worker.Facts = worker.Facts with { Versions = worker.Facts.Versions with { Kubelet = kubelet } };
        worker.Apply().Succeeded.ShouldBeTrue();
        worker.Machine.Writes.Clear();
        return worker;
    }

    private static RunResult Renew(Worker worker, string? role = null, bool all = false) =>
        Applier.Apply(CertificateRenewal.Of(worker.List(), role, all, worker.Machine), worker.Machine, worker.Machine, Quiet.Instance, CancellationToken.None);

    private sealed class Refusing(bool isOutOfReach) : ICertificateSource
    {
        public IReadOnlyList<byte[]> Obtain(string role, byte[] request, CancellationToken cancellation) =>
            throw new MachineException("certificates", "none today") { IsOutOfReach = isOutOfReach };
    }

    private sealed class Quiet : IRunObserver
    {
        public static readonly Quiet Instance = new();

        public void Changing(Resource resource, Change change)
        {
        }

        public void Finished(Step step)
        {
        }
    }

    private sealed class Heard : ILogEventSink
    {
        public List<string> Lines { get; } = [];

        public void Emit(LogEvent logEvent) =>
            Lines.Add(logEvent.RenderMessage(System.Globalization.CultureInfo.InvariantCulture)
                + string.Concat(logEvent.Properties.Select(p => $" {p.Key}={p.Value}")) + logEvent.Exception);
    }
}
