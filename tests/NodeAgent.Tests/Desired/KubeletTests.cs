using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Kubernetes;
using NodeAgent.Resources;
using NodeAgent.Tests.Kubernetes;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

public class KubeletTests
{
    private const string Head = "apiVersion: nodeagent/v1\nkind: NodeConfig\n";

    private const string Taint = "node: {taints: [{key: dedicated, value: db, effect: NoSchedule}]}\n";

    public static TheoryData<string> Golden() =>
        ["1.20.2-containerd", "1.23.17-docker", "1.24.17-docker", "1.27.16-containerd", "1.31.14-containerd", "1.36.2-containerd"];

    public static TheoryData<int, string> AllMinors()
    {
        var data = new TheoryData<int, string>();
        foreach (var version in KubeletVersions.All)
        {
            data.Add(version.Minor, "containerd");
            data.Add(version.Minor, "docker");
        }

        return data;
    }

    /// <summary>Desired/kubelet/NAME.txt: kubelet's command line and configuration. NODEAGENT_GOLDEN=write rewrites them.</summary>
    [Theory]
    [MemberData(nameof(Golden))]
    public void Each_version_gets_the_command_line_and_the_configuration_that_are_written_down(string name)
    {
        var (version, runtime) = (name.Split('-')[0], name.Split('-')[1]);
        var (dropIn, configuration) = Files(version, runtime, Taint);
        var actual = $"{dropIn}\n--- kubelet.yaml\n{configuration}";
        var path = Path.Join(Repository.Folder, "tests", "NodeAgent.Tests", "Desired", "kubelet", name + ".txt");
        if (Repository.IsRewriting)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            System.IO.File.WriteAllText(path, actual);
        }

        actual.ShouldBe(System.IO.File.ReadAllText(path), $"{path}; NODEAGENT_GOLDEN=write rewrites it");
    }

    [Theory]
    [MemberData(nameof(AllMinors))]
    public void Nothing_is_written_that_the_version_does_not_know(int minor, string runtime)
    {
        var version = KubeletVersions.Find(new(1, minor))!;
        var (flags, fields) = Names(minor, runtime);

        flags.Where(f => !KubeletNames.Flags.Has(f, version)).ShouldBeEmpty();
        fields.Where(f => !KubeletNames.Fields.Has(f, version)).ShouldBeEmpty();
    }

    /// <summary>The table may err; these lists were not made from it.</summary>
    [Theory]
    [InlineData(20, "kubelet-1.20.2.flags", "kubelet-1.20.2.fields")]
    [InlineData(31, null, "kubelet-1.31.fields")]
    [InlineData(34, "kubelet-1.34.flags", null)]
    [InlineData(35, null, "kubelet-1.35.fields")]
    public void What_is_written_stands_in_the_recorded_lists(int minor, string? recordedFlags, string? recordedFields)
    {
        foreach (var runtime in new[] { "containerd", "docker" })
        {
            var (flags, fields) = Names(minor, runtime);
            if (recordedFlags is not null)
            {
                flags.Except(KubeletNamesTests.Recorded(recordedFlags)).ShouldBeEmpty(runtime);
            }

            if (recordedFields is not null)
            {
                fields.Except(KubeletNamesTests.Recorded(recordedFields)).ShouldBeEmpty(runtime);
            }
        }
    }

    [Theory]
    [InlineData("1.22.0", "kubelet: {extraArgs: {config-dirs: x}}", "kubelet.extraArgs.config-dirs", "no kubelet in the table")]
    [InlineData("1.26.0", "kubelet: {extraArgs: {logtostderr: 'true'}}", "kubelet.extraArgs.logtostderr", "gone since 1.26 (kubernetes#112120")]
    [InlineData(
        "1.20.2",
        "kubelet: {configuration: {memorySwap: {swapBehavior: LimitedSwap}}}",
        "kubelet.configuration.memorySwap",
        "which came with 1.22 (kubernetes#102823")]
    [InlineData("1.30.0", "kubelet: {configuration: {evictionHrad: {}}}", "kubelet.configuration.evictionHrad", "no kubelet in the table")]
    public void A_flag_or_field_that_the_version_does_not_know_is_bad_configuration(string version, string config, string path, string said)
    {
        var error = Should.Throw<ConfigurationException>(() => List(version, "containerd", config + "\n")).Errors.ShouldHaveSingleItem();

        error.Path.ShouldBe(path);
        error.Message.ShouldContain(said);
    }

    [Fact]
    public void All_that_a_version_does_not_know_is_told_at_once() =>
        Should.Throw<ConfigurationException>(
            () => List("1.20.2", "containerd", "kubelet: {extraArgs: {seccomp-default: 'true'}, configuration: {memorySwap: {}, tracing: {}}}\n"))
            .Errors.Select(e => e.Path).ShouldBe(["kubelet.extraArgs.seccomp-default", "kubelet.configuration.memorySwap", "kubelet.configuration.tracing"]);

    [Fact]
    public void Taking_away_a_field_that_the_version_does_not_know_is_no_error() =>
        List("1.20.2", "containerd", "kubelet: {configuration: {memorySwap: null}}\n").Warnings.ShouldBeEmpty();

    [Fact]
    public void What_the_table_does_not_list_is_passed_on_with_a_warning_when_the_version_is_allowed_by_name()
    {
        var list = List("1.30.0", "containerd", "kubelet: {allowUnlisted: '1.30', extraArgs: {brand-new: 'yes'}}\n");

        list.Warnings.ShouldHaveSingleItem().ShouldContain("kubelet.extraArgs.brand-new: no kubelet in the table");
        Text(list, "kubelet.service.d/50-nodeagent.conf").ShouldContain("--brand-new=yes");
    }

    [Fact]
    public void A_version_that_is_allowed_by_name_allows_no_other() =>
        Should.Throw<ConfigurationException>(() => List("1.30.0", "containerd", "kubelet: {allowUnlisted: '1.31', extraArgs: {brand-new: 'yes'}}\n"));

    [Theory]
    [InlineData("1.37.0")]
    [InlineData("1.19.16")]
    [InlineData("2.0.0")]
    public void A_version_that_is_not_in_the_table_is_refused(string version)
    {
        var error = Should.Throw<ConfigurationException>(() => List(version, "containerd")).Errors.ShouldHaveSingleItem();

        error.Path.ShouldBe("kubelet.allowUnlisted");
        error.Message.ShouldContain("not in the table of versions, 1.20 to 1.36");
    }

    [Fact]
    public void A_version_before_the_table_is_refused_even_by_name() =>
        Should.Throw<ConfigurationException>(() => List("1.19.16", "containerd", "kubelet: {allowUnlisted: '1.19'}\n"))
            .Errors.ShouldHaveSingleItem().Message.ShouldEndWith("install one of these");

    [Fact]
    public void A_version_that_is_not_in_the_table_can_be_allowed_by_name()
    {
        var list = List("1.37.0", "containerd", "kubelet: {allowUnlisted: '1.37'}\n");

        list.Warnings.ShouldHaveSingleItem().ShouldContain("kubelet 1.37 is not in the table of versions");
        Text(list, "kubelet.yaml").ShouldContain("containerRuntimeEndpoint:");
    }

    [Fact]
    public void A_pair_that_cannot_work_is_refused_with_the_reason() =>
        Should.Throw<NotPossibleException>(() => List("1.22.17", "containerd", "", containerd: "2.0.1"))
            .Message.ShouldContain("no version of the container runtime interface in common");

    [Theory]
    [InlineData("1.34.0", "", null)]
    [InlineData("1.35.0", "", "on which kubelet 1.35 does not start")]
    [InlineData("1.35.0", "kubelet: {configuration: {failCgroupV1: false}}\n", null)]
    [InlineData("1.35.0", "kubelet: {extraArgs: {fail-cgroupv1: 'false'}}\n", null)]
    public void Cgroup_v1_is_refused_where_kubelet_would_not_start_on_it(string version, string config, string? said)
    {
        var worker = Machine(version, "containerd", config, "1.7.24");
        worker.Facts = worker.Facts with { Kernel = worker.Facts.Kernel with { CgroupVersion = 1 } };

        if (said is null)
        {
            Should.NotThrow(worker.List);
        }
        else
        {
            Should.Throw<NotPossibleException>(worker.List).Message.ShouldContain(said);
        }
    }

    private static (IReadOnlyList<string> Flags, IReadOnlyList<string> Fields) Names(int minor, string runtime)
    {
        var (dropIn, configuration) = Files($"1.{minor}.0", runtime, Taint);
        var flags = dropIn.Split('\n').Select(l => l.Trim()).Where(l => l.StartsWith("--", StringComparison.Ordinal))
            .Select(l => l[2..l.IndexOf('=', StringComparison.Ordinal)]).ToList();
        var fields = configuration.Split('\n').Where(l => l.Length > 0 && char.IsAsciiLetter(l[0])).Select(l => l.Split(':')[0]).Except(["apiVersion", "kind"])
            .ToList();
        flags.Count.ShouldBeGreaterThan(4);
        fields.Count.ShouldBeGreaterThan(20);
        return (flags, fields);
    }

    private static (string DropIn, string Configuration) Files(string version, string runtime, string config = "")
    {
        var list = List(version, runtime, config);
        return (Text(list, "kubelet.service.d/50-nodeagent.conf"), Text(list, "kubelet.yaml"));
    }

    private static string Text(ResourceList list, string end) =>
        list.Items.OfType<ConfigFile>()
            .Single(f => f.Name.EndsWith(end, StringComparison.Ordinal) && f.Name.Contains("kube", StringComparison.Ordinal)).Content;

    private static ResourceList List(string version, string runtime, string config = "", string containerd = "1.7.24") =>
        Machine(version, runtime, config, containerd).List();

    private static Worker Machine(string version, string runtime, string config, string containerd)
    {
        var worker = new Worker { ExtraConfig = $"{Head}runtime: {runtime}\n{config}" };
        worker.Facts = worker.Facts with
        {
            Versions = worker.Facts.Versions with { Kubelet = version, Containerd = containerd, Docker = "20.10.24", CriDockerd = "0.3.4" },
        };
        return worker;
    }
}
