namespace NodeAgent.Kubernetes;

/// <summary>kubelet's flags and the fields at the top of its KubeletConfiguration.</summary>
internal static class KubeletNames
{
    private const string Absent34 = "absent from the reference of 1.34 (kubernetes/website kubelet.md); when it went is not recorded";
    private const string Dockershim = "kubernetes#106907, removed with dockershim";

    // kubelet --help of 1.20.2.
    private const string Flags20 = """
        add-dir-header address allowed-unsafe-sysctls alsologtostderr anonymous-auth application-metrics-count-limit authentication-token-webhook
        authentication-token-webhook-cache-ttl authorization-mode authorization-webhook-cache-authorized-ttl
        authorization-webhook-cache-unauthorized-ttl azure-container-registry-config boot-id-file bootstrap-kubeconfig cert-dir cgroup-driver
        cgroup-root cgroups-per-qos chaos-chance client-ca-file cloud-config cloud-provider cluster-dns cluster-domain cni-bin-dir cni-cache-dir
        cni-conf-dir config container-hints container-log-max-files container-log-max-size container-runtime container-runtime-endpoint containerd
        containerd-namespace contention-profiling cpu-cfs-quota cpu-cfs-quota-period cpu-manager-policy cpu-manager-reconcile-period docker
        docker-endpoint docker-env-metadata-whitelist docker-only docker-root docker-tls docker-tls-ca docker-tls-cert docker-tls-key
        dynamic-config-dir enable-cadvisor-json-endpoints enable-controller-attach-detach enable-debugging-handlers enable-load-reader enable-server
        enforce-node-allocatable event-burst event-qps event-storage-age-limit event-storage-event-limit eviction-hard eviction-max-pod-grace-period
        eviction-minimum-reclaim eviction-pressure-transition-period eviction-soft eviction-soft-grace-period exit-on-lock-contention
        experimental-allocatable-ignore-eviction experimental-bootstrap-kubeconfig experimental-check-node-capabilities-before-mount
        experimental-kernel-memcg-notification experimental-logging-sanitization experimental-mounter-path fail-swap-on feature-gates
        file-check-frequency global-housekeeping-interval hairpin-mode healthz-bind-address healthz-port help hostname-override
        housekeeping-interval http-check-frequency image-credential-provider-bin-dir image-credential-provider-config image-gc-high-threshold
        image-gc-low-threshold image-pull-progress-deadline image-service-endpoint iptables-drop-bit iptables-masquerade-bit
        keep-terminated-pod-volumes kernel-memcg-notification kube-api-burst kube-api-content-type kube-api-qps kube-reserved kube-reserved-cgroup
        kubeconfig kubelet-cgroups lock-file log-backtrace-at log-cadvisor-usage log-dir log-file log-file-max-size log-flush-frequency
        logging-format logtostderr machine-id-file make-iptables-util-chains manifest-url manifest-url-header master-service-namespace
        max-open-files max-pods maximum-dead-containers maximum-dead-containers-per-container minimum-container-ttl-duration
        minimum-image-ttl-duration network-plugin network-plugin-mtu node-ip node-labels node-status-max-images node-status-update-frequency
        non-masquerade-cidr one-output oom-score-adj pod-cidr pod-infra-container-image pod-manifest-path pod-max-pids pods-per-core port
        protect-kernel-defaults provider-id qos-reserved read-only-port really-crash-for-testing redirect-container-streaming register-node
        register-schedulable register-with-taints registry-burst registry-qps reserved-cpus resolv-conf root-dir rotate-certificates
        rotate-server-certificates runonce runtime-cgroups runtime-request-timeout seccomp-profile-root serialize-image-pulls skip-headers
        skip-log-headers stderrthreshold storage-driver-buffer-duration storage-driver-db storage-driver-host storage-driver-password
        storage-driver-secure storage-driver-table storage-driver-user streaming-connection-idle-timeout sync-frequency system-cgroups
        system-reserved system-reserved-cgroup tls-cert-file tls-cipher-suites tls-min-version tls-private-key-file topology-manager-policy
        topology-manager-scope v version vmodule volume-plugin-dir volume-stats-agg-period
        """;

    // staging/src/k8s.io/kubelet/config/v1beta1/types.go of v1.20.2.
    private const string Fields20 = """
        address allowedUnsafeSysctls authentication authorization cgroupDriver cgroupRoot cgroupsPerQOS clusterDNS clusterDomain
        configMapAndSecretChangeDetectionStrategy containerLogMaxFiles containerLogMaxSize contentType cpuCFSQuota cpuCFSQuotaPeriod
        cpuManagerPolicy cpuManagerReconcilePeriod enableContentionProfiling enableControllerAttachDetach enableDebuggingHandlers enableServer
        enableSystemLogHandler enforceNodeAllocatable eventBurst eventRecordQPS evictionHard evictionMaxPodGracePeriod evictionMinimumReclaim
        evictionPressureTransitionPeriod evictionSoft evictionSoftGracePeriod failSwapOn featureGates fileCheckFrequency hairpinMode
        healthzBindAddress healthzPort httpCheckFrequency imageGCHighThresholdPercent imageGCLowThresholdPercent imageMinimumGCAge iptablesDropBit
        iptablesMasqueradeBit kernelMemcgNotification kubeAPIBurst kubeAPIQPS kubeReserved kubeReservedCgroup kubeletCgroups logging
        makeIPTablesUtilChains maxOpenFiles maxPods nodeLeaseDurationSeconds nodeStatusMaxImages nodeStatusReportFrequency nodeStatusUpdateFrequency
        oomScoreAdj podCIDR podPidsLimit podsPerCore port protectKernelDefaults providerID qosReserved readOnlyPort registryBurst registryPullQPS
        reservedSystemCPUs resolvConf rotateCertificates runOnce runtimeRequestTimeout serializeImagePulls serverTLSBootstrap
        showHiddenMetricsForVersion shutdownGracePeriod shutdownGracePeriodCriticalPods staticPodPath staticPodURL staticPodURLHeader
        streamingConnectionIdleTimeout syncFrequency systemCgroups systemReserved systemReservedCgroup tlsCertFile tlsCipherSuites tlsMinVersion
        tlsPrivateKeyFile topologyManagerPolicy topologyManagerScope volumePluginDir volumeStatsAggPeriod
        """;

    private static readonly IReadOnlyList<VersionedName> FlagChanges =
    [
        .. VersionedNames.Klog,
        new("azure-container-registry-config", 20, 30, "Azure/karpenter-provider-azure#338: unknown to 1.30"),
        new("chaos-chance", 20, 34, Absent34),
        new("cloud-config", 20, 34, "kubernetes#130161"),
        new("cni-bin-dir", 20, 24, Dockershim),
        new("cni-cache-dir", 20, 24, Dockershim),
        new("cni-conf-dir", 20, 24, Dockershim),
        new("config-dir", 28, null, "website#42013; behind an environment variable in 1.28"),
        new("container-runtime", 20, 27, "kubernetes#114017"),
        new("cpu-manager-policy-options", 22, null, "KEP-2625"),
        new("docker-endpoint", 20, 24, Dockershim),
        new("dynamic-config-dir", 20, 24, "website#37930"),
        new("enable-cadvisor-json-endpoints", 20, 34, Absent34),
        new("experimental-bootstrap-kubeconfig", 20, 34, Absent34),
        new("experimental-check-node-capabilities-before-mount", 20, 34, Absent34),
        new("experimental-kernel-memcg-notification", 20, 34, Absent34),
        new("experimental-logging-sanitization", 20, 34, Absent34),
        new("fail-cgroupv1", 31, null, "kubernetes#126031, KEP-4569"),
        new("image-pull-progress-deadline", 20, 24, Dockershim),
        new("iptables-drop-bit", 20, 31, "kubernetes#122363"),
        new("iptables-masquerade-bit", 20, 31, "kubernetes#122363"),
        new("keep-terminated-pod-volumes", 20, 31, "karpenter-provider-azure#1543"),
        new("local-storage-capacity-isolation", 25, null, "kubernetes#111513"),
        // The reference lists them for text alone, since what draws it registers no JSON. From when on is not recorded: let pass from the first that may.
        new("log-json-info-buffer-size", 23, null, "KEP-2845; let pass from 1.23"),
        new("log-json-split-stream", 23, null, "KEP-2845; let pass from 1.23"),
        new("log-text-info-buffer-size", 31, null, "reference of 1.34 (kubernetes/website kubelet.md); let pass from 1.31"),
        new("log-text-split-stream", 31, null, "reference of 1.34 (kubernetes/website kubelet.md); let pass from 1.31"),
        new("master-service-namespace", 20, 27, "kubernetes/website#40185"),
        new("memory-manager-policy", 21, null, "kubernetes#95479, KEP-1769"),
        new("network-plugin", 20, 24, Dockershim),
        new("network-plugin-mtu", 20, 24, Dockershim),
        new("non-masquerade-cidr", 20, 24, "kubernetes#107096"),
        new("pod-infra-container-image", 20, 35, "kubernetes#133779"),
        new("really-crash-for-testing", 20, 34, Absent34),
        new("redirect-container-streaming", 20, 34, Absent34),
        new("register-schedulable", 20, 34, "kubernetes#122384; " + Absent34),
        new("reserved-memory", 21, null, "kubernetes#95479, KEP-1769"),
        new("seccomp-default", 22, null, "KEP-2413"),
        new("seccomp-profile-root", 20, 34, Absent34),
        new("topology-manager-policy-options", 26, null, "KEP-3545"),
    ];

    private static readonly IReadOnlyList<VersionedName> FieldChanges =
    [
        new("containerLogMaxWorkers", 30, null, "kubernetes#114301"),
        new("containerLogMonitorInterval", 30, null, "kubernetes#114301"),
        new("containerRuntimeEndpoint", 27, null, "kubernetes#112136"),
        new("cpuManagerPolicyOptions", 22, null, "KEP-2625"),
        new("crashLoopBackOff", 32, null, "KEP-4603"),
        new("enableDebugFlagsHandler", 21, null, "kubernetes#98458"),
        new("enableProfilingHandler", 21, null, "kubernetes#98458"),
        new("enableSystemLogQuery", 27, null, "KEP-2258"),
        new("failCgroupV1", 31, null, "kubernetes#126031, KEP-4569"),
        new("imageMaximumGCAge", 29, null, "KEP-4210"),
        new("imagePullCredentialsVerificationPolicy", 33, null, "KEP-2535"),
        new("imageServiceEndpoint", 27, null, "kubernetes#112136"),
        new("localStorageCapacityIsolation", 25, null, "kubernetes#111513"),
        new("maxParallelImagePulls", 27, null, "KEP-3673"),
        new("memoryManagerPolicy", 21, null, "kubernetes#95479, KEP-1769"),
        new("memoryReservationPolicy", 36, null, "kubernetes#137584"),
        new("memorySwap", 22, null, "kubernetes#102823, KEP-2400"),
        new("memoryThrottlingFactor", 22, null, "KEP-2570"),
        new("mergeDefaultEvictionSettings", 33, null, "kubernetes#127577"),
        new("podLogsDir", 30, null, "kubernetes#112957"),
        new("preloadedImagesVerificationAllowlist", 33, null, "KEP-2535"),
        new("registerNode", 23, null, "kubernetes#105437 (registerWithTaints) names it; its own change was not read"),
        new("registerWithTaints", 23, null, "kubernetes#105437"),
        new("reservedMemory", 21, null, "kubernetes#95479, KEP-1769"),
        new("seccompDefault", 22, null, "KEP-2413"),
        new("shutdownGracePeriodByPodPriority", 23, null, "KEP-2712"),
        new("singleProcessOOMKill", 32, null, "kubernetes#126096"),
        new("topologyManagerPolicyOptions", 26, null, "KEP-3545"),
        new("tracing", 25, null, "kubernetes#105126, KEP-2831"),
        new("userNamespaces", 33, null, "kubernetes#130028"),
    ];

    private static readonly Lazy<VersionedNames> LazyFlags = new(() => new("kubelet", "flag", "--", Flags20, "kubelet --help of 1.20.2", FlagChanges));

    private static readonly Lazy<VersionedNames> LazyFields = new(() => new("kubelet", "field", "", Fields20, "types.go@v1.20.2", FieldChanges));

    public static VersionedNames Flags => LazyFlags.Value;

    public static VersionedNames Fields => LazyFields.Value;
}
