namespace NodeAgent.Kubernetes;

/// <summary>What an image says of its version by its tag.</summary>
internal static class ImageTag
{
    /// <summary>As in registry.k8s.io/kube-apiserver:v1.28.15@sha256:...; a port is not a tag.</summary>
    /// <returns>Null where there is none.</returns>
    public static string? Of(string image)
    {
        var name = image.Split('@')[0];
        var colon = name.LastIndexOf(':');
        return colon > name.LastIndexOf('/') ? name[(colon + 1)..] : null;
    }
}
