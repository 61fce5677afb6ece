using System.Text.Json;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// The cluster's CA gives way to another one, in the three stages of docs/certificates.md, each done twice: nodes stay, the pod goes on as it was, who holds a
/// certificate of the old CA is let in until it is dropped and not after, and a worker that boots then joins.
/// </summary>
internal static class CaRotate
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(10);

    public static async Task RunAsync(Laboratory lab)
    {
        await using var cluster = await ClusterLab.CreateAsync(lab);
        var (worker, controlPlane, _) = await cluster.LaunchBothAsync("worker-1", "control-plane");
        await UpAsync();
        await cluster.PodRunsAsync(ClusterLab.NodeOf(21));
        var (node, pod) = (await cluster.NodeAsync(21), await cluster.PodIdentityAsync(21));
        var containerd = await Worker.InvocationAsync(worker, "containerd.service");
        // As somebody would have carried it away: the old CA's, as what it trusts and as who it is.
        await controlPlane.CheckAsync("cp /etc/kubernetes/admin.conf /root/old.conf");
        (await AnswerToOldAsync()).ShouldBe("200");

        var both = await StageAsync("trust");
        Count(both).ShouldBe(2);
        await AdoptAsync(both);
        (await worker.RunAsync("nodeagent certs list")).Output.ShouldContain("CN = kubernetes-2");
        (await IssuersAsync(worker)).ShouldBe(["CN = kubernetes"], "nothing is signed with the next CA");
        await UpAsync();

        (await StageAsync("sign")).ShouldBe(both);
        await controlPlane.WaitForAsync("journalctl --output cat --unit nodeagent-issuer.service | grep 'CN=kubernetes-2 .* signs'", Patience);
        // Two minutes is what an issuer may take for a certificate of its own by the CA that signs.
        await Task.Delay(TimeSpan.FromMinutes(3));
        foreach (var guest in new[] { controlPlane, worker })
        {
            await guest.CheckAsync("nodeagent certs renew --all", Patience);
            (await IssuersAsync(guest)).ShouldBe(["CN = kubernetes-2"]);
            await UpAsync();
        }

        (await AnswerToOldAsync()).ShouldBe("200", "the CA of before is trusted until it is dropped");

        var alone = await StageAsync("drop", "--renewed");
        Count(alone).ShouldBe(1);
        await AdoptAsync(alone);
        await UpAsync();
        (await worker.CheckAsync("grep -c BEGIN /etc/kubernetes/pki/ca.crt")).Trim().ShouldBe("1");
        await lab.WaitForAsync("the holder of the old CA's certificate is a stranger", Patience, async () =>
        {
            var status = await AnswerToOldAsync();
            return (status == "401", status);
        });

        (await cluster.NodeAsync(21)).ShouldBe(node, "the worker's node is the object that it was");
        (await cluster.PodIdentityAsync(21)).ShouldBe(pod, "its pod was never started again");
        (await Worker.InvocationAsync(worker, "containerd.service")).ShouldBe(containerd);
        await cluster.LaunchAsync(ClusterLab.Worker, "worker-2", 22);
        await cluster.ReadyAsync(ClusterLab.NodeOf(22));
        await Worker.NothingToDoAsync(controlPlane);
        await Worker.NothingToDoAsync(worker);

        async Task<string> StageAsync(string stage, params string[] more)
        {
            string[] command = ["rotate", "--stage", stage, .. more];
            var done = await cluster.Fleet.CaAsync(command);
            lab.Say(done.Error.Trim());
            var again = await cluster.Fleet.CaAsync(command);
            again.Error.ShouldContain("Nothing to do");
            again.Output.ShouldBe(done.Output);
            return done.Output;
        }

        async Task AdoptAsync(string authorities)
        {
            await cluster.TrustAsync(authorities);
            foreach (var guest in new[] { controlPlane, worker })
            {
                await guest.CheckAsync("nodeagent apply", Patience);
                await Worker.NothingToDoAsync(guest);
            }
        }

        async Task UpAsync()
        {
            await cluster.ServesAsync(controlPlane, "10.0.16.11");
            await cluster.ReadyAsync(ClusterLab.NodeOf(11));
            await cluster.ReadyAsync(ClusterLab.NodeOf(21));
        }

        // The status, or 000 where there is no answer: an API server that is away refuses nobody.
        async Task<string> AnswerToOldAsync() => (await controlPlane.RunAsync(
            "curl --silent --output /dev/null --write-out '%{http_code}' --max-time 50 --insecure "
            + "--cert <(grep client-certificate-data /root/old.conf | cut -d: -f2 | base64 -di) "
            + "--key <(grep client-key-data /root/old.conf | cut -d: -f2 | base64 -di) https://127.0.0.1:6443/api/v1/namespaces/default")).Output.Trim();
    }

    private static int Count(string pem) => pem.Split("-----BEGIN CERTIFICATE-----").Length - 1;

    /// <summary>Which CAs of the cluster signed what the node has; etcd and the front proxy have others.</summary>
    private static async Task<string[]> IssuersAsync(Guest guest)
    {
        using var list = JsonDocument.Parse((await guest.RunAsync("nodeagent certs list --format json")).Output);
        return
        [
            .. list.RootElement.GetProperty("certificates").EnumerateArray().Where(c => c.GetProperty("role").GetString() != "ca")
                .Select(c => c.GetProperty("issuer").GetString()!).Where(i => i is "CN = kubernetes" or "CN = kubernetes-2").Distinct(),
        ];
    }
}
