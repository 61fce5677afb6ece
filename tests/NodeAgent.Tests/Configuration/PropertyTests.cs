using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using FsCheck;
using FsCheck.Fluent;
using NodeAgent.Configuration;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Configuration;

public class PropertyTests
{
    private static readonly Origin Nowhere = new("x", 1, 1);

    private static readonly string[] Scraps =
    [
        "apiVersion: nodeagent/v1\n", "kind: NodeConfig\n", "node:", "  maxPods: 3", "labels", "\n", "\n\n", "  ", "\t", ":", ": ", "- ", "[", "]", "{", "}",
        ",", "\"", "'", "|", ">", "&a", "*a", "<<: ", "!!str ",
        "? ", "%YAML 1.2\n", "---\n", "...\n", "#", "null", "~", "0x", "1e", ".inf", "\\u", "\"\\UFFFFFFFF\"", "\"\\xff\"", "\u0000", "\u00e4", "\ud83d\ude00",
        "storage:\n  volumes:\n    a:", "size: 60%", "kubelet: {configuration: {a: 1e999}}",
        "containerd: {mirrors: {a: {headers: {b: c}}}}", "Content-Type: multipart/mixed; boundary=b\n\n", "--b\n", "--b--\n",
        "Content-Transfer-Encoding: base64\n", "YXBpVmVyc2lvbjogbm9kZWFnZW50L3Yx", "cluster: {endpoint: 'https://[::1'}",
        "network: {podRange: ::/0}", "network: {podRange: 0.0.0.0/0}", "cluster: {serviceRange: ::/127, dnsAddress: '::1'}", "cluster: {endpoint: https://h}",
        "\r\n", "99999999999999999999999999",
    ];

    [Fact]
    public void Merging_is_the_same_in_any_grouping() =>
        Prop.ForAll(Trees.Three().ToArbitrary(), t =>
        {
            var left = Text(ConfigMerge.Merge(ConfigMerge.Merge(t.A, t.B), t.C));
            var right = Text(ConfigMerge.Merge(t.A, ConfigMerge.Merge(t.B, t.C)));
            left.ShouldBe(right);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(3000));

    [Fact]
    public void Merging_with_an_empty_layer_changes_nothing() =>
        Prop.ForAll(Trees.Map(3).ToArbitrary(), t =>
        {
            Text(ConfigMerge.Merge(t, Empty())).ShouldBe(Text(t));
            Text(ConfigMerge.Merge(Empty(), t)).ShouldBe(Text(t));
        }).Check(Config.QuickThrowOnFailure);

    /// <summary>
    /// Where nothing was removed (that is a comment in what is shown, and the default is there again) and nothing is secret (that is masked).
    /// </summary>
    [Fact]
    public void What_is_shown_loads_as_the_same_configuration() =>
        Prop.ForAll(Settings.Layers().ToArbitrary(), texts =>
        {
            var first = Load([.. texts.Select((t, i) => Document($"layer {i}", Head + t))]);

            var second = NodeConfigLoader.Load([Document("shown", ConfigPrinter.ToYaml(first))]);

            Shown(second).ShouldBe(Shown(first));
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(500));

    [Fact]
    public void Any_bytes_are_a_configuration_or_a_configuration_error() =>
        Prop.ForAll(Gen.Choose(0, 255).Select(b => (byte)b).ArrayOf().ToArbitrary(), bytes => Judge(bytes)).Check(Config.QuickThrowOnFailure.WithMaxTest(500));

    [Fact]
    public void Any_scraps_are_a_configuration_or_a_configuration_error() =>
        Prop.ForAll(Gen.Elements(Scraps).ArrayOf().ToArbitrary(), scraps => Judge(Encoding.UTF8.GetBytes(string.Concat(scraps))))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(3000));

    [Fact]
    public void A_good_document_with_a_few_wrong_bytes_is_a_configuration_or_a_configuration_error()
    {
        var good = Encoding.UTF8.GetBytes(
            Minimal + "\nnode: {taints: [{key: a, effect: NoExecute}], labels: {b: c}}\nkubelet:\n  configuration: {evictionHard: {memory.available: 5%}}\n");
        Prop.ForAll(Gen.Choose(0, good.Length - 1).Two().Two().ToArbitrary(), at =>
        {
            var bad = (byte[])good.Clone();
            bad[at.Item1.Item1] = good[at.Item1.Item2];
            bad[at.Item2.Item1] = (byte)at.Item2.Item2;
            Judge(bad);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    private static void Judge(byte[] bytes)
    {
        foreach (var layer in new Layer[] { new Layer.Document("x", bytes), new Layer.UserData(bytes), new Layer.Tags(
            new Dictionary<string, string>
            {
                ["nodeagent:node"] = Encoding.Latin1.GetString(bytes),
                ["nodeagent:" + Encoding.Latin1.GetString(bytes)] = "1",
            }) })
        {
            try
            {
                var loaded = Load(layer);
                ConfigPrinter.ToYaml(loaded).ShouldNotBeEmpty();
                ConfigPrinter.ToJson(loaded).ShouldNotBeEmpty();
            }
            catch (ConfigurationException e)
            {
                e.Errors.ShouldNotBeEmpty();
                ConfigPrinter.ToJson(e).ShouldNotBeEmpty();
            }
        }
    }

    private static string Shown(LoadedConfig loaded)
    {
        using var json = JsonDocument.Parse(ConfigPrinter.ToJson(loaded));
        return json.RootElement.GetProperty("config").ToString();
    }

    private static ConfigMap Empty() => new(Nowhere, Nowhere, new(StringComparer.Ordinal));

    private static string Text(ConfigValue value) => value switch
    {
        ConfigMap map => $"{(map.Replaces ? "=" : "")}{{{string.Join(",", map.Entries.Select(e => $"{e.Key}:{Text(e.Value)}"))}}}",
        ConfigList list => $"[{string.Join(",", list.Items.Select(Text))}]",
        ConfigScalar scalar => scalar.Text,
        _ => "null",
    };

    private static class Trees
    {
        public static Gen<(ConfigMap A, ConfigMap B, ConfigMap C)> Three() =>
            from a in Map(3)
            from b in Map(3)
            from c in Map(3)
            select (a, b, c);

        public static Gen<ConfigMap> Map(int depth) =>
            from keys in Gen.Elements("a", "b", "c").ArrayOf()
            from values in Value(depth - 1).ArrayOf(3)
            select Make(keys.Distinct(), values);

        private static ConfigMap Make(IEnumerable<string> keys, ConfigValue[] values)
        {
            var entries = new OrderedDictionary<string, ConfigValue>(StringComparer.Ordinal);
            foreach (var key in keys)
            {
                entries[key] = values[key[0] - 'a'];
            }

            return new(Nowhere, Nowhere, entries);
        }

        private static Gen<ConfigValue> Value(int depth)
        {
            var leaves = Gen.OneOf(
                Gen.Constant<ConfigValue>(new ConfigNull(Nowhere, Nowhere)),
                Gen.Elements("1", "2").Select(t => (ConfigValue)new ConfigScalar(Nowhere, Nowhere, t, ScalarType.Integer)),
                Gen.Elements("3", "4").Select(t => (ConfigValue)new ConfigList(Nowhere, Nowhere, [new ConfigScalar(Nowhere, Nowhere, t, ScalarType.Integer)])));
            return depth == 0 ? leaves : Gen.Frequency((2, leaves), (3, Map(depth).Select(m => (ConfigValue)m)));
        }
    }

    /// <summary>A few layers of sound settings, with texts that are hard to quote.</summary>
    private static class Settings
    {
        private static readonly string[] Scalars =
            ["1", "-7", "0x1F", "1.5", "1e3", "true", "null", "{}", "[]", "[1, [a, {b: c}], null]", "{a: null, b: {c: d}}"];

        private static readonly string[] Sound =
        [
            "node: {maxPods: 58}", "node: {labels: {example.com/a: '1', b: x}}", "node: {labels: {b: 7}}",
            "node: {taints: [{key: a, effect: NoExecute}, {key: b, value: c, effect: NoSchedule}]}",
            "node: {taints: []}", "node: {readiness: {timeout: 90s}}", "storage: {volumes: {scratch: {mount: /mnt/a, size: 5%, filesystem: ext4}}}",
            "storage: {match: {paths: ['/dev/disk/by-id/nvme-x_*', /dev/sdb]}}", "kernel: {modules: [a, b_c]}",
            "kernel: {sysctls: {net.ipv4.tcp_rmem: 4096 1 2, vm.swappiness: 0}}",
            "containerd: {mirrors: {docker.io: {endpoints: ['https://m.example:5000/a']}}}", "kubelet: {extraArgs: {v: 4, a-b: 'c=d #e'}}",
            "kubelet: {kubeReserved: {cpu: 100m}}", "kubelet: {systemReserved: {}}",
        ];

        public static Gen<string[]> Layers() => Gen.Choose(1, 4).SelectMany(n => Gen.Frequency((1, Gen.Elements(Sound)), (1, Free())).ArrayOf(n));

        private static Gen<string> Free() =>
            from key in Text()
            from value in Gen.OneOf(Text().Select(Quoted), Gen.Elements(Scalars), Text().ArrayOf(3).Select(t => $"[{string.Join(", ", t.Select(Quoted))}]"))
            select $"kubelet: {{configuration: {{x: {{{Quoted(key)}: {value}}}}}}}";

        private static Gen<string> Text() =>
            Gen.Choose(0, 6).SelectMany(n => Gen.Elements(" :#-[]{}'\"\\\n\tAb0.,&*!|>?@`~%=\u00e9\u00a0\u2028<(".ToCharArray()).ArrayOf(n))
                .Select(c => new string(c));

        private static string Quoted(string text) => $"\"{JsonEncodedText.Encode(text, JavaScriptEncoder.Default)}\"";
    }
}
