namespace NodeAgent.Machine;

/// <summary>Tables of nftables of the family ip, by nft(8).</summary>
internal sealed class PacketFilter(ProcessRunner runner)
{
    // What is loaded, so that nft takes it as one transaction; /run forgets it.
    private const string Rules = "/run/nodeagent/nft";

    public string? List(string table)
    {
        var result = runner.Run(["nft", "list", "table", "ip", table]);
        return result.Failure is null ? result.Output
            // Without nft there is none of ours, and whoever wants one is told as it is made.
            : result.IsMissing || result.ErrorOutput.Contains("No such file or directory", StringComparison.Ordinal) ? null
            : throw new ProbeException($"`{result.Command}`", result.Failure);
    }

    /// <param name="content">Null removes it.</param>
    public void Set(string table, string? content)
    {
        // nft(8): "add" makes what "delete" wants to be there, and a file is carried out as a whole or not at all.
        var rules = $"add table ip {table}\ndelete table ip {table}\n" + (content is null ? "" : $"table ip {table} {{\n{content}}}\n");
        Files.Write(Rules, System.Text.Encoding.UTF8.GetBytes(rules), Files.OwnerOnly);
        var result = runner.Run(["nft", "--file", Rules]);
        Files.Delete(Rules);
        if (result.Failure is { } why)
        {
            throw new MachineException(
                $"set nftables' table ip {table}",
                result.IsMissing
                    ? $"{why}; install the package nftables, or set network.egress.translate: false"
                    : $"`{result.Command}` {why}: {result.ErrorOutput}");
        }
    }
}
