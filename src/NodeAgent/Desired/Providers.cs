using System.Globalization;
using System.Text.Json.Nodes;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Kubernetes;
using NodeAgent.Resources;

namespace NodeAgent.Desired;

/// <summary>Who tells kubelet about its cloud and gives it credentials for images: its own code once, others' since.</summary>
internal static class Providers
{
    public const string CredentialsPath = "/etc/kubernetes/credential-providers.yaml";

    // What in-tree ECR credentials were for (kubernetes 1.26, pkg/credentialprovider/aws/aws_credentials.go: partitions by their domains).
    private static readonly string[] EcrImages =
        ["*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com.cn", "*.dkr.ecr-fips.*.amazonaws.com", "*.dkr.ecr.us-iso-east-1.c2s.ic.gov",
            "*.dkr.ecr.us-isob-east-1.sc2s.sgov.gov"];

    public static IReadOnlyList<Resource> Files(NodeConfig config, KubernetesVersion kubelet) => config.Kubelet.CredentialProviders.Count == 0
        ? []
        : [new ConfigFile(Concern.Kubelet, CredentialsPath, Documents.Yaml(Credentials(config, kubelet)))];

    /// <summary>Flags without their dashes.</summary>
    /// <exception cref="NotPossibleException">This kubelet has no such provider.</exception>
    public static IEnumerable<(string Name, string Value)> Flags(NodeConfig config, KubernetesVersion kubelet)
    {
        // kubernetes#115838 took the AWS code out of 1.27; --cloud-provider itself stays, for external.
        if (config.Kubelet.CloudProvider == CloudProvider.Aws && kubelet.IsAtLeast(1, 27))
        {
            throw new NotPossibleException(
                $"kubelet.cloudProvider is aws and kubelet is {kubelet}: its own AWS provider is gone from 1.27 (kubernetes#115838). "
                + "Run the AWS cloud controller manager in the cluster and set kubelet.cloudProvider: external");
        }

        if (config.Kubelet.CloudProvider != CloudProvider.None)
        {
            // external: kubelet registers with the taint node.cloudprovider.kubernetes.io/uninitialized, which the controller manager takes off.
            yield return ("cloud-provider", config.Kubelet.CloudProvider == CloudProvider.Aws ? "aws" : "external");
        }

        if (config.Kubelet.CredentialProviders.Count > 0)
        {
            yield return ("image-credential-provider-bin-dir", config.Kubelet.CredentialProviderBinaries);
            yield return ("image-credential-provider-config", CredentialsPath);
        }
    }

    /// <summary>KEP-2133: alpha from 1.20, beta and on by default from 1.24, stable from 1.26.</summary>
    public static bool NeedsGate(NodeConfig config, KubernetesVersion kubelet) => config.Kubelet.CredentialProviders.Count > 0 && !kubelet.IsAtLeast(1, 24);

    private static JsonObject Credentials(NodeConfig config, KubernetesVersion kubelet)
    {
        // Of this file and of what kubelet and binary say to each other: they moved together, and older ones are still read.
        var version = kubelet.IsAtLeast(1, 26) ? "v1" : kubelet.IsAtLeast(1, 24) ? "v1beta1" : "v1alpha1";
        return new JsonObject
        {
            ["apiVersion"] = $"kubelet.config.k8s.io/{version}",
            ["kind"] = "CredentialProviderConfig",
            ["providers"] = new JsonArray(
                [.. config.Kubelet.CredentialProviders.OrderBy(p => p.Key, StringComparer.Ordinal).Select(JsonNode (p) => Provider(p.Key, p.Value, version))]),
        };
    }

    private static JsonObject Provider(string name, CredentialProvider provider, string version)
    {
        var entry = new JsonObject
        {
            ["name"] = name,
            ["matchImages"] = List(provider.MatchImages.Count > 0 ? provider.MatchImages : EcrImages),
            // Go's durations have no days.
            ["defaultCacheDuration"] = string.Create(
                CultureInfo.InvariantCulture, $"{(long)(provider.CacheDuration?.Value ?? TimeSpan.FromHours(12)).TotalSeconds}s"),
            ["apiVersion"] = $"credentialprovider.kubelet.k8s.io/{version}",
        };
        if (provider.Args.Count > 0)
        {
            entry["args"] = List(provider.Args);
        }

        if (provider.Env.Count > 0)
        {
            entry["env"] = new JsonArray(
                [.. provider.Env.OrderBy(e => e.Key, StringComparer.Ordinal).Select(JsonNode (e) => new JsonObject { ["name"] = e.Key, ["value"] = e.Value })]);
        }

        return entry;
    }

    private static JsonArray List(IReadOnlyList<string> items) => new([.. items.Select(JsonNode (i) => JsonValue.Create(i))]);
}
