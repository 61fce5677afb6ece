using System.Net;
using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Kubernetes;
using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <summary>
/// Makes sure of what nodes need of the API and of the node's label, then of bootstrap manifests, of an API server that may take its time. What is refused or
/// has to wait keeps nothing but itself.
/// </summary>
/// <param name="dryRun">Tells what would become of it.</param>
/// <param name="pause">Between two tries of what waits.</param>
internal sealed class ClusterRun(ApiClient api, Uri server, bool dryRun, TextWriter output, TextWriter error, TimeSpan pause)
{
    private readonly ClusterObjects _objects = new(api);
    private string _said = "";

    /// <summary>For whoever stops this in the middle of a call.</summary>
    private string? _waitsFor;

    private string? _unlabeled;

    private int _changes;
    private bool _isRefused;

    /// <param name="node">Gets the control plane's label; null: none does.</param>
    /// <param name="texts">Files of manifests with their names, in their order; null: there are none.</param>
    /// <returns>The exit code.</returns>
    /// <exception cref="OperationCanceledException">Told to stop while waiting, with what for.</exception>
    public async Task<int> Go(string? node, Func<CancellationToken, Task<IReadOnlyList<(string Name, string Text)>>>? texts, CancellationToken stop)
    {
        try
        {
            return await GoOn(node, texts, stop).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (_waitsFor is not null && stop.IsCancellationRequested)
        {
            throw new OperationCanceledException(_waitsFor, e);
        }
    }

    private async Task<int> GoOn(string? node, Func<CancellationToken, Task<IReadOnlyList<(string Name, string Text)>>>? texts, CancellationToken stop)
    {
        var address = server.GetLeftPart(UriPartial.Authority);
        _waitsFor = $"the API server at {address} has not answered";
        while (await api.Ailment(stop).ConfigureAwait(false) is { } ailment)
        {
            await Wait($"the API server at {address} is not ready: {ailment}", stop).ConfigureAwait(false);
        }

        // First what nodes need, which shall not wait for S3 or for somebody's mistake in a manifest.
        (_waitsFor, _unlabeled) = (null, node);
        var open = await Pass(Manifest.Read("built in", NodeObjects.Manifests), stop).ConfigureAwait(false);
        int? kept = null;
        _waitsFor = "the files of manifests are being read";
        try
        {
            open = texts is null ? open : [.. open, .. (await texts(stop).ConfigureAwait(false)).SelectMany(t => Read(t.Name, t.Text))];
        }
        catch (Exception e) when (e is ConfigurationException or AwsException or MachineException or ProbeException)
        {
            error.WriteLine($"nodeagent: {Errors.Text(e, null, false)}");
            kept = ExitCode.Of(e);
        }

        _waitsFor = null;
        while (open.Count > 0 || _unlabeled is not null)
        {
            open = await Pass(open, stop).ConfigureAwait(false);
            if (_waitsFor is not null)
            {
                await Wait(_waitsFor, stop).ConfigureAwait(false);
            }
        }

        return kept ?? (_isRefused ? ExitCode.Failed : dryRun && _changes > 0 ? ExitCode.ChangesPending : ExitCode.Ok);
    }

    /// <summary>Each once, in their order, and the label last: a kubelet registers late, perhaps only with a CNI.</summary>
    /// <returns>What has to wait, for one of the others or for the API server.</returns>
    private async Task<IReadOnlyList<Manifest>> Pass(IReadOnlyList<Manifest> open, CancellationToken stop)
    {
        var left = new List<Manifest>();
        string? waitsFor = null;
        foreach (var manifest in open)
        {
            if (await Ensure(manifest, stop).ConfigureAwait(false) is { } why)
            {
                left.Add(manifest);
                _waitsFor = waitsFor ??= why;
            }
        }

        if (_unlabeled is { } node)
        {
            var why = await Label(node, stop).ConfigureAwait(false);
            _unlabeled = why is null ? null : node;
            waitsFor ??= why;
        }

        _waitsFor = waitsFor;
        return left;
    }

    /// <returns>What it has to wait for; null where that is settled.</returns>
    private async Task<string?> Ensure(Manifest manifest, CancellationToken stop)
    {
        try
        {
            Say(manifest.Id, await _objects.Ensure(manifest, dryRun, stop).ConfigureAwait(false));
        }
        // What a dry run does not get to see is what an object before it would make: a kind, a namespace.
        catch (Exception e) when (dryRun && e is UnknownKindException or ApiException { Status: HttpStatusCode.NotFound })
        {
            Say($"{manifest.Id} ({e.Message})", ObjectOutcome.Created);
        }
        catch (ApiException e) when (!e.Passes)
        {
            Refused($"{manifest.Id} ({manifest.Source}): the API server refuses it: {e.Message}");
        }
        catch (Exception e) when (IsOfNow(e, stop))
        {
            return e is UnknownKindException ? e.Message : $"{manifest.Id} ({manifest.Source}): {e.Message}";
        }

        return null;
    }

    private async Task<string?> Label(string node, CancellationToken stop)
    {
        try
        {
            if (await _objects.LabelNode(node, NodeObjects.ControlPlaneLabel, dryRun, stop).ConfigureAwait(false) is { } outcome)
            {
                Say($"node/{node}: label {NodeObjects.ControlPlaneLabel}", outcome);
                return null;
            }
        }
        catch (ApiException e) when (!e.Passes)
        {
            Refused($"node/{node}: the API server refuses the label {NodeObjects.ControlPlaneLabel}: {e.Message}");
            return null;
        }
        catch (Exception e) when (IsOfNow(e, stop))
        {
            return $"node/{node}: {e.Message}";
        }

        return dryRun ? null : $"the API server knows no node {node} yet";
    }

    private static bool IsOfNow(Exception e, CancellationToken stop) =>
        e is UnknownKindException or ApiException { Passes: true } or HttpRequestException || (e is TaskCanceledException && !stop.IsCancellationRequested);

    /// <summary>At once: the run may end by its deadline, with something else to say.</summary>
    private void Refused(string what)
    {
        _isRefused = true;
        error.WriteLine($"nodeagent: {what}");
    }

    private void Say(string what, ObjectOutcome outcome)
    {
        _changes += outcome is ObjectOutcome.Created or ObjectOutcome.Updated ? 1 : 0;
        var did = outcome switch
        {
            ObjectOutcome.Left => "left as somebody else set it:",
            ObjectOutcome.Unchanged => "unchanged",
            _ when !dryRun => outcome.ToString().ToLowerInvariant(),
            ObjectOutcome.Created => "would create",
            _ => "would update",
        };
        output.WriteLine($"{did} {what}");
    }

    /// <summary>Says once for what.</summary>
    private Task Wait(string what, CancellationToken stop)
    {
        _waitsFor = what;
        if (what != _said)
        {
            _said = what;
            ServiceNotify.Status($"waiting: {what}");
            error.WriteLine($"nodeagent: waiting: {what}");
        }

        return Task.Delay(pause, stop);
    }

    private static IReadOnlyList<Manifest> Read(string source, string text)
    {
        try
        {
            return Manifest.Read(source, text);
        }
        catch (ManifestException e)
        {
            throw new ConfigurationException(new ConfigError(null, "--manifests", e.Message));
        }
    }
}
