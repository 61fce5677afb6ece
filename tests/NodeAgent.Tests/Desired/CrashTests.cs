using System.Text;
using NodeAgent.Machine;
using NodeAgent.Tests.Simulation;

namespace NodeAgent.Tests.Desired;

/// <summary>The power goes at write n, for every n; what comes back converges.</summary>
public class CrashTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_first_boot_cut_off_at_any_write_converges_at_the_next_boot(bool afterEffect) => EveryCut(afterEffect, worker => { });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_repair_cut_off_at_any_write_converges_at_the_next_boot(bool afterEffect) => EveryCut(afterEffect, Damage);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_repair_whose_agent_dies_at_any_write_still_restarts_what_it_owes(bool afterEffect)
    {
        for (var cut = 0; ; cut++)
        {
            var worker = Damaged();
            var before = worker.Machine.Unit("kubelet.service").InvocationId;
            worker.Machine.CrashAtWrite = cut;
            worker.Machine.CrashAfterEffect = afterEffect;
            if (!Dies(worker))
            {
                cut.ShouldBeGreaterThan(10);
                return;
            }

            // No reboot: the machine and kubelet went on, only the agent was killed.
            worker.Machine.CrashAtWrite = -1;
            WorkerTests.Problems(worker.Apply()).ShouldBeEmpty($"cut at write {cut}");
            WorkerTests.Pending(worker.Plan()).ShouldBeEmpty($"cut at write {cut}");
            worker.Machine.Unit("kubelet.service")
                .InvocationId.ShouldNotBe(before, $"cut at write {cut}: kubelet still runs on what it read before the repair");
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_control_plane_nodes_first_boot_cut_off_at_any_write_converges_at_the_next_boot(bool afterEffect) =>
        EveryCut(afterEffect, () => new ControlPlane().Node);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_repair_of_a_control_plane_node_cut_off_at_any_write_converges_at_the_next_boot(bool afterEffect) => EveryCut(afterEffect, () =>
    {
        var node = new ControlPlane().Node;
        node.Apply();
        Damage(node);
        foreach (var row in NodeAgent.Pki.RoleTable.ControlPlane.Where((_, i) => i % 2 == 0))
        {
            node.Machine.Remove(row.Path);
        }

        node.Machine.Remove("/etc/kubernetes/pki/etcd/ca.crt");
        node.Machine.Remove("/etc/kubernetes/pki/sa.key");
        return node;
    });

    private static void EveryCut(bool afterEffect, Action<Worker> damage) => EveryCut(afterEffect, () => damage == Damage ? Damaged() : new Worker());

    private static void EveryCut(bool afterEffect, Func<Worker> make)
    {
        for (var cut = 0; ; cut++)
        {
            var worker = make();
            worker.Machine.CrashAtWrite = cut;
            worker.Machine.CrashAfterEffect = afterEffect;
            if (!Dies(worker))
            {
                cut.ShouldBeGreaterThan(10);
                return;
            }

            worker.Machine.Reboot();
            WorkerTests.Problems(worker.Apply()).ShouldBeEmpty($"cut at write {cut}");
            WorkerTests.Pending(worker.Plan()).ShouldBeEmpty($"cut at write {cut}");
        }
    }

    private static Worker Damaged()
    {
        var worker = new Worker();
        worker.Apply();
        Damage(worker);
        return worker;
    }

    private static void Damage(Worker worker)
    {
        var machine = worker.Machine;
        machine.Put("/etc/kubernetes/kubelet.yaml", new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes("x: 1\n"), (UnixFileMode)0x1A4));
        machine.Remove("/etc/systemd/system/kubelet.service.d/50-nodeagent.conf");
        machine.Remove("/etc/containerd/nodeagent/config.toml");
        machine.Remove("/etc/kubernetes/pki/kubelet-client.pem");
        machine.Remove("/etc/cni/net.d/10-nodeagent.conflist");
        machine.SetModule("br_netfilter", ModuleState.Available);
        machine.Unmount("/var/log/pods");
        machine.Put("/etc/sysctl.d/95-nodeagent.conf", new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes("# edited\n"), (UnixFileMode)0x1A4));
    }

    internal static bool Dies(Worker worker)
    {
        try
        {
            worker.Apply();
            return false;
        }
        catch (PowerCutException)
        {
            return true;
        }
    }
}
