using System.Text;

namespace NodeAgent.Machine;

/// <summary>
/// iptables' older backend, by its own programs: its tables are exchanged as a whole, and nobody else should do that. Only where a table is there already: to
/// ask for one makes it.
/// </summary>
internal sealed class LegacyIptables(ProcessRunner runner)
{
    private const string Input = "/run/nodeagent/iptables";

    private static readonly (string Family, string Tables, string Save, string Restore)[] Families =
    [
        ("ip", "/proc/thread-self/net/ip_tables_names", "iptables-legacy-save", "iptables-legacy-restore"),
        ("ip6", "/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy-save", "ip6tables-legacy-restore"),
    ];

    public IReadOnlyList<ChainTable> Chains(string prefix)
    {
        var reports = new List<ChainTable>();
        foreach (var (family, names, save, _) in Families)
        {
            foreach (var table in Tables(names).Order(StringComparer.Ordinal))
            {
                var chains = new ChainNames();
                var any = false;
                Save(save, table, line =>
                {
                    if (line.StartsWith(':') && line.AsSpan(1).StartsWith(prefix))
                    {
                        any = true;
                        chains.Add(line[1..line.IndexOf(' ', StringComparison.Ordinal)]);
                    }
                });
                if (any)
                {
                    reports.Add(chains.Report(ChainTable.Legacy, family, table));
                }
            }
        }

        return reports;
    }

    /// <summary>As <see cref="NfTables.Remove"/>: iptables-restore(8) exchanges a table in one step, too.</summary>
    public void Remove(ChainRemoval removal)
    {
        var (_, names, save, restore) = Families.Single(f => f.Family == removal.Family);
        var what = $"remove chains of iptables-legacy's table {removal.Family} {removal.Table}";
        var chains = new List<string>();
        var rules = new StringBuilder();
        var hooked = new HashSet<string>(StringComparer.Ordinal);
        try
        {
            if (!Tables(names).Contains(removal.Table))
            {
                return;
            }

            Save(save, removal.Table, line =>
            {
                if (line.StartsWith(':'))
                {
                    var words = line[1..].Split(' ');
                    if (removal.Takes(words[0]))
                    {
                        chains.Add(words[0]);
                    }
                    else if (words[1] != "-")
                    {
                        // A policy: where packets begin.
                        hooked.Add(words[0]);
                    }
                }
                else if (line.StartsWith("-A ", StringComparison.Ordinal) && LeadsTo(removal, hooked, line))
                {
                    rules.Append("-D").Append(line, 2, line.Length - 2).Append('\n');
                }
            });
        }
        catch (ProbeException e)
        {
            throw new MachineException(what, e.Message, e);
        }

        if (chains.Count == 0 && rules.Length == 0)
        {
            return;
        }

        var input = new StringBuilder($"*{removal.Table}\n");
        foreach (var chain in chains)
        {
            // Which empties one that is there.
            input.Append(':').Append(chain).Append(" - [0:0]\n");
        }

        input.Append(rules);
        foreach (var chain in chains)
        {
            input.Append("-X ").Append(chain).Append('\n');
        }

        Files.Write(Input, Encoding.UTF8.GetBytes(input.Append("COMMIT\n").ToString()), Files.OwnerOnly);
        var result = runner.Run([Program(restore), "--noflush", "--wait=30", Input]);
        Files.Delete(Input);
        if (result.Failure is { } why)
        {
            throw new MachineException(what, result.IsMissing ? Missing(why) : $"`{result.Command}` {why}");
        }
    }

    /// <summary>
    /// The same words as <see cref="NfTables"/>' rules: a jump into what goes, from where packets begin, and beside it what uses a set in a chain that is
    /// cleaned.
    /// </summary>
    private static bool LeadsTo(ChainRemoval removal, HashSet<string> hooked, string line)
    {
        var words = line.Split(' ');
        var isCleaned = removal.Cleaned.Contains(words[1]);
        if (!isCleaned && !hooked.Contains(words[1]))
        {
            return false;
        }

        // Quoted, or not, by iptables' version.
        if (hooked.Contains(words[1]) && removal.Comments.Any(
            c => line.Contains($"--comment {c}", StringComparison.Ordinal) || line.Contains($"--comment \"{c}", StringComparison.Ordinal)))
        {
            return true;
        }

        // Comments come first, quoted where they have blanks; what a rule does comes last.
        var jump = Array.FindLastIndex(words, w => w is "-j" or "-g");
        return (jump > 0 && jump < words.Length - 1 && removal.Takes(words[jump + 1])) || (isCleaned && Array.Exists(words, w => w == "--match-set"));
    }

    private static string[] Tables(string names) => (Files.Text(names) ?? "").Split('\n', StringSplitOptions.RemoveEmptyEntries);

    private void Save(string program, string table, Action<string> line)
    {
        var result = runner.Run([Program(program), "--table", table], line);
        if (result.Failure is { } why)
        {
            throw new ProbeException($"iptables-legacy's table {table}", result.IsMissing ? Missing(why) : $"`{result.Command}` {why}");
        }
    }

    // Before 1.8, and where a distribution builds nothing else, the older backend is the only one and has no name of its own.
    private static string Program(string name) => ProcessRunner.Find(name) is null && ProcessRunner.Find("xtables-nft-multi") is null
        ? name.Replace("-legacy", "", StringComparison.Ordinal) : name;

    private static string Missing(string why) =>
        $"{why}; somebody made tables of iptables' older backend here: install the package iptables, so that they can be looked at";
}
