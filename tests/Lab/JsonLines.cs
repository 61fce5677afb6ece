using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace NodeAgent.Lab;

/// <summary>QEMU's monitor (QMP) and its guest agent both speak lines of JSON on a Unix socket: one call at a time, answers in order.</summary>
internal sealed class JsonLines : IDisposable
{
    private readonly Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly SemaphoreSlim turn = new(1);
    private readonly string path;
    private StreamReader reader = StreamReader.Null;

    private JsonLines(string path) => this.path = path;

    /// <summary>Waits for the socket: QEMU makes it a moment after its start.</summary>
    public static async Task<JsonLines> ConnectAsync(string path, CancellationToken stop)
    {
        var lines = new JsonLines(path);
        while (true)
        {
            try
            {
                await lines.socket.ConnectAsync(new UnixDomainSocketEndPoint(path), stop);
                lines.reader = new StreamReader(new NetworkStream(lines.socket), Encoding.UTF8);
                return lines;
            }
            catch (SocketException)
            {
                await Task.Delay(50, stop);
            }
        }
    }

    public async Task<JsonElement> CallAsync(string command, object? arguments, CancellationToken stop)
    {
        await turn.WaitAsync(stop);
        try
        {
            var call = JsonSerializer.SerializeToUtf8Bytes(arguments is null ? new { execute = command } : (object)new { execute = command, arguments });
            await socket.SendAsync((byte[])[.. call, (byte)'\n'], stop);
            while (true)
            {
                var line = await reader.ReadLineAsync(stop) ?? throw new LabException($"{path}: closed while {command} was running");
                var answer = JsonDocument.Parse(line).RootElement;
                if (answer.TryGetProperty("error", out var error))
                {
                    throw new LabException($"{path}: {command}: {error.GetProperty("desc").GetString()}");
                }

                // Events and the greeting have no "return".
                if (answer.TryGetProperty("return", out var value))
                {
                    return value;
                }
            }
        }
        finally
        {
            turn.Release();
        }
    }

    public void Dispose()
    {
        reader.Dispose();
        socket.Dispose();
        turn.Dispose();
    }
}
