using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>CAs that the machine trusts beside the distribution's, as Debian and Ubuntu take them: files, and a bundle that a program makes of them.</summary>
/// <param name="Bundle">What runtime and kubelet read once, when they first need it: they are restarted for it.</param>
internal sealed record Trust(IReadOnlyList<Resource> Resources, Resource Bundle)
{
    public static Trust Build(NodeConfig config)
    {
        var certificates = (config.Trust?.Certificates ?? new Dictionary<string, string>()).OrderBy(c => c.Key, StringComparer.Ordinal).ToList();
        var files = certificates.Select(
            Resource (c) => new ConfigFile(Concern.Certificates, $"{TrustBundle.Directory}/nodeagent-{c.Key}.crt", $"{Ownership.Header}\n{c.Value.Trim()}\n"))
                .ToList();
        // Of their own, since a certificate that goes is a new bundle, and other leftovers are not.
        var leftovers = new Leftovers("trusted certificates", [TrustBundle.Directory], files.Select(f => f.Name).ToHashSet(StringComparer.Ordinal));
        var bundle = new TrustBundle([.. certificates.Select(c => c.Value)]) { Needs = [.. files, leftovers], Inputs = [.. files, leftovers] };
        return new Trust([.. files, leftovers, bundle], bundle);
    }
}
