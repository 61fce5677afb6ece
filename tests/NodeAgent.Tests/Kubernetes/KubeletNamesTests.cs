using NodeAgent.Kubernetes;

namespace NodeAgent.Tests.Kubernetes;

/// <summary>recorded/ holds lists taken from kubelets and their documentation; docs/versions.md tells which and how.</summary>
public class KubeletNamesTests
{
    // What the reference of 1.34 leaves out, being drawn without cAdvisor's flags and without JSON logs.
    private static readonly string[] NotInTheReference =
    [
        "application-metrics-count-limit", "boot-id-file", "container-hints", "containerd", "containerd-namespace", "docker", "docker-env-metadata-whitelist",
        "docker-only", "docker-root",
        "docker-tls", "docker-tls-ca", "docker-tls-cert", "docker-tls-key", "enable-load-reader", "event-storage-age-limit", "event-storage-event-limit",
        "global-housekeeping-interval",
        "housekeeping-interval", "log-cadvisor-usage", "log-json-info-buffer-size", "log-json-split-stream", "machine-id-file",
        "storage-driver-buffer-duration", "storage-driver-db",
        "storage-driver-host", "storage-driver-password", "storage-driver-secure", "storage-driver-table", "storage-driver-user",
    ];

    [Theory]
    [InlineData("kubelet-1.20.2.fields", 20)]
    [InlineData("kubelet-1.31.fields", 31)]
    [InlineData("kubelet-1.35.fields", 35)]
    public void The_fields_of_the_table_are_the_recorded_ones(string recorded, int minor) => In(KubeletNames.Fields, minor).ShouldBe(Recorded(recorded));

    [Fact]
    public void The_flags_of_the_table_are_those_that_kubelet_1_20_2_said_it_has() => In(KubeletNames.Flags, 20).ShouldBe(Recorded("kubelet-1.20.2.flags"));

    [Fact]
    public void The_flags_of_the_table_are_those_of_the_reference_of_1_34_and_what_it_leaves_out() =>
        In(KubeletNames.Flags, 34).ShouldBe(Recorded("kubelet-1.34.flags").Concat(NotInTheReference).Order(StringComparer.Ordinal));

    [Fact]
    public void Every_row_says_where_it_is_from_and_lies_within_the_table()
    {
        foreach (var table in new[] { KubeletNames.Flags, KubeletNames.Fields })
        {
            foreach (var row in table.Changes)
            {
                row.Source.ShouldNotBeNullOrWhiteSpace(row.Name);
                (row.Source.Contains('#') || row.Source.Contains("KEP-") || row.Source.Contains("kubelet.md")).ShouldBeTrue($"{row.Name}: {row.Source}");
                row.Since.ShouldBeInRange(20, KubeletVersions.Newest.Minor, row.Name);
                (row.Gone ?? int.MaxValue).ShouldBeGreaterThan(row.Since, row.Name);
            }

            table.Changes.Select(r => r.Name).ShouldBeUnique();
        }

        new[] { KubeletVersions.GracefulShutdown, KubeletVersions.SandboxImageFromCri, KubeletVersions.ReloadsServingCertificate }.ShouldAllBe(
            b => b.Source.Length > 0);
    }

    [Theory]
    [InlineData("network-plugin", 23, null)]
    [InlineData("network-plugin", 24, "kubelet 1.24 has the flag --network-plugin no more; it is gone since 1.24 (kubernetes#106907, removed with dockershim)")]
    [InlineData("seccomp-default", 22, null)]
    [InlineData("seccomp-default", 21, "kubelet 1.21 does not know the flag --seccomp-default, which came with 1.22 (KEP-2413)")]
    [InlineData("pod-infra-container-image", 34, null)]
    [InlineData("pod-infra-container-image", 35, "gone since 1.35 (kubernetes#133779)")]
    [InlineData("max-podz", 30, "no kubelet in the table of versions (1.20 to 1.36) has the flag --max-podz")]
    public void A_flag_is_objected_to_with_what_came_or_went_when(string flag, int minor, string? said) =>
        Said(KubeletNames.Flags.Objection(flag, Version(minor)), said);

    [Theory]
    [InlineData("memorySwap", 22, null)]
    [InlineData("memorySwap", 21, "kubelet 1.21 does not know the field memorySwap, which came with 1.22")]
    [InlineData("memoryReservationPolicy", 35, "came with 1.36 (kubernetes#137584)")]
    [InlineData("evictionhard", 35, "has the field evictionhard")]
    public void A_field_is_objected_to_with_what_came_when(string field, int minor, string? said) =>
        Said(KubeletNames.Fields.Objection(field, Version(minor)), said);

    [Fact]
    public void The_documentation_shows_the_rows_of_the_table()
    {
        var shown = System.IO.File.ReadAllLines(Path.Join(Repository.Folder, "docs", "versions.md")).Where(l => l.StartsWith("| 1.", StringComparison.Ordinal));

        shown.ShouldBe(KubeletVersions.All.Select(v => string.Join(
            " | ",
            $"| {v.Version}",
            v.Cri switch { CriVersions.V1Alpha2 => "v1alpha2", CriVersions.V1 => "v1", _ => "v1, else v1alpha2" },
            v.Dockershim ? "yes" : "no",
            v.CgroupV1 switch { CgroupV1.Supported => "supported", CgroupV1.Maintenance => "in maintenance", _ => "refused by default" },
            $"{v.RanHere ?? "no"} |")));
    }

    internal static string[] Recorded(string file) =>
        System.IO.File.ReadAllLines(Path.Join(Repository.Folder, "tests", "NodeAgent.Tests", "Kubernetes", "recorded", file)).Order(StringComparer.Ordinal)
            .ToArray();

    internal static void Said(string? objection, string? part)
    {
        if (part is null)
        {
            objection.ShouldBeNull();
        }
        else
        {
            objection.ShouldNotBeNull().ShouldContain(part);
        }
    }

    internal static IEnumerable<string> In(VersionedNames names, int minor) => names.All.Where(r => r.In(minor)).Select(r => r.Name)
        .Order(StringComparer.Ordinal);

    private static KubeletVersion Version(int minor) => KubeletVersions.Find(new(1, minor))!;
}
