using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Tests.Convergence;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Resources;

/// <summary>Files, directories and what is left over of them.</summary>
public class FileTests
{
    private const string Path = "/etc/example.conf";

    private readonly SimulatedMachine _machine = new([]);
    private readonly ConfigFile _file = new(Concern.Kernel, Path, "a = 1\nb = 2\n");

    [Fact]
    public void A_file_that_is_not_there_is_written_and_shown_as_lines_to_add()
    {
        var change = Change(_file);

        (change.Why, change.Diff).ShouldBe(("not there", "@@ -0,0 +1,2 @@\n+a = 1\n+b = 2\n"));
        Apply(_file);
        Text().ShouldBe("a = 1\nb = 2\n");
        _file.Examine(_machine, []).ShouldBe(InSync.Instance);
    }

    [Fact]
    public void Other_content_is_replaced_and_shown_as_a_diff()
    {
        Put("a = 1\nb = 3\n");

        var change = Change(_file);

        (change.Why, change.Diff).ShouldBe(("content differs", "@@ -1,2 +1,2 @@\n a = 1\n-b = 3\n+b = 2\n"));
        Apply(_file);
        Text().ShouldBe("a = 1\nb = 2\n");
    }

    [Fact]
    public void Another_mode_is_mended()
    {
        Put(_file.Content, mode: 0b110_110_110);

        Change(_file).Why.ShouldBe("mode is 0666, should be 0644");
        Apply(_file);
        _machine.File(Path).Mode.ShouldBe(ConfigFile.Readable);
    }

    [Fact]
    public void Another_owner_is_mended()
    {
        _machine.Put(Path, new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes(_file.Content), ConfigFile.Readable, Uid: 1000, Gid: 4));

        Change(_file).Why.ShouldBe("owner is 1000:4, should be 0:0");
        Apply(_file);
        _file.Examine(_machine, []).ShouldBe(InSync.Instance);
    }

    [Fact]
    public void A_link_is_replaced_by_the_file_whatever_it_points_to()
    {
        _machine.Put(Path, new FileReport(FileKind.Link, Target: "/etc/other.conf"));

        Change(_file).Why.ShouldBe("is a link to /etc/other.conf");
        Apply(_file);
        _machine.File(Path).Kind.ShouldBe(FileKind.Regular);
    }

    [Theory]
    [InlineData(FileKind.Directory)]
    [InlineData(FileKind.Other)]
    internal void Something_that_is_no_file_is_refused(FileKind kind)
    {
        _machine.Put(Path, new FileReport(kind));

        var refused = _file.Examine(_machine, []).ShouldBeOfType<Refused>();

        refused.Remedy.ShouldContain(Path);
        Apply(_file);
        _machine.File(Path).Kind.ShouldBe(kind);
    }

    [Fact]
    public void A_secrets_diff_shows_neither_side()
    {
        var secret = new ConfigFile(Concern.Kernel, Path, "password: new\n") { IsSecret = true, Mode = ConfigFile.Private };
        Change(secret).Diff.ShouldBeNull();
        secret.ExpectedOnNothing().Diff.ShouldBeNull();
        Put("password: old\n", mode: 0b110_000_000);

        var change = Change(secret);

        change.ShouldBe(new Change("content differs"));
        Apply(secret);
        _machine.File(Path).Mode.ShouldBe(ConfigFile.Private);
    }

    [Theory]
    [InlineData(0b110_000_000)]
    [InlineData(0b110_100_000)]
    public void A_file_on_disk_that_not_everybody_may_read_is_not_shown_though_ours_may_be(int mode)
    {
        Put("password: old\n", mode: mode);

        Change(_file).ShouldBe(new Change("content differs"));
    }

    [Fact]
    public void A_recorded_file_of_which_only_the_digest_is_known_is_compared_by_it()
    {
        var bytes = Encoding.UTF8.GetBytes(_file.Content);
        _machine.Put(Path, new FileReport(FileKind.Regular, null, ConfigFile.Readable, Digest: ContentDigest.Of(Path, bytes)));
        _file.Examine(_machine, []).ShouldBe(InSync.Instance);

        _machine.Put(Path, new FileReport(FileKind.Regular, null, ConfigFile.Readable, Digest: ContentDigest.Of(Path, [1])));
        Change(_file).ShouldBe(new Change("content differs"));
    }

    [Fact]
    public void A_directory_is_made_and_what_is_there_stays_as_it_is()
    {
        var directory = new DirectoryResource(Concern.Kubelet, "/etc/kubernetes/manifests", DirectoryResource.Searchable);
        Change(directory).Why.ShouldBe("not there");
        Apply(directory);
        _machine.File("/etc/kubernetes/manifests").Mode.ShouldBe((UnixFileMode)0b111_101_101);

        _machine.Put("/etc/kubernetes/manifests", new FileReport(FileKind.Directory, Mode: UnixFileMode.UserRead));
        directory.Examine(_machine, []).ShouldBe(InSync.Instance);
        _machine.Put("/etc/kubernetes/manifests", new FileReport(FileKind.Link, Target: "/data/manifests"));
        directory.Examine(_machine, []).ShouldBe(InSync.Instance);
        _machine.Put("/etc/kubernetes/manifests", new FileReport(FileKind.Regular, []));
        directory.Examine(_machine, []).ShouldBeOfType<Refused>();
    }

    [Fact]
    public void Left_over_is_what_carries_our_header_in_our_territory_and_is_not_wanted()
    {
        var ours = Ownership.Header + "\nx\n";
        Put(ours, "/etc/a/old.conf");
        Put(ours, "/etc/a/wanted.conf");
        Put("x\n", "/etc/a/theirs.conf");
        Put("\n" + ours, "/etc/a/edited-above-the-header.conf");
        Put(ours, "/etc/a/below/old.conf");
        Put(ours, "/etc/b/unit.service.d/old.conf");
        Put(ours, "/etc/c/old.conf");
        _machine.Put("/etc/a/link.conf", new FileReport(FileKind.Link, Target: "/etc/a/old.conf"));
        var leftovers = new Leftovers("files", ["/etc/a", "/etc/b/*"], new HashSet<string> { "/etc/a/wanted.conf" });

        Change(leftovers).Diff.ShouldBe("- /etc/a/old.conf\n- /etc/b/unit.service.d/old.conf\n");
        Apply(leftovers);

        _machine.Writes.ShouldBe(["delete /etc/b/unit.service.d/old.conf", "delete /etc/a/old.conf"]);
        leftovers.Examine(_machine, []).ShouldBe(InSync.Instance);
    }

    private Change Change(Resource resource) => resource.Examine(_machine, []).ShouldBeOfType<Change>();

    private void Apply(Resource resource) => Applier.Apply(new ResourceList([resource]), _machine, _machine, new Heard(), CancellationToken.None);

    private void Put(string content, string path = Path, int mode = 0b110_100_100) =>
        _machine.Put(path, new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes(content), (UnixFileMode)mode));

    private string Text() => Encoding.UTF8.GetString(_machine.File(Path).Content!);
}
