using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// kubeadm, whose own types of kubelet's and kube-proxy's configuration are strict, has nothing to say against what is written for its version. No guest.
/// </summary>
internal static class KubeadmTypes
{
    private const string Cluster = "apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\nkubernetesVersion: v1.20.2\n---\n";

    /// <summary>As much as can be set.</summary>
    private const string Rich = """
        apiVersion: nodeagent/v1
        kind: NodeConfig
        node:
          taints: [{key: dedicated, value: batch, effect: NoSchedule}]
        kubelet:
          systemReserved: {cpu: 100m, memory: 200Mi}
          kubeReserved: {cpu: 200m, memory: 300Mi, ephemeral-storage: 1Gi}
          credentialProviders: {ecr-credential-provider: {}}
          configuration: {evictionSoft: {memory.available: 300Mi}, evictionSoftGracePeriod: {memory.available: 1m}, imageGCHighThresholdPercent: 70}

        """;

    public static async Task RunAsync(Laboratory lab)
    {
        var kubeadm = Path.Combine(await Caches.KubernetesAsync(), "kubeadm");
        var examples = Path.Combine(Caches.Repository, "examples");
        await File.WriteAllTextAsync(Path.Combine(lab.Folder, "rich.yaml"), Rich);
        List<string> layers = ["common", "customer/globex", "environment/production", "region/us-east-1", "cluster/globex-amber", "role/worker"];
        var layerFiles = layers.Select(layer => Path.Combine(examples, "organisation", layer + ".yaml")).Append(Path.Combine(lab.Folder, "rich.yaml"));
        (await Child.RunAsync(
            Path.Combine(Caches.Repository, "artifacts", "bin", "nodeagent"),
            ["render", .. layerFiles.SelectMany(file => new[] { "--config", file }), "--facts", Path.Combine(examples, "facts", "m3.xlarge.json"), "--out",
                Path.Combine(lab.Folder, "node")],
            TimeSpan.FromMinutes(1))).EnsureSuccess();
        var kubernetes = Path.Combine(lab.Folder, "node", "tree", "etc", "kubernetes");
        var kubelet = await File.ReadAllTextAsync(Path.Combine(kubernetes, "kubelet.yaml"));
        var proxy = await File.ReadAllTextAsync(Path.Combine(kubernetes, "kube-proxy", "config.yaml"));
        kubelet.ShouldContain("evictionSoft:");

        (await WarningsAsync(kubelet + "---\n" + proxy)).ShouldBeEmpty();

        // And it does say so when there is something.
        (await WarningsAsync(kubelet.Replace("maxPods:", "maximumPods:") + "---\n" + proxy)).ShouldContain(line => line.Contains("maximumPods"));
        (await WarningsAsync(kubelet + "---\n" + proxy.Replace("clusterCIDR:", "clusterCidrs:"))).ShouldContain(line => line.Contains("clusterCidrs"));

        async Task<IReadOnlyList<string>> WarningsAsync(string components)
        {
            var file = Path.Combine(lab.Folder, "kubeadm.yaml");
            await File.WriteAllTextAsync(file, Cluster + components);
            // The cheapest of its commands that reads all of a configuration, and needs neither root nor a cluster.
            var result = (await Child.RunAsync(kubeadm, ["config", "images", "list", "--config", file], TimeSpan.FromMinutes(1))).EnsureSuccess();
            // Where strict.go warns. The others are recommendations: its own path of a kubeconfig, a Docker to ask for the cgroup driver.
            return [.. result.Error.Split('\n').Where(line => line.Contains("strict.go", StringComparison.Ordinal))];
        }
    }
}
