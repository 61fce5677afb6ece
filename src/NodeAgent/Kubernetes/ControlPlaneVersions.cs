namespace NodeAgent.Kubernetes;

/// <summary>What of the control plane's flags depends on the minor.</summary>
internal static class ControlPlaneVersions
{
    /// <summary>
    /// kube-controller-manager and kube-scheduler answer without TLS and credentials, too, unless told not to: until 1.21 and 1.22 (kubernetes#96216, #96345). The
    /// flag that tells them so is gone in 1.24.
    /// </summary>
    public static bool HasInsecurePort(KubernetesVersion version) => version.Minor < 23;

    /// <summary>Tag of registry.k8s.io/etcd, as kubeadm's constants have it.</summary>
    public static string Etcd(KubernetesVersion version) => version.Minor switch
    {
        < 22 => "3.4.13-0",
        < 34 => "3.5.16-0",
        _ => "3.6.4-0",
    };
}
