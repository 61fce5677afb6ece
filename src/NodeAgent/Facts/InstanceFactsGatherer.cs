using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using NodeAgent.Aws;

namespace NodeAgent.Facts;

/// <summary>Tags of an instance, from EC2: region and instance ID to all its tags.</summary>
internal delegate Task<IReadOnlyDictionary<string, string>> TagsFromEc2(string region, string instanceId, CancellationToken cancellation);

/// <summary>
/// Asks instance metadata for everything at once, so that what the configuration needs early (user data, tags) does not wait for the rest, and the
/// rest comes in while the configuration is read.
/// </summary>
internal sealed class InstanceFactsGatherer
{
    private readonly InstanceMetadata _metadata;

    private InstanceFactsGatherer(InstanceMetadata metadata, TagsFromEc2 tagsFromEc2, CancellationToken cancellation)
    {
        _metadata = metadata;
        UserData = metadata.UserData(cancellation);
        Identity = InstanceIdentity.Read(metadata, cancellation);
        Tags = AllTags(Identity, tagsFromEc2, cancellation);
        Instance = All(Identity, cancellation);
    }

    /// <summary>As it was given; null where none was.</summary>
    public Task<byte[]?> UserData { get; }

    public Task<InstanceIdentity> Identity { get; }

    public Task<IReadOnlyDictionary<string, string>> Tags { get; }

    public Task<InstanceFacts> Instance { get; }

    /// <param name="tagsFromEc2">Called only where metadata may not show tags.</param>
    public static InstanceFactsGatherer Start(InstanceMetadata metadata, TagsFromEc2 tagsFromEc2, CancellationToken cancellation) =>
        new(metadata, tagsFromEc2, cancellation);

    private async Task<InstanceFacts> All(Task<InstanceIdentity> identity, CancellationToken cancellation)
    {
        var name = _metadata.TextOrNone("local-hostname", cancellation);
        var lifecycle = _metadata.TextOrNone("autoscaling/target-lifecycle-state", cancellation);
        var devices = BlockDeviceMapping(cancellation);
        var interfaces = Interfaces(cancellation);
        await Task.WhenAll(identity, Tags, name, lifecycle, devices, interfaces).ConfigureAwait(false);

        var instance = await identity.ConfigureAwait(false);
        return new InstanceFacts
        {
            Id = instance.InstanceId,
            Type = instance.InstanceType,
            AvailabilityZone = instance.AvailabilityZone,
            Region = instance.Region,
            AccountId = instance.AccountId,
            // DHCP options with several domain names give several host names in one line.
            PrivateDnsName = (await name.ConfigureAwait(false))?.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).FirstOrDefault(),
            PrivateAddress = instance.PrivateIp,
            Interfaces = await interfaces.ConfigureAwait(false),
            LifecycleState = await lifecycle.ConfigureAwait(false) is { Length: > 0 } state ? state : null,
            Tags = await Tags.ConfigureAwait(false),
            BlockDeviceMapping = await devices.ConfigureAwait(false),
        };
    }

    private async Task<IReadOnlyDictionary<string, string>> AllTags(Task<InstanceIdentity> identity, TagsFromEc2 tagsFromEc2, CancellationToken cancellation)
    {
        if (await _metadata.Tags(cancellation).ConfigureAwait(false) is { } tags)
        {
            return tags;
        }

        var instance = await identity.ConfigureAwait(false);
        return await tagsFromEc2(instance.Region, instance.InstanceId, cancellation).ConfigureAwait(false);
    }

    private async Task<IReadOnlyDictionary<string, string>> BlockDeviceMapping(CancellationToken cancellation)
    {
        var names = await _metadata.List("block-device-mapping", cancellation).ConfigureAwait(false);
        var devices = await Task.WhenAll(names.Select(name => _metadata.TextOrNone("block-device-mapping/" + name, cancellation))).ConfigureAwait(false);
        var mapping = new SortedDictionary<string, string>(StringComparer.Ordinal);
        for (var i = 0; i < names.Count; i++)
        {
            if (devices[i] is { } device)
            {
                mapping[names[i]] = device;
            }
        }

        return mapping;
    }

    private async Task<IReadOnlyList<NetworkInterfaceFacts>> Interfaces(CancellationToken cancellation)
    {
        var macs = await _metadata.List("network/interfaces/macs", cancellation).ConfigureAwait(false);
        var interfaces = await Task.WhenAll(macs.Select(mac => Interface(mac, cancellation))).ConfigureAwait(false);
        return [.. interfaces.OfType<NetworkInterfaceFacts>().OrderBy(i => i.DeviceNumber).ThenBy(i => i.Mac, StringComparer.Ordinal)];
    }

    /// <returns>Null when it was detached between the list and the question.</returns>
    private async Task<NetworkInterfaceFacts?> Interface(string mac, CancellationToken cancellation)
    {
        var directory = $"network/interfaces/macs/{mac}/";
        string[] names = ["device-number", "subnet-id", "subnet-ipv4-cidr-block", "vpc-id", "local-ipv4s", "ipv6s", "vpc-ipv4-cidr-blocks"];
        var values = await Task.WhenAll(names.Select(name => _metadata.TextOrNone(directory + name, cancellation))).ConfigureAwait(false);
        if (values[0] is not { } text)
        {
            return null;
        }

        // The first of them alone, where metadata does not list them.
        var vpcRanges = values[6] ?? await _metadata.TextOrNone(directory + "vpc-ipv4-cidr-block", cancellation).ConfigureAwait(false);
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? new NetworkInterfaceFacts
            {
                Mac = mac,
                DeviceNumber = number,
                SubnetId = values[1],
                SubnetRange = values[2],
                VpcId = values[3],
                VpcRanges = Lines(vpcRanges) is { Length: > 0 } ranges ? ranges : null,
                Addresses = [.. Lines(values[4]), .. Lines(values[5])],
            }
            : throw _metadata.Malformed("meta-data/" + directory + "device-number", $"'{text}' is not a number");

        static string[] Lines(string? text) => text?.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) ?? [];
    }
}

/// <summary>What we take from the instance identity document: one request instead of six.</summary>
internal sealed record InstanceIdentity(
    string InstanceId, string InstanceType, string AvailabilityZone, string Region, string AccountId, string PrivateIp)
{
    /// <exception cref="AwsException"/>
    public static async Task<InstanceIdentity> Read(InstanceMetadata metadata, CancellationToken cancellation)
    {
        const string path = "dynamic/instance-identity/document";
        var json = await metadata.IdentityDocument(cancellation).ConfigureAwait(false);
        try
        {
            return JsonSerializer.Deserialize(json, InstanceIdentityJson.Default.InstanceIdentity) ?? throw metadata.Malformed(path, "the document is null");
        }
        catch (JsonException e)
        {
            throw metadata.Malformed(path, "the document is not what it should be: " + e.Message, e);
        }
    }
}

// The document holds more than these, and one day more still.
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(InstanceIdentity))]
internal sealed partial class InstanceIdentityJson : JsonSerializerContext;
