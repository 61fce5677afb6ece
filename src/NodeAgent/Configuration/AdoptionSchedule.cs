using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace NodeAgent.Configuration;

/// <summary>What a look at the configuration of a running node comes to.</summary>
internal enum AdoptionStep
{
    NothingNew,

    /// <summary>A running node is left alone: adoption.when is boot, or it is nothing for a node that runs.</summary>
    AtBoot,

    /// <summary>It disturbs the node, whose slot is still to come.</summary>
    InSlot,
    Now,
}

/// <summary>
/// When a running node takes new configuration. Pure, and without chance: a node's share of a span is a hash, so that it can be said beforehand and asking
/// again gives the same. Nodes spread over the span evenly, and in another order for each configuration, so that it is not always the same ones that go first.
/// </summary>
internal static class AdoptionSchedule
{
    /// <summary>
    /// A plan that holds anything disruptive waits as a whole: with half of it a node would run a configuration that nobody has tried. It is the new
    /// configuration whose word counts, so that "boot" in a shared layer stops an adoption that is under way.
    /// </summary>
    public static AdoptionStep Decide(AdoptionConfig policy, bool isNew, bool isDisruptive, bool wantsBoot, DateTimeOffset slot, DateTimeOffset now) =>
        !isNew ? AdoptionStep.NothingNew
        : policy.When == AdoptionMoment.Boot || wantsBoot ? AdoptionStep.AtBoot
        : isDisruptive && now < slot ? AdoptionStep.InSlot
        : AdoptionStep.Now;

    /// <summary>What decides where containers and volumes are, and the node's name: below pods it is changed by nobody but a person.</summary>
    private static readonly string[] AtBootOnly =
        ["docker.dataRoot", "docker.storageDriver", "etcd.dataDirectory", "etcd.volume", "node.name", "runtime", "storage"];

    /// <param name="paths">Of values that differ.</param>
    /// <returns>Those of <see cref="AtBootOnly"/> that are among them, whole or in part.</returns>
    public static IReadOnlyList<string> WantBoot(IEnumerable<string> paths)
    {
        var changed = paths.ToList();
        return [.. AtBootOnly.Where(
            p => changed.Exists(c => c == p || c.StartsWith(p + ".", StringComparison.Ordinal) || c.StartsWith(p + "[", StringComparison.Ordinal)))];
    }

    /// <param name="since">When this node first saw the configuration.</param>
    public static DateTimeOffset Slot(string instanceId, string digest, DateTimeOffset since, TimeSpan window) =>
        since + TimeSpan.FromSeconds(Math.Floor(Share(instanceId, digest) * window.TotalSeconds));

    /// <summary>At least 0, less than 1.</summary>
    public static double Share(string instanceId, string what)
    {
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{instanceId}\n{what}"));
        // 53 bits: as many as a double holds.
        return (BinaryPrimitives.ReadUInt64BigEndian(hash) >> 11) * Math.ScaleB(1, -53);
    }
}
