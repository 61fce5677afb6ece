using NodeAgent.Lab.Scenarios;

namespace NodeAgent.Lab;

internal enum Ring
{
    Container,
    VirtualMachine,
}

internal enum Tier
{
    /// <summary>Runs with every submission.</summary>
    Ci,

    /// <summary>Runs with the whole set only.</summary>
    Full,
}

/// <param name="Deadline">For the whole scenario, on a machine that does other things as well.</param>
internal sealed record Scenario(string Name, Ring Ring, Tier Tier, TimeSpan Deadline, Func<Laboratory, Task> Run)
{
    /// <summary>All there are, in the order in which they run: the cheap ring first.</summary>
    public static readonly IReadOnlyList<Scenario> All =
    [
        new("smoke-container", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(3), SmokeContainer.RunAsync),
        new("kubeadm-types", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(3), KubeadmTypes.RunAsync),
        new("kubeadm-certs", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(6), KubeadmCerts.RunAsync),
        new("bad-config", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(4), BadConfig.RunAsync),
        new("metadata-late", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(4), MetadataLate.RunAsync),
        new("metadata-down", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(4), MetadataDown.RunAsync),
        new("control-plane-certs", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(6), ControlPlaneCertificates.RunAsync),
        new("units-stand", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(4), UnitsStand.RunAsync),
        new("prune", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(5), Prune.RunAsync),
        new("s3-layers", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(5), S3Layers.RunAsync),
        new("inputs-away", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(6), InputsAway.RunAsync),
        new("proxy", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(5), Proxy.RunAsync),
        new("adopt", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(8), Adopt.RunAsync),
        new("lifecycle", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(8), Scenarios.Lifecycle.RunAsync),
        new("warm-pool", Ring.Container, Tier.Ci, TimeSpan.FromMinutes(6), WarmPool.RunAsync),
        new("smoke", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(10), Smoke.RunAsync),
        new("tags-from-ec2", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(8), TagsFromEc2.RunAsync),
        new("first-boot", Ring.VirtualMachine, Tier.Ci, TimeSpan.FromMinutes(12), FirstBoot.RunAsync),
        new("second-boot", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(12), SecondBoot.RunAsync),
        new("stop-start", Ring.VirtualMachine, Tier.Ci, TimeSpan.FromMinutes(12), StopStart.RunAsync),
        new("repair", Ring.VirtualMachine, Tier.Ci, TimeSpan.FromMinutes(15), Repair.RunAsync),
        new("docker", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(15), Scenarios.Docker.RunAsync),
        new("foreign-disk", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(10), ForeignDisk.RunAsync),
        new("issuer-join", Ring.VirtualMachine, Tier.Ci, TimeSpan.FromMinutes(15), IssuerJoin.RunAsync),
        new("issuer-down", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(15), IssuerDown.RunAsync),
        new("renewal", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(15), Renewal.RunAsync),
        new("proxy-switch", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(25), ProxySwitch.RunAsync),
        new("proxy-switch-killed", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(45), ProxySwitchKilled.RunAsync),
        new("cni-switch", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(30), CniSwitch.RunAsync),
        new("cluster", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(60), Cluster.RunAsync),
        new("control-plane-replaced", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(75), ControlPlaneReplaced.RunAsync),
        new("ca-rotate", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(90), CaRotate.RunAsync),
        new("power-cut", Ring.VirtualMachine, Tier.Full, TimeSpan.FromMinutes(45), PowerCut.RunAsync),
    ];

    /// <summary>Returns null when it passed, or what went wrong.</summary>
    public async Task<string?> TryAsync(Laboratory lab)
    {
        await lab.EnterAsync(Name);
        try
        {
            await Run(lab).WaitAsync(Deadline);
            return null;
        }
        catch (TimeoutException)
        {
            return $"no end after {Deadline.TotalMinutes:0} minutes";
        }
        catch (Exception e)
        {
            // Where in the scenario it failed says more than where in the harness.
            var where = e.StackTrace?.Split('\n').LastOrDefault(line => line.Contains($"{nameof(Scenarios)}.", StringComparison.Ordinal))?.Trim();
            return e is LabException or Shouldly.ShouldAssertException ? $"{e.Message}\n{where}" : e.ToString();
        }
        finally
        {
            await lab.LeaveAsync();
        }
    }
}
