using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace NodeAgent.Lab;

/// <summary>Serves connections of a container from this process: the socket is made in the container's network, and belongs to it from then on.</summary>
internal sealed partial class Listener : IAsyncDisposable
{
    private const int NewNetwork = 0x40000000; // CLONE_NEWNET, setns(2)

    private readonly Socket socket;
    private readonly Task accepting;

    private Listener(Socket socket, Func<Stream, Task> serve)
    {
        this.socket = socket;
        accepting = AcceptAsync(serve);
    }

    /// <summary>In the network of that process.</summary>
    public static Listener Start(string leader, string address, int port, Func<Stream, Task> serve) => new(
        InNetwork(leader, () =>
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(IPAddress.Parse(address), port));
            socket.Listen();
            return socket;
        }),
        serve);

    /// <summary>
    /// On this machine: connections to its <paramref name="port"/> go on to a port that somebody has on the loopback of the process' network.
    /// </summary>
    public static Listener Forward(int port, Func<string> leader, int to)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
        socket.Listen();
        return new(socket, async stream =>
        {
            await using var inside = new NetworkStream(
                InNetwork(leader(), () =>
                {
                    var connection = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                    connection.Connect(IPAddress.Loopback, to);
                    return connection;
                }),
                ownsSocket: true);
            await Task.WhenAny(stream.CopyToAsync(inside), inside.CopyToAsync(stream));
        });
    }

    private static Socket InNetwork(string leader, Func<Socket> make)
    {
        Socket? socket = null;
        Exception? failure = null;
        // A thread of its own: it stays in that network.
        var thread = new Thread(() =>
        {
            try
            {
                using var network = File.OpenHandle($"/proc/{leader}/ns/net");
                if (SetNamespace((int)network.DangerousGetHandle(), NewNetwork) != 0)
                {
                    throw new LabException($"setns: errno {Marshal.GetLastPInvokeError()}");
                }

                socket = make();
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        thread.Start();
        thread.Join();
        return socket
            ?? throw (failure is SocketException or IOException ? failure : new LabException($"in the network of {leader}: {failure!.Message}", failure));
    }

    public async ValueTask DisposeAsync()
    {
        socket.Dispose();
        await accepting;
    }

    private async Task AcceptAsync(Func<Stream, Task> serve)
    {
        try
        {
            while (true)
            {
                _ = ServeAsync(await socket.AcceptAsync(), serve);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Disposed of.
        }
    }

    private static async Task ServeAsync(Socket client, Func<Stream, Task> serve)
    {
        await using var stream = new NetworkStream(client, ownsSocket: true);
        try
        {
            await serve(stream);
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            // The client went away, or nobody is behind this.
        }
    }

    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static partial int SetNamespace(int descriptor, int kind);
}
