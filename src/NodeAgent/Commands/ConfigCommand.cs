using System.CommandLine;
using NodeAgent.Configuration;

namespace NodeAgent.Commands;

/// <summary>config check, show and schema: the configuration alone, without facts, and nothing changed.</summary>
internal static class ConfigCommand
{
    /// <param name="layersOf">
    /// The layers of this machine above the defaults, in their order, with these files (absolute paths) as the last ones: <see cref="Layers.Of"/> over the machine's
    /// reader, tags and user data where it has metadata. May throw <see cref="ConfigurationException"/>; anything else it throws is the caller's to turn into an exit code.
    /// </param>
    public static Command Create(Func<IReadOnlyList<string>, CancellationToken, Task<IReadOnlyList<Layer>>> layersOf)
    {
        var command = new Command("config", "Check or show this node's configuration, merged from all its layers.");
        command.Subcommands.Add(Verb(
            layersOf,
            "check",
            """
            Check the configuration of this node: built-in defaults, /etc/nodeagent/config.d/*.yaml, shared layers in S3, instance tags, user data, --config files.
            Exits 0 when it is sound, 3 with every error by layer, line and column when it is not.

            Example:
              nodeagent config check --config node.yaml
            """,
            static (loaded, json) => json ? "{\n  \"errors\": []\n}" : Sum(loaded),
            "  "));
        command.Subcommands.Add(Verb(
            layersOf,
            "show",
            """
            Show the merged configuration with the origin of every value. Secrets are masked.

            Example:
              nodeagent config show --config node.yaml
              maxPods: 58  # user data:12:11
            """,
            static (loaded, json) => json ? ConfigPrinter.ToJson(loaded) : ConfigPrinter.ToYaml(loaded).TrimEnd('\n'),
            "  # "));
        command.Subcommands.Add(Schema());
        return command;
    }

    private static Command Schema()
    {
        var command = new Command("schema", """
            Print the JSON Schema (2020-12) of a layer, from which editors complete and check while one types.

            Example:
              nodeagent config schema > nodeconfig.schema.json
              # yaml-language-server: $schema=nodeconfig.schema.json      (the first line of a layer beside it)
            """);
        command.SetAction(async (result, _) =>
        {
            await result.InvocationConfiguration.Output.WriteAsync(ConfigJsonSchema.Write());
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Verb(
        Func<IReadOnlyList<string>, CancellationToken, Task<IReadOnlyList<Layer>>> layersOf, string name, string description, Func<LoadedConfig, bool, string> print, string notePrefix)
    {
        var files = new Option<string[]>("--config") { Description = "A further layer, which wins over all others; repeatable, the last wins.", HelpName = "FILE" };
        var format = new Option<string>("--format") { Description = "text or json", HelpName = "text|json", DefaultValueFactory = static _ => "text" };
        format.AcceptOnlyFromAmong("text", "json");
        var command = new Command(name, description) { files, format };
        command.SetAction(async (result, cancellation) =>
        {
            var json = result.GetValue(format) == "json";
            var output = result.InvocationConfiguration.Output;
            var error = result.InvocationConfiguration.Error;
            try
            {
                var paths = Array.ConvertAll(result.GetValue(files) ?? [], static file => Path.GetFullPath(file.Length == 0 ? "." : file));
                var loaded = NodeConfigLoader.Load(await layersOf(paths, cancellation));
                await output.WriteLineAsync(print(loaded, json));
                if (!json)
                {
                    foreach (var note in loaded.Notes)
                    {
                        await output.WriteLineAsync(notePrefix + note);
                    }
                }

                return 0;
            }
            catch (ConfigurationException e)
            {
                if (json)
                {
                    await output.WriteLineAsync(ConfigPrinter.ToJson(e));
                    return ExitCode.BadConfiguration;
                }

                foreach (var one in e.Errors)
                {
                    await error.WriteLineAsync(one.ToString());
                }

                await error.WriteLineAsync(e.Errors.Count == 1 ? "Bad configuration: 1 error. Nothing was changed." : $"Bad configuration: {e.Errors.Count} errors. Nothing was changed.");
                return ExitCode.BadConfiguration;
            }
        });
        return command;
    }

    private static string Sum(LoadedConfig loaded) =>
        $"OK: {loaded.Config.Node.Role.ToString().ToLowerInvariant()} of cluster {loaded.Config.Cluster.Name}, from {string.Join(", ", loaded.Layers)}.";
}
