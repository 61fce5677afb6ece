using NodeAgent.Configuration;
using NodeAgent.Kubernetes;

namespace NodeAgent.Desired;

/// <summary>
/// Which Kubernetes each of the control plane's programs is, by its image's tag, and what of the configuration it does not take: a program that does not know a
/// flag ends as it starts, and with it the cluster.
/// </summary>
internal sealed record ControlPlaneReleases
{
    /// <summary>Null where the tag is no version: then it is nobody's to know.</summary>
    public KubernetesVersion? ApiServer { get; private init; }

    public KubernetesVersion? ControllerManager { get; private init; }

    public KubernetesVersion? Scheduler { get; private init; }

    /// <summary>What was allowed by name, and what could not be checked.</summary>
    public IReadOnlyList<string> Warnings { get; private init; } = [];

    /// <param name="kubelet">Its version is that of the images which the configuration does not name.</param>
    /// <exception cref="ConfigurationException">Flags, plugins or versions that do not go together.</exception>
    public static ControlPlaneReleases Check(NodeConfig config, KubernetesVersion kubelet)
    {
        var errors = new List<ConfigError>();
        var warnings = new List<string>();
        var (apiServer, manager, scheduler) =
            (Of("apiServer", config.ApiServer), Of("controllerManager", config.ControllerManager), Of("scheduler", config.Scheduler));
        if (apiServer is { } api)
        {
            Object("apiServer.image", api, Compatibility.Skew(api, kubelet));
            Names("apiServer.extraArgs", config.ApiServer.ExtraArgs.Keys, api, ControlPlaneNames.ApiServerFlags);
            Names("apiServer.admission.enable", config.ApiServer.Admission.Enable, api, ControlPlaneNames.AdmissionPlugins);
            Names("apiServer.admission.disable", config.ApiServer.Admission.Disable, api, ControlPlaneNames.AdmissionPlugins);
        }

        Client("controllerManager", "kube-controller-manager", manager, config.ControllerManager, ControlPlaneNames.ControllerManagerFlags);
        Client("scheduler", "kube-scheduler", scheduler, config.Scheduler, ControlPlaneNames.SchedulerFlags);
        ConfigurationException.ThrowIfAny(errors);
        return new() { ApiServer = apiServer, ControllerManager = manager, Scheduler = scheduler, Warnings = warnings };

        KubernetesVersion? Of(string path, IStaticPodConfig pod)
        {
            var version = pod.Image is { } image ? KubernetesVersion.OfImage(image) : kubelet;
            if (version is not { } known)
            {
                warnings.Add($"{path}.image: '{pod.Image}' has no version of Kubernetes for its tag; its flags, and what it goes with, are not checked");
                return null;
            }

            // Kubelet's own minor has been decided by then.
            if (known != kubelet && KubeletVersions.Find(known) is null)
            {
                Object(
                    $"{path}.image",
                    known,
                    $"Kubernetes {known} is not in the table of versions, {KubeletVersions.Oldest.Version} to {KubeletVersions.Newest.Version}");
            }

            return known;
        }

        void Client(string path, string program, KubernetesVersion? version, IStaticPodConfig pod, VersionedNames flags)
        {
            if (version is { } known)
            {
                Object($"{path}.image", known, apiServer is { } server ? Compatibility.ClientSkew(server, program, known) : null);
                Names($"{path}.extraArgs", pod.ExtraArgs.Keys, known, flags);
            }
        }

        void Names(string path, IEnumerable<string> names, KubernetesVersion version, VersionedNames known)
        {
            foreach (var name in names.Order(StringComparer.Ordinal))
            {
                Object($"{path}.{name}", version, known.Objection(name, version));
            }
        }

        void Object(string path, KubernetesVersion version, string? objection)
        {
            if (objection is null)
            {
                return;
            }

            if (config.ControlPlane.AllowUnlisted == version.ToString())
            {
                warnings.Add($"{path}: {objection}; taken all the same, since controlPlane.allowUnlisted names {version}");
            }
            else
            {
                errors.Add(new(null, path, $"{objection}; if that is a mistake of the table, say controlPlane.allowUnlisted: \"{version}\""));
            }
        }
    }
}
