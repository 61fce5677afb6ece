namespace NodeAgent.Pki;

/// <summary>Where in S3 a cluster's CAs are: s3://BUCKET[/PREFIX].</summary>
/// <param name="Prefix">Without slashes at its ends.</param>
internal readonly record struct S3Address(string Bucket, string Prefix)
{
    public static bool TryParse(string text, out S3Address address)
    {
        address = default;
        if (!text.StartsWith("s3://", StringComparison.Ordinal))
        {
            return false;
        }

        var parts = text[5..].Split('/', 2);
        address = new(parts[0], parts.Length == 1 ? "" : parts[1].Trim('/'));
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
        return parts[0].Length is >= 3 and <= 63 && parts[0].All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '.' or '-');
    }
}
