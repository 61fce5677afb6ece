using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Kubernetes;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

/// <summary>What of the configuration a release of the control plane does not take.</summary>
public class ControlPlaneReleasesTests
{
    // All that makes the agent write another flag.
    private const string Everything = """
        apiServer:
          admission: {enable: [AlwaysPullImages], disable: [DefaultTolerationSeconds]}
          encryption: {resources: [secrets]}
          featureGates: {Anything: true}
          audit: {policy: {rules: [{level: Metadata}]}}
          oidc: {issuer: 'https://issuer.example', clientId: c, usernameClaim: u, usernamePrefix: p, groupsClaim: g, groupsPrefix: q, requiredClaims: {a: b}, signingAlgorithms: [RS256]}
        controllerManager: {featureGates: {Anything: true}}
        scheduler: {featureGates: {Anything: true}}
        kubelet: {cloudProvider: external}
        """;

    public static TheoryData<int> Minors =>
        [.. Enumerable.Range(KubeletVersions.Oldest.Minor, KubeletVersions.Newest.Minor - KubeletVersions.Oldest.Minor + 1)];

    [Theory]
    [MemberData(nameof(Minors))]
    public void Every_flag_that_the_agent_gives_is_one_of_that_minor(int minor)
    {
        var version = new KubernetesVersion(1, minor);
        foreach (var extra in new[] { "", Everything })
        {
            var plane = Plane($"1.{minor}.0", extra);
            WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();

            foreach (var (pod, names) in new[]
            {
                ("kube-apiserver", ControlPlaneNames.ApiServerFlags), ("kube-controller-manager", ControlPlaneNames.ControllerManagerFlags),
                ("kube-scheduler", ControlPlaneNames.SchedulerFlags),
            })
            {
                var flags = Flags(plane, pod);
                flags.Count.ShouldBeGreaterThan(8);
                flags.Where(f => !names.Has(f, version)).ShouldBeEmpty();
            }

            ControlPlaneNames.AdmissionPlugins.Objection("NodeRestriction", version).ShouldBeNull();
        }
    }

    [Theory]
    [InlineData("apiServer: {extraArgs: {kubelet-https: 'true'}}", "apiServer.extraArgs.kubelet-https", "gone since 1.22 (kubernetes#101178)")]
    [InlineData("apiServer: {extraArgs: {no-such-flag: '0'}}", "apiServer.extraArgs.no-such-flag", "no kube-apiserver in the table of versions")]
    [InlineData(
        "controllerManager: {extraArgs: {pod-eviction-timeout: 1m}}",
        "controllerManager.extraArgs.pod-eviction-timeout",
        "gone since 1.27 (kubernetes#115840)")]
    [InlineData("scheduler: {extraArgs: {policy-config-file: /p}}", "scheduler.extraArgs.policy-config-file", "gone since 1.23")]
    [InlineData("apiServer: {admission: {enable: [PodSecurityPolicy]}}", "apiServer.admission.enable.PodSecurityPolicy", "gone since 1.25")]
    [InlineData("apiServer: {admission: {disable: [SecurityContextDeny]}}", "apiServer.admission.disable.SecurityContextDeny", "gone since 1.30")]
    public void What_the_release_does_not_take_is_bad_configuration(string config, string path, string why)
    {
        var error = Should.Throw<ConfigurationException>(() => Plane("1.32.3", config).Node.List()).Errors.Single();

        error.Path.ShouldStartWith(path);
        error.Message.ShouldContain(why);
    }

    [Fact]
    public void It_is_the_images_release_that_counts_and_not_kubelets()
    {
        const string Flag =
            "controllerManager: {image: 'registry.example:5000/kcm:v1.24.17@sha256:c6a9d11cc5c04b114ccdef39a9265eeef818e3d02f5359be035ae784097fdec5', "
                + "extraArgs: {pod-eviction-timeout: 1m}}\n";
        const string Api = "apiServer: {image: 'registry.example/api:v1.24.17'}\nscheduler: {image: 'registry.example/s:v1.23.1'}\n";

        var plane = Plane("1.22.17", Flag + Api);
        plane.Node.List().Warnings.ShouldBeEmpty();
        WorkerTests.Problems(plane.Node.Apply()).ShouldBeEmpty();

        // 1.22 is told --port=0, which 1.24 does not know.
        Flags(plane, "kube-controller-manager").ShouldNotContain("port");
    }

    [Theory]
    [InlineData("1.29.0", "v1.28.9", "kubelet 1.29 is newer than kube-apiserver 1.28")]
    [InlineData("1.27.0", "v1.31.0", "kubelet 1.27 is too old for kube-apiserver 1.31")]
    public void A_kubelet_that_does_not_go_with_the_API_server_is_refused_and_allowed_by_name(string kubelet, string tag, string why)
    {
        var images =
            $"apiServer: {{image: 'r.example/a:{tag}'}}\ncontrollerManager: {{image: 'r.example/c:{tag}'}}\nscheduler: {{image: 'r.example/s:{tag}'}}\n";

        var error = Should.Throw<ConfigurationException>(() => Plane(kubelet, images).Node.List()).Errors.Single();
        error.Path.ShouldBe("apiServer.image");
        error.Message.ShouldContain(why);

        var minor = tag[1..5];
        Plane(kubelet, $"{images}controlPlane: {{allowUnlisted: '{minor}'}}\n").Node.List().Warnings.ShouldHaveSingleItem().ShouldContain(why);
    }

    [Fact]
    public void A_controller_manager_newer_than_the_API_server_is_refused()
    {
        var error = Should.Throw<ConfigurationException>(
            () => Plane("1.28.0", "controllerManager: {image: 'r.example/c:v1.29.1'}").Node.List()).Errors.Single();

        error.Path.ShouldBe("controllerManager.image");
        error.Message.ShouldContain("kube-controller-manager 1.29 is newer than kube-apiserver 1.28");
    }

    [Fact]
    public void A_release_newer_than_the_table_is_refused_and_allowed_by_name()
    {
        const string Images = "apiServer: {image: 'r.example/a:v1.37.0', extraArgs: {brand-new: x}}\n";

        Should.Throw<ConfigurationException>(() => Plane("1.36.1", Images).Node.List()).Errors.Select(e => e.Path)
            .ShouldBe(["apiServer.image", "apiServer.extraArgs.brand-new"]);

        var warnings = Plane("1.36.1", Images + "controlPlane: {allowUnlisted: '1.37'}").Node.List().Warnings;
        warnings.Count.ShouldBe(2);
        warnings[1].ShouldContain("taken all the same, since controlPlane.allowUnlisted names 1.37");
    }

    [Fact]
    public void A_tag_that_is_no_version_is_said_and_checked_against_nothing() =>
        Plane("1.32.3", "apiServer: {image: 'r.example:5000/kube-apiserver', extraArgs: {no-such-flag: x}}")
            .Node.List().Warnings.ShouldHaveSingleItem().ShouldContain("has no version of Kubernetes for its tag");

    [Fact]
    public void Workers_are_not_asked_for_what_runs_elsewhere()
    {
        var worker = new Worker
        {
            ExtraConfig = "{apiVersion: nodeagent/v1, kind: NodeConfig, apiServer: {image: 'r.example/a:v1.99.0', extraArgs: {no-such-flag: x}}}",
        };

        worker.List().Warnings.ShouldBeEmpty();
    }

    private static ControlPlane Plane(string kubelet, string extra)
    {
        var plane = new ControlPlane(staticPods: true);
        // Above the layer that makes it a control plane, since both may have the same section.
        plane.Node.PendingConfig = $"apiVersion: nodeagent/v1\nkind: NodeConfig\n{extra}\n";
        plane.Node.Facts = plane.Node.Facts with { Versions = plane.Node.Facts.Versions with { Kubelet = kubelet } };
        return plane;
    }

    private static List<string> Flags(ControlPlane plane, string pod) =>
    [
        .. Encoding.UTF8.GetString(plane.Machine.File($"/etc/kubernetes/manifests/{pod}.yaml").Content!).Split('\n')
            .Select(l => l.Trim()).Where(l => l.StartsWith("- \"--", StringComparison.Ordinal)).Select(l => l[5..].Split('=')[0]),
    ];
}
