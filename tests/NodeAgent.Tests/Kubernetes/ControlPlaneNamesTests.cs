using NodeAgent.Kubernetes;

namespace NodeAgent.Tests.Kubernetes;

/// <summary>recorded/ holds lists taken from the programs and their documentation; docs/versions.md tells which and how.</summary>
public class ControlPlaneNamesTests
{
    // The references are drawn without JSON logs.
    private static readonly string[] JsonLogs = ["log-json-info-buffer-size", "log-json-split-stream"];

    // Deprecated: hidden from help and reference, and their removal was not found.
    private static readonly string[] HiddenByApiServer =
    [
        "audit-webhook-batch-initial-backoff", "cloud-provider-gce-lb-src-cidrs", "default-watch-cache-size",
        "enable-swagger-ui", "kubelet-port", "kubelet-read-only-port",
    ];

    // The last three stand in the reference of 1.31; that of 1.35 was read in a translation, of which a paragraph is damaged where they belong.
    private static readonly string[] HiddenByControllerManager =
    [
        "allow-untagged-cloud", "cloud-provider-gce-lb-src-cidrs", "concurrent_rc_syncs", "node-sync-period",
        "concurrent-gc-syncs", "concurrent-horizontal-pod-autoscaler-syncs", "concurrent-job-syncs",
    ];

    private static readonly VersionedNames[] Tables =
    [
        ControlPlaneNames.ApiServerFlags, ControlPlaneNames.ControllerManagerFlags, ControlPlaneNames.SchedulerFlags,
        ControlPlaneNames.AdmissionPlugins, ControlPlaneNames.ProxyFields,
    ];

    [Fact]
    public void The_flags_of_the_tables_are_those_that_the_programs_of_1_20_2_said_they_have()
    {
        Of(ControlPlaneNames.ApiServerFlags, 20).ShouldBe(Recorded("kube-apiserver-1.20.2.flags"));
        Of(ControlPlaneNames.ControllerManagerFlags, 20).ShouldBe(Recorded("kube-controller-manager-1.20.2.flags"));
        Of(ControlPlaneNames.SchedulerFlags, 20).ShouldBe(Recorded("kube-scheduler-1.20.2.flags"));
    }

    [Fact]
    public void The_flags_of_the_tables_are_those_of_the_newest_reference_and_what_it_leaves_out()
    {
        Of(ControlPlaneNames.ApiServerFlags, 35).ShouldBe(Recorded("kube-apiserver-1.35.flags", [.. JsonLogs, .. HiddenByApiServer]));
        Of(ControlPlaneNames.ControllerManagerFlags, 35).ShouldBe(Recorded("kube-controller-manager-1.35.flags", [.. JsonLogs, .. HiddenByControllerManager]));
        Of(ControlPlaneNames.SchedulerFlags, 36).ShouldBe(Recorded("kube-scheduler-1.36.flags", JsonLogs));
    }

    [Theory]
    [InlineData("kube-apiserver-1.20.2.plugins", 20)]
    [InlineData("kube-apiserver-1.21.plugins", 21)]
    [InlineData("kube-apiserver-1.31.plugins", 31)]
    [InlineData("kube-apiserver-1.35.plugins", 35)]
    public void The_admission_plugins_of_the_table_are_the_recorded_ones(string recorded, int minor) =>
        Of(ControlPlaneNames.AdmissionPlugins, minor).ShouldBe(Recorded(recorded));

    [Theory]
    [InlineData("kube-proxy-1.20.2.fields", 20)]
    [InlineData("kube-proxy-1.31.fields", 31)]
    public void The_fields_of_kube_proxy_in_the_table_are_the_recorded_ones(string recorded, int minor) =>
        Of(ControlPlaneNames.ProxyFields, minor).ShouldBe(Recorded(recorded));

    [Fact]
    public void Every_row_says_where_it_is_from_and_lies_within_the_table()
    {
        foreach (var row in Tables.SelectMany(t => t.Changes))
        {
            (row.Source.Contains('#') || row.Source.Contains("KEP-") || row.Source.Contains(".md") || row.Source.Contains("types.go"))
                .ShouldBeTrue($"{row.Name}: {row.Source}");
            row.Since.ShouldBeInRange(KubeletVersions.Oldest.Minor, KubeletVersions.Newest.Minor, row.Name);
            (row.Gone ?? int.MaxValue).ShouldBeGreaterThan(row.Since, row.Name);
            (row.Gone ?? KubeletVersions.Newest.Minor).ShouldBeLessThanOrEqualTo(KubeletVersions.Newest.Minor, row.Name);
        }

        foreach (var table in Tables)
        {
            table.Changes.Select(r => r.Name).ShouldBeUnique();
            // A row that says nothing else than the list does would hide a mistake of either.
            table.Changes.Where(r => r is { Since: 20, Gone: null }).ShouldBeEmpty();
        }
    }

    [Theory]
    [InlineData("insecure-port", 23, null)]
    [InlineData("insecure-port", 32, "kube-apiserver 1.32 has the flag --insecure-port no more; it is gone since 1.24 (kubernetes#95856")]
    [InlineData("kubelet-https", 21, null)]
    [InlineData("kubelet-https", 22, "gone since 1.22 (kubernetes#101178)")]
    [InlineData("cloud-provider", 32, null)]
    [InlineData("cloud-provider", 33, "gone since 1.33 (kubernetes#130162)")]
    [InlineData("encryption-provider-config", 20, null)]
    [InlineData(
        "encryption-provider-config-automatic-reload", 25, "kube-apiserver 1.25 does not know the flag --encryption-provider-config-automatic-reload, ")]
    [InlineData("encryption-provider-config-automatic-reload", 26, null)]
    [InlineData("authentication-config", 28, "came with 1.29 (KEP-3331)")]
    [InlineData("service-account-issuer", 20, null)]
    [InlineData("service-account-issuer", 36, null)]
    [InlineData("logtostderr", 26, "gone since 1.26")]
    [InlineData("default-watch-cache-size", 36, null)]
    [InlineData("audit-log-pathh", 30, "no kube-apiserver in the table of versions (1.20 to 1.36) has the flag --audit-log-pathh")]
    public void A_flag_of_the_API_server_is_objected_to_with_what_came_or_went_when(string flag, int minor, string? said) =>
        KubeletNamesTests.Said(ControlPlaneNames.ApiServerFlags.Objection(flag, new KubernetesVersion(1, minor)), said);

    [Theory]
    [InlineData("port", 23, null)]
    [InlineData("port", 24, "kube-controller-manager 1.24 has the flag --port no more")]
    [InlineData("experimental-cluster-signing-duration", 25, "gone since 1.25 (kubernetes#108476)")]
    [InlineData("cluster-signing-duration", 20, null)]
    [InlineData("pod-eviction-timeout", 27, "gone since 1.27 (kubernetes#115840)")]
    [InlineData("cloud-provider", 36, null)]
    [InlineData("concurrent-resourceclaim-syncs", 35, "came with 1.36 (kubernetes#134701)")]
    [InlineData("concurrent_rc_syncs", 20, null)]
    [InlineData("concurrent-rc-syncs", 20, "does not know the flag --concurrent-rc-syncs")]
    public void A_flag_of_the_controller_manager_is_objected_to_with_what_came_or_went_when(string flag, int minor, string? said) =>
        KubeletNamesTests.Said(ControlPlaneNames.ControllerManagerFlags.Objection(flag, new KubernetesVersion(1, minor)), said);

    [Theory]
    [InlineData("policy-config-file", 22, null)]
    [InlineData("policy-config-file", 23, "kube-scheduler 1.23 has the flag --policy-config-file no more; it is gone since 1.23 (kubernetes#105424)")]
    [InlineData("algorithm-provider", 22, "gone since 1.22 (kubernetes#102239)")]
    [InlineData("address", 24, "gone since 1.24")]
    [InlineData("authentication-kubeconfig", 36, null)]
    public void A_flag_of_the_scheduler_is_objected_to_with_what_came_or_went_when(string flag, int minor, string? said) =>
        KubeletNamesTests.Said(ControlPlaneNames.SchedulerFlags.Objection(flag, new KubernetesVersion(1, minor)), said);

    [Theory]
    [InlineData("NodeRestriction", 20, null)]
    [InlineData("NodeRestriction", 36, null)]
    [InlineData("PodSecurityPolicy", 24, null)]
    [InlineData("PodSecurityPolicy", 25, "kube-apiserver 1.25 has the admission plugin PodSecurityPolicy no more; it is gone since 1.25")]
    [InlineData("PodSecurity", 21, "kube-apiserver 1.21 does not know the admission plugin PodSecurity, which came with 1.22 (KEP-2579)")]
    [InlineData("podsecurity", 30, "has the admission plugin podsecurity")]
    public void An_admission_plugin_is_objected_to_with_what_came_or_went_when(string plugin, int minor, string? said) =>
        KubeletNamesTests.Said(ControlPlaneNames.AdmissionPlugins.Objection(plugin, new KubernetesVersion(1, minor)), said);

    [Fact]
    public void A_table_answers_for_a_row_of_kubelets_as_for_its_version()
    {
        var row = KubeletVersions.Find(new(1, 24))!;

        ControlPlaneNames.ApiServerFlags.Has("insecure-port", row).ShouldBeFalse();
        ControlPlaneNames.ApiServerFlags.Has("insecure-port", new KubernetesVersion(1, 23)).ShouldBeTrue();
        ControlPlaneNames.ApiServerFlags.Objection("insecure-port", row).ShouldBe(ControlPlaneNames.ApiServerFlags.Objection("insecure-port", row.Version));
    }

    private static IEnumerable<string> Of(VersionedNames names, int minor) => KubeletNamesTests.In(names, minor);

    private static IEnumerable<string> Recorded(string file, params string[] more) =>
        KubeletNamesTests.Recorded(file).Concat(more).Order(StringComparer.Ordinal);
}
