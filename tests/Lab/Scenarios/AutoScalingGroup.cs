using System.Collections.Concurrent;
using System.Globalization;
using System.Text;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// Auto Scaling as an instance sees it: moto has no lifecycle actions, so this answers the two calls as the service does (recorded from its API reference and
/// from what others met), for hooks of which an action is in progress.
/// </summary>
internal sealed class AutoScalingGroup
{
    public const string Name = "laboratory-workers";

    public const string LaunchHook = "nodeagent-launch";

    public const string TerminateHook = "nodeagent-terminate";

    private const string Namespace = "http://autoscaling.amazonaws.com/doc/2011-01-01/";

    private readonly ConcurrentDictionary<string, bool> _inProgress = new();

    /// <summary>As in "RecordLifecycleActionHeartbeat nodeagent-launch" and "CompleteLifecycleAction nodeagent-launch CONTINUE", taken ones alone.</summary>
    public ConcurrentQueue<string> Taken { get; } = new();

    /// <summary>Calls for which no action was in progress.</summary>
    public ConcurrentQueue<string> Untaken { get; } = new();

    /// <summary>The group waits for an answer of that hook from now on.</summary>
    public void Begin(string hook) => _inProgress[hook] = true;

    public bool Waits(string hook) => _inProgress.ContainsKey(hook);

    public Task<Listener> ListenAsync(Container guest) => guest.ListenAsync(ServeAsync);

    /// <summary>An image whose units ask Auto Scaling here, and an instance of the group with a role.</summary>
    public static async Task InstanceAsync(Laboratory lab, Container guest, string state, string more)
    {
        await Worker.InstallAsync(lab, guest);
        foreach (var unit in (string[])["nodeagent", "nodeagent-ready", "nodeagent-watch"])
        {
            await guest.WriteAsync($"/etc/systemd/system/{unit}.service.d/lab.conf", $"[Service]\nEnvironment=AWS_ENDPOINT_URL_AUTO_SCALING={Aws.Url}\n");
        }

        // The container's stand-in listens nowhere, and a node whose runtime does not answer is not healthy.
        await guest.WriteAsync(
            "/usr/bin/containerd",
            """
            #!/bin/sh
            if [ "$1" = --version ]; then echo "containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6"; exit 0; fi
            mkdir -p /run/containerd
            exec systemd-notify --exec --ready \; socat UNIX-LISTEN:/run/containerd/containerd.sock,fork,unlink-early /dev/null

            """,
            "755");
        guest.Imds.SetRole("worker", new("ASIALABORATORY", "made-up", "made-up"));
        await StateAsync(lab, guest, state, more);
    }

    /// <summary>Metadata says what the group wants, and what the launch template does.</summary>
    public static async Task StateAsync(Laboratory lab, Container guest, string state, string more)
    {
        guest.Imds.Paths["autoscaling/target-lifecycle-state"] = state;
        await Worker.LaunchAsync(lab, guest, more);
        guest.Imds.Tags!["aws:autoscaling:groupName"] = Name;
        await guest.Imds.SaveAsync();
    }

    public static async Task TargetAsync(Container guest, string state)
    {
        guest.Imds.Paths["autoscaling/target-lifecycle-state"] = state;
        await guest.Imds.SaveAsync();
    }

    private async Task ServeAsync(Stream stream)
    {
        while (await RequestAsync(stream) is { } body)
        {
            var asked = body.Split('&').Select(p => p.Split('=')).ToDictionary(p => p[0], p => Uri.UnescapeDataString(p[1]));
            var (action, hook) = (asked["Action"], asked["LifecycleHookName"]);
            var call = $"{action} {hook} {asked.GetValueOrDefault("LifecycleActionResult")}".TrimEnd();
            var isRight = asked["AutoScalingGroupName"] == Name && asked["InstanceId"] == "i-0a5d1a26e00000001" && Waits(hook);
            (isRight ? Taken : Untaken).Enqueue(call);
            if (isRight && action == "CompleteLifecycleAction")
            {
                _inProgress.TryRemove(hook, out _);
            }

            var answer = isRight
                ? $"<{action}Response xmlns=\"{Namespace}\"><{action}Result/><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
                : $"<ErrorResponse xmlns=\"{Namespace}\"><Error><Type>Sender</Type><Code>ValidationError</Code><Message>No active Lifecycle Action found with "
                    + "instance ID "
                    + $"{asked["InstanceId"]}</Message></Error><RequestId>1</RequestId></ErrorResponse>";
            await stream.WriteAsync(Encoding.UTF8.GetBytes(
                $"HTTP/1.1 {(isRight ? "200 OK" : "400 Bad Request")}\r\nContent-Type: text/xml\r\nContent-Length: {answer.Length}\r\n\r\n{answer}"));
        }
    }

    /// <returns>The body; null when the client is done.</returns>
    private static async Task<string?> RequestAsync(Stream stream)
    {
        var text = new StringBuilder();
        var buffer = new byte[8192];
        while (true)
        {
            var read = await stream.ReadAsync(buffer);
            if (read == 0)
            {
                return null;
            }

            text.Append(Encoding.ASCII.GetString(buffer, 0, read));
            var request = text.ToString();
            var end = request.IndexOf("\r\n\r\n", StringComparison.Ordinal);
            if (end < 0)
            {
                continue;
            }

            var length = request[..end].Split("\r\n").Select(l => l.Split(':', 2)).Where(l => l[0].Equals("content-length", StringComparison.OrdinalIgnoreCase))
                .Select(l => int.Parse(l[1], CultureInfo.InvariantCulture)).FirstOrDefault();
            if (request.Length >= end + 4 + length)
            {
                return request[(end + 4)..];
            }
        }
    }
}
