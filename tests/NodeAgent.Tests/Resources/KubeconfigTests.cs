using NodeAgent.Resources;

namespace NodeAgent.Tests.Resources;

public sealed class KubeconfigTests
{
    [Fact]
    public void It_points_at_the_file_that_renewal_replaces()
    {
        Kubeconfig.Render("prod", new Uri("https://api.example.com:6443/"), "CA\n\n", "system:node:a", "/etc/kubernetes/pki/kubelet-client.pem").ShouldBe("""
            apiVersion: v1
            kind: Config
            clusters:
            - name: "prod"
              cluster:
                server: "https://api.example.com:6443"
                certificate-authority-data: Q0EK
            users:
            - name: "system:node:a"
              user:
                client-certificate: "/etc/kubernetes/pki/kubelet-client.pem"
                client-key: "/etc/kubernetes/pki/kubelet-client.pem"
            contexts:
            - name: default
              context:
                cluster: "prod"
                user: "system:node:a"
            current-context: default

            """);
    }

    [Fact]
    public void Names_cannot_break_out_of_their_quotes()
    {
        Kubeconfig.Render("a\"\n  evil: \"x", new Uri("https://h"), "CA", "u", "/c").ShouldContain("- name: \"a\\\"\\n  evil: \\\"x\"\n");
    }
}
