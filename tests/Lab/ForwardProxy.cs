using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;

namespace NodeAgent.Lab;

/// <summary>
/// A proxy for http:// that wants a password: it listens inside a container, which has no other way out, and asks moto on this host, whatever host was meant.
/// </summary>
internal sealed partial class ForwardProxy : IAsyncDisposable
{
    private readonly Socket listener;
    private readonly int upstream;
    private readonly string authorization;
    private readonly CancellationTokenSource stop = new();
    private readonly Task accepting;

    /// <param name="networkNamespace">As in /proc/PID/ns/net.</param>
    public ForwardProxy(string networkNamespace, int port, string userAndPassword, int upstream)
    {
        listener = Listen(networkNamespace, port);
        this.upstream = upstream;
        authorization = $"Proxy-Authorization: Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes(userAndPassword))}";
        accepting = AcceptAsync();
    }

    /// <summary>First lines of the requests that came with the password, as in "POST http://host/ HTTP/1.1".</summary>
    public ConcurrentQueue<string> Requests { get; } = [];

    public async ValueTask DisposeAsync()
    {
        await stop.CancelAsync();
        listener.Dispose();
        await accepting;
        stop.Dispose();
    }

    // A socket belongs to the namespace of the thread that made it. This one enters it and ends there, so no pooled thread is left in a strange network.
    private static Socket Listen(string networkNamespace, int port)
    {
        Socket? socket = null;
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                using var handle = File.OpenHandle(networkNamespace);
                if (Enter((int)handle.DangerousGetHandle(), 0) != 0)
                {
                    throw new LabException($"setns {networkNamespace}: {Marshal.GetLastPInvokeErrorMessage()}");
                }

                socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                socket.Listen();
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        thread.Start();
        thread.Join();
        return failure is null ? socket! : throw new LabException($"no proxy in {networkNamespace}: {failure.Message}", failure);
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _ = ServeAsync(await listener.AcceptAsync(stop.Token));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The end.
        }
    }

    private async Task ServeAsync(Socket accepted)
    {
        try
        {
            await using var client = new NetworkStream(accepted, ownsSocket: true);
            var head = await HeadAsync(client);
            var lines = head.Split("\r\n");
            var length = lines.FirstOrDefault(l => l.StartsWith("Content-Length:", StringComparison.OrdinalIgnoreCase)) is { } line
                ? int.Parse(line.Split(':')[1])
                : 0;
            var body = new byte[length];
            await client.ReadExactlyAsync(body, stop.Token);
            if (!lines.Contains(authorization))
            {
                const string Answer =
                    "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"lab\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                await client.WriteAsync(Encoding.ASCII.GetBytes(Answer), stop.Token);
                return;
            }

            Requests.Enqueue(lines[0]);
            var words = lines[0].Split(' ');
            var forwarded = lines[1..]
                .Where(
                    l => l.Length > 0 && !l.StartsWith("Proxy-", StringComparison.OrdinalIgnoreCase)
                        && !l.StartsWith("Connection:", StringComparison.OrdinalIgnoreCase));
            using var server = new TcpClient();
            await server.ConnectAsync(IPAddress.Loopback, upstream, stop.Token);
            await using var stream = server.GetStream();
            var request = string.Join("\r\n", [$"{words[0]} {new Uri(words[1]).PathAndQuery} HTTP/1.1", .. forwarded, "Connection: close", "", ""]);
            await stream.WriteAsync(Encoding.Latin1.GetBytes(request), stop.Token);
            await stream.WriteAsync(body, stop.Token);
            await stream.CopyToAsync(client, stop.Token);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or EndOfStreamException)
        {
            // Whoever asked sees the connection close, and says so.
        }
    }

    private async Task<string> HeadAsync(Stream stream)
    {
        var head = new StringBuilder();
        var one = new byte[1];
        while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
        {
            await stream.ReadExactlyAsync(one, stop.Token);
            head.Append((char)one[0]);
        }

        return head.ToString();
    }

    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static partial int Enter(int descriptor, int type);
}
