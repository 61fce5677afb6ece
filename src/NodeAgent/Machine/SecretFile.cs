namespace NodeAgent.Machine;

internal static class SecretFile
{
    /// <summary>For what must never pass through a reader, whose answers may be recorded.</summary>
    public static byte[] Read(string path) => File.ReadAllBytes(path);
}
