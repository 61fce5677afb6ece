using System.Text;
using NodeAgent.Facts;
using NodeAgent.Machine;

namespace NodeAgent.Tests.Facts;

public class VersionMemoryTests
{
    private const string Kubelet = "/usr/bin/kubelet";
    private const string Containerd = "/usr/bin/containerd";

    private readonly Dictionary<string, string> _files = new()
    {
        [Kubelet] = "131 118000000 1732180000.000000001",
        [Containerd] = "132 50000000 1732180000.000000002",
    };

    private readonly Dictionary<string, string> _says = new()
    {
        [Kubelet] = "Kubernetes v1.20.2\n",
        [Containerd] = "containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+deb13u1\n",
    };

    private readonly List<string> _runs = [];
    private byte[]? _file;
    private int _saves;

    [Fact]
    public async Task A_binary_runs_once_and_is_remembered()
    {
        var first = await Memory().Versions(Kubelet, Containerd);
        var second = await Memory().Versions(Kubelet, Containerd);

        first.ShouldBe(new VersionFacts { Kubelet = "1.20.2", Containerd = "1.7.24" });
        second.ShouldBe(first);
        _runs.Order().ShouldBe([Containerd + " --version", Kubelet + " --version"]);
        _saves.ShouldBe(1);
    }

    [Fact]
    public async Task Docker_and_cri_dockerd_are_looked_for_where_they_are_asked_for()
    {
        (_files["/usr/bin/dockerd"], _files["/usr/bin/cri-dockerd"]) = ("133 1 1.000000000", "134 1 1.000000000");
        (_says["/usr/bin/dockerd"], _says["/usr/bin/cri-dockerd"]) = ("Docker version 26.1.5+dfsg1, build 411e817\n", "cri-dockerd 0.3.4 (e88b1605)\n");

        (await Memory().Versions(Kubelet, Containerd, "/usr/bin/dockerd", "/usr/bin/cri-dockerd"))
            .ShouldBe(new VersionFacts { Kubelet = "1.20.2", Containerd = "1.7.24", Docker = "26.1.5", CriDockerd = "0.3.4" });
        (await Memory().Versions(Kubelet, Containerd, "/usr/bin/dockerd", "/usr/local/bin/cri-dockerd")).CriDockerd.ShouldBeNull();
    }

    [Fact]
    public async Task A_binary_that_was_replaced_runs_again_and_the_other_does_not()
    {
        await Memory().Versions(Kubelet, Containerd);
        _runs.Clear();
        _files[Kubelet] = "140 118000000 1732190000.000000000";
        _says[Kubelet] = "Kubernetes v1.21.0";

        (await Memory().Versions(Kubelet, Containerd)).Kubelet.ShouldBe("1.21.0");
        _runs.ShouldBe([Kubelet + " --version"]);
    }

    [Fact]
    public async Task A_binary_that_is_not_there_is_not_run_and_no_longer_remembered()
    {
        await Memory().Versions(Kubelet, Containerd);
        _files.Remove(Kubelet);

        (await Memory().Versions(Kubelet, Containerd)).ShouldBe(new VersionFacts { Containerd = "1.7.24" });
        Encoding.UTF8.GetString(_file!).ShouldNotContain(Kubelet);
    }

    [Fact]
    public async Task A_memory_that_cannot_be_read_is_none()
    {
        _file = "{ \"binaries\": "u8.ToArray();

        (await Memory().Versions(Kubelet, Containerd)).Kubelet.ShouldBe("1.20.2");
    }

    [Fact]
    public async Task A_memory_that_cannot_be_written_is_no_failure()
    {
        var memory = new VersionMemory(() => null, _ => throw new MachineException("write", "read-only file system"), p => _files.GetValueOrDefault(p), Run);

        (await memory.Versions(Kubelet, Containerd)).Kubelet.ShouldBe("1.20.2");
    }

    [Fact]
    public async Task What_is_not_a_version_is_said_to_be_none()
    {
        _says[Kubelet] = "flag provided but not defined: -version";

        var failure = await Should.ThrowAsync<ProbeException>(() => Memory().Versions(Kubelet, Containerd));

        failure.Message.ShouldContain("/usr/bin/kubelet --version");
        failure.Message.ShouldContain("flag provided but not defined");
    }

    [Theory]
    [InlineData("Kubernetes v1.20.2", "1.20.2")]
    [InlineData("Kubernetes v1.29.0-eks-5e0fdde", "1.29.0-eks-5e0fdde")]
    [InlineData("Kubernetes v1.36.0-alpha.2", "1.36.0-alpha.2")]
    [InlineData("Kubernetes $Format:%H$", null)]
    [InlineData("", null)]
    public void Kubelet_says_its_version(string said, string? version) => VersionMemory.ParseKubelet(said).ShouldBe(version);

    [Theory]
    [InlineData("containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+deb13u1", "1.7.24")]
    [InlineData("containerd github.com/containerd/containerd v1.6.20 2806fc1057397dbaeefbea0e4e17bddfbd388f38", "1.6.20")]
    [InlineData("containerd containerd.io 1.7.25 bcc810d6b9066471b0b6fa75f557a15a1cbf31bb", "1.7.25")]
    [InlineData("containerd github.com/containerd/containerd/v2 v2.0.0-rc.1 207ad711eabd375a01713109a8a197d197ff6542", "2.0.0-rc.1")]
    [InlineData("containerd", null)]
    public void Containerd_says_its_version(string said, string? version) => VersionMemory.ParseContainerd(said).ShouldBe(version);

    [Theory]
    [InlineData("Docker version 26.1.5+dfsg1, build a72d7cd", "26.1.5")]
    [InlineData("Docker version 27.3.1, build 41ca978", "27.3.1")]
    [InlineData("Docker version dev, build HEAD", null)]
    [InlineData("docker: command not found", null)]
    public void Docker_says_its_version(string said, string? version) => VersionMemory.ParseDocker(said).ShouldBe(version);

    [Fact]
    public async Task Docker_is_asked_where_it_is_the_runtime_alone()
    {
        _files["/usr/bin/dockerd"] = "7 7 7.000000000";
        _says["/usr/bin/dockerd"] = "Docker version 26.1.5+dfsg1, build a72d7cd\n";

        (await Memory().Versions(Kubelet, Containerd)).Docker.ShouldBeNull();
        (await Memory().Versions(Kubelet, Containerd, "/usr/bin/dockerd")).Docker.ShouldBe("26.1.5");
        _runs.Count(r => r.StartsWith("/usr/bin/dockerd", StringComparison.Ordinal)).ShouldBe(1);
    }

    private VersionMemory Memory() => new(() => _file, Save, p => _files.GetValueOrDefault(p), Run);

    private void Save(byte[] content)
    {
        _file = content;
        _saves++;
    }

    private string Run(string path, string[] arguments)
    {
        lock (_runs)
        {
            _runs.Add(string.Join(' ', [path, .. arguments]));
        }

        return _says[path];
    }
}
