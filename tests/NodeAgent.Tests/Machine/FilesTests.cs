using System.Runtime.InteropServices;
using System.Text;
using NodeAgent.Machine;

namespace NodeAgent.Tests.Machine;

public sealed class FilesTests : IDisposable
{
    private const UnixFileMode Secret = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void What_was_written_is_reported()
    {
        var path = $"{_directory.Path}/a/b/file";

        Files.Write(path, "hello"u8, Secret);

        var report = Files.Report(path);
        report.Kind.ShouldBe(FileKind.Regular);
        report.Content.ShouldBe("hello"u8.ToArray());
        report.Mode.ShouldBe(Secret);
        report.Matches("hello"u8).ShouldBeTrue();
        report.Matches("hello "u8).ShouldBeFalse();
        Files.Report($"{_directory.Path}/a").Mode.ShouldBe(Files.OpenDirectory);
    }

    [Fact]
    public void Writing_replaces_mode_and_content_and_leaves_nothing_beside()
    {
        var path = _directory.Put("file", "old and longer");
        Files.Report(path).Mode.ShouldNotBe(Secret);

        Files.Write(path, "new"u8, Secret);

        Files.Report(path).Content.ShouldBe("new"u8.ToArray());
        Files.Report(path).Mode.ShouldBe(Secret);
        Files.Names(_directory.Path).ShouldBe(["file"]);
    }

    [Fact]
    public void A_mode_is_exact_whatever_the_umask()
    {
        const UnixFileMode all = Files.WorldReadable | UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;

        Files.Write($"{_directory.Path}/file", "x"u8, all);
        Files.MakeDirectory($"{_directory.Path}/directory", all | Files.OpenDirectory);

        Files.Report($"{_directory.Path}/file").Mode.ShouldBe(all);
        Files.Report($"{_directory.Path}/directory").Mode.ShouldBe(all | Files.OpenDirectory);
    }

    [Fact]
    public void What_a_crash_left_beside_is_taken_over()
    {
        var path = $"{_directory.Path}/file";
        File.WriteAllText(Files.TemporaryName(path), "half of someth");
        Files.Report(Files.TemporaryName(path)).Mode.ShouldNotBe(Secret);

        Files.Write(path, "whole"u8, Secret);

        Files.Report(path).Content.ShouldBe("whole"u8.ToArray());
        Files.Report(path).Mode.ShouldBe(Secret);
        Files.Names(_directory.Path).ShouldBe(["file"]);
    }

    [Fact]
    public void A_link_put_where_the_write_in_progress_goes_is_not_followed()
    {
        var path = $"{_directory.Path}/file";
        var victim = _directory.Put("victim", "precious");
        File.CreateSymbolicLink(Files.TemporaryName(path), victim);

        Files.Write(path, "new"u8, Secret);

        File.ReadAllText(victim).ShouldBe("precious");
        Files.Report(path).Kind.ShouldBe(FileKind.Regular);
    }

    [Fact]
    public void A_link_at_the_target_is_replaced_and_what_it_led_to_stays()
    {
        var victim = _directory.Put("victim", "precious");
        _directory.Link("file", victim);
        Files.Report($"{_directory.Path}/file").ShouldBe(new FileReport(FileKind.Link, Mode: Files.Report($"{_directory.Path}/file").Mode, Target: victim));

        Files.Write($"{_directory.Path}/file", "new"u8, Secret);

        File.ReadAllText(victim).ShouldBe("precious");
        Files.Report($"{_directory.Path}/file").Content.ShouldBe("new"u8.ToArray());
    }

    [Fact]
    public void A_write_in_progress_of_another_is_not_disturbed()
    {
        var path = $"{_directory.Path}/file";
        using (var other = new FileStream(Files.TemporaryName(path), FileMode.CreateNew, FileAccess.Write, FileShare.None))
        {
            Should.Throw<MachineException>(() => Files.Write(path, "mine"u8, Secret)).Message.ShouldContain("another process");
        }

        File.Exists(Files.TemporaryName(path)).ShouldBeTrue();
    }

    [Fact]
    public void A_directory_at_the_target_is_an_error_that_names_it_and_nothing_is_left_beside()
    {
        Directory.CreateDirectory($"{_directory.Path}/file/inner");

        Should.Throw<MachineException>(() => Files.Write($"{_directory.Path}/file", "x"u8, Secret)).Message.ShouldContain($"write {_directory.Path}/file: ");

        Files.Names(_directory.Path).ShouldBe(["file"]);
    }

    [Fact]
    public void Deleting_what_is_not_there_is_nothing()
    {
        var path = _directory.Put("file");

        Files.Delete(path);
        Files.Delete(path);
        Files.Delete($"{path}/below");

        Files.Report(path).ShouldBe(FileReport.Absent);
    }

    [Fact]
    public void Names_are_ordinal_and_hidden_ones_count()
    {
        _directory.Put("b");
        _directory.Put("A");
        _directory.Put(".hidden");
        _directory.Link("dangling", "/nowhere");

        Files.Names(_directory.Path).ShouldBe([".hidden", "A", "b", "dangling"]);
        Files.Names($"{_directory.Path}/nothing").ShouldBeEmpty();
        Files.Names($"{_directory.Path}/b").ShouldBeEmpty();
        Files.Names($"{_directory.Path}/b/c").ShouldBeEmpty();
    }

    [Fact]
    public void Files_of_the_kernel_that_say_they_are_empty_are_read()
    {
        Encoding.UTF8.GetString(Files.Report("/proc/self/status").Content!).ShouldStartWith("Name:");
    }

    [Fact]
    public void Large_files_are_reported_without_content()
    {
        var path = $"{_directory.Path}/large";
        File.WriteAllBytes(path, new byte[Files.ContentLimit + 1]);
        Files.Report(path).Kind.ShouldBe(FileKind.Regular);
        Files.Report(path).Content.ShouldBeNull();

        File.WriteAllBytes(path, new byte[Files.ContentLimit]);
        Files.Report(path).Content!.Length.ShouldBe(Files.ContentLimit);
    }

    [Fact]
    public void A_fifo_does_not_hang_the_reader()
    {
        var path = $"{_directory.Path}/fifo";
        MakeFifo(path, 0x180).ShouldBe(0);

        Files.Report(path).Kind.ShouldBe(FileKind.Other);
    }

    [Fact]
    public void An_identity_changes_with_the_file()
    {
        var path = _directory.Put("program", "one");
        var first = Files.Identity(path);
        Files.Identity(path).ShouldBe(first);

        File.WriteAllText(path, "two!");

        Files.Identity(path).ShouldNotBe(first);
        Files.Identity($"{_directory.Path}/nothing").ShouldBeNull();
    }

    [DllImport("libc", EntryPoint = "mkfifo")]
    private static extern int MakeFifo([MarshalAs(UnmanagedType.LPUTF8Str)] string path, uint mode);
}
