using System.Globalization;

namespace NodeAgent.Configuration;

/// <summary>Everything that is wrong with a configuration. Commands answer it with exit code 3 and change nothing.</summary>
internal sealed class ConfigurationException : Exception
{
    public ConfigurationException(IReadOnlyList<ConfigError> errors)
        : base(string.Join('\n', errors.Select(e => e.ToString()))) => Errors = errors;

    public ConfigurationException(ConfigError error)
        : this([error])
    {
    }

    /// <summary>At least one; in the order of layers, and in each layer's own order.</summary>
    public IReadOnlyList<ConfigError> Errors { get; }

    public static void ThrowIfAny(IReadOnlyList<ConfigError> errors)
    {
        if (errors.Count > 0)
        {
            throw new ConfigurationException(errors);
        }
    }
}

/// <param name="Origin">Null when no layer gives the value, so that there is no place to point at.</param>
/// <param name="Path">Dotted, as in node.taints[0].effect; empty when the document as a whole is meant.</param>
/// <param name="Message">What is wrong and what was expected. Never a secret.</param>
internal sealed record ConfigError(Origin? Origin, string Path, string Message)
{
    public override string ToString()
    {
        var place = Origin is { } origin ? $"{origin}: " : "";
        return Path.Length == 0 ? place + Message : $"{place}{Path}: {Message}";
    }
}

/// <summary>Where a value was written.</summary>
/// <param name="Layer">"defaults", a file's path, "tag nodeagent:role", "user data" or "user data part 2".</param>
/// <param name="Line">From 1; 0 where the layer has no lines (tags).</param>
/// <param name="Column">From 1; 0 where the layer has no lines.</param>
internal readonly record struct Origin(string Layer, int Line, int Column)
{
    /// <summary>A value that stands alone, as a tag's does: it has no way to say what type it is of, so text is taken where text is expected.</summary>
    public bool IsTag => Line == 0;

    public override string ToString() => Line == 0 ? Layer : string.Create(CultureInfo.InvariantCulture, $"{Layer}:{Line}:{Column}");
}
