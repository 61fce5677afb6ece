using System.Runtime.InteropServices;
using System.Text;

namespace NodeAgent.Machine;

/// <summary>Files as they are, and files written so that a power cut leaves the old or the new one, never a half.</summary>
internal static class Files
{
    /// <summary>Above this a file's content is not reported.</summary>
    public const int ContentLimit = 1024 * 1024;

    public const UnixFileMode WorldReadable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    public const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    public const UnixFileMode OpenDirectory = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute
        | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    /// <summary>
    /// What a write in progress is called. kubelet's manifests, CNI's and every *.d directory pass over such a name; a crash leaves at most one a target, and
    /// the next write takes it over.
    /// </summary>
    public static string TemporaryName(string path) => $"{Path.GetDirectoryName(path)}/.{Path.GetFileName(path)}{TemporarySuffix}";

    public const string TemporarySuffix = ".nodeagent-new";

    public static FileReport Report(string path)
    {
        if (Status(path, follow: false) is not { } status)
        {
            return FileReport.Absent;
        }

        var report = new FileReport(status.Kind, Mode: status.Mode, Uid: status.Uid, Gid: status.Gid);
        return status.Kind switch
        {
            FileKind.Link => report with { Target = ReadLink(path) },
            // O_NOFOLLOW: what statx called a file may have become a link since.
            FileKind.Regular => report with { Content = Read(path, Libc.NoFollow, ContentLimit) },
            _ => report,
        };
    }

    /// <summary>Names in a directory, ordinal order; empty when there is none.</summary>
    public static IReadOnlyList<string> Names(string path)
    {
        // Asked first: the first exception of a process costs 10 ms, and what is not there is the usual case.
        if (Status(path, follow: true) is not { Kind: FileKind.Directory })
        {
            return [];
        }

        try
        {
            // By default .NET leaves out names with a leading dot.
            var all = new EnumerationOptions { AttributesToSkip = 0, IgnoreInaccessible = false };
            string[] names = [.. Directory.EnumerateFileSystemEntries(path, "*", all).Select(p => Path.GetFileName(p)!)];
            Array.Sort(names, StringComparer.Ordinal);
            return names;
        }
        catch (Exception e) when (e is DirectoryNotFoundException or FileNotFoundException)
        {
            return [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ProbeException(path, "cannot be listed: " + e.Message, e);
        }
    }

    /// <summary>Whole content of a text the kernel or a daemon keeps; null when there is no such file.</summary>
    public static string? Text(string path) => Read(path, 0, 64 * ContentLimit) is { } content ? Encoding.UTF8.GetString(content) : null;

    /// <summary>Which file a path names at present (links followed): the same identity is the same content, for programs.</summary>
    public static FileIdentity? Identity(string path) => Status(path, follow: true) is { } s
        ? new FileIdentity($"{s.DeviceMajor}:{s.DeviceMinor}", s.Inode, s.Size, s.ModifiedSeconds, s.ModifiedNanoseconds)
        : null;

    public static string? ReadLink(string path)
    {
        Span<byte> buffer = stackalloc byte[4096];
        var length = Libc.ReadLink(path, buffer, buffer.Length);
        return length < 0 ? null : Encoding.UTF8.GetString(buffer[..(int)length]);
    }

    /// <summary>
    /// Writes beside, syncs, renames, syncs the directory. A link at <paramref name="path"/> is replaced, not followed. Owner is root where we are root.
    /// </summary>
    public static void Write(string path, ReadOnlySpan<byte> content, UnixFileMode mode)
    {
        var what = $"write {path}";
        var directory = Path.GetDirectoryName(path);
        if (!Path.IsPathRooted(path) || string.IsNullOrEmpty(directory))
        {
            throw new MachineException(what, "needs an absolute path to a file");
        }

        MakeParents(directory);
        var temporary = TemporaryName(path);
        var file = CreateTemporary(temporary, mode, what);
        try
        {
            WriteAll(file, content, what);
            SetOwnerAndMode(file, mode, what);
            Check(Libc.Sync(file), what);
            // The lock goes with the descriptor, so that it is held until the name is taken.
            Check(Libc.Rename(temporary, path), what);
        }
        catch (MachineException)
        {
            _ = Libc.Unlink(temporary);
            throw;
        }
        finally
        {
            _ = Libc.Close(file);
        }

        SyncDirectory(directory, what);
    }

    /// <summary>Into the file that is there, whose inode others may hold.</summary>
    public static void Overwrite(string path, ReadOnlySpan<byte> content, UnixFileMode mode)
    {
        try
        {
            using var file = new FileStream(
                path, new FileStreamOptions { Mode = FileMode.Open, Access = FileAccess.Write, Share = FileShare.Read, BufferSize = 0 });
            // What is new first, so that nobody reads an empty file.
            file.Write(content);
            file.SetLength(content.Length);
            file.Flush(flushToDisk: true);
        }
        catch (FileNotFoundException)
        {
            Write(path, content, mode);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new MachineException($"write {path}", e.Message, e);
        }
    }

    /// <summary>As <see cref="Write"/>, where there is nothing yet: of any number who try at once, one does it, and nobody sees a half.</summary>
    /// <returns>False where there is something.</returns>
    public static bool Create(string path, ReadOnlySpan<byte> content, UnixFileMode mode)
    {
        var what = $"write {path}";
        var directory = Path.GetDirectoryName(path);
        if (!Path.IsPathRooted(path) || string.IsNullOrEmpty(directory))
        {
            throw new MachineException(what, "needs an absolute path to a file");
        }

        MakeParents(directory);
        var temporary = $"{directory}/.{Path.GetFileName(path)}.{Guid.NewGuid():N}.nodeagent-new";
        var file = CreateTemporary(temporary, mode, what);
        try
        {
            WriteAll(file, content, what);
            SetOwnerAndMode(file, mode, what);
            Check(Libc.Sync(file), what);
            // rename(2) would take the name from whoever has it.
            if (Libc.Link(temporary, path) != 0)
            {
                return Marshal.GetLastPInvokeError() is var errno && errno == Libc.Exists ? false : throw new MachineException(what, Libc.Error(errno));
            }
        }
        finally
        {
            _ = Libc.Unlink(temporary);
            _ = Libc.Close(file);
        }

        SyncDirectory(directory, what);
        return true;
    }

    /// <summary>Removes a file or link; nothing happens when there is none.</summary>
    public static void Delete(string path)
    {
        var what = $"delete {path}";
        if (Libc.Unlink(path) != 0)
        {
            var errno = Marshal.GetLastPInvokeError();
            if (errno is Libc.NotFound or Libc.NotADirectory)
            {
                return;
            }

            throw new MachineException(what, Libc.Error(errno));
        }

        SyncDirectory(Path.GetDirectoryName(path)!, what);
    }

    public static void MakeDirectory(string path, UnixFileMode mode)
    {
        var what = $"make directory {path}";
        if (Path.GetDirectoryName(path) is { Length: > 0 } parent)
        {
            MakeParents(parent);
        }

        MakeOne(path, mode, what);
        var directory = Libc.Open(path, Libc.ReadOnly | Libc.DirectoryOnly | Libc.NoFollow | Libc.CloseOnExec, 0);
        Check(directory, what);
        try
        {
            SetOwnerAndMode(directory, mode, what);
            Check(Libc.Sync(directory), what);
        }
        finally
        {
            _ = Libc.Close(directory);
        }
    }

    /// <summary>One write(2) to a file that is there already, as /proc and /sys want it.</summary>
    public static void Poke(string path, string value, string what)
    {
        var file = Libc.Open(path, Libc.WriteOnly | Libc.CloseOnExec, 0);
        Check(file, what);
        try
        {
            var bytes = Encoding.UTF8.GetBytes(value);
            Check((int)Libc.Write(file, bytes, bytes.Length), what);
        }
        finally
        {
            _ = Libc.Close(file);
        }
    }

    private static Libc.FileStatus? Status(string path, bool follow)
    {
        if (Libc.Status(Libc.AtCurrentDirectory, path, follow ? 0 : Libc.AtNoFollow, Libc.FileStatus.Basic, out var status) == 0)
        {
            return status;
        }

        var errno = Marshal.GetLastPInvokeError();
        return errno is Libc.NotFound or Libc.NotADirectory ? null : throw new ProbeException(path, "cannot be seen: " + Libc.Error(errno));
    }

    /// <returns>Null when there is no such file or it is larger than <paramref name="limit"/>.</returns>
    private static byte[]? Read(string path, int flags, int limit)
    {
        // O_NONBLOCK: opening a FIFO somebody put there must not hang.
        var file = Libc.Open(path, Libc.ReadOnly | Libc.CloseOnExec | Libc.NonBlocking | flags, 0);
        if (file < 0)
        {
            var errno = Marshal.GetLastPInvokeError();
            return errno is Libc.NotFound or Libc.NotADirectory ? null : throw new ProbeException(path, "cannot be read: " + Libc.Error(errno));
        }

        try
        {
            // Sizes that stat gives for /proc are 0: read to the end.
            var buffer = new byte[16 * 1024];
            var length = 0;
            while (true)
            {
                if (length == buffer.Length)
                {
                    Array.Resize(ref buffer, buffer.Length * 4);
                }

                var read = Libc.Read(file, buffer.AsSpan(length), buffer.Length - length);
                if (read > 0)
                {
                    length += (int)read;
                    if (length > limit)
                    {
                        return null;
                    }
                }
                else if (read == 0)
                {
                    return buffer[..length];
                }
                else if (Marshal.GetLastPInvokeError() is var errno and not Libc.Interrupted)
                {
                    throw new ProbeException(path, "cannot be read: " + Libc.Error(errno));
                }
            }
        }
        finally
        {
            _ = Libc.Close(file);
        }
    }

    private static int CreateTemporary(string path, UnixFileMode mode, string what)
    {
        for (var attempt = 0; ; attempt++)
        {
            var file = Libc.Open(path, Libc.WriteOnly | Libc.Create | Libc.Exclusive | Libc.NoFollow | Libc.CloseOnExec, (uint)mode);
            if (file >= 0)
            {
                _ = Libc.Lock(file, Libc.LockExclusive | Libc.LockNonBlocking);
                return file;
            }

            var errno = Marshal.GetLastPInvokeError();
            if (errno != Libc.Exists || attempt == 3)
            {
                throw new MachineException(what, Libc.Error(errno));
            }

            // Left by a crash, unless somebody holds it. O_NOFOLLOW fails on a link, which then goes.
            var leftover = Libc.Open(path, Libc.WriteOnly | Libc.NoFollow | Libc.NonBlocking | Libc.CloseOnExec, 0);
            if (leftover >= 0)
            {
                var free = Libc.Lock(leftover, Libc.LockExclusive | Libc.LockNonBlocking) == 0;
                _ = Libc.Close(leftover);
                if (!free)
                {
                    throw new MachineException(what, $"another process is writing it now (it holds {path})");
                }
            }

            _ = Libc.Unlink(path);
        }
    }

    private static void WriteAll(int file, ReadOnlySpan<byte> content, string what)
    {
        while (!content.IsEmpty)
        {
            var written = Libc.Write(file, content, content.Length);
            if (written >= 0)
            {
                content = content[(int)written..];
            }
            else if (Marshal.GetLastPInvokeError() != Libc.Interrupted)
            {
                throw new MachineException(what, Libc.LastError());
            }
        }
    }

    private static void SetOwnerAndMode(int file, UnixFileMode mode, string what)
    {
        // Owner first: chown clears set-id bits. The mode at creation was cut by the umask.
        if (Libc.EffectiveUser() == 0)
        {
            Check(Libc.ChangeOwner(file, 0, 0), what);
        }

        Check(Libc.ChangeMode(file, (uint)mode), what);
    }

    private static void MakeParents(string directory)
    {
        if (Status(directory, follow: true) is { Kind: FileKind.Directory })
        {
            return;
        }

        if (Path.GetDirectoryName(directory) is { Length: > 0 } parent)
        {
            MakeParents(parent);
        }

        MakeDirectory(directory, OpenDirectory);
    }

    private static void MakeOne(string path, UnixFileMode mode, string what)
    {
        if (Libc.MakeDirectory(path, (uint)mode) == 0)
        {
            SyncDirectory(Path.GetDirectoryName(path) is { Length: > 0 } parent ? parent : "/", what);
        }
        else if (Marshal.GetLastPInvokeError() is var errno and not Libc.Exists)
        {
            throw new MachineException(what, Libc.Error(errno));
        }
    }

    private static void SyncDirectory(string path, string what)
    {
        var directory = Libc.Open(path, Libc.ReadOnly | Libc.DirectoryOnly | Libc.CloseOnExec, 0);
        Check(directory, what);
        var result = Libc.Sync(directory);
        var errno = Marshal.GetLastPInvokeError();
        _ = Libc.Close(directory);
        // Some file systems (9p, FUSE) have no fsync on directories: EINVAL.
        if (result != 0 && errno != 22)
        {
            throw new MachineException(what, $"sync of {path}: {Libc.Error(errno)}");
        }
    }

    private static void Check(int result, string what)
    {
        if (result < 0)
        {
            throw new MachineException(what, Libc.LastError());
        }
    }
}

/// <param name="Device">Major and minor number of the file system's device.</param>
internal sealed record FileIdentity(string Device, ulong Inode, ulong Size, long ModifiedSeconds, uint ModifiedNanoseconds);
