namespace NodeAgent.Kubernetes;

/// <summary>
/// What the programs of the control plane, and kube-proxy, take. A flag that 1.20.2 already hides from its help is not in a reference either, so that nothing
/// follows from its absence there: it is let pass where its removal was not found.
/// </summary>
internal static class ControlPlaneNames
{
    private const string AbsentApi21 = "absent from the reference of 1.21 (kubernetes/website kube-apiserver.md)";
    private const string AbsentApi35 = "absent from the reference of 1.35 (kubernetes/website kube-apiserver.md); when it went is not recorded";
    private const string AbsentKcm35 = "absent from the reference of 1.35 (kubernetes/website kube-controller-manager.md); when it went is not recorded";
    private const string AbsentScheduler36 = "absent from the reference of 1.36 (kubernetes/website kube-scheduler.md); when it went is not recorded";
    private const string Coordinated = "KEP-4355; absent from the reference of 1.31, let pass from 1.32";
    private const string Insecure = "kubernetes#95856; cybozu-go/cke#574 cites CHANGELOG-1.24.md";
    private const string InsecureOthers = "cybozu-go/cke#574 cites CHANGELOG-1.24.md";
    private const string Kcm31 = "reference of 1.31 (kubernetes/website kube-controller-manager.md); from when on is not recorded";
    private const string Kcm35 = "reference of 1.35 (kubernetes/website kube-controller-manager.md), absent from that of 1.31; let pass from 1.32";
    private const string Proxy31 = "kube-proxy types.go of 1.31.1 (staging/src/k8s.io/kube-proxy)";
    private const string Reference21 = "reference of 1.21 (kubernetes/website kube-apiserver.md)";

    // Of the log's and the server's options that all three have.
    private static readonly IReadOnlyList<VersionedName> Shared =
    [
        .. VersionedNames.Klog,
        new("allow-metric-labels", 21, null, "KEP-2305; let pass from 1.21"),
        new("allow-metric-labels-manifest", 29, null, "kubernetes#118299"),
        new("disable-http2-serving", 31, null, "kubernetes#122176"),
        new("disabled-metrics", 21, null, Reference21),
        new("emulated-version", 31, null, "KEP-4330"),
        new("log-json-info-buffer-size", 23, null, "KEP-2845; let pass from 1.23"),
        new("log-json-split-stream", 23, null, "KEP-2845; let pass from 1.23"),
        new("log-text-info-buffer-size", 31, null, "reference of 1.31 (kubernetes/website kube-apiserver.md); let pass from 1.31"),
        new("log-text-split-stream", 31, null, "reference of 1.31 (kubernetes/website kube-apiserver.md); let pass from 1.31"),
        new("min-compatibility-version", 32, null, "KEP-4330; absent from the reference of 1.31, let pass from 1.32"),
        new("permit-address-sharing", 21, null, Reference21),
        new("requestheader-uid-headers", 32, null, "CHANGELOG-1.32.md"),
        new("tls-curve-preferences", 36, null, "kubernetes#137115"),
    ];

    // kube-apiserver --v=1 of 1.20.2, which tells all flags, those that --help hides as well.
    private const string ApiServer20 = """
        add-dir-header address admission-control admission-control-config-file advertise-address allow-privileged alsologtostderr anonymous-auth
        api-audiences apiserver-count audit-log-batch-buffer-size audit-log-batch-max-size audit-log-batch-max-wait audit-log-batch-throttle-burst
        audit-log-batch-throttle-enable audit-log-batch-throttle-qps audit-log-compress audit-log-format audit-log-maxage audit-log-maxbackup
        audit-log-maxsize audit-log-mode audit-log-path audit-log-truncate-enabled audit-log-truncate-max-batch-size
        audit-log-truncate-max-event-size audit-log-version audit-policy-file audit-webhook-batch-buffer-size audit-webhook-batch-initial-backoff
        audit-webhook-batch-max-size audit-webhook-batch-max-wait audit-webhook-batch-throttle-burst audit-webhook-batch-throttle-enable
        audit-webhook-batch-throttle-qps audit-webhook-config-file audit-webhook-initial-backoff audit-webhook-mode audit-webhook-truncate-enabled
        audit-webhook-truncate-max-batch-size audit-webhook-truncate-max-event-size audit-webhook-version authentication-token-webhook-cache-ttl
        authentication-token-webhook-config-file authentication-token-webhook-version authorization-mode authorization-policy-file
        authorization-webhook-cache-authorized-ttl authorization-webhook-cache-unauthorized-ttl authorization-webhook-config-file
        authorization-webhook-version bind-address cert-dir client-ca-file cloud-config cloud-provider cloud-provider-gce-l7lb-src-cidrs
        cloud-provider-gce-lb-src-cidrs contention-profiling cors-allowed-origins default-not-ready-toleration-seconds
        default-unreachable-toleration-seconds default-watch-cache-size delete-collection-workers deserialization-cache-size
        disable-admission-plugins egress-selector-config-file enable-admission-plugins enable-aggregator-routing enable-bootstrap-token-auth
        enable-garbage-collector enable-logs-handler enable-priority-and-fairness enable-swagger-ui encryption-provider-config
        endpoint-reconciler-type etcd-cafile etcd-certfile etcd-compaction-interval etcd-count-metric-poll-period etcd-db-metric-poll-interval
        etcd-healthcheck-timeout etcd-keyfile etcd-prefix etcd-servers etcd-servers-overrides event-ttl experimental-encryption-provider-config
        experimental-logging-sanitization external-hostname feature-gates goaway-chance help http2-max-streams-per-connection
        identity-lease-duration-seconds identity-lease-renew-interval-seconds insecure-bind-address insecure-port kubelet-certificate-authority
        kubelet-client-certificate kubelet-client-key kubelet-https kubelet-port kubelet-preferred-address-types kubelet-read-only-port
        kubelet-timeout kubernetes-service-node-port livez-grace-period log-backtrace-at log-dir log-file log-file-max-size log-flush-frequency
        logging-format logtostderr master-service-namespace max-connection-bytes-per-sec max-mutating-requests-inflight max-requests-inflight
        min-request-timeout oidc-ca-file oidc-client-id oidc-groups-claim oidc-groups-prefix oidc-issuer-url oidc-required-claim oidc-signing-algs
        oidc-username-claim oidc-username-prefix one-output permit-port-sharing port profiling proxy-client-cert-file proxy-client-key-file
        request-timeout requestheader-allowed-names requestheader-client-ca-file requestheader-extra-headers-prefix requestheader-group-headers
        requestheader-username-headers runtime-config secure-port service-account-api-audiences service-account-extend-token-expiration
        service-account-issuer service-account-jwks-uri service-account-key-file service-account-lookup service-account-max-token-expiration
        service-account-signing-key-file service-cluster-ip-range service-node-port-range show-hidden-metrics-for-version shutdown-delay-duration
        skip-headers skip-log-headers ssh-keyfile ssh-user stderrthreshold storage-backend storage-media-type target-ram-mb tls-cert-file
        tls-cipher-suites tls-min-version tls-private-key-file tls-sni-cert-key token-auth-file v version vmodule watch-cache watch-cache-sizes
        """;

    private static readonly IReadOnlyList<VersionedName> ApiServerFlagsChanges =
    [
        .. Shared,
        new("address", 20, 24, Insecure),
        new("aggregator-reject-forwarding-redirect", 22, null, "kubernetes#112193: 1.26, and patch releases from 1.22 on; let pass from 1.22"),
        new("apiserver-count", 20, 35, AbsentApi35),
        new("authentication-config", 29, null, "KEP-3331"),
        new("authorization-config", 29, null, "KEP-3221"),
        new("cloud-config", 20, 33, "kubernetes#130162"),
        new("cloud-provider", 20, 33, "kubernetes#130162"),
        new("cloud-provider-gce-l7lb-src-cidrs", 20, 35, AbsentApi35),
        new("coordinated-leadership-lease-duration", 32, null, Coordinated),
        new("coordinated-leadership-renew-deadline", 32, null, Coordinated),
        new("coordinated-leadership-retry-period", 32, null, Coordinated),
        new("debug-socket-path", 26, null, "reference of 1.31 (kubernetes/website kube-apiserver.md); let pass from 1.26"),
        new("deserialization-cache-size", 20, 24, "kubernetes#108448"),
        new("emulation-forward-compatible", 32, null, "KEP-4330; absent from the reference of 1.31, let pass from 1.32"),
        new("encryption-provider-config-automatic-reload", 26, null, "website#38137"),
        new("etcd-readycheck-timeout", 25, null, "kubernetes#111399"),
        new("experimental-encryption-provider-config", 20, 24, "kubernetes#108423"),
        new("experimental-logging-sanitization", 20, 35, AbsentApi35),
        new("identity-lease-duration-seconds", 20, 35, AbsentApi35),
        new("identity-lease-renew-interval-seconds", 20, 35, AbsentApi35),
        new("insecure-bind-address", 20, 24, Insecure),
        new("insecure-port", 20, 24, Insecure),
        new("kubelet-https", 20, 22, "kubernetes#101178"),
        new("lease-reuse-duration-seconds", 21, null, Reference21),
        new("master-service-namespace", 20, 35, AbsentApi35),
        new("peer-advertise-ip", 28, null, "KEP-4020"),
        new("peer-advertise-port", 28, null, "KEP-4020"),
        new("peer-ca-file", 28, null, "KEP-4020"),
        new("port", 20, 24, Insecure),
        new("runtime-config-emulation-forward-compatible", 32, null, "KEP-4330; absent from the reference of 1.31, let pass from 1.32"),
        new("service-account-api-audiences", 20, 25, "kubernetes#108624"),
        new("service-account-signing-endpoint", 32, null, "KEP-740"),
        new("shutdown-send-retry-after", 21, null, "reference of 1.35 (kubernetes/website kube-apiserver.md); let pass from 1.21"),
        new("shutdown-watch-termination-grace-period", 26, null, "reference of 1.35 (kubernetes/website kube-apiserver.md); let pass from 1.26"),
        new("ssh-keyfile", 20, 22, "kubernetes#102297"),
        new("ssh-user", 20, 22, "kubernetes#102297"),
        new("storage-initialization-timeout", 29, null, "reference of 1.31 (kubernetes/website kube-apiserver.md); let pass from 1.29"),
        new("strict-transport-security-directives", 21, null, "reference of 1.35 (kubernetes/website kube-apiserver.md); let pass from 1.21"),
        new("target-ram-mb", 20, 24, "kubernetes#108457"),
        new("tracing-config-file", 22, null, "KEP-647"),
    ];

    private static readonly Lazy<VersionedNames> LazyApiServerFlags =
        new(() => new("kube-apiserver", "flag", "--", ApiServer20, "kube-apiserver of 1.20.2", ApiServerFlagsChanges));

    // As kube-apiserver's.
    private const string ControllerManager20 = """
        add-dir-header address allocate-node-cidrs allow-untagged-cloud alsologtostderr attach-detach-reconcile-sync-period
        authentication-kubeconfig authentication-skip-lookup authentication-token-webhook-cache-ttl authentication-tolerate-lookup-failure
        authorization-always-allow-paths authorization-kubeconfig authorization-webhook-cache-authorized-ttl
        authorization-webhook-cache-unauthorized-ttl bind-address cert-dir cidr-allocator-type client-ca-file cloud-config cloud-provider
        cloud-provider-gce-lb-src-cidrs cluster-cidr cluster-name cluster-signing-cert-file cluster-signing-duration cluster-signing-key-file
        cluster-signing-kube-apiserver-client-cert-file cluster-signing-kube-apiserver-client-key-file cluster-signing-kubelet-client-cert-file
        cluster-signing-kubelet-client-key-file cluster-signing-kubelet-serving-cert-file cluster-signing-kubelet-serving-key-file
        cluster-signing-legacy-unknown-cert-file cluster-signing-legacy-unknown-key-file concurrent-deployment-syncs concurrent-endpoint-syncs
        concurrent-gc-syncs concurrent-namespace-syncs concurrent-replicaset-syncs concurrent-resource-quota-syncs concurrent-service-endpoint-syncs
        concurrent-service-syncs concurrent-serviceaccount-token-syncs concurrent-statefulset-syncs concurrent-ttl-after-finished-syncs
        concurrent_rc_syncs configure-cloud-routes contention-profiling controller-start-interval controllers deleting-pods-burst deleting-pods-qps
        deployment-controller-sync-period disable-attach-detach-reconcile-sync enable-dynamic-provisioning enable-garbage-collector
        enable-hostpath-provisioner enable-taint-manager endpoint-updates-batch-period endpointslice-updates-batch-period
        experimental-cluster-signing-duration experimental-logging-sanitization external-cloud-volume-plugin feature-gates flex-volume-plugin-dir
        help horizontal-pod-autoscaler-cpu-initialization-period horizontal-pod-autoscaler-downscale-delay
        horizontal-pod-autoscaler-downscale-stabilization horizontal-pod-autoscaler-initial-readiness-delay horizontal-pod-autoscaler-sync-period
        horizontal-pod-autoscaler-tolerance horizontal-pod-autoscaler-upscale-delay horizontal-pod-autoscaler-use-rest-clients
        http2-max-streams-per-connection kube-api-burst kube-api-content-type kube-api-qps kubeconfig large-cluster-size-threshold leader-elect
        leader-elect-lease-duration leader-elect-renew-deadline leader-elect-resource-lock leader-elect-resource-name
        leader-elect-resource-namespace leader-elect-retry-period log-backtrace-at log-dir log-file log-file-max-size log-flush-frequency
        logging-format logtostderr master max-endpoints-per-slice min-resync-period mirroring-concurrent-service-endpoint-syncs
        mirroring-endpointslice-updates-batch-period mirroring-max-endpoints-per-subset namespace-sync-period node-cidr-mask-size
        node-cidr-mask-size-ipv4 node-cidr-mask-size-ipv6 node-eviction-rate node-monitor-grace-period node-monitor-period node-startup-grace-period
        node-sync-period one-output permit-port-sharing pod-eviction-timeout port profiling pv-recycler-increment-timeout-nfs
        pv-recycler-minimum-timeout-hostpath pv-recycler-minimum-timeout-nfs pv-recycler-pod-template-filepath-hostpath
        pv-recycler-pod-template-filepath-nfs pv-recycler-timeout-increment-hostpath pvclaimbinder-sync-period register-retry-count
        requestheader-allowed-names requestheader-client-ca-file requestheader-extra-headers-prefix requestheader-group-headers
        requestheader-username-headers resource-quota-sync-period root-ca-file route-reconciliation-period secondary-node-eviction-rate secure-port
        service-account-private-key-file service-cluster-ip-range show-hidden-metrics-for-version skip-headers skip-log-headers stderrthreshold
        terminated-pod-gc-threshold tls-cert-file tls-cipher-suites tls-min-version tls-private-key-file tls-sni-cert-key unhealthy-zone-threshold
        use-service-account-credentials v version vmodule volume-host-allow-local-loopback volume-host-cidr-denylist
        """;

    private static readonly IReadOnlyList<VersionedName> ControllerManagerFlagsChanges =
    [
        .. Shared,
        new("address", 20, 24, InsecureOthers),
        new("concurrent-cron-job-syncs", 26, null, Kcm31),
        new("concurrent-daemonset-syncs", 32, null, Kcm35),
        new("concurrent-device-taint-eviction-syncs", 32, null, Kcm35),
        new("concurrent-ephemeralvolume-syncs", 21, null, Kcm31),
        new("concurrent-horizontal-pod-autoscaler-syncs", 25, null, Kcm31),
        new("concurrent-job-syncs", 25, null, Kcm31),
        new("concurrent-rc-syncs", 23, null, Kcm31),
        new("concurrent-resourceclaim-syncs", 36, null, "kubernetes#134701"),
        new("concurrent-validating-admission-policy-status-syncs", 27, null, Kcm31),
        new("controller-shutdown-timeout", 32, null, Kcm35),
        new("deleting-pods-burst", 20, 25, "kubernetes#109612"),
        new("deleting-pods-qps", 20, 25, "kubernetes#109612"),
        new("deployment-controller-sync-period", 20, 35, "kubernetes#103538 gives it up from 1.24 on; " + AbsentKcm35),
        new("disable-force-detach-on-timeout", 29, null, Kcm31),
        new("enable-leader-migration", 21, null, "KEP-2436"),
        new("enable-taint-manager", 20, 27, "kubernetes#115840"),
        new("experimental-cluster-signing-duration", 20, 25, "kubernetes#108476"),
        new("experimental-logging-sanitization", 20, 35, AbsentKcm35),
        new("horizontal-pod-autoscaler-downscale-delay", 20, 31, "kubernetes#124948"),
        new("horizontal-pod-autoscaler-upscale-delay", 20, 31, "kubernetes#124948"),
        new("horizontal-pod-autoscaler-use-rest-clients", 20, 22, "kubernetes#90368"),
        new("leader-migration-config", 21, null, "KEP-2436"),
        new("legacy-service-account-token-clean-up-period", 28, null, "KEP-2799"),
        new("pod-eviction-timeout", 20, 27, "kubernetes#115840"),
        new("port", 20, 24, InsecureOthers),
        new("register-retry-count", 20, 25, "kubernetes#109612"),
        new("volume-host-allow-local-loopback", 20, 31, "kubernetes#124017"),
        new("volume-host-cidr-denylist", 20, 31, "kubernetes#124017"),
    ];

    private static readonly Lazy<VersionedNames> LazyControllerManagerFlags =
        new(() => new("kube-controller-manager", "flag", "--", ControllerManager20, "kube-controller-manager of 1.20.2", ControllerManagerFlagsChanges));

    // As kube-apiserver's.
    private const string Scheduler20 = """
        add-dir-header address algorithm-provider alsologtostderr authentication-kubeconfig authentication-skip-lookup
        authentication-token-webhook-cache-ttl authentication-tolerate-lookup-failure authorization-always-allow-paths authorization-kubeconfig
        authorization-webhook-cache-authorized-ttl authorization-webhook-cache-unauthorized-ttl bind-address cert-dir client-ca-file config
        contention-profiling experimental-logging-sanitization feature-gates hard-pod-affinity-symmetric-weight help
        http2-max-streams-per-connection kube-api-burst kube-api-content-type kube-api-qps kubeconfig leader-elect leader-elect-lease-duration
        leader-elect-renew-deadline leader-elect-resource-lock leader-elect-resource-name leader-elect-resource-namespace leader-elect-retry-period
        lock-object-name lock-object-namespace log-backtrace-at log-dir log-file log-file-max-size log-flush-frequency logging-format logtostderr
        master one-output permit-port-sharing policy-config-file policy-configmap policy-configmap-namespace port profiling
        requestheader-allowed-names requestheader-client-ca-file requestheader-extra-headers-prefix requestheader-group-headers
        requestheader-username-headers scheduler-name secure-port show-hidden-metrics-for-version skip-headers skip-log-headers stderrthreshold
        tls-cert-file tls-cipher-suites tls-min-version tls-private-key-file tls-sni-cert-key use-legacy-policy-config v version vmodule
        write-config-to
        """;

    private static readonly IReadOnlyList<VersionedName> SchedulerFlagsChanges =
    [
        .. Shared,
        new("address", 20, 24, "canonical/microk8s#2917"),
        new("algorithm-provider", 20, 22, "kubernetes#102239"),
        new("experimental-logging-sanitization", 20, 36, AbsentScheduler36),
        new("hard-pod-affinity-symmetric-weight", 20, 22, "kubernetes#102805"),
        new("lock-object-name", 20, 28, "kubernetes#119130"),
        new("lock-object-namespace", 20, 28, "kubernetes#119130"),
        new("pod-max-in-unschedulable-pods-duration", 23, null, "reference of 1.36 (kubernetes/website kube-scheduler.md); let pass from 1.23"),
        new("policy-config-file", 20, 23, "kubernetes#105424"),
        new("policy-configmap", 20, 23, "kubernetes#105424"),
        new("policy-configmap-namespace", 20, 23, "kubernetes#105424"),
        new("port", 20, 24, "canonical/microk8s#2917"),
        new("scheduler-name", 20, 22, "kubernetes#102805"),
        new("use-legacy-policy-config", 20, 23, "kubernetes#105424"),
    ];

    private static readonly Lazy<VersionedNames> LazySchedulerFlags =
        new(() => new("kube-scheduler", "flag", "--", Scheduler20, "kube-scheduler of 1.20.2", SchedulerFlagsChanges));

    // kube-apiserver --help of 1.20.2, --enable-admission-plugins.
    private const string AdmissionPlugins20 = """
        AlwaysAdmit AlwaysDeny AlwaysPullImages CertificateApproval CertificateSigning CertificateSubjectRestriction DefaultIngressClass
        DefaultStorageClass DefaultTolerationSeconds DenyEscalatingExec DenyExecOnPrivileged EventRateLimit ExtendedResourceToleration
        ImagePolicyWebhook LimitPodHardAntiAffinityTopology LimitRanger MutatingAdmissionWebhook NamespaceAutoProvision NamespaceExists
        NamespaceLifecycle NodeRestriction OwnerReferencesPermissionEnforcement PersistentVolumeClaimResize PersistentVolumeLabel PodNodeSelector
        PodSecurityPolicy PodTolerationRestriction Priority ResourceQuota RuntimeClass SecurityContextDeny ServiceAccount
        StorageObjectInUseProtection TaintNodesByCondition ValidatingAdmissionWebhook
        """;

    private static readonly IReadOnlyList<VersionedName> AdmissionPluginsChanges =
    [
        new("ClusterTrustBundleAttest", 27, null, "KEP-3257"),
        new("DenyEscalatingExec", 20, 21, AbsentApi21),
        new("DenyExecOnPrivileged", 20, 21, AbsentApi21),
        new("DenyServiceExternalIPs", 21, null, Reference21),
        new("MutatingAdmissionPolicy", 32, null, "KEP-3962; gardener/gardener admissionplugins.go"),
        new("NodeDeclaredFeatureValidator", 35, null, "reference of 1.35 (kubernetes/website kube-apiserver.md)"),
        new("PersistentVolumeLabel", 20, 31, "absent from the reference of 1.31 (kubernetes/website kube-apiserver.md); gardener/gardener admissionplugins.go"),
        new("PodSecurity", 22, null, "KEP-2579"),
        new("PodSecurityPolicy", 20, 25, "KEP-5, KEP-2579"),
        new("PodTopologyLabels", 33, null, "KEP-4742; gardener/gardener admissionplugins.go"),
        new("SecurityContextDeny", 20, 30, "KEP-3785; gardener/gardener admissionplugins.go"),
        new("ValidatingAdmissionPolicy", 26, null, "KEP-3488"),
    ];

    private static readonly Lazy<VersionedNames> LazyAdmissionPlugins =
        new(() => new("kube-apiserver", "admission plugin", "", AdmissionPlugins20, "kube-apiserver --help of 1.20.2", AdmissionPluginsChanges));

    // Fields of KubeProxyConfiguration v1alpha1 in kube-proxy of 1.20.2.
    private const string ProxyFields20 = """
        bindAddress bindAddressHardFail clientConnection clusterCIDR configSyncPeriod conntrack detectLocalMode enableProfiling featureGates
        healthzBindAddress hostnameOverride iptables ipvs metricsBindAddress mode nodePortAddresses oomScoreAdj portRange
        showHiddenMetricsForVersion udpIdleTimeout winkernel
        """;

    private static readonly IReadOnlyList<VersionedName> ProxyFieldsChanges =
    [
        new("detectLocal", 22, null, "KEP-2450; let pass from 1.22"),
        new("logging", 26, null, Proxy31 + "; let pass from 1.26"),
        new("nftables", 29, null, "KEP-3866"),
        new("serviceProxyName", 32, null, "kube-proxy types.go after 1.31.1 (kubernetes/kubernetes master); let pass from 1.32"),
        new("udpIdleTimeout", 20, 31, "absent from " + Proxy31 + "; when it went is not recorded"),
        new("windowsRunAsService", 26, null, Proxy31 + "; let pass from 1.26"),
    ];

    private static readonly Lazy<VersionedNames> LazyProxyFields =
        new(() => new("kube-proxy", "field", "", ProxyFields20, "kube-proxy of 1.20.2", ProxyFieldsChanges));

    public static VersionedNames ApiServerFlags => LazyApiServerFlags.Value;

    public static VersionedNames ControllerManagerFlags => LazyControllerManagerFlags.Value;

    public static VersionedNames SchedulerFlags => LazySchedulerFlags.Value;

    /// <summary>Names for --enable-admission-plugins and --disable-admission-plugins.</summary>
    public static VersionedNames AdmissionPlugins => LazyAdmissionPlugins.Value;

    public static VersionedNames ProxyFields => LazyProxyFields.Value;
}
