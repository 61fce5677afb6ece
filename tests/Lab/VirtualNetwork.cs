using System.Globalization;
using System.Xml.Linq;

namespace NodeAgent.Lab;

/// <summary>
/// A subnet of a VPC: a bridge in a network namespace of its own, and behind its first address the VPC's router, which goes by the route tables that EC2 (moto)
/// has, and by each instance's source/destination check. Gone with the runner, however it ends.
/// </summary>
internal sealed class VirtualNetwork : IAsyncDisposable
{
    private const string Prefix = "10.0.16";

    private readonly Laboratory lab;
    private readonly Child holder;
    private readonly CancellationTokenSource stop = new();
    private readonly HashSet<(string Range, string Via)> programmed = [];
    private Task routing = Task.CompletedTask;

    private VirtualNetwork(Laboratory lab, Child holder) => (this.lab, this.holder) = (lab, holder);

    public const string Range = $"{Prefix}.0/24";

    public static async Task<VirtualNetwork> StartAsync(Laboratory lab, Fleet fleet)
    {
        var holder = await Child.StartAsync(Path.Combine(lab.Folder, "network.log"), "unshare", ["--net", "sleep", "infinity"]);
        var network = new VirtualNetwork(lab, holder);
        await lab.WaitForAsync("a network of its own", TimeSpan.FromSeconds(10), async () => (
            (await Child.RunAsync(
                "sh", ["-c", $"test \"$(readlink /proc/{holder.Id}/ns/net)\" != \"$(readlink /proc/self/ns/net)\""], TimeSpan.FromSeconds(5))).ExitCode == 0,
            ""));
        await network.CheckAsync(
            $"ip link set lo up && ip link add br0 type bridge && ip address add {Prefix}.1/24 dev br0 && ip link set br0 up "
            // VPC's router sends no redirects: an instance's neighbours reach its pods through the gateway alone.
            + "&& echo 1 >/proc/sys/net/ipv4/ip_forward && echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects && echo 0 "
            + ">/proc/sys/net/ipv4/conf/br0/send_redirects");
        network.routing = network.RouteAsync(fleet);
        return network;
    }

    /// <summary>A place in it; the address is the network's with this last part.</summary>
    public Seat Seat(string name, int last, int memory = 2048) => new(this, name, string.Create(CultureInfo.InvariantCulture, $"{Prefix}.{last}"), memory);

    /// <summary>Plugs in the interface that a QEMU has just made.</summary>
    public async Task AttachAsync(string tap)
    {
        await lab.WaitForAsync($"interface {tap}", TimeSpan.FromSeconds(10), async () =>
            ((await Child.RunAsync("ip", ["link", "set", tap, "netns", $"{holder.Id}"], TimeSpan.FromSeconds(5))).ExitCode == 0, "not there"));
        await CheckAsync($"ip link set {tap} master br0 up");
    }

    /// <summary>Runs a command of this machine inside: beside the router, from where every instance and every pod can be reached.</summary>
    public Task<CommandResult> RunAsync(TimeSpan timeout, params string[] command) =>
        Child.RunAsync("nsenter", ["-t", $"{holder.Id}", "-n", .. command], timeout);

    public async ValueTask DisposeAsync()
    {
        await stop.CancelAsync();
        await routing;
        await holder.DisposeAsync();
        stop.Dispose();
    }

    private async Task CheckAsync(string command) => (await RunAsync(TimeSpan.FromSeconds(20), "sh", "-c", command)).EnsureSuccess();

    /// <summary>What the VPC's tables say, every second.</summary>
    private async Task RouteAsync(Fleet fleet)
    {
        var said = "";
        while (!stop.IsCancellationRequested)
        {
            try
            {
                var wanted = await RoutesAsync(fleet);
                foreach (var (range, _) in programmed.Except(wanted).ToList())
                {
                    await RunAsync(TimeSpan.FromSeconds(5), "ip", "route", "del", range);
                }

                foreach (var (range, via) in wanted.Except(programmed).ToList())
                {
                    await CheckAsync($"ip route replace {range} via {via}");
                }

                programmed.Clear();
                programmed.UnionWith(wanted);
                var now = string.Join(", ", wanted.Order().Select(route => $"{route.Range} via {route.Via}"));
                if (now != said)
                {
                    lab.Say($"the router: {(now.Length == 0 ? "no routes" : now)}");
                    said = now;
                }

                await Task.Delay(1000, stop.Token);
            }
            catch (Exception e) when (e is LabException or HttpRequestException or System.Xml.XmlException)
            {
                lab.Say($"the router: {e.Message.Split('\n')[0]}");
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    private async Task<HashSet<(string Range, string Via)>> RoutesAsync(Fleet fleet)
    {
        var tables = XDocument.Parse(await lab.Aws.CallAsync("ec2", "2016-11-15", "DescribeRouteTables", ("RouteTableId.1", fleet.RouteTable)));
        var interfaces = XDocument.Parse(await lab.Aws.CallAsync("ec2", "2016-11-15", "DescribeNetworkInterfaces"));
        // The VPC drops what is not of or for the instance itself, as long as its interface's check is on.
        var forwards = interfaces.Descendants()
            .Where(e => e.Name.LocalName == "item" && Text(e, "sourceDestCheck") == "false" && Text(e, "privateIpAddress") is not null)
            .Select(
                e =>
                    (Instance: e.Elements()
                        .FirstOrDefault(a => a.Name.LocalName == "attachment") is { } attached
                            ? Text(attached, "instanceId")
                            : null, Address: Text(e, "privateIpAddress")!))
            .Where(e => e.Instance is not null)
            .ToLookup(e => e.Instance!, e => e.Address);
        return [.. tables.Descendants().Where(e => e.Name.LocalName == "item" && Text(e, "destinationCidrBlock") is not null)
            .Where(e => Text(e, "instanceId") is { } id && forwards.Contains(id))
            .Select(e => (Text(e, "destinationCidrBlock")!, forwards[Text(e, "instanceId")!].First()))];

        static string? Text(XElement item, string name) => item.Elements().FirstOrDefault(e => e.Name.LocalName == name)?.Value;
    }
}
