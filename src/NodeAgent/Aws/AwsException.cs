namespace NodeAgent.Aws;

/// <summary>What went wrong with a call to AWS, sorted by what can be done about it.</summary>
internal enum AwsFailureKind
{
    /// <summary>It answered that there is no such thing.</summary>
    NotThere,

    /// <summary>It answered that we may not. Trying again is of no use.</summary>
    NotAllowed,

    /// <summary>Refused, reset, or no answer until the deadline.</summary>
    NotReachable,

    /// <summary>It answered that we call too often.</summary>
    Throttled,

    /// <summary>It answered that it has trouble of its own (5xx).</summary>
    Unavailable,

    /// <summary>It answered something that makes no sense.</summary>
    Malformed,
}

/// <param name="Subject">What was asked of whom: "instance metadata http://169.254.169.254/latest/user-data", "ec2:DescribeTags at https://...".</param>
/// <param name="Cause">One clause: "connection refused", "503 Service Unavailable".</param>
/// <param name="Remedy">What the reader can do about it.</param>
/// <param name="Waited">From the first try until giving up.</param>
internal sealed record AwsFailure(AwsFailureKind Kind, string Subject, string Cause, string Remedy, TimeSpan Waited = default, int Tries = 1)
{
    /// <summary>Whether it may pass by itself: nobody answered, or only that it is not the time.</summary>
    public bool IsOutOfReach => Kind is AwsFailureKind.NotReachable or AwsFailureKind.Throttled or AwsFailureKind.Unavailable;

    public override string ToString()
    {
        var kind = Kind switch
        {
            AwsFailureKind.NotThere => "not there",
            AwsFailureKind.NotAllowed => "not allowed",
            AwsFailureKind.NotReachable => "not reachable",
            AwsFailureKind.Throttled => "throttled",
            AwsFailureKind.Unavailable => "unavailable",
            _ => "malformed answer",
        };
        var waited = Waited > TimeSpan.Zero
            ? FormattableString.Invariant($", given up after {Waited.TotalSeconds:0.#} s and {Tries} {(Tries == 1 ? "try" : "tries")}")
            : "";
        return $"{Subject}: {kind}: {Cause}{waited}. {Remedy}";
    }
}

internal sealed class AwsException(AwsFailure failure, Exception? inner = null) : Exception(failure.ToString(), inner)
{
    public AwsFailure Failure { get; } = failure;

    public AwsFailureKind Kind => Failure.Kind;

    public bool IsOutOfReach => Failure.IsOutOfReach;
}
