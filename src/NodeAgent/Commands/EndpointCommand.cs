using System.CommandLine;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization;
using NodeAgent.Aws;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>
/// nodeagent endpoint: finds the control plane again after its instances changed. nodeagent-endpoint.timer has it run where cluster.endpointFrom is tags.
/// </summary>
internal static class EndpointCommand
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    public static Command Create()
    {
        var cluster = new Option<string>("--cluster")
        {
            Description = "The cluster's name, as in the tag nodeagent:cluster.",
            HelpName = "NAME",
            Required = true,
        };
        var server = CommonOptions.Server("The cluster's endpoint.");
        server.Required = true;
        var region = new Option<string>("--region") { Description = "Of EC2.", HelpName = "REGION", Required = true };
        var vpc = new Option<string?>("--vpc") { Description = "Where alone instances are looked for.", HelpName = "ID" };
        var deadline = CommonOptions.Deadline("2m");
        var command = new Command("endpoint", """
            Look whether one of the addresses that /etc/hosts has for the cluster's endpoint is an API server of the cluster, and where none is for a while, ask EC2 for the
            control plane's instances and write their addresses there (cluster.endpointFrom: tags). It asks more and more rarely, down to every five minutes.

            Exit codes: 0 it answers, was found anew, or is not yet to be asked for, 1 failed, 3 bad command line, 4 not reachable in time.

            Example:
              nodeagent endpoint --cluster amber --server https://api.amber.internal:6443 --region eu-central-1
            """)
        {
            cluster, server, region, vpc, deadline,
        };
        command.SetAction((parse, stop) => Run(
            new(parse.GetValue(cluster)!, parse.GetValue(server)!, parse.GetValue(region)!, parse.GetValue(vpc)), parse.GetValue(deadline).Value, stop));
        return command;
    }

    private sealed record Wanted(string Cluster, Uri Server, string Region, string? Vpc);

    private static async Task<int> Run(Wanted wanted, TimeSpan deadline, CancellationToken stop)
    {
        using var log = RunLog.ToJournal(VersionCommand.Version, new JournalSink());
        try
        {
            return await Errors.Within(deadline, timer => Look(wanted, log, deadline, timer), stop).ConfigureAwait(false);
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            var why = Errors.Text(e, deadline, timedOut: false);
            log.ForContext("ExitCode", ExitCode.Of(e)).Error("{What:l}", why);
            if (!Journal.IsStandardError)
            {
                Console.Error.WriteLine($"nodeagent: {why}");
            }

            return ExitCode.Of(e);
        }
    }

    private static async Task<int> Look(Wanted wanted, Serilog.Core.Logger log, TimeSpan deadline, CancellationToken stop)
    {
        var known = HostsEntry.Endpoints(Files.Text(HostsEntry.Path) ?? "");
        foreach (var endpoint in known)
        {
            if (await Answers(endpoint, wanted.Server, stop).ConfigureAwait(false))
            {
                Files.Delete(EndpointMisses.File);
                return ExitCode.Ok;
            }
        }

        using var machine = new LinuxReader(stop);
        var misses = EndpointMisses.Read(Files.Text(EndpointMisses.File));
        if (known.Count > 0 && !misses.IsTime(machine.Now))
        {
            // An API server that starts anew is no reason for thousands of nodes to ask EC2.
            Keep(misses.Seen(machine.Now, Random.Shared.NextDouble()));
            return ExitCode.Ok;
        }

        using var alone = RunLock.Acquire(RunLock.DefaultPath, "endpoint", static _ => { }, stop);
        using var role = new RoleCredentials(AwsEndpoint.Metadata, deadline * 0.5);
        using var ec2 = new AmazonEC2Client(role, new AmazonEC2Config(wanted.Region, AwsEndpoint.Ec2) { HttpClientFactory = new OutboundHttp(null, []) });
        Keep(misses.Asked(machine.Now, Random.Shared.NextDouble()));
        var found = await Ec2.ControlPlane(ec2, wanted.Cluster, wanted.Vpc, stop).ConfigureAwait(false);
        var hosts = new HostsEntry(wanted.Server, [.. found.Select(i => i.PrivateIpAddress).Where(a => a.Length > 0).Order(StringComparer.Ordinal)]);
        var result = Applier.Apply(
            new ResourceList([hosts]),
            machine,
            new LinuxWriter(machine, stop),
            new ApplyProgress(
                Journal.IsStandardError ? TextWriter.Null : Console.Out, Terminal.IsThere, Terminal.HasColor, _ => { }, new RunLog(log), new Timeline()),
            stop);
        if (result.Count<Changed>() > 0)
        {
            log.Warning("{What:l}", $"{wanted.Server.Host} did not answer where it was, and is now {string.Join(", ", found.Select(i => i.PrivateIpAddress))}");
            Files.Delete(EndpointMisses.File);
        }

        return ExitCode.Of(result);

        static void Keep(EndpointMisses misses) => Files.Write(EndpointMisses.File, misses.Write(), Files.WorldReadable);
    }

    /// <summary>By its certificate: the address may be somebody else's by now.</summary>
    private static async Task<bool> Answers(IPEndPoint endpoint, Uri server, CancellationToken stop)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(stop);
        patience.CancelAfter(Patience);
        using var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await socket.ConnectAsync(endpoint, patience.Token).ConfigureAwait(false);
            var trusted = new X509Certificate2Collection();
            trusted.ImportFromPem(Files.Text(Certificates.AuthorityPath) ?? "");
            var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            policy.CustomTrustStore.AddRange(trusted);
            using var tls = new SslStream(new NetworkStream(socket));
            await tls.AuthenticateAsClientAsync(
                new SslClientAuthenticationOptions { TargetHost = server.DnsSafeHost, CertificateChainPolicy = policy }, patience.Token)
                .ConfigureAwait(false);
            return true;
        }
        catch (Exception e) when (e is SocketException or IOException or AuthenticationException
            || (e is OperationCanceledException && !stop.IsCancellationRequested))
        {
            return false;
        }
    }
}

/// <summary>How long the endpoint has not answered: the longer, the more rarely EC2 is asked. In /run, so that a boot begins anew.</summary>
/// <param name="Count">How often EC2 was asked since it answered last; 0 with a first miss.</param>
/// <param name="Next">Before when EC2 is not asked, Unix time; null before the first miss.</param>
internal sealed record EndpointMisses(int Count, long? Next)
{
    public const string File = "/run/nodeagent/endpoint.json";

    public static EndpointMisses Read(string? json)
    {
        try
        {
            return json is null ? new(0, null) : JsonSerializer.Deserialize(json, EndpointMissesJson.Default.EndpointMisses) ?? new(0, null);
        }
        catch (JsonException)
        {
            return new(0, null);
        }
    }

    public byte[] Write() => JsonSerializer.SerializeToUtf8Bytes(this, EndpointMissesJson.Default.EndpointMisses);

    public bool IsTime(DateTimeOffset now) => Next is { } next && now.ToUnixTimeSeconds() >= next;

    /// <param name="share">0 to 1, by chance: nodes spread over a minute.</param>
    public EndpointMisses Seen(DateTimeOffset now, double share) => Next is null ? new(0, now.ToUnixTimeSeconds() + 20 + (long)(40 * share)) : this;

    /// <param name="share">0 to 1, by chance.</param>
    public EndpointMisses Asked(DateTimeOffset now, double share) =>
        new(Count + 1, now.ToUnixTimeSeconds() + (long)(Math.Min(300, 30 << Math.Min(Count, 4)) * (0.5 + (share / 2))));
}

[JsonSerializable(typeof(EndpointMisses))]
internal sealed partial class EndpointMissesJson : JsonSerializerContext;
