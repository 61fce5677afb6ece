namespace NodeAgent.Machine;

/// <summary>Modules and sysctls of the running kernel. Paths are below <paramref name="root"/>, which is empty but for tests.</summary>
internal sealed class Kernel(string root = "")
{
    private HashSet<string>? _loaded;
    private HashSet<string>? _builtIn;
    private HashSet<string>? _files;

    /// <summary>What is loaded may have changed; what the kernel was built with has not.</summary>
    public void Forget() => _loaded = null;

    public ModuleState Module(string name)
    {
        // To the kernel, and to modprobe(8), - and _ are the same.
        name = name.Replace('-', '_');
        _loaded ??= ParseLoaded(Files.Text($"{root}/proc/modules") ?? "");
        if (_loaded.Contains(name))
        {
            return ModuleState.Loaded;
        }

        var release = Files.Text($"{root}/proc/sys/kernel/osrelease") ?? throw new ProbeException("kernel", "/proc/sys/kernel/osrelease is not there");
        var directory = $"{root}/lib/modules/{release.Trim()}";
        _builtIn ??= ParsePaths(Files.Text($"{directory}/modules.builtin") ?? "");
        // A kernel that came without a directory of modules still shows those of its built-in ones that have parameters.
        if (_builtIn.Contains(name) || (Directory.Exists($"{root}/sys/module/{name}") && !File.Exists($"{root}/sys/module/{name}/initstate")))
        {
            return ModuleState.BuiltIn;
        }

        _files ??= ParsePaths(Files.Text($"{directory}/modules.dep") ?? "");
        return _files.Contains(name) ? ModuleState.Available : ModuleState.Unavailable;
    }

    public string? Sysctl(string name) => Files.Text(SysctlPath(name)) is { } value ? Normalise(value) : null;

    public void SetSysctl(string name, string value)
    {
        var path = SysctlPath(name);
        var what = $"set sysctl {name} to '{value}'";
        if (!File.Exists(path))
        {
            throw new MachineException(what, $"this kernel has no {path}: is the module that brings it loaded?");
        }

        Files.Poke(path, value + "\n", what);
    }

    /// <summary>Tabs between numbers become single spaces, as one writes them.</summary>
    public static string Normalise(string value) =>
        string.Join(' ', value.Trim().Split('\t', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));

    /// <summary>
    /// sysctl.d(5): if the first separator is a slash, slashes and dots are meant as they are; if it is a dot, dots become slashes and slashes become dots
    /// (net.ipv4.conf.eth0/1.rp_filter is of the interface eth0.1).
    /// </summary>
    private string SysctlPath(string name)
    {
        var first = name.AsSpan().IndexOfAny('.', '/');
        var path = first >= 0 && name[first] == '/'
            ? name
            : string.Create(name.Length, name, (span, key) =>
            {
                for (var i = 0; i < key.Length; i++)
                {
                    span[i] = key[i] switch
                    {
                        '.' => '/',
                        '/' => '.',
                        var c => c,
                    };
                }
            });
        return path.Split('/').Any(p => p is "" or "." or "..")
            ? throw new ProbeException($"sysctl {name}", "is not a sysctl's name")
            : $"{root}/proc/sys/{path}";
    }

    /// <summary>/proc/modules: name size users by state address. One that is still "Loading" does not count yet.</summary>
    private static HashSet<string> ParseLoaded(string modules) =>
        [.. modules.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split(' ')).Where(f => f.Length > 4 && f[4] == "Live").Select(f => f[0])];

    /// <summary>modules.builtin(5) and modules.dep(5): a path a line, followed in modules.dep by a colon and what it depends on.</summary>
    private static HashSet<string> ParsePaths(string text)
    {
        var names = new HashSet<string>();
        foreach (var line in text.AsSpan().EnumerateLines())
        {
            var colon = line.IndexOf(':');
            var path = colon < 0 ? line : line[..colon];
            var file = path[(path.LastIndexOf('/') + 1)..];
            var end = file.IndexOf(".ko");
            if (end > 0)
            {
                names.Add(file[..end].ToString().Replace('-', '_'));
            }
        }

        return names;
    }
}
