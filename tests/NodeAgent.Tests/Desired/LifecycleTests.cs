using System.Text;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

public class LifecycleTests
{
    private const string WatchDropIn = "/etc/systemd/system/nodeagent-watch.service.d/50-nodeagent.conf";

    private const string Wanted = "/etc/systemd/system/multi-user.target.d/50-nodeagent-watch.service.conf";

    private const string ReadyDropIn = "/etc/systemd/system/nodeagent-ready.service.d/50-nodeagent.conf";

    private const string KubeletCertificate = "/etc/kubernetes/pki/kubelet-client.pem";

    [Fact]
    public void Without_a_word_of_autoscaling_nobody_is_told_and_nothing_watched()
    {
        var worker = InGroup("InService", "");

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        (worker.Machine.File(WatchDropIn).Kind, worker.Machine.File(Wanted).Kind).ShouldBe((FileKind.Absent, FileKind.Absent));
        worker.Machine.Writes.ShouldNotContain(w => w.Contains("nodeagent-watch", StringComparison.Ordinal));
        Text(worker, ReadyDropIn).ShouldNotContain("hook");
    }

    [Fact]
    public void Hooks_are_handed_to_who_answers_them_with_the_group_of_the_instance_s_tag()
    {
        var worker = InGroup("InService", "launchHook: up, terminateHook: down, heartbeat: 20s, drainTimeout: 90s");

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        Text(worker, ReadyDropIn).ShouldContain(
            " --launch-hook up --group workers --instance i-0123456789abcdef0 --region eu-central-1 --target InService --heartbeat 20s --give-up-after 30m\n");
        Text(worker, WatchDropIn).ShouldContain(
            "ExecStart=/usr/bin/nodeagent watch --node ip-10-0-1-7.eu-central-1.compute.internal --server https://api.test.example:6443/ --drain-timeout 90s"
            + " --terminate-hook down --group workers --instance i-0123456789abcdef0 --region eu-central-1 --target InService --heartbeat 20s\n");
        worker.Machine.Unit(Lifecycle.WatchUnit).IsActive.ShouldBeTrue();
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void An_instance_in_no_group_has_no_hooks_whatever_its_layers_say()
    {
        var worker = InGroup(null, "launchHook: up");

        worker.Apply();

        Text(worker, ReadyDropIn).ShouldNotContain("--launch-hook");
        worker.Inputs().Advice.ShouldBeEmpty();
    }

    [Fact]
    public void A_group_that_no_tag_names_is_warned_of()
    {
        var worker = InGroup("InService", "launchHook: up");
        worker.Facts = worker.Facts with { Instance = worker.Facts.Instance with { Tags = new Dictionary<string, string>() } };

        worker.Inputs().Advice.ShouldHaveSingleItem().Says.ShouldContain("no tag aws:autoscaling:groupName");
    }

    [Fact]
    public void The_watch_goes_when_nobody_wants_it_and_disturbs_nothing()
    {
        var worker = InGroup("InService", "watch: true");
        worker.Apply();
        worker.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig}";
        ((int)worker.Plan().Worst).ShouldBe(0);

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Unit(Lifecycle.WatchUnit).IsActive.ShouldBeFalse();
        (worker.Machine.File(WatchDropIn).Kind, worker.Machine.File(Wanted).Kind).ShouldBe((FileKind.Absent, FileKind.Absent));
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Theory]
    [InlineData("Warmed:Stopped")]
    [InlineData("Warmed:Running")]
    [InlineData("Warmed:Hibernated")]
    public void In_a_warm_pool_all_is_prepared_and_nothing_joins(string state)
    {
        var worker = InGroup(state, "launchHook: up");

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Asked.ShouldBeEmpty();
        worker.Machine.File(KubeletCertificate).Kind.ShouldBe(FileKind.Absent);
        worker.Machine.Unit(Kubelet.Unit).IsActive.ShouldBeFalse();
        worker.Machine.Writes.ShouldNotContain(w => w.EndsWith(" " + Kubelet.Unit, StringComparison.Ordinal));
        worker.Machine.Unit("containerd.service").IsActive.ShouldBeTrue();
        worker.Machine.Unit(Lifecycle.WatchUnit).IsActive.ShouldBeTrue();
        worker.Machine.File("/etc/kubernetes/kubelet.yaml").Kind.ShouldBe(FileKind.Regular);
        worker.Machine.File(Lifecycle.WarmPath).Kind.ShouldBe(FileKind.Regular);
        Text(worker, ReadyDropIn)
            .ShouldContain($" --warm --launch-hook up --group workers --instance i-0123456789abcdef0 --region eu-central-1 --target {state}");
        Text(worker, ReadyDropIn).ShouldContain("ExecStartPre=/usr/bin/systemctl start nodeagent-images.service\n");
        Text(worker, WatchDropIn).ShouldContain("nodeagent watch --warm ");
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void Out_of_the_pool_it_joins_and_back_in_it_what_it_has_stays()
    {
        var worker = InGroup("Warmed:Running", "");
        worker.Apply();

        State(worker, "InService");
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.File(Lifecycle.WarmPath).Kind.ShouldBe(FileKind.Absent);
        worker.Machine.File(KubeletCertificate).Kind.ShouldBe(FileKind.Regular);
        worker.Machine.Unit(Kubelet.Unit).IsActive.ShouldBeTrue();
        worker.Machine.Unit(Lifecycle.WatchUnit).IsActive.ShouldBeFalse();
        // The mark is away before anything that it holds back may start.
        var writes = worker.Machine.Writes.ToList();
        writes.FindLastIndex(w => w.Contains(Lifecycle.WarmPath, StringComparison.Ordinal))
            .ShouldBeInRange(0, writes.FindIndex(w => w.StartsWith("start kubelet", StringComparison.Ordinal)));
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();

        State(worker, "Warmed:Running");
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.File(KubeletCertificate).Kind.ShouldBe(FileKind.Regular);
        worker.Machine.Unit(Kubelet.Unit).IsActive.ShouldBeFalse();
        worker.Machine.Unit(Lifecycle.WatchUnit).IsActive.ShouldBeTrue();
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void A_control_plane_node_does_not_wait_in_a_pool()
    {
        var worker = InGroup("Warmed:Stopped", "");
        worker.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, node: {role: control-plane}, certificates: {source: store, store: 's3://pki/one'}}";

        Should.Throw<NotPossibleException>(() => worker.List()).IsRefusal.ShouldBeTrue();
    }

    private static Worker InGroup(string? state, string autoscaling)
    {
        var worker = new Worker { ExtraConfig = $"{{apiVersion: nodeagent/v1, kind: NodeConfig, autoscaling: {{{autoscaling}}}}}" };
        worker.Facts = worker.Facts with
        {
            Instance = worker.Facts.Instance with { Tags = new Dictionary<string, string> { ["aws:autoscaling:groupName"] = "workers" } },
        };
        State(worker, state);
        return worker;
    }

    private static void State(Worker worker, string? state) =>
        worker.Facts = worker.Facts with { Instance = worker.Facts.Instance with { LifecycleState = state } };

    private static string Text(Worker worker, string path) => Encoding.UTF8.GetString(worker.Machine.File(path).Content.ShouldNotBeNull());
}
