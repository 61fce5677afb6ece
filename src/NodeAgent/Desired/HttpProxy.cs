using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>The proxy in the environment of runtime and kubelet. In upper case: that is what Go reads, and both are written in it.</summary>
internal static class HttpProxy
{
    /// <summary>Holds the variables where a URL has a password: what stands in a unit is shown to everybody (systemctl show).</summary>
    public const string EnvironmentFile = "/etc/nodeagent/proxy.env";

    /// <summary>What runtime and kubelet read when they start, beside their units.</summary>
    public static IReadOnlyList<Resource> Files(NodeConfig config) => config.Proxy is { } proxy && HasPassword(proxy)
        ?
        [
            new ConfigFile(
                Concern.Runtime, EnvironmentFile, string.Concat([Ownership.Header, "\n", .. Variables(proxy, config).Select(v => $"{v.Name}=\"{v.Value}\"\n")]))
            {
                Mode = ConfigFile.Private,
                IsSecret = true,
            },
        ]
        : [];

    /// <summary>What follows [Service] in their drop-ins, from its line break on; empty without a proxy.</summary>
    public static string ServiceLines(NodeConfig config) => config.Proxy is not { } proxy ? ""
        : HasPassword(proxy) ? $"\nEnvironmentFile={EnvironmentFile}"
        // Nothing to escape (systemd.exec(5)): without a user, neither % nor quotes nor backslashes get past the configuration's checks.
        : string.Concat(Variables(proxy, config).Select(v => $"\nEnvironment=\"{v.Name}={v.Value}\""));

    private static IEnumerable<(string Name, string Value)> Variables(HttpProxyConfig proxy, NodeConfig config)
    {
        if (proxy.Http is { } http)
        {
            yield return ("HTTP_PROXY", http.Reveal());
        }

        if (proxy.Https is { } https)
        {
            yield return ("HTTPS_PROXY", https.Reveal());
        }

        yield return ("NO_PROXY", string.Join(',', ProxyExceptions.Of(proxy, config)));
    }

    private static bool HasPassword(HttpProxyConfig proxy) =>
        new[] { proxy.Http, proxy.Https }.Any(u => u is not null && new Uri(u.Reveal()).UserInfo.Length > 0);
}
