using System.Runtime.InteropServices;
using NodeAgent.Imds;

// imds --state FILE [--urls URL]: runs until SIGTERM. README.md describes the file.
string? file = null;
var url = "http://169.254.169.254:80";
for (var i = 0; i + 1 < args.Length; i += 2)
{
    switch (args[i])
    {
        case "--state": file = args[i + 1]; break;
        case "--urls": url = args[i + 1]; break;
    }
}

if (file is null || args.Length % 2 != 0)
{
    Console.Error.WriteLine("usage: imds --state FILE [--urls http://169.254.169.254:80]");
    return 3;
}

var reading = new Lock();
(DateTime Written, long Length) seen = default;
ImdsState? state = null;
ImdsState Read()
{
    lock (reading)
    {
        var now = new FileInfo(file);
        if (state is null || (now.LastWriteTimeUtc, now.Length) != seen)
        {
            try
            {
                state = ImdsState.Parse(File.ReadAllBytes(file));
                seen = (now.LastWriteTimeUtc, now.Length);
            }
            catch (Exception e) when (state is not null && e is System.Text.Json.JsonException or IOException)
            {
                // Half written: the harness is at it. What was there before holds until it parses.
                Console.Error.WriteLine($"imds: {file}: {e.Message}");
            }
        }

        return state!;
    }
}

using var stop = new CancellationTokenSource();
void Stop(PosixSignalContext context)
{
    context.Cancel = true;
    stop.Cancel();
}

using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);

await using var server = new ImdsServer(Read, url);
server.Answered += Console.WriteLine;
try
{
    // "Nobody listens" is a fault like the others, only that no request can end it: hence the look at the state ten times a second.
    while (true)
    {
        if (server.ShallRefuse == server.Listening)
        {
            await (server.Listening ? server.Stop() : server.Start());
            Console.WriteLine(server.Listening ? $"listening on {url}" : "refusing");
        }

        await Task.Delay(100, stop.Token);
    }
}
catch (OperationCanceledException)
{
    return 0;
}
