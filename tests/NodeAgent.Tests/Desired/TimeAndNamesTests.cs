using System.Text;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Tests.Simulation;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Desired;

public class TimeAndNamesTests
{
    private const string None = "{apiVersion: nodeagent/v1, kind: NodeConfig}";

    private const string Given =
        "{apiVersion: nodeagent/v1, kind: NodeConfig, time: {servers: [169.254.169.123, time.example.com]}, dns: {servers: [10.0.0.2], domains: "
            + "[example.com]}}";

    [Theory]
    [InlineData("chrony", "/etc/chrony/sources.d/nodeagent.sources", "server 169.254.169.123 prefer iburst\nserver time.example.com prefer iburst\n")]
    [InlineData("systemd-timesyncd", "/etc/systemd/timesyncd.conf.d/50-nodeagent.conf", "[Time]\nNTP=169.254.169.123 time.example.com\n")]
    public void What_keeps_the_clock_is_told_in_its_own_drop_in(string service, string path, string expected)
    {
        var worker = On(service, resolved: true, Given);
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        Encoding.UTF8.GetString(worker.Machine.File(path).Content.ShouldNotBeNull()).ShouldEndWith(expected);
        Encoding.UTF8.GetString(worker.Machine.File("/etc/systemd/resolved.conf.d/50-nodeagent.conf").Content.ShouldNotBeNull())
            .ShouldEndWith("[Resolve]\nDNS=10.0.0.2\nDomains=example.com\n");
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();

        worker.ExtraConfig = None;
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.File(path).Kind.ShouldBe(FileKind.Absent);
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void A_service_that_runs_is_restarted_for_it_and_one_that_does_not_is_left_alone()
    {
        var worker = On("chrony", resolved: true, None);
        worker.Apply();
        worker.Machine.RestartUnit("chrony.service");
        worker.Machine.Writes.Clear();
        worker.ExtraConfig = Given;

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.Writes.ShouldContain("restart chrony.service");
        worker.Machine.Writes.ShouldNotContain("restart systemd-resolved.service");
        worker.Machine.Writes.ShouldNotContain(w => w.Contains("kubelet", StringComparison.Ordinal));
    }

    [Fact]
    public void What_is_given_and_has_nobody_to_take_it_is_refused()
    {
        Should.Throw<NotPossibleException>(() => On(null, resolved: true, Given).List())
            .Message.ShouldStartWith("time.servers is given and this machine has neither chrony");
        Should.Throw<NotPossibleException>(() => On("chrony", resolved: false, Given).List())
            .Message.ShouldStartWith("dns is given and systemd-resolved does not run");
        Should.NotThrow(() => On(null, resolved: false, None).List());
    }

    [Theory]
    [InlineData("time: {servers: ['a b']}", "time.servers[0]: 'a b' is not a server of the time; expected a DNS name or an address, as in 169.254.169.123")]
    [InlineData(
        "dns: {servers: [resolver.example.com]}", "dns.servers[0]: 'resolver.example.com' is not the address of a resolver; expected one as in 10.0.0.2")]
    [InlineData("dns: {domains: ['~.']}", "dns.domains[0]: '~.' is not a DNS domain; expected lower case labels of letters, digits and '-', as in example.com")]
    public void What_they_would_not_take_is_refused(string text, string error) => ErrorsOf(text).ShouldHaveSingleItem().ShouldEndWith(error);

    private static Worker On(string? timeService, bool resolved, string config)
    {
        var facts = Worker.ExampleFacts();
        return new Worker { Facts = facts with { Kernel = facts.Kernel with { TimeService = timeService, SystemdResolved = resolved } }, ExtraConfig = config };
    }
}
