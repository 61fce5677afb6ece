using System.Text.Json;
using NodeAgent.Aws;
using NodeAgent.Machine;
using NodeAgent.Network;
using NodeAgent.Resources;

namespace NodeAgent.Issuer;

/// <summary>A worker's range, asked of an issuer.</summary>
internal sealed class IssuerPodRangeSource(IssuerClient client) : IPodRangeSource
{
    public Cidr Obtain(Cidr? wish, CancellationToken cancellation)
    {
        var answer = client.Ask(
            Protocol.PodRangePath,
            document => JsonSerializer.SerializeToUtf8Bytes(new PodRangeRequest(document, wish?.ToString()), ProtocolJson.Default.PodRangeRequest),
            ProtocolJson.Default.PodRangeAnswer,
            answer => Parse(answer) is null ? "an answer that is no CIDR range" : null,
            cancellation).GetAwaiter().GetResult();
        return Parse(answer)!.Value;
    }

    private static Cidr? Parse(PodRangeAnswer answer)
    {
        try
        {
            return Cidr.Parse(answer.Range);
        }
        catch (FormatException)
        {
            return null;
        }
    }
}

/// <summary>A control plane node takes its range itself, by its instance's role: it may be the first there is, and no issuer runs yet.</summary>
/// <param name="instance">This one's ID.</param>
/// <param name="waiting">Told why it is to be tried again.</param>
/// <param name="patience">How long in all to try again before giving up.</param>
internal sealed class VpcPodRangeSource(
    PodRangeSettings settings, string instance, Func<IAmazonEC2> open, Action<string> waiting, TimeSpan patience, TimeProvider time) : IPodRangeSource
{
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(10);

    public Cidr Obtain(Cidr? wish, CancellationToken cancellation) => ObtainAsync(wish, cancellation).GetAwaiter().GetResult();

    private async Task<Cidr> ObtainAsync(Cidr? wish, CancellationToken cancellation)
    {
        var ec2 = open();
        using var ranges = new PodRanges(settings, ec2, time);
        var since = time.GetTimestamp();
        string? said = null;
        while (true)
        {
            try
            {
                var known = await Ec2.Instances(ec2, "instance-id", [instance], cancellation).ConfigureAwait(false);
                return known.Count > 0
                    ? await ranges.Claim(known[0], wish, cancellation).ConfigureAwait(false)
                    : throw IssuerRefusal.Later("not-yet", $"EC2 does not know {instance} (yet)", TimeSpan.FromSeconds(3));
            }
            catch (Exception e) when (e is IssuerRefusal or AwsException)
            {
                var pause = e switch
                {
                    IssuerRefusal { RetryAfter: { } after } => after,
                    AwsException { IsOutOfReach: true } => TimeSpan.FromSeconds(3),
                    _ => Timeout.InfiniteTimeSpan,
                };
                if (pause == Timeout.InfiniteTimeSpan || time.GetElapsedTime(since) + pause > patience)
                {
                    throw new MachineException("pod range from the VPC's route tables", e.Message, e) { IsOutOfReach = pause != Timeout.InfiniteTimeSpan };
                }

                if (said != e.Message)
                {
                    waiting(said = e.Message);
                }

                await Task.Delay(pause < LongestPause ? pause : LongestPause, time, cancellation).ConfigureAwait(false);
            }
        }
    }
}
