using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using NodeAgent.Aws;

namespace NodeAgent.Pki;

/// <summary>
/// Another CA for a cluster that runs, in three stages: the next one is made, for nodes to trust it beside the one that signs; it signs; the one before is
/// dropped. Each stage is one file that is created last, so a stage has been reached or it has not, whoever else is at it and wherever the power failed; to
/// repeat one is to go on with it, or to find it done.
/// </summary>
/// <param name="store">Where the cluster's CAs are.</param>
internal sealed class CaRotation(ICaStore store, Func<string?, KmsKeys> kms, DateTimeOffset now)
{
    /// <summary>How long an issuer may take to see that another CA signs, and to have a certificate of its own by that one.</summary>
    public static readonly TimeSpan Following = TimeSpan.FromMinutes(3);

    private readonly List<string> _made = [];

    /// <summary>Makes the next CA, or finds it.</summary>
    /// <param name="kmsKey">The key of the new CA, where it is one of KMS.</param>
    /// <exception cref="CaException"/>
    public async Task<CaRotated> Trust(KeyAlgorithm algorithm, string? kmsKey, CancellationToken cancellation)
    {
        var all = await CaGenerations.Read(store, cancellation).ConfigureAwait(false);
        if (all.Next is null && all.Former is null)
        {
            await Begin(all.Current, algorithm, kmsKey, cancellation).ConfigureAwait(false);
        }

        return await Done(cancellation).ConfigureAwait(false);
    }

    /// <summary>The next CA signs from here on.</summary>
    /// <exception cref="CaException"/>
    public async Task<CaRotated> Sign(CancellationToken cancellation)
    {
        var all = await CaGenerations.Read(store, cancellation).ConfigureAwait(false);
        if (all.Next is { } next)
        {
            // Of a store that has got its key for encryption at rest meanwhile, the next CA has said nothing yet.
            await ClusterAuthorities.MakeSums(store, next, kms, _made, cancellation).ConfigureAwait(false);
            using var former = await Load(all.Current, cancellation).ConfigureAwait(false);
            await Say(next, CaGeneration.Sign, all.Current, former, cancellation).ConfigureAwait(false);
        }
        else if (all.Former is null)
        {
            throw new CaException($"{store.Name} has no CA that could sign next: '--stage trust' makes it, and every node has to trust it first");
        }

        return await Done(cancellation).ConfigureAwait(false);
    }

    /// <summary>The CA of before is to be trusted no more.</summary>
    /// <param name="lifetime">How long certificates of the CA of before may hold that nobody has renewed; zero where somebody knows that all have been.</param>
    /// <exception cref="CaException"/>
    public async Task<CaRotated> Drop(TimeSpan lifetime, CancellationToken cancellation)
    {
        var all = await CaGenerations.Read(store, cancellation).ConfigureAwait(false);
        if (all.Next is { } next)
        {
            throw new CaException(
                $"{store.Name}: {next.File(CaGeneration.CertificateFile)} does not sign yet: '--stage sign' comes first, once every node trusts it, and "
                + "then new "
                + "certificates for all");
        }

        if (all.Former is not null)
        {
            var signs = all.Current.Signs!.Value;
            var (current, former) = (all.Current.File(CaGeneration.CertificateFile), all.Former.File(CaGeneration.CertificateFile));
            if (now < signs + Following)
            {
                throw new CaException(
                    $"{store.Name}: {current} signs since {signs.UtcDateTime:u}, and issuers may not all have seen it: what was renewed so far may be of "
                    + $"{former} "
                    + $"again. Look at 'nodeagent certs list' of the nodes, and try again after {(signs + Following).UtcDateTime:u}");
            }

            if (now < signs + lifetime)
            {
                throw new CaException(string.Create(
                    CultureInfo.InvariantCulture,
                    $"{store.Name}: {current} signs since {signs.UtcDateTime:u}, and what {former} signed before that may hold until "
                    + $"{(signs + lifetime).UtcDateTime:u}. The store does not know whether a node still has such a certificate: renew all "
                    + $"('nodeagent certs renew --all' on every node), see that 'nodeagent certs list' names the new issuer everywhere, and say --renewed"));
            }

            using var signer = await Load(all.Current, cancellation).ConfigureAwait(false);
            await Say(all.Current, CaGeneration.Drop, all.Current, signer, cancellation).ConfigureAwait(false);
        }
        else if (all.Current.Number == 1)
        {
            throw new CaException($"{store.Name} has one CA and never had another: there is nothing to drop");
        }

        return await Done(cancellation).ConfigureAwait(false);
    }

    private async Task<CaRotated> Done(CancellationToken cancellation) => new(_made, await CaGenerations.Read(store, cancellation).ConfigureAwait(false));

    private async Task Begin(CaGeneration current, KeyAlgorithm algorithm, string? kmsKey, CancellationToken cancellation)
    {
        // All of the store holds before another CA is made to stand for it.
        using (await ClusterAuthorities.Load(store, kms, cancellation).ConfigureAwait(false))
        {
            await ClusterAuthorities.MakeSums(store, current, kms, _made, cancellation).ConfigureAwait(false);
        }

        using var signer = await Load(current, cancellation).ConfigureAwait(false);
        var number = current.Number + 1;
        var file = CaGeneration.File(number, CaGeneration.CertificateFile);
        var generator = await MakeKey(number, current, signer, algorithm, kmsKey, cancellation).ConfigureAwait(false);
        if (generator.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(signer.Certificate.PublicKey.ExportSubjectPublicKeyInfo()))
        {
            throw new CaException($"{store.Name}: the key of {file} is that of the CA that signs now: another CA has another key");
        }

        if (await store.Read(file, cancellation).ConfigureAwait(false) is null)
        {
            // Another name than its forerunner's: what tells CAs apart by their names has no trouble with the two, and a person sees which one signed.
            var name = string.Create(CultureInfo.InvariantCulture, $"{RoleTable.Of(Authority.Cluster).CommonName}-{number}");
            await Create(file, Encoding.ASCII.GetBytes(Signed(() => ClusterAuthorities.SelfSigned(name, generator, now))), cancellation).ConfigureAwait(false);
        }

        var pem = Encoding.UTF8.GetString((await store.Read(file, cancellation).ConfigureAwait(false))!);
        var next = new CaGeneration(number, pem, null, null, null);
        // Of the right key, and made with it.
        if (Pem.Certificates(pem) is not [var der] || !ParsedCertificate.IsIssuedBy([der], [der]))
        {
            throw new CaException(
                $"{store.Name}: {file} is not one certificate that its own key has signed: somebody else put it there. Find out who, and remove it");
        }

        await ClusterAuthorities.MakeSums(store, next, kms, _made, cancellation).ConfigureAwait(false);
        await Say(next, CaGeneration.Trust, current, signer, cancellation).ConfigureAwait(false);
    }

    /// <summary>One of many makes the key; it bears the word of the CA that signs now, so nobody can have one of theirs in its place.</summary>
    private async Task<X509SignatureGenerator> MakeKey(
        int number, CaGeneration current, CertificateAuthority signer, KeyAlgorithm algorithm, string? kmsKey, CancellationToken cancellation)
    {
        var (key, inKms) = (CaGeneration.File(number, CaGeneration.KeyFile), CaGeneration.File(number, CaGeneration.KmsFile));
        var isInKms = await store.Read(inKms, cancellation).ConfigureAwait(false) is not null;
        var isFile = await store.Read(key, cancellation).ConfigureAwait(false) is not null;
        if (isFile && (isInKms || kmsKey is not null))
        {
            throw new CaException($"{store.Name} has {key}, so the key of the next CA is not in KMS: what it is, is decided once");
        }

        if (isInKms || kmsKey is not null)
        {
            if (!isInKms)
            {
                var (found, _) = await ClusterAuthorities.FindInKms(kmsKey!, kms, cancellation).ConfigureAwait(false);
                var sealedKey = Signed(() => CaGeneration.SealKey(inKms, found.Arn + "\n", Encoding.ASCII.GetBytes(found.Arn), current, signer));
                await Create(inKms, sealedKey, cancellation).ConfigureAwait(false);
            }

            var text = Encoding.UTF8.GetString((await store.Read(inKms, cancellation).ConfigureAwait(false))!);
            var arn = ClusterAuthorities.Arn(text);
            CheckSeal(inKms, text, Encoding.ASCII.GetBytes(arn), current);
            return await ClusterAuthorities.InKms(arn, kms, cancellation).ConfigureAwait(false);
        }

        if (!isFile)
        {
            using var fresh = algorithm.NewKey();
            var pem = Signed(() => CaGeneration.SealKey(key, Pem.Write(fresh), fresh.ExportSubjectPublicKeyInfo(), current, signer));
            await Create(key, pem, cancellation, isSecret: true).ConfigureAwait(false);
            CryptographicOperations.ZeroMemory(pem);
        }

        var content = Encoding.UTF8.GetString((await store.Read(key, cancellation).ConfigureAwait(false))!);
        var there = ClusterAuthorities.Key(content, $"{store.Name}: {key}");
        CheckSeal(key, content, there.ExportSubjectPublicKeyInfo(), current);
        return CertificateAuthority.Generator(there);
    }

    private void CheckSeal(string file, string content, byte[] publicKey, CaGeneration current)
    {
        if (!CaGeneration.IsSealedKey(file, content, publicKey, current))
        {
            throw new CaException(
                $"{store.Name}: {file} does not bear the signature of {current.File(CaGeneration.CertificateFile)}: somebody else put it there. "
                + "Find out who, and remove it");
        }
    }

    private async Task<CertificateAuthority> Load(CaGeneration generation, CancellationToken cancellation)
    {
        var (key, inKms) = await ClusterAuthorities.ReadKey(store, generation, kms, cancellation).ConfigureAwait(false);
        try
        {
            return inKms is null ? CertificateAuthority.Load(generation.Certificate, key) : CertificateAuthority.Load(generation.Certificate, inKms);
        }
        catch (CryptographicException e)
        {
            throw new CaException($"{store.Name}: {generation.File(CaGeneration.CertificateFile)}: {e.Message}", e);
        }
    }

    private async Task Say(CaGeneration of, string what, CaGeneration by, CertificateAuthority signer, CancellationToken cancellation)
    {
        await Create(of.File(what), Signed(() => of.Say(what, by, signer, now)), cancellation).ConfigureAwait(false);
        // Somebody may have come first, and it may have been somebody else.
        _ = await of.Said(store, what, by, cancellation).ConfigureAwait(false);
    }

    private async Task Create(string file, byte[] content, CancellationToken cancellation, bool isSecret = false)
    {
        if (await store.Create(file, content, isSecret, cancellation).ConfigureAwait(false))
        {
            _made.Add(file);
        }
    }

    private T Signed<T>(Func<T> sign)
    {
        try
        {
            return sign();
        }
        catch (CryptographicException e)
        {
            throw new CaException($"{store.Name}: {e.Message}", e);
        }
    }
}

/// <param name="Made">Files that this call made.</param>
/// <param name="All">As it is now.</param>
internal sealed record CaRotated(IReadOnlyList<string> Made, CaGenerations All);
