using System.Security.Cryptography;
using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// What kube-apiserver encrypts in etcd, and the keys, which all control planes have from the store. The store is asked only where the file is missing or
/// cannot be right; a key that was added there comes with a rotation and is not noticed here. secretbox, since it is authenticated and takes nobody else's
/// service: aescbc is open to padding oracles, aesgcm must not write often with one key, kms asks for a plugin
/// (https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/, "Available providers").
/// </summary>
/// <param name="resources">None: nothing is to be encrypted, and nothing may be left that is. That nothing is, nobody but an operator can say.</param>
/// <param name="writes">
/// Whether what is written is encrypted; what is read is decrypted in any case. Without resources, false is the operator's word that nothing is left.
/// </param>
internal sealed class EncryptionConfiguration(string instance, IReadOnlyList<string> resources, bool writes, ICertificateSource source)
    : Resource<EncryptionConfiguration.State>(Concern.Certificates, "key", PathOfIt)
{
    public const string PathOfIt = "/etc/kubernetes/encryption/config.yaml";

    public bool IsWanted => resources.Count > 0;

    /// <summary>Somebody has said that nothing is encrypted any more: once the API server does without it, the file goes.</summary>
    public bool IsEnded => resources.Count == 0 && !writes;

    private const string SecretField = "secret: ";

    private const string Plain = "  - identity: {}\n";

    private const string PlainFirst = "  providers:\n" + Plain;

    private IReadOnlyList<string> _notes = [];

    internal sealed record State(FileReport File, Func<Change, Finding> Ask);

    protected override State Nothing { get; } = new(FileReport.Absent, change => change);

    protected override State Observe(IMachineReader reader) => new(reader.File(Name), source.Ask);

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending)
    {
        var file = state.File;
        if (file.Kind is FileKind.Directory or FileKind.Other)
        {
            return new Refused("something that is not a file is in its place", $"look at it, then move it away: {Name}");
        }

        if (resources.Count == 0)
        {
            return WithoutResources(file);
        }

        if (file.Kind != FileKind.Regular)
        {
            return state.Ask(new Change(file.Kind == FileKind.Absent ? "not there" : "is not a regular file"));
        }

        // A recording has no more than a digest of it.
        if (file.Content is not { } content)
        {
            return file.Digest is not null ? InSync.Instance : new Refused("is larger than any such file", $"look at it, then move it away: {Name}");
        }

        var text = Encoding.UTF8.GetString(content);
        var keys = Keys(text);
        return keys.Count == 0 ? state.Ask(new Change("holds no key"))
            : Ownership.InstanceOf(file) is var origin && origin != instance
                ? state.Ask(new Change(origin is null ? "is not marked as ours" : $"is a copy that {origin} kept"))
            : file.Mode != ConfigFile.Private ? new Change($"mode is {file.Mode.Octal()}, should be 0600")
            {
                Notes =
                    [$"{Name} could be read by others on this machine: whoever did and has a copy of etcd's data can read what is encrypted; think of "
                        + "a new key"],
            }
            : text != Render(keys) ? new Change("what is encrypted differs")
            : InSync.Saying(_notes);
    }

    /// <summary>What is in etcd nobody sees from here. So each step has to be said, and the one before it must have been taken on this machine.</summary>
    private Finding WithoutResources(FileReport file)
    {
        const string steps = "the resources as before and apiServer.encryption.write: false; "
            + "then write all of them anew (kubectl get secrets -A -o json | kubectl replace -f -); "
            + "and only then no resources, still with write: false, which takes the keys off this node (docs/control-plane.md)";
        if (file.Kind == FileKind.Absent)
        {
            return InSync.Instance;
        }

        if (!IsEnded)
        {
            return new Refused("apiServer.encryption.resources is empty, and what was encrypted with these keys could not be read any more", $"say {steps}");
        }

        // It is not pruned, and may lead to keys.
        if (file.Kind == FileKind.Link)
        {
            return new Refused("is not a file of ours", $"look at it, then move it away: {Name}");
        }

        // A recording has no more than a digest of it.
        return file.Content is not { } content ? InSync.Instance
            : !Encoding.UTF8.GetString(content).Contains(PlainFirst, StringComparison.Ordinal)
                ? new Refused("apiServer.encryption.resources is empty, and this node's API server encrypts what it writes, up to now", $"say first {steps}")
            : Ownership.InstanceOf(file) is null
                ? InSync.Saying([$"{Name} does not carry our mark, so it stays: it holds keys; remove it by hand"])
            : InSync.Instance;
    }

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation)
    {
        var standing = state.File is { Kind: FileKind.Regular, Content: { } content } && Ownership.InstanceOf(state.File) == instance
            ? Keys(Encoding.UTF8.GetString(content))
            : [];
        var bytes = Encoding.UTF8.GetBytes(Render(standing.Count > 0 ? standing : source.EncryptionKeys().Reveal().Split('\n')));
        writer.WriteFile(Name, bytes, ConfigFile.Private);
        CryptographicOperations.ZeroMemory(bytes);
        _notes = change.Notes;
    }

    private string Render(IReadOnlyList<string> keys)
    {
        var text = new StringBuilder(
            $"{Ownership.KeyHeader(instance)}\napiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources:\n");
        foreach (var resource in resources)
        {
            text.Append($"  - {resource}\n");
        }

        text.Append(writes ? "  providers:\n" : PlainFirst);
        text.Append("  - secretbox:\n      keys:\n");
        foreach (var key in keys)
        {
            // etcd's values name the key that they need.
            var id = Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(key)))[..8];
            text.Append($"      - name: key-{id}\n        {SecretField}{key}\n");
        }

        return text.Append(writes ? Plain : "").ToString();
    }

    private static List<string> Keys(string text) => [.. text.Split('\n').Select(l => l.Trim()).Where(l => l.StartsWith(SecretField, StringComparison.Ordinal))
        .Select(l => l[SecretField.Length..].Trim('"')).Where(k => k.Length == 44)];
}
