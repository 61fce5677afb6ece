using System.Text;

namespace NodeAgent.Machine;

/// <summary>
/// iptables' older backend, by its own programs: its tables are exchanged as a whole, and nobody else should do that. Only where a table is there already: to
/// ask for one makes it.
/// </summary>
internal sealed class LegacyIptables(ProcessRunner runner)
{
    private const string InputPath = "/run/nodeagent/iptables";

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
        var exchange = new LegacyExchange(removal);
        try
        {
            if (!Tables(names).Contains(removal.Table))
            {
                return;
            }

            Save(save, removal.Table, exchange.Read);
        }
        catch (ProbeException e)
        {
            throw new MachineException(what, e.Message, e);
        }

        if (exchange.User is { } user)
        {
            throw new MachineException(what, $"{user}; look for it ({Program(save)}), and remove it by hand if nothing needs it");
        }

        if (exchange.Input() is not { } input)
        {
            return;
        }

        Files.Write(InputPath, Encoding.UTF8.GetBytes(input), Files.OwnerOnly);
        var result = runner.Run([Program(restore), "--noflush", "--wait=30", InputPath]);
        Files.Delete(InputPath);
        if (result.Failure is { } why)
        {
            throw new MachineException(what, result.IsMissing ? Missing(why) : $"`{result.Command}` {why}");
        }
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

/// <summary>A table as iptables-save(8) tells it, line by line, into what iptables-restore(8) is to do for a removal.</summary>
internal sealed class LegacyExchange(ChainRemoval removal)
{
    private readonly List<string> _chains = [];
    private readonly StringBuilder _rules = new();
    private readonly HashSet<string> _hooked = new(StringComparer.Ordinal);

    /// <summary>
    /// "CHAIN is still used by OTHER", of a rule that stays and leads to a chain that goes; null where there is none. The kernel takes no such table, and what
    /// iptables-restore says then names neither.
    /// </summary>
    public string? User { get; private set; }

    public void Read(string line)
    {
        if (line.StartsWith(':'))
        {
            var words = line[1..].Split(' ');
            if (removal.Takes(words[0]))
            {
                _chains.Add(words[0]);
            }
            else if (words[1] != "-")
            {
                // A policy: where packets begin.
                _hooked.Add(words[0]);
            }
        }
        else if (line.StartsWith("-A ", StringComparison.Ordinal))
        {
            var words = line.Split(' ');
            // Comments come first, quoted where they have blanks; what a rule does comes last.
            var jump = Array.FindLastIndex(words, w => w is "-j" or "-g");
            var target = jump > 0 && jump < words.Length - 1 ? words[jump + 1] : null;
            if (Goes(line, words, target))
            {
                _rules.Append("-D").Append(line, 2, line.Length - 2).Append('\n');
            }
            else if (target is not null && removal.Takes(target) && !removal.Takes(words[1]))
            {
                User ??= $"{target} is still used by {words[1]}";
            }
        }
    }

    /// <summary>Null where there is nothing to do.</summary>
    public string? Input()
    {
        if (_chains.Count == 0 && _rules.Length == 0)
        {
            return null;
        }

        var input = new StringBuilder($"*{removal.Table}\n");
        foreach (var chain in _chains)
        {
            // Which empties one that is there.
            input.Append(':').Append(chain).Append(" - [0:0]\n");
        }

        input.Append(_rules);
        foreach (var chain in _chains)
        {
            input.Append("-X ").Append(chain).Append('\n');
        }

        return input.Append("COMMIT\n").ToString();
    }

    /// <summary>
    /// The same words as <see cref="NfTables"/>' rules: a jump into what goes, from where packets begin, and beside it what uses a set in a chain that is
    /// cleaned.
    /// </summary>
    private bool Goes(string line, string[] words, string? target)
    {
        var isCleaned = removal.Cleaned.Contains(words[1]);
        if (!isCleaned && !_hooked.Contains(words[1]))
        {
            return false;
        }

        // Quoted, or not, by iptables' version.
        if (_hooked.Contains(words[1]) && removal.Comments.Any(
            c => line.Contains($"--comment {c}", StringComparison.Ordinal) || line.Contains($"--comment \"{c}", StringComparison.Ordinal)))
        {
            return true;
        }

        return (target is not null && removal.Takes(target)) || (isCleaned && Array.Exists(words, w => w == "--match-set"));
    }
}
