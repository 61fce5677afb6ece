using System.CommandLine;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using FsCheck;
using FsCheck.Fluent;
using NodeAgent.Commands;
using NodeAgent.Configuration;

namespace NodeAgent.Tests.Configuration;

public class ConfigJsonSchemaTests
{
    private static readonly Origin Nowhere = new("x", 1, 1);

    private static readonly JsonElement Schema = JsonDocument.Parse(ConfigJsonSchema.Write()).RootElement;

    private static string Committed { get; } = Path.Join(Repository.Folder, "docs", "nodeconfig.schema.json");

    public static TheoryData<string> Layers() => [.. Folders("examples/organisation", "tests/NodeAgent.Tests/Golden/cases", "bench")
        .Where(f => f.EndsWith(".yaml", StringComparison.Ordinal) && !f.Contains("/tree/", StringComparison.Ordinal))
        .Append("src/NodeAgent/Configuration/defaults.yaml").Order(StringComparer.Ordinal)];

    [Fact]
    public void Schema_prints_what_is_committed_for_editors()
    {
        var output = new StringWriter();
        var config = ConfigCommand.Create(
            (_, _) => throw new InvalidOperationException("the schema needs no layer"), (_, _, _) => throw new InvalidOperationException("nor a machine"));
        new RootCommand { config }.Parse(["config", "schema"]).Invoke(new() { Output = output }).ShouldBe(0);
        if (Repository.IsRewriting)
        {
            System.IO.File.WriteAllText(Committed, output.ToString());
        }

        output.ToString().ShouldBe(System.IO.File.ReadAllText(Committed), "NODEAGENT_GOLDEN=write rewrites it");
    }

    [Theory]
    [MemberData(nameof(Layers))]
    public void A_layer_that_we_ship_fits(string path) =>
        JsonSchemaChecker.Errors(Schema, Json(System.IO.File.ReadAllText(Path.Join(Repository.Folder, path)))).ShouldBeEmpty();

    [Fact]
    public void Every_field_has_a_description_and_nothing_unknown_passes() =>
        Undescribed(Schema, "").ShouldBeEmpty("docs/configuration.md needs a row for each; descriptions are read from there");

    [Fact]
    public void Every_default_is_in_the_schema_and_fits()
    {
        var defaults = Json(Encoding.UTF8.GetString(NodeConfigLoader.Defaults()));
        var found = new List<string>();
        Compare(Schema, defaults, "");
        found.Count.ShouldBeGreaterThan(25);

        void Compare(JsonElement schema, JsonElement value, string path)
        {
            foreach (var property in value.EnumerateObject().Where(p => p.Name is not ("apiVersion" or "kind")))
            {
                var child = schema.GetProperty("properties").GetProperty(property.Name);
                if (child.TryGetProperty("properties", out _))
                {
                    Compare(child, property.Value, $"{path}{property.Name}.");
                }
                else
                {
                    found.Add(path + property.Name);
                    JsonSchemaChecker.Errors(child, child.GetProperty("default")).ShouldBeEmpty();
                    // Values of maps are text once they are read: 1 is "1".
                    Words(child.GetProperty("default")).ShouldBe(Words(property.Value), path + property.Name);
                }
            }
        }
    }

    [Theory]
    [InlineData("node: {maxPod: 1}", ".node.maxPod: is not known")]
    [InlineData("node: {maxPods: many}", ".node.maxPods: many does not match ^(fromPodRange|vpcCni)$")]
    [InlineData("kernel: {modules: many}", ".kernel.modules: is String, should be [\"array\",\"null\"]")]
    [InlineData("node: {name: 3}", ".node.name: 3 is not in [\"privateDnsName\",\"instanceId\",null]")]
    [InlineData("node: {taints: [null]}", ".node.taints[0]: is Null, should be object")]
    [InlineData("node: {taints: [{key: a}]}", ".node.taints[0]: lacks effect")]
    [InlineData("node: {readiness: {timeout: 0s}}", ".node.readiness.timeout: 0s does not match ^0*[1-9][0-9]{0,5}[smhd]$")]
    [InlineData(
        "storage: {volumes: {a: {size: 101%}}}",
        ".storage.volumes.a.size: 101% does not match ^(0*([1-9][0-9]?|100)%|0*[1-9][0-9]{0,5}(TiB|GiB|MiB|TB|GB|MB))$")]
    [InlineData("cluster: {podRange: ten}", ".cluster.podRange: ten does not match ^[0-9A-Fa-f:.]+/[0-9]+$")]
    [InlineData("kernel: {modules: overlay}", ".kernel.modules: is String, should be [\"array\",\"null\"]")]
    [InlineData("kind: NodeConfigs", ".kind: NodeConfigs is not NodeConfig")]
    public void An_editor_is_told_of(string text, string error)
    {
        var head = text.StartsWith("kind", StringComparison.Ordinal) ? "apiVersion: nodeagent/v1\n" : ConfigText.Head;

        JsonSchemaChecker.Errors(Schema, Json(head + text))
            .Select(e => e.Replace("\n", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal))
            .ShouldBe([error.Replace(" ", "", StringComparison.Ordinal)]);
    }

    [Fact]
    public void A_layer_without_its_head_does_not_fit() => JsonSchemaChecker.Errors(Schema, Json("node: {}")).ShouldBe([": lacks apiVersion", ": lacks kind"]);

    [Fact]
    public void Schema_and_loader_agree_on_any_layer()
    {
        var (good, bad) = (0, 0);
        Prop.ForAll(Trees.Document().ToArbitrary(), tree =>
        {
            var errors = new List<ConfigError>();
            ConfigBinding.Check(tree, ConfigSchema.Root, "", errors);
            CheckItems(tree, ConfigSchema.Root, errors);

            var said = JsonSchemaChecker.Errors(Schema, Json(tree));
            (said.Count > 0).ShouldBe(errors.Count > 0, string.Join('\n', errors.Select(e => e.ToString()).Concat(said)));
            (good, bad) = errors.Count > 0 ? (good, bad + 1) : (good + 1, bad);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1500));
        good.ShouldBeGreaterThan(100);
        bad.ShouldBeGreaterThan(100);
    }

    [Fact]
    public void A_pattern_holds_for_whatever_the_loader_takes()
    {
        var leaves = ConfigSchema.Root.AllFields().Select(f => f.Field.Schema.Leaf).OfType<ConfigLeaf>().Where(l => l.Pattern is not null)
            .DistinctBy(l => l.Pattern).ToList();
        leaves.Count.ShouldBeGreaterThanOrEqualTo(4);
        var taken = leaves.ToDictionary(l => l.Pattern!, _ => 0);
        string[] scraps =
            ["0", "1", "9", "10", "100", "999999", "s", "m", "h", "d", "%", "GiB", "TB", "10.0.0.0", "/", "8", "::", "fd00", ":", "http", "https", "HTTPS",
                "://", "a.example", " "];
        string[] samples = ["90s", "60%", "200GiB", "10.0.0.0/16", "fd00::/8", "https://a.example"];
        var any = Gen.Choose(1, 5).SelectMany(n => Gen.Elements(scraps).ArrayOf(n)).Select(string.Concat);
        // By scraps alone, some form is not met at all in a run now and then.
        var near =
            from sample in Gen.Elements(samples)
            from scrap in Gen.Elements(scraps.Append("").ToArray())
            from at in Gen.Choose(0, sample.Length)
            select sample.Insert(at, scrap);
        Prop.ForAll(Gen.OneOf(any, near).ToArbitrary(), text =>
        {
            foreach (var leaf in leaves)
            {
                try
                {
                    leaf.Parse!(text);
                }
                catch (FormatException)
                {
                    continue;
                }

                taken[leaf.Pattern!]++;
                Regex.IsMatch(text, leaf.Pattern!, RegexOptions.ECMAScript).ShouldBeTrue($"'{text}' and {leaf.Pattern}");
            }
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(20000));
        taken.Values.Min().ShouldBeGreaterThan(0);
    }

    private static IEnumerable<string> Words(JsonElement value) => Regex.Split(value.ToString(), "[][{}\",:\\s]+").Order(StringComparer.Ordinal);

    /// <summary>Items of lists are written in one go, so the schema asks of them what the loader asks of the merged whole.</summary>
    private static void CheckItems(ConfigValue value, ConfigSchema schema, List<ConfigError> errors)
    {
        switch (value)
        {
            case ConfigMap map when schema.Shape == ConfigShape.Object:
                foreach (var (name, child) in map.Entries.Where(e => schema.Field(e.Key) is not null))
                {
                    CheckItems(child, schema.Field(name)!.Schema, errors);
                }

                break;
            case ConfigMap map when schema.Shape == ConfigShape.Map:
                foreach (var child in map.Entries.Values)
                {
                    CheckItems(child, schema.Element!, errors);
                }

                break;
            case ConfigList list when schema.Shape == ConfigShape.List:
                ConfigBinding.CheckRequired(list, schema, "", errors, inCollection: true);
                break;
        }
    }

    private static IEnumerable<string> Undescribed(JsonElement schema, string path)
    {
        if (schema.TryGetProperty("properties", out var properties))
        {
            schema.GetProperty("additionalProperties").ValueKind.ShouldBe(JsonValueKind.False, path);
            foreach (var property in properties.EnumerateObject())
            {
                if (!property.Value.TryGetProperty("description", out var text) || text.GetString()!.Length == 0)
                {
                    yield return $"{path}{property.Name}";
                }

                foreach (var below in Undescribed(property.Value, $"{path}{property.Name}."))
                {
                    yield return below;
                }
            }
        }
        else if (schema.TryGetProperty("items", out var element)
            || (schema.TryGetProperty("additionalProperties", out element) && element.ValueKind == JsonValueKind.Object))
        {
            foreach (var below in Undescribed(element, path))
            {
                yield return below;
            }
        }
    }

    private static IEnumerable<string> Folders(params string[] folders) =>
        folders.SelectMany(f => Directory.GetFiles(Path.Join(Repository.Folder, f), "*", SearchOption.AllDirectories))
            .Select(f => Path.GetRelativePath(Repository.Folder, f));

    private static JsonElement Json(string yaml)
    {
        var errors = new List<ConfigError>();
        var map = YamlReader.ReadDocument("x", Encoding.UTF8.GetBytes(yaml), errors);
        errors.ShouldBeEmpty();
        return Json(map!);
    }

    private static JsonElement Json(ConfigValue value)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            ConfigBinding.WriteFree(json, value);
        }

        return JsonDocument.Parse(buffer.ToArray()).RootElement;
    }

    /// <summary>Layers drawn from the schema that the loader has, each value now and then one that does not belong there.</summary>
    private static class Trees
    {
        private static readonly string[] Parsed = ["90s", "60%", "200GiB", "10.0.0.0/16", "https://a.example"];

        public static Gen<ConfigMap> Document() =>
            from map in Object(ConfigSchema.Root)
            select Headed(map);

        private static ConfigMap Headed(ConfigMap map)
        {
            map.Entries["apiVersion"] = Scalar(NodeConfigLoader.ApiVersion);
            map.Entries["kind"] = Scalar(NodeConfigLoader.Kind);
            return map;
        }

        private static Gen<ConfigValue> Value(ConfigSchema schema) => Gen.Frequency((60, Fitting(schema)), (1, Any()));

        private static Gen<ConfigValue> Fitting(ConfigSchema schema) => schema.Shape switch
        {
            ConfigShape.Object => Object(schema).Select(m => (ConfigValue)m),
            ConfigShape.Map => Gen.Elements("a", "b.c").ArrayOf(2)
                .SelectMany(keys => Value(schema.Element!).ArrayOf(2).Select(values => (ConfigValue)Map(keys.Zip(values)))),
            ConfigShape.List => Gen.Choose(0, 2).SelectMany(n => Value(schema.Element!).ArrayOf(n))
                .Select(items => (ConfigValue)new ConfigList(Nowhere, Nowhere, items)),
            ConfigShape.Free => Any().Select(v => (ConfigValue)Map([("x", v)])),
            _ => Leaf(schema.Leaf!),
        };

        private static Gen<ConfigMap> Object(ConfigSchema schema) =>
            from values in Gen.CollectToArray(schema.Fields, f => Value(f.Schema))
            from chosen in Gen.Choose(0, 3).ArrayOf(schema.Fields.Count)
            from stray in Gen.Choose(0, 60)
            select Map(schema.Fields.Zip(values).Where((f, i) => chosen[i] == 0 || (f.First.IsRequired && chosen[i] < 3)).Select(f => (f.First.Name, f.Second))
                .Concat(stray == 0 ? [("stray", Scalar("x"))] : []));

        private static Gen<ConfigValue> Leaf(ConfigLeaf leaf) =>
            leaf.IsInteger ? Gen.Elements("0", "7", "0x10", "-3").Select(t => (ConfigValue)Scalar(t, ScalarType.Integer))
            : leaf.IsBoolean ? Gen.Elements("true", "False").Select(t => (ConfigValue)Scalar(t, ScalarType.Boolean))
            : leaf.Choices.Count > 0 ? Gen.Elements(leaf.Choices.ToArray()).Select(t => (ConfigValue)Scalar(t))
            : leaf.IsText ? Gen.Elements("", "a", "1").Select(t => (ConfigValue)Scalar(t))
            : Gen.Elements(Parsed.Where(t => Takes(leaf, t)).ToArray()).Select(t => (ConfigValue)Scalar(t));

        private static bool Takes(ConfigLeaf leaf, string text)
        {
            try
            {
                leaf.Parse!(text);
                return true;
            }
            catch (FormatException)
            {
                return false;
            }
        }

        private static Gen<ConfigValue> Any() => Gen.Elements<Func<ConfigValue>>(
            () => new ConfigNull(Nowhere, Nowhere),
            () => Scalar("neither"),
            () => Scalar("3", ScalarType.Integer),
            () => Scalar("1.5", ScalarType.Float),
            () => Scalar("true", ScalarType.Boolean),
            () => new ConfigList(Nowhere, Nowhere, []),
            () => Map([])).Select(make => make());

        private static ConfigScalar Scalar(string text, ScalarType type = ScalarType.Text) => new(Nowhere, Nowhere, text, type);

        private static ConfigMap Map(IEnumerable<(string, ConfigValue)> entries)
        {
            var map = new OrderedDictionary<string, ConfigValue>(StringComparer.Ordinal);
            foreach (var (key, value) in entries)
            {
                map[key] = value;
            }

            return new(Nowhere, Nowhere, map);
        }
    }
}
