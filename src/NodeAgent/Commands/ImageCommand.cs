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
        var pin = new Option<string?>("--pin")
        {
            Description =
                "With containerd: an image that kubelet shall not delete when the disk is nearly full, as the sandbox image, without which no pod starts.",
            HelpName = "IMAGE",
        };
        var deadline = CommonOptions.Deadline("10m");
        var command = new Command("import", """
            Import image archives into the container runtime, each once for each image store: a fresh mount is a new store.

            Example:
              nodeagent image import --archives /var/lib/nodeagent/images --store /var/lib/containerd
            """)
        {
            archives, store, runtime, pin, deadline,
        };
        command.SetAction((parse, stop) =>
        {
            var docker = parse.GetValue(runtime) == "docker";
            // Both runtimes may have had the same volume, one after the other.
            var note = $"{parse.GetValue(store)}/io.nodeagent.images{(docker ? ".docker" : "")}";
            return Errors.Within(
                parse.GetValue(deadline).Value,
                cancellation => Task.FromResult(Run(parse.GetValue(archives)!, note, docker, parse.GetValue(pin), new ProcessRunner(cancellation))),
                stop);
        });
        return command;
    }

    private static int Run(string directory, string note, bool docker, string? pin, ProcessRunner runner)
    {
        // In the store itself, so that it is lost with the images it speaks of. One line an archive: what the file was when it was imported.
        var known = (Files.Text(note) ?? "").Split('\n', StringSplitOptions.RemoveEmptyEntries).ToHashSet(StringComparer.Ordinal);
        var (failed, imported) = (0, false);
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
            imported = true;
            Note(line);
        }

        // containerd pins what it pulls as its sandbox image, not what was imported (containerd#9784); another import takes the label off.
        if (pin is not null && !docker && (imported || (known.Count > 0 && !known.Contains($"pinned {pin}"))))
        {
            string[] images = ["ctr", "--namespace", "k8s.io", "images"];
            var result = runner.Run([.. images, "list", "--quiet", $"name=={pin}"]);
            if (result.Failure is null && result.Output.Trim().Length > 0)
            {
                result = runner.Run([.. images, "label", pin, "io.cri-containerd.pinned=pinned"]);
                if (result.Failure is null)
                {
                    Note($"pinned {pin}");
                }
            }

            else if (result.Failure is null && imported)
            {
                Console.Out.WriteLine($"{pin} is not in the image store, so it is not pinned");
            }

            if (result.Failure is { } why)
            {
                Console.Error.WriteLine($"nodeagent: {pin} is not pinned, and kubelet may delete it: `{result.Command}` {why}");
                failed++;
            }
        }

        return failed == 0 ? ExitCode.Ok : ExitCode.Failed;

        void Note(string line)
        {
            known.Add(line);
            Files.Write(note, Encoding.UTF8.GetBytes(string.Concat(known.Order(StringComparer.Ordinal).Select(k => k + "\n"))), Files.WorldReadable);
        }
    }
}
