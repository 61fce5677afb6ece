using NodeAgent.Aws;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Facts;
using NodeAgent.Machine;
using NodeAgent.Telemetry;

namespace NodeAgent.Commands;

/// <summary>
/// What this machine's configuration and facts are read from: files, instance metadata, EC2 for tags that metadata does not show, S3 for shared layers. Where
/// EC2 or S3 is away, what was kept of the last good run stands in for it, and is said to. An answer is no outage: what S3 does not allow, or what is wrong in
/// a layer, fails as on the first boot.
/// </summary>
internal sealed class MachineSources : IDisposable
{
    // With something to stand in, waiting longer keeps a node away that could be back.
    private static readonly TimeSpan LongestWithKept = TimeSpan.FromSeconds(20);

    private readonly InstanceMetadata _metadata;
    private readonly TimeSpan _patience;
    private readonly AwsEndpoints _endpoints;
    private readonly Lazy<KeptInputs?> _kept;
    private readonly Action _forget;
    private readonly Func<byte[]?, IReadOnlyList<Layer>> _early;
    private readonly long _since = TimeProvider.System.GetTimestamp();
    private readonly List<string> _standIns = [];
    private IReadOnlyDictionary<string, string>? _tagsOfEc2;
    private IReadOnlyList<KeptLayer> _layers = [];

    /// <summary>Asks metadata at once.</summary>
    /// <param name="metadata">Disposed with this.</param>
    /// <param name="patience">After which AWS is given up, so that what is said is what it answered and not that time was up.</param>
    /// <param name="kept">Content of <see cref="KeptInputs.File"/>; null when there is none.</param>
    /// <param name="forget">Removes it: an image was baked from another instance.</param>
    /// <param name="early">
    /// What is on this machine together with user data: it says by which proxy EC2 is asked for the tags, which all other layers wait for.
    /// </param>
    public MachineSources(
        InstanceMetadata metadata,
        TimeSpan patience,
        AwsEndpoints endpoints,
        Func<string?> kept,
        Action forget,
        Func<byte[]?, IReadOnlyList<Layer>> early,
        CancellationToken cancellation)
    {
        (_metadata, _patience, _endpoints, _kept, _forget, _early) = (metadata, patience, endpoints, new(() => KeptInputs.Read(kept())), forget, early);
        Instance = InstanceFactsGatherer.Start(metadata, TagsFromEc2, cancellation);
    }

    public InstanceFactsGatherer Instance { get; }

    /// <summary>A sentence for each source that was away and is stood in for. Whole once the layers are read.</summary>
    public IReadOnlyList<string> StandIns => _standIns;

    /// <summary>All layers above the defaults, in their order.</summary>
    public async Task<IReadOnlyList<Layer>> Layers(IMachineReader machine, IReadOnlyList<string> files, Timeline timeline, CancellationToken cancellation)
    {
        var tags = await timeline.MeasureAsync("metadata", () => Instance.Tags.WaitAsync(cancellation)).ConfigureAwait(false);
        var userData = await timeline.MeasureAsync("metadata", () => Instance.UserData.WaitAsync(cancellation)).ConfigureAwait(false);
        var identity = await timeline.MeasureAsync("metadata", () => Instance.Identity.WaitAsync(cancellation)).ConfigureAwait(false);
        var layers = timeline.Measure("configuration", () => Configuration.Layers.Of(machine, tags, userData, files));
        if (timeline.Measure("configuration", () => SharedLayers.AddressOf(layers, identity.Region)) is { } address)
        {
            var shared = await timeline.MeasureAsync("shared layers", () => Shared(address, layers, identity.InstanceId, cancellation)).ConfigureAwait(false);
            layers = SharedLayers.Insert(layers, address, shared);
        }

        return [.. layers, .. _standIns.Select(s => new Layer.Note(s))];
    }

    /// <summary>What to keep once this run was good: null when all of it is on this machine or in its metadata.</summary>
    public KeptInputs? ToKeep(string instanceId, DateTimeOffset now) => _layers.Count == 0 && _tagsOfEc2 is null
        ? null
        : new(instanceId, Rfc3339.Text(now), _tagsOfEc2, _layers);

    public void Dispose() => _metadata.Dispose();

    // EC2 first, then S3, and time for the run itself.
    private TimeSpan PatienceWithKept => _patience / 4 < LongestWithKept ? _patience / 4 : LongestWithKept;

    private async Task<IReadOnlyDictionary<string, string>> TagsFromEc2(string region, string instance, CancellationToken cancellation)
    {
        var kept = Kept(instance);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        if (kept?.Tags is not null)
        {
            patience.CancelAfter(PatienceWithKept);
        }

        using var role = new RoleCredentials(_metadata);
        var outbound = Outbound(_early(await _metadata.UserData(cancellation).ConfigureAwait(false)));
        using var ec2 = new AmazonEC2Client(role, new AmazonEC2Config(region, _endpoints.Ec2) { HttpClientFactory = outbound });
        try
        {
            return _tagsOfEc2 = await Ec2.InstanceTags(ec2, instance, TimeProvider.System, patience.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (kept?.Tags is not null && (IsOutage(e) || (e is OperationCanceledException && !cancellation.IsCancellationRequested)))
        {
            var why = e is AwsException
                ? e.Message
                : FormattableString.Invariant($"ec2:DescribeTags at {ec2.Endpoint}: no answer within {PatienceWithKept.TotalSeconds:0.#} s.");
            _standIns.Add($"EC2 is away, so the instance's tags are those of the last good run, of {kept.At}. {why}");
            return _tagsOfEc2 = kept.Tags;
        }
    }

    private async Task<IReadOnlyList<Layer>> Shared(SharedLayersAddress address, IReadOnlyList<Layer> others, string instance, CancellationToken cancellation)
    {
        var kept = Kept(instance);
        // All or none: layers of two days do not make a configuration that anybody has tried.
        var canStandIn = kept is not null && address.Layers.All(l => kept.Layer(l.Name) is { } k && l.Refusal(k.Content) is null);
        var left = _patience - TimeProvider.System.GetElapsedTime(_since);
        var patience = TimeSpan.FromSeconds(Math.Max(1, (canStandIn ? PatienceWithKept : left).TotalSeconds));
        using var s3 = new S3(
            address.Bucket,
            address.BucketRegion,
            address.Endpoint ?? _endpoints.S3,
            async () => (await RoleCredentials.Ask(_metadata).ConfigureAwait(false)).Credentials,
            patience,
            TimeProvider.System,
            Outbound(others));
        try
        {
            _layers = await Fetch(s3, address, kept, cancellation).ConfigureAwait(false);
        }
        catch (AwsException e) when (canStandIn && IsOutage(e))
        {
            _standIns.Add($"S3 is away, so shared layers are those of the last good run, of {kept!.At}. {e.Message}");
            _layers = [.. address.Layers.Select(l => kept.Layer(l.Name)!)];
        }

        var refusals = address.Layers.Zip(_layers, (layer, read) => layer.Refusal(read.Content)).OfType<string>().ToList();
        return refusals.Count == 0
            ? [.. _layers.Select(l => new Layer.Shared(l.Name, l.Content))]
            : throw new NotPossibleException(
                $"{string.Join("; ", refusals)}. Nothing was changed. "
                + "See what was altered, and by whom; pin what is right anew (sha256sum), or put back what was pinned")
            {
                IsRefusal = true,
            };
    }

    private static async Task<IReadOnlyList<KeptLayer>> Fetch(S3 s3, SharedLayersAddress address, KeptInputs? kept, CancellationToken cancellation)
    {
        using var all = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        AwsException? answer = null;
        var tasks = address.Layers.Select(One).ToList();
        try
        {
            return await Task.WhenAll(tasks).ConfigureAwait(false);
        }
        catch (Exception) when (answer is not null)
        {
            throw answer;
        }

        async Task<KeptLayer> One(SharedLayer layer)
        {
            var known = kept?.Layer(layer.Name);
            try
            {
                var read = await s3.Get(layer.Key, known?.ETag, all.Token).ConfigureAwait(false);
                return read is null ? new(layer.Name, null, null) : new(layer.Name, read.ETag, read.Content ?? known!.Content);
            }
            catch (AwsException e) when (!IsOutage(e))
            {
                // One is enough to fail, and says more than others that find nobody.
                answer ??= e;
                await all.CancelAsync().ConfigureAwait(false);
                throw;
            }
        }
    }

    private KeptInputs? Kept(string instance)
    {
        if (_kept.Value is not { } kept || kept.InstanceId == instance)
        {
            return _kept.Value;
        }

        _forget();
        return null;
    }

    /// <summary>For every call that leaves the machine.</summary>
    private static OutboundHttp Outbound(IReadOnlyList<Layer> layers) => Outbound(NodeConfigLoader.Proxy(layers), NodeConfigLoader.Trust(layers));

    public static OutboundHttp Outbound(HttpProxyConfig? proxy, TrustConfig? trust) => new(
        proxy is null ? null : new OutboundProxy(proxy.Http?.Reveal(), proxy.Https?.Reveal(), ProxyExceptions.Of(proxy)),
        [.. (trust?.Certificates.Values ?? []).SelectMany(c => Pki.Pem.Certificates(c)).Where(c => Pki.ParsedCertificate.Parse(c) is not null)]);

    private static bool IsOutage(Exception e) =>
        e is AwsException { Kind: AwsFailureKind.NotReachable or AwsFailureKind.Throttled or AwsFailureKind.Unavailable };
}

/// <summary>Null: AWS's own.</summary>
internal sealed record AwsEndpoints(Uri? Ec2, Uri? S3);
