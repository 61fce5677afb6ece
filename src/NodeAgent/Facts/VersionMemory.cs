using System.Text.Json;
using System.Text.Json.Serialization;
using NodeAgent.Machine;

namespace NodeAgent.Facts;

/// <summary>
/// Versions of binaries, each run at most once: on a cold disk `kubelet --version` alone takes seconds (awslabs/amazon-eks-ami#1751). What they said is
/// remembered by what the file is; the image build fills the memory beforehand, the same way.
/// </summary>
/// <param name="load">Content of <see cref="File"/>; null when there is none.</param>
/// <param name="save">Writes it. May fail with <see cref="MachineException"/>: the memory saves time, nothing else.</param>
/// <param name="identify">Inode, size and time of last change of the file a path leads to: "INODE SIZE SECONDS.NANOSECONDS"; null when there is none. Not the
/// device's number: that of the same root file system changes from boot to boot.</param>
/// <param name="run">Runs a program and returns what it wrote to standard output. Throws when it failed.</param>
internal sealed class VersionMemory(Func<byte[]?> load, Action<byte[]> save, Func<string, string?> identify, Func<string, string[], string> run)
{
    /// <summary>{ "binaries": { PATH: { "identity": ..., "version": ... } } }</summary>
    public const string File = "/var/lib/nodeagent/versions.json";

    /// <summary>Versions of the binaries that are there. Those that are not remembered run side by side.</summary>
    /// <param name="docker">dockerd, where it is the runtime.</param>
    /// <param name="criDockerd">Likewise; a kubelet that drives Docker itself does without.</param>
    /// <exception cref="ProbeException">A binary says something that is not a version.</exception>
    public async Task<VersionFacts> Versions(string kubelet, string containerd, string? docker = null, string? criDockerd = null)
    {
        var known = Load();
        var looks = new List<Task<(string Path, RememberedVersion? Version)>>
        {
            Task.Run(() => Look(kubelet, known, ParseKubelet)),
            Task.Run(() => Look(containerd, known, ParseContainerd)),
        };
        if (docker is not null)
        {
            looks.Add(Task.Run(() => Look(docker, known, ParseDocker)));
        }

        if (criDockerd is not null)
        {
            looks.Add(Task.Run(() => Look(criDockerd, known, ParseCriDockerd)));
        }

        var all = await Task.WhenAll(looks).ConfigureAwait(false);
        var found = new SortedDictionary<string, RememberedVersion>(known, StringComparer.Ordinal);
        foreach (var (path, version) in all)
        {
            if (version is null)
            {
                found.Remove(path);
            }
            else
            {
                found[path] = version;
            }
        }

        if (!found.SequenceEqual(known))
        {
            try
            {
                save([.. JsonSerializer.SerializeToUtf8Bytes(new(found), VersionMemoryJson.Default.RememberedVersions), (byte)'\n']);
            }
            catch (MachineException)
            {
                // Not root, or a file system that is read-only: then the next run asks again.
            }
        }

        return new VersionFacts { Kubelet = Of(kubelet), Containerd = Of(containerd), Docker = Of(docker), CriDockerd = Of(criDockerd) };

        string? Of(string? path) => all.FirstOrDefault(a => a.Path == path).Version?.Version;
    }

    private (string Path, RememberedVersion? Version) Look(string path, SortedDictionary<string, RememberedVersion> known, Func<string, string?> parse)
    {
        if (identify(path) is not { } identity)
        {
            return (path, null);
        }

        if (known.TryGetValue(path, out var remembered) && remembered.Identity == identity)
        {
            return (path, remembered);
        }

        var said = run(path, ["--version"]);
        return parse(said.Trim()) is { } version
            ? (path, new(identity, version))
            : throw new ProbeException($"{path} --version", $"says '{said.Trim()}', which is not a version as it is known to write it");
    }

    private SortedDictionary<string, RememberedVersion> Load()
    {
        try
        {
            if (load() is { } json && JsonSerializer.Deserialize(json, VersionMemoryJson.Default.RememberedVersions) is { } remembered)
            {
                return new(remembered.Binaries, StringComparer.Ordinal);
            }
        }
        catch (JsonException)
        {
            // A memory that makes no sense is none.
        }

        return new(StringComparer.Ordinal);
    }

    /// <summary>"Kubernetes v1.20.2", "Kubernetes v1.29.0-eks-5e0fdde".</summary>
    internal static string? ParseKubelet(string said) =>
        said.Split(' ') is ["Kubernetes", var version] ? WithoutPackaging(version) : null;

    /// <summary>
    /// "containerd github.com/containerd/containerd v1.7.24 88bf19b2"; Debian: "... 1.7.24~ds1 1.7.24~ds1-6+deb13u1";
    /// from 2.0 on "containerd github.com/containerd/containerd/v2 v2.0.0 207ad711".
    /// </summary>
    internal static string? ParseContainerd(string said) =>
        said.Split(' ') is ["containerd", _, var version, ..] ? WithoutPackaging(version) : null;

    /// <summary>"Docker version 27.3.1, build 41ca978"; Debian: "Docker version 26.1.5+dfsg1, build 411e817".</summary>
    internal static string? ParseDocker(string said) =>
        said.Split(' ') is ["Docker", "version", var version, ..] ? WithoutPackaging(version.TrimEnd(',')) : null;

    /// <summary>"cri-dockerd 0.3.4 (e88b1605)".</summary>
    internal static string? ParseCriDockerd(string said) =>
        said.Split(' ') is ["cri-dockerd", var version, ..] ? WithoutPackaging(version) : null;

    // What follows ~ or + is the distribution's, not the project's.
    private static string? WithoutPackaging(string version)
    {
        version = version.TrimStart('v');
        var end = version.AsSpan().IndexOfAny('~', '+');
        version = end < 0 ? version : version[..end];
        return version.Length > 0 && char.IsAsciiDigit(version[0]) ? version : null;
    }
}

internal sealed record RememberedVersions(SortedDictionary<string, RememberedVersion> Binaries);

internal sealed record RememberedVersion(string Identity, string Version);

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    WriteIndented = true,
    NewLine = "\n",
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(RememberedVersions))]
internal sealed partial class VersionMemoryJson : JsonSerializerContext;
