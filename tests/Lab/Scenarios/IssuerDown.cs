using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// No issuer answers when a worker boots: it waits, says for what, and joins when one is there. Later, one that is away takes nothing from a node that runs.
/// </summary>
internal static class IssuerDown
{
    public static Task RunAsync(Laboratory lab) => Issuing.WithWorkerAsync(lab, async (_, controlPlane, guest, _) =>
    {
        var booted = guest.JournalLength;
        await guest.RebootAsync();
        await guest.WaitForJournalAsync($"certificates from issuer https://{Issuing.Address}:{Issuing.Port}", Worker.ConvergeTimeout, booted);
        (await guest.RunAsync("systemctl is-active nodeagent.service")).Output.Trim().ShouldBe("activating");
        (await guest.RunAsync("systemctl is-active kubelet.service")).ExitCode.ShouldNotBe(0);
        lab.Say("the node waits");
        await Issuing.StartAsync(controlPlane);
        await Worker.ReadyAsync(lab, guest);
        await Worker.NothingToDoAsync(guest);

        await controlPlane.CheckAsync("systemctl stop nodeagent-issuer.service");
        const string Hash = "sha256sum /etc/kubernetes/pki/*.pem /etc/kubernetes/pki/kube-proxy/client.pem";
        var (files, kubelet) = (await guest.CheckAsync(Hash), await Worker.InvocationAsync(guest, "kubelet.service"));
        var failed = await guest.RunAsync(Issuing.Told + "nodeagent certs renew --all --deadline 20s", TimeSpan.FromMinutes(2));
        failed.ExitCode.ShouldBe(4, failed.Output + failed.Error);
        (failed.Output + failed.Error).ShouldContain($"issuer https://{Issuing.Address}:{Issuing.Port}");
        (await guest.CheckAsync(Hash)).ShouldBe(files);
        (await Worker.InvocationAsync(guest, "kubelet.service")).ShouldBe(kubelet);
        // Not due, so nobody is asked.
        await Worker.NothingToDoAsync(guest);
        (await guest.RunAsync("nodeagent apply", TimeSpan.FromMinutes(3))).EnsureSuccess();

        await Issuing.StartAsync(controlPlane);
        (await guest.RunAsync(Issuing.Told + "nodeagent certs renew --all", TimeSpan.FromMinutes(3))).EnsureSuccess();
        (await guest.CheckAsync(Hash)).ShouldNotBe(files);
        await Worker.ReadyAsync(lab, guest);
    });
}
