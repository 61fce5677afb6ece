namespace NodeAgent.Configuration;

internal static class UserData
{
    public static ConfigMap? Read(byte[] content, List<ConfigError> errors, List<string> notes) { _ = notes; return NodeConfigLoader.ReadDocument("user data", content, errors); }
}
