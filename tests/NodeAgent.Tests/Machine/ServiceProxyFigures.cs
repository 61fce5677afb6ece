using System.Diagnostics;
using System.Globalization;
using NodeAgent.Machine;
using Xunit.Abstractions;

namespace NodeAgent.Tests.Machine;

/// <summary>
/// What bench/service-proxy prints, and no test: how long the names of many services take, and their removal, in this process and with the programs that print
/// rules. Only where NODEAGENT_BENCH_STATE names a file for nft -f.
/// </summary>
public class ServiceProxyFigures(ITestOutputHelper output)
{
    [Fact]
    public void Names_are_read_and_removed()
    {
        if (Environment.GetEnvironmentVariable("NODEAGENT_BENCH_STATE") is { Length: > 0 } state)
        {
            NetfilterTests.InNamespace(() => ReadAndRemove(state));
        }
    }

    private void ReadAndRemove(string state)
    {
        Run("nft", "-f", state);
        NfTables.Tables();
        for (var i = 0; i < 3; i++)
        {
            Measure("names of chains, by netlink", () => NfTables.Chains("KUBE-"));
            Measure("names of tables, by netlink", () => NfTables.Tables());
            Measure("nft list chains", () => Run("nft", "list", "chains"));
        }

        Measure("nft list ruleset", () => Run("nft", "list", "ruleset"));
        foreach (var (table, chains) in new (string, HashSet<string>)[]
        {
            ("filter", ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-PROXY-CANARY"]),
            ("mangle", ["KUBE-PROXY-CANARY"]),
            ("nat", ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-CANARY", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"]),
        })
        {
            Measure(
                $"removal of ip {table}",
                () => NfTables.Remove(new(ChainTable.Nft, "ip", table, chains, new HashSet<string> { "KUBE-SVC-", "KUBE-SEP-" }, new HashSet<string>())));
        }

        NfTables.Chains("KUBE-").ShouldHaveSingleItem().Chains.ShouldBe(["KUBE-FIREWALL"]);
    }

    private void Measure(string what, Action action)
    {
        GC.Collect();
        var (allocated, started) = (GC.GetTotalAllocatedBytes(), Stopwatch.GetTimestamp());
        action();
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{what}: {Stopwatch.GetElapsedTime(started).TotalMilliseconds:0} ms, {(GC.GetTotalAllocatedBytes() - allocated) / 1048576.0:0.0} MiB allocated "
                + $"here, {Environment.WorkingSet / 1048576} MiB in all"));
    }

    private static void Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        var buffer = new byte[65536];
        while (process.StandardOutput.BaseStream.Read(buffer) > 0)
        {
        }

        process.WaitForExit();
        process.ExitCode.ShouldBe(0, program);
    }
}
