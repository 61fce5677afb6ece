using System.IO.Compression;
using System.Text;
using NodeAgent.Configuration;
using static NodeAgent.Tests.Configuration.ConfigText;

namespace NodeAgent.Tests.Configuration;

public class UserDataTests
{
    private const string Ours = Head + "node:\n  maxPods: 58\n";
    private const string Script = "#!/bin/sh\ncat > /tmp/x <<EOF\napiVersion: nodeagent/v1\nkind: NodeConfig\nEOF\n";
    private const string CloudConfig = "#cloud-config\nruncmd: [[ls]]\n";

    public static TheoryData<string, byte[], string> Forms => new()
    {
        { "plain", Bytes(Ours), "user data:4:12" },
        { "with a byte order mark", [.. Encoding.UTF8.Preamble, .. Bytes(Ours)], "user data:4:12" },
        { "after comments", Bytes("# of the blue cluster\n\n---\n" + Ours), "user data:7:12" },
        { "JSON", Bytes("""{"kind": "NodeConfig", "apiVersion": "nodeagent/v1", "node": {"maxPods": 58}}"""), "user data:1:74" },
        { "gzip", Gzip(Bytes(Ours)), "user data:4:12" },
        { "base64", Base64(Bytes(Ours)), "user data:4:12" },
        { "base64 in lines", Bytes(Convert.ToBase64String(Bytes(Ours + new string('\n', 200)), Base64FormattingOptions.InsertLineBreaks)), "user data:4:12" },
        { "gzip inside base64", Base64(Gzip(Bytes(Ours))), "user data:4:12" },
        { "MIME, by its type", Mime(Part("application/vnd.nodeagent+yaml", Ours)), "user data part 1:4:12" },
        { "MIME, by its content, beside cloud-init's",
            Mime(Part("text/cloud-config", CloudConfig), Part("text/x-shellscript", Script), Part("text/plain", Ours)), "user data part 3:4:12" },
        { "MIME with Windows line ends",
            Bytes(
                Encoding.UTF8.GetString(Mime(Part("text/plain", Ours), Part("text/cloud-config", CloudConfig)))
                    .Replace("\n", "\r\n", StringComparison.Ordinal)), "user data part 1:4:12" },
        { "MIME, base64 part", Mime(Part("text/plain", Convert.ToBase64String(Bytes(Ours)), "base64")), "user data part 1:4:12" },
        { "MIME, quoted-printable part",
            Mime(Part("text/plain", Ours.Replace("maxPods: 58", "max=\nPods=3A 58", StringComparison.Ordinal), "quoted-printable")), "user data part 1:4:12" },
        { "MIME, gzip part in base64", Mime(Part("application/gzip", Convert.ToBase64String(Gzip(Bytes(Ours))), "Base64")), "user data part 1:4:12" },
        { "MIME, nested",
            Mime(Part("text/cloud-config", CloudConfig), Nested("inner", Part("text/x-shellscript", Script), Part("application/vnd.nodeagent+yaml", Ours))),
            "user data part 2.2:4:12" },
        { "MIME in gzip in base64", Base64(Gzip(Mime(Part("text/cloud-config", CloudConfig), Part("text/plain", Ours)))), "user data part 2:4:12" },
        { "MIME, raw gzip part", BinaryMime(Gzip(Bytes(Ours))), "user data part 1:4:12" },
        { "MIME of one part", Bytes("MIME-Version: 1.0\nContent-Type: application/vnd.nodeagent+yaml\n\n" + Ours), "user data:4:12" },
        { "MIME, the same said twice", Mime(Part("text/plain", Ours), Part("text/plain", Ours)), "user data part 1:4:12" },
    };

    [Theory]
    [MemberData(nameof(Forms))]
    public void Our_part_is_found_in_every_form(string form, byte[] data, string origin)
    {
        var loaded = Load(new Layer.UserData(data));
        loaded.Config.Node.MaxPods.Number.ShouldBe(58, form);
        loaded.OriginOf("node.maxPods").ToString().ShouldBe(origin);
    }

    public static TheoryData<string, byte[]> NotOurs => new()
    {
        { "nothing", [] },
        { "blanks", Bytes(" \n\n") },
        { "cloud-config", Bytes(CloudConfig) },
        { "a script that writes a NodeConfig", Bytes(Script) },
        { "a jinja template", Bytes("## template: jinja\n" + Ours) },
        { "an include", Bytes("#include\nhttps://example.com/apiVersion\n") },
        { "another agent's NodeConfig", Bytes("apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec: {}\n") },
        { "settings of something else", Bytes("[settings.kubernetes]\ncluster-name = \"blue\"\n") },
        { "a word", Bytes("hello") },
        { "words that are base64", Bytes("correcthorsebatterystaples") },
        { "gzip of cloud-config", Gzip(Bytes(CloudConfig)) },
        { "MIME with nothing for us", Mime(Part("text/cloud-config", CloudConfig), Part("text/x-shellscript", Script), Part("text/plain", "hello")) },
        { "MIME whose foreign part has an encoding that nobody knows", Mime(Part("text/cloud-config", CloudConfig, "x-rot13")) },
    };

    [Theory]
    [MemberData(nameof(NotOurs))]
    public void What_is_not_ours_is_left_alone(string form, byte[] data)
    {
        var loaded = Load(new Layer.UserData(data));
        loaded.Config.Node.MaxPods.Number.ShouldBe(110, form);
        (loaded.Notes.Count > 0).ShouldBe(data.Any(b => b > ' '), form);
    }

    [Fact]
    public void What_is_left_alone_is_noted() =>
        Load(
            new Layer.UserData(Mime(Part("text/cloud-config", CloudConfig), Part("text/plain", Script), Part("text/plain", Ours), Part("text/plain", "hello"))))
                .Notes.ShouldBe(
        [
            "user data part 1: cloud-init's, left alone (text/cloud-config)",
            "user data part 2: cloud-init's, left alone (#!/bin/sh)",
            "user data part 4: not ours, left alone",
        ]);

    public static TheoryData<byte[], string> Bad => new()
    {
        { new byte[UserData.MaximumBytes + 1], "user data: 16385 bytes are too many; at most 16384 can be user data" },
        { Gzip(new byte[YamlReader.MaximumBytes + 1]), "user data: unpacks to more than 262144 bytes" },
        { [0xff, 0xfe, 0x00], "user data: is neither text nor gzip" },
        { Gzip(Bytes(Ours))[..^1], "user data: its gzip is cut off or damaged" },
        { Gzip(Bytes(Ours))[..^9], "user data: its gzip is cut off or damaged" },
        { Gzip(Bytes(Ours))[..20], "user data: its gzip is cut off or damaged" },
        { Gzip(Bytes(Ours))[..2], "user data: its gzip is cut off or damaged" },
        { Damaged(Gzip(Bytes(Ours))), "user data: its gzip is cut off or damaged" },
        { Base64(Bytes(Ours))[..33], "user data: its base64 is cut off or damaged" },
        { Base64(Gzip(Bytes(Ours)))[..32], "user data: its gzip is cut off or damaged" },
        { Mime(Part("text/plain", Ours))[..^4], "user data: is cut off: the closing boundary --outer-- is missing" },
        { Mime(Part("text/plain", Ours), Part("text/cloud-config", CloudConfig))[..^20], "user data: is cut off: the closing boundary --outer-- is missing" },
        { Mime(Nested("inner", Part("text/plain", Ours)), Part("text/plain", ""))
            .Without("--inner--"), "user data part 1: is cut off: the closing boundary --inner-- is missing" },
        { Bytes("Content-Type: multipart/mixed\n\n--x\n\n" + Ours + "\n--x--\n"), "user data: is multipart/mixed without a boundary" },
        { Bytes("Content-Type: multipart/mixed; boundary=x\n"), "user data: is cut off within its MIME headers; expected an empty line before the content" },
        { Mime("no header\n\n" + Ours), "user data: has a malformed MIME header; expected 'Name: value' and an empty line before the content" },
        { Mime(Part("text/plain", Convert.ToBase64String(Bytes(Ours))[..33], "base64")), "user data part 1: its base64 is cut off or damaged" },
        { Mime(Part("text/plain", "a: =4", "quoted-printable")), "user data part 1: its quoted-printable text is cut off or damaged" },
        { Mime(Part("text/plain", Ours, "x-rot13")),
            "user data part 1: has the unknown transfer encoding 'x-rot13'; expected 7bit, 8bit, binary, base64 or quoted-printable" },
        { Mime(Part(UserData.MediaType, CloudConfig)), "user data part 1:2:1: apiVersion: required in every document" },
        { Mime(Part(UserData.MediaType, "")), "user data part 1: is empty" },
        { Bytes("apiVersion: nodeagnet/v1\nkind: NodeConfig\n"), "user data:1:13: apiVersion: found 'nodeagnet/v1'; did you mean 'nodeagent/v1'?" },
        { Bytes("kind: NodeConfig\nnode: {}\n"), "user data:1:1: apiVersion: required in every document; expected 'nodeagent/v1'" },
        { Bytes(Ours + "\tname: instanceId\n"), "user data:5:1: a tab in the indentation; YAML takes spaces only" },
        { Mime(Part("text/plain", Ours), Part("text/plain", Head + "node: {maxPods: 59}")),
            "user data part 2:3:17: node.maxPods: disagrees with user data part 1:4:12, and neither comes later; say it once" },
        { Mime(Part("text/plain", Head + "node: {taints: [{key: a, effect: NoExecute}]}"), Part("text/plain", Head + "node: {taints: []}")),
            "user data part 2:3:16: node.taints: disagrees with user data part 1:3:16, and neither comes later; say it once" },
    };

    [Theory]
    [MemberData(nameof(Bad))]
    public void What_is_cut_off_too_large_or_contradicts_itself_is_refused(byte[] data, string expected) =>
        Errors(() => Load(new Layer.UserData(data)))[0].ShouldStartWith(expected);

    [Fact]
    public void Two_parts_that_do_not_disagree_are_one()
    {
        var config = Load(
            new Layer.UserData(Mime(Part("text/plain", Head + "node: {labels: {a: x}}"), Part("text/plain", Head + "node: {labels: {b: y}}")))).Config;
        config.Node.Labels.ShouldBe(new Dictionary<string, string> { ["a"] = "x", ["b"] = "y" }, ignoreOrder: true);
    }

    [Fact]
    public void Every_way_to_cut_a_wrapped_user_data_short_is_refused()
    {
        foreach (var data in new[] { Gzip(Bytes(Ours)), Mime(Part("text/cloud-config", CloudConfig), Part("text/plain", Ours)).TrimEnd() })
        {
            for (var length = data.Length - 1; length > 60; length--)
            {
                Should.Throw<ConfigurationException>(() => Load(new Layer.UserData(data[..length])), $"cut to {length} bytes");
            }
        }
    }

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    private static byte[] Base64(byte[] data) => Bytes(Convert.ToBase64String(data));

    private static byte[] Gzip(byte[] data)
    {
        var stream = new MemoryStream();
        using (var gzip = new GZipStream(stream, CompressionLevel.Optimal))
        {
            gzip.Write(data);
        }

        return stream.ToArray();
    }

    private static byte[] Damaged(byte[] data)
    {
        data[^6] ^= 1;
        return data;
    }

    private static string Part(string type, string content, string? encoding = null) =>
        $"Content-Type: {type}; charset=\"utf-8\"\n{(encoding is null ? "" : $"Content-Transfer-Encoding: {encoding}\n")}MIME-Version: 1.0\n\n{content}";

    private static string Nested(string boundary, params string[] parts) =>
        $"Content-Type: multipart/mixed;\n boundary=\"{boundary}\"\n\n{string.Concat(parts.Select(p => $"--{boundary}\n{p}\n"))}--{boundary}--\n";

    private static byte[] Mime(params string[] parts) => Bytes("MIME-Version: 1.0\n" + Nested("outer", parts));

    private static byte[] BinaryMime(byte[] content) =>
        [.. Bytes("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/gzip\nContent-Transfer-Encoding: binary\n\n"), .. content,
            .. Bytes("\n--b--\n")];
}

file static class UserDataBytes
{
    public static byte[] Without(this byte[] data, string text) =>
        Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(data).Replace(text, "", StringComparison.Ordinal));

    public static byte[] TrimEnd(this byte[] data) => Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(data).TrimEnd());
}
