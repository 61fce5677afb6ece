using System.CommandLine;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Kubernetes;
using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <summary>
/// nodeagent ready: waits until this machine is a healthy node. nodeagent-ready.service runs it, and is the unit that others order themselves after.
/// </summary>
internal static class ReadyCommand
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(2);

    // A look into the store costs more than the rest.
    private const int RoundsBetweenImages = 5;

    public static Command Create()
    {
        var gate = new Option<string>("--gate")
        {
            Description = "healthy: runtime and kubelet answer. ready: the API server says that the node is Ready, too.",
            HelpName = "healthy|ready",
            DefaultValueFactory = _ => "healthy",
        };
        gate.AcceptOnlyFromAmong("healthy", "ready");
        var node = new Option<string?>("--node") { Description = "The node's name; needed by --gate ready.", HelpName = "NAME" };
        var server = CommonOptions.Server("The API server; needed by --gate ready.");
        var runtime = new Option<string>("--runtime-socket")
        {
            Description = "Where the container runtime listens.",
            HelpName = "PATH",
            DefaultValueFactory = _ => Containerd.Socket,
        };
        var deadline = CommonOptions.Deadline("10m");
        var warm = new Option<bool>("--warm")
        {
            Description = "In a warm pool: waits until the machine is prepared, and then to be started into service. It is not ready before.",
        };
        var hook = new HookOptions("--launch-hook", "The lifecycle hook that waits for this node, and is told.");
        var giveUp = new Option<Duration>("--give-up-after")
        {
            Description = "After which a failure abandons the launch (30m unless given).",
            HelpName = "DURATION",
            DefaultValueFactory = _ => Duration.Parse("30m"),
            CustomParser = CommonOptions.ParseDuration("--give-up-after"),
        };
        var command = new Command("ready", """
            Wait until this machine is a healthy node.

            Exit codes: 0 it is, 4 it was not in time.

            Example:
              nodeagent ready --deadline 5m
            """)
        {
            gate, node, server, runtime, deadline, warm, giveUp,
        };
        hook.AddTo(command);
        command.Validators.Add(result =>
        {
            if (result.GetValue(gate) == "ready" && (result.GetValue(node) is null || result.GetValue(server) is null))
            {
                result.AddError("--gate ready needs --node and --server");
            }
        });
        command.SetAction(async (parse, cancellation) =>
        {
            await using var launch = hook.Of(parse) is { } settings
                ? Launch.Begin(
                    settings.Target,
                    () => InstanceHook.Open(settings, MachineSources.Outbound(null, null)),
                    settings.Heartbeat.Value,
                    parse.GetValue(giveUp).Value,
                    Lifecycle.LaunchPath,
                    TimeProvider.System,
                    Console.Out.WriteLine)
                : null;
            return await Wait(
                parse.GetValue(gate) == "ready" ? (parse.GetValue(node)!, parse.GetValue(server)!) : null,
                parse.GetValue(runtime)!,
                parse.GetValue(deadline),
                parse.GetValue(warm),
                launch,
                cancellation).ConfigureAwait(false);
        });
        return command;
    }

    private static async Task<int> Wait((string Node, Uri Server)? api, string runtime, Duration deadline, bool warm, Launch? launch, CancellationToken stop)
    {
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(stop);
        timer.CancelAfter(deadline.Value);
        var (said, images) = ("", (string?)null);
        // Docker's or cri-dockerd's socket, whichever kubelet has.
        var isDocker = runtime != Containerd.Socket;
        for (var round = 0; ; round++)
        {
            try
            {
                var missing = await Missing(api, runtime, warm, timer.Token).ConfigureAwait(false);
                if (missing is null && warm)
                {
                    return await Warm(launch, stop).ConfigureAwait(false);
                }

                if (round % RoundsBetweenImages == 0)
                {
                    images = PodImages.Missing(isDocker, timer.Token);
                }

                if (missing is null)
                {
                    // No part of the gate, and worth knowing: a control plane that does not come up looks like this.
                    if (images is not null)
                    {
                        Console.Out.WriteLine($"note: {images}");
                    }

                    ServiceNotify.Status("healthy");
                    ServiceNotify.Ready();
                    Console.Out.WriteLine("The node is healthy.");
                    return launch is null || await launch.Answer(LifecycleResult.Continue, "the node is healthy", stop).ConfigureAwait(false)
                        ? ExitCode.Ok
                        : ExitCode.Failed;
                }

                missing = images is null ? missing : $"{missing}; {images}";
                if (missing != said && !timer.IsCancellationRequested)
                {
                    said = missing;
                    ServiceNotify.Status($"waiting: {missing}");
                    Console.Out.WriteLine($"waiting: {missing}");
                }

                await Task.Delay(Pause, timer.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!stop.IsCancellationRequested)
            {
                Console.Error.WriteLine($"nodeagent: the node was not healthy within {deadline}: {said}");
                if (launch is not null)
                {
                    await launch.Ended(ExitCode.NotReachableInTime, stop).ConfigureAwait(false);
                }

                return ExitCode.NotReachableInTime;
            }
        }
    }

    /// <summary>It has no end of its own: going into service begins the unit anew, without --warm.</summary>
    private static async Task<int> Warm(Launch? launch, CancellationToken stop)
    {
        const string said = "warm: the machine is prepared, and waits to be started into service";
        ServiceNotify.Status(said);
        Console.Out.WriteLine(said);
        if (launch is not null && !await launch.Answer(LifecycleResult.Continue, "the machine is prepared", stop).ConfigureAwait(false))
        {
            return ExitCode.Failed;
        }

        try
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, stop).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Told to stop.
        }

        return ExitCode.ToldToStop;
    }

    /// <summary>What the node still lacks; null when it is healthy, or prepared where it is not to be more than that.</summary>
    private static async Task<string?> Missing((string Node, Uri Server)? api, string runtime, bool warm, CancellationToken cancellation)
    {
        if (Files.Report(BootGate.StampPath).Kind != FileKind.Regular)
        {
            return $"the machine is not prepared ({BootGate.StampPath} is not there); see journalctl -u nodeagent";
        }

        if (Files.Report(runtime).Kind == FileKind.Absent)
        {
            return $"the container runtime does not listen at {runtime}";
        }

        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(runtime), cancellation).ConfigureAwait(false);
        }
        catch (SocketException e)
        {
            return $"the container runtime does not answer at {runtime}: {e.Message}";
        }

        if (warm)
        {
            return null;
        }

        try
        {
            using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { Timeout = TimeSpan.FromSeconds(10) };
            _ = await http.GetStringAsync(Kubelet.HealthEndpoint, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
        {
            return $"kubelet is not healthy at {Kubelet.HealthEndpoint}: {e.Message}";
        }

        return api is { } wanted ? await NotReady(wanted.Node, wanted.Server, cancellation).ConfigureAwait(false) : null;
    }

    private static async Task<string?> NotReady(string node, Uri server, CancellationToken cancellation)
    {
        try
        {
            var pem = SecretFile.Read(Certificates.PathOf("kubelet-client"));
            using var client = new ApiClient(server, Files.Text(Certificates.AuthorityPath) ?? "", Encoding.ASCII.GetString(pem), TimeSpan.FromSeconds(20));
            CryptographicOperations.ZeroMemory(pem);
            var (status, message) = await client.NodeReady(node, cancellation).ConfigureAwait(false);
            return status == "True" ? null : $"node {node} is not Ready: {message}";
        }
        // The last three are a 200 that is not Kubernetes: a proxy's page, a load balancer that begins.
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException or CryptographicException or IOException
            or JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return $"{server} does not say whether {node} is Ready: {(e.InnerException ?? e).Message}";
        }
    }
}
