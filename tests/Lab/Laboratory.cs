using System.Diagnostics;
using Shouldly;

namespace NodeAgent.Lab;

/// <summary>What a scenario gets: guests, the cluster's certificate authority and API server, AWS, and a folder for what it leaves behind.</summary>
internal sealed class Laboratory : IAsyncDisposable
{
    private readonly Stopwatch clock = new();
    private readonly List<Guest> guests = [];

    public Laboratory()
    {
        var services = Path.Combine(Caches.Artifacts, "services");
        if (Directory.Exists(services))
        {
            Directory.Delete(services, recursive: true);
        }

        CertificateAuthority = new(Path.Combine(services, "ca"));
        ApiServer = new(services, CertificateAuthority);
        Aws = new(services);
    }

    public CertificateAuthority CertificateAuthority { get; }

    public ApiServer ApiServer { get; }

    public Aws Aws { get; }

    /// <summary>On this machine's loopback; virtual machines find what listens there at 10.0.2.104:10261.</summary>
    public int IssuerPort { get; } = ApiServer.FreePort();

    public string Scenario { get; private set; } = "";

    /// <summary>artifacts/lab/NAME: journal, serial console, and whatever the scenario keeps.</summary>
    public string Folder => Path.Combine(Caches.Artifacts, Scenario);

    /// <summary>A virtual machine that has just booted, with the given disks. The API server and AWS are there as soon as something asks for them.</summary>
    public async Task<VirtualMachine> BootAsync(GuestOptions? options = null)
    {
        var machine = await VirtualMachine.StartAsync(this, options ?? new());
        guests.Add(machine);
        await machine.Imds.SaveAsync();
        return machine;
    }

    /// <summary>One that is off yet, of an image that a scenario baked.</summary>
    public async Task<VirtualMachine> CreateAsync(string image, Seat seat)
    {
        var machine = await VirtualMachine.CreateAsync(this, image, seat);
        guests.Add(machine);
        return machine;
    }

    /// <summary>A container with real systemd and D-Bus: no disks, no kernel of its own, stand-ins for kubelet and containerd.</summary>
    public async Task<Container> StartContainerAsync()
    {
        var container = await NodeAgent.Lab.Container.StartAsync(this);
        guests.Add(container);
        await container.Imds.SaveAsync();
        return container;
    }

    public void Say(string what) => Console.WriteLine($"{clock.Elapsed.TotalSeconds,7:0.0}s  {Scenario}: {what}");

    /// <summary>Asks twice a second until it holds, and gives back what was seen then. In the end fails with what was seen last.</summary>
    public async Task<string> WaitForAsync(string what, TimeSpan timeout, Func<Task<(bool Holds, string Seen)>> probe)
    {
        var waited = Stopwatch.StartNew();
        while (true)
        {
            var (holds, seen) = await probe();
            if (holds)
            {
                if (waited.Elapsed > TimeSpan.FromSeconds(2))
                {
                    Say($"{what}, after {waited.Elapsed.TotalSeconds:0.0} s");
                }

                return seen;
            }

            if (waited.Elapsed > timeout)
            {
                throw new ShouldAssertException($"not within {timeout.TotalSeconds:0} s: {what}\n    was: {seen}");
            }

            await Task.Delay(waited.Elapsed < TimeSpan.FromSeconds(2) ? 100 : 500);
        }
    }

    /// <summary>Starts a scenario with an empty folder and a cluster without nodes.</summary>
    public async Task EnterAsync(string scenario)
    {
        Scenario = scenario;
        clock.Restart();
        if (Directory.Exists(Folder))
        {
            Directory.Delete(Folder, recursive: true);
        }

        Directory.CreateDirectory(Folder);
        await ApiServer.ResetAsync();
    }

    /// <summary>Ends the guests that the scenario left, also one that failed or ran out of time.</summary>
    public async Task LeaveAsync()
    {
        foreach (var guest in guests)
        {
            await guest.DisposeAsync();
        }

        guests.Clear();
    }

    public async ValueTask DisposeAsync()
    {
        await LeaveAsync();
        await ApiServer.DisposeAsync();
        await Aws.DisposeAsync();
    }
}
