using Mono.Cecil;
using Mono.Cecil.Cil;
using NodeAgent.Convergence;

namespace NodeAgent.Tests.Design;

/// <summary>The product's assembly as the compiler left it: its rooms, and what each piece of code in them names.</summary>
internal static class Product
{
    /// <summary>The table of the design, top down: a room may use those below it. Program is what stands outside all rooms.</summary>
    public static readonly IReadOnlyList<string> Rooms =
    [
        "Program", "Commands", "Telemetry", "Issuer", "Desired", "Advice", "Resources", "Convergence", "Configuration", "Facts", "Kubernetes", "Network", "Pki",
        "Aws", "Machine",
    ];

    private static readonly ModuleDefinition Module = ModuleDefinition.ReadModule(typeof(ResourceList).Assembly.Location);

    /// <summary>All types, nested and compiler-made ones too, but for what belongs to no code of ours.</summary>
    public static IReadOnlyList<TypeDefinition> Types { get; } =
        [.. Module.Types.Where(t => t.Namespace.StartsWith("NodeAgent", StringComparison.Ordinal) || t.Name == "Program").SelectMany(WithNested)];

    public static IReadOnlyList<TypeDefinition> Of(string room) => [.. Types.Where(t => RoomOf(t) == room)];

    /// <summary>Null for what is not the product's.</summary>
    public static string? RoomOf(TypeReference type)
    {
        while (type.DeclaringType is { } outer)
        {
            type = outer;
        }

        return type.Name == "Program" && type.Namespace.Length == 0 ? "Program"
            : type.Namespace.StartsWith("NodeAgent.", StringComparison.Ordinal) ? type.Namespace["NodeAgent.".Length..]
            : null;
    }

    /// <summary>Room to the rooms that its code names, in the table's order.</summary>
    public static SortedDictionary<string, IReadOnlyList<string>> Arrows()
    {
        var arrows = new SortedDictionary<string, IReadOnlyList<string>>(Comparer<string>.Create((a, b) => Place(a).CompareTo(Place(b))));
        foreach (var room in Types.Select(RoomOf).OfType<string>().Distinct())
        {
            arrows[room] = [.. Of(room).SelectMany(t => Named(t)).Select(RoomOf).OfType<string>().Distinct().Where(r => r != room).OrderBy(Place)];
        }

        return arrows;

        static int Place(string room) => Rooms.ToList().IndexOf(room);
    }

    /// <summary>Every type that a type's declaration or code names, generic arguments taken apart. Constants leave no trace in an assembly.</summary>
    public static IEnumerable<TypeReference> Named(TypeDefinition type)
    {
        var named = new List<TypeReference?> { type.BaseType };
        named.AddRange(type.Interfaces.Select(i => i.InterfaceType));
        named.AddRange(type.Fields.Select(f => f.FieldType));
        named.AddRange(type.CustomAttributes.SelectMany(a => a.ConstructorArguments.Select(c => c.Value as TypeReference).Append(a.AttributeType)));
        named.AddRange(type.Methods.SelectMany(Named));
        return named.OfType<TypeReference>().SelectMany(Parts).Distinct();
    }

    public static IEnumerable<TypeReference> Named(MethodDefinition method)
    {
        var named = new List<TypeReference?> { method.ReturnType };
        named.AddRange(method.Parameters.Select(p => p.ParameterType));
        if (method.HasBody)
        {
            named.AddRange(method.Body.Variables.Select(v => v.VariableType));
            named.AddRange(method.Body.ExceptionHandlers.Select(h => h.CatchType));
            foreach (var instruction in method.Body.Instructions)
            {
                switch (instruction.Operand)
                {
                    case TypeReference operand:
                        named.Add(operand);
                        break;
                    case FieldReference field:
                        named.AddRange([field.DeclaringType, field.FieldType]);
                        break;
                    case MethodReference called:
                        named.AddRange([called.DeclaringType, called.ReturnType, .. called.Parameters.Select(p => p.ParameterType)]);
                        named.AddRange(called is GenericInstanceMethod generic ? generic.GenericArguments : []);
                        break;
                }
            }
        }

        return named.OfType<TypeReference>().SelectMany(Parts);
    }

    /// <summary>Methods and fields that code of a type calls, as in System.DateTimeOffset.get_UtcNow, with where.</summary>
    public static IEnumerable<(string Type, string Member, string Where)> Calls(TypeDefinition type) =>
        from method in type.Methods
        where method.HasBody
        from instruction in method.Body.Instructions
        let member = instruction.Operand as MemberReference
        where member is MethodReference or FieldReference
        select (member.DeclaringType.GetElementType().FullName, member.Name, method.FullName);

    private static IEnumerable<TypeDefinition> WithNested(TypeDefinition type) => type.NestedTypes.SelectMany(WithNested).Prepend(type);

    private static IEnumerable<TypeReference> Parts(TypeReference type) => type switch
    {
        GenericInstanceType generic => generic.GenericArguments.SelectMany(Parts).Append(generic.ElementType),
        TypeSpecification { ElementType: { } element } => Parts(element),
        GenericParameter => [],
        _ => [type],
    };
}
