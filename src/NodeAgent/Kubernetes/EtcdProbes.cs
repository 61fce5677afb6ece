namespace NodeAgent.Kubernetes;

/// <summary>What kubelet may ask an etcd from one release on, at the address of its metrics.</summary>
/// <param name="Since">The first release of its minor, or of a newer one, for which it holds.</param>
/// <param name="Alive">
/// Answers 200 from when its data is loaded, while another start would mend nothing: it must not hang on a leader or on alarms. Of the start as well.
/// </param>
/// <param name="Ready">Answers 200 once the member serves.</param>
/// <param name="Source">Where that is written.</param>
internal sealed record EtcdProbes(Version Since, string Alive, string Ready, string Source)
{
    private const string Metrics = "/metrics";
    private const string Health = "/health";

    public static readonly IReadOnlyList<EtcdProbes> All =
    [
        // /health is a linearizable read, whatever is asked of it: an etcd is killed that waits for a leader. kubeadm of that time asked it all the same.
        new(new(3, 4, 0), Metrics, Health, "etcdhttp/metrics.go of 3.4: /metrics and /health at the same address; kubernetes/kubeadm#2567"),
        new(new(3, 4, 29), "/livez", "/readyz", "announcement of etcd 3.6.0, livez / readyz checks"),
        new(new(3, 5, 0), Metrics, Health, "as 3.4.0"),
        new(new(3, 5, 3), $"{Health}?exclude=NOSPACE&serializable=true", $"{Health}?serializable=false", "etcd-io/etcd#13706; kubernetes#110072, #110744"),
        new(new(3, 5, 11), "/livez", "/readyz", "etcd-io/etcd#17039; kubernetes#124465"),
    ];

    /// <param name="tag">Of its image, as in 3.5.15-0 or v3.5.9.</param>
    /// <returns>What all have where the tag does not say which etcd it is.</returns>
    public static EtcdProbes Of(string? tag) => ReleaseNumber.Parse(tag) is { Major: 3 } number
        ? All.LastOrDefault(p => p.Since <= new Version(number.Major, number.Minor, Math.Max(number.Build, 0))) ?? All[0]
        : All[0];
}
