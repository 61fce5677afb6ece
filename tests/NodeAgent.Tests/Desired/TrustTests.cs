using System.Security.Cryptography;
using System.Text;
using NodeAgent.Convergence;
using NodeAgent.Machine;
using NodeAgent.Resources;
using NodeAgent.Tests.Simulation;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Desired;

public class TrustTests
{
    private const string FilePath = "/usr/local/share/ca-certificates/nodeagent-corporate.crt";

    private const string None = "apiVersion: nodeagent/v1\nkind: NodeConfig\n";

    private static string One => $"{None}trust:\n  certificates:\n    corporate: |\n{Indented(Authority, 6)}\n";

    [Fact]
    public void A_certificate_becomes_a_file_and_part_of_the_bundle_before_anything_starts()
    {
        var worker = Applied(One);

        worker.Machine.File(FilePath).Content.ShouldBe(Encoding.UTF8.GetBytes($"{Ownership.Header}\n{Authority}"));
        var writes = worker.Machine.Writes;
        writes.IndexOf($"write {FilePath}").ShouldBeLessThan(writes.IndexOf("update-ca-certificates"));
        writes.IndexOf("update-ca-certificates").ShouldBeLessThan(writes.IndexOf("write /run/nodeagent/prepared"));
        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void Nothing_is_run_where_nothing_changed()
    {
        Applied(None).Machine.Writes.ShouldNotContain("update-ca-certificates");
        var worker = Applied(One);
        worker.Machine.Writes.Clear();

        worker.Apply();

        worker.Machine.Writes.ShouldBeEmpty();
    }

    [Fact]
    public void A_certificate_that_comes_or_goes_restarts_what_read_the_bundle()
    {
        var worker = Applied(None);
        foreach (var config in new[] { One, None })
        {
            worker.ExtraConfig = config;
            worker.Machine.Writes.Clear();
            WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
            worker.Machine.Writes.ShouldContain("update-ca-certificates");
            worker.Machine.Writes.ShouldContain("restart containerd.service");
            worker.Machine.Writes.ShouldContain("restart kubelet.service");
            WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
        }

        worker.Machine.File(FilePath).Kind.ShouldBe(FileKind.Absent);
    }

    [Fact]
    public void A_bundle_that_somebody_made_without_ours_is_made_again()
    {
        var worker = Applied(One);
        worker.Machine.Put(TrustBundle.Path, new FileReport(FileKind.Regular, "# others\n"u8.ToArray(), (UnixFileMode)0x1A4));

        WorkerTests.Pending(worker.Plan()).ShouldBe([$"trust bundle {TrustBundle.Path}", "restart containerd.service", "restart kubelet.service"]);
    }

    [Fact]
    public void Certificates_of_others_are_not_ours_to_remove()
    {
        const string Theirs = "/usr/local/share/ca-certificates/theirs.crt";
        var worker = Applied(None);
        worker.Machine.Put(Theirs, new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes(Authority), (UnixFileMode)0x1A4));
        worker.Machine.Put(TrustBundle.Path, new FileReport(FileKind.Regular, Encoding.UTF8.GetBytes(Authority), (UnixFileMode)0x1A4));

        WorkerTests.Pending(worker.Plan()).ShouldBeEmpty();
    }

    [Fact]
    public void A_cut_off_anywhere_converges()
    {
        for (var cut = 0; ; cut++)
        {
            var worker = Applied(None);
            worker.ExtraConfig = One;
            worker.Machine.CrashAtWrite = cut;
            try
            {
                worker.Apply();
                cut.ShouldBeGreaterThan(3);
                return;
            }
            catch (PowerCutException)
            {
                worker.Machine.CrashAtWrite = -1;
                WorkerTests.Problems(worker.Apply()).ShouldBeEmpty($"cut at write {cut}");
                WorkerTests.Pending(worker.Plan()).ShouldBeEmpty($"cut at write {cut}");
                worker.Machine.Writes.ShouldContain("restart kubelet.service", $"cut at write {cut}");
            }
        }
    }

    [Fact]
    public void What_is_not_one_certificate_under_a_good_name_is_refused()
    {
        ErrorsOf($"trust:\n  certificates:\n    two: |\n{Indented(Authority + Authority, 6)}\n").ShouldHaveSingleItem()
            .ShouldEndWith("trust.certificates.two: holds 2 certificates; give each an entry of its own, which names its file");
        ErrorsOf($"trust:\n  certificates:\n    a/b: |\n{Indented(Authority, 6)}\n").ShouldHaveSingleItem().ShouldContain("'a/b' is not a name for a file");
        ErrorsOf("trust: {certificates: {none: hello}}").ShouldHaveSingleItem().ShouldContain("trust.certificates.none: is not PEM");
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        ErrorsOf($"trust:\n  certificates:\n    key: |\n{Indented(Authority + key.ExportPkcs8PrivateKeyPem(), 6)}\n").ShouldHaveSingleItem()
            .ShouldContain("holds a private key");
    }

    private static Worker Applied(string config)
    {
        var worker = new Worker { ExtraConfig = config };
        WorkerTests.Problems(worker.Apply()).ShouldBeEmpty();
        return worker;
    }
}
