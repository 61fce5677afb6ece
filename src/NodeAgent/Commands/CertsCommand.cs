using System.CommandLine;
using System.Globalization;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Pki;
using NodeAgent.Resources;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>nodeagent certs: the certificates of this node.</summary>
internal static class CertsCommand
{
    public static Command Create() => new("certs", "The certificates of this node.") { List(), Renew() };

    private static Command List()
    {
        var format = CommonOptions.Format();
        var directory = new Option<string>("--directory")
        {
            Description = "What stands for /etc/kubernetes.",
            HelpName = "DIR",
            DefaultValueFactory = _ => "/etc/kubernetes",
        };
        var command = new Command("list", """
            List the certificates that are on this machine: role, expiry, state, subject, issuer, names. Reads files, and calls nobody.

            Exit codes: 0 all is well, 2 something is due, expired or not as it should be, or there is none, 1 failed, 3 bad command line.

            Example:
              nodeagent certs list
            """)
        {
            directory, format,
        };
        command.SetAction((parse, stop) =>
        {
            using var machine = new LinuxReader(stop);
            var root = Path.GetFullPath(parse.GetValue(directory)!).TrimEnd('/');
            if (!CertificateList.IsDirectory(machine, root))
            {
                throw new NotPossibleException($"there is no directory {root} (--directory), so of its certificates nothing can be said");
            }

            var all = CertificateList.Read(machine, root);
            var exitCode = CertificateList.ExitCodeOf(all);
            Console.Out.Write(parse.GetValue(format) == "json" ? CertificateList.Json(all, exitCode) : CertificateList.Text(all, root));
            return Task.FromResult(exitCode);
        });
        return command;
    }

    private static Command Renew()
    {
        var role = new Argument<string?>("ROLE")
        {
            Description = "As 'certs list' calls it: renewed whether it is due or not.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var all = new Option<bool>("--all") { Description = "All of this node, whether they are due or not." };
        var deadline = CommonOptions.Deadline("5m");
        var command = new Command("renew", """
            Renew the certificates of this node that are due, as nodeagent-renew.timer has it done: at a third of life left, or a little before. What reads a file gets
            what it needs and no more (docs/certificates.md); most read it again by themselves.

            Exit codes: 0 renewed or nothing due, 1 failed, 3 bad configuration or command line, 4 not reachable in time, 5 refused for safety.

            Example:
              nodeagent certs renew
              nodeagent certs renew kubelet-serving
            """)
        {
            role, all, deadline,
        };
        command.Validators.Add(result =>
        {
            if (result.GetValue(all) && result.GetValue(role) is not null)
            {
                result.AddError("--all renews every role; it does not go with one");
            }
            else if (result.GetValue(role) is { } name && RoleTable.Find(name, Asker.ControlPlaneNode) is null)
            {
                result.AddError($"there is no role '{name}'; there are {string.Join(", ", RoleTable.All.Select(r => r.Role))}");
            }
        });
        command.SetAction((parse, stop) => Run(parse.GetValue(role), parse.GetValue(all), parse.GetValue(deadline).Value, stop));
        return command;
    }

    private static async Task<int> Run(string? role, bool all, TimeSpan deadline, CancellationToken stop)
    {
        using var log = RunLog.ToJournal(VersionCommand.Version, new JournalSink());
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(stop);
        timer.CancelAfter(deadline);
        using var machine = new LinuxReader(timer.Token);
        try
        {
            using var alone = RunLock.Acquire(
                RunLock.DefaultPath, "certs renew", waiting => Console.Error.WriteLine($"nodeagent: waiting: {waiting}"), timer.Token);
            if (role is null && !all && CertificateRenewal.NothingDue(machine) is { } nothing)
            {
                Say(nothing);
                return ExitCode.Ok;
            }

            var timeline = new Timeline();
            var inputs = await NodeInputs.FromMachine(machine, [], deadline, timeline, timer.Token).ConfigureAwait(false);
            CertificateRenewal.CheckAdopted(inputs, AdoptionLook.ReadRecord(inputs.Facts.Instance.Id));
            var list = CertificateRenewal.Of(inputs.Resources, role, all, machine);
            var result = Applier.Apply(
                list,
                machine,
                new LinuxWriter(machine, timer.Token),
                new ApplyProgress(
                    Journal.IsStandardError ? TextWriter.Null : Console.Out, Terminal.IsThere, Terminal.HasColor, _ => { }, new RunLog(log), timeline),
                timer.Token);
            var exitCode = stop.IsCancellationRequested ? ExitCode.ToldToStop : ExitCode.Of(result);
            var how = result.Succeeded ? "Done" : "NOT DONE";
            var said = string.Create(CultureInfo.InvariantCulture, $"{how}: {result.Count<Changed>()} changed, {result.Count<Held>()} not due or in sync.");
            log.ForContext("ExitCode", exitCode).Information("{What:l} {Timeline:l}", said, timeline.ToString());
            Say(said);
            return exitCode;
        }
        catch (Exception e)
        {
            var exitCode = stop.IsCancellationRequested ? ExitCode.ToldToStop : ExitCode.Of(e);
            var why = Errors.Text(e, deadline, timer.IsCancellationRequested && !stop.IsCancellationRequested);
            log.ForContext("ExitCode", exitCode).Error("{What:l}", why);
            if (!Journal.IsStandardError)
            {
                Console.Error.WriteLine($"nodeagent: {why}");
            }

            return exitCode;
        }
    }

    // The journal has it as an entry with fields, or has no use for it.
    private static void Say(string what)
    {
        if (!Journal.IsStandardError)
        {
            Console.Out.WriteLine(what);
        }
    }
}

/// <summary>What of a node's list a renewal is about.</summary>
internal static class CertificateRenewal
{
    /// <summary>
    /// A sentence where the files alone say that no certificate of this node can be due and no restart is owed from a renewal that was cut short: the timer's
    /// usual case, without metadata or a call. Certificates that are not there are a matter of 'apply'.
    /// </summary>
    public static string? NothingDue(IMachineReader machine)
    {
        // Those of a control plane are a worker's at most where it was one: then the list is made, and finds nothing.
        var ours = CertificateList.Read(machine, "/etc/kubernetes").Where(c => c.Asker is not null).ToList();
        if (ours.Count == 0 || ours.Any(c => !c.IsOk) || machine.Directory(OwedRestart.Directory).Any(f => IsOwed(machine, f)))
        {
            return null;
        }

        var next = ours.MinBy(c => Renewal.Earliest(c.Certificate!))!;
        var at = Renewal.Earliest(next.Certificate!);
        return machine.Now < at ? $"Nothing is due; the next is {next.Role}, at {Rfc3339.Text(at)} or a little later." : null;
    }

    // What was settled leaves its file behind until the next boot.
    private static bool IsOwed(IMachineReader machine, string file) =>
        !file.EndsWith(".json", StringComparison.Ordinal) || OwedRestart.Read(machine, machine.Unit(file[..^".json".Length])) is not null;

    // What certificates, and the kubeconfigs that embed some, say. Whom to ask for them (certificates.source, issuer, store) is not among it: an issuer that
    // has moved is to be followed, or certificates expire. Nor is what only other files of the node hold.
    private static readonly string[] OfEveryNode =
        ["cluster.certificateAuthority", "cluster.name", "certificates.keyAlgorithm", "certificates.lifetime", "node.name", "node.role"];

    private static readonly string[] OfControlPlanes =
        ["apiServer.port", "certificates.apiNames", "cluster.domain", "cluster.endpoint", "cluster.serviceRange", "controlPlane.staticPods"];

    /// <summary>
    /// What is renewed is what the node was made with: a certificate of a CA that it has not adopted is one that nobody here trusts, and one for another name
    /// is not its kubelet's.
    /// </summary>
    /// <exception cref="NotPossibleException">Something that goes into certificates was not adopted yet.</exception>
    public static void CheckAdopted(NodeInputs inputs, AdoptionRecord? record)
    {
        if (record is null)
        {
            return;
        }

        // A node that is, or is to be, one of the control plane.
        const string role = "node.role", controlPlane = "\"control-plane\"";
        var values = ConfigValues.Of(inputs.Config.Tree);
        string[] counts = values.All.GetValueOrDefault(role) == controlPlane || record.Values.GetValueOrDefault(role) == controlPlane
            ? [.. OfEveryNode, .. OfControlPlanes] : OfEveryNode;
        var differences = values.Since(record.Adopted, inputs.Config.OriginOf).Where(d => counts.Contains(d.Path)).ToList();
        if (differences.Count > 0)
        {
            throw new NotPossibleException(
                $"{string.Join(" and ", differences.Select(Text))}: certificates are renewed as the node was made, and this would go into them before it is "
                + "adopted "
                + "('nodeagent config show --pending'). 'nodeagent apply' adopts it");
        }
    }

    private static string Text(ConfigDifference difference)
    {
        var where = difference.Origin is null ? "" : $" ({difference.Origin})";
        // PEM is nothing to put into a sentence.
        return difference.Path == "cluster.certificateAuthority"
            ? $"{difference.Path}{where} is not the one that this node was made from"
            : $"{difference.Path} is {difference.After ?? "not set"}{where}, and this node was made with {difference.Before ?? "none"}";
    }

    /// <summary>The certificates that are asked for, and the restarts and manifests that answer to them. Nothing else of the node is looked at.</summary>
    public static ResourceList Of(ResourceList whole, string? role, bool all, IMachineReader machine)
    {
        var ours = whole.Items.OfType<Certificate>().Where(c => c.IsNeeded(machine)).ToList();
        var certificates = ours.Where(c => role is null || c.Role == role).ToHashSet<Resource>();
        if (certificates.Count == 0)
        {
            throw new NotPossibleException($"{role ?? "A certificate"} is not this node's; it has {string.Join(", ", ours.Select(c => c.Role))}");
        }

        foreach (var certificate in certificates.Cast<Certificate>())
        {
            certificate.MayWait = false;
            certificate.Outworn = all || role is not null ? machine.PrivateKey(certificate.Row.KeyPath).PublicKey : null;
        }

        foreach (var manifest in whole.Items.OfType<StaticPodManifest>())
        {
            manifest.OnlyDigest = true;
        }

        return whole.Only(r => certificates.Contains(r) || (r is Restart or StaticPodManifest && r.Inputs.Any(certificates.Contains)));
    }
}
