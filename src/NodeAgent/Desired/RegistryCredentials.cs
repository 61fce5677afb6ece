using System.Text;
using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>
/// What registries ask for, in the one file that serves every runtime: kubelet reads it and hands to the runtime with each pull what that image needs
/// (kubernetes.io/docs/concepts/containers/images, "Configuring nodes to authenticate to a private registry"). So neither containerd nor Docker holds a
/// secret, and nothing restarts when one changes: kubelet reads it again within five minutes (pkg/credentialprovider/defaults.go). Images that the runtime
/// pulls by itself, as the sandbox image, have to be there or open to all.
/// </summary>
internal static class RegistryCredentials
{
    /// <summary>In kubelet's root, where all its versions look first. On a volume as a rule, so what is here comes after the mounts.</summary>
    private const string Path = $"{Kubelet.Root}/config.json";

    public static IReadOnlyList<Resource> Build(NodeConfig config, IReadOnlyList<Resource> mounts)
    {
        var below = mounts.Where(m => Storage.Holds(m.Name, Path)).ToList();
        var accounts = config.Registries.Where(r => r.Value.Password is not null).OrderBy(r => r.Key, StringComparer.Ordinal).ToList();
        if (accounts.Count == 0)
        {
            return [new Leftovers("registry credentials", [Kubelet.Root], new HashSet<string>()) { Needs = below }];
        }

        var entries = new JsonObject();
        foreach (var (host, registry) in accounts)
        {
            // docker.io's own name for itself, as `docker login` writes it.
            entries[host == "docker.io" ? "https://index.docker.io/v1/" : host] = new JsonObject
            {
                ["auth"] = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{registry.Username}:{registry.Password!.Reveal()}")),
            };
        }

        // kubelet passes over fields that it does not know, so the mark can be one.
        var document = new JsonObject { [Ownership.JsonKey] = Ownership.Header, ["auths"] = entries };
        return [new ConfigFile(Concern.Kubelet, Path, Documents.Json(document)) { Mode = ConfigFile.Private, IsSecret = true, Needs = below }];
    }
}
