using System.Security.Cryptography;
using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Pki;

namespace NodeAgent.Resources;

/// <summary>
/// A control plane node's copy of the key by which the tokens of service accounts are signed, and its public half. All control planes have the same, so it is
/// never made here: it comes from the store, which is asked only where the copy is missing or cannot be right.
/// </summary>
/// <param name="instance">The ID of the instance that keeps this copy: an image that was baked from another brings one of another cluster, perhaps.</param>
internal sealed class ServiceAccountKey(string instance, ICertificateSource source)
    : Resource<ServiceAccountKey.State>(Concern.Certificates, "key", RoleTable.ServiceAccount.KeyPath)
{
    private static readonly string PublicPath = RoleTable.ServiceAccount.PublicPath;

    /// <summary>What is to be known of a change, once it was made.</summary>
    private IReadOnlyList<string> _notes = [];

    internal sealed record State(KeyReport Key, FileReport Public, Func<Change, Finding> Ask);

    protected override State Nothing { get; } = new(KeyReport.Absent, FileReport.Absent, change => change);

    protected override State Observe(IMachineReader reader) => new(reader.PrivateKey(Name), reader.File(PublicPath), source.Ask);

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending)
    {
        var (key, shared) = (state.Key, state.Public);
        if (key.Kind == FileKind.Directory || shared.Kind == FileKind.Directory)
        {
            return new Refused($"{(key.Kind == FileKind.Directory ? Name : PublicPath)} is a directory", "move it away: a file belongs there");
        }

        if (key.Kind == FileKind.Regular && key.PublicKey is not null && key.Mode != ConfigFile.Private)
        {
            // The cluster has one, so it cannot be made anew by one node's agent.
            return state.Ask(new Change($"mode is {key.Mode.Octal()}, should be 0600")
            {
                Notes =
                [
                    $"{Name} could be read by others on this machine: whoever did can make tokens of every service account; think of a new key for the cluster",
                ],
            });
        }

        var why = key.Kind == FileKind.Absent ? "not there"
            : key.Kind != FileKind.Regular ? "is not a regular file"
            : key.PublicKey is null ? "holds no key that can be read"
            : Ownership.InstanceOf(key) is { } origin && origin != instance ? $"is a copy that {origin} kept"
            : shared.Kind == FileKind.Absent ? $"{PublicPath} is not there"
            : !Holds(shared, key.PublicKey) ? $"{PublicPath} is not its public half"
            : null;
        return why is not null ? state.Ask(new Change(why))
            : shared.Mode != ConfigFile.Readable
                ? new Change($"mode of {PublicPath} is {shared.Mode.Octal()}, should be 0644") { LeavesContent = true }
            : InSync.Saying(_notes);
    }

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation)
    {
        if (change.LeavesContent)
        {
            writer.WriteFile(PublicPath, state.Public.Content!, ConfigFile.Readable);
            return;
        }

        var mark = $"{Ownership.KeyHeader(instance)}\n";
        var pem = source.ServiceAccountKey().Reveal();
        string shared;
        try
        {
            using var key = ClusterAuthorities.Key(pem, "what the store has for the key of service accounts");
            shared = key.ExportSubjectPublicKeyInfoPem() + "\n";
        }
        catch (CaException e)
        {
            throw new MachineException(Id, e.Message, e);
        }

        var content = Encoding.ASCII.GetBytes($"{mark}{pem.Trim()}\n");
        writer.WriteFile(Name, content, ConfigFile.Private);
        CryptographicOperations.ZeroMemory(content);
        writer.WriteFile(PublicPath, Encoding.ASCII.GetBytes(mark + shared), ConfigFile.Readable);
        _notes = change.Notes;
    }

    private static bool Holds(FileReport file, byte[] publicKey) => file.Content is { } content
        && Encoding.UTF8.GetString(content).Contains(PemEncoding.WriteString("PUBLIC KEY", publicKey), StringComparison.Ordinal);
}
