using System.Globalization;
using System.Net.Http;
using System.Security.Cryptography;
using System.Text.Json;

namespace NodeAgent.Kubernetes;

/// <summary>
/// Takes a node out of service as `kubectl drain --ignore-daemonsets --delete-emptydir-data --force` does, within a time: no new pods, then each pod is evicted
/// as disruption budgets allow, and waited for. Every step may be done again by whoever starts anew in the middle, and is tried again where the API server is
/// away.
/// </summary>
/// <param name="connect">For every round anew: the node's certificate may be another one by then.</param>
/// <param name="say">What is waited for, when that changes.</param>
internal sealed class Drain(Func<ApiClient> connect, string node, TimeProvider time, Action<string> say)
{
    /// <summary>Of the Node, while it was this agent that made it unschedulable: what is there to be taken back.</summary>
    public const string Annotation = "nodeagent/leaving";

    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(3);

    private string _said = "";

    /// <param name="why">For the annotation.</param>
    /// <param name="deadline">By <paramref name="time"/>'s timestamps.</param>
    /// <returns>Whether no pod is left that should go.</returns>
    public async Task<bool> Run(string why, long deadline, CancellationToken cancellation)
    {
        using var timer = new CancellationTokenSource(Left(deadline), time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellation, timer.Token);
        var isCordoned = false;
        try
        {
            while (true)
            {
                var waits = await Try(
                    async api =>
                    {
                        isCordoned = isCordoned || await Cordon(api, why, both.Token).ConfigureAwait(false);
                        return await Round(api, both.Token).ConfigureAwait(false);
                    },
                    both.Token).ConfigureAwait(false);
                if (waits is null)
                {
                    return true;
                }

                Say(waits);
                await Task.Delay(Pause, time, both.Token).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return false;
        }
    }

    /// <summary>Takes back what <see cref="Run"/> did to the node, and nothing that somebody else did.</summary>
    /// <returns>Whether that is done, or there was nothing to do.</returns>
    public async Task<bool> TakeBack(CancellationToken cancellation)
    {
        var waits = await Try(
            async api =>
            {
                if (await api.Cordoned(node, Annotation, cancellation).ConfigureAwait(false) is { Annotation: not null } now)
                {
                    await api.Cordon(node, false, Annotation, null, now.Version, cancellation).ConfigureAwait(false);
                    say($"node {node} takes pods again");
                }

                return null;
            },
            cancellation).ConfigureAwait(false);
        if (waits is not null)
        {
            Say(waits);
        }

        return waits is null;
    }

    /// <summary>A cordon that somebody made before is theirs: without our annotation it is not taken back.</summary>
    private async Task<bool> Cordon(ApiClient api, string why, CancellationToken cancellation)
    {
        if (await api.Cordoned(node, Annotation, cancellation).ConfigureAwait(false) is not { } now)
        {
            return false;
        }

        if (now.IsUnschedulable)
        {
            if (now.Annotation is null)
            {
                say($"node {node} was cordoned by somebody else, and stays so whatever becomes of this");
            }

            return true;
        }

        return await api.Cordon(node, true, Annotation, why, now.Version, cancellation).ConfigureAwait(false);
    }

    /// <returns>What is still waited for; null when nothing is.</returns>
    private async Task<string?> Round(ApiClient api, CancellationToken cancellation)
    {
        var waits = new List<string>();
        foreach (var pod in (await api.PodsOf(node, cancellation).ConfigureAwait(false)).Where(p => !p.IsMirror && !p.IsDaemon))
        {
            if (pod.IsLeaving)
            {
                waits.Add($"{pod} is ending");
                continue;
            }

            var (result, message) = await api.Evict(pod, cancellation).ConfigureAwait(false);
            if (result != Eviction.Gone)
            {
                waits.Add(result == Eviction.Done ? $"{pod} is ending" : $"{pod} is not evicted: {message}");
            }
        }

        return waits.Count switch
        {
            0 => null,
            <= 5 => string.Join("; ", waits),
            _ => string.Create(
                CultureInfo.InvariantCulture,
                $"{string.Join("; ", waits.OrderBy(w => w.EndsWith("is ending", StringComparison.Ordinal)).Take(5))}; and {waits.Count - 5} more"),
        };
    }

    /// <returns>What the call says, or that the API server does not answer.</returns>
    private async Task<string?> Try(Func<ApiClient, Task<string?>> call, CancellationToken cancellation)
    {
        try
        {
            using var api = connect();
            return await call(api).ConfigureAwait(false);
        }
        // The last three are a 200 that is not Kubernetes: a proxy's page, a load balancer that begins.
        catch (Exception e) when (e is HttpRequestException or CryptographicException or IOException or JsonException or KeyNotFoundException
            or InvalidOperationException
            || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            return $"the API server does not do it: {e.GetBaseException().Message}";
        }
    }

    private void Say(string what)
    {
        if (what != _said)
        {
            _said = what;
            say(what);
        }
    }

    private TimeSpan Left(long deadline)
    {
        var left = TimeSpan.FromSeconds((deadline - time.GetTimestamp()) / (double)time.TimestampFrequency);
        return left > TimeSpan.Zero ? left : TimeSpan.Zero;
    }
}
