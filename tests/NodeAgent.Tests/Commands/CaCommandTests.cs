using NodeAgent.Commands;

namespace NodeAgent.Tests.Commands;

public sealed class CaCommandTests
{
    private static readonly string[] Issue =
        ["issue", "--store", "/nowhere", "--out", "/nowhere", "--node", "cp-1", "--endpoint", "https://10.0.0.4:6443", "--api-name", "api.example.com",
            "--api-name", "fd00::1"];

    [Theory]
    [InlineData("--node", "", "--node: '' is no DNS name")]
    [InlineData("--node", "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhh", "is no DNS name")]
    [InlineData("--node", "bad name", "--node: 'bad name' is no DNS name")]
    [InlineData("--node", "a/b,CN=x", "--node: 'a/b,CN=x' is no DNS name")]
    [InlineData("--api-name", "a b", "--api-name: 'a b' is neither an address nor a DNS name")]
    [InlineData("--dns", "A", "--dns: 'A' is no DNS name")]
    [InlineData("--domain", "x y", "--domain: 'x y' is no DNS name")]
    [InlineData("--cluster", "a: b", "--cluster: 'a: b' is no cluster's name")]
    [InlineData("--address", "10.0.0", null)]
    [InlineData("--address", "ten", "--address: 'ten' is no IP address")]
    [InlineData("--endpoint", "https://user:secret@10.0.0.4:6443", "--endpoint: holds a user name or password")]
    [InlineData("--endpoint", "https://10.0.0.4:6443/?a=b", "--endpoint: 'https://10.0.0.4:6443/?a=b' is no API server; expected https://host[:port]")]
    [InlineData("--endpoint", "https://10.0.0.4/path", "is no API server")]
    [InlineData("--service-range", "10.0.0.1/32", "has no first address")]
    public void What_is_no_name_goes_into_no_certificate(string option, string value, string? error)
    {
        string[] whole = Issue.Contains(option) && option != "--api-name" ? [.. Issue] : [.. Issue, option, value];
        if (whole.Length == Issue.Length)
        {
            whole[Array.IndexOf(whole, option) + 1] = value;
        }

        var errors = string.Join("\n", CaCommand.Create().Parse(whole).Errors.Select(e => e.Message));

        if (error is null)
        {
            errors.ShouldBeEmpty();
        }
        else
        {
            errors.ShouldContain(error);
            errors.ShouldNotContain("secret");
        }
    }

    [Fact]
    public void What_is_right_passes() => CaCommand.Create().Parse(Issue).Errors.ShouldBeEmpty();

    [Fact]
    public void A_store_that_is_not_given_is_told_of_as_that()
    {
        CaCommand.Create().Parse(["show"]).Errors.ShouldHaveSingleItem().Message.ShouldContain("--store");
        CaCommand.Create().Parse(["show"]).Errors.ShouldHaveSingleItem().Message.ShouldContain("required");
        CaCommand.Create().Parse(["show", "--store", ""]).Errors.ShouldHaveSingleItem().Message.ShouldContain("'' is neither");
    }
}
