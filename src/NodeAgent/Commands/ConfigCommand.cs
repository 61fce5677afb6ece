using System.CommandLine;
using NodeAgent.Configuration;

namespace NodeAgent.Commands;

/// <summary>config check, show and schema: the configuration alone, without facts, and nothing changed.</summary>
internal static class ConfigCommand
{
    /// <param name="layersOf">
    /// The layers of this machine above the defaults, in their order, with these files (absolute paths) as the last ones: <see cref="Layers.Of"/> over the
    /// machine's reader, tags and user data where it has metadata. May throw <see cref="ConfigurationException"/>; anything else it throws is the caller's to
    /// turn into an exit code.
    /// </param>
    /// <param name="pending">
    /// Says on the first writer what is new to this node, as JSON or not, and exits. May throw as <paramref name="layersOf"/> does.
    /// </param>
    public static Command Create(
        Func<IReadOnlyList<string>, CancellationToken, Task<IReadOnlyList<Layer>>> layersOf, Func<TextWriter, bool, CancellationToken, Task<int>> pending)
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
        var show = Verb(
            layersOf,
            "show",
            """
            Show the merged configuration with the origin of every value. Secrets are masked.
            With --pending: which values are not those that this node was made from, what taking them would do, and when the node takes them. Changes nothing.

            Exit codes with --pending: 0 nothing pending, 2 something is, 1 failed, 3 bad configuration, 4 not reachable in time, 5 refused for safety.

            Example:
              nodeagent config show --config node.yaml
              maxPods: 58  # user data:12:11
            """,
            static (loaded, json) => json ? ConfigPrinter.ToJson(loaded) : ConfigPrinter.ToYaml(loaded).TrimEnd('\n'),
            "  # ",
            pending);
        command.Subcommands.Add(show);
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
        Func<IReadOnlyList<string>, CancellationToken, Task<IReadOnlyList<Layer>>> layersOf,
        string name,
        string description,
        Func<LoadedConfig, bool, string> print,
        string notePrefix,
        Func<TextWriter, bool, CancellationToken, Task<int>>? pending = null)
    {
        var files = new Option<string[]>("--config")
        {
            Description = "A further layer, which wins over all others; repeatable, the last wins.",
            HelpName = "FILE",
        };
        var format = new Option<string>("--format") { Description = "text or json", HelpName = "text|json", DefaultValueFactory = static _ => "text" };
        format.AcceptOnlyFromAmong("text", "json");
        var onlyPending = new Option<bool>("--pending") { Description = "What is new to this node, instead of all." };
        var command = new Command(name, description) { files, format };
        if (pending is not null)
        {
            command.Add(onlyPending);
            command.Validators.Add(result =>
            {
                if (result.GetValue(onlyPending) && result.GetValue(files) is { Length: > 0 })
                {
                    result.AddError("--pending is about the layers of this machine; what files would change, 'nodeagent plan --config FILE' says");
                }
            });
        }

        command.SetAction(async (result, cancellation) =>
        {
            var json = result.GetValue(format) == "json";
            var output = result.InvocationConfiguration.Output;
            var error = result.InvocationConfiguration.Error;
            try
            {
                if (pending is not null && result.GetValue(onlyPending))
                {
                    return await pending(output, json, cancellation);
                }

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

                await error.WriteLineAsync(
                    e.Errors.Count == 1
                        ? "Bad configuration: 1 error. Nothing was changed."
                        : $"Bad configuration: {e.Errors.Count} errors. Nothing was changed.");
                return ExitCode.BadConfiguration;
            }
        });
        return command;
    }

    private static string Sum(LoadedConfig loaded) =>
        $"OK: {(loaded.Config.Node.Role == NodeRole.ControlPlane ? "control-plane" : "worker")} of cluster {loaded.Config.Cluster.Name}, from "
            + $"{string.Join(", ", loaded.Layers)}.";
}
