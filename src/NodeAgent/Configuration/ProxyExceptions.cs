namespace NodeAgent.Configuration;

/// <summary>Whom a proxy is never asked for: NO_PROXY, as Go reads it (golang.org/x/net/http/httpproxy) and the agent itself.</summary>
internal static class ProxyExceptions
{
    /// <summary>Instance metadata is this instance's own: a proxy would hand out its own role, and see this one's. Loopback is this machine's.</summary>
    private static readonly string[] Always = ["127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "localhost"];

    /// <summary>What holds without knowing the cluster.</summary>
    public static IReadOnlyList<string> Of(HttpProxyConfig proxy) => [.. Always.Union(proxy.NoProxy)];

    /// <summary>For what runs on the node: the cluster's own ranges, names and API server, too.</summary>
    public static IReadOnlyList<string> Of(HttpProxyConfig proxy, NodeConfig config)
    {
        var cluster = config.Cluster;
        string?[] own =
            [cluster.Domain, cluster.Endpoint.DnsSafeHost, cluster.ServiceRange.ToString(), (cluster.PodRange ?? config.Network.PodRange)?.ToString()];
        return [.. Of(proxy).Union(own.OfType<string>())];
    }
}
