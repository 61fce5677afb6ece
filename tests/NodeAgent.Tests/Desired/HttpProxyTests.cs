using System.Text;
using NodeAgent.Configuration;
using NodeAgent.Desired;
using NodeAgent.Machine;
using NodeAgent.Tests.Simulation;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Desired;

public class HttpProxyTests
{
    private const string Flow = "{apiVersion: nodeagent/v1, kind: NodeConfig, ";

    private const string Unit = "/etc/systemd/system/kubelet.service.d/50-nodeagent.conf";

    private const string RuntimeUnit = "/etc/systemd/system/containerd.service.d/50-nodeagent.conf";

    [Fact]
    public void Runtime_and_kubelet_get_the_proxy_and_what_it_is_never_asked_for()
    {
        var worker = With("proxy: {https: 'http://proxy.example:3128', noProxy: [.example.net]}");

        foreach (var path in new[] { Unit, RuntimeUnit })
        {
            var unit = Text(worker, path);
            unit.ShouldContain("Environment=\"HTTPS_PROXY=http://proxy.example:3128\"\n");
            unit.ShouldContain(
                "Environment=\"NO_PROXY=127.0.0.1,169.254.169.254,::1,fd00:ec2::254,localhost,.example.net,cluster.local,api.test.example,"
                + "10.96.0.0/12,10.244.3.0/24\"\n");
            unit.ShouldNotContain("HTTP_PROXY=");
        }

        worker.Machine.File(HttpProxy.EnvironmentFile).Kind.ShouldBe(FileKind.Absent);
    }

    [Fact]
    public void A_password_stands_in_a_file_of_roots_own_and_nowhere_else()
    {
        var worker = With("proxy: {https: 'http://worker:hush%25@proxy.example:3128'}");

        worker.Machine.File(HttpProxy.EnvironmentFile).Mode.ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Text(worker, HttpProxy.EnvironmentFile).ShouldContain("\nHTTPS_PROXY=\"http://worker:hush%25@proxy.example:3128\"\n");
        Text(worker, Unit).ShouldContain($"[Service]\nEnvironmentFile={HttpProxy.EnvironmentFile}\n");
        foreach (var (path, file) in worker.Machine.AllFiles.Where(f => f.Key != HttpProxy.EnvironmentFile))
        {
            (file.Content is { } content ? Encoding.UTF8.GetString(content) : "").ShouldNotContain("hush", customMessage: path);
        }

        foreach (var change in new Worker { ExtraConfig = worker.ExtraConfig }.Plan().Steps.Select(s => $"{s.Finding}"))
        {
            change.ShouldNotContain("hush");
        }
    }

    [Fact]
    public void A_new_password_restarts_runtime_and_kubelet()
    {
        var worker = With("proxy: {https: 'http://worker:hush@proxy.example:3128'}");
        worker.ExtraConfig = worker.ExtraConfig.Replace("hush", "other", StringComparison.Ordinal);

        WorkerTests.Pending(worker.Plan()).ShouldBe([$"file {HttpProxy.EnvironmentFile}", "restart containerd.service", "restart kubelet.service"]);
    }

    [Fact]
    public void A_proxy_that_is_gone_leaves_nothing_behind_and_its_readers_are_restarted()
    {
        var worker = With("proxy: {https: 'http://worker:hush@proxy.example:3128'}");
        worker.ExtraConfig = Flow + "proxy: null}";

        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();

        worker.Machine.File(HttpProxy.EnvironmentFile).Kind.ShouldBe(FileKind.Absent);
        Text(worker, Unit).ShouldNotContain("nvironment");
        worker.Machine.Writes.ShouldContain("restart containerd.service");
        worker.Machine.Writes.ShouldContain("restart kubelet.service");
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Theory]
    [InlineData("proxy: {noProxy: [a.example]}", "node.yaml:3:8: proxy: names no proxy; expected http, https or both")]
    [InlineData("proxy: {http: 'ftp://hush'}", "node.yaml:3:15: proxy.http: is not a proxy; expected http://[user:password@]host[:port] and nothing more")]
    [InlineData(
        "proxy: {https: 'http://hush/path'}", "node.yaml:3:16: proxy.https: is not a proxy; expected http://[user:password@]host[:port] and nothing more")]
    [InlineData(
        "proxy: {https: 'http://u:h\"ush@p'}",
        "node.yaml:3:16: proxy.https: holds a space, quote or backslash, or something beyond ASCII; in user names and passwords they are written in percent, "
            + "as in %22")]
    [InlineData(
        "proxy: {http: 'http://p', noProxy: ['a,b']}",
        "node.yaml:3:37: proxy.noProxy[0]: 'a,b' is not an exception; expected one host, .domain, address or range, as in .example.com or 10.0.0.0/8")]
    public void What_is_no_proxy_is_refused_and_not_repeated(string text, string error) => ErrorsOf(text).ShouldBe([error]);

    [Fact]
    public void The_agent_knows_its_proxy_before_the_rest_of_the_configuration_is_there()
    {
        // No cluster: its name comes by the very tags that the proxy is needed for.
        var image = Document("image.yaml", "apiVersion: nodeagent/v1\nkind: NodeConfig\nproxy: {http: 'http://image.example', noProxy: [a.example]}\n");
        var userData = new Layer.UserData(Encoding.UTF8.GetBytes("apiVersion: nodeagent/v1\nkind: NodeConfig\nproxy: {http: 'http://launch.example'}\n"));

        var proxy = NodeConfigLoader.Proxy([image, userData]);

        proxy.ShouldNotBeNull().Http!.Reveal().ShouldBe("http://launch.example");
        ProxyExceptions.Of(proxy).ShouldBe(["127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "localhost", "a.example"]);
        NodeConfigLoader.Proxy([Document("image.yaml", "apiVersion: nodeagent/v1\nkind: NodeConfig\nproxy: 3\n")]).ShouldBeNull();
    }

    private static Worker With(string config)
    {
        var worker = new Worker { ExtraConfig = $"{Flow}{config}}}" };
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        worker.Machine.Writes.Clear();
        return worker;
    }

    private static string Text(Worker worker, string path) => Encoding.UTF8.GetString(worker.Machine.File(path).Content.ShouldNotBeNull());
}
