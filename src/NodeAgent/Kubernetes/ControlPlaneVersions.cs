namespace NodeAgent.Kubernetes;

/// <summary>What kubeadm of one minor sets up beside the images that bear the minor's own number. docs/versions.md tells how the rows were recorded.</summary>
/// <param name="EtcdTag">Of the image etcd.</param>
/// <param name="PauseTag">Of the image pause, the sandbox of a pod.</param>
/// <param name="Source">Where that is written, with the newest release of the minor that it was read of.</param>
internal sealed record ControlPlaneVersion(int Minor, string EtcdTag, string PauseTag, string Source)
{
    public KubernetesVersion Version => new(1, Minor);
}

internal static class ControlPlaneVersions
{
    private const string Minikube = "minikube constants_kubeadm_images.go";
    private const string Constants = "cmd/kubeadm/app/constants/constants.go";

    public static readonly IReadOnlyList<ControlPlaneVersion> All =
    [
        new(20, "3.4.13-0", "3.2", $"1.20.15: {Minikube}"),
        new(21, "3.4.13-0", "3.4.1", $"1.21.9: {Minikube}"),
        // 1.22.0 to 1.23.3 came with 3.5.0 and 3.5.1, whose data can become inconsistent (etcd-io/etcd#13766, mended in 3.5.3): the tag is 1.23.17's.
        new(22, "3.5.6-0", "3.5", $"1.23.17, since 1.22.6 has etcd 3.5.0: {Minikube}; etcd-io/etcd#13766"),
        new(23, "3.5.6-0", "3.6", $"1.23.17: {Minikube}"),
        new(24, "3.5.6-0", "3.7", $"1.24.17: {Minikube}"),
        new(25, "3.5.9-0", "3.8", $"1.25.16: {Minikube}"),
        new(26, "3.5.10-0", "3.9", $"1.26.15: {Minikube}"),
        new(27, "3.5.12-0", "3.9", $"1.27.16: {Minikube}"),
        new(28, "3.5.15-0", "3.9", $"1.28.15: {Minikube}"),
        new(29, "3.5.15-0", "3.9", $"1.29.10: {Minikube}"),
        new(30, "3.5.15-0", "3.9", $"1.30.6: {Minikube}"),
        new(31, "3.5.24-0", "3.10", $"the row of 1.31 in {Constants} of the branch of 1.32; pause of 1.31.2: {Minikube}"),
        new(32, "3.5.24-0", "3.10", $"{Constants} of the branch of 1.32"),
        new(33, "3.5.24-0", "3.10", $"the row of 1.33 in a copy of {Constants} with 1.34; pause as before"),
        new(34, "3.6.5-0", "3.10.1", $"the row of 1.34 in a copy of {Constants}; pause of 1.34.0: lists of its images"),
        new(35, "3.6.6-0", "3.10.1", "kubernetes#135271; pause: kubeadm's constant, as cited by others"),
        new(36, "3.6.8-0", "3.10.2", "kubeadm config images pull of 1.36.5, kubernetes#137225"),
    ];

    /// <returns>The row of the version; of the newest in the table for one that is newer, of the oldest for one that is older.</returns>
    public static ControlPlaneVersion Nearest(KubernetesVersion version) =>
        version.CompareTo(All[^1].Version) > 0 ? All[^1] : All.FirstOrDefault(v => v.Version == version) ?? All[0];

    /// <summary>
    /// kube-controller-manager and kube-scheduler answer without TLS and credentials, too, unless told not to: until 1.21 and 1.22 (kubernetes#96216, #96345).
    /// The flag that tells them so is gone in 1.24.
    /// </summary>
    public static bool HasInsecurePort(KubernetesVersion version) => version.Minor < 23;
}
