using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace NodeAgent.Pki;

/// <summary>
/// The cluster's CAs of a store, one after the other. A store knows no overwriting: the first lies by kubeadm's names for ever, each next one below ca.N/ by
/// the same names, and which of them signs follows from statements (ca.N/trust, ca.N/sign, ca.N/drop), each made once and signed by a CA that was there before.
/// </summary>
/// <param name="All">From the first to the one that was made last; of one that is half made, nothing.</param>
internal sealed record CaGenerations(IReadOnlyList<CaGeneration> All)
{
    /// <summary>The one that signs.</summary>
    public CaGeneration Current => All.Last(g => g.Number == 1 || g.Signs is not null);

    /// <summary>Made, and to be trusted everywhere before it signs.</summary>
    public CaGeneration? Next => All[^1] is { Number: > 1, Signs: null } next ? next : null;

    /// <summary>Of before the one that signs, and not dropped yet.</summary>
    public CaGeneration? Former => Current is { Number: > 1, Alone: null } current ? All[current.Number - 2] : null;

    /// <summary>Those that nodes and issuers are to trust: cluster.certificateAuthority.</summary>
    public IReadOnlyList<CaGeneration> Trusted => [.. ((CaGeneration?[])[Former, Current, Next]).OfType<CaGeneration>()];

    /// <summary>Public halves alone; no key is read.</summary>
    /// <returns>Null where there is no CA.</returns>
    /// <exception cref="CaException">What is there is no certificate, or a statement that does not bear the signature that it has to.</exception>
    public static async Task<CaGenerations?> Find(ICaStore store, CancellationToken cancellation)
    {
        if (await Certificate(store, 1, cancellation).ConfigureAwait(false) is not { } first)
        {
            return null;
        }

        var all = new List<CaGeneration> { new(1, first, null, null, null) };
        while (await Certificate(store, all.Count + 1, cancellation).ConfigureAwait(false) is { } pem)
        {
            var (before, next) = (all[^1], new CaGeneration(all.Count + 1, pem, null, null, null));
            if (await Said(CaGeneration.Trust, before).ConfigureAwait(false) is not { } trusted)
            {
                // Half made, or somebody else's: nobody stands for it.
                break;
            }

            next = next with { Since = trusted, Signs = await Said(CaGeneration.Sign, before).ConfigureAwait(false) };
            next = next with { Alone = next.Signs is null ? null : await Said(CaGeneration.Drop, next).ConfigureAwait(false) };
            all.Add(next);
            if (next.Alone is null)
            {
                break;
            }

            Task<DateTimeOffset?> Said(string what, CaGeneration by) => next.Said(store, what, by, cancellation);
        }

        return new(all);
    }

    /// <exception cref="CaException">As of <see cref="Find"/>, and where there is no CA.</exception>
    public static async Task<CaGenerations> Read(ICaStore store, CancellationToken cancellation) => await Find(store, cancellation).ConfigureAwait(false)
        ?? throw new CaException(
            $"{store.Name} has no ca.crt: 'nodeagent ca init' makes what is not there, unless somebody took it away; then look for a copy first");

    private static async Task<string?> Certificate(ICaStore store, int number, CancellationToken cancellation)
    {
        var file = CaGeneration.File(number, CaGeneration.CertificateFile);
        return await store.Read(file, cancellation).ConfigureAwait(false) is not { } content ? null
            : Encoding.UTF8.GetString(content) is var pem && Pem.Certificates(pem) is [var der, ..] && ParsedCertificate.Parse(der) is not null ? pem
            : throw new CaException($"{store.Name}: {file} holds no certificate that can be read");
    }
}

/// <param name="Certificate">PEM.</param>
/// <param name="Since">When it was to be trusted.</param>
/// <param name="Signs">When it began to sign.</param>
/// <param name="Alone">When the one before it was dropped.</param>
internal sealed record CaGeneration(int Number, string Certificate, DateTimeOffset? Since, DateTimeOffset? Signs, DateTimeOffset? Alone)
{
    public const string CertificateFile = "ca.crt", KeyFile = "ca.key", KmsFile = "ca.kms";

    /// <summary>What is said of a CA, each in a file of that name.</summary>
    public const string Trust = "trust", Sign = "sign", Drop = "drop";

    private const string SignedBy = "# signed by ";

    public byte[] Der => Pem.Certificates(Certificate)[0];

    /// <summary>Where the store has it.</summary>
    public static string File(int number, string file) => number == 1 ? file : string.Create(CultureInfo.InvariantCulture, $"ca.{number}/{file}");

    public string File(string file) => File(Number, file);

    /// <summary>When it was said; null where it was not.</summary>
    /// <param name="what">Of this CA.</param>
    /// <param name="by">Whose signature it has to bear.</param>
    /// <exception cref="CaException">Somebody else wrote it.</exception>
    public async Task<DateTimeOffset?> Said(ICaStore store, string what, CaGeneration by, CancellationToken cancellation)
    {
        if (await store.Read(File(what), cancellation).ConfigureAwait(false) is not { } content)
        {
            return null;
        }

        var text = Encoding.UTF8.GetString(content);
        return Signed(text, by) is { } said && said.Split('\n') is [var head, var time, var sum, ""] && head == Head(what) && sum == Sum
            && time.StartsWith("# at ", StringComparison.Ordinal)
            && DateTimeOffset.TryParseExact(
                time[5..], TimeFormat, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var at)
            ? at
            : throw new CaException(
                $"{store.Name}: {File(what)} does not say of {File(CertificateFile)}, with the signature of {by.File(CertificateFile)}, what it is for: "
                + "somebody else wrote one of them. Put back the versions of before, or remove what was never yours");
    }

    /// <param name="by">Its key.</param>
    public byte[] Say(string what, CaGeneration of, CertificateAuthority by, DateTimeOffset now) => Seal(
        $"{Head(what)}\n# at {now.UtcDateTime.ToString(TimeFormat, CultureInfo.InvariantCulture)}\n{Sum}\n", of, by);

    /// <summary>
    /// A key that was made for it, below the current CA's word for that: who may write to the store alone cannot have put one of theirs there.
    /// </summary>
    public static byte[] SealKey(string file, string key, byte[] publicKey, CaGeneration of, CertificateAuthority by) =>
        [.. Encoding.ASCII.GetBytes($"{SignedBy}{of.File(CertificateFile)}: {Convert.ToBase64String(by.SignText(KeyText(file, publicKey)))}\n"),
            .. Encoding.ASCII.GetBytes(key)];

    /// <summary>Whether <paramref name="content"/> is such a file.</summary>
    public static bool IsSealedKey(string file, string content, byte[] publicKey, CaGeneration by)
    {
        var head = $"{SignedBy}{by.File(CertificateFile)}: ";
        var line = content.Split('\n')[0];
        var signature = new byte[line.Length];
        return line.StartsWith(head, StringComparison.Ordinal) && Convert.TryFromBase64String(line[head.Length..], signature, out var length)
            && by.HasSigned(KeyText(file, publicKey), signature[..length]);
    }

    private const string TimeFormat = "yyyy-MM-dd'T'HH:mm:ss'Z'";

    private string Head(string what) => $"# nodeagent {File(what)} 1";

    /// <summary>As sha256sum writes and reads it.</summary>
    private string Sum => $"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Certificate)))}  {File(CertificateFile)}";

    private static byte[] KeyText(string file, byte[] publicKey) => Encoding.ASCII.GetBytes($"# nodeagent {file} 1\n{Convert.ToBase64String(publicKey)}\n");

    private static byte[] Seal(string text, CaGeneration of, CertificateAuthority by) => Encoding.ASCII.GetBytes(
        $"{text}{SignedBy}{of.File(CertificateFile)}: {Convert.ToBase64String(by.SignText(Encoding.ASCII.GetBytes(text)))}\n");

    /// <returns>What was signed, without the line with the signature; null where it was not signed by that one.</returns>
    private static string? Signed(string text, CaGeneration by)
    {
        var head = $"\n{SignedBy}{by.File(CertificateFile)}: ";
        if (text.LastIndexOf(head, StringComparison.Ordinal) is var at && at < 0)
        {
            return null;
        }

        var signature = new byte[text.Length];
        return Convert.TryFromBase64String(text[(at + head.Length)..].TrimEnd('\n'), signature, out var length)
            && by.HasSigned(Encoding.UTF8.GetBytes(text[..(at + 1)]), signature[..length])
            ? text[..(at + 1)]
            : null;
    }

    private bool HasSigned(byte[] text, byte[] signature)
    {
        using var certificate = X509CertificateLoader.LoadCertificate(Der);
        return CertificateAuthority.HasSigned(certificate, text, signature);
    }
}
