using System.Text.Json;
using System.Text.Json.Serialization;
using Mono.Cecil;
using NodeAgent.Configuration;
using NodeAgent.Convergence;
using NodeAgent.Machine;

namespace NodeAgent.Tests.Design;

/// <summary>Only Machine touches the host. The analyzer says so while one types; this proves it over what was compiled.</summary>
public class DoorTests
{
    private static readonly string[] HostTypes =
    [
        "System.IO.File", "System.IO.Directory", "System.IO.FileInfo", "System.IO.DirectoryInfo", "System.IO.FileSystemInfo", "System.IO.FileStream",
        "System.IO.StreamReader",
        "System.IO.StreamWriter", "System.IO.RandomAccess", "System.IO.DriveInfo", "System.IO.FileSystemWatcher", "System.IO.Pipes.",
        "System.IO.MemoryMappedFiles.",
        "System.Diagnostics.Process", "System.Runtime.InteropServices.NativeLibrary", "System.Runtime.InteropServices.PosixSignalRegistration",
    ];

    private static readonly string[] HostMembers =
    [
        "System.DateTime.get_Now", "System.DateTime.get_UtcNow", "System.DateTime.get_Today", "System.DateTimeOffset.get_Now",
        "System.DateTimeOffset.get_UtcNow",
        "System.Environment.*", "System.IO.Path.GetTempPath", "System.IO.Path.GetTempFileName", "System.Threading.Thread.Sleep",
        "System.TimeProvider.get_System",
    ];

    // Compilers write the first into iterators; the second is the same on every Linux.
    private static readonly string[] EnvironmentOfNobody = ["get_CurrentManagedThreadId", "get_NewLine"];

    private static readonly string[] NetworkTypes =
        ["System.Net.Http.", "System.Net.Sockets.", "System.Net.Dns", "System.Net.Security.", "System.Net.WebSockets."];

    // AddressFamily and ProtocolType are words, not sockets.
    private static readonly string[] NetworkWords = ["System.Net.Sockets.AddressFamily"];

    [Fact]
    public void Only_Machine_touches_files_processes_the_environment_and_the_clock()
    {
        // Clients that wait are handed a TimeProvider; this one is what commands hand them, and what the metadata client takes when it is given none.
        Uses(room => room != "Machine", HostTypes, HostMembers)
            .Where(u => !(u.Room is "Commands" or "Program" or "Aws" && u.Used == "System.TimeProvider.get_System"))
            .Select(u => u.ToString())
            .ShouldBeEmpty();
    }

    [Fact]
    public void Only_Machine_calls_native_code() =>
        Product.Types.Where(t => Product.RoomOf(t) != "Machine").SelectMany(t => t.Methods).Where(m => m.IsPInvokeImpl).Select(m => m.FullName).ShouldBeEmpty();

    [Fact]
    public void Only_commands_write_to_the_terminal() =>
        Uses(room => room is not ("Commands" or "Program"), ["System.Console"], []).Select(u => u.ToString()).ShouldBeEmpty();

    [Fact]
    public void The_network_is_for_clients_alone() =>
        // Aws and Kubernetes are clients; ready asks kubelet and the runtime on this machine.
        Uses(room => room is not ("Aws" or "Kubernetes" or "Issuer" or "Machine" or "Commands"), NetworkTypes, [])
            .Where(u => !NetworkWords.Contains(u.Used))
            .Select(u => u.ToString())
            .ShouldBeEmpty();

    [Fact]
    public void Only_the_issuer_names_ASP_NET() =>
        Uses(room => room != "Issuer", ["Microsoft.AspNetCore.", "Microsoft.Extensions."], []).Select(u => u.ToString()).ShouldBeEmpty();

    [Theory]
    [InlineData("Desired")]
    [InlineData("Advice")]
    [InlineData("Network")]
    public void A_pure_room_does_no_input_or_output_and_throws_no_dice(string pure)
    {
        Product.Of(pure).ShouldNotBeEmpty("a room that is not there does nothing at all");
        string[] dice =
            ["System.Random", "System.Security.Cryptography.RandomNumberGenerator", "System.Diagnostics.Stopwatch", "System.TimeProvider",
                "System.Threading.Tasks.Task"];
        Uses(room => room == pure, [.. HostTypes, .. NetworkTypes, .. dice, "System.Console"], [.. HostMembers, "System.Guid.NewGuid"])
            .Where(u => !NetworkWords.Contains(u.Used))
            .Select(u => u.ToString())
            .ShouldBeEmpty();
        // Of the machine it knows words: reports and secrets. No reader, so it cannot even look.
        MachineTypes(pure).ShouldBeSubsetOf(["DiskReport", "RoutingRule", "Secret"]);
    }

    [Theory]
    [InlineData("Resources")]
    [InlineData("Convergence")]
    [InlineData("Configuration")]
    public void What_works_on_any_machine_names_none_in_particular(string room)
    {
        var words = typeof(IMachineReader).Assembly.GetTypes()
            .Where(t => t.Namespace == "NodeAgent.Machine")
            .Where(
                t => t.IsInterface || t.IsEnum || t.IsAssignableTo(typeof(Exception)) || t.GetMethod("<Clone>$") is not null || t == typeof(Secret)
                    || t == typeof(FileModes))
            .Select(t => t.Name);

        MachineTypes(room).ShouldBeSubsetOf(words);
    }

    [Fact]
    public void A_plan_is_made_without_a_writer()
    {
        var plan = Product.Types.Single(t => t.FullName == typeof(Plan).FullName);

        new[] { plan }.Concat(plan.NestedTypes).SelectMany(Product.Named).Select(t => t.Name).ShouldNotContain(nameof(IMachineWriter));
    }

    [Fact]
    public void Observing_and_comparing_know_no_writer()
    {
        var methods = Product.Types.Where(IsResource).SelectMany(t => t.Methods)
            .Where(m => m.Name is "Observe" or "Diff" or "Examine" or "ExpectedOnNothing" or "Hides").ToList();

        methods.Count.ShouldBeGreaterThan(20);
        methods.Where(m => Product.Named(m).Any(t => t.Name is nameof(IMachineWriter))).Select(m => m.FullName).ShouldBeEmpty();
    }

    [Fact]
    public void A_reader_is_not_a_writer_in_disguise()
    {
        var writers = Product.Types.Where(t => Implements(t, nameof(IMachineWriter))).Select(t => t.Name).Append(nameof(IMachineWriter)).ToList();
        var readers = Product.Types.Where(t => Implements(t, nameof(IMachineReader))).ToList();

        writers.Count.ShouldBeGreaterThan(1);
        readers.Count.ShouldBeGreaterThan(2);
        readers.Select(r => r.Name).Intersect(writers).ShouldBeEmpty();
        readers.SelectMany(r => r.Methods).Where(m => !m.IsPrivate && Product.Named(m).Any(t => writers.Contains(t.Name))).Select(m => m.FullName)
            .ShouldBeEmpty();
        readers.SelectMany(r => r.Fields).Where(f => writers.Contains(f.FieldType.Name)).Select(f => f.FullName).ShouldBeEmpty();
    }

    [Fact]
    public void A_secret_shows_itself_to_nobody_who_did_not_ask_for_it()
    {
        var secret = new Secret("hunter2");

        $"{secret}".ShouldNotContain("hunter2");
        new Holder(secret).ToString().ShouldNotContain("hunter2");
        // Reflection serializes what it finds in public, which must be nothing.
        JsonSerializer.Serialize(secret).ShouldNotContain("hunter2");
        // The configuration's converter reads them in, and writes none out.
        var options = new JsonSerializerOptions { Converters = { new SecretConverter() } };
        Should.Throw<NotSupportedException>(() => JsonSerializer.Serialize(secret, options));
        Product.Types.Where(t => t.BaseType is GenericInstanceType { ElementType.Name: "JsonConverter`1" } b && b.GenericArguments[0].Name == nameof(Secret))
            .Select(t => t.Name).ShouldBe([nameof(SecretConverter)]);
        Product.Types.Where(t => t.BaseType?.Name == nameof(JsonSerializerContext) && t.Properties.Any(p => p.Name == nameof(Secret)))
            .Select(t => t.Name).ShouldBe([nameof(ConfigJson)]);
        Product.Types.Single(t => t.FullName == typeof(Secret).FullName).CustomAttributes.Select(a => a.AttributeType.Name)
            .ShouldNotContain("JsonConverterAttribute");
    }

    private static IEnumerable<Use> Uses(Func<string, bool> rooms, string[] types, string[] members) =>
        from type in Product.Types
        let room = Product.RoomOf(type)
        where room is not null && rooms(room)
        from use in Product.Named(type).Select(t => (Used: t.FullName, Where: type.FullName)).Where(u => types.Any(t => IsOrIsBelow(u.Used, t)))
            .Concat(
                Product.Calls(type)
                    .Where(c => members.Contains($"{c.Type}.{c.Member}") || (members.Contains(c.Type + ".*") && !EnvironmentOfNobody.Contains(c.Member)))
                    .Select(c => (Used: $"{c.Type}.{c.Member}", c.Where)))
        select new Use(room, use.Used, use.Where);

    private static bool IsOrIsBelow(string name, string banned) => banned.EndsWith('.') ? name.StartsWith(banned, StringComparison.Ordinal) : name == banned;

    private static IEnumerable<string> MachineTypes(string room) =>
        Product.Of(room).SelectMany(Product.Named).Where(t => Product.RoomOf(t) == "Machine").Select(t => t.Name).Distinct();

    private static bool Implements(TypeDefinition type, string contract) => type.IsClass && type.Interfaces.Any(i => i.InterfaceType.Name == contract);

    private static bool IsResource(TypeDefinition type)
    {
        for (var at = type; at is not null; at = at.BaseType?.Resolve())
        {
            if (at.FullName == typeof(NodeAgent.Convergence.Resource).FullName)
            {
                return true;
            }
        }

        return false;
    }

    private sealed record Use(string Room, string Used, string Where);

    private sealed record Holder(Secret Value);
}
