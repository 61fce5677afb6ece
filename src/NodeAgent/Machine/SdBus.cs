using System.Diagnostics;
using System.Runtime.InteropServices;

namespace NodeAgent.Machine;

/// <summary>
/// systemd's manager through libsystemd's sd-bus(3), which is there wherever systemd is. Only its non-variadic calls, and no callbacks: what is not asked for
/// by a callback comes out of sd_bus_process(3), replies and signals alike. For one thread.
/// </summary>
internal sealed unsafe partial class SdBus : ISystemdManager
{
    private const string Library = "libsystemd.so.0";
    private const string Manager = "org.freedesktop.systemd1.Manager";
    private const string ManagerPath = "/org/freedesktop/systemd1";
    private const string Unit = "org.freedesktop.systemd1.Unit";
    private const string Properties = "org.freedesktop.DBus.Properties";

    /// <summary>As systemctl grants a daemon-reload, the slowest call there is.</summary>
    private static readonly TimeSpan CallTimeout = TimeSpan.FromMinutes(3);

    private readonly nint _bus;
    private readonly bool _isBroker;
    private readonly CancellationToken _cancellation;
    private readonly Dictionary<string, string> _removedJobs = [];
    private bool _subscribed;

    private SdBus(nint bus, bool isBroker, CancellationToken cancellation)
    {
        _bus = bus;
        _isBroker = isBroker;
        _cancellation = cancellation;
    }

    /// <summary>Connects to the system bus, or, as root where no bus runs (yet), to the socket systemctl uses.</summary>
    public static SdBus Connect(CancellationToken cancellation)
    {
        try
        {
            var result = sd_bus_open_system(out var bus);
            if (result >= 0)
            {
                return new SdBus(bus, isBroker: true, cancellation);
            }

            if (Libc.EffectiveUser() == 0 && sd_bus_new(out bus) >= 0)
            {
                if (sd_bus_set_address(bus, "unix:path=/run/systemd/private") >= 0 && sd_bus_start(bus) >= 0)
                {
                    return new SdBus(bus, isBroker: false, cancellation);
                }

                _ = sd_bus_flush_close_unref(bus);
            }

            throw new BusException("", $"no system bus to ask systemd over: {Libc.Error(-result)}");
        }
        catch (DllNotFoundException e)
        {
            throw new BusException("", $"{Library} is not installed, so this machine does not run systemd ({e.Message})");
        }
    }

    public void Dispose() => _ = sd_bus_flush_close_unref(_bus);

    public string LoadUnit(string name) => CallManagerForPath("LoadUnit", m => Append(m, name));

    public string GetUnitByPID(uint process) => CallManagerForPath("GetUnitByPID", m =>
    {
        var id = process;
        Check(sd_bus_message_append_basic(m, (byte)'u', &id));
    });

    public string StartUnit(string name, string mode) => QueueJob("StartUnit", name, mode);

    public string StopUnit(string name, string mode) => QueueJob("StopUnit", name, mode);

    public string RestartUnit(string name, string mode) => QueueJob("RestartUnit", name, mode);

    public string ReloadUnit(string name, string mode) => QueueJob("ReloadUnit", name, mode);

    public void ResetFailedUnit(string name) => Release(Call(ManagerPath, Manager, "ResetFailedUnit", m => Append(m, name)));

    public void Reload() => Release(Call(ManagerPath, Manager, "Reload", _ => { }));

    public void EnableUnitFiles(IReadOnlyList<string> files, bool runtime, bool force) => Release(Call(ManagerPath, Manager, "EnableUnitFiles", m =>
    {
        Check(sd_bus_message_open_container(m, (byte)'a', "s"));
        foreach (var file in files)
        {
            Append(m, file);
        }

        Check(sd_bus_message_close_container(m));
        int flag = runtime ? 1 : 0;
        Check(sd_bus_message_append_basic(m, (byte)'b', &flag));
        flag = force ? 1 : 0;
        Check(sd_bus_message_append_basic(m, (byte)'b', &flag));
    }));

    public UnitProperties GetUnitProperties(string path)
    {
        var properties = new UnitProperties();
        ReadAll(path, Unit, (m, name) =>
        {
            switch (name)
            {
                case "Id":
                    properties = properties with { Id = ReadString(m, 's') };
                    break;
                case "LoadState":
                    properties = properties with { LoadState = ReadString(m, 's') };
                    break;
                case "ActiveState":
                    properties = properties with { ActiveState = ReadString(m, 's') };
                    break;
                case "SubState":
                    properties = properties with { SubState = ReadString(m, 's') };
                    break;
                case "UnitFileState":
                    properties = properties with { UnitFileState = ReadString(m, 's') };
                    break;
                case "InvocationID":
                    Check(sd_bus_message_read_array(m, (byte)'y', out var bytes, out var size));
                    properties = properties with { InvocationID = Convert.ToHexStringLower(new ReadOnlySpan<byte>((void*)bytes, (int)size)) };
                    break;
                case "NeedDaemonReload":
                    int flag;
                    Check(sd_bus_message_read_basic(m, (byte)'b', &flag));
                    properties = properties with { NeedDaemonReload = flag != 0 };
                    break;
                case "Job":
                    uint job;
                    Check(sd_bus_message_enter_container(m, (byte)'r', "uo"));
                    Check(sd_bus_message_read_basic(m, (byte)'u', &job));
                    var jobPath = ReadString(m, 'o');
                    Check(sd_bus_message_exit_container(m));
                    properties = properties with { Job = job == 0 ? "" : jobPath };
                    break;
                case "After":
                    properties = properties with { After = Strings(m) };
                    break;
                // systemd.unit(5), the table of inverses.
                case "RequiredBy" or "RequisiteOf" or "BoundBy" or "ConsistsOf" or "PropagatesStopTo":
                    properties = properties with { StoppedWithIt = [.. properties.StoppedWithIt, .. Strings(m)] };
                    break;
                default:
                    return false;
            }

            return true;
        });
        return properties;

        static List<string> Strings(nint m)
        {
            var strings = new List<string>();
            Check(sd_bus_message_enter_container(m, (byte)'a', "s"));
            while (Check(sd_bus_message_at_end(m, 0)) == 0)
            {
                strings.Add(ReadString(m, 's'));
            }

            Check(sd_bus_message_exit_container(m));
            return strings;
        }
    }

    public (string Result, int ExitStatus)? GetServiceResult(string path)
    {
        var result = "";
        var status = 0;
        try
        {
            ReadAll(path, "org.freedesktop.systemd1.Service", (m, name) =>
            {
                switch (name)
                {
                    case "Result":
                        result = ReadString(m, 's');
                        return true;
                    case "ExecMainStatus":
                        int code;
                        Check(sd_bus_message_read_basic(m, (byte)'i', &code));
                        status = code;
                        return true;
                    default:
                        return false;
                }
            });
        }
        catch (BusException e) when (e.Name.StartsWith("org.freedesktop.DBus.Error.Unknown", StringComparison.Ordinal))
        {
            return null;
        }

        return result.Length == 0 ? null : (result, status);
    }

    public string GetJobType(string path)
    {
        var type = "";
        try
        {
            ReadAll(path, "org.freedesktop.systemd1.Job", (m, name) =>
            {
                if (name != "JobType")
                {
                    return false;
                }

                type = ReadString(m, 's');
                return true;
            });
        }
        catch (BusException e) when (e.Name.StartsWith("org.freedesktop.DBus.Error.Unknown", StringComparison.Ordinal))
        {
            // The job ended between two questions.
        }

        return type;
    }

    public string WaitForJob(string path)
    {
        string? result;
        while (!_removedJobs.Remove(path, out result))
        {
            if (Next() is var message and not 0)
            {
                Release(message);
            }
        }

        return result;
    }

    private string QueueJob(string member, string name, string mode)
    {
        Subscribe();
        _removedJobs.Clear();
        return CallManagerForPath(member, m =>
        {
            Append(m, name);
            Append(m, mode);
        });
    }

    /// <summary>systemd signals only to subscribers, and a bus daemon passes on only what a match asks for; on the private socket there is no daemon.</summary>
    private void Subscribe()
    {
        if (_subscribed)
        {
            return;
        }

        if (_isBroker)
        {
            const string rule = $"type='signal',sender='org.freedesktop.systemd1',interface='{Manager}',member='JobRemoved',path='{ManagerPath}'";
            Release(Call("/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", m => Append(m, rule), "org.freedesktop.DBus"));
        }

        Release(Call(ManagerPath, Manager, "Subscribe", _ => { }));
        _subscribed = true;
    }

    private string CallManagerForPath(string member, Action<nint> append)
    {
        var reply = Call(ManagerPath, Manager, member, append);
        try
        {
            return ReadString(reply, 'o');
        }
        finally
        {
            Release(reply);
        }
    }

    /// <param name="take">Reads a value it wants and says true, or leaves it.</param>
    private void ReadAll(string path, string @interface, Func<nint, string, bool> take)
    {
        var reply = Call(path, Properties, "GetAll", m => Append(m, @interface));
        try
        {
            Check(sd_bus_message_enter_container(reply, (byte)'a', "{sv}"));
            while (Check(sd_bus_message_enter_container(reply, (byte)'e', "sv")) > 0)
            {
                var name = ReadString(reply, 's');
                Check(sd_bus_message_peek_type(reply, out _, out var contents));
                Check(sd_bus_message_enter_container(reply, (byte)'v', contents));
                if (!take(reply, name))
                {
                    Check(sd_bus_message_skip(reply, contents));
                }

                Check(sd_bus_message_exit_container(reply));
                Check(sd_bus_message_exit_container(reply));
            }

            Check(sd_bus_message_exit_container(reply));
        }
        finally
        {
            Release(reply);
        }
    }

    private nint Call(string path, string @interface, string member, Action<nint> append, string destination = "org.freedesktop.systemd1")
    {
        ulong cookie;
        Check(sd_bus_message_new_method_call(_bus, out var message, destination, path, @interface, member));
        try
        {
            append(message);
            Check(sd_bus_send(_bus, message, out cookie));
        }
        finally
        {
            Release(message);
        }

        var clock = Stopwatch.StartNew();
        while (true)
        {
            var answer = Next();
            if (answer == 0)
            {
                if (clock.Elapsed > CallTimeout)
                {
                    throw new BusException("org.freedesktop.DBus.Error.NoReply", $"no answer to {member} within {CallTimeout.TotalSeconds} s");
                }
            }
            else if (sd_bus_message_get_reply_cookie(answer, out var of) < 0 || of != cookie)
            {
                Release(answer);
            }
            else if (sd_bus_message_is_method_error(answer, 0) > 0)
            {
                var error = (BusError*)sd_bus_message_get_error(answer);
                var failure = new BusException(Marshal.PtrToStringUTF8(error->Name) ?? "", Marshal.PtrToStringUTF8(error->Message) ?? "no reason given");
                Release(answer);
                throw failure;
            }
            else
            {
                return answer;
            }
        }
    }

    /// <summary>The next message, or 0 after a moment without one. Results of jobs are noted on the way.</summary>
    private nint Next()
    {
        _cancellation.ThrowIfCancellationRequested();
        var result = Check(sd_bus_process(_bus, out var message));
        if (message != 0)
        {
            if (sd_bus_message_is_signal(message, Manager, "JobRemoved") > 0)
            {
                uint id;
                Check(sd_bus_message_read_basic(message, (byte)'u', &id));
                var job = ReadString(message, 'o');
                Check(sd_bus_message_skip(message, "s"));
                _removedJobs[job] = ReadString(message, 's');
                Check(sd_bus_message_rewind(message, 1));
            }
        }
        else if (result == 0)
        {
            var waited = sd_bus_wait(_bus, 100_000);
            if (waited != -Libc.Interrupted)
            {
                Check(waited);
            }
        }

        return message;
    }

    private static void Append(nint message, string value)
    {
        var text = Marshal.StringToCoTaskMemUTF8(value);
        try
        {
            Check(sd_bus_message_append_basic(message, (byte)'s', (void*)text));
        }
        finally
        {
            Marshal.FreeCoTaskMem(text);
        }
    }

    private static string ReadString(nint message, char type)
    {
        nint text;
        Check(sd_bus_message_read_basic(message, (byte)type, &text));
        return Marshal.PtrToStringUTF8(text) ?? "";
    }

    private static int Check(int result) => result >= 0 ? result : throw new BusException("", $"D-Bus: {Libc.Error(-result)}");

    private static void Release(nint message) => sd_bus_message_unref(message);

#pragma warning disable SA1300, IDE1006, CA5392 // The library's own names.
    [LibraryImport(Library)]
    private static partial int sd_bus_open_system(out nint bus);

    [LibraryImport(Library)]
    private static partial int sd_bus_new(out nint bus);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int sd_bus_set_address(nint bus, string address);

    [LibraryImport(Library)]
    private static partial int sd_bus_start(nint bus);

    [LibraryImport(Library)]
    private static partial nint sd_bus_flush_close_unref(nint bus);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int sd_bus_message_new_method_call(nint bus, out nint message, string destination, string path, string @interface, string member);

    [LibraryImport(Library)]
    private static partial int sd_bus_message_append_basic(nint message, byte type, void* value);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int sd_bus_message_open_container(nint message, byte type, string contents);

    [LibraryImport(Library)]
    private static partial int sd_bus_message_close_container(nint message);

    [LibraryImport(Library)]
    private static partial int sd_bus_send(nint bus, nint message, out ulong cookie);

    [LibraryImport(Library)]
    private static partial int sd_bus_process(nint bus, out nint message);

    [LibraryImport(Library)]
    private static partial int sd_bus_wait(nint bus, ulong microseconds);

    [LibraryImport(Library)]
    private static partial int sd_bus_message_get_reply_cookie(nint message, out ulong cookie);

    [LibraryImport(Library)]
    private static partial int sd_bus_message_is_method_error(nint message, nint name);

    [LibraryImport(Library)]
    private static partial nint sd_bus_message_get_error(nint message);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int sd_bus_message_is_signal(nint message, string @interface, string member);

    [LibraryImport(Library)]
    private static partial int sd_bus_message_read_basic(nint message, byte type, void* value);

    [LibraryImport(Library)]
    private static partial int sd_bus_message_read_array(nint message, byte type, out nint values, out nuint size);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int sd_bus_message_enter_container(nint message, byte type, string contents);

    [LibraryImport(Library)]
    private static partial int sd_bus_message_enter_container(nint message, byte type, nint contents);

    [LibraryImport(Library)]
    private static partial int sd_bus_message_exit_container(nint message);

    [LibraryImport(Library)]
    private static partial int sd_bus_message_at_end(nint message, int complete);

    [LibraryImport(Library)]
    private static partial int sd_bus_message_peek_type(nint message, out byte type, out nint contents);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int sd_bus_message_skip(nint message, string types);

    [LibraryImport(Library)]
    private static partial int sd_bus_message_skip(nint message, nint types);

    [LibraryImport(Library)]
    private static partial int sd_bus_message_rewind(nint message, int complete);

    [LibraryImport(Library)]
    private static partial nint sd_bus_message_unref(nint message);
#pragma warning restore SA1300, IDE1006, CA5392

    /// <summary>sd_bus_error</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct BusError
    {
        public nint Name;
        public nint Message;
        public int NeedFree;
    }
}
