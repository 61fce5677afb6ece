using System.CommandLine;
using System.Globalization;
using System.Text;
using NodeAgent.Machine;

namespace NodeAgent.Commands;

/// <summary>nodeagent image: what concerns the machine image and the container images baked into it.</summary>
internal static class ImageCommand
{
    public static Command Create() => new("image", "Container images that were baked into the machine.") { Import() };

    private static Command Import()
    {
        var archives = new Option<string>("--archives") { Description = "Directory of docker or OCI archives (*.tar).", HelpName = "DIR", Required = true };
        var store = new Option<string>("--store")
        {
            Description = "The runtime's root directory: a note in it says what it has been given.",
            HelpName = "DIR",
            Required = true,
        };
        var runtime = new Option<string>("--runtime")
        {
            Description = "Who takes the images: containerd, into the namespace that kubelet's are in, or docker.",
            HelpName = "containerd|docker",
            DefaultValueFactory = _ => "containerd",
        };
        runtime.AcceptOnlyFromAmong("containerd", "docker");
        var deadline = CommonOptions.Deadline("10m");
        var command = new Command("import", """
            Import image archives into the container runtime, each once for each image store: a fresh mount is a new store.

            Example:
              nodeagent image import --archives /var/lib/nodeagent/images --store /var/lib/containerd
            """)
        {
            archives, store, runtime, deadline,
        };
        command.SetAction((parse, stop) =>
        {
            using var timer = CancellationTokenSource.CreateLinkedTokenSource(stop);
            timer.CancelAfter(parse.GetValue(deadline).Value);
            return Task.FromResult(Run(
                parse.GetValue(archives)!, $"{parse.GetValue(store)}/io.nodeagent.images", parse.GetValue(runtime) == "docker", new ProcessRunner(timer.Token)));
        });
        return command;
    }

    private static int Run(string directory, string note, bool docker, ProcessRunner runner)
    {
        // In the store itself, so that it is lost with the images it speaks of. One line an archive: what the file was when it was imported.
        var known = (Files.Text(note) ?? "").Split('\n', StringSplitOptions.RemoveEmptyEntries).ToHashSet(StringComparer.Ordinal);
        var failed = 0;
        foreach (var name in Files.Names(directory).Where(n => n.EndsWith(".tar", StringComparison.Ordinal)))
        {
            var path = $"{directory}/{name}";
            var line = Files.Identity(path) is { } i
                ? string.Create(CultureInfo.InvariantCulture, $"{path} {i.Inode} {i.Size} {i.ModifiedSeconds}.{i.ModifiedNanoseconds:d9}")
                : throw new ProbeException(path, "was there a moment ago");
            if (known.Contains(line))
            {
                continue;
            }

            var result = runner.Run(docker ? ["docker", "load", "--input", path] : ["ctr", "--namespace", "k8s.io", "images", "import", path]);
            if (result.Failure is { } why)
            {
                Console.Error.WriteLine($"nodeagent: {path} was not imported: `{result.Command}` {why}");
                failed++;
                continue;
            }

            // The runtime leaves unpacked layers to the kernel's write-back, and the note must not outlive them in a power cut.
            _ = runner.Run(["sync", "--file-system", Path.GetDirectoryName(note)!]);
            Console.Out.WriteLine($"imported {path}");
            known.Add(line);
            Files.Write(note, Encoding.UTF8.GetBytes(string.Concat(known.Order(StringComparer.Ordinal).Select(k => k + "\n"))), Files.WorldReadable);
        }

        return failed == 0 ? ExitCode.Ok : ExitCode.Failed;
    }
}
