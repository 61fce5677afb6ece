namespace NodeAgent.Kubernetes;

/// <summary>What nodes need of the API beside what kube-apiserver makes by itself.</summary>
internal static class NodeObjects
{
    public const string ControlPlaneLabel = "node-role.kubernetes.io/control-plane";

    /// <summary>
    /// Administrators and kube-apiserver as kubelets' client are of a group that RBAC binds, as kubeadm does from 1.29 (kubernetes#121305). kube-proxy's
    /// binding is among kube-apiserver's own defaults, where an administrator may have taken it away; it is called by the name of our certificate.
    /// </summary>
    public const string Manifests = """
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata:
          name: kubeadm:cluster-admins
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: cluster-admin
        subjects:
        - apiGroup: rbac.authorization.k8s.io
          kind: Group
          name: kubeadm:cluster-admins
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata:
          name: nodeagent:kube-proxy
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: system:node-proxier
        subjects:
        - apiGroup: rbac.authorization.k8s.io
          kind: User
          name: system:kube-proxy

        """;
}
