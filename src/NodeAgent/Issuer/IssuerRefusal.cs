namespace NodeAgent.Issuer;

/// <summary>Why a request gets no certificates, in a word for programs and a sentence for people.</summary>
/// <param name="retryAfter">Set where the same request may be granted later: then nothing of it was wrong.</param>
internal sealed class IssuerRefusal(int status, string code, string reason, TimeSpan? retryAfter = null, Exception? inner = null) : Exception(reason, inner)
{
    public int Status { get; } = status;

    public string Code { get; } = code;

    public TimeSpan? RetryAfter { get; } = retryAfter;

    public static IssuerRefusal Malformed(string reason, Exception? inner = null) => new(400, "malformed", reason, null, inner);

    public static IssuerRefusal Forbidden(string code, string reason, Exception? inner = null) => new(403, code, reason, null, inner);

    public static IssuerRefusal Later(string code, string reason, TimeSpan after, Exception? inner = null) => new(503, code, reason, after, inner);

    /// <summary>What others wrote, at a length for one line of a log.</summary>
    public static string Short(string text, int longest = 80) => text.Length <= longest ? text : text[..longest] + "...";
}
