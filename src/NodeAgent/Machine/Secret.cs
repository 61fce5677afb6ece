using System.Diagnostics;

namespace NodeAgent.Machine;

/// <summary>
/// A value that must not be seen. It has no ToString that shows it and no JSON converter that writes it; what needs the value says so by calling
/// <see cref="Reveal"/>.
/// </summary>
[DebuggerDisplay("(secret)")]
internal sealed class Secret(string value) : IEquatable<Secret>
{
    private readonly string _value = value;

    public string Reveal() => _value;

    public bool Equals(Secret? other) => other is not null && string.Equals(_value, other._value, StringComparison.Ordinal);

    public override bool Equals(object? obj) => Equals(obj as Secret);

    public override int GetHashCode() => _value.GetHashCode(StringComparison.Ordinal);

    public override string ToString() => "(secret)";
}
