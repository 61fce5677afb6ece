using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Threading.Channels;
using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Facts;
using NodeAgent.Issuer;
using NodeAgent.Machine;
using NodeAgent.Network;
using NodeAgent.Pki;

namespace NodeAgent.Commands;

/// <summary>nodeagent issuer: the certificate service, until it is told to stop. The audit goes to standard output, a line of JSON for each decision.</summary>
internal static class IssuerCommand
{
    public static Command Create()
    {
        var cluster = new Option<string>("--cluster")
        {
            Description = "The cluster's name, as nodes have it in cluster.name and in the tag nodeagent:cluster.",
            HelpName = "NAME",
            Required = true,
        };
        var where = new StoreOptions();
        var workers = new Option<string[]>("--worker")
        {
            Description = "An IAM role that workers have, and their instance profile where it is not called the same. May be given more than once.",
            HelpName = "ROLE[=PROFILE]",
            Required = true,
        };
        var signers = new Option<string>("--identity-certificates")
        {
            Description = "PEM: who signs instance identity documents of this region (RSA-2048). AWS publishes them.",
            HelpName = "FILE",
            Required = true,
        };
        var naming = new Option<string>("--node-name")
        {
            Description = "How nodes are named, as node.name says it.",
            HelpName = "privateDnsName|instanceId",
            DefaultValueFactory = _ => "privateDnsName",
        };
        naming.AcceptOnlyFromAmong("privateDnsName", "instanceId");
        var lifetime = Durations("--lifetime", "Of nodes' certificates (90d unless given).", "90d");
        var listen = new Option<string>("--listen")
        {
            Description = $"Where nodes come in ([::]:{Protocol.DefaultPort} unless given).",
            HelpName = "ADDRESS:PORT",
            DefaultValueFactory = _ => $"[::]:{Protocol.DefaultPort}",
        };
        Form(
            listen,
            text => IPEndPoint.TryParse(text, out var point) && point.Port > 0
                && (text.StartsWith('[')
                    ? text.EndsWith(string.Create(CultureInfo.InvariantCulture, $"]:{point.Port}"), StringComparison.Ordinal)
                    : text == point.ToString()),
            $"ADDRESS:PORT, as in [::]:{Protocol.DefaultPort} or 10.0.0.1:{Protocol.DefaultPort}");
        Form(
            cluster,
            text => text.Length is > 0 and <= 100 && char.IsAsciiLetterOrDigit(text[0]) && Only(text, "-_."),
            "a cluster's name: up to 100 letters, digits, '-', '_' and '.', a letter or digit first");
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, without the = that stands between the two.
        Form(
            workers,
            text => text.Split('=') is var names && names.Length <= 2 && names.All(n => Only(n, "+,.@_-"))
                && names[0].Length is > 0 and <= 64 && names[^1].Length is > 0 and <= 128,
            "ROLE or ROLE=PROFILE: names as IAM has them, not their ARNs or paths");
        var metrics = new Option<int>("--metrics-port")
        {
            Description = $"Of /healthz and /metrics on 127.0.0.1 ({Protocol.DefaultPort + 1} unless given).",
            HelpName = "PORT",
            DefaultValueFactory = _ => Protocol.DefaultPort + 1,
        };
        var connections = new Option<int>("--connections-per-address")
        {
            Description = "How many connections one address may have open (64 unless given): more where nodes come through NAT or a load balancer.",
            HelpName = "NUMBER",
            DefaultValueFactory = _ => new IssuerLimits().ConnectionsPerAddress,
        };
        Range(metrics, 1, 65535);
        Range(connections, 1, new IssuerLimits().Connections);
        var vpc = new Option<string?>("--vpc") { Description = "The cluster's VPC; that of this instance unless given.", HelpName = "ID" };
        Form(
            vpc,
            text => text.StartsWith("vpc-", StringComparison.Ordinal) && text.Length is 12 or 21
                && text[4..].All(c => char.IsAsciiDigit(c) || char.IsAsciiHexDigitLower(c)),
            "the ID of a VPC, as in vpc-0123456789abcdef0");
        var podRange = new Option<string?>("--pod-range")
        {
            Description = "cluster.podRange: nodes get a part of it for their pods, and the VPC routes to it.",
            HelpName = "CIDR",
        };
        Form(podRange, text => Range(text) is { IsIPv6: false }, "a range of IPv4, as in 10.32.0.0/16");
        var nodePrefix = new Option<int>("--node-prefix")
        {
            Description = "Prefix length of each node's part, as network.nodePrefix says it (24 unless given).",
            HelpName = "NUMBER",
            DefaultValueFactory = _ => 24,
        };
        Range(nodePrefix, 16, 28);
        var routeTables = new Option<string[]>("--route-table")
        {
            Description = "A route table that gets the routes; those of the VPC with the tag nodeagent:cluster unless given. May be given more than once.",
            HelpName = "ID",
        };
        Form(
            routeTables,
            text => text.StartsWith("rtb-", StringComparison.Ordinal) && text.Length is 12 or 21
                && text[4..].All(c => char.IsAsciiDigit(c) || char.IsAsciiHexDigitLower(c)),
            "the ID of a route table, as in rtb-0123456789abcdef0");
        var routeQuota = new Option<int>("--route-quota")
        {
            Description = "Routes that the account lets a route table have (500 unless given).",
            HelpName = "NUMBER",
            DefaultValueFactory = _ => PodRangeSettings.DefaultRouteQuota,
        };
        Range(routeQuota, 1, PodRangeSettings.LargestRouteQuota);
        var command = new Command("issuer", """
            Serve certificates to the nodes of a cluster, until told to stop.

            Each decision is one line of JSON on standard output. docs/issuer.md has the protocol and whom to trust.

            Example:
              nodeagent issuer --cluster prod --store s3://example-pki/clusters/prod --worker prod-worker --identity-certificates /etc/nodeagent/identity.pem
            """)
        {
            cluster, workers, signers, naming, lifetime, listen, metrics, connections, vpc, podRange, nodePrefix, routeTables, routeQuota,
        };
        command.Validators.Add(result =>
        {
            if (result.GetValue(podRange) is { } text && Range(text) is { } range && range.Prefix > result.GetValue(nodePrefix))
            {
                result.AddError(string.Create(
                    CultureInfo.InvariantCulture, $"--node-prefix: a part of /{result.GetValue(nodePrefix)} is more than the whole of --pod-range {range}"));
            }
        });
        where.AddTo(command, ends: false);
        command.SetAction((parse, stop) => Run(
            new Given(
                parse.GetValue(cluster)!,
                parse.GetValue(workers)!,
                Path.GetFullPath(parse.GetValue(signers)!),
                parse.GetValue(naming) == "instanceId" ? NodeNaming.InstanceId : NodeNaming.PrivateDnsName,
                parse.GetValue(lifetime),
                IPEndPoint.Parse(parse.GetValue(listen)!),
                parse.GetValue(metrics),
                parse.GetValue(connections),
                parse.GetValue(vpc),
                parse.GetValue(podRange) is { } range ? Cidr.Parse(range) : null,
                parse.GetValue(nodePrefix),
                parse.GetValue(routeTables) ?? [],
                parse.GetValue(routeQuota)),
            begin => Signer(where, parse, begin),
            stop));
        return command;
    }

    private static async Task<int> Run(Given given, Func<CancellationToken, Task<ICertificateSigner>> ca, CancellationToken stop)
    {
        // Long enough for the network to come up at boot; the unit starts again after that.
        var patience = TimeSpan.FromMinutes(2);
        var endpoint = AwsEndpoint.Metadata;
        using var metadata = new InstanceMetadata(endpoint, patience);
        var identity = await InstanceIdentity.Read(metadata, stop).ConfigureAwait(false);
        var vpc = given.Vpc ?? await Vpc(metadata, stop).ConfigureAwait(false);
        var settings = new IssuerSettings
        {
            Cluster = given.Cluster,
            Region = identity.Region,
            Account = identity.AccountId,
            VpcId = vpc,
            Naming = given.Naming,
            Lifetime = given.Lifetime.Value,
            Kinds = [.. given.Workers.Select(w => w.Split('=', 2)).Select(w => new NodeKind("worker", w[0], w[^1], RoleTable.Worker))],
            DocumentSigners = Signers(given.Signers),
            Listen = given.Listen,
            MetricsPort = given.MetricsPort,
            Say = Console.Error.WriteLine,
            PodRanges = given.PodRange is not { } whole ? null : new PodRangeSettings
            {
                Cluster = given.Cluster,
                VpcId = vpc,
                Whole = whole,
                NodePrefix = given.NodePrefix,
                RouteTables = given.RouteTables,
                RouteQuota = given.RouteQuota,
                Issuer = identity.InstanceId,
                Say = Console.Error.WriteLine,
            },
            Limits = new IssuerLimits { ConnectionsPerAddress = given.ConnectionsPerAddress, HandshakesAtOnce = Math.Max(1, HostEnvironment.Processors / 2) },
        };
        // This instance has a document of the same region as its nodes: where the certificates do not hold for it, they hold for nobody.
        CheckSigners(given.Signers, settings.DocumentSigners, settings.Region, await metadata.SignedIdentityDocument(stop).ConfigureAwait(false));
        using var signer = await ca(stop).ConfigureAwait(false);
        var outbound = new OutboundHttp(null, []);
        using var role = new RoleCredentials(endpoint, patience);
        using var sts = new Sts(identity.Region, AwsEndpoint.Sts, TimeProvider.System, outbound);
        using var ec2 = new AmazonEC2Client(role, new AmazonEC2Config(identity.Region, AwsEndpoint.Ec2) { HttpClientFactory = outbound });
        // Written by one, so that a journal that is slow holds nobody's thread. What has to be in the audit waits for room, strangers' lines do not.
        var audit = Channel.CreateBounded<AuditEntry>(new BoundedChannelOptions(4096) { SingleReader = true });
        var writing = Task.Run(
            async () =>
            {
                await foreach (var entry in audit.Reader.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
                {
                    await Console.Out.WriteLineAsync(entry.ToJson()).ConfigureAwait(false);
                }
            },
            CancellationToken.None);
        var server = await Start(
            () => IssuerServer.Start(settings, signer, sts, ec2, audit.Writer, TimeProvider.System, stop), given).ConfigureAwait(false);
        await using (server.ConfigureAwait(false))
        {
            Console.Error.WriteLine(
                $"nodeagent: issuer of cluster {settings.Cluster} at {server.Address}, for instances of account {settings.Account} in {settings.VpcId}; "
                + $"health and metrics at {server.MetricsAddress}");
            ServiceNotify.Ready();
            try
            {
                await Task.Delay(Timeout.InfiniteTimeSpan, stop).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                // Told to stop: what is in work is answered as the server is disposed of.
            }
        }

        audit.Writer.Complete();
        await writing.ConfigureAwait(false);
        return ExitCode.Ok;
    }

    private static async Task<IssuerServer> Start(Func<Task<IssuerServer>> start, Given given)
    {
        try
        {
            return await start().ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or CryptographicException)
        {
            throw new MachineException($"issuer at {given.Listen}, metrics at port {given.MetricsPort}", e.Message, e);
        }
    }

    private static Task<ICertificateSigner> Signer(StoreOptions where, ParseResult parse, CancellationToken stop) => where.Within(
        parse,
        async timer =>
        {
            return await FollowingSigner.Start(
                async open => new OpenStore(await where.Open(parse, open).ConfigureAwait(false), where.Kms(parse)),
                TimeProvider.System,
                Console.Error.WriteLine,
                timer)
                .ConfigureAwait(false);
        },
        stop);

    private static List<X509Certificate2> Signers(string file)
    {
        try
        {
            return Pem.Certificates(Encoding.ASCII.GetString(SecretFile.Read(file))) is { Count: > 0 } found
                ? [.. found.Select(X509CertificateLoader.LoadCertificate)]
                : throw new MachineException(file, "holds no certificate (--identity-certificates names a file with AWS's for this region)");
        }
        catch (Exception e) when (e is CryptographicException or FormatException or IOException or UnauthorizedAccessException)
        {
            throw new MachineException(file, $"{e.Message} (--identity-certificates names a PEM file with AWS's certificates for this region)", e);
        }
    }

    /// <param name="document">This instance's own.</param>
    /// <exception cref="ConfigurationException"/>
    internal static void CheckSigners(string file, IReadOnlyList<X509Certificate2> signers, string region, byte[] document)
    {
        foreach (var (number, certificate) in signers.Index())
        {
            using var rsa = certificate.GetRSAPublicKey();
            if (rsa is not { KeySize: >= 2048 })
            {
                throw Bad(
                    $"certificate {number + 1} is none of RSA-2048: AWS publishes one for each kind of signature, and the one headed RSA-2048 is of use here");
            }
        }

        try
        {
            SignedDocument.Verify(document, signers);
        }
        catch (CryptographicException e)
        {
            throw Bad($"this instance's own identity document, of {region}, does not hold by it: {e.Message}. Is it the file of {region}, headed RSA-2048?");
        }

        ConfigurationException Bad(string message) => new(new ConfigError(new Origin(file, 0, 0), "--identity-certificates", message));
    }

    private static async Task<string> Vpc(InstanceMetadata metadata, CancellationToken stop)
    {
        var mac = await metadata.Text("mac", stop).ConfigureAwait(false);
        return await metadata.Text($"network/interfaces/macs/{mac}/vpc-id", stop).ConfigureAwait(false);
    }

    /// <summary>Refuses each value that is not of that form.</summary>
    private static void Form(Option option, Predicate<string> holds, string form) => option.Validators.Add(result =>
    {
        foreach (var token in result.Tokens.Where(t => !holds(t.Value)))
        {
            result.AddError($"{option.Name}: '{IssuerRefusal.Short(token.Value)}' is not {form}");
        }
    });

    private static Cidr? Range(string text)
    {
        try
        {
            return Cidr.Parse(text);
        }
        catch (FormatException)
        {
            return null;
        }
    }

    private static bool Only(string text, string others) => text.All(c => char.IsAsciiLetterOrDigit(c) || others.Contains(c, StringComparison.Ordinal));

    private static void Range(Option<int> option, int least, int most) => option.Validators.Add(result =>
    {
        // What is no number at all has its error already.
        if (result.Tokens is [var token] && int.TryParse(token.Value, CultureInfo.InvariantCulture, out var value) && (value < least || value > most))
        {
            result.AddError(string.Create(CultureInfo.InvariantCulture, $"{option.Name}: {value} is out of range; expected {least} to {most}"));
        }
    });

    private static Option<Duration> Durations(string name, string description, string byDefault) => new(name)
    {
        Description = description,
        HelpName = "DURATION",
        DefaultValueFactory = _ => Duration.Parse(byDefault),
        CustomParser = result =>
        {
            try
            {
                var duration = Duration.Parse(result.Tokens[0].Value);
                // As certificates.lifetime, and for the same reason.
                if (duration.Value < TimeSpan.FromHours(1) || duration.Value > TimeSpan.FromDays(3650))
                {
                    result.AddError($"{name}: {duration} is out of range; expected 1h to 3650d");
                }

                return duration;
            }
            catch (FormatException e)
            {
                result.AddError(string.Create(CultureInfo.InvariantCulture, $"{name}: {e.Message}"));
                return default;
            }
        },
    };

    private sealed record Given(
        string Cluster,
        string[] Workers,
        string Signers,
        NodeNaming Naming,
        Duration Lifetime,
        IPEndPoint Listen,
        int MetricsPort,
        int ConnectionsPerAddress,
        string? Vpc,
        Cidr? PodRange,
        int NodePrefix,
        string[] RouteTables,
        int RouteQuota);
}
