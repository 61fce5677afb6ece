using System.Text.Json;
using System.Text.Json.Serialization;
using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <summary>How far a launch or a leaving has come, for whoever goes on with it: in /run, since no boot goes on with another's.</summary>
/// <param name="Target">The lifecycle state that it leads to, or why it began.</param>
/// <param name="Since">Seconds of the monotonic clock, which nobody sets: the same for all processes of a boot.</param>
/// <param name="Answer">What the hook was told; null while it was not.</param>
internal sealed record LifecycleRecord(string Target, double Since, string? Answer = null)
{
    public static double Seconds(TimeProvider time) => time.GetTimestamp() / (double)time.TimestampFrequency;

    public TimeSpan Age(TimeProvider time) => TimeSpan.FromSeconds(Math.Max(0, Seconds(time) - Since));

    /// <summary>What was begun for that target before, or its beginning now.</summary>
    public static LifecycleRecord Begin(string path, string target, TimeProvider time)
    {
        if (Read(path) is { } before && before.Target == target)
        {
            return before;
        }

        var record = new LifecycleRecord(target, Seconds(time));
        record.Write(path);
        return record;
    }

    /// <summary>Null when there is none, or one that makes no sense.</summary>
    public static LifecycleRecord? Read(string path)
    {
        try
        {
            return Files.Text(path) is { } text ? JsonSerializer.Deserialize(text, LifecycleJson.Default.LifecycleRecord) : null;
        }
        catch (Exception e) when (e is JsonException or ProbeException)
        {
            return null;
        }
    }

    /// <exception cref="MachineException"/>
    public void Write(string path) =>
        Files.Write(path, JsonSerializer.SerializeToUtf8Bytes(this, LifecycleJson.Default.LifecycleRecord), (UnixFileMode)0b110_100_100);
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(LifecycleRecord))]
internal sealed partial class LifecycleJson : JsonSerializerContext;
