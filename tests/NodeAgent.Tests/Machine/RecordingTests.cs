using System.Text;
using NodeAgent.Machine;

namespace NodeAgent.Tests.Machine;

public sealed class RecordingTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void A_replay_answers_as_the_machine_did()
    {
        var text = _directory.Put("text", "a+b <c> ü\n");
        File.WriteAllBytes($"{_directory.Path}/binary", [0xFF, 0x00, 0x80]);
        _directory.Link("link", "/target");
        using var machine = new LinuxReader(CancellationToken.None);
        var recorder = new RecordingReader(machine);
        string[] paths = [text, $"{_directory.Path}/binary", $"{_directory.Path}/link", _directory.Path, $"{_directory.Path}/nothing"];
        var answers = paths.ToDictionary(p => p, recorder.File);
        var names = recorder.Directory(_directory.Path);
        var mounts = recorder.Mounts();
        var release = recorder.Sysctl("kernel.osrelease");
        recorder.Sysctl("no.such.key").ShouldBeNull();
        var now = recorder.Now;

        var json = recorder.Recording.ToJson();
        var replay = new ReplayReader(Recording.Parse(json, "it"));

        foreach (var (path, answer) in answers)
        {
            var replayed = replay.File(path);
            replayed.Content.ShouldBe(answer.Content);
            (replayed with { Content = null }).ShouldBe(answer with { Content = null });
        }

        replay.Directory(_directory.Path).ShouldBe(names);
        replay.Mounts().Select(m => (m.Source, m.Target, string.Join(',', m.Options)))
            .ShouldBe(mounts.Select(m => (m.Source, m.Target, string.Join(',', m.Options))));
        replay.Sysctl("kernel.osrelease").ShouldBe(release);
        replay.Sysctl("no.such.key").ShouldBeNull();
        replay.Now.ShouldBe(now);
        Encoding.UTF8.GetString(json).ShouldContain("\"text\": \"a+b <c> ü\\n\"");
        Recording.Parse(json, "it").ToJson().ShouldBe(json);
    }

    [Fact]
    public void What_was_not_asked_then_is_a_failed_probe_now()
    {
        var replay = new ReplayReader(new Recording());

        Action[] questions =
        [
            () => replay.File("/x"), () => replay.Directory("/x"), () => replay.PrivateKey("/x"), () => replay.Unit("x"), () => replay.Mounts(),
            () => replay.Disks(), () => replay.Signatures("/x"), () => replay.VolumeGroups(), () => replay.Module("x"), () => replay.Sysctl("x"),
            () => replay.PacketFilter("x"), () => replay.PacketFilterTables(), () => replay.Chains("x"), () => replay.IpSets(), () => replay.IpSetPorts("x"),
            () => replay.VirtualServers(), () => replay.Addresses("x"), () => replay.Processes("x"),
            () => _ = replay.Now,
        ];
        foreach (var question in questions)
        {
            Should.Throw<ProbeException>(question).Message.ShouldContain("was not asked");
        }
    }

    [Fact]
    public void A_failure_is_replayed_as_that_failure()
    {
        var recorder = new RecordingReader(new FailingReader());
        Should.Throw<ProbeException>(() => recorder.Unit("x.service"));
        Should.Throw<ProbeException>(recorder.VolumeGroups);
        Should.Throw<ProbeException>(() => recorder.Module("x"));

        var replay = new ReplayReader(Recording.Parse(recorder.Recording.ToJson(), "it"));

        Should.Throw<ProbeException>(() => replay.Unit("x.service")).Message.ShouldBe("the bus: is not there");
        Should.Throw<ProbeException>(replay.VolumeGroups).Message.ShouldBe("the bus: is not there");
        Should.Throw<ProbeException>(() => replay.Module("x")).Message.ShouldBe("the bus: is not there");
    }

    [Fact]
    public void Secrets_are_not_recorded_and_can_still_be_compared()
    {
        var path = $"{_directory.Path}/kubeconfig";
        Files.Write(path, "token: hunter2hunter2"u8, Files.OwnerOnly);
        using var machine = new LinuxReader(CancellationToken.None);
        var recorder = new RecordingReader(machine);
        recorder.File(path).Content.ShouldNotBeNull();

        var json = recorder.Recording.ToJson();
        var replayed = new ReplayReader(Recording.Parse(json, "it")).File(path);

        Encoding.UTF8.GetString(json).ShouldNotContain("hunter2");
        Encoding.UTF8.GetString(json).ShouldNotContain(Convert.ToBase64String("token: hunter2hunter2"u8)[..12]);
        replayed.Content.ShouldBeNull();
        replayed.Mode.ShouldBe(Files.OwnerOnly);
        replayed.Matches("token: hunter2hunter2"u8).ShouldBeTrue();
        replayed.Matches("token: hunter3"u8).ShouldBeFalse();
        // Recorded once more, from the replay.
        var again = new RecordingReader(new ReplayReader(Recording.Parse(json, "it")));
        again.File(path);
        again.Recording.ToJson().ShouldBe(json);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("""{"filez":{}}""")]
    public void What_is_no_recording_is_named(string json) =>
        Should.Throw<ProbeException>(() => Recording.Parse(Encoding.UTF8.GetBytes(json), "machine.json")).Message.ShouldStartWith("machine.json: ");

    [Fact]
    public void An_empty_machine_is_fresh_from_its_image()
    {
        var empty = new EmptyMachineReader(DateTimeOffset.UnixEpoch, []);

        empty.File("/etc/passwd").ShouldBe(FileReport.Absent);
        empty.Unit("kubelet.service").IsLoaded.ShouldBeTrue();
        empty.Unit("kubelet.service").IsActive.ShouldBeFalse();
        empty.Module("overlay").ShouldBe(ModuleState.Available);
        empty.Sysctl("kernel.panic").ShouldBe("");
        empty.Now.ShouldBe(DateTimeOffset.UnixEpoch);
    }

    private sealed class FailingReader : IMachineReader
    {
        public DateTimeOffset Now => throw Failure();

        public FileReport File(string path) => throw Failure();

        public IReadOnlyList<string> Directory(string path) => throw Failure();

        public KeyReport PrivateKey(string path) => throw Failure();

        public UnitReport Unit(string name) => throw Failure();

        public IReadOnlyList<MountReport> Mounts() => throw Failure();

        public IReadOnlyList<DiskReport> Disks() => throw Failure();

        public IReadOnlyList<Signature> Signatures(string device) => throw Failure();

        public IReadOnlyList<VolumeGroupReport> VolumeGroups() => throw Failure();

        public ModuleState Module(string name) => throw Failure();

        public string? Sysctl(string name) => throw Failure();

        public string? PacketFilter(string table) => throw Failure();

        public IReadOnlyList<string> PacketFilterTables() => throw Failure();

        public IReadOnlyList<ChainTable> Chains(string prefix) => throw Failure();

        public IReadOnlyList<string> IpSets() => throw Failure();

        public IReadOnlyList<int> IpSetPorts(string set) => throw Failure();

        public IReadOnlyList<VirtualServer> VirtualServers() => throw Failure();

        public IReadOnlyList<string>? Addresses(string networkInterface) => throw Failure();

        public IReadOnlyList<ProcessReport> Processes(string name) => throw Failure();

        private static ProbeException Failure() => new("the bus", "is not there");
    }
}
