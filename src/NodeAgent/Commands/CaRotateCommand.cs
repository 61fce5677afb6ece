using System.CommandLine;
using NodeAgent.Pki;

namespace NodeAgent.Commands;

/// <summary>nodeagent ca rotate: another CA for a cluster that runs, a stage at a time.</summary>
internal static class CaRotateCommand
{
    public static Command Create()
    {
        var where = new StoreOptions();
        var stage = new Option<string>("--stage")
        {
            Description = "trust: make the next CA, for all nodes to trust. sign: it signs from now on. drop: the one before is to be trusted no more.",
            HelpName = "trust|sign|drop",
            Required = true,
        };
        stage.AcceptOnlyFromAmong("trust", "sign", "drop");
        var algorithm = CaCommand.Algorithm();
        var kmsKey = new Option<string?>("--ca-key")
        {
            Description = "An asymmetric KMS key that is the key of the next CA, and never leaves KMS. With --stage trust.",
            HelpName = "ARN|alias/NAME",
        };
        var renewed = new Option<bool>("--renewed")
        {
            Description = "With --stage drop: no node has a certificate of the CA of before any more. Otherwise it is refused for the longest life of one.",
        };
        var command = new Command("rotate", """
            Put another CA of the cluster (Kubernetes) into its store, in three stages. After each, all nodes have to follow: docs/certificates.md has the steps. Each
            prints what cluster.certificateAuthority is to be. A stage that is repeated, or was cut short, changes nothing that is done.

            Exit codes: 0 done, now or before, 1 failed, or the stage before is not done, 3 bad command line, 4 not reachable in time.

            Example:
              nodeagent ca rotate --store s3://example-pki/clusters/amber --stage trust
            """)
        {
            stage, algorithm, kmsKey, renewed,
        };
        where.AddTo(command, writes: true);
        command.Validators.Add(result =>
        {
            if (result.GetValue(kmsKey) is { } key)
            {
                if (result.GetValue(stage) != "trust")
                {
                    result.AddError("--ca-key goes with --stage trust, which makes the CA");
                }
                else if (!CaCommand.IsKmsKey(key))
                {
                    result.AddError($"--ca-key: '{key}' is neither an ARN nor alias/NAME");
                }
            }

            if (result.GetValue(renewed) && result.GetValue(stage) != "drop")
            {
                result.AddError("--renewed goes with --stage drop");
            }
        });
        command.SetAction((parse, stop) => where.Within(
            parse,
            async timer =>
            {
                using var store = await where.Open(parse, timer).ConfigureAwait(false);
                var rotation = new CaRotation(store, where.Kms(parse), TimeProvider.System.GetUtcNow());
                var done = parse.GetValue(stage) switch
                {
                    "trust" => await rotation.Trust(parse.GetValue(algorithm), parse.GetValue(kmsKey), timer).ConfigureAwait(false),
                    "sign" => await rotation.Sign(timer).ConfigureAwait(false),
                    _ => await rotation.Drop(parse.GetValue(renewed) ? TimeSpan.Zero : RoleTable.All.Max(r => r.Lifetime), timer).ConfigureAwait(false),
                };
                // What is printed can be taken as it is for cluster.certificateAuthority.
                Console.Error.WriteLine(Text(done, store.Name));
                Console.Out.Write(Pem.Write(done.All.Trusted.Select(g => g.Der)));
                return ExitCode.Ok;
            },
            stop));
        return command;
    }

    internal static string Text(CaRotated done, string store)
    {
        var all = done.All;
        var made = done.Made.Count == 0 ? $"Nothing to do in {store}." : $"Made in {store}: {string.Join(", ", done.Made)}.";
        var next = all.Next is { } waiting
            ? $"{File(all.Current)} signs, {File(waiting)} is next: have cluster.certificateAuthority be both on every node, wait until all have adopted "
                + "it, then "
            + "'--stage sign'."
            : all.Former is { } former
            ? $"{File(all.Current)} signs, {File(former)} is trusted still: wait three minutes, until all issuers have seen it, renew the certificates of "
                + "every node "
            + "('nodeagent certs renew --all'), then '--stage drop'."
            : $"{File(all.Current)} is the cluster's CA, alone: have cluster.certificateAuthority be that on every node.";
        return $"{made} {next}";
    }

    private static string File(CaGeneration generation) => generation.File(CaGeneration.CertificateFile);
}
