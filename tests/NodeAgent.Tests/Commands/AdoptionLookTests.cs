using System.Text.Json;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Tests.Desired;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Commands;

/// <summary>A worker that runs, and configuration that changes below it.</summary>
public class AdoptionLookTests
{
    private const string Quiet = "kernel: {sysctls: {net.core.somaxconn: 4096}}";

    private const string Disruptive = "node: {labels: {pool: b}}";

    private readonly Worker _worker = new();
    private AdoptionRecord? _record;

    public AdoptionLookTests()
    {
        _worker.ExtraConfig = Document(Running(""));
        Adopt();
    }

    [Fact]
    public void Nothing_is_new_right_after_a_run()
    {
        var look = Look();

        (look.Step, look.Plan, look.Differences.Count, look.ToKeep).ShouldBe((AdoptionStep.NothingNew, null, 0, null));
        look.Sentence().ShouldMatch("^Nothing new: configuration [0-9a-f]{12} was adopted at 2026-11-21T12:00:00Z\\.$");
    }

    [Fact]
    public void A_run_that_adopts_nothing_new_keeps_since_when_it_holds()
    {
        var before = _record;
        _worker.Machine.Now += TimeSpan.FromDays(1);
        Adopt();
        _record.ShouldBeSameAs(before);

        _record = before! with { Pending = new("other", _worker.Machine.Now, _worker.Machine.Now, null) };
        Adopt();
        (_record.AdoptedAt, _record.Pending).ShouldBe((before.AdoptedAt, null));
    }

    [Fact]
    public void Drift_is_not_new_configuration()
    {
        _worker.Machine.Remove("/etc/kubernetes/kubelet.yaml");

        Look().Step.ShouldBe(AdoptionStep.NothingNew);
    }

    [Fact]
    public void A_node_that_was_made_from_nothing_yet_is_left_to_its_first_run()
    {
        _record = null;
        var look = Look(Running(Disruptive));

        (look.Adopts, look.ToKeep).ShouldBe((false, null));
        look.Sentence().ShouldContain("first run is nodeagent.service's");
    }

    [Fact]
    public void A_node_that_does_not_look_yet_does_not_claim_to()
    {
        _worker.ExtraConfig = Document("");
        Adopt();

        Look(Running(Disruptive)).Sentence().ShouldContain("made with adoption.when: boot, and does not look by itself yet");
    }

    [Fact]
    public void With_boot_a_running_node_is_left_alone_and_says_who_says_so()
    {
        var look = Look(Quiet);

        (look.Step, look.Adopts).ShouldBe((AdoptionStep.AtBoot, false));
        look.Sentence().ShouldContain("adopted at the next boot, or by 'nodeagent apply': adoption.when is boot (defaults:");
        PendingText.Write(look).ShouldContain("\n  kernel.sysctls[net.core.somaxconn]: not set -> \"4096\"  # extra.yaml:");
    }

    [Fact]
    public void What_disturbs_nothing_is_adopted_by_the_look_that_finds_it()
    {
        var look = Look(Running(Quiet));

        (look.Step, look.Adopts, look.IsDisruptive).ShouldBe((AdoptionStep.Now, true, false));
    }

    [Fact]
    public void What_restarts_a_service_waits_for_the_slot_with_all_that_came_with_it()
    {
        var first = Look(Running(Disruptive + "\n" + Quiet));
        first.Step.ShouldBe(AdoptionStep.InSlot);
        first.Slot.ShouldBeInRange(_worker.Machine.Now, _worker.Machine.Now.AddHours(24));
        PendingText.Write(first).ShouldContain("disturbs the node (restart kubelet.service)");
        PendingText.Write(first).ShouldEndWith(
            $"It is adopted as a whole from {Rfc3339.Text(first.Slot)} on, this node's slot in the 1d after it was first seen.");

        while (_worker.Machine.Now.AddMinutes(30) < first.Slot)
        {
            _record = Look().ToKeep.ShouldNotBeNull();
            _worker.Machine.Now += TimeSpan.FromMinutes(30);
            var again = Look();
            (again.Step, again.Slot).ShouldBe((AdoptionStep.InSlot, first.Slot));
        }

        _record = Look().ToKeep.ShouldNotBeNull();
        _worker.Machine.Now += TimeSpan.FromMinutes(30);
        Look().Adopts.ShouldBeTrue();
        Adopt();
        Look().Step.ShouldBe(AdoptionStep.NothingNew);
    }

    [Fact]
    public void Boot_in_the_new_configuration_stops_an_adoption_that_waits_and_running_starts_it_anew()
    {
        _record = Look(Running(Disruptive)).ToKeep;
        Look(Disruptive).Step.ShouldBe(AdoptionStep.AtBoot);
        _record = Look(Disruptive).ToKeep;
        _worker.Machine.Now += TimeSpan.FromDays(2);

        var look = Look(Running(Disruptive));

        (look.Step, look.Pending!.Since).ShouldBe((AdoptionStep.InSlot, _worker.Machine.Now));
    }

    [Fact]
    public void Configuration_that_is_taken_back_is_forgotten()
    {
        _record = Look(Running(Disruptive)).ToKeep.ShouldNotBeNull();

        var look = Look(Running(""));

        look.Step.ShouldBe(AdoptionStep.NothingNew);
        look.ToKeep.ShouldNotBeNull().Pending.ShouldBeNull();
    }

    [Fact]
    public void Configuration_that_was_begun_and_is_taken_back_is_work_and_waits_for_no_slot()
    {
        _worker.ExtraConfig = Document(Running("kubelet: {configuration: {maxOpenFiles: 5000}}"));
        _record = AdoptionLook.Begins(_worker.Inputs(), _record).ShouldNotBeNull();
        AdoptionLook.Begins(_worker.Inputs(), _record).ShouldBeNull();
        _worker.Apply();

        var back = Look(Running(""));

        (back.Step, back.Adopts, back.IsDisruptive, back.Pending).ShouldBe((AdoptionStep.Now, true, true, null));
        back.Sentence().ShouldContain("does not hold as a whole, since another was begun and did not come to hold: 2 changes");
        Adopt();
        _record!.Begun.ShouldBeNull();
        Look().Step.ShouldBe(AdoptionStep.NothingNew);
    }

    [Fact]
    public void A_boot_that_did_not_end_well_is_made_up_for_by_the_next_look()
    {
        _worker.Machine.Remove(BootGate.StampPath);

        var same = Look();
        var other = Look(Running(Disruptive));

        (same.Adopts, other.Adopts).ShouldBe((true, true));
        same.Sentence().ShouldContain("since this boot did not end well");
    }

    [Theory]
    [InlineData("runtime: docker", "runtime")]
    [InlineData("storage: {volumes: {scratch: {size: 5%, filesystem: xfs, mount: /data/scratch}}}", "storage")]
    [InlineData("node: {name: instanceId}", "node.name")]
    public void What_is_nothing_to_change_below_pods_waits_for_a_boot(string config, string said)
    {
        _worker.Facts = _worker.Facts with { Versions = _worker.Facts.Versions with { Docker = "26.1.5" } };
        _worker.Machine.Set(new UnitReport("docker.service", LoadState: "loaded", UnitFileState: "enabled"));

        var look = Look(Running(config));
        _record = look.ToKeep;
        _worker.Machine.Now += TimeSpan.FromDays(2);

        (look.Step, look.Adopts, Look().Adopts).ShouldBe((AdoptionStep.AtBoot, false, false));
        look.Sentence().ShouldContain($"on a node that is drained: {said} is nothing to change below pods.");
    }

    [Theory]
    [InlineData("network: {plugin: none}")]
    [InlineData("network: {podRange: 10.244.9.0/24}")]
    public void The_pod_network_waits_for_the_slot(string config)
    {
        // Where nothing of it is in the kernel, no pod has it either.
        PluginKernels.Of(_worker.Machine.Rules, "bridge");

        Look(Running(config)).Step.ShouldBe(AdoptionStep.InSlot);
    }

    [Fact]
    public void A_shorter_rhythm_in_the_new_configuration_does_not_keep_it_from_being_adopted()
    {
        _worker.ExtraConfig = Document("adoption: {when: running, every: 2h, window: 48h}");
        Adopt();
        var looks = 0;
        while (!Look("adoption: {when: running, every: 10m, window: 48h}\n" + Disruptive).Adopts)
        {
            _record = Look().ToKeep ?? _record;
            _worker.Machine.Now += TimeSpan.FromHours(2);
            (++looks).ShouldBeLessThan(25);
        }
    }

    [Fact]
    public void What_cannot_be_done_as_a_whole_is_not_begun()
    {
        _worker.Machine.Put("/etc/kubernetes/kubelet.yaml", new FileReport(FileKind.Directory));

        var look = Look(Running(Quiet));

        (look.Step, look.Adopts).ShouldBe((AdoptionStep.Now, false));
        look.Obstacles.ShouldHaveSingleItem().ShouldStartWith("file /etc/kubernetes/kubelet.yaml is refused: ");
        PendingText.Write(look).ShouldContain("\nNot before this is settled: file /etc/kubernetes/kubelet.yaml is refused");
    }

    [Fact]
    public void What_stands_in_for_a_source_that_is_away_says_nothing_of_what_is_new()
    {
        var inputs = _worker.Inputs() with { StandIns = ["S3 is away."] };

        var thrown = Should.Throw<NotReachableException>(() => AdoptionLook.At(inputs, _worker.Machine, _record));

        thrown.Message.ShouldBe("Whether there is new configuration cannot be told, and nothing was changed: S3 is away.");
        ExitCode.Of(thrown).ShouldBe(ExitCode.NotReachableInTime);
    }

    [Fact]
    public void A_run_that_failed_is_tried_again_and_said()
    {
        var look = Look(Running(Quiet));
        _record = _record! with { Pending = look.Pending! with { FailedAt = _worker.Machine.Now } };
        _worker.Machine.Now += TimeSpan.FromMinutes(30);

        Look().Adopts.ShouldBeTrue();
        Look().Sentence().ShouldEndWith("It was tried at 2026-11-21T12:00:00Z and failed; journalctl -t nodeagent says why.");
    }

    [Fact]
    public void Programs_are_told_the_same_and_nobody_a_secret()
    {
        var look = Look(Running(Disruptive + "\ncontainerd: {mirrors: {docker.io: {endpoints: ['https://m.example'], headers: {Authorization: hush}}}}"));

        var written = PendingJson.Write(look, 2);
        written.ShouldNotContain("hush");
        PendingText.Write(look).ShouldNotContain("hush");
        System.Text.Encoding.UTF8.GetString(AdoptionLook.Adopted(_worker.Inputs(), _worker.Machine.Now, null).Write()).ShouldNotContain("hush");
        using var json = JsonDocument.Parse(written);
        json.RootElement.GetProperty("slot").GetString().ShouldBe(Rfc3339.Text(look.Slot));
        json.RootElement.GetProperty("disruptive").GetBoolean().ShouldBeTrue();
        json.RootElement.GetProperty("differences").EnumerateArray().Select(d => (d.GetProperty("path").GetString(), d.GetProperty("after").ToString()))
            .ShouldContain(("containerd.mirrors[docker.io].headers.Authorization", "(secret)"));
    }

    private void Adopt()
    {
        WorkerTests.Problems(_worker.Apply()).ShouldBeEmpty();
        _record = AdoptionLook.Adopted(_worker.Inputs(), _worker.Machine.Now, _record);
    }

    private AdoptionLook Look(string? config = null)
    {
        _worker.ExtraConfig = config is null ? _worker.ExtraConfig : Document(config);
        return AdoptionLook.At(_worker.Inputs(), _worker.Machine, _record);
    }

    private static string Running(string config) => $"adoption: {{when: running}}\n{config}";

    private static string Document(string config) => $"apiVersion: nodeagent/v1\nkind: NodeConfig\n{config}\n";
}
