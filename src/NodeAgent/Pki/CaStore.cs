using NodeAgent.Aws;
using NodeAgent.Machine;

namespace NodeAgent.Pki;

/// <summary>Where a cluster's CAs lie: files by kubeadm's names below /etc/kubernetes/pki, as in etcd/ca.key.</summary>
internal interface ICaStore : IDisposable
{
    /// <summary>For messages: a directory, s3://bucket/prefix.</summary>
    string Name { get; }

    /// <returns>Null where there is none.</returns>
    Task<byte[]?> Read(string file, CancellationToken cancellation);

    /// <summary>Of any number who do this at once, for one it is true.</summary>
    /// <param name="isSecret">Whether it is a private key.</param>
    /// <returns>False where there is one already, which stays.</returns>
    Task<bool> Create(string file, byte[] content, bool isSecret, CancellationToken cancellation);
}

/// <summary>For laboratories: whoever reads the directory has the cluster.</summary>
/// <param name="isCredentials">
/// Whether systemd made it of a unit's credentials. It lets their one user read them by an ACL, whose mask is what shows as the group's rights then (acl(5)).
/// </param>
internal sealed class DirectoryCaStore(string directory, bool isCredentials = false) : ICaStore
{
    private readonly UnixFileMode _others = UnixFileMode.OtherRead | (isCredentials ? 0 : UnixFileMode.GroupRead);

    public string Name => directory;

    public Task<byte[]?> Read(string file, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var report = Files.Report($"{directory}/{file}");
        return report.Kind switch
        {
            FileKind.Absent => Task.FromResult<byte[]?>(null),
            FileKind.Regular when report.Content is { } content && (report.Mode & _others) != 0
                && file.EndsWith(".key", StringComparison.Ordinal) => throw new CaException(
                    $"{directory}/{file} can be read by others than its owner: take the key for known to them. A new CA is what mends that; "
                    + "where you know better, chmod 0600"),
            FileKind.Regular when report.Content is { } content => Task.FromResult<byte[]?>(content),
            _ => throw new CaException($"{directory}/{file} is not a regular file of at most 1 MiB"),
        };
    }

    public Task<bool> Create(string file, byte[] content, bool isSecret, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        return Task.FromResult(Files.Create($"{directory}/{file}", content, isSecret ? Files.OwnerOnly : Files.WorldReadable));
    }

    public void Dispose()
    {
    }
}

/// <param name="prefix">Without slashes at its ends; empty for none.</param>
internal sealed class S3CaStore(S3Objects bucket, string prefix) : ICaStore
{
    public string Name => $"s3://{bucket.Bucket}/{prefix}".TrimEnd('/');

    public Task<byte[]?> Read(string file, CancellationToken cancellation) => bucket.Get(Key(file), cancellation);

    public Task<bool> Create(string file, byte[] content, bool isSecret, CancellationToken cancellation) => bucket.Create(Key(file), content, cancellation);

    public void Dispose() => bucket.Dispose();

    private string Key(string file) => prefix.Length == 0 ? file : $"{prefix}/{file}";
}

/// <summary>What is in a store does not make a CA: what it is and what to do about it.</summary>
internal sealed class CaException(string message, Exception? inner = null) : Exception(message, inner);
