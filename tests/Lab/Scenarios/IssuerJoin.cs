using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// A worker that holds no key of a CA and may not read one becomes Ready: an issuer on another machine, found by EC2's tags, signs what EC2, STS and the
/// identity document agree about. It renews with the certificates it then has.
/// </summary>
internal static class IssuerJoin
{
    public static Task RunAsync(Laboratory lab) => Issuing.WithWorkerAsync(lab, async (fleet, controlPlane, guest, instance) =>
    {
        await Issuing.StartAsync(controlPlane);
        await guest.RebootAsync();
        await Worker.ReadyAsync(lab, guest);

        var joined = (await Issuing.AuditAsync(controlPlane)).ShouldHaveSingleItem();
        (joined.Decision, joined.Proof, joined.Instance).ShouldBe(("granted", "sts", instance), joined.ToString());
        joined.Roles.ShouldBe(["kubelet-client", "kubelet-serving", "kube-proxy"]);
        await Worker.NothingToDoAsync(guest);
        await Issuing.OpenSslAgreesAsync(guest);
        (await guest.RunAsync("nodeagent certs list")).ExitCode.ShouldBe(0);

        (await guest.CheckAsync("find / -xdev -name ca.key")).ShouldBe("");
        var denied = await guest.RunAsync($"{Issuing.Told}nodeagent ca show --store {fleet.Store} --region us-east-1", TimeSpan.FromMinutes(2));
        (denied.ExitCode, denied.Error.Contains("not allowed", StringComparison.Ordinal)).ShouldBe((1, true), denied.Error);
        lab.Say("the worker may not read the CA");

        // By the certificate that stands; kubelet 1.20 reads its serving file at start alone, and nothing else is in need of anything.
        var (kubelet, containerd) = (await Worker.InvocationAsync(guest, "kubelet.service"), await Worker.InvocationAsync(guest, "containerd.service"));
        var proxy = await guest.CheckAsync("pgrep -x kube-proxy");
        (await guest.RunAsync(Issuing.Told + "nodeagent certs renew --all", TimeSpan.FromMinutes(3))).EnsureSuccess();
        var renewed = (await Issuing.AuditAsync(controlPlane))[^1];
        (renewed.Decision, renewed.Proof, renewed.Instance).ShouldBe(("granted", "certificate", instance), renewed.ToString());
        (await Worker.InvocationAsync(guest, "kubelet.service")).ShouldNotBe(kubelet);
        (await Worker.InvocationAsync(guest, "containerd.service")).ShouldBe(containerd);
        (await guest.CheckAsync("pgrep -x kube-proxy")).ShouldBe(proxy);
        await Worker.NothingToDoAsync(guest);
        await Issuing.OpenSslAgreesAsync(guest);

        await Issuing.NoKeyIsSeenAsync(guest);
        await Issuing.NoKeyIsSeenAsync(controlPlane, await File.ReadAllTextAsync(lab.CertificateAuthority.KeyFile));
    });
}
