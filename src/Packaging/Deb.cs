using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;

namespace NodeAgent.Packaging;

/// <summary>A Debian binary package, deb(5): an ar archive of debian-binary, control.tar.gz and data.tar.gz.</summary>
internal static class Deb
{
    public static string FileName(Release release) => $"{Release.Name}_{release.Version}_amd64.deb";

    public static byte[] Build(Release release, Contents contents)
    {
        IReadOnlyList<Entry> data =
        [
            .. contents.Entries,
            new($"{Contents.Documents}/changelog.gz", Gzip(Encoding.UTF8.GetBytes(Changelog(release))), Contents.Plain),
            new($"{Contents.Documents}/copyright", Encoding.UTF8.GetBytes(Copyright), Contents.Plain),
            new($"/usr/share/lintian/overrides/{Release.Name}", Encoding.UTF8.GetBytes(LintianOverrides), Contents.Plain),
        ];
        IReadOnlyList<Entry> control =
        [
            new("/control", Encoding.UTF8.GetBytes(Control(release, data)), Contents.Plain),
            new("/md5sums", Encoding.UTF8.GetBytes(Sums(data)), Contents.Plain),
            new("/postinst", Encoding.UTF8.GetBytes(PostInstall(contents.EnabledUnits)), Contents.Program),
            new("/postrm", Encoding.UTF8.GetBytes(PostRemove(contents.EnabledUnits)), Contents.Program),
        ];

        using var ar = new MemoryStream();
        ar.Write("!<arch>\n"u8);
        Member(ar, "debian-binary", "2.0\n"u8.ToArray(), release);
        Member(ar, "control.tar.gz", Gzip(Tar(control, release)), release);
        Member(ar, "data.tar.gz", Gzip(Tar(data, release)), release);
        return ar.ToArray();
    }

    /// <remarks>
    /// What it runs or loads: LVM, mkfs of both filesystems, modprobe, udevadm, and from util-linux, which every Debian has, wipefs; libssl for X.509 and
    /// TLS, libsystemd for D-Bus and the journal. kubelet and containerd come from elsewhere, in whichever version the cluster wants.
    /// </remarks>
    private static string Control(Release release, IReadOnlyList<Entry> data) => $"""
        Package: {Release.Name}
        Version: {release.Version}
        Architecture: amd64
        Maintainer: {Release.Maintainer}
        Installed-Size: {data.Sum(e => ((e.Content?.Length ?? 0) + 1023) / 1024)}
        Depends: libc6 (>= 2.27), libgcc-s1, libstdc++6, libssl3t64 | libssl3, libsystemd0, kmod, lvm2, udev, xfsprogs, e2fsprogs
        Suggests: containerd | containerd.io
        Section: admin
        Priority: optional
        Description: {Release.Summary}
         It turns a bare EC2 instance into a Kubernetes node: ephemeral disks, kernel
         settings, certificates, network, container runtime and kubelet. It says
         beforehand what it would do, proves afterwards that it holds, and repairs
         what drifted.

        """;

    /// <remarks>
    /// Enabled for the next boot, never started: installing or upgrading must not touch a running node. Works in a chroot, where systemd does not run.
    /// </remarks>
    private static string PostInstall(IReadOnlyList<string> units) => $$"""
        #!/bin/sh
        set -e

        case "$1" in
        configure | abort-upgrade | abort-deconfigure | abort-remove)
            for unit in {{string.Join(' ', units)}}; do
                # An administrator's "disable" outlives an upgrade.
                if deb-systemd-helper --quiet was-enabled "$unit"; then
                    deb-systemd-helper enable "$unit" >/dev/null || true
                else
                    deb-systemd-helper update-state "$unit" >/dev/null || true
                fi
            done
            if [ -d /run/systemd/system ]; then
                systemctl daemon-reload || true
            fi
            ;;
        esac

        """;

    /// <remarks>Nothing is stopped: the node goes on. Volume groups, mounts, container images and /etc/kubernetes are the node's and stay.</remarks>
    private static string PostRemove(IReadOnlyList<string> units) => $$"""
        #!/bin/sh
        set -e

        if [ "$1" = purge ]; then
            if command -v deb-systemd-helper >/dev/null; then
                for unit in {{string.Join(' ', units)}}; do
                    deb-systemd-helper purge "$unit" >/dev/null || true
                done
            fi
            rm -rf /etc/nodeagent /var/lib/nodeagent
        fi
        if [ -d /run/systemd/system ]; then
            systemctl daemon-reload || true
        fi

        """;

    private static string Changelog(Release release) => string.Create(CultureInfo.InvariantCulture, $"""
        {Release.Name} ({release.Version}) unstable; urgency=medium

          * Release {release.Version}.

         -- {Release.Maintainer}  {release.Time.UtcDateTime:ddd, dd MMM yyyy HH:mm:ss} +0000

        """);

    private const string Copyright = """
        Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
        Upstream-Name: NodeAgent

        Files: *
        Copyright: 2026 The NodeAgent authors
        License: Apache-2.0
        Comment: The program holds the .NET runtime, System.CommandLine and YamlDotNet
         (MIT), the AWS SDK for .NET, DiffPlex and Serilog (Apache-2.0) and Polly
         (BSD-3-Clause).

        License: Apache-2.0
         On Debian systems the text of the Apache License, version 2.0, is in
         /usr/share/common-licenses/Apache-2.0.

        """;

    private const string LintianOverrides = """
        # The .NET runtime is linked into the program, and its zlib with it.
        nodeagent: embedded-library *zlib*

        """;

    private static string Sums(IReadOnlyList<Entry> data) => string.Concat(data.Where(e => e.Content is not null).OrderBy(e => e.Path, StringComparer.Ordinal)
        .Select(e => $"{Md5(e.Content!)}  {e.Path[1..]}\n"));

    // The format asks for MD5; it finds broken disks, not forgers.
#pragma warning disable CA5351
    private static string Md5(byte[] content) => Convert.ToHexStringLower(MD5.HashData(content));
#pragma warning restore CA5351

    /// <summary>With all parent directories, by name, so that dpkg makes each before what is in it.</summary>
    private static byte[] Tar(IReadOnlyList<Entry> entries, Release release)
    {
        var all = new SortedDictionary<string, Entry>(StringComparer.Ordinal) { ["."] = new("", null, Contents.Program) };
        foreach (var entry in entries)
        {
            for (var slash = entry.Path.IndexOf('/', 1); slash > 0; slash = entry.Path.IndexOf('/', slash + 1))
            {
                all.TryAdd("." + entry.Path[..slash], new(entry.Path[..slash], null, Contents.Program));
            }

            all["." + entry.Path] = entry;
        }

        using var bytes = new MemoryStream();
        using (var tar = new TarWriter(bytes, TarEntryFormat.Ustar, leaveOpen: true))
        {
            foreach (var (path, entry) in all)
            {
                var isDirectory = entry.Content is null;
                var header = new UstarTarEntry(isDirectory ? TarEntryType.Directory : TarEntryType.RegularFile, isDirectory ? path + "/" : path)
                {
                    Mode = entry.Mode,
                    ModificationTime = release.Time,
                    UserName = "root",
                    GroupName = "root",
                };
                if (!isDirectory)
                {
                    header.DataStream = new MemoryStream(entry.Content!);
                }

                tar.WriteEntry(header);
            }
        }

        return bytes.ToArray();
    }

    /// <summary>.NET writes no time and no name into the gzip header.</summary>
    private static byte[] Gzip(byte[] content)
    {
        using var bytes = new MemoryStream();
        using (var gzip = new GZipStream(bytes, CompressionLevel.SmallestSize, leaveOpen: true))
        {
            gzip.Write(content);
        }

        return bytes.ToArray();
    }

    private static void Member(Stream ar, string name, byte[] content, Release release)
    {
        var header = string.Create(
            CultureInfo.InvariantCulture,
            $"{name,-16}{release.Time.ToUnixTimeSeconds(),-12}{0,-6}{0,-6}{100644,-8}{content.Length,-10}`\n");
        ar.Write(Encoding.ASCII.GetBytes(header));
        ar.Write(content);
        if (content.Length % 2 == 1)
        {
            ar.WriteByte((byte)'\n');
        }
    }
}
