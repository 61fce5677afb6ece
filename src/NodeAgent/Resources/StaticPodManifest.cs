using System.Security.Cryptography;
using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Resources;

/// <summary>
/// The manifest of a static pod, with a digest of the files that the pod reads only as it starts: when one of them is renewed, the manifest changes, and
/// kubelet makes the pod anew. Keys are seen by their public half alone.
/// </summary>
/// <param name="reads">Files by path, each looked after by a resource that is among <see cref="Resource.Needs"/> and <see cref="Resource.Inputs"/>.</param>
/// <param name="render">The manifest's text, by the digest.</param>
internal sealed class StaticPodManifest(string path, IReadOnlyList<PodInput> reads, Func<string, string> render)
    : Resource<StaticPodManifest.State>(Concern.StaticPods, "file", path)
{
    /// <summary>The annotation.</summary>
    public const string DigestName = "nodeagent/inputs";

    private const string DigestKey = DigestName + ":";

    private static readonly FileReport NoFile = FileReport.Absent;

    /// <param name="Text">What the manifest shall say.</param>
    /// <param name="IsOwed">An input was about to change, and nobody has seen the end of that.</param>
    internal sealed record State(FileReport File, string Text, bool IsOwed);

    protected override State Nothing => new(NoFile, OnNothing, false);

    /// <summary>The manifest where nothing of what the pod reads is there yet.</summary>
    public string OnNothing => render("sha256:-");

    /// <summary>A renewal is no adoption of new configuration: of a manifest that stands, only the digest follows.</summary>
    public bool OnlyDigest { get; set; }

    // Not an owed restart of a unit: kubelet sees the manifest. It makes a renewal that was cut short come back to it (CertificateRenewal.NothingDue).
    private string OwedPath => $"{OwedRestart.Directory}/{Path.GetFileNameWithoutExtension(Name)}.pod";

    protected override State Observe(IMachineReader reader)
    {
        var (file, digest) = (reader.File(Name), Digest(reader));
        var text = OnlyDigest && file.Content is { } standing && Ownership.IsOurs(file)
            ? string.Join('\n', Encoding.UTF8.GetString(standing).Split('\n').Select(l =>
                l.TrimStart().StartsWith(DigestKey, StringComparison.Ordinal)
                    ? $"{l[..(l.IndexOf(DigestKey, StringComparison.Ordinal) + DigestKey.Length)]} {digest}"
                    : l))
            : render(digest);
        return new(file, text, reader.File(OwedPath).Kind != FileKind.Absent);
    }

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending)
    {
        var (file, text) = (state.File, state.Text);
        if (file.Kind is FileKind.Directory or FileKind.Other)
        {
            return new Refused("something that is not a file is in its place", $"look at it, then move it away: {Name}");
        }

        if (file.Kind == FileKind.Regular && !Ownership.IsOurs(file))
        {
            // Behind it may be a cluster's data, in another directory or by other names.
            return new Refused(
                "it is somebody else's manifest (kubeadm's, perhaps), not marked as ours by its first line",
                $"say controlPlane.staticPods: false to leave the control plane to them, or move the manifest away: {Name}");
        }

        return file.Kind == FileKind.Absent ? new Change("not there", Disruption.RecreatesPods, UnifiedDiff.Of("", text))
            : file.Kind == FileKind.Link ? new Change($"is a link to {file.Target}", Disruption.RecreatesPods)
            : pending.Count > 0 ? new Change($"made anew, because {Restart.Because(pending)}", Disruption.RecreatesPods)
            : !file.Matches(Encoding.UTF8.GetBytes(text))
                ? new Change("content differs", Disruption.RecreatesPods, UnifiedDiff.Of(Encoding.UTF8.GetString(file.Content ?? []), text))
            : file.Mode != ConfigFile.Readable ? new Change($"mode is {file.Mode.Octal()}, should be 0644") { LeavesContent = true }
            : state.IsOwed ? new Change($"{OwedPath} is left over") { LeavesContent = true }
            : InSync.Instance;
    }

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation)
    {
        if (change.Disruption != Disruption.None || state.File.Mode != ConfigFile.Readable)
        {
            writer.WriteFile(Name, Encoding.UTF8.GetBytes(state.Text), ConfigFile.Readable);
        }

        if (state.IsOwed)
        {
            writer.DeleteFile(OwedPath);
        }
    }

    /// <summary>Where no manifest stands, no pod has read anything.</summary>
    public override void InputWillChange(Resource input, Change change, IMachineReader reader, IMachineWriter writer)
    {
        if (reader.File(Name).Kind == FileKind.Regular && reader.File(OwedPath).Kind == FileKind.Absent)
        {
            writer.WriteFile(OwedPath, Encoding.UTF8.GetBytes($"{Name} is to follow {input.Id}\n"), ConfigFile.Private);
        }
    }

    private string Digest(IMachineReader reader)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var input in reads)
        {
            Add(Encoding.UTF8.GetBytes(input.Path));
            switch (input.Kind)
            {
                case PodInputKind.Key:
                    var key = reader.PrivateKey(input.Path);
                    Add(key.PublicKey ?? []);
                    foreach (var certificate in key.Certificates ?? [])
                    {
                        Add(certificate);
                    }

                    break;
                case PodInputKind.Secret:
                    // What a recording has of it, too.
                    var secret = reader.File(input.Path);
                    Add(secret.Digest?.Value ?? (secret.Content is { } withheld ? ContentDigest.Of(input.Path, withheld).Value : []));
                    break;
                default:
                    Add(reader.File(input.Path).Content ?? []);
                    break;
            }
        }

        return $"sha256:{Convert.ToHexStringLower(hash.GetHashAndReset())}";

        void Add(byte[] part)
        {
            hash.AppendData(BitConverter.GetBytes(part.Length));
            hash.AppendData(part);
        }
    }
}

/// <summary>A file that a pod reads as it starts, and not again.</summary>
internal sealed record PodInput(string Path, PodInputKind Kind);

internal enum PodInputKind
{
    /// <summary>Everybody may read it.</summary>
    Public,

    /// <summary>A private key, PEM or in a kubeconfig, with its certificate or without.</summary>
    Key,

    Secret,
}
