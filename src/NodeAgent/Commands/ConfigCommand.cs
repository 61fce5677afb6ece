using System.CommandLine;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using NodeAgent.Advice;
using NodeAgent.Configuration;

namespace NodeAgent.Commands;

/// <summary>config check, show and schema: nothing is changed.</summary>
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
    /// <param name="check">
    /// The same layers, or with facts (absolute path) those of that machine, held against the machine; null: the configuration by itself.
    /// </param>
    public static Command Create(
        Func<IReadOnlyList<string>, CancellationToken, Task<IReadOnlyList<Layer>>> layersOf,
        Func<TextWriter, bool, CancellationToken, Task<int>> pending,
        Func<IReadOnlyList<string>, string?, CancellationToken, Task<CheckedConfig>>? check = null)
    {
        var command = new Command("config", "Check or show this node's configuration, merged from all its layers.");
        command.Subcommands.Add(Check(check ?? (async (files, _, cancellation) =>
        {
            var loaded = NodeConfigLoader.Load(await layersOf(files, cancellation));
            return new(loaded, Advisor.Of(new(loaded, null, [])), null);
        })));
        command.Subcommands.Add(Show(layersOf, pending));
        command.Subcommands.Add(Schema());
        return command;
    }

    private static Command Check(Func<IReadOnlyList<string>, string?, CancellationToken, Task<CheckedConfig>> check)
    {
        var files = Files();
        var facts = new Option<string?>("--facts")
        {
            Description =
                "Facts of the machine that it is for, as 'nodeagent facts --save' writes them. Its tags are a layer below --config, and this machine's layers "
                    + "do not count.",
            HelpName = "FILE",
        };
        var format = CommonOptions.Format();
        var command = new Command("check", """
            Check the configuration of this node: built-in defaults, /etc/nodeagent/config.d/*.yaml, shared layers in S3, instance tags, user data, --config files.
            On an instance, or with --facts, it is held against the machine as well: versions, addresses of the VPC, known traps (docs/advice.md).

            Exit codes: 0 sound, 3 not, with every error by layer, line and column, 5 sound and refused, by advice or on this machine, 4 not reachable in time.

            Example:
              nodeagent config check --config node.yaml
              nodeagent config check --facts m5d.json --config node.yaml
            """)
        {
            files, facts, format,
        };
        command.SetAction((result, cancellation) => Guarded(result, result.GetValue(format) == "json", async (output, json) =>
        {
            var machine = result.GetValue(facts) is { } path ? Path.GetFullPath(path) : null;
            var found = await check(Paths(result.GetValue(files)), machine, cancellation);
            await output.WriteLineAsync(json ? ToJson(found) : ToText(found));
            return found.Advice.Any(a => a.IsRefused) ? ExitCode.Refused : ExitCode.Ok;
        }));
        return command;
    }

    private static string ToText(CheckedConfig found)
    {
        var config = found.Loaded.Config;
        var role = config.Node.Role == NodeRole.ControlPlane ? "control-plane" : "worker";
        string[] lines =
        [
            $"{(found.Advice.Any(a => a.IsRefused) ? "REFUSED" : "OK")}: {role} of cluster {config.Cluster.Name}, from "
                + $"{string.Join(", ", found.Loaded.Layers)}.",
            .. found.Loaded.Notes.Select(n => $"  {n}"),
            .. found.Unseen is { } unseen ? (string[])[$"  {unseen}"] : [],
            .. found.Advice.Select(a => $"  advice: {AdviceText.Line(a)}"),
        ];
        return string.Join('\n', lines);
    }

    private static string ToJson(CheckedConfig found)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(
            buffer, new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteStartArray("errors");
            json.WriteEndArray();
            AdviceText.WriteJson(json, found.Advice);
            if (found.Unseen is { } unseen)
            {
                json.WriteString("unseen", unseen);
            }

            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private static Command Show(
        Func<IReadOnlyList<string>, CancellationToken, Task<IReadOnlyList<Layer>>> layersOf, Func<TextWriter, bool, CancellationToken, Task<int>> pending)
    {
        var files = Files();
        var format = CommonOptions.Format();
        var onlyPending = new Option<bool>("--pending") { Description = "What is new to this node, instead of all." };
        var command = new Command("show", """
            Show the merged configuration with the origin of every value. Secrets are masked.
            With --pending: which values are not those that this node was made from, what taking them would do, and when the node takes them. Changes nothing.

            Exit codes with --pending: 0 nothing pending, 2 something is, 1 failed, 3 bad configuration, 4 not reachable in time, 5 refused for safety.

            Example:
              nodeagent config show --config node.yaml
              maxPods: 58  # user data:12:11
            """)
        {
            files, format, onlyPending,
        };
        command.Validators.Add(result =>
        {
            if (result.GetValue(onlyPending) && result.GetValue(files) is { Length: > 0 })
            {
                result.AddError("--pending is about the layers of this machine; what files would change, 'nodeagent plan --config FILE' says");
            }
        });
        command.SetAction((result, cancellation) => Guarded(result, result.GetValue(format) == "json", async (output, json) =>
        {
            if (result.GetValue(onlyPending))
            {
                return await pending(output, json, cancellation);
            }

            var loaded = NodeConfigLoader.Load(await layersOf(Paths(result.GetValue(files)), cancellation));
            await output.WriteLineAsync(json ? ConfigPrinter.ToJson(loaded) : ConfigPrinter.ToYaml(loaded).TrimEnd('\n'));
            foreach (var note in json ? [] : loaded.Notes)
            {
                await output.WriteLineAsync($"  # {note}");
            }

            return ExitCode.Ok;
        }));
        return command;
    }

    private static Option<string[]> Files() =>
        new("--config") { Description = "A further layer, which wins over all others; repeatable, the last wins.", HelpName = "FILE" };

    private static string[] Paths(string[]? files) => Array.ConvertAll(files ?? [], static file => Path.GetFullPath(file.Length == 0 ? "." : file));

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

    /// <summary>Runs it, and says what is bad about a configuration.</summary>
    private static async Task<int> Guarded(ParseResult result, bool json, Func<TextWriter, bool, Task<int>> run)
    {
        var output = result.InvocationConfiguration.Output;
        var error = result.InvocationConfiguration.Error;
        try
        {
            return await run(output, json);
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
                e.Errors.Count == 1 ? "Bad configuration: 1 error. Nothing was changed." : $"Bad configuration: {e.Errors.Count} errors. Nothing was changed.");
            return ExitCode.BadConfiguration;
        }
    }
}
