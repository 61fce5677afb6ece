using System.Runtime.InteropServices;

namespace NodeAgent.Machine;

/// <summary>sd_notify(3): tells the service manager how this service is doing. Does nothing outside a unit of Type=notify.</summary>
internal static partial class ServiceNotify
{
    public static void Ready() => Send("READY=1");

    /// <summary>What systemctl status shows as Status.</summary>
    public static void Status(string text) => Send("STATUS=" + text.ReplaceLineEndings(" "));

    private static void Send(string state)
    {
        if (string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NOTIFY_SOCKET")))
        {
            return;
        }

        try
        {
            _ = sd_notify(0, state);
        }
        catch (DllNotFoundException)
        {
            // No libsystemd, nobody to notify.
        }
    }

    [LibraryImport("libsystemd.so.0", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int sd_notify(int unsetEnvironment, string state);
}
