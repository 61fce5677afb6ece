using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <summary>
/// Which of our static pods wait for an image: without it nothing of them is to be seen, and kubelet's own word for it takes an API server or kubelet's
/// credentials. The runtime's command line tool is asked, and where it does not answer, nothing is said.
/// </summary>
internal static class PodImages
{
    public static string? Missing(bool isDocker, CancellationToken cancellation)
    {
        using var machine = new LinuxReader(cancellation);
        try
        {
            var run = new ProcessRunner(cancellation);
            return Missing(Wanted(machine), isDocker ? image => Docker(run, image) : Containerd(run));
        }
        catch (ProbeException)
        {
            return null;
        }
    }

    /// <summary>By the manifests that carry our mark.</summary>
    public static IReadOnlyList<(string Pod, string Image)> Wanted(IMachineReader machine)
    {
        var wanted = new List<(string, string)>();
        foreach (var name in machine.Directory(Kubelet.ManifestDirectory))
        {
            var file = machine.File($"{Kubelet.ManifestDirectory}/{name}");
            if (name.EndsWith(".yaml", StringComparison.Ordinal) && Ownership.IsOurs(file))
            {
                wanted.AddRange(Encoding.UTF8.GetString(file.Content!).Split('\n').Select(l => l.Trim())
                    .Where(l => l.StartsWith("image: ", StringComparison.Ordinal))
                    .Select(l => (name[..^".yaml".Length], l["image: ".Length..].Trim('"'))));
            }
        }

        return wanted;
    }

    /// <param name="isThere">Null where the store does not say.</param>
    public static string? Missing(IReadOnlyList<(string Pod, string Image)> wanted, Func<string, bool?> isThere)
    {
        var missing = wanted.Where(w => isThere(w.Image) == false).Select(w => $"static pod {w.Pod} waits for image {w.Image}").ToList();
        return missing.Count == 0 ? null
            : $"{string.Join(", ", missing)}: not in the machine's store, and the registry has not given it (journalctl -u kubelet says why); put it into the "
                + "image, or into images.archives";
    }

    /// <summary>As containerd's store calls it (distribution/reference, ParseDockerRef): of tag and digest the digest is kept.</summary>
    public static string InStore(string image)
    {
        var slash = image.IndexOf('/', StringComparison.Ordinal);
        var host = slash < 0 ? "" : image[..slash];
        var full = host.Contains('.', StringComparison.Ordinal) || host.Contains(':', StringComparison.Ordinal) || host == "localhost" ? image
            : slash < 0 ? $"docker.io/library/{image}" : $"docker.io/{image}";
        var name = full.LastIndexOf('/') + 1;
        var (at, colon) = (full.IndexOf('@', StringComparison.Ordinal), full.IndexOf(':', name));
        return at < 0 ? colon < 0 ? full + ":latest" : full : colon >= 0 && colon < at ? full[..colon] + full[at..] : full;
    }

    private static Func<string, bool?> Containerd(ProcessRunner run)
    {
        var list = run.Run(["ctr", "--namespace", "k8s.io", "images", "list", "--quiet"]);
        var names = list.ExitCode == 0 ? list.Output.Split('\n').Select(l => l.Trim()).ToHashSet(StringComparer.Ordinal) : null;
        return image => names?.Contains(InStore(image));
    }

    private static bool? Docker(ProcessRunner run, string image)
    {
        var result = run.Run(["docker", "image", "inspect", "--format", "{{.Id}}", image]);
        return result.ExitCode == 0 ? true : result.ErrorOutput.Contains("No such image", StringComparison.OrdinalIgnoreCase) ? false : null;
    }
}
