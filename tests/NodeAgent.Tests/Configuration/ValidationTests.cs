using System.Security.Cryptography;
using NodeAgent.Commands;
using NodeAgent.Configuration;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Configuration;

/// <summary>Values that are well-formed and do not fit. The document's own text begins in line 3.</summary>
public class ValidationTests
{
    private const string Base10 = "/etc/nodeagent/config.d/10-base.yaml";

    [Theory]
    [InlineData(
        "cluster: {name: 'blue/green'}",
        "node.yaml:3:17: cluster.name: 'blue/green' is not a cluster's name; expected up to 100 letters, digits, '-', '_' and '.', a letter or digit first")]
    [InlineData(
        "kubeProxy: {ipvs: {scheduler: fast}}",
        "node.yaml:3:31: kubeProxy.ipvs.scheduler: 'fast' is no scheduler of IPVS; expected rr, wrr, lc, wlc, lblc, lblcr, sh, mh, dh, sed, nq, fo, ovf, twos")]
    [InlineData(
        "kubeProxy: {minSyncPeriod: 1m}", "node.yaml:3:28: kubeProxy.minSyncPeriod: 1m is longer than kubeProxy.syncPeriod, which is 30s when it is not given")]
    [InlineData("kubeProxy: {conntrack: {min: -1}}", "node.yaml:3:30: kubeProxy.conntrack.min: -1 is less than 0")]
    [InlineData(
        "kubeProxy: {ipvs: {excludeCidrs: [10.100.0.0/16]}}",
        "node.yaml:3:35: kubeProxy.ipvs.excludeCidrs[0]: 10.100.0.0/16 overlaps cluster.serviceRange 10.96.0.0/12 (defaults:*): services there would never be "
            + "taken away")]
    [InlineData("cluster: {endpoint: 'http://api'}", "node.yaml:3:21: cluster.endpoint: 'http://api' is not https; the API server takes nothing else")]
    [InlineData(
        "cluster: {endpoint: 'https://api/v1'}",
        "node.yaml:3:21: cluster.endpoint: 'https://api/v1' has more than host and port; expected https://host[:port]")]
    [InlineData(
        "cluster: {endpoint: 'https://me:hush@api'}",
        "node.yaml:3:21: cluster.endpoint: holds a user name or password; nodes prove who they are with certificates")]
    [InlineData(
        "cluster: {domain: Cluster.local}",
        "node.yaml:3:19: cluster.domain: 'Cluster.local' is not a DNS domain; expected lower case labels of letters, digits and '-', as in cluster.local")]
    [InlineData("cluster: {dnsAddress: 10.0.0.10}", "node.yaml:3:23: cluster.dnsAddress: 10.0.0.10 is not in cluster.serviceRange 10.96.0.0/12 (defaults:*)")]
    [InlineData(
        "cluster: {dnsAddress: 10.96.0.1}",
        "node.yaml:3:23: cluster.dnsAddress: 10.96.0.1 is the API server's own service of cluster.serviceRange 10.96.0.0/12")]
    [InlineData("cluster: {dnsAddress: dns}", "node.yaml:3:23: cluster.dnsAddress: 'dns' is not an IP address")]
    [InlineData(
        "cluster: {serviceRange: 10.96.0.0/29}",
        "node.yaml:3:25: cluster.serviceRange: 10.96.0.0/29 has no tenth address for DNS; take a larger range or set cluster.dnsAddress")]
    [InlineData(
        "network: {podRange: 10.33.7.0/24}",
        "node.yaml:3:21: network.podRange: 10.33.7.0/24 is not within cluster.podRange 10.32.0.0/16 (" + Base10
            + ":6:13), so its pods would count as strangers")]
    [InlineData(
        "network: {podRange: null}",
        "node.yaml:3:21: network.podRange: required with network.plugin bridge; expected this node's own part of cluster.podRange, as in 10.32.7.0/24")]
    [InlineData(
        "network: {podRange: 10.32.7.0/25}\nnode: {maxPods: 126}",
        "node.yaml:4:17: node.maxPods: 126 pods do not fit into network.podRange 10.32.7.0/25 (node.yaml:3:21), which has addresses for 125: network, "
            + "broadcast and gateway are taken")]
    [InlineData("node: {maxPods: 0}", "node.yaml:3:17: node.maxPods: 0 is out of range; expected 1 to 1024")]
    [InlineData(
        "node: {labels: {-a: x}}",
        "node.yaml:3:21: node.labels.-a: '-a' is not a label's key; expected [DNS domain/]name, the name of up to 63 letters, digits, '-', '_' and '.', a "
            + "letter or digit at both ends")]
    [InlineData(
        "node: {labels: {a: 'x y'}}",
        "node.yaml:3:20: node.labels.a: 'x y' is not a label's value; expected up to 63 letters, digits, '-', '_' and '.', a letter or digit at both ends")]
    [InlineData(
        "node: {labels: {node-role.kubernetes.io/worker: ''}}",
        "node.yaml:3:49: node.labels[node-role.kubernetes.io/worker]: is in a namespace that Kubernetes keeps for itself, and kubelet refuses to start with "
        + "it (NodeRestriction); use kubelet.kubernetes.io/, "
        + "node.kubernetes.io/ or a domain of your own, or have the control plane set it")]
    [InlineData(
        "node: {taints: [{key: 'a b', effect: NoExecute}]}",
        "node.yaml:3:23: node.taints[0].key: 'a b' is not a taint's key; expected [DNS domain/]name, the name of up to 63 letters, digits, '-', '_' and '.', "
            + "a letter or digit at both ends")]
    [InlineData(
        "node: {taints: [{key: a, value: '?', effect: NoExecute}]}",
        "node.yaml:3:33: node.taints[0].value: '?' is not a taint's value; expected up to 63 letters, digits, '-', '_' and '.', a letter or digit at "
            + "both ends")]
    [InlineData(
        "node: {taints: [{key: a, effect: NoExecute}, {key: a, value: b, effect: NoExecute}]}",
        "node.yaml:3:46: node.taints[1]: is a second taint a with effect NoExecute; Kubernetes takes one")]
    [InlineData("adoption: {every: 30s}", "node.yaml:3:19: adoption.every: 30s is out of range; expected 1m to 24h")]
    [InlineData("adoption: {splay: 25h}", "node.yaml:3:19: adoption.splay: 25h is out of range; expected up to 24h")]
    [InlineData(
        "adoption: {every: 2h}",
        "node.yaml:3:19: adoption.every: 2h is too rarely for a window of 1d, over which nodes spread by their looks; expected a 24th of it at most (or "
            + "adoption.window: 0s, for nodes that need not be spread)")]
    [InlineData("adoption: {window: 31d}", "node.yaml:3:20: adoption.window: 31d is out of range; expected up to 30d")]
    [InlineData(
        "storage: {volumeGroup: -x}",
        "node.yaml:3:24: storage.volumeGroup: '-x' cannot be a volume group's name; lvm takes up to 63 letters, digits, '+', '_', '.' and '-', no '-' first, "
            + "and keeps some names (snapshot..., pvmove..., ..._tdata) for itself")]
    [InlineData(
        "storage: {volumes: {kubelet: {size: 35%}}}",
        "node.yaml:3:20: storage.volumes: the sizes add up to 105% of the volume group; expected 100% at most (kubelet 35% at node.yaml:3:37, podlogs 10% at "
            + "defaults:*, runtime 60% at defaults:*)")]
    [InlineData(
        "storage: {volumes: {kubelet: {mount: /usr/lib}}}",
        "node.yaml:3:38: storage.volumes.kubelet.mount: '/usr/lib' is the system's; a volume there would hide it. Expected a directory below /var, /opt, "
            + "/mnt, /srv, /data, /home")]
    [InlineData(
        "storage: {volumes: {kubelet: {mount: /var/lib}}}",
        "node.yaml:3:38: storage.volumes.kubelet.mount: '/var/lib' is the system's; a volume there would hide it. Expected a directory below /var, /opt, "
            + "/mnt, /srv, /data, /home")]
    [InlineData(
        "storage: {volumes: {kubelet: {mount: /var/../etc}}}",
        "node.yaml:3:38: storage.volumes.kubelet.mount: '/var/../etc' is not a path to mount at; expected an absolute one without '.', '..', '//' or a slash "
            + "at its end, of letters, digits and ._/@:+-")]
    [InlineData(
        "storage: {volumes: {runtime: {mount: /var/lib/kubelet}}}",
        "node.yaml:3:38: storage.volumes.runtime.mount: '/var/lib/kubelet' is already where kubelet is mounted")]
    [InlineData(
        "storage: {volumes: {a-name-of-13x: {mount: /data, size: 1%, filesystem: xfs}}}",
        "node.yaml:3:36: storage.volumes.a-name-of-13x: the name is part of the filesystem's label, which for xfs leaves 9 characters; this has 13")]
    [InlineData(
        "storage: {volumes: {kubelet: {options: ['noatime,nodev']}}}",
        "node.yaml:3:41: storage.volumes.kubelet.options[0]: 'noatime,nodev' is not one mount option; expected one a list item, as in noatime")]
    [InlineData(
        "storage: {match: {models: [Amazon Elastic Block Store]}}",
        "node.yaml:3:28: storage.match.models[0]: is the model of EBS volumes, whose data outlives an instance; they are never taken for ephemeral")]
    [InlineData(
        "storage: {match: {paths: [sdb]}}",
        "node.yaml:3:27: storage.match.paths[0]: 'sdb' is not a pattern of devices; expected one as in "
            + "/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*")]
    [InlineData("kernel: {modules: ['ip vs']}", "node.yaml:3:20: kernel.modules[0]: 'ip vs' is not a module's name; expected letters, digits, '_' and '-'")]
    [InlineData(
        "kernel: {sysctls: {../x: 1}}", "node.yaml:3:26: kernel.sysctls[../x]: '../x' is not a sysctl's name; expected a dotted one as in net.ipv4.ip_forward")]
    [InlineData("kernel: {sysctls: {a.b: \"1\\n2\"}}", "node.yaml:3:25: kernel.sysctls[a.b]: expected a value of one line, as sysctl prints it")]
    [InlineData(
        "containerd: {sandboxImage: 'pause '}",
        "node.yaml:3:28: containerd.sandboxImage: 'pause ' is not an image; expected one as in registry.k8s.io/pause:3.9")]
    [InlineData(
        "containerd: {mirrors: {'https://docker.io': {endpoints: ['https://m']}}}",
        "node.yaml:3:45: containerd.mirrors[https://docker.io]: 'https://docker.io' is not a registry; expected its host as in docker.io, or host:port, "
            + "without https://")]
    [InlineData(
        "containerd: {mirrors: {..: {endpoints: ['https://m']}}}",
        "node.yaml:3:28: containerd.mirrors[..]: '..' is not a registry; expected its host as in docker.io, or host:port, without https://")]
    [InlineData(
        "containerd: {mirrors: {a..b: {endpoints: ['https://m']}}}",
        "node.yaml:3:30: containerd.mirrors[a..b]: 'a..b' is not a registry; expected its host as in docker.io, or host:port, without https://")]
    [InlineData(
        "containerd: {mirrors: {'a:0': {endpoints: ['https://m']}}}",
        "node.yaml:3:31: containerd.mirrors[a:0]: 'a:0' is not a registry; expected its host as in docker.io, or host:port, without https://")]
    [InlineData("node: {readiness: {timeout: 2d}}", "node.yaml:3:29: node.readiness.timeout: 2d is out of range; expected up to 24h")]
    [InlineData(
        "containerd: {mirrors: {docker.io: {endpoints: []}}}", "node.yaml:3:47: containerd.mirrors[docker.io].endpoints: is empty; expected one URL or more")]
    [InlineData(
        "containerd: {mirrors: {docker.io: {endpoints: ['https://u:hush@m']}}}",
        "node.yaml:3:48: containerd.mirrors[docker.io].endpoints[0]: holds a user name or password; put them into headers, where they are kept secret")]
    [InlineData(
        "containerd: {mirrors: {docker.io: {endpoints: ['https://m'], headers: {A: \"hush\\nB: c\"}}}}",
        "node.yaml:3:75: containerd.mirrors[docker.io].headers.A: expected a value of one line")]
    [InlineData(
        "kubelet: {extraArgs: {config: /x}}", "node.yaml:3:31: kubelet.extraArgs.config: --config is set by nodeagent; say it in kubelet.configuration")]
    [InlineData(
        "kubelet: {extraArgs: {kubeconfig: /x}}", "node.yaml:3:35: kubelet.extraArgs.kubeconfig: --kubeconfig is set by nodeagent and cannot be changed")]
    [InlineData("kubelet: {extraArgs: {--v: 4}}", "node.yaml:3:28: kubelet.extraArgs.--v: '--v' has dashes; give the flag's name alone")]
    [InlineData("kubelet: {configuration: {maxPods: 3}}", "node.yaml:3:36: kubelet.configuration.maxPods: is set by nodeagent; say it in node.maxPods")]
    [InlineData("kubelet: {configuration: {kind: Kubelet}}", "node.yaml:3:33: kubelet.configuration.kind: expected 'KubeletConfiguration', or nothing")]
    [InlineData(
        "kubelet: {kubeReserved: {cpu: lots}}",
        "node.yaml:3:31: kubelet.kubeReserved.cpu: 'lots' is not a quantity of Kubernetes; expected one as in 500m, 2, 1.5Gi or 100M")]
    [InlineData(
        "kubelet: {systemReserved: {gpu: 1}}",
        "node.yaml:3:33: kubelet.systemReserved.gpu: 'gpu' cannot be reserved; expected cpu, memory, ephemeral-storage or pid")]
    [InlineData(
        "kubelet: {binary: kubelet}",
        "node.yaml:3:19: kubelet.binary: 'kubelet' is not an absolute path; expected one without '.', '..', '//' or a slash at its end, of letters, digits "
            + "and ._/@:+-")]
    [InlineData("runtime: podman", "node.yaml:3:10: runtime: expected one of containerd, docker, found the text 'podman'")]
    [InlineData(
        "docker: {dataRoot: /}",
        "node.yaml:3:20: docker.dataRoot: '/' is not an absolute path; expected one without '.', '..', '//' or a slash at its end, of letters, digits "
            + "and ._/@:+-")]
    [InlineData(
        "docker: {logs: {maxSize: 10MB}}",
        "node.yaml:3:26: docker.logs.maxSize: '10MB' is not a size as Docker writes it; expected a whole number and k, m or g, as in 10m")]
    [InlineData(
        "docker: {logs: {maxFiles: 1}}", "node.yaml:3:27: docker.logs.maxFiles: 1 is out of range; expected 2 to 1000, so that what was just written stays")]
    [InlineData(
        "docker: {mirrors: ['https://m/hub']}",
        "node.yaml:3:20: docker.mirrors[0]: is more than Docker takes for a mirror; expected https://host[:port], without user, path, query or fragment")]
    [InlineData("docker: {configuration: {data-root: /x}}", "node.yaml:3:37: docker.configuration.data-root: is set by nodeagent; say it in docker.dataRoot")]
    [InlineData("docker: {configuration: {hosts: []}}", "node.yaml:3:33: docker.configuration.hosts: is set by nodeagent and cannot be changed")]
    [InlineData(
        "runtime: docker\ndocker: {dataRoot: /etc/docker}",
        "node.yaml:4:20: docker.dataRoot: '/etc/docker' is the system's; a volume there would hide it. Expected a directory below /var, /opt, /mnt, /srv, "
            + "/data, /home")]
    [InlineData(
        "registries: {r.example: {username: u}}",
        "node.yaml:3:25: registries[r.example]: has a user name or a password and not the other; expected both, or neither")]
    [InlineData(
        "registries: {r.example: {username: 'a:b', password: p}}", "node.yaml:3:36: registries[r.example].username: expected a name of one line, without ':'")]
    [InlineData(
        "registries: {https://r: {username: a, password: p}}",
        "node.yaml:3:25: registries[https://r]: 'https://r' is not a registry; expected its host as in docker.io, or host:port, without https://")]
    [InlineData(
        "storage: {volumes: {more: {size: 1%, filesystem: xfs}}}",
        "node.yaml:3:27: storage.volumes.more.mount: is missing; expected the path it is mounted at (only the volume 'runtime' has a place of its own)")]
    [InlineData("certificates: {lifetime: 59m}", "node.yaml:3:26: certificates.lifetime: 59m is out of range; expected 1h to 3650d")]
    [InlineData(
        "certificates: {source: directory, laboratory: true}",
        "node.yaml:3:15: certificates.directory: required with certificates.source directory; expected the path that holds ca.crt and ca.key")]
    [InlineData(
        "certificates: {source: store, store: 's3://pki'}",
        "node.yaml:3:24: certificates.source: store signs with the keys of the cluster's CAs, and no CA key is on a worker (node.role, defaults:*); a worker "
            + "asks an issuer (issuer)")]
    [InlineData(
        "node: {role: control-plane}\ncertificates: {source: issuer, issuer: {endpoints: ['https://issuer:10261']}}",
        "node.yaml:4:24: certificates.source: an issuer signs for workers; a control plane node (node.role, node.yaml:3:14) signs for itself: store")]
    [InlineData(
        "node: {role: control-plane}\ncertificates: {source: directory, laboratory: true, directory: /etc/ca}",
        "node.yaml:4:24: certificates.source: directory signs for workers of a laboratory; a control plane node (node.role, node.yaml:3:14) signs for "
            + "itself: store")]
    [InlineData(
        "node: {role: control-plane}\ncertificates: {source: store}",
        "node.yaml:4:15: certificates.store: required with certificates.source store; expected s3://BUCKET[/PREFIX], or a directory in a laboratory")]
    [InlineData(
        "node: {role: control-plane}\ncertificates: {source: store, store: /etc/ca}",
        "node.yaml:4:38: certificates.store: a directory keeps the keys of the cluster's CAs on this machine's disk; it is for laboratories, which say so "
            + "with certificates.laboratory: true")]
    [InlineData(
        "certificates: {store: 'https://pki'}",
        "node.yaml:3:23: certificates.store: 'https://pki' is neither s3://BUCKET[/PREFIX] nor the absolute path of a directory")]
    [InlineData(
        "certificates: {apiNames: [Api]}",
        "node.yaml:3:27: certificates.apiNames[0]: 'Api' is not what a certificate can name; expected a DNS name in lower case or an address, as in "
            + "api.example.com or 10.0.0.10")]
    [InlineData(
        "certificates: {issuer: {endpoints: ['http://issuer:10261']}}",
        "node.yaml:3:37: certificates.issuer.endpoints[0]: 'http://issuer:10261' is no issuer; expected https://host[:port]")]
    [InlineData(
        "certificates: {source: directory, directory: /etc/ca}",
        "node.yaml:3:24: certificates.source: directory puts the cluster's CA key on a worker, where whoever takes the node takes the cluster; it is for "
            + "laboratories, which say so with certificates.laboratory: true")]
    public void What_does_not_fit_is_named_with_its_origin(string text, string expected) => Errors(text).ShouldBe([expected]);

    [Fact]
    public void The_service_range_of_a_control_plane_has_an_address_for_its_API_server() =>
        Errors("node: {role: control-plane}\ncluster: {serviceRange: 10.96.0.10/32, dnsAddress: 10.96.0.10}").ShouldContain(
            "node.yaml:4:25: cluster.serviceRange: 10.96.0.10/32 has no first address for the API server's own service; take a larger range");

    [Theory]
    [InlineData(
        "node: {role: control-plane}\ncertificates: {source: store, store: 's3://example-pki/clusters/amber', apiNames: [api.example.com, 10.0.0.10, "
            + "'2001:db8::1']}")]
    [InlineData("node: {role: control-plane}\ncertificates: {source: store, store: /var/lib/ca, laboratory: true}")]
    [InlineData("node: {role: control-plane}")]
    [InlineData("certificates: {source: issuer, issuer: {endpoints: ['https://issuer']}, store: 's3://example-pki', apiNames: [api.example.com]}")]
    public void Control_planes_sign_for_themselves_and_workers_pass_over_what_is_theirs(string text) => LoadText(text).Config.ShouldNotBeNull();

    [Fact]
    public void Ranges_that_overlap_are_named_with_both_origins() =>
        Errors("cluster: {podRange: 10.96.0.0/16}\nnetwork: {podRange: 10.96.1.0/24}").ShouldBe(
        [
            "node.yaml:3:21: cluster.podRange: 10.96.0.0/16 overlaps cluster.serviceRange 10.96.0.0/12 (defaults:*)",
            "node.yaml:4:21: network.podRange: 10.96.1.0/24 overlaps cluster.serviceRange 10.96.0.0/12 (defaults:*)",
        ]);

    [Fact]
    public void A_node_range_that_is_wider_than_the_clusters_is_not_within_it() =>
        ErrorsOf("network: {podRange: 10.32.0.0/15}").ShouldHaveSingleItem().ShouldContain("is not within cluster.podRange");

    [Fact]
    public void What_Kubernetes_lets_a_kubelet_set_is_taken() =>
        LoadText(
            "node:\n  labels: {a: '', a.b/c_d: E-f.9, node.kubernetes.io/x: 1, kubelet.kubernetes.io/y: 2, x.node.kubernetes.io/z: 3, "
            + "topology.kubernetes.io/zone: eu, notkubernetes.io/a: b}\n"
            + "  taints: [{key: example.com/a, effect: NoExecute}, {key: example.com/a, value: b, effect: NoSchedule}]\n").Config.Node.Labels.Count.ShouldBe(7);

    [Theory]
    [InlineData("docker.io")]
    [InlineData("localhost:5000")]
    [InlineData("10.0.0.1:443")]
    [InlineData("Registry.example")]
    [InlineData("_default")]
    public void A_host_with_or_without_port_is_a_registry(string host) =>
        LoadText($"containerd: {{mirrors: {{'{host}': {{endpoints: ['https://m']}}}}}}").Config.Containerd.Mirrors.Keys.ShouldContain(host);

    [Theory]
    [InlineData("healthzPort: 1")]
    [InlineData("healthzBindAddress: 0.0.0.0")]
    [InlineData("containerRuntimeEndpoint: unix:///x")]
    [InlineData("tlsCertFile: /x")]
    [InlineData("tlsPrivateKeyFile: /x")]
    [InlineData("serverTLSBootstrap: true")]
    [InlineData("rotateCertificates: true")]
    public void What_readiness_and_certificates_hang_on_is_no_field_of_the_users(string field) =>
        ErrorsOf($"kubelet: {{configuration: {{{field}}}}}").ShouldHaveSingleItem().ShouldEndWith("is set by nodeagent and cannot be changed");

    [Theory]
    [InlineData("healthz-port")]
    [InlineData("healthz-bind-address")]
    [InlineData("tls-cert-file")]
    [InlineData("tls-private-key-file")]
    [InlineData("rotate-certificates")]
    public void Nor_a_flag(string flag) =>
        ErrorsOf($"kubelet: {{extraArgs: {{{flag}: x}}}}").ShouldHaveSingleItem().ShouldEndWith("is set by nodeagent and cannot be changed");

    [Theory]
    [InlineData("100d", 1)]
    [InlineData("25h", 1)]
    [InlineData("24h", 0)]
    public void A_deadline_is_a_day_at_most(string text, int errors)
    {
        var found = new System.CommandLine.RootCommand { CommonOptions.Deadline("1m") }.Parse(["--deadline", text]).Errors;

        found.Count.ShouldBe(errors);
        found.ShouldAllBe(e => e.Message.Contains("expected up to 24h", StringComparison.Ordinal));
    }

    [Fact]
    public void The_laboratory_may_have_its_directory() =>
        LoadText("certificates: {source: directory, laboratory: true, directory: /etc/nodeagent/ca}")
            .Config.Certificates.Directory.ShouldBe("/etc/nodeagent/ca");

    [Fact]
    public void Without_the_bridge_no_range_of_the_node_is_needed() =>
        LoadText("network: {plugin: none, podRange: null}").Config.Network.PodRange.ShouldBeNull();

    [Theory]
    [InlineData("hello", "is not PEM; expected one certificate or more, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----")]
    [InlineData("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a PEM block that is no X.509 certificate")]
    [InlineData("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "holds a PEM block 'PUBLIC KEY'; expected CERTIFICATE")]
    [InlineData("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==", "is base64 of PEM; give the PEM itself")]
    public void What_is_no_certificate_is_no_authority(string pem, string expected) =>
        ErrorsOf($"cluster:\n  certificateAuthority: |\n{Indented(pem, 4)}\n").ShouldBe([$"node.yaml:4:25: cluster.certificateAuthority: {expected}"]);

    [Fact]
    public void Two_authorities_are_taken_and_a_cut_off_second_is_not()
    {
        LoadText($"cluster:\n  certificateAuthority: |\n{Indented("old one\n" + Authority + Authority, 4)}\n")
            .Config.Cluster.CertificateAuthority.ShouldContain("old one");
        ErrorsOf($"cluster:\n  certificateAuthority: |\n{Indented(Authority + Authority[..100], 4)}\n").ShouldHaveSingleItem().ShouldContain("without its end");
    }

    [Fact]
    public void A_private_key_is_refused_and_not_repeated()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var error = ErrorsOf($"cluster:\n  certificateAuthority: |\n{Indented(Authority + key.ExportPkcs8PrivateKeyPem(), 4)}\n").ShouldHaveSingleItem();
        error.ShouldStartWith("node.yaml:4:25: cluster.certificateAuthority: holds a private key, which no node may have");
        error.ShouldNotContain("MI");
    }

    [Fact]
    public void What_does_not_fit_is_all_reported_at_once() => ErrorsOf("node: {maxPods: 2000}\nkernel: {modules: ['']}\ncertificates: {lifetime: 1s}")
        .Length.ShouldBe(3);

    // Where something stands in the defaults is theirs to change.
    private static string[] Errors(string text) =>
        Array.ConvertAll(ErrorsOf(text), e => System.Text.RegularExpressions.Regex.Replace(e, @"defaults:\d+:\d+", "defaults:*"));
}
