namespace NodeAgent.Lab;

/// <summary>What is slow to make and kept outside the tree. The scripts in build/ make it, keyed by what goes in, and print where it is.</summary>
internal static class Caches
{
    public static readonly string Repository = FindRepository();
    public static readonly string Sources = Path.Combine(Repository, "tests", "Lab");
    public static readonly string Artifacts = Path.Combine(Repository, "artifacts", "lab");

    private static readonly Dictionary<string, Task<string>> Built = [];

    /// <summary>root/, root.ext4, store.ext4, vmlinuz, initrd</summary>
    public static Task<string> GuestAsync() => BuildAsync("guest-root");

    /// <summary>kubelet, kube-proxy, kubectl, kubeadm, kube-apiserver, kube-controller-manager, kube-scheduler</summary>
    public static Task<string> KubernetesAsync() => BuildAsync("kubernetes");

    /// <summary>Archives of what a control plane runs, and of a pod to try it with.</summary>
    public static Task<string> ClusterImagesAsync() => BuildAsync("cluster-images");

    /// <summary>A root with moto_server.</summary>
    public static Task<string> MotoAsync() => BuildAsync("moto-root");

    public static string Root =>
        Environment.GetEnvironmentVariable("NODEAGENT_CACHE")
        ?? Path.Combine(
            Environment.GetEnvironmentVariable("XDG_CACHE_HOME") ?? Path.Combine(Environment.GetEnvironmentVariable("HOME") ?? "/root", ".cache"),
            "nodeagent");

    public static async Task PrerequisitesAsync() => (await ScriptAsync("prerequisites")).EnsureSuccess();

    private static Task<string> BuildAsync(string script)
    {
        lock (Built)
        {
            return Built.TryGetValue(script, out var running) ? running : Built[script] = RunAsync();
        }

        async Task<string> RunAsync()
        {
            var result = (await ScriptAsync(script)).EnsureSuccess();
            return result.Output.TrimEnd().Split('\n')[^1];
        }
    }

    private static Task<CommandResult> ScriptAsync(string script) =>
        Child.RunAsync(Path.Combine(Sources, "build", script + ".sh"), [], TimeSpan.FromMinutes(45));

    private static string FindRepository()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "NodeAgent.sln")))
            {
                return folder.FullName;
            }
        }

        throw new LabException($"no NodeAgent.sln above {AppContext.BaseDirectory}: run the laboratory from a checkout");
    }
}
