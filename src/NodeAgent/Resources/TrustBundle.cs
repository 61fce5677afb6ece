using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Pki;

namespace NodeAgent.Resources;

/// <summary>
/// The bundle of CAs that everything on this machine trusts: that those of ours are in it, and no others of ours. update-ca-certificates(8) puts it together
/// from files and copies them whole, so that the line by which ours are known is in the bundle, too.
/// </summary>
/// <param name="certificates">PEM.</param>
internal sealed class TrustBundle(IReadOnlyList<string> certificates) : Resource<TrustBundle.State>(Concern.Certificates, "trust bundle", Path)
{
    public const string Path = "/etc/ssl/certs/ca-certificates.crt";

    /// <summary>Where certificates of the machine's administrator are taken from, one a file named *.crt.</summary>
    public const string Directory = "/usr/local/share/ca-certificates";

    private readonly HashSet<string> _wanted = [.. certificates.SelectMany(c => Pem.Certificates(c)).Select(Convert.ToBase64String)];

    /// <param name="Ours">Base64 of the certificates in the bundle that carry our mark.</param>
    internal sealed record State(IReadOnlySet<string> Ours);

    protected override State Nothing => new(new HashSet<string>());

    protected override State Observe(IMachineReader reader) => reader.File(Path) is { Kind: FileKind.Regular } file
        ? new(OursIn(file.Content ?? throw new ProbeException(Path, "is larger than 1 MiB")))
        : Nothing;

    protected override Finding Diff(State state, IReadOnlyList<Resource> pending)
    {
        var why = new List<string>();
        Add(_wanted.Except(state.Ours).Count(), "lacks", "of ours");
        Add(state.Ours.Except(_wanted).Count(), "still holds", "that nobody wants any more");
        return why.Count > 0 ? new Change(string.Join("; ", why))
            : pending.Count > 0 ? new Change($"to be put together again, because {Restart.Because(pending)}")
            : InSync.Instance;

        void Add(int count, string what, string whose)
        {
            if (count > 0)
            {
                why.Add(FormattableString.Invariant($"{what} {count} {(count == 1 ? "certificate" : "certificates")} {whose}"));
            }
        }
    }

    protected override void Apply(IMachineWriter writer, State state, Change change, CancellationToken cancellation) => writer.UpdateTrustBundle();

    private static HashSet<string> OursIn(byte[] bundle)
    {
        var ours = new HashSet<string>();
        var rest = bundle.AsSpan();
        // Most bundles hold none, and are long: no text is made of what does not matter.
        for (int at; (at = rest.IndexOf(Ownership.FileMark)) >= 0;)
        {
            rest = rest[(at + Ownership.FileMark.Length)..];
            var end = rest.IndexOf("-----END CERTIFICATE-----"u8);
            if (end < 0)
            {
                break;
            }

            end += "-----END CERTIFICATE-----".Length;
            ours.UnionWith(Pem.Certificates(Encoding.ASCII.GetString(rest[..end])).Select(Convert.ToBase64String));
            rest = rest[end..];
        }

        return ours;
    }
}
