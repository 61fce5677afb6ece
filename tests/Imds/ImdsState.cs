using System.Text.Json;
using System.Text.Json.Serialization;

namespace NodeAgent.Imds;

/// <summary>What the fake answers with, and what goes wrong. README.md describes the file.</summary>
/// <remarks>Set, not init: generated JSON code gives init properties that the text leaves out null instead of their initial values.</remarks>
public sealed record ImdsState
{
    /// <summary>Path below /latest/meta-data/ (or starting with dynamic/) to its text. Directories follow from the paths.</summary>
    public Dictionary<string, string> Paths { get; set; } = [];

    /// <summary>Null: 404, as where no user data was given.</summary>
    public byte[]? UserData { get; set; }

    /// <summary>Whether requests without a token are answered, as with HttpTokens=optional.</summary>
    public bool Version1 { get; set; }

    /// <summary>When it changes, every token handed out so far is void, as after a stop and a start.</summary>
    public string Boot { get; set; } = "";

    public List<Fault> Faults { get; set; } = [];

    public static ImdsState Parse(byte[] json) => JsonSerializer.Deserialize(json, ImdsJson.Default.ImdsState) ?? throw new JsonException("the state is null");
}

/// <summary>The first fault that is active and matches a request decides what becomes of it.</summary>
public sealed record Fault
{
    public required FaultKind Kind { get; set; }

    /// <summary>Prefix of the path below /latest/, as in meta-data/tags/ or api/token; empty for everything.</summary>
    public string Path { get; set; } = "";

    /// <summary>For <see cref="FaultKind.Status"/>.</summary>
    public int Status { get; set; } = 503;

    /// <summary>For <see cref="FaultKind.Slow"/>.</summary>
    public int Milliseconds { get; set; } = 1000;

    /// <summary>Over after so many matching requests.</summary>
    public int? Requests { get; set; }

    /// <summary>Over so many seconds after the faults were read: at start, or when they last changed.</summary>
    public double? Seconds { get; set; }
}

public enum FaultKind
{
    /// <summary>For everything: nobody listens. For a path: the connection is reset.</summary>
    Refuse,

    /// <summary>The request is taken and never answered.</summary>
    Hang,
    Status,

    /// <summary>Answered, but later.</summary>
    Slow,

    /// <summary>200 with a page of HTML, as from a captive portal or a proxy.</summary>
    Garbage,
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    ReadCommentHandling = JsonCommentHandling.Skip,
    AllowTrailingCommas = true,
    UseStringEnumConverter = true)]
[JsonSerializable(typeof(ImdsState))]
internal sealed partial class ImdsJson : JsonSerializerContext;
