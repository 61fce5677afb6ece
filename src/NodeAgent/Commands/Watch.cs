using System.Globalization;
using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Kubernetes;
using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <param name="Node">Null in a warm pool, where there is none.</param>
/// <param name="Hook">The terminate hook; null where nobody waits for this instance's leaving.</param>
internal sealed record WatchSettings(string? Node, HookSettings? Hook, Duration DrainTimeout, bool Rebalance)
{
    public bool IsWarm => Node is null;
}

/// <summary>
/// Looks at metadata every few seconds, for as long as the machine runs. At a notice that the instance leaves, the node is drained while the looks go on: a
/// notice that is taken back takes back the cordon. Out of a warm pool it has the rest of the node made, and back in it, after the drain, the node unmade.
/// Killed in the middle, it goes on where it was: the cordon is on the Node, when it began and what the hook was told in <see cref="Lifecycle.LeavingPath"/>.
/// </summary>
/// <param name="connect">To the API server, as the node.</param>
/// <param name="open">The hook, when there is something to tell it.</param>
/// <param name="begin">Has systemd begin anew with this machine, as its group wants it now, and the launch hook answered anew: returns at once.</param>
internal sealed class Watch(
    WatchSettings settings,
    InstanceMetadata metadata,
    Func<ApiClient> connect,
    Func<LifecycleHook> open,
    Action begin,
    string path,
    TimeProvider time,
    Action<string> say)
{
    /// <summary>A spot interruption is announced two minutes before.</summary>
    public static readonly TimeSpan Pause = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan OneLook = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan BetweenAnswers = TimeSpan.FromSeconds(15);

    // The group says the target first and makes the action then: for so long "no action" may be said too early.
    private static readonly TimeSpan ActionMayCome = TimeSpan.FromMinutes(2);

    // Capacity Rebalancing starts another instance first, which may take its group's longest time for a launch; without it nobody follows the advice.
    private static readonly TimeSpan EndMayCome = TimeSpan.FromHours(1);

    // For what has to be done after the last pod, while EC2's clock runs. Where it is over already, as of an instance that hibernates, so long is tried all the
    // same.
    private static readonly TimeSpan BeforeTheEnd = TimeSpan.FromSeconds(5);

    private readonly Lazy<LifecycleHook> _hook = new(open);
    private string _said = "";
    private Leaving? _leaving;
    private bool _hasBegun;
    private bool _wasPools;
    private string? _advice;
    private Task<bool>? _takingBack;
    private bool _isTakenBack;

    public async Task<int> Run(CancellationToken stop)
    {
        try
        {
            while (true)
            {
                await Step(stop).ConfigureAwait(false);
                await Task.Delay(Pause, time, stop).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            if (_leaving is { } leaving)
            {
                await leaving.Stop().ConfigureAwait(false);
            }

            return ExitCode.ToldToStop;
        }
    }

    /// <summary>One look, and what follows from it.</summary>
    internal async Task Step(CancellationToken stop)
    {
        if (await Look(stop).ConfigureAwait(false) is not { } seen)
        {
            // Nothing is known, so nothing changes: what is under way goes on.
            await Attend(stop).ConfigureAwait(false);
            return;
        }

        if (seen.Notice is { } notice)
        {
            _wasPools |= notice.IsPools;
            await Leave(notice, stop).ConfigureAwait(false);
        }
        else if (_leaving is not null || LifecycleRecord.Read(path) is not null)
        {
            Say(settings.IsWarm ? "this instance is in the warm pool" : "the notice was taken back");
            await Stay().ConfigureAwait(false);
        }

        await Attend(stop).ConfigureAwait(false);
        if (seen.Notice is { IsPools: true })
        {
            if (!_hasBegun && _leaving is { Draining: null } leaving && (settings.Hook is null || leaving.Record.Answer is not null))
            {
                Begin("back in the warm pool this instance is no node: it is made so");
            }
        }
        else if (seen.Notice is null && seen.Target == Lifecycle.InService && (settings.IsWarm ? !_hasBegun : _wasPools))
        {
            Begin("the group starts this instance into service: the node is made");
            // This watch may stay, where the machine is as it was: then it can go back into the pool once more.
            (_wasPools, _hasBegun) = (!_hasBegun, _hasBegun && settings.IsWarm);
        }

        if (seen.Notice is null && !settings.IsWarm && !_isTakenBack)
        {
            await TakeBack(stop).ConfigureAwait(false);
        }
    }

    private async Task<(string? Target, Notice? Notice)?> Look(CancellationToken stop)
    {
        using var timer = new CancellationTokenSource(OneLook, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(stop, timer.Token);
        try
        {
            var target = metadata.TextOrNone("autoscaling/target-lifecycle-state", both.Token);
            var spot = metadata.TextOrNone("spot/instance-action", both.Token);
            var rebalance = settings.Rebalance ? metadata.TextOrNone("events/recommendations/rebalance", both.Token) : Task.FromResult<string?>(null);
            await Task.WhenAll(target, spot, rebalance).ConfigureAwait(false);
            var state = await target.ConfigureAwait(false) is { Length: > 0 } text ? text : null;
            _advice = await rebalance.ConfigureAwait(false);
            var isFollowed = _advice is not null && LifecycleRecord.Read(PassedOver)?.Target != _advice;
            return (state, Notice.Of(state, await spot.ConfigureAwait(false), isFollowed, settings.IsWarm));
        }
        catch (Exception e) when (e is AwsException || (e is OperationCanceledException && !stop.IsCancellationRequested))
        {
            Say(e is AwsException ? e.Message : "instance metadata does not answer; notices are not seen until it does");
            return null;
        }
    }

    /// <summary>Begins to leave, or goes on; a spot interruption on top of the group's own says only that there is less time.</summary>
    private async Task Leave(Notice notice, CancellationToken stop)
    {
        if (_leaving is { } already)
        {
            if (notice.IsGroups && !already.Notice.IsGroups)
            {
                Say($"this instance leaves: {notice.Why}");
                already.Notice = notice;
            }

            return;
        }

        await Finish(_takingBack).ConfigureAwait(false);
        (_takingBack, _isTakenBack) = (null, false);
        // Under the name of what is common to all notices: one may turn into another, and it stays the same leaving.
        var record = LifecycleRecord.Begin(path, "leaving", time);
        var left = settings.DrainTimeout.Value - record.Age(time);
        if (notice.Ends is { } ends && ends - time.GetUtcNow() - BeforeTheEnd is var untilThen && untilThen < left)
        {
            left = untilThen;
        }

        var deadline = time.GetTimestamp() + (long)(Math.Max(BeforeTheEnd.TotalSeconds, left.TotalSeconds) * time.TimestampFrequency);
        Say($"this instance leaves: {notice.Why}");
        _leaving = new(notice, record);
        if (settings.Node is { } node && record.Answer is null)
        {
            _leaving.Draining = new Drain(connect, node, time, Say).Run(notice.Why, deadline, _leaving.Cancellation.Token);
        }
    }

    /// <summary>What goes on beside the looks: heartbeats while it drains, the answer when it has.</summary>
    private async Task Attend(CancellationToken stop)
    {
        if (_leaving is not { } leaving)
        {
            return;
        }

        if (leaving.Draining is { IsCompleted: true } drained)
        {
            var isEmpty = await drained.ConfigureAwait(false);
            Say(
                isEmpty
                    ? $"node {settings.Node} is drained"
                    : $"node {settings.Node} is not empty, and the time for it is over: what is left ends with the machine");
            (leaving.Draining, leaving.NextCall) = (null, 0);
        }

        if (leaving is { Draining: null, Notice.IsAdvice: true } && leaving.Record.Age(time) >= settings.DrainTimeout.Value + EndMayCome)
        {
            await PassOver().ConfigureAwait(false);
            return;
        }

        if (settings.Hook is null || !leaving.Notice.IsGroups || leaving.Record.Answer is not null || time.GetTimestamp() < leaving.NextCall)
        {
            return;
        }

        var isDraining = leaving.Draining is not null;
        leaving.NextCall = time.GetTimestamp() + (long)((isDraining ? settings.Hook.Heartbeat.Value : BetweenAnswers).TotalSeconds * time.TimestampFrequency);
        try
        {
            if (isDraining)
            {
                _ = await _hook.Value.Heartbeat(stop).ConfigureAwait(false);
                return;
            }

            var isTaken = await _hook.Value.Complete(LifecycleResult.Continue, stop).ConfigureAwait(false);
            if (isTaken || leaving.Record.Age(time) >= ActionMayCome)
            {
                Say(isTaken ? $"hook {_hook.Value.Name} is told CONTINUE" : $"hook {_hook.Value.Name} waits for no answer");
                leaving.Record = leaving.Record with { Answer = LifecycleHook.Word(LifecycleResult.Continue) };
                leaving.Record.Write(path);
            }
        }
        catch (Exception e) when (e is AwsException or MachineException)
        {
            Say(e.Message);
        }
    }

    /// <summary>Advice stays in metadata for the instance's life. Another one has another time in it.</summary>
    private string PassedOver => Path.Combine(Path.GetDirectoryName(path)!, "rebalance.json");

    private async Task PassOver()
    {
        Say(string.Create(
            CultureInfo.InvariantCulture,
            $"WARNING: node {settings.Node} was drained since EC2 recommends to replace it, and within {EndMayCome.TotalMinutes:0} minutes nobody has: "
            + $"it takes pods again. autoscaling.rebalance is for groups with Capacity Rebalancing"));
        if (Try(() => new LifecycleRecord(_advice ?? "", LifecycleRecord.Seconds(time)).Write(PassedOver)))
        {
            await Stay().ConfigureAwait(false);
        }
    }

    private async Task Stay()
    {
        if (_leaving is { } leaving)
        {
            await leaving.Stop().ConfigureAwait(false);
            _leaving = null;
        }

        Try(() => Files.Delete(path));
        _isTakenBack = false;
    }

    /// <summary>
    /// At its start and after a false alarm: a cordon of ours does not outlive its reason. Beside the looks, since the API server may be long in coming.
    /// </summary>
    private async Task TakeBack(CancellationToken stop)
    {
        if (_takingBack is null)
        {
            _takingBack = new Drain(connect, settings.Node!, time, Say).TakeBack(stop);
        }

        if (_takingBack.IsCompleted)
        {
            _isTakenBack = await _takingBack.ConfigureAwait(false);
            _takingBack = null;
        }
    }

    private void Begin(string why)
    {
        Say(why);
        _hasBegun = Try(begin);
    }

    private bool Try(Action write)
    {
        try
        {
            write();
            return true;
        }
        catch (MachineException e)
        {
            Say(e.Message);
            return false;
        }
    }

    private static async Task Finish(Task? task)
    {
        try
        {
            await (task ?? Task.CompletedTask).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Told to stop.
        }
    }

    private void Say(string what)
    {
        if (what != _said)
        {
            _said = what;
            ServiceNotify.Status(what);
            say(what);
        }
    }

    private sealed class Leaving(Notice notice, LifecycleRecord record)
    {
        public Notice Notice { get; set; } = notice;

        public LifecycleRecord Record { get; set; } = record;

        public CancellationTokenSource Cancellation { get; } = new();

        /// <summary>Null when that is over, or there is no node.</summary>
        public Task<bool>? Draining { get; set; }

        /// <summary>Timestamp before which the hook is not called again.</summary>
        public long NextCall { get; set; }

        public async Task Stop()
        {
            await Cancellation.CancelAsync().ConfigureAwait(false);
            await Finish(Draining).ConfigureAwait(false);
            Cancellation.Dispose();
        }
    }
}
