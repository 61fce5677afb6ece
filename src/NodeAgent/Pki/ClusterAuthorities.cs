using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.RegularExpressions;
using NodeAgent.Aws;
using NodeAgent.Machine;

namespace NodeAgent.Pki;

/// <summary>The CAs of a cluster and its service account key, ready to sign.</summary>
internal sealed partial class ClusterAuthorities : IDisposable
{
    private readonly Dictionary<Authority, CertificateAuthority> _authorities = [];

    /// <summary>
    /// SHA-256 of every public half, as sha256sum writes and reads it, and the cluster's CA's signature over that. A node knows the cluster's CA by its
    /// configuration, and nothing else of the store: without it, who may write there could put a service account key or a CA of etcd of their own in place.
    /// </summary>
    public const string Sums = "cluster.sums";


    /// <summary>
    /// Keys for what kube-apiserver encrypts in etcd: 32 bytes each, base64, one a line; the first encrypts, all decrypt. Stores of before have none until the
    /// next 'ca init', so the signed word for it is a file of its own.
    /// </summary>
    public const string EncryptionKeys = "encryption.key";

    public const string EncryptionSums = "encryption.sums";

    private const int EncryptionKeyBytes = 32;

    private readonly Dictionary<string, string> _encryption = new(StringComparer.Ordinal);

    private readonly CaGeneration _generation;

    private ClusterAuthorities(string serviceAccountKey, CaGeneration generation) => (ServiceAccountKey, _generation) = (serviceAccountKey, generation);

    public CertificateAuthority this[Authority authority] => _authorities[authority];

    /// <summary>DER of the cluster's CAs that are to be trusted: in a rotation, two.</summary>
    public IReadOnlyList<byte[]> Trusted { get; private set; } = [];

    /// <summary>PEM, PKCS#8.</summary>
    public string ServiceAccountKey { get; }

    /// <summary>
    /// Makes what is not there. The key is the first of each pair: it is its creation that one of many wins, and whoever comes next, or again after a crash,
    /// makes the public half from the key that is there. So all of them come to the same CAs.
    /// </summary>
    /// <param name="kmsKeys">By role of the CA: an asymmetric key of KMS, instead of one in a file. What a CA's key is, is decided once.</param>
    /// <param name="kms">KMS of a region.</param>
    /// <returns>The files that were made by this call.</returns>
    /// <exception cref="CaException"/>
    public static async Task<IReadOnlyList<string>> Make(
        ICaStore store,
        KeyAlgorithm algorithm,
        IReadOnlyDictionary<string, string> kmsKeys,
        Func<string?, KmsKeys> kms,
        DateTimeOffset now,
        CancellationToken cancellation)
    {
        var made = new List<string>();
        // Where one key is missing, mostly all are, and one of RSA costs 150 ms of a processor.
        var fresh = new Lazy<Queue<Task<AsymmetricAlgorithm>>>(
            () => new(Enumerable.Range(0, RoleTable.Authorities.Count + 1).Select(_ => Task.Run(() => algorithm.NewKey(), cancellation))));
        foreach (var row in RoleTable.Authorities)
        {
            if (kmsKeys.TryGetValue(row.Role, out var key) || await store.Read(Kms(row), cancellation).ConfigureAwait(false) is not null)
            {
                await MakeInKms(store, row, key, kms, now, made, cancellation).ConfigureAwait(false);
            }
            else
            {
                await MakePair(
                    store,
                    row.KeyPath,
                    row.CertificatePath,
                    fresh,
                    key => SelfSigned(row.CommonName, CertificateAuthority.Generator(key), now),
                    made,
                    cancellation)
                    .ConfigureAwait(false);
            }
        }

        var (secret, shared) = RoleTable.ServiceAccount;
        await MakePair(store, secret, shared, fresh, static key => key.ExportSubjectPublicKeyInfoPem() + "\n", made, cancellation).ConfigureAwait(false);
        var generations = await CaGenerations.Read(store, cancellation).ConfigureAwait(false);
        await MakeSums(store, generations.Current, kms, made, cancellation).ConfigureAwait(false);
        return made;
    }

    /// <summary>What that CA of the cluster says of the rest of the store, as far as it is not there.</summary>
    /// <exception cref="CaException">What is there says otherwise, or is somebody else's word.</exception>
    public static async Task MakeSums(
        ICaStore store, CaGeneration generation, Func<string?, KmsKeys> kms, List<string> made, CancellationToken cancellation)
    {
        var (whole, sums) = await LoadPairs(store, generation, kms, cancellation).ConfigureAwait(false);
        using (whole)
        {
            var file = generation.File(Sums);
            if (await store.Read(file, cancellation).ConfigureAwait(false) is null
                && await store.Create(file, whole.Sign(sums, store.Name, file), isSecret: false, cancellation).ConfigureAwait(false))
            {
                made.Add(file);
            }

            await whole.CheckSums(store, sums, cancellation).ConfigureAwait(false);
            await whole.MakeEncryptionKeys(store, made, cancellation).ConfigureAwait(false);
        }
    }

    /// <exception cref="CaException">One is missing, is no CA, is not its key's, or is not what <see cref="Sums"/> says.</exception>
    public static async Task<ClusterAuthorities> Load(ICaStore store, Func<string?, KmsKeys> kms, CancellationToken cancellation)
    {
        var generations = await CaGenerations.Read(store, cancellation).ConfigureAwait(false);
        var (loaded, sums) = await LoadPairs(store, generations.Current, kms, cancellation).ConfigureAwait(false);
        try
        {
            await loaded.CheckSums(store, sums, cancellation).ConfigureAwait(false);
            await loaded.ReadEncryption(store, cancellation).ConfigureAwait(false);
            loaded.Trusted = [.. generations.Trusted.Select(g => g.Der)];
            return loaded;
        }
        catch
        {
            loaded.Dispose();
            throw;
        }
    }

    /// <returns>With what <see cref="Sums"/> has to say of them, unsigned.</returns>
    private static async Task<(ClusterAuthorities Loaded, string Sums)> LoadPairs(
        ICaStore store, CaGeneration generation, Func<string?, KmsKeys> kms, CancellationToken cancellation)
    {
        var (secret, shared) = RoleTable.ServiceAccount;
        var serviceAccountKey = await Text(store, secret, cancellation).ConfigureAwait(false);
        var loaded = new ClusterAuthorities(serviceAccountKey, generation);
        // For this purpose and version alone.
        var sums = new StringBuilder("# nodeagent cluster.sums 1\n");
        try
        {
            foreach (var row in RoleTable.Authorities)
            {
                var isCluster = row.Authority == Authority.Cluster;
                var certificate = isCluster ? generation.Certificate : await Text(store, row.CertificatePath, cancellation).ConfigureAwait(false);
                var (key, inKms) = isCluster
                    ? await ReadKey(store, generation, kms, cancellation).ConfigureAwait(false)
                    : await ReadKey(store, Below(row.KeyPath), kms, cancellation).ConfigureAwait(false);
                loaded._authorities[row.Authority] = inKms is null
                    ? CertificateAuthority.Load(certificate, key)
                    : CertificateAuthority.Load(certificate, inKms);
                Add(isCluster ? generation.File(CaGeneration.CertificateFile) : Below(row.CertificatePath), certificate);
            }

            var publicKey = await Text(store, shared, cancellation).ConfigureAwait(false);
            using var pair = Key(serviceAccountKey, $"{store.Name}: {Below(secret)}");
            if (!IsPublicHalf(publicKey, pair))
            {
                throw new CaException($"{store.Name}: {Below(shared)} is not the public half of {Below(secret)}: somebody has replaced one of both");
            }

            Add(Below(shared), publicKey);
            return (loaded, sums.ToString());
        }
        catch (CryptographicException e)
        {
            loaded.Dispose();
            throw new CaException($"{store.Name}: {e.Message}", e);
        }
        catch
        {
            loaded.Dispose();
            throw;
        }

        void Add(string file, string content) =>
            sums.Append(CultureInfo.InvariantCulture, $"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(content)))}  {file}\n");
    }

    /// <summary>Base64, in their order.</summary>
    /// <exception cref="CaException">There are none, or they are not what the cluster's CA signed for.</exception>
    public IReadOnlyList<string> Encryption(string store)
    {
        var sums = _generation.File(EncryptionSums);
        if (!_encryption.TryGetValue(EncryptionKeys, out var keys) || !_encryption.TryGetValue(sums, out var signed))
        {
            throw new CaException(
                $"{store} has no {(_encryption.ContainsKey(EncryptionKeys) ? sums : EncryptionKeys)}: 'nodeagent ca init --store {store}' adds it");
        }

        CheckSigned(store, sums, SumsOfEncryption(keys), Encoding.UTF8.GetBytes(signed));
        string[] lines = [.. keys.Split('\n').Where(l => l.Length > 0)];
        var room = new byte[EncryptionKeyBytes];
        return lines.Length > 0 && lines.All(l => Convert.TryFromBase64String(l, room, out var length) && length == EncryptionKeyBytes) ? lines
            : throw new CaException($"{store}: {EncryptionKeys} holds something else than keys of {EncryptionKeyBytes} bytes in base64, one a line");
    }

    private static string SumsOfEncryption(string keys) =>
        $"# nodeagent encryption.sums 1\n{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(keys)))}  {EncryptionKeys}\n";

    private async Task ReadEncryption(ICaStore store, CancellationToken cancellation)
    {
        foreach (var file in (string[])[EncryptionKeys, _generation.File(EncryptionSums)])
        {
            if (await store.Read(file, cancellation).ConfigureAwait(false) is { } content)
            {
                _encryption[file] = Encoding.UTF8.GetString(content);
            }
        }
    }

    /// <summary>As of the CAs: one of many makes the key, whoever comes next signs for the key that is there.</summary>
    private async Task MakeEncryptionKeys(ICaStore store, List<string> made, CancellationToken cancellation)
    {
        if (await store.Read(EncryptionKeys, cancellation).ConfigureAwait(false) is null)
        {
            var key = RandomNumberGenerator.GetBytes(EncryptionKeyBytes);
            var text = Encoding.ASCII.GetBytes(Convert.ToBase64String(key) + "\n");
            if (await store.Create(EncryptionKeys, text, isSecret: true, cancellation).ConfigureAwait(false))
            {
                made.Add(EncryptionKeys);
            }

            CryptographicOperations.ZeroMemory(key);
            CryptographicOperations.ZeroMemory(text);
        }

        var keys = Encoding.UTF8.GetString((await store.Read(EncryptionKeys, cancellation).ConfigureAwait(false))!);
        var file = _generation.File(EncryptionSums);
        if (await store.Read(file, cancellation).ConfigureAwait(false) is null
            && await store.Create(file, Sign(SumsOfEncryption(keys), store.Name, file), isSecret: false, cancellation).ConfigureAwait(false))
        {
            made.Add(file);
        }

        await ReadEncryption(store, cancellation).ConfigureAwait(false);
        _ = Encryption(store.Name);
    }

    private string Signed => $"# signed by {_generation.File(CaGeneration.CertificateFile)}: ";

    private byte[] Sign(string sums, string store, string file)
    {
        try
        {
            return Encoding.ASCII.GetBytes($"{sums}{Signed}{Convert.ToBase64String(this[Authority.Cluster].SignText(Encoding.UTF8.GetBytes(sums)))}\n");
        }
        catch (CryptographicException e)
        {
            throw new CaException($"{store}: {file} cannot be signed: {e.Message}", e);
        }
    }

    private async Task CheckSums(ICaStore store, string sums, CancellationToken cancellation)
    {
        var file = _generation.File(Sums);
        if (await store.Read(file, cancellation).ConfigureAwait(false) is not { } content)
        {
            throw new CaException(
                $"{store.Name} has no {file}, by which it shows that the cluster's CA stands for the rest of it: 'nodeagent ca init --store {store.Name}' "
                + "adds it. "
                + "If it was there before, find out first who took it away, and what else they changed");
        }

        CheckSigned(store.Name, file, sums, content);
    }

    private void CheckSigned(string store, string file, string sums, byte[] content)
    {
        // Of the file only what it has to say, to the letter: nothing else in it is anybody's word.
        var (text, head) = (Encoding.UTF8.GetString(content), sums + Signed);
        if (!text.StartsWith(head, StringComparison.Ordinal))
        {
            var lines = text.Split('\n');
            var others = sums.Split('\n').Where(l => l.Length > 0 && !lines.Contains(l)).Select(l => l[0] == '#' ? file : l[(l.LastIndexOf(' ') + 1)..]);
            throw new CaException(
                $"{store}: {file} says otherwise than the store of {string.Join(", ", others)}: somebody has replaced that since 'nodeagent ca init' made it. "
                + "Put back the version of before");
        }

        var signature = new byte[content.Length];
        if (!Convert.TryFromBase64String(text[head.Length..].TrimEnd('\n'), signature, out var length)
            || !this[Authority.Cluster].HasSigned(Encoding.UTF8.GetBytes(sums), signature[..length]))
        {
            throw new CaException(
                $"{store}: {file} does not bear the signature of {_generation.File(CaGeneration.CertificateFile)}: somebody else wrote it. Put back the "
                    + "version of before");
        }
    }

    private static bool IsPublicHalf(string pem, AsymmetricAlgorithm key)
    {
        try
        {
            using AsymmetricAlgorithm alone = key is ECDsa ? ECDsa.Create() : RSA.Create();
            alone.ImportFromPem(pem);
            return alone.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(key.ExportSubjectPublicKeyInfo());
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            return false;
        }
    }

    /// <summary>The key of one of the cluster's CAs: PEM, or behind KMS. Nothing else is read.</summary>
    /// <exception cref="CaException">It is missing.</exception>
    public static Task<(string? Key, KmsSignatureGenerator? InKms)> ReadKey(
        ICaStore store, CaGeneration generation, Func<string?, KmsKeys> kms, CancellationToken cancellation) =>
        ReadKey(store, generation.File(CaGeneration.KeyFile), kms, cancellation);

    private static async Task<(string? Key, KmsSignatureGenerator? InKms)> ReadKey(
        ICaStore store, string keyFile, Func<string?, KmsKeys> kms, CancellationToken cancellation) =>
        await store.Read(Path.ChangeExtension(keyFile, ".kms"), cancellation).ConfigureAwait(false) is { } arn
            ? (null, await InKms(Arn(Encoding.UTF8.GetString(arn)), kms, cancellation).ConfigureAwait(false))
            : (await Content(store, keyFile, cancellation).ConfigureAwait(false), null);

    /// <summary>Below the line with another CA's word for it, where there is one.</summary>
    internal static string Arn(string file) => file[(file.StartsWith('#') ? file.IndexOf('\n', StringComparison.Ordinal) + 1 : 0)..].Trim();

    /// <exception cref="CaException">There is none.</exception>
    public static async Task<AsymmetricAlgorithm> ServiceAccount(ICaStore store, CancellationToken cancellation)
    {
        var path = RoleTable.ServiceAccount.KeyPath;
        return Key(await Text(store, path, cancellation).ConfigureAwait(false), $"{store.Name}: {Below(path)}");
    }

    /// <summary>What everybody may know: certificates by row, of the cluster's CA all that are to be trusted. No key is read.</summary>
    /// <returns>Of a rotation: what of it the CA is.</returns>
    public static async Task<IReadOnlyList<(RoleAuthority Row, byte[]? Certificate, string? Stage)>> Certificates(
        ICaStore store, CancellationToken cancellation)
    {
        var found = new List<(RoleAuthority, byte[]?, string?)>();
        foreach (var row in RoleTable.Authorities)
        {
            if (row.Authority == Authority.Cluster && await CaGenerations.Find(store, cancellation).ConfigureAwait(false) is { } all)
            {
                found.AddRange(all.Trusted.Select(g => (row, (byte[]?)g.Der, all.Trusted.Count == 1 ? null
                    : g == all.Current ? "signs" : g == all.Next ? "to be trusted everywhere, signs next" : "trusted still, signs no more")));
                continue;
            }

            var content = await store.Read(Below(row.CertificatePath), cancellation).ConfigureAwait(false);
            found.Add((row, content is null ? null
                : Pem.Certificates(Encoding.UTF8.GetString(content)) is [var first, ..] && ParsedCertificate.Parse(first) is not null ? first
                : throw new CaException($"{store.Name}: {Below(row.CertificatePath)} holds no certificate that can be read"), null));
        }

        return found;
    }

    public void Dispose()
    {
        foreach (var authority in _authorities.Values)
        {
            authority.Dispose();
        }
    }

    /// <summary>As the store calls a file of the table.</summary>
    public static string Below(string path) => path[(RoleTable.Directory.Length + 1)..];

    /// <summary>Instead of the key: the ARN of the one in KMS.</summary>
    private static string Kms(RoleAuthority row) => Path.ChangeExtension(Below(row.KeyPath), ".kms");

    internal static async Task<KmsSignatureGenerator> InKms(string arn, Func<string?, KmsKeys> kms, CancellationToken cancellation)
    {
        var keys = kms(RegionOf(arn));
        return KmsSignatureGenerator.Of(keys, await keys.Find(arn, cancellation).ConfigureAwait(false));
    }

    /// <summary>It becomes part of a host's name, and whoever may write to the store may have written it.</summary>
    /// <exception cref="CaException">No ARN of a key.</exception>
    private static string RegionOf(string arn) => KeyArn().Match(arn) is { Success: true } match
        ? match.Groups[1].Value
        : throw new CaException(
            $"'{(arn.Length <= 200 ? arn : arn[..200]).ReplaceLineEndings(" ")}' is no ARN of a KMS key; expected arn:PARTITION:kms:REGION:ACCOUNT:key/ID");

    [GeneratedRegex(@"\Aarn:aws[a-z-]{0,20}:kms:([a-z]{2,}(?:-[a-z]{1,20}){1,3}-[0-9]{1,2}):[0-9]{12}:(?:key|alias)/[A-Za-z0-9/_-]{1,256}\z")]
    private static partial Regex KeyArn();

    /// <summary>A key that an administrator names.</summary>
    internal static async Task<(KmsKey Key, KmsSignatureGenerator Generator)> FindInKms(
        string asked, Func<string?, KmsKeys> kms, CancellationToken cancellation)
    {
        var keys = kms(asked.StartsWith("arn:", StringComparison.Ordinal) ? RegionOf(asked) : null);
        var found = await keys.Find(asked, cancellation).ConfigureAwait(false);
        return (found, KmsSignatureGenerator.Of(keys, found));
    }

    /// <summary>The ARN is written down first; which key it is, is then decided, and the certificate is made with that one.</summary>
    private static async Task MakeInKms(
        ICaStore store, RoleAuthority row, string? asked, Func<string?, KmsKeys> kms, DateTimeOffset now, List<string> made, CancellationToken cancellation)
    {
        if (await store.Read(Below(row.KeyPath), cancellation).ConfigureAwait(false) is not null)
        {
            throw new CaException(
                $"{store.Name} has {Below(row.KeyPath)}, so the key of {row.Role} is not in KMS: another key is another CA, and takes an empty store");
        }

        if (await store.Read(Kms(row), cancellation).ConfigureAwait(false) is null)
        {
            var (found, _) = await FindInKms(asked!, kms, cancellation).ConfigureAwait(false);
            if (await store.Create(Kms(row), Encoding.ASCII.GetBytes(found.Arn + "\n"), isSecret: false, cancellation).ConfigureAwait(false))
            {
                made.Add(Kms(row));
            }
        }

        if (await store.Read(Below(row.CertificatePath), cancellation).ConfigureAwait(false) is null)
        {
            var arn = Encoding.UTF8.GetString((await store.Read(Kms(row), cancellation).ConfigureAwait(false))!).Trim();
            var generator = await InKms(arn, kms, cancellation).ConfigureAwait(false);
            string pem;
            try
            {
                pem = SelfSigned(row.CommonName, generator, now);
            }
            catch (CryptographicException e)
            {
                throw new CaException($"{arn}: {e.Message}", e);
            }

            if (await store.Create(Below(row.CertificatePath), Encoding.ASCII.GetBytes(pem), isSecret: false, cancellation).ConfigureAwait(false))
            {
                made.Add(Below(row.CertificatePath));
            }
        }
    }

    internal static string SelfSigned(string commonName, X509SignatureGenerator generator, DateTimeOffset now) => Pem.Write([CertificateAuthority.SelfSigned(
        commonName, generator.PublicKey, generator, RoleAuthority.Lifetime, now, RandomNumberGenerator.GetBytes(16))]);

    private static async Task MakePair(
        ICaStore store,
        string keyPath,
        string publicPath,
        Lazy<Queue<Task<AsymmetricAlgorithm>>> fresh,
        Func<AsymmetricAlgorithm, string> publicHalf,
        List<string> made,
        CancellationToken cancellation)
    {
        var (secret, shared) = (Below(keyPath), Below(publicPath));
        if (await store.Read(shared, cancellation).ConfigureAwait(false) is not null)
        {
            return;
        }

        if (await store.Read(secret, cancellation).ConfigureAwait(false) is null)
        {
            using var ours = await fresh.Value.Dequeue().ConfigureAwait(false);
            var pem = Encoding.ASCII.GetBytes(Pem.Write(ours));
            if (await store.Create(secret, pem, isSecret: true, cancellation).ConfigureAwait(false))
            {
                made.Add(secret);
            }

            CryptographicOperations.ZeroMemory(pem);
        }

        using var key = Key(await Text(store, keyPath, cancellation).ConfigureAwait(false), $"{store.Name}: {secret}");
        if (await store.Create(shared, Encoding.ASCII.GetBytes(publicHalf(key)), isSecret: false, cancellation).ConfigureAwait(false))
        {
            made.Add(shared);
        }
    }

    /// <param name="what">For the message where it is none.</param>
    public static AsymmetricAlgorithm Key(string pem, string what)
    {
        try
        {
            return PrivateKey.Read(pem);
        }
        catch (CryptographicException e)
        {
            throw new CaException($"{what} is no private key that can be read: {e.Message}", e);
        }
    }

    private static Task<string> Text(ICaStore store, string path, CancellationToken cancellation) => Content(store, Below(path), cancellation);

    private static async Task<string> Content(ICaStore store, string file, CancellationToken cancellation)
    {
        var content = await store.Read(file, cancellation).ConfigureAwait(false)
            ?? throw new CaException(
                $"{store.Name} has no {file}: 'nodeagent ca init' makes what is not there, unless somebody took it away; then look for a copy first");
        return Encoding.UTF8.GetString(content);
    }
}
