using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>The agent is killed after each step of a change of kube-proxy's mode, there and back; the next run goes on, and the service answers.</summary>
internal static class ProxySwitchKilled
{
    // What holds once a step is done; each is killed as soon as it does.
    private static readonly (string To, string Step)[] Steps =
    [
        ("ipvs", "! test -e /etc/kubernetes/manifests/kube-proxy.yaml"),
        ("iptables", "! pgrep -x kube-proxy"),
        ("ipvs", "! iptables-save -t filter | grep -q KUBE-EXTERNAL-SERVICES"),
        ("iptables", "! ipvsadm -Ln | grep -q 10.96.0.77"),
        ("ipvs", "! iptables-save -t nat | grep -q KUBE-SVC-"),
        ("iptables", "! test -e /sys/class/net/kube-ipvs0"),
        ("ipvs", "! test -e /etc/kubernetes/kube-proxy/config.yaml"),
        ("iptables", "! ipset list -n | grep -q KUBE-CLUSTER-IP"),
        ("ipvs", "grep -q 'mode: ipvs' /etc/kubernetes/kube-proxy/config.yaml"),
    ];

    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await ProxySwitch.StartAsync(lab);
        var others = await ProxySwitch.OthersAsync(guest);
        await ProxySwitch.AnswersAsync(lab, guest);
        foreach (var (to, step) in Steps)
        {
            lab.Say($"to {to}, killed once {step}");
            await ProxySwitch.SayAsync(guest, to);
            // Killed, not asked to end; and killed all the same should it be done before the step is seen.
            await guest.CheckAsync($$"""
                nodeagent apply >/dev/null 2>&1 & agent=$!
                until { {{step}}; } >/dev/null 2>&1; do kill -0 $agent 2>/dev/null || break; done
                kill -KILL $agent 2>/dev/null; wait $agent; true
                """, Worker.ConvergeTimeout);

            await guest.CheckAsync("nodeagent apply", Worker.ConvergeTimeout);
            await ProxySwitch.AnswersAsync(lab, guest);
            await ProxySwitch.LeftAsync(guest, to);
            (await ProxySwitch.OthersOfAsync(guest)).ShouldBe(others);
            await Worker.NothingToDoAsync(guest);
        }
    }
}
