using System.Text;
using System.Text.Json;
using NodeAgent.Convergence;
using NodeAgent.Desired;
using NodeAgent.Facts;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Tests.Configuration;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

/// <summary>containerd and Docker: which versions are taken, what is written for them, and what is left of one when the other follows.</summary>
public class RuntimeTests
{
    private const string Credentials = "/var/lib/kubelet/config.json";

    [Fact]
    public void A_first_boot_with_Docker_starts_containerd_beneath_it_and_a_second_plan_is_empty()
    {
        var worker = WithDocker();
        var result = worker.Apply();

        WorkerTests.Problems(result).ShouldBeEmpty();
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
        worker.Machine.Writes.Where(w => w.StartsWith("start ", StringComparison.Ordinal)).ShouldBe(
        [
            "start var-lib-docker.mount", "start var-lib-kubelet.mount", "start var-log-pods.mount",
            "start containerd.service", "start docker.service", "start kubelet.service",
        ]);
    }

    [Fact]
    public void A_later_kubelet_gets_cri_dockerd()
    {
        var worker = WithDocker(kubelet: "1.29.3");
        worker.Apply();

        worker.Machine.Writes.ShouldContain("start cri-dockerd.service");
        Text(worker, "/etc/kubernetes/kubelet.yaml").ShouldContain("containerRuntimeEndpoint: unix:///run/cri-dockerd.sock");
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_former_runtime_leaves_no_file_behind(bool toDocker)
    {
        var authority = ConfigText.Authority.Replace("\n", "\\n", StringComparison.Ordinal);
        var registries = $"registries: {{registry.example: {{certificateAuthority: \"{authority}\"}}}}\n";
        string Config(bool docker) => ConfigText.Head + registries
            + (docker ? "runtime: docker\n" : "containerd: {mirrors: {docker.io: {endpoints: ['https://m.example']}}}\n");
        var changed = WithDocker(kubelet: "1.29.3");
        changed.ExtraConfig = Config(!toDocker);
        changed.Apply();
        changed.ExtraConfig = Config(toDocker);
        WorkerTests.Problems(changed.Apply()).ShouldBeEmpty();
        var fresh = WithDocker(kubelet: "1.29.3");
        fresh.ExtraConfig = Config(toDocker);
        fresh.Apply();

        Files(changed).ShouldBe(Files(fresh));
        // containerd runs through both, with another configuration.
        changed.Machine.Writes.ShouldContain("restart containerd.service");
        WorkerTests.Pending(changed.Plan()).ShouldBeEmpty();

        static IEnumerable<string> Files(Worker worker) => worker.Machine.AllFiles.Keys.Where(f => f.StartsWith("/etc/", StringComparison.Ordinal));
    }

    [Fact]
    public void A_changed_daemon_json_restarts_Docker_alone()
    {
        var worker = WithDocker();
        worker.Apply();
        worker.ExtraConfig += "docker: {logs: {maxFiles: 7}}\n";
        worker.Machine.Writes.Clear();

        worker.Apply();

        worker.Machine.Writes.Where(w => w.StartsWith("restart ", StringComparison.Ordinal)).ShouldBe(["restart docker.service"]);
    }

    [Fact]
    public void What_is_said_for_daemon_json_is_merged_and_null_removes()
    {
        var worker = WithDocker();
        worker.ExtraConfig += "docker: {mirrors: ['https://m.example/'], "
            + "configuration: {features: {buildkit: true}, iptables: null, default-ulimits: {nofile: {Name: nofile, Hard: 9}}}}\n";
        worker.Apply();

        using var daemon = JsonDocument.Parse(Text(worker, Docker.ConfigurationPath));
        daemon.RootElement.GetProperty("features").ToString().ReplaceLineEndings("").Replace(" ", "", StringComparison.Ordinal)
            .ShouldBe("{\"containerd-snapshotter\":false,\"buildkit\":true}");
        daemon.RootElement.TryGetProperty("iptables", out _).ShouldBeFalse();
        daemon.RootElement.GetProperty("registry-mirrors")[0].GetString().ShouldBe("https://m.example");
        daemon.RootElement.GetProperty("default-ulimits").GetProperty("nofile").GetProperty("Hard").GetInt32().ShouldBe(9);
    }

    [Theory]
    [InlineData("24.0.9", false)]
    [InlineData("25.0.0", true)]
    [InlineData("28.5.1", true)]
    public void Dockershim_asks_for_an_API_that_still_says_what_it_needs(string docker, bool pinned)
    {
        var worker = WithDocker(docker: docker);
        worker.Apply();
        var dropIn = Text(worker, "/etc/systemd/system/kubelet.service.d/50-nodeagent.conf");

        dropIn.Contains("\nEnvironment=DOCKER_API_VERSION=1.40\n", StringComparison.Ordinal).ShouldBe(pinned);
        dropIn.Contains("--docker-endpoint= ", StringComparison.Ordinal).ShouldBe(pinned);
        dropIn.ShouldContain("--container-runtime=docker");
    }

    [Theory]
    [InlineData("29.0.0", "1.23.17", "an API that it no longer speaks")]
    [InlineData("19.03.15", "1.20.2", "knows cgroup v1 only")]
    [InlineData("dev", "1.20.2", "which is not one of Docker")]
    [InlineData(null, "1.20.2", "there is no dockerd at /usr/bin/dockerd")]
    public void A_Docker_that_cannot_work_is_refused_with_the_reason(string? docker, string kubelet, string why) =>
        Should.Throw<NotPossibleException>(() => WithDocker(kubelet, docker).List()).Message.ShouldContain(why);

    [Fact]
    public void Docker_29_is_taken_with_cri_dockerd() => WithDocker("1.34.1", "29.0.0").List().Items.ShouldContain(r => r.Id == "service cri-dockerd.service");

    [Theory]
    [InlineData("1.6.0", 2)]
    [InlineData("1.7.24", 2)]
    [InlineData("2.0.0-rc.1", 3)]
    [InlineData("2.2.1", 3)]
    public void Each_containerd_gets_its_version_of_the_configuration(string containerd, int version)
    {
        var worker = new Worker();
        worker.Facts = worker.Facts with { Versions = worker.Facts.Versions with { Kubelet = "1.26.15", Containerd = containerd } };
        worker.Apply();

        var toml = Text(worker, "/etc/containerd/nodeagent/config.toml");
        toml.ShouldContain($"\nversion = {version}\n");
        toml.Contains("io.containerd.grpc.v1.cri", StringComparison.Ordinal).ShouldBe(version == 2);
        toml.Contains("io.containerd.cri.v1.images", StringComparison.Ordinal).ShouldBe(version == 3);
    }

    [Theory]
    [InlineData("1.5.18", "is containerd 1.5.18; nodeagent knows the configuration of 1.6 and later of 1.x, and of 2.x. Install a later one")]
    [InlineData("0.2.0", "Install a later one")]
    [InlineData("3.0.0", "or a nodeagent that knows this one")]
    [InlineData("newest", "which is not one of containerd")]
    public void A_containerd_whose_configuration_is_not_known_is_refused(string containerd, string why)
    {
        var worker = new Worker();
        worker.Facts = worker.Facts with { Versions = worker.Facts.Versions with { Containerd = containerd } };

        Should.Throw<NotPossibleException>(worker.List).Message.ShouldContain(why);
    }

    [Fact]
    public void A_password_stands_in_kubelets_file_alone_and_goes_with_its_registry()
    {
        var worker = new Worker
        {
            ExtraConfig = ConfigText.Head + "registries: {docker.io: {username: us, password: not-to-be-seen}, r.example: {username: u, password: p}}\n",
        };
        worker.Apply();

        var file = worker.Machine.File(Credentials);
        file.Mode.ShouldBe(ConfigFile.Private);
        using var document = JsonDocument.Parse(file.Content);
        var auths = document.RootElement.GetProperty("auths");
        auths.GetProperty("https://index.docker.io/v1/").GetProperty("auth").GetString().ShouldBe(Convert.ToBase64String("us:not-to-be-seen"u8));
        auths.GetProperty("r.example").GetProperty("auth").GetString().ShouldBe(Convert.ToBase64String("u:p"u8));
        // There it stands encoded; nowhere as it is.
        worker.Machine.AllFiles.Where(
            f => f.Value.Content is { } content && Encoding.UTF8.GetString(content).Contains("not-to-be-seen", StringComparison.Ordinal))
            .ShouldBeEmpty();
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();

        worker.ExtraConfig = ConfigText.Head;
        worker.Machine.Writes.Clear();
        worker.Apply();
        worker.Machine.Writes.ShouldBe([$"delete {Credentials}"]);
    }

    [Fact]
    public void Credentials_that_somebody_else_wrote_stay_while_the_configuration_says_none()
    {
        var worker = new Worker();
        worker.Machine.Put(Credentials, new FileReport(FileKind.Regular, "{\"auths\": {}}"u8.ToArray(), ConfigFile.Private));
        worker.Apply();

        worker.Machine.File(Credentials).Kind.ShouldBe(FileKind.Regular);
    }

    [Fact]
    public void A_mirror_of_all_registries_names_no_server_so_that_each_is_asked_last()
    {
        var worker = new Worker { ExtraConfig = ConfigText.Head + "containerd: {mirrors: {_default: {endpoints: ['https://m.example']}}}\n" };
        worker.Apply();

        Text(worker, "/etc/containerd/nodeagent/hosts/_default/hosts.toml").ShouldNotContain("server");
    }

    [Fact]
    public void A_mirror_is_trusted_by_the_authority_of_its_own_host()
    {
        var authority = ConfigText.Authority.Replace("\n", "\\n", StringComparison.Ordinal);
        var worker = new Worker
        {
            ExtraConfig = ConfigText.Head + $"registries: {{'m.example:5000': {{certificateAuthority: \"{authority}\"}}}}\n"
                + "containerd: {mirrors: {docker.io: {endpoints: ['https://m.example:5000/hub', 'https://other.example']}}}\n",
        };
        worker.Apply();

        Text(worker, "/etc/containerd/nodeagent/hosts/docker.io/hosts.toml").ShouldEndWith("""
            server = "https://registry-1.docker.io"

            [host."https://m.example:5000/hub"]
              capabilities = ["pull", "resolve"]
              ca = "/etc/containerd/nodeagent/hosts/m.example:5000/ca.crt"

            [host."https://other.example"]
              capabilities = ["pull", "resolve"]

            """);
        Text(worker, "/etc/containerd/nodeagent/hosts/m.example:5000/hosts.toml").ShouldContain(
            "\nca = \"/etc/containerd/nodeagent/hosts/m.example:5000/ca.crt\"\n");
        // One host at least, or containerd 1.6 and 1.7 do not read the file at all.
        Text(worker, "/etc/containerd/nodeagent/hosts/m.example:5000/hosts.toml").ShouldContain(
            "\n[host.\"https://m.example:5000\"]\n  ca = \"/etc/containerd/nodeagent/hosts/m.example:5000/ca.crt\"\n");
        Text(worker, "/etc/containerd/nodeagent/hosts/m.example:5000/ca.crt").ShouldContain(ConfigText.Authority.Trim());
    }

    [Theory]
    [InlineData(null, "there is no /usr/bin/cri-dockerd")]
    [InlineData("0.2.6", "install cri-dockerd 0.3 or later")]
    public void A_later_kubelet_is_refused_without_a_cri_dockerd_that_fits(string? criDockerd, string said)
    {
        var worker = WithDocker(kubelet: "1.29.3");
        worker.Facts = worker.Facts with { Versions = worker.Facts.Versions with { CriDockerd = criDockerd } };

        Should.Throw<NotPossibleException>(worker.List).Message.ShouldContain(said);
    }

    /// <summary>
    /// Else the agent, at boot, would wait for the start of a service that waits for the agent: systemd's After= of one unit does not tell of the next.
    /// </summary>
    [Theory]
    [InlineData("1.20.2", "docker")]
    [InlineData("1.29.3", "docker")]
    [InlineData("1.29.3", "containerd")]
    public void Each_service_that_the_agent_starts_is_ordered_after_it_directly(string kubelet, string runtime)
    {
        var worker = WithDocker(kubelet);
        worker.ExtraConfig = ConfigText.Head + $"runtime: {runtime}\n";
        var before = File.ReadAllLines(Path.Combine(Repository.Folder, "systemd", "nodeagent.service"))
            .Single(l => l.StartsWith("Before=", StringComparison.Ordinal));

        var services = worker.List().Items.OfType<Service>().Select(s => s.Name).ToList();

        services.ShouldContain("kubelet.service");
        services.Except(before["Before=".Length..].Split(' ')).Where(s => !IsAfterTheAgent(s)).ShouldBeEmpty();

        // Those that come with the package may say it themselves.
        static bool IsAfterTheAgent(string unit) => Path.Combine(Repository.Folder, "systemd", unit) is var file && File.Exists(file)
            && File.ReadAllLines(file)
            .Any(l => l.StartsWith("After=", StringComparison.Ordinal) && l["After=".Length..].Split(' ').Contains("nodeagent.service"));
    }

    private static Worker WithDocker(string kubelet = "1.20.2", string? docker = "26.1.5")
    {
        var worker = new Worker { ExtraConfig = ConfigText.Head + "runtime: docker\n" };
        worker.Facts = worker.Facts with { Versions = new VersionFacts { Kubelet = kubelet, Containerd = "1.7.24", Docker = docker, CriDockerd = "0.3.4" } };
        worker.Machine.Set(new UnitReport("docker.service", LoadState: "loaded", UnitFileState: "enabled"));
        return worker;
    }

    private static string Text(Worker worker, string path) => Encoding.UTF8.GetString(worker.Machine.File(path).Content.ShouldNotBeNull());
}
