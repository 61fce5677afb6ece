using System.Net;
using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Tests.Convergence;
using NodeAgent.Tests.Simulation;
using Shouldly;

namespace NodeAgent.Tests.Resources;

/// <summary>The endpoint's address in a file that is everybody's.</summary>
public sealed class HostsEntryTests
{
    private const string Others = "127.0.0.1 localhost\n# kept\n10.0.0.1 gateway";

    private static readonly Uri Endpoint = new("https://api.amber.internal:6443");

    private readonly SimulatedMachine _machine = new([]);

    [Theory]
    [InlineData(Others + "\n")]
    [InlineData(Others)]
    public void The_addresses_are_added_and_all_else_stays(string before)
    {
        Put(before);

        Run(new HostsEntry(Endpoint, ["10.0.1.7", "10.0.2.7"])).ShouldBe("api.amber.internal is not there, should be 10.0.1.7, 10.0.2.7");

        Text().ShouldBe(
            Others
                + "\n10.0.1.7 api.amber.internal # nodeagent: cluster.endpoint, port 6443\n10.0.2.7 api.amber.internal # nodeagent: cluster.endpoint, "
                + "port 6443\n");
        HostsEntry.Endpoints(Text()).ShouldBe([IPEndPoint.Parse("10.0.1.7:6443"), IPEndPoint.Parse("10.0.2.7:6443")]);
    }

    [Fact]
    public void Another_address_replaces_the_one_of_before()
    {
        Put(Others + "\n");
        Run(new HostsEntry(Endpoint, ["10.0.1.7"]));

        Run(new HostsEntry(Endpoint, ["10.0.1.9"])).ShouldBe("api.amber.internal is 10.0.1.7, should be 10.0.1.9");

        Text().ShouldBe(Others + "\n10.0.1.9 api.amber.internal # nodeagent: cluster.endpoint, port 6443\n");
    }

    [Fact]
    public void Where_nobody_is_known_the_address_of_before_stays()
    {
        Run(new HostsEntry(Endpoint, ["10.0.1.7"]));

        var finding = new HostsEntry(Endpoint, []).Examine(_machine, []);

        finding.ShouldBeOfType<InSync>().Notes.ShouldHaveSingleItem().ShouldContain("stays 10.0.1.7");
    }

    [Fact]
    public void What_is_no_longer_wanted_goes_and_leaves_the_file_as_it_was()
    {
        Put(Others + "\n");
        Run(new HostsEntry(Endpoint, ["10.0.1.7"]));

        Run(new HostsEntry(null, []));

        Text().ShouldBe(Others + "\n");
        new HostsEntry(null, []).Examine(_machine, []).ShouldBe(InSync.Instance);
    }

    [Fact]
    public void The_file_that_others_mounted_is_the_one_that_is_written()
    {
        var directory = Directory.CreateTempSubdirectory("hosts");
        try
        {
            var path = Path.Combine(directory.FullName, "hosts");
            File.WriteAllText(path, "a longer text than the next\n");
            var before = Files.Identity(path)!.Inode;

            Files.Overwrite(path, "short\n"u8, Files.WorldReadable);

            File.ReadAllText(path).ShouldBe("short\n");
            Files.Identity(path)!.Inode.ShouldBe(before);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    private string Run(HostsEntry entry)
    {
        var change = entry.Examine(_machine, []).ShouldBeOfType<Change>();
        Applier.Apply(new ResourceList([entry]), _machine, _machine, new Heard(), CancellationToken.None);
        entry.Examine(_machine, []).ShouldBe(InSync.Instance);
        return change.Why;
    }

    private void Put(string text) => _machine.Put(HostsEntry.Path, new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes(text), Files.WorldReadable));

    private string Text() => Encoding.UTF8.GetString(_machine.File(HostsEntry.Path).Content!);
}
