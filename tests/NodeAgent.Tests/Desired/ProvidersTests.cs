using NodeAgent.Desired;
using NodeAgent.Kubernetes;
using NodeAgent.Resources;
using NodeAgent.Tests.Simulation;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Desired;

public class ProvidersTests
{
    private const string Ecr = "kubelet: {credentialProviders: {ecr-credential-provider: {}}}";

    // KEP-2133 and kubernetes/pkg/features: alpha 1.20, beta 1.24, stable 1.26. None of these files met a kubelet here yet.
    [Theory]
    [InlineData(20, "v1alpha1", true)]
    [InlineData(23, "v1alpha1", true)]
    [InlineData(24, "v1beta1", false)]
    [InlineData(25, "v1beta1", false)]
    [InlineData(26, "v1", false)]
    [InlineData(36, "v1", false)]
    public void The_file_of_credential_providers_is_of_the_version_that_kubelet_reads(int minor, string version, bool gate)
    {
        var (config, kubelet) = (LoadText(Ecr).Config, new KubernetesVersion(1, minor));

        var file = Providers.Files(config, kubelet).ShouldHaveSingleItem().ShouldBeOfType<ConfigFile>().Content;
        file.ShouldContain($"\napiVersion: kubelet.config.k8s.io/{version}\nkind: CredentialProviderConfig\n");
        file.ShouldContain($"\n  apiVersion: credentialprovider.kubelet.k8s.io/{version}\n");
        file.ShouldContain("defaultCacheDuration: \"43200s\"\n");
        file.ShouldContain(".dkr.ecr.*.amazonaws.com.cn");
        Providers.NeedsGate(config, kubelet).ShouldBe(gate);
        Providers.Flags(config, kubelet).ShouldBe(
            [("image-credential-provider-bin-dir", "/usr/libexec/kubernetes/credential-providers"),
                ("image-credential-provider-config", Providers.CredentialsPath)]);
    }

    [Fact]
    public void Without_providers_there_is_neither_file_nor_flag()
    {
        var (config, kubelet) = (LoadText("").Config, new KubernetesVersion(1, 20));

        Providers.Files(config, kubelet).ShouldBeEmpty();
        Providers.Flags(config, kubelet).ShouldBeEmpty();
        Providers.NeedsGate(config, kubelet).ShouldBeFalse();
    }

    [Fact]
    public void A_changed_provider_restarts_kubelet_and_one_that_is_gone_leaves_nothing()
    {
        const string With = "{apiVersion: nodeagent/v1, kind: NodeConfig, kubelet: {credentialProviders: {ecr-credential-provider: {cacheDuration: 1h}}}}";
        var worker = new Worker { ExtraConfig = With };
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.ExtraConfig = With.Replace("1h", "2h", StringComparison.Ordinal);
        WorkerTests.Pending(worker.Plan()).ShouldBe([$"file {Providers.CredentialsPath}", "restart kubelet.service"]);

        worker.ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig}";
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.File(Providers.CredentialsPath).Kind.ShouldBe(NodeAgent.Machine.FileKind.Absent);
        worker.Machine.Writes.ShouldContain("restart kubelet.service");
    }

    [Theory]
    [InlineData("none", 36, null)]
    [InlineData("external", 20, "external")]
    [InlineData("external", 36, "external")]
    [InlineData("aws", 20, "aws")]
    [InlineData("aws", 26, "aws")]
    public void The_cloud_provider_is_a_flag(string provider, int minor, string? flag) => Providers
        .Flags(LoadText($"kubelet: {{cloudProvider: {provider}}}").Config, new KubernetesVersion(1, minor))
        .Select(f => $"{f.Name}={f.Value}").ShouldBe(flag is null ? [] : [$"cloud-provider={flag}"]);

    [Fact]
    public void The_AWS_provider_of_kubelet_is_refused_where_kubelet_has_none_any_more()
    {
        var message = Should.Throw<NotPossibleException>(
            () => Providers.Flags(LoadText("kubelet: {cloudProvider: aws}").Config, new KubernetesVersion(1, 27)).ToList()).Message;

        message.ShouldStartWith("kubelet.cloudProvider is aws and kubelet is 1.27:");
        message.ShouldContain("kubelet.cloudProvider: external");
    }

    [Theory]
    [InlineData(
        "kubelet: {cloudProvider: aws}\nnode: {name: instanceId}",
        "node.yaml:4:14: node.name: with kubelet.cloudProvider aws kubelet names its node by the private DNS name, whatever it is told; set privateDnsName, "
            + "or kubelet.cloudProvider: external")]
    [InlineData(
        "kubelet: {extraArgs: {cloud-provider: aws}}",
        "node.yaml:3:39: kubelet.extraArgs.cloud-provider: --cloud-provider is set by nodeagent; say it in kubelet.cloudProvider")]
    [InlineData(
        "kubelet: {credentialProviders: {mine: {}}}",
        "node.yaml:3:39: kubelet.credentialProviders.mine.matchImages: is empty; expected the images that it has credentials for, as in "
            + "'*.registry.example.com'")]
    [InlineData(
        "kubelet: {credentialProviders: {a/b: {matchImages: [x]}}}",
        "node.yaml:3:38: kubelet.credentialProviders[a/b]: 'a/b' is not the name of a binary; expected one as in ecr-credential-provider")]
    [InlineData(
        "kubelet: {credentialProviders: {mine: {matchImages: ['https://x']}}}",
        "node.yaml:3:54: kubelet.credentialProviders.mine.matchImages[0]: 'https://x' is not a pattern of images; expected host[:port][/path], each part of "
            + "the host with * or without, as in '*.registry.example.com'")]
    [InlineData(
        "kubelet: {credentialProviders: {mine: {matchImages: [x], env: {1a: b}}}}",
        "node.yaml:3:68: kubelet.credentialProviders.mine.env.1a: '1a' is not the name of an environment variable")]
    public void What_kubelet_would_not_take_is_refused(string text, string error) => ErrorsOf(text).ShouldBe([error]);
}
