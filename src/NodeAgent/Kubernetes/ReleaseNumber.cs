namespace NodeAgent.Kubernetes;

/// <summary>The numbers of a release, whoever made, packaged or rebuilt it.</summary>
internal static class ReleaseNumber
{
    /// <param name="text">As in 1.7.24, v1.7.24~ds1, 20.10.24+dfsg1, 2.0.0-rc.1, 1.29.0-eks-5e0fdde.</param>
    /// <returns>Null where there are not at least two numbers.</returns>
    public static Version? Parse(string? text)
    {
        var numbers = string.Concat((text ?? "").TrimStart('v').TakeWhile(c => char.IsAsciiDigit(c) || c == '.'));
        return Version.TryParse(numbers.TrimEnd('.'), out var version) ? version : null;
    }
}
