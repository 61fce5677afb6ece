using System.Globalization;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Facts;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// The timer by which a running node looks for new configuration. It is enabled by a drop-in of ours and not by a link, since a file carries our mark: without
/// adoption.when: running it goes as a leftover.
/// </summary>
internal static class Adoption
{
    public const string TimerUnit = "nodeagent-adopt.timer";

    private const string Target = "timers.target";

    /// <summary>Whose files are <see cref="UnitFiles"/>, for systemd to read again.</summary>
    public static readonly string[] Units = [TimerUnit, Target];

    public static IReadOnlyList<Resource> UnitFiles(NodeConfig config, NodeFacts facts)
    {
        var adoption = config.Adoption;
        if (adoption.When != AdoptionMoment.Running)
        {
            return [];
        }

        var share = (long)(AdoptionSchedule.Share(facts.Instance.Id, "splay") * adoption.Splay.Value.TotalSeconds);
        return
        [
            new ConfigFile(Concern.Runtime, $"/etc/systemd/system/{TimerUnit}.d/50-nodeagent.conf", string.Create(CultureInfo.InvariantCulture, $"""
                {Ownership.Header}
                [Timer]
                # adoption.every after its start, and this node's share of adoption.splay, so that nodes of one launch do not look at once; then at that distance.
                # The empty one takes back what the unit itself says, all of it (systemd.timer(5)).
                OnActiveSec=
                OnActiveSec={(long)adoption.Every.Value.TotalSeconds + share}
                OnUnitActiveSec={(long)adoption.Every.Value.TotalSeconds}

                """)),
            new ConfigFile(Concern.Runtime, $"/etc/systemd/system/{Target}.d/50-{TimerUnit}.conf", $"""
                {Ownership.Header}
                [Unit]
                Wants={TimerUnit}

                """),
        ];
    }

    /// <param name="ready">What it needs: its files read by systemd.</param>
    public static Resource Timer(NodeConfig config, Resource ready) =>
        new SystemdTimer(Concern.Runtime, TimerUnit, runs: config.Adoption.When == AdoptionMoment.Running) { Needs = [ready] };
}
