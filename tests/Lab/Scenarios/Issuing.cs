using System.Text.Json;
using Shouldly;

namespace NodeAgent.Lab.Scenarios;

/// <summary>
/// What the scenarios of the issuer share: one that runs on a control plane instance of its own, and a worker that has no other way to certificates.
/// </summary>
internal static class Issuing
{
    /// <summary>Where a virtual machine finds the container's issuer, and what EC2 says of its instance.</summary>
    public const string Address = "10.0.2.104";

    public const int Port = 10261;

    private const string Unit = "nodeagent-issuer.service";

    /// <summary>A machine image for both, told where AWS is.</summary>
    public static async Task InstallAsync(Guest guest)
    {
        await guest.InstallAgentAsync();
        await guest.WriteAsync("/etc/systemd/system.conf.d/50-aws.conf", $"[Manager]\nDefaultEnvironment={string.Join(' ', Endpoints)}\n");
        await guest.WriteAsync("/etc/nodeagent/config.d/10-image.yaml", """
            apiVersion: nodeagent/v1
            kind: NodeConfig
            network:
              pluginBinaries: /usr/lib/cni
            certificates:
              source: issuer
            """);
    }

    /// <summary>
    /// The scene of both scenarios: a container as control plane instance, on which the issuer is not started yet, and a virtual machine as worker, which finds
    /// it by EC2's tags once it boots again.
    /// </summary>
    public static async Task WithWorkerAsync(Laboratory lab, Func<Fleet, Container, VirtualMachine, string, Task> run)
    {
        var apiServer = lab.ApiServer.StartedAsync();
        var fleet = await Fleet.CreateAsync(lab);
        await using var controlPlane = await lab.StartContainerAsync();
        await fleet.LaunchAsync(controlPlane, "control-plane", Address, "ec2:DescribeInstances", "s3:GetObject", "s3:ListBucket");
        await InstallAsync(controlPlane);
        await ConfigureAsync(fleet, controlPlane);
        await using var aws = await controlPlane.ConnectAwsAsync();
        await using var exposed = controlPlane.Expose(Port, lab.IssuerPort);

        await using var guest = await lab.BootAsync();
        var instance = await fleet.LaunchAsync(guest, "worker", "10.0.2.15", "ec2:DescribeInstances");
        await InstallAsync(guest);
        await LaunchAsync(lab, guest);
        await apiServer;
        await run(fleet, controlPlane, guest, instance);
    }

    /// <summary>On a control plane instance: reads the CA from S3 and serves, by the unit as it is shipped.</summary>
    public static async Task ConfigureAsync(Fleet fleet, Guest guest)
    {
        await guest.WriteAsync("/etc/nodeagent/identity.pem", await File.ReadAllTextAsync(fleet.IdentityCertificateFile));
        await guest.WriteAsync(
            "/etc/nodeagent/issuer.env",
            $"NODEAGENT_ISSUER=--cluster {Fleet.Cluster} --store {fleet.Store} --worker {fleet.RoleOf("worker")}\n{string.Join('\n', Endpoints)}\n");
    }

    public static async Task StartAsync(Guest guest)
    {
        try
        {
            await guest.CheckAsync($"systemctl start {Unit}", TimeSpan.FromMinutes(2));
        }
        catch (LabException)
        {
            Console.WriteLine((await guest.RunAsync($"journalctl --no-pager --unit {Unit} | tail -40")).Output);
            throw;
        }
    }

    /// <summary>The issuer's decisions so far.</summary>
    public static async Task<IReadOnlyList<Decided>> AuditAsync(Guest guest) =>
        [.. (await guest.CheckAsync($"journalctl --unit {Unit} --output cat"))
            .Split('\n').Where(line => line.StartsWith('{')).Select(line => JsonSerializer.Deserialize<Decided>(line, JsonSerializerOptions.Web)!)];

    /// <summary>The cluster's nodes ask the issuer; the rest is any worker's.</summary>
    public static async Task LaunchAsync(Laboratory lab, Guest guest, string more = "") =>
        await guest.Imds.SetUserDataAsync(System.Text.Encoding.UTF8.GetBytes(Worker.UserData(lab, more)));

    /// <summary>Every certificate of a worker by openssl, from the file and in kubelet's handshake.</summary>
    public static async Task OpenSslAgreesAsync(Guest guest)
    {
        const string Pki = "/etc/kubernetes/pki";
        foreach (var (file, purpose) in new[] { ("kubelet-client.pem", "sslclient"), ("kubelet-serving.pem", "sslserver"),
            ("kube-proxy/client.pem", "sslclient") })
        {
            (await guest.CheckAsync($"openssl verify -x509_strict -CAfile {Pki}/ca.crt -purpose {purpose} {Pki}/{file}")).ShouldBe($"{Pki}/{file}: OK");
            (await guest.CheckAsync($"stat --format %a:%U {Pki}/{file}")).ShouldBe("600:root");
        }

        var handshake = await guest.CheckAsync(
            $"openssl s_client -connect 127.0.0.1:10250 -CAfile {Pki}/ca.crt -verify_return_error -verify_hostname {Worker.Node} "
            + $"-cert {Pki}/kubelet-client.pem -key {Pki}/kubelet-client.pem </dev/null 2>&1");
        handshake.ShouldContain("Verification: OK");
        // openssl 3.0 writes blanks around the signs, 3.5 does not.
        handshake.Replace(" = ", "=", StringComparison.Ordinal).ShouldContain("subject=O=system:nodes, CN=system:node:" + Worker.Node);
    }

    /// <summary>
    /// No text of a private key, of this machine or of <paramref name="others"/>, is in its journal, in what plan and status say, in any process' arguments, or
    /// in a file that others may read.
    /// </summary>
    public static async Task NoKeyIsSeenAsync(Guest guest, string others = "")
    {
        var here = (await guest.RunAsync("find /etc/kubernetes /etc/nodeagent -type f -exec sed -n '/PRIVATE KEY/,/END/p' {} +")).Output;
        // Of each key the second line: the first is much the same in all of a kind.
        var lines = (here + "\n" + others).Split('\n');
        var secrets = lines.Where((_, i) => i >= 2 && lines[i - 2].StartsWith("-----BEGIN", StringComparison.Ordinal)).ToList();
        secrets.ShouldNotBeEmpty();
        secrets.ShouldAllBe(s => s.Length >= 40);
        await guest.WriteAsync("/run/lab/secrets", string.Join('\n', secrets) + "\n", "600");
        const string Search = "grep --text --fixed-strings --file /run/lab/secrets";
        var seen = await guest.RunAsync(
            "{ journalctl --output=export --no-pager; nodeagent plan --format json; nodeagent config show; cat /run/nodeagent/* /proc/[0-9]*/cmdline; } "
            + "2>/dev/null | "
            + $"{Search} --only-matching; find / -xdev -type f -perm /o+r -newermt '1 day ago' -size -4M -print0 | xargs -0 -r {Search} --files-with-matches; "
            + $"echo; printf 'found: %s\\n' \"$({Search} --count /run/lab/secrets)\"",
            TimeSpan.FromMinutes(5));
        // The last line shows that the search finds what is there.
        seen.Output.Trim().ShouldBe($"found: {secrets.Count}", seen.Error);
        await guest.CheckAsync("rm /run/lab/secrets");
    }

    /// <summary>For commands by hand, which do not get what units get.</summary>
    public static readonly string Told = string.Join(' ', Endpoints) + " ";

    private static string[] Endpoints =>
    [
        $"AWS_ENDPOINT_URL_EC2={Aws.Url}", $"AWS_ENDPOINT_URL_STS={Aws.Url}", $"AWS_ENDPOINT_URL_S3={Aws.Url}",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://169.254.169.254",
    ];

    /// <summary>A line of the audit, as far as scenarios look at it.</summary>
    internal sealed record Decided(string Decision, string? Proof, string? Instance, IReadOnlyList<string>? Roles, string? Code, string? Reason);
}
