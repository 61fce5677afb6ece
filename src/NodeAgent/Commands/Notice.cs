using System.Globalization;
using System.Text.Json;
using NodeAgent.Desired;

namespace NodeAgent.Commands;

/// <summary>That this instance is about to leave the cluster, as metadata has it.</summary>
/// <param name="Why">One clause.</param>
/// <param name="Ends">When it is over, where that is said.</param>
/// <param name="IsGroups">Whether the autoscaling group lets it go, so that a hook of the group's may wait for it.</param>
/// <param name="IsPools">Whether it goes back into the group's warm pool, where it lives on without a node.</param>
/// <param name="IsAdvice">Whether EC2 merely advises it, so that nobody may ever end it.</param>
internal sealed record Notice(string Why, DateTimeOffset? Ends, bool IsGroups, bool IsPools = false, bool IsAdvice = false)
{
    /// <param name="target">autoscaling/target-lifecycle-state; null outside a group.</param>
    /// <param name="spot">spot/instance-action: {"action": "terminate", "time": "2026-11-21T08:22:00Z"}; null while there is none.</param>
    /// <param name="rebalance">Whether a recommendation to rebalance is there, and counts.</param>
    /// <param name="warm">Whether the instance waits in a warm pool, so that a state of the pool is nothing new.</param>
    /// <remarks>
    /// https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html,
    /// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
    /// </remarks>
    public static Notice? Of(string? target, string? spot, bool rebalance, bool warm)
    {
        DateTimeOffset? ends = null;
        string? action = null;
        if (spot is not null)
        {
            (action, ends) = Spot(spot);
        }

        var group = target is "Terminated" or "Warmed:Terminated" ? $"its autoscaling group ends it ({target})"
            : Lifecycle.IsWarm(target) && !warm ? $"its autoscaling group takes it back into the warm pool ({target})"
            : null;
        return group is not null ? new(group, ends, true, IsPools: Lifecycle.IsWarm(target) && target != "Warmed:Terminated")
            : action is not null ? new($"EC2 interrupts it as a spot instance ({action})", ends, false)
            : rebalance ? new("EC2 recommends to replace it as a spot instance (rebalance)", null, false, IsAdvice: true)
            : null;
    }

    // What cannot be read is a notice all the same: there is none without a reason.
    private static (string Action, DateTimeOffset? Ends) Spot(string text)
    {
        try
        {
            using var json = JsonDocument.Parse(text);
            var action = json.RootElement.TryGetProperty("action", out var a) ? a.GetString() ?? "?" : "?";
            return json.RootElement.TryGetProperty("time", out var t)
                && DateTimeOffset.TryParse(
                    t.GetString(), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var ends)
                ? (action, ends)
                : (action, null);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return ("?", null);
        }
    }
}
