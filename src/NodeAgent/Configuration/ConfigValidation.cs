namespace NodeAgent.Configuration;

internal static class ConfigValidation
{
    public static void Check(LoadedConfig loaded, List<ConfigError> errors) => _ = (loaded, errors);
}
