using System.Net;
using NodeAgent.Network;

namespace NodeAgent.Tests.Network;

public class CidrTests
{
    [Theory]
    [InlineData("10.0.0.0/8")]
    [InlineData("0.0.0.0/0")]
    [InlineData("10.1.2.3/32")]
    [InlineData("fd00:ec2::/32")]
    [InlineData("::/0")]
    public void A_range_reads_back_as_it_was_written(string text) => Cidr.Parse(text).ToString().ShouldBe(text);

    [Theory]
    [InlineData("10.0.0.0")]
    [InlineData("10.0.0.0/33")]
    [InlineData("10.0.0.0/-1")]
    [InlineData("10.0.0.0/ 8")]
    [InlineData("10.1/16")]
    [InlineData("010.0.0.0/8")]
    [InlineData("0x0a000000/8")]
    [InlineData("fe80::1%eth0/128")]
    [InlineData("::/129")]
    [InlineData("/8")]
    [InlineData("")]
    public void What_is_no_range_is_refused(string text) => Should.Throw<FormatException>(() => Cidr.Parse(text)).Message.ShouldContain("is not a CIDR range");

    [Theory]
    [InlineData("10.0.0.1/24", "10.0.0.0/24")]
    [InlineData("10.0.0.129/0", "0.0.0.0/0")]
    [InlineData("0.0.0.1/24", "0.0.0.0/24")]
    [InlineData("fd00::1/64", "fd00::/64")]
    public void Host_bits_are_named_with_the_range_that_was_meant(string text, string meant) =>
        Should.Throw<FormatException>(() => Cidr.Parse(text)).Message.ShouldBe($"'{text}' has host bits set; did you mean {meant}?");

    [Theory]
    [InlineData("10.0.0.0/8", "10.1.0.0/16", true)]
    [InlineData("10.0.0.0/16", "10.1.0.0/16", false)]
    [InlineData("0.0.0.0/0", "10.1.0.0/16", true)]
    [InlineData("::/0", "0.0.0.0/0", false)]
    public void Overlap_goes_both_ways(string a, string b, bool overlap)
    {
        Cidr.Parse(a).Overlaps(Cidr.Parse(b)).ShouldBe(overlap);
        Cidr.Parse(b).Overlaps(Cidr.Parse(a)).ShouldBe(overlap);
    }

    [Fact]
    public void Addresses_are_counted_from_the_network_address()
    {
        var range = Cidr.Parse("10.96.0.0/30");
        range.Size.ShouldBe(4);
        range[0].ShouldBe(IPAddress.Parse("10.96.0.0"));
        range[3].ShouldBe(IPAddress.Parse("10.96.0.3"));
        Should.Throw<ArgumentOutOfRangeException>(() => range[4]);
        Cidr.Parse("fd00::/64")[10].ShouldBe(IPAddress.Parse("fd00::a"));
        range.Contains(IPAddress.Parse("10.96.0.4")).ShouldBeFalse();
        range.Contains(IPAddress.Parse("::1")).ShouldBeFalse();
    }
}
