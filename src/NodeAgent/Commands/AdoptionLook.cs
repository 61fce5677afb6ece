using System.Globalization;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>
/// The present configuration of all layers against the one that this node was made from: what differs, what taking it would do, and when the node takes it.
/// Reads only; what it saw, and what came of it, is for who runs by policy to keep.
/// </summary>
internal sealed class AdoptionLook
{
    private readonly NodeInputs _inputs;

    private AdoptionLook(NodeInputs inputs, ConfigValues values, DateTimeOffset now, AdoptionRecord? record) =>
        (_inputs, Values, Now, Record) = (inputs, values, now, record);

    public DateTimeOffset Now { get; }

    /// <summary>Null where this instance was not made from any yet: a first run is not this one's task.</summary>
    public AdoptionRecord? Record { get; }

    public ConfigValues Values { get; }

    public AdoptionConfig Policy => _inputs.Config.Config.Adoption;

    public IReadOnlyList<ConfigDifference> Differences { get; private init; } = [];

    /// <summary>What a run would do; null where nothing is new.</summary>
    public Plan? Plan { get; private init; }

    public PendingConfiguration? Pending { get; private init; }

    public DateTimeOffset Slot { get; private init; }

    public AdoptionStep Step { get; private init; }

    public bool IsDisruptive => Plan?.Worst > Disruption.None;

    /// <summary>As <see cref="AdoptionSchedule.WantBoot"/>.</summary>
    public IReadOnlyList<string> WantBoot { get; private init; } = [];

    /// <summary>Whether it is time, and all of it can be done: half of a configuration is one that nobody has tried.</summary>
    public bool Adopts => Step == AdoptionStep.Now && Obstacles.Count == 0;

    public IReadOnlyList<string> Obstacles => Plan is null ? []
        : [.. _inputs.Advice.Where(a => a.IsRefused).Select(a => $"advice {AdviceText.Line(a)}"), .. Plan.Steps.Select(s => s.Finding switch
        {
            Refused r => $"{s.Resource.Id} is refused: {r.Why}. To do: {r.Remedy}",
            Unknown u => $"{s.Resource.Id} cannot be examined: {u.Why}",
            _ => null,
        }).OfType<string>()];

    /// <summary>What is to be kept of this look; null where that is what is kept already.</summary>
    public AdoptionRecord? ToKeep => Record is null || Record.Pending == Pending ? null : Record with { Pending = Pending };

    /// <exception cref="NotReachableException">Something stands in for a source that is away, so what is there now is not known.</exception>
    public static AdoptionLook At(NodeInputs inputs, IMachineReader machine, AdoptionRecord? record)
    {
        if (inputs.StandIns.Count > 0)
        {
            throw new NotReachableException($"Whether there is new configuration cannot be told, and nothing was changed: {string.Join(" ", inputs.StandIns)}");
        }

        var now = Seconds(machine.Now);
        var values = ConfigValues.Of(inputs.Config.Tree);
        var isNew = record?.Adopted.Identity != values.Identity;
        var isPrepared = machine.File(BootGate.StampPath).Kind == FileKind.Regular;
        if (record is null || (!isNew && record.Begun is null && isPrepared))
        {
            return new AdoptionLook(inputs, values, now, record);
        }

        var plan = Plan.Make(inputs.Resources, machine);
        if (!isNew)
        {
            return new AdoptionLook(inputs, values, now, record) { Plan = plan, Step = AdoptionStep.Now };
        }

        var policy = inputs.Config.Config.Adoption;
        var pending = record.Saw(values, now, record.Every ?? policy.Every.Value);
        var slot = AdoptionSchedule.Slot(record.InstanceId, values.Digest, pending.Since, policy.Window.Value);
        var differences = values.Since(record.Adopted, inputs.Config.OriginOf);
        var wantBoot = AdoptionSchedule.WantBoot(differences.Select(d => d.Path));
        // A node that its boot left unprepared runs nothing that could be disturbed.
        var step = isPrepared ? AdoptionSchedule.Decide(policy, true, plan.Worst > Disruption.None, wantBoot.Count > 0, slot, now) : AdoptionStep.Now;
        return new AdoptionLook(inputs, values, now, record)
        {
            Differences = differences,
            Plan = plan,
            Pending = pending,
            Slot = slot,
            WantBoot = wantBoot,
            Step = step,
        };
    }

    /// <summary>What to keep before a run of this configuration writes anything; null where that is kept already.</summary>
    public static AdoptionRecord? Begins(NodeInputs inputs, AdoptionRecord? record)
    {
        var identity = record is null ? null : ConfigValues.Of(inputs.Config.Tree).Identity;
        return record is null || identity == record.Adopted.Identity || identity == record.Begun ? null : record with { Begun = identity };
    }

    /// <exception cref="ProbeException">Who asks may not read it.</exception>
    public static AdoptionRecord? ReadRecord(string instanceId) => AdoptionRecord.Read(Files.Text(AdoptionRecord.File), instanceId);

    /// <summary>What to keep after a good run; what is kept already where that says the same.</summary>
    public static AdoptionRecord Adopted(NodeInputs inputs, DateTimeOffset now, AdoptionRecord? before)
    {
        var values = ConfigValues.Of(inputs.Config.Tree);
        return before?.Adopted.Identity != values.Identity ? new(inputs.Facts.Instance.Id, Seconds(now), values.All)
            : before is { Pending: null, Begun: null } ? before
            : before with { Pending = null, Begun = null };
    }

    /// <exception cref="MachineException"/>
    public static void Keep(AdoptionRecord record) => Files.Write(AdoptionRecord.File, record.Write(), Files.OwnerOnly);

    /// <summary>In a line: what there is, and what becomes of it.</summary>
    public string Sentence() => Record is null
        ? "Nothing was adopted by this instance yet; its first run is nodeagent.service's, or 'nodeagent apply'."
        : Plan is null ? $"Nothing new: configuration {Values.Digest} was adopted at {Rfc3339.Text(Record.AdoptedAt)}."
        : $"{What()} {When()}";

    public string What() => Pending is null
        ? $"Configuration {Values.Digest}, which was adopted at {Rfc3339.Text(Record!.AdoptedAt)}, does not hold as a whole, since "
            + $"{(Record.Begun is null ? "this boot did not end well" : "another was begun and did not come to hold")}: {WhatItDoes()}."
        : $"New configuration {Values.Digest} since {Rfc3339.Text(Pending.Since)}: "
            + $"{Count(Differences.Count, "value differs", "values differ")}, {WhatItDoes()}.";

    /// <summary>As in "3 changes, of which 1 disturbs the node (restart kubelet.service)".</summary>
    public string WhatItDoes()
    {
        var disturbing = Plan!.Steps.Where(s => Plan.DisruptionOf(s) > Disruption.None).Select(s => s.Resource.Id).ToList();
        var text = Count(Plan.Changes, "change", "changes") + (disturbing.Count == 0 ? ", none of which disturbs the node"
            : $", of which {Count(disturbing.Count, "disturbs", "disturb")} the node ({string.Join(", ", disturbing)})");
        return Plan.Refusals + Plan.Unknowns == 0
            ? text
            : string.Create(CultureInfo.InvariantCulture, $"{text}, {Plan.Refusals} refused, {Plan.Unknowns} unknown");
    }

    public string When() => Step switch
    {
        AdoptionStep.InSlot or AdoptionStep.Now when !LooksByItself =>
            "It is adopted at the next boot, or by 'nodeagent apply': this node was made with adoption.when: boot, and does not look by itself yet.",
        AdoptionStep.AtBoot when WantBoot.Count > 0 =>
            $"It is adopted at the next boot, or by 'nodeagent apply' on a node that is drained: {string.Join(", ", WantBoot)} "
                + $"{(WantBoot.Count == 1 ? "is" : "are")} nothing to change below pods.",
        AdoptionStep.AtBoot => $"It is adopted at the next boot, or by 'nodeagent apply': adoption.when is boot ({_inputs.Config.OriginOf("adoption.when")}).",
        AdoptionStep.InSlot =>
            $"It is adopted as a whole from {Rfc3339.Text(Slot)} on, this node's slot in the {Policy.Window} after it was first seen.{Failure}",
        _ => $"It is adopted with the next look ({(IsDisruptive && Pending is not null ? $"this node's slot began at {Rfc3339.Text(Slot)}; " : "")}"
            + $"it looks every {Policy.Every}).{Failure}",
    };

    public StatusAdoption ForStatus() => ForStatus(Record, _inputs) with
    {
        Pending = Pending is null ? null : Values.Digest,
        PendingSince = Pending is null ? null : Rfc3339.Text(Pending.Since),
        Slot = Pending is not null && IsDisruptive && WantBoot.Count == 0 && Policy.When == AdoptionMoment.Running ? Rfc3339.Text(Slot) : null,
        LookedAt = Rfc3339.Text(Now),
    };

    public static StatusAdoption ForStatus(AdoptionRecord? record, NodeInputs inputs) => new()
    {
        When = inputs.Config.Config.Adoption.When == AdoptionMoment.Boot ? "boot" : "running",
        Adopted = record?.Adopted.Digest,
        AdoptedAt = record is null ? null : Rfc3339.Text(record.AdoptedAt),
    };

    private string Failure => Pending?.FailedAt is { } at ? $" It was tried at {Rfc3339.Text(at)} and failed; journalctl -t nodeagent says why." : "";

    private bool LooksByItself => Record?.Values.GetValueOrDefault("adoption.when") == "\"running\"";

    // What is kept is read by people, too.
    public static DateTimeOffset Seconds(DateTimeOffset time) => new(time.UtcTicks - (time.UtcTicks % TimeSpan.TicksPerSecond), TimeSpan.Zero);

    private static string Count(int count, string one, string more) => string.Create(CultureInfo.InvariantCulture, $"{count} {(count == 1 ? one : more)}");
}

/// <summary>What has to be known is away.</summary>
internal sealed class NotReachableException(string message) : Exception(message);
